// SPDX-License-Identifier: GPL-2.0-or-later
// See key-text.h. Scancodes are XT set 1 ("Keyboard scan code specification", Microsoft, 1.3a).
#include "engine/key-text.h"

#include <gio/gio.h>
#include <string.h>

// Slow enough for a guest whose keyboard buffer has 16 bytes and which polls.
#define EVENT_INTERVAL_MS 15

enum { SHIFT = 0x2a };

// Unshifted and shifted character of each key from scancode 02h on; 0: no character.
static const char plain[] = "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./";
static const char shifted[] = "!@#$%^&*()_+\0\0QWERTYUIOP{}\0\0ASDFGHJKL:\"~\0|ZXCVBNM<>?";
#define FIRST_SCANCODE 2

static const struct {
    const char *name;
    uint16_t scancode;
} names[] = {
    { "ctrl", 0x1d },      { "control", 0x1d },   { "shift", 0x2a },      { "alt", 0x38 },
    { "altgr", 0xe038 },   { "super", 0xe05b },   { "meta", 0xe05b },     { "win", 0xe05b },
    { "menu", 0xe05d },    { "enter", 0x1c },     { "return", 0x1c },     { "tab", 0x0f },
    { "esc", 0x01 },       { "escape", 0x01 },    { "space", 0x39 },      { "backspace", 0x0e },
    { "insert", 0xe052 },  { "delete", 0xe053 },  { "del", 0xe053 },      { "home", 0xe047 },
    { "end", 0xe04f },     { "pageup", 0xe049 },  { "pagedown", 0xe051 }, { "up", 0xe048 },
    { "down", 0xe050 },    { "left", 0xe04b },    { "right", 0xe04d },    { "capslock", 0x3a },
    { "numlock", 0x45 },   { "scrolllock", 0x46 }, { "print", 0xe037 },   { "pause", 0xe11d },
    { "f1", 0x3b },        { "f2", 0x3c },        { "f3", 0x3d },         { "f4", 0x3e },
    { "f5", 0x3f },        { "f6", 0x40 },        { "f7", 0x41 },         { "f8", 0x42 },
    { "f9", 0x43 },        { "f10", 0x44 },       { "f11", 0x57 },        { "f12", 0x58 },
    { "plus", 0x4e },      { "rightctrl", 0xe01d }, { "rightshift", 0x36 },
};

struct KeyFeeder {
    InputRouter *router;
    GMutex *machine_lock;
    GArray *events;
    guint next;
    guint timer;
};

// 0 where no key gives the character.
static uint16_t scancode_of(char character, bool *ret_shift)
{
    *ret_shift = false;
    if (character == ' ')
        return 0x39;
    const char *found = character ? memchr(plain, character, sizeof(plain) - 1) : NULL;
    if (found)
        return (uint16_t)(FIRST_SCANCODE + (found - plain));
    *ret_shift = true;
    found = character ? memchr(shifted, character, sizeof(shifted) - 1) : NULL;
    return found ? (uint16_t)(FIRST_SCANCODE + (found - shifted)) : 0;
}

static void append(GArray *events, uint16_t scancode, bool down)
{
    KeyEvent event = { scancode, down };
    g_array_append_val(events, event);
}

GArray *key_text_parse(const char *text, GError **error)
{
    g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(KeyEvent));
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        bool shift;
        uint16_t scancode = (unsigned char)*p < 0x80 ? scancode_of(*p, &shift) : 0;
        if (!scancode) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "\"%.*s\" is not on a US keyboard; type ASCII characters",
                        (int)(g_utf8_next_char(p) - p), p);
            return NULL;
        }
        if (shift)
            append(events, SHIFT, true);
        append(events, scancode, true);
        append(events, scancode, false);
        if (shift)
            append(events, SHIFT, false);
    }
    return g_steal_pointer(&events);
}

