// SPDX-License-Identifier: GPL-2.0-or-later
// See config.h. A value that equals its default is not stored, so that a file stays short and a
// better default reaches old machines (but for `board`, which is always written: a released board
// never changes).
#include "engine/config/config.h"

#include <gio/gio.h>

#include <string.h>

struct Config {
    GHashTable *values; // "disk0.path" -> canonical text; absent: the default
};

static const char *default_of(const ConfigKey *key, unsigned instance)
{
    return instance > 0 && key->other_default ? key->other_default : key->default_value;
}

Config *config_new(void)
{
    Config *config = g_new0(Config, 1);
    config->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    return config;
}

Config *config_copy(const Config *config)
{
    Config *copy = config_new();
    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init(&iter, config->values);
    while (g_hash_table_iter_next(&iter, &name, &value))
        g_hash_table_insert(copy->values, g_strdup(name), g_strdup(value));
    return copy;
}

void config_free(Config *config)
{
    if (!config)
        return;
    g_hash_table_unref(config->values);
    g_free(config);
}

static void store(Config *config, const ConfigKey *key, unsigned instance, const char *name,
                  char *value)
{
    if (strcmp(value, default_of(key, instance)) == 0) {
        g_hash_table_remove(config->values, name);
        g_free(value);
    } else {
        g_hash_table_replace(config->values, g_strdup(name), value);
    }
}

// The key that is meant by an unknown one: the table's with the same last part.
static char *suggest(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *last = dot ? dot + 1 : name;
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].key, last) == 0 || strcmp(config_keys[i].group, name) == 0)
            return config_key_name(&config_keys[i], 0);
    }
    return NULL;
}

// A value as a message has it: one line, not too long.
static char *shown_value(const char *text)
{
    const glong most = 60;
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    bool cut = g_utf8_strlen(valid, -1) > most;
    g_autofree char *start = cut ? g_utf8_substring(valid, 0, most) : g_strdup(valid);
    for (char *p = start; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
    return g_strconcat(start, cut ? "..." : "", NULL);
}

bool config_set(Config *config, const char *name, const char *text, GError **error)
{
    unsigned instance;
    const ConfigKey *key = config_key_find(name, &instance);
    if (!key) {
        g_autofree char *hint = suggest(name);
        g_autofree char *shown = shown_value(name);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "there is no key %s; %s%s", shown, hint ? "did you mean " : "see lodge.conf(5)",
                    hint ? hint : "");
        return false;
    }
    g_autoptr(GError) problem = NULL;
    char *value = config_key_parse(key, text, &problem);
    if (!value) {
        g_autofree char *shown = shown_value(text);
        g_set_error(error, problem->domain, problem->code, "%s = %s: %s", name, shown,
                    problem->message);
        return false;
    }
    store(config, key, instance, name, value);
    return true;
}

bool config_set_assignment(Config *config, const char *assignment, GError **error)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment) {
        g_autofree char *shown = shown_value(assignment);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s is no setting; write key=value, for instance cpu.count=2", shown);
        return false;
    }
    g_autofree char *name = g_strndup(assignment, (gsize)(equals - assignment));
    g_strstrip(name);
    return config_set(config, name, equals + 1, error);
}

// The line, from 1, on which group (and key, where not NULL) stands; 0 where it is not found.
static unsigned find_line(const char *text, const char *group, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    g_autofree char *header = g_strdup_printf("[%s]", group);
    bool inside = false;
    for (unsigned i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        if (*line == '[') {
            inside = strcmp(line, header) == 0;
            if (inside && !key)
                return i + 1;
        } else if (inside && key && g_str_has_prefix(line, key)) {
            const char *rest = line + strlen(key);
            while (*rest == ' ' || *rest == '\t')
                rest++;
            if (*rest == '=')
                return i + 1;
        }
    }
    return 0;
}

static bool is_group(const char *group)
{
    for (size_t i = 0; i < config_key_count; i++) {
        g_autofree char *name = g_strdup_printf("%s.%s", group, config_keys[i].key);
        unsigned instance;
        if (config_key_find(name, &instance))
            return true;
    }
    return false;
}

static bool parse_group(Config *config, GKeyFile *file, const char *group, const char *text,
                        const char *file_name, GError **error)
{
    if (!is_group(group)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s line %u: there is no group [%s]; see lodge.conf(5)", file_name,
                    find_line(text, group, NULL), group);
        return false;
    }
    g_auto(GStrv) keys = g_key_file_get_keys(file, group, NULL, NULL);
    for (char **key = keys; key && *key; key++) {
        g_autofree char *name = g_strdup_printf("%s.%s", group, *key);
        g_autoptr(GError) problem = NULL;
        g_autofree char *value = g_key_file_get_string(file, group, *key, &problem);
        // With a wrong escape sequence there are both a value and an error.
        if (problem || !config_set(config, name, value, &problem)) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s line %u: %s", file_name,
                        find_line(text, group, *key), problem->message);
            return false;
        }
    }
    return true;
}

Config *config_parse(const char *text, const char *name, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    g_autoptr(GError) problem = NULL;
    if (!g_key_file_load_from_data(file, text, strlen(text), G_KEY_FILE_NONE, &problem)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s: %s", name, problem->message);
        return NULL;
    }
    g_autoptr(Config) config = config_new();
    // The format first: a newer file should be called that, not full of unknown keys.
    gint format = g_key_file_get_integer(file, "machine", "format", NULL);
    if (format > 1) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s line %u: machine.format = %d: written by a newer Lodge, this one reads "
                    "format 1; update Lodge",
                    name, find_line(text, "machine", "format"), format);
        return NULL;
    }
    g_auto(GStrv) groups = g_key_file_get_groups(file, NULL);
    for (char **group = groups; *group; group++) {
        if (!parse_group(config, file, *group, text, name, error))
            return NULL;
    }
    if (!config_check(config, &problem)) {
        g_set_error(error, problem->domain, problem->code, "%s: %s", name, problem->message);
        return NULL;
    }
    return g_steal_pointer(&config);
}

