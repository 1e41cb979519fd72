// SPDX-License-Identifier: GPL-2.0-or-later
// A machine's configuration: the values of the keys in config-keys.h, read from and written to
// machine.conf (GKeyFile syntax; people may edit it). Values are held in canonical form; what the
// table does not allow cannot get in.
#pragma once

#include "engine/config/config-keys.h"

#include <stdbool.h>

typedef struct Config Config;

// All defaults.
Config *config_new(void);
Config *config_copy(const Config *config);
void config_free(Config *config);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Config, config_free)

// Reads a file. On failure NULL and error: G_FILE_ERROR for the file itself, else G_IO_ERROR with
// one sentence that names file, line and key.
Config *config_load(const char *path, GError **error);
// text: the file's contents; name: for messages.
Config *config_parse(const char *text, const char *name, GError **error);

// The file's contents: only what differs from the default, with groups in the table's order.
char *config_to_text(const Config *config);
// Writes it, replacing the file as one step.
bool config_save(const Config *config, const char *path, GError **error);

// Sets a key from text, as `lodgectl set` does. Error: unknown key, or what the value must be.
bool config_set(Config *config, const char *name, const char *text, GError **error);
// "key=value"
bool config_set_assignment(Config *config, const char *assignment, GError **error);

// The name must be one of the table's and of the right type (a programming mistake otherwise).
const char *config_string(const Config *config, const char *name); // "" where not set; any type
int64_t config_integer(const Config *config, const char *name);    // INTEGER, SIZE
bool config_boolean(const Config *config, const char *name);
// The same for one instance of a group: config_string_at(config, "disk", 2, "path").
const char *config_string_at(const Config *config, const char *group, unsigned instance,
                             const char *key);
bool config_boolean_at(const Config *config, const char *group, unsigned instance,
                       const char *key);

// What no single row can say: too many IDE units, a video memory that is no power of two...
bool config_check(const Config *config, GError **error);

// A file that the configuration names, as an absolute path (relative ones are in `folder`; NULL:
// the working directory). Free with g_free.
char *config_resolve_path(const char *folder, const char *path);

// The card's MAC address: as set, or made from the uuid and the instance.
void config_mac(const Config *config, unsigned network, uint8_t ret_mac[6]);
// machine.uuid as bytes; zeros where it is not set.
void config_uuid(const Config *config, uint8_t ret_uuid[16]);
