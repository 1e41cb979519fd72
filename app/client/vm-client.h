// SPDX-License-Identifier: GPL-2.0-or-later
// The way from a machine's folder to its running engine.
#pragma once

#include "data/dbus/lodge-vm1.h"
#include "engine/config/vm-folder.h"

#include <gio/gio.h>

#define VM_CLIENT_PATH "/org/lodge/Vm"

// A machine's configuration, by its folder.
Config *vm_client_config(const char *folder, GError **error);

// The session bus; NULL and error, which says what to do, where there is none. Owned by the caller.
GDBusConnection *vm_client_bus(GError **error);

// A proxy for the machine's engine. NULL and error: G_IO_ERROR_NOT_FOUND where no engine runs it
// (it is off), else what is wrong with the bus.
LodgeVm1 *vm_client_connect(const Config *config, GError **error);

// The machine's state: "off" where no engine runs it or there is no bus. Free with g_free.
char *vm_client_state(const Config *config);

// The same for a machine in a folder: also "suspended", where it is off and goes on at its start.
char *vm_client_state_in(const char *folder, const Config *config);

// Takes "GDBus.Error:...: " off a message that came over the bus.
void vm_client_strip_error(GError *error);

// An engine's message as a dialog says it: a capital at the front, a stop at the end. Free with
// g_free.
char *vm_client_sentence(const char *message);

// "2 GiB", "512 MiB", "1.5 GiB". Free with g_free.
char *vm_client_format_memory(guint64 bytes);
