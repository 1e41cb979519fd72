// SPDX-License-Identifier: GPL-2.0-or-later
// See keys.h: the US keyboard as tables. Scancodes are set 1, as in IBM's "Personal System/2
// Hardware Interface Technical Reference", keyboard section.
#include "engine/base/keys.h"

#include <gio/gio.h>
#include <string.h>

#define SCANCODE_SHIFT 0x2a
#define LONGEST_NAME 16 // characters of a key's name, and some

typedef struct {
    const char *name;
    uint16_t scancode;
} NamedKey;

static const NamedKey named_keys[] = {
    { "esc", 0x01 },        { "escape", 0x01 },     { "backspace", 0x0e },  { "tab", 0x0f },
    { "enter", 0x1c },      { "return", 0x1c },     { "ctrl", 0x1d },       { "control", 0x1d },
    { "shift", 0x2a },      { "rshift", 0x36 },     { "alt", 0x38 },        { "space", 0x39 },
    { "capslock", 0x3a },   { "f1", 0x3b },         { "f2", 0x3c },         { "f3", 0x3d },
    { "f4", 0x3e },         { "f5", 0x3f },         { "f6", 0x40 },         { "f7", 0x41 },
    { "f8", 0x42 },         { "f9", 0x43 },         { "f10", 0x44 },        { "numlock", 0x45 },
    { "scrolllock", 0x46 }, { "f11", 0x57 },        { "f12", 0x58 },        { "minus", 0x0c },
    { "plus", 0x4e },       { "kp-enter", 0xe01c }, { "rctrl", 0xe01d },    { "kp-slash", 0xe035 },
    { "print", 0xe037 },    { "sysrq", 0xe037 },    { "altgr", 0xe038 },    { "ralt", 0xe038 },
    { "home", 0xe047 },     { "up", 0xe048 },       { "pageup", 0xe049 },   { "pgup", 0xe049 },
    { "left", 0xe04b },     { "right", 0xe04d },    { "end", 0xe04f },      { "down", 0xe050 },
    { "pagedown", 0xe051 }, { "pgdn", 0xe051 },     { "insert", 0xe052 },   { "ins", 0xe052 },
    { "delete", 0xe053 },   { "del", 0xe053 },      { "super", 0xe05b },    { "win", 0xe05b },
    { "rsuper", 0xe05c },   { "menu", 0xe05d },     { "pause", 0xe11d },    { "meta", 0xe05b },
    { "rightctrl", 0xe01d }, { "rightshift", 0x36 },
};

// Keys that carry characters, without and with Shift.
typedef struct {
    char plain;
    char shifted;
    uint16_t scancode;
} CharacterKey;

static const CharacterKey character_keys[] = {
    { '1', '!', 0x02 },  { '2', '@', 0x03 },  { '3', '#', 0x04 }, { '4', '$', 0x05 },
    { '5', '%', 0x06 },  { '6', '^', 0x07 },  { '7', '&', 0x08 }, { '8', '*', 0x09 },
    { '9', '(', 0x0a },  { '0', ')', 0x0b },  { '-', '_', 0x0c }, { '=', '+', 0x0d },
    { 'q', 'Q', 0x10 },  { 'w', 'W', 0x11 },  { 'e', 'E', 0x12 }, { 'r', 'R', 0x13 },
    { 't', 'T', 0x14 },  { 'y', 'Y', 0x15 },  { 'u', 'U', 0x16 }, { 'i', 'I', 0x17 },
    { 'o', 'O', 0x18 },  { 'p', 'P', 0x19 },  { '[', '{', 0x1a }, { ']', '}', 0x1b },
    { 'a', 'A', 0x1e },  { 's', 'S', 0x1f },  { 'd', 'D', 0x20 }, { 'f', 'F', 0x21 },
    { 'g', 'G', 0x22 },  { 'h', 'H', 0x23 },  { 'j', 'J', 0x24 }, { 'k', 'K', 0x25 },
    { 'l', 'L', 0x26 },  { ';', ':', 0x27 },  { '\'', '"', 0x28 }, { '`', '~', 0x29 },
    { '\\', '|', 0x2b }, { 'z', 'Z', 0x2c },  { 'x', 'X', 0x2d }, { 'c', 'C', 0x2e },
    { 'v', 'V', 0x2f },  { 'b', 'B', 0x30 },  { 'n', 'N', 0x31 }, { 'm', 'M', 0x32 },
    { ',', '<', 0x33 },  { '.', '>', 0x34 },  { '/', '?', 0x35 }, { ' ', '\0', 0x39 },
    { '\n', '\0', 0x1c }, { '\r', '\0', 0x1c }, { '\t', '\0', 0x0f }, { '\b', '\0', 0x0e },
    { 0x1b, '\0', 0x01 },
};

