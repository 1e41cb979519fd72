// SPDX-License-Identifier: GPL-2.0-or-later
// Where machines live: one folder NAME.lodge each, below LODGE_HOME or XDG_DATA_HOME/lodge. There
// is no list beside the folders to fall out of step with them.
#pragma once

#include "engine/config/config.h"

#define VM_CONFIG_FILE "machine.conf"
#define VM_FOLDER_SUFFIX ".lodge"
#define VM_STORE_FILE "snapshots.store"

// A suspended machine's state: one of these files, where it begins with the mark
// (engine/suspend-file.h).
#define VM_STATE_FOLDER "state"
#define VM_STATE_FILES 2
#define VM_STATE_MAGIC "LODGESUS" // 8 bytes

// The folder of all machines; not created. Free with g_free.
char *vm_folder_root(void);

// Whether a name can be a machine's; error says what a name must be.
bool vm_name_check(const char *name, GError **error);

// The machine's folder; fails (G_IO_ERROR_NOT_FOUND) where there is no such machine.
char *vm_folder_find(const char *name, GError **error);

// Names of all machines, sorted, NULL-terminated. Empty where there is no folder. Free with
// g_strfreev.
char **vm_folder_list(void);

// Makes a folder for a new machine under a temporary name; fails where the machine exists. The
// caller fills it and then either commits or discards it, so that none is ever half-made.
char *vm_folder_prepare(const char *name, GError **error);
// Gives the prepared folder its name; returns that folder. On failure the folder is discarded.
char *vm_folder_commit(const char *prepared, const char *name, GError **error);
void vm_folder_discard(const char *prepared);

// Removes a machine with everything in its folder (regular files and folders; links are removed,
// not followed).
bool vm_folder_delete(const char *folder, GError **error);

// The path of state file `index`. Free with g_free.
char *vm_folder_state_path(const char *folder, int index);
// Whether the file holds a state, by its mark alone.
bool vm_folder_state_counts(const char *path);
// Whether one of the files holds a state.
bool vm_folder_has_state(const char *folder);
// Whether the machine is suspended: its next start goes on from a state, in a file or in the
// snapshot store.
bool vm_folder_is_suspended(const char *folder);
// Throws the files' state away. The machine must be off. Error: a file cannot be removed.
bool vm_folder_discard_state(const char *folder, GError **error);

// Notes that the snapshot store's running state is that of a machine at work, so that nobody has
// to open the store to show it. The store itself is what counts: a note that is missing is no harm.
void vm_folder_note_state(const char *folder, bool at_work);
// What the note says.
bool vm_folder_is_at_snapshot(const char *folder);

// The name that an engine of this machine has on the session bus. Free with g_free.
char *vm_bus_name(const Config *config);
// The name on the session bus of whatever has the machine's snapshot store. Free with g_free.
char *vm_store_bus_name(const Config *config);
// The folder for the sockets of a running engine, below XDG_RUNTIME_DIR; not created.
char *vm_runtime_folder(const Config *config);