static uint16_t key_by_name(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_ascii_strcasecmp(name, names[i].name) == 0)
            return names[i].scancode;
    }
    bool shift;
    uint16_t scancode = strlen(name) == 1 ? scancode_of(g_ascii_tolower(*name), &shift) : 0;
    return scancode && !shift ? scancode : 0;
}

GArray *key_chord_parse(const char *chord, GError **error)
{
    g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(KeyEvent));
    g_auto(GStrv) parts = g_strsplit_set(chord, "+-", 8);
    // "-" itself is a key.
    if (strcmp(chord, "-") == 0) {
        append(events, 0x0c, true);
        append(events, 0x0c, false);
        return g_steal_pointer(&events);
    }
    for (char **part = parts; *part || part == parts; part++) {
        const char *name = *part ? *part : "";
        uint16_t scancode = key_by_name(name);
        if (!scancode) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "there is no key \"%s\"; write names joined by +, like ctrl+alt+delete, "
                        "F2, enter or a", name);
            return NULL;
        }
        append(events, scancode, true);
    }
    for (guint i = events->len; i-- > 0;)
        append(events, g_array_index(events, KeyEvent, i).scancode, false);
    return g_steal_pointer(&events);
}

GArray *key_text_parse_escaped(const char *text, GError **error)
{
    g_autoptr(GArray) events = g_array_new(FALSE, FALSE, sizeof(KeyEvent));
    while (*text) {
        g_autoptr(GArray) part = NULL;
        const char *close = strncmp(text, "\\<", 2) == 0 ? strchr(text, '>') : NULL;
        if (close) {
            g_autofree char *chord = g_strndup(text + 2, (gsize)(close - text - 2));
            part = key_chord_parse(chord, error);
            text = close + 1;
        } else if (*text == '\\' && text[1] && strchr("nte\\", text[1])) {
            static const char *const chords[] = { ['n'] = "enter", ['t'] = "tab", ['e'] = "esc" };
            part = text[1] == '\\' ? key_text_parse("\\", error)
                                   : key_chord_parse(chords[(unsigned char)text[1]], error);
            text += 2;
        } else {
            g_autofree char *one = g_strndup(text, (gsize)(g_utf8_next_char(text) - text));
            part = key_text_parse(one, error);
            text = g_utf8_next_char(text);
        }
        if (!part)
            return NULL;
        g_array_append_vals(events, part->data, part->len);
    }
    return g_steal_pointer(&events);
}

static gboolean feed(gpointer opaque)
{
    KeyFeeder *feeder = opaque;
    if (feeder->next >= feeder->events->len) {
        g_array_set_size(feeder->events, 0);
        feeder->next = 0;
        feeder->timer = 0;
        return G_SOURCE_REMOVE;
    }
    KeyEvent event = g_array_index(feeder->events, KeyEvent, feeder->next++);
    g_mutex_lock(feeder->machine_lock);
    input_key(feeder->router, event.scancode, event.down);
    g_mutex_unlock(feeder->machine_lock);
    return G_SOURCE_CONTINUE;
}

KeyFeeder *key_feeder_new(InputRouter *router, GMutex *machine_lock)
{
    KeyFeeder *feeder = g_new0(KeyFeeder, 1);
    feeder->router = router;
    feeder->machine_lock = machine_lock;
    feeder->events = g_array_new(FALSE, FALSE, sizeof(KeyEvent));
    return feeder;
}

void key_feeder_free(KeyFeeder *feeder)
{
    if (!feeder)
        return;
    if (feeder->timer)
        g_source_remove(feeder->timer);
    g_array_unref(feeder->events);
    g_free(feeder);
}

void key_feeder_add(KeyFeeder *feeder, const GArray *events)
{
    g_array_append_vals(feeder->events, events->data, events->len);
    if (!feeder->timer)
        feeder->timer = g_timeout_add(EVENT_INTERVAL_MS, feed, feeder);
}

bool key_feeder_idle(const KeyFeeder *feeder)
{
    return feeder->next >= feeder->events->len;
}