static void append(GArray *strokes, uint16_t scancode, bool down)
{
    KeyStroke stroke = { scancode, down };
    g_array_append_val(strokes, stroke);
}

static const CharacterKey *find_character(char c, bool *ret_shift)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(character_keys); i++) {
        const CharacterKey *key = &character_keys[i];
        if (key->plain != c && (key->shifted != c || !c))
            continue;
        *ret_shift = key->plain != c;
        return key;
    }
    return NULL;
}

static uint16_t find_key(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(named_keys); i++) {
        if (strcmp(named_keys[i].name, name) == 0)
            return named_keys[i].scancode;
    }
    bool shift = false;
    const CharacterKey *key = name[0] && !name[1] ? find_character(name[0], &shift) : NULL;
    return key && !shift ? key->scancode : 0;
}

GArray *keys_from_chord(const char *chord, GError **error)
{
    g_autofree char *lower = g_ascii_strdown(chord, -1);
    g_autoptr(GArray) strokes = g_array_new(FALSE, FALSE, sizeof(KeyStroke));
    const char *rest = lower;
    while (*rest) {
        // Names may hold a hyphen of their own (kp-enter), and "-" and "+" are keys too: the
        // longest name that exists is taken.
        uint16_t scancode = 0;
        size_t length = strnlen(rest, LONGEST_NAME);
        for (; length > 0; length--) {
            if (rest[length] && rest[length] != '-' && rest[length] != '+')
                continue;
            g_autofree char *name = g_strndup(rest, length);
            scancode = find_key(name);
            if (scancode)
                break;
        }
        if (!scancode)
            break;
        append(strokes, scancode, true);
        rest += length;
        if (*rest && rest[1])
            rest++;
        else if (*rest)
            break;
    }
    if (*rest || strokes->len == 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "there is no key \"%s\"; write names joined by +, like ctrl+alt+delete, f2, "
                    "enter or a", strokes->len ? rest : chord);
        return NULL;
    }
    for (guint i = strokes->len; i-- > 0;)
        append(strokes, g_array_index(strokes, KeyStroke, i).scancode, false);
    return g_steal_pointer(&strokes);
}

static bool append_character(GArray *strokes, const char *c, GError **error)
{
    bool shift = false;
    const CharacterKey *key = find_character(*c, &shift);
    if (!key) {
        gunichar symbol = g_utf8_get_char_validated(c, -1);
        char shown[8] = "?";
        if (symbol < 0x110000)
            shown[g_unichar_to_utf8(symbol, shown)] = 0;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "\"%s\" is not on a US keyboard; type ASCII characters", shown);
        return false;
    }
    if (shift)
        append(strokes, SCANCODE_SHIFT, true);
    append(strokes, key->scancode, true);
    append(strokes, key->scancode, false);
    if (shift)
        append(strokes, SCANCODE_SHIFT, false);
    return true;
}

GArray *keys_from_text(const char *text, GError **error)
{
    g_autoptr(GArray) strokes = g_array_new(FALSE, FALSE, sizeof(KeyStroke));
    for (const char *c = text; *c; c++) {
        if (!append_character(strokes, c, error))
            return NULL;
    }
    return g_steal_pointer(&strokes);
}

// What a backslash and the character behind it stand for; 0: nothing, the backslash is itself.
static char escaped_character(char c)
{
    switch (c) {
    case 'n': return '\n';
    case 't': return '\t';
    case 'e': return 0x1b;
    case '\\': return '\\';
    default: return 0;
    }
}

GArray *keys_from_escaped_text(const char *text, GError **error)
{
    g_autoptr(GArray) strokes = g_array_new(FALSE, FALSE, sizeof(KeyStroke));
    while (*text) {
        const char *close = strncmp(text, "\\<", 2) == 0 ? strchr(text, '>') : NULL;
        char escaped = *text == '\\' ? escaped_character(text[1]) : 0;
        if (close) {
            g_autofree char *name = g_strndup(text + 2, (gsize)(close - text - 2));
            g_autoptr(GArray) chord = keys_from_chord(name, error);
            if (!chord)
                return NULL;
            g_array_append_vals(strokes, chord->data, chord->len);
            text = close + 1;
        } else if (!append_character(strokes, escaped ? &escaped : text, error)) {
            return NULL;
        } else {
            text += escaped ? 2 : 1;
        }
    }
    return g_steal_pointer(&strokes);
}
