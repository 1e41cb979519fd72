// SPDX-License-Identifier: GPL-2.0-or-later
// spice-shot: looks at a machine's screen through SPICE and saves what it sees as a PNG; may press
// keys and move the pointer first. It proves that a picture, or an input, went all the way.
//
// Exit status: 0 the picture was saved, 1 no connection or no picture, 2 wrong usage.
#include "engine/base/keys.h"
#include "tests/e2e/headless-client.h"
#include "tests/e2e/png-file.h"

#include <stdio.h>

#define CONNECT_MS 10000

typedef struct {
    char *socket;
    char *out;
    char *type;
    char **keys;
    char *pointer;
    int wait_ms;
    int settle_ms;
    gboolean scanout;
    gboolean serial;
    char *serial_text;
} Options;

static bool has_picture(HeadlessClient *client, void *data)
{
    uint32_t width, height, stride;
    const bool *mapped = data;
    return headless_client_error(client) ||
           (headless_client_ready(client) &&
            headless_client_pixels(client, &width, &height, &stride) &&
            headless_client_updates(client) > 0 && headless_client_mapped(client) == *mapped);
}

static bool send_strokes(HeadlessClient *client, GArray *strokes)
{
    for (guint i = 0; i < strokes->len; i++) {
        KeyStroke s = g_array_index(strokes, KeyStroke, i);
        if (!headless_client_key(client, s.scancode, s.down))
            return false;
        headless_client_run(client, s.down ? 20 : 30); // as a quick typist
    }
    return true;
}

static bool send_input(HeadlessClient *client, const Options *o, GError **error)
{
    for (char **key = o->keys; key && *key; key++) {
        g_autoptr(GArray) strokes = keys_from_chord(*key, error);
        if (!strokes || !send_strokes(client, strokes))
            return false;
    }
    if (o->type) {
        g_autoptr(GArray) strokes = keys_from_text(o->type, error);
        if (!strokes || !send_strokes(client, strokes))
            return false;
    }
    int x, y;
    unsigned buttons = 0;
    if (o->pointer && sscanf(o->pointer, "%d,%d,%u", &x, &y, &buttons) >= 2)
        headless_client_pointer(client, x, y, buttons);
    if (o->serial_text)
        headless_client_serial_write(client, o->serial_text, strlen(o->serial_text));
    return true;
}

static bool save(HeadlessClient *client, const char *path, GError **error)
{
    uint32_t width, height, stride;
    const uint8_t *pixels = headless_client_pixels(client, &width, &height, &stride);
    if (!pixels) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "the picture went away");
        return false;
    }
    if (!png_file_write(path, pixels, width, height, stride, error))
        return false;
    printf("%s: %ux%u, %u updates\n", path, width, height, headless_client_updates(client));
    return true;
}

int main(int argc, char **argv)
{
    Options o = { .settle_ms = 500 };
    const GOptionEntry entries[] = {
        { "socket", 0, 0, G_OPTION_ARG_FILENAME, &o.socket, "The machine's SPICE socket", "PATH" },
        { "out", 0, 0, G_OPTION_ARG_FILENAME, &o.out, "Where the picture goes", "FILE.png" },
        { "key", 0, 0, G_OPTION_ARG_STRING_ARRAY, &o.keys, "Press keys together", "CHORD" },
        { "type", 0, 0, G_OPTION_ARG_STRING, &o.type, "Then type text", "TEXT" },
        { "pointer", 0, 0, G_OPTION_ARG_STRING, &o.pointer, "Then move the pointer",
          "X,Y[,BUTTONS]" },
        { "serial-write", 0, 0, G_OPTION_ARG_STRING, &o.serial_text, "Send to the serial port",
          "TEXT" },
        { "serial", 0, 0, G_OPTION_ARG_NONE, &o.serial, "Print what the serial port said", NULL },
        { "wait-ms", 0, 0, G_OPTION_ARG_INT, &o.wait_ms, "Look on for so long before input", "N" },
        { "settle-ms", 0, 0, G_OPTION_ARG_INT, &o.settle_ms,
          "Look on for so long before the picture is saved (500)", "N" },
        { "scanout", 0, 0, G_OPTION_ARG_NONE, &o.scanout, "The socket hands out a memfd", NULL },
        { NULL },
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(GOptionContext) context = g_option_context_new("- a screenshot through SPICE");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || !o.socket) {
        fprintf(stderr, "spice-shot: %s\n", error ? error->message : "--socket is needed");
        return 2;
    }
    g_autoptr(HeadlessClient) client = headless_client_new(o.socket, o.scanout);
    bool mapped = o.scanout;
    headless_client_wait(client, has_picture, &mapped, CONNECT_MS);
    if (!headless_client_error(client) && !has_picture(client, &mapped)) {
        fprintf(stderr, "spice-shot: %s: no picture in %d s\n", o.socket, CONNECT_MS / 1000);
        return 1;
    }
    if (headless_client_error(client)) {
        fprintf(stderr, "spice-shot: %s: %s\n", o.socket, headless_client_error(client));
        return 1;
    }
    if (o.wait_ms > 0)
        headless_client_run(client, (unsigned)o.wait_ms);
    if (!send_input(client, &o, &error)) {
        fprintf(stderr, "spice-shot: %s\n", error ? error->message : "no inputs channel");
        return 1;
    }
    headless_client_run(client, (unsigned)MAX(o.settle_ms, 0));
    if (o.serial)
        fwrite(headless_client_serial(client)->data, 1, headless_client_serial(client)->len,
               stdout);
    if (o.out && !save(client, o.out, &error)) {
        fprintf(stderr, "spice-shot: %s\n", error->message);
        return 1;
    }
    return 0;
}
