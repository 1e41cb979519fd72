// SPDX-License-Identifier: GPL-2.0-or-later
// Every key of machine.conf: one row each with type, range, default and meaning. The reader, the
// writer, `lodgectl set` and the manual page come from this table. Names are an on-disk contract.
#pragma once

#include <glib.h>
#include <stdint.h>

typedef enum {
    CONFIG_STRING,   // text without line breaks, at most `max` bytes
    CONFIG_PATH,     // a file; relative to the machine's folder
    CONFIG_INTEGER,  // min..max
    CONFIG_SIZE,     // bytes, written as 512M or 2G; min..max
    CONFIG_BOOLEAN,  // true, false
    CONFIG_CHOICE,   // one of `choices`
    CONFIG_LIST,     // some of `choices`, separated by commas, in order of preference
    CONFIG_UUID,
    CONFIG_MAC,      // six pairs of hexadecimal digits, unicast
    CONFIG_FORWARDS, // [ADDRESS:]HOST:GUEST[/udp], separated by commas
} ConfigType;

typedef struct {
    const char *group; // "disk"; with instances > 1 the file has [disk0], [disk1]...
    unsigned instances;
    const char *key;
    ConfigType type;
    const char *default_value; // "" is "not set"
    const char *other_default; // of instances above 0; NULL: the same
    int64_t min, max;
    const char *const *choices; // NULL-terminated
    const char *doc;
} ConfigKey;

extern const ConfigKey config_keys[];
extern const size_t config_key_count;

// The row of "cpu.count" or "disk3.path"; *ret_instance is 0 or 3. NULL where there is none.
const ConfigKey *config_key_find(const char *name, unsigned *ret_instance);

// "disk3.path". Free with g_free.
char *config_key_name(const ConfigKey *key, unsigned instance);

// What the key's values look like, for messages: "a whole number from 1 to 64".
char *config_key_expects(const ConfigKey *key);

// Checks text against the row and returns it in canonical form; NULL and error (G_IO_ERROR, "must
// be ...") where it does not fit.
char *config_key_parse(const ConfigKey *key, const char *text, GError **error);

// "512M" to bytes and back (the largest unit that divides). False where text is none.
gboolean config_size_parse(const char *text, int64_t *ret_bytes);
char *config_size_format(int64_t bytes);
