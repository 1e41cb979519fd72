// SPDX-License-Identifier: GPL-2.0-or-later
// machine.conf: as text, and as values of every key; what is accepted must survive being written
// and read again. Also text and chords for the keyboard.
#include "engine/config/config.h"
#include "engine/base/keys.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const char *text)
{
    g_autoptr(Config) config = config_parse(text, "fuzz", NULL);
    if (!config)
        return;
    g_autofree char *first = config_to_text(config);
    g_autoptr(Config) again = config_parse(first, "again", NULL);
    g_autofree char *second = again ? config_to_text(again) : NULL;
    if (g_strcmp0(first, second) != 0)
        g_error("written:\n%s\nread again:\n%s", first, second);
    uint8_t mac[6], uuid[16];
    config_mac(config, 0, mac);
    config_uuid(config, uuid);
}

static void try_values(const char *text)
{
    for (size_t i = 0; i < config_key_count; i++) {
        g_autofree char *value = config_key_parse(&config_keys[i], text, NULL);
        g_autofree char *again = value ? config_key_parse(&config_keys[i], value, NULL) : NULL;
        if (g_strcmp0(value, again) != 0)
            g_error("%s: '%s' becomes '%s'", config_keys[i].key, value, again);
    }
    g_autoptr(GArray) typed = keys_from_escaped_text(text, NULL);
    g_autoptr(GArray) chord = keys_from_chord(text, NULL);
    if (chord && chord->len % 2)
        g_error("a key stays down");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 4096)
        return 0;
    g_autofree char *text = g_utf8_make_valid((const char *)data, (gssize)size);
    try_text(text);
    try_values(text);
    // The same bytes as a value where a file has one.
    size_t key = size ? data[0] % config_key_count : 0;
    g_autofree char *name = config_key_name(&config_keys[key], 0);
    *strchr(name, '.') = 0;
    g_autofree char *file =
        g_strdup_printf("[%s]\n%s=%s\n", name, config_keys[key].key, text + (*text != 0));
    try_text(file);
    return 0;
}