Config *config_load(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    gsize size;
    if (!g_file_get_contents(path, &text, &size, error))
        return NULL;
    if (size > 1024 * 1024 || strlen(text) != size || !g_utf8_validate(text, -1, NULL)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s is not a configuration: it must be UTF-8 text of at most 1 MiB", path);
        return NULL;
    }
    return config_parse(text, path, error);
}

char *config_to_text(const Config *config)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    for (size_t i = 0; i < config_key_count; i++) {
        const ConfigKey *key = &config_keys[i];
        // What a later Lodge has to know: the file's format and the board.
        bool always = strcmp(key->group, "machine") == 0 &&
                      (strcmp(key->key, "format") == 0 || strcmp(key->key, "board") == 0);
        for (unsigned instance = 0; instance < key->instances; instance++) {
            g_autofree char *name = config_key_name(key, instance);
            const char *value = g_hash_table_lookup(config->values, name);
            if (!value && always)
                value = default_of(key, instance);
            if (!value)
                continue;
            *strchr(name, '.') = 0;
            g_key_file_set_string(file, name, key->key, value);
        }
    }
    return g_key_file_to_data(file, NULL, NULL);
}

bool config_save(const Config *config, const char *path, GError **error)
{
    g_autofree char *text = config_to_text(config);
    return g_file_set_contents_full(path, text, -1,
                                    G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE,
                                    0644, error);
}

const char *config_string(const Config *config, const char *name)
{
    const char *value = g_hash_table_lookup(config->values, name);
    if (value)
        return value;
    unsigned instance;
    const ConfigKey *key = config_key_find(name, &instance);
    g_return_val_if_fail(key, "");
    return default_of(key, instance);
}

int64_t config_integer(const Config *config, const char *name)
{
    const char *value = config_string(config, name);
    int64_t bytes;
    if (config_size_parse(value, &bytes))
        return bytes;
    return g_ascii_strtoll(value, NULL, 10);
}

bool config_boolean(const Config *config, const char *name)
{
    return strcmp(config_string(config, name), "true") == 0;
}

const char *config_string_at(const Config *config, const char *group, unsigned instance,
                             const char *key)
{
    char name[64];
    g_snprintf(name, sizeof(name), "%s%u.%s", group, instance, key);
    return config_string(config, name);
}

bool config_boolean_at(const Config *config, const char *group, unsigned instance, const char *key)
{
    return strcmp(config_string_at(config, group, instance, key), "true") == 0;
}

static unsigned instances_of(const char *group)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].group, group) == 0)
            return config_keys[i].instances;
    }
    return 0;
}

bool config_check(const Config *config, GError **error)
{
    unsigned ide = 0;
    for (unsigned i = 0; i < instances_of("disk"); i++) {
        bool used = *config_string_at(config, "disk", i, "path");
        bool is_ide = strcmp(config_string_at(config, "disk", i, "interface"), "ide") == 0;
        ide += used && is_ide;
        if (used && is_ide && config_boolean_at(config, "disk", i, "read-only")) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "disk%u is read-only, which an IDE disk cannot be; set "
                        "disk%u.interface=virtio", i, i);
            return false;
        }
    }
    for (unsigned i = 0; i < instances_of("cdrom"); i++)
        ide += config_boolean_at(config, "cdrom", i, "present") ||
               *config_string_at(config, "cdrom", i, "path");
    if (ide > 4) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%u IDE disks and CD drives do not fit on the board's 4 places; set "
                    "diskN.interface=virtio for some", ide);
        return false;
    }
    int64_t vram = config_integer(config, "display.vram");
    if (vram & (vram - 1)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "display.vram = %s: must be a power of two, like 16M",
                    config_string(config, "display.vram"));
        return false;
    }
    for (unsigned i = 0; i < instances_of("serial"); i++) {
        if (strcmp(config_string_at(config, "serial", i, "mode"), "file") == 0 &&
            !*config_string_at(config, "serial", i, "path")) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "serial%u.mode is file, but serial%u.path is not set", i, i);
            return false;
        }
    }
    if (*config_string(config, "boot.initrd") && !*config_string(config, "boot.kernel")) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "boot.initrd is set without boot.kernel; an initrd needs its kernel");
        return false;
    }
    return true;
}

char *config_resolve_path(const char *folder, const char *path)
{
    if (g_path_is_absolute(path) || !folder)
        return g_canonicalize_filename(path, NULL);
    return g_canonicalize_filename(path, folder);
}

void config_uuid(const Config *config, uint8_t ret_uuid[16])
{
    memset(ret_uuid, 0, 16);
    const char *p = config_string(config, "machine.uuid");
    for (int i = 0; i < 16 && *p; i++) {
        if (*p == '-')
            p++;
        ret_uuid[i] = (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
        p += 2;
    }
}

void config_mac(const Config *config, unsigned network, uint8_t ret_mac[6])
{
    const char *text = config_string_at(config, "network", network, "mac");
    if (*text) {
        for (int i = 0; i < 6; i++)
            ret_mac[i] = (uint8_t)(g_ascii_xdigit_value(text[3 * i]) << 4 |
                                   g_ascii_xdigit_value(text[3 * i + 1]));
        return;
    }
    uint8_t uuid[16];
    config_uuid(config, uuid);
    // 52: locally administered, unicast.
    const uint8_t made[6] = { 0x52, 0x4c, 0x47, uuid[13], uuid[14],
                              (uint8_t)(uuid[15] + network) };
    memcpy(ret_mac, made, 6);
}
