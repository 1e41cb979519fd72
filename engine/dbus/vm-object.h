// SPDX-License-Identifier: GPL-2.0-or-later
// The object org.lodge.Vm1 of a running machine. Main thread.
#pragma once

#include "engine/lifecycle.h"

#include <gio/gio.h>

#define VM_OBJECT_PATH "/org/lodge/Vm"

typedef struct VmObject VmObject;

// Exports the object on the connection. folder, spice_socket: for the properties; NULL: "".
VmObject *vm_object_new(GDBusConnection *connection, Lifecycle *lifecycle, const char *folder,
                        const char *spice_socket, GError **error);
// Takes it off the bus, closes serial connections. NULL is allowed.
void vm_object_free(VmObject *object);

// The lifecycle's state has changed: announces it.
void vm_object_update(VmObject *object);

// How far a suspend has come, 0 to 1.
void vm_object_set_progress(VmObject *object, double fraction);
// Whether the machine was built from a suspended one's state.
void vm_object_set_disposable(VmObject *object, bool disposable);
void vm_object_set_resumed(VmObject *object, bool resumed);
