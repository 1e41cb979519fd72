// SPDX-License-Identifier: GPL-2.0-or-later
// One machine as the workstation sees it: its folder and configuration, and, while it runs, its
// engine on the bus. Follows the engine's coming and going by itself.
#pragma once

#include "app/client/engine-launcher.h"
#include "app/client/vm-client.h"
#include "app/console/lodge-session.h"

#include <gio/gio.h>

G_BEGIN_DECLS

#define LODGE_TYPE_VM (lodge_vm_get_type())
G_DECLARE_FINAL_TYPE(LodgeVm, lodge_vm, LODGE, VM, GObject)

// Properties: "folder", "name", "state" ("off", "suspended" and the states of org.lodge.Vm1),
// "state-text" (for people), "reason" (why it crashed or was not suspended, or empty), "summary"
// (memory and CPUs).
// Signal: "show-requested".

LodgeVm *lodge_vm_new(const char *folder);
const char *lodge_vm_get_folder(LodgeVm *self);
const char *lodge_vm_get_name(LodgeVm *self);
const char *lodge_vm_get_state(LodgeVm *self);
const char *lodge_vm_get_reason(LodgeVm *self);
gboolean lodge_vm_is_on(LodgeVm *self); // an engine runs it
gboolean lodge_vm_is_disposable(LodgeVm *self); // and what it changes is thrown away then
// NULL while machine.conf cannot be read; then lodge_vm_get_reason says why.
const Config *lodge_vm_get_config(LodgeVm *self);

// Turns the machine on. how: NULL: as always.
void lodge_vm_start_async(LodgeVm *self, const EngineStart *how, GAsyncReadyCallback done,
                          gpointer user_data);
gboolean lodge_vm_start_finish(LodgeVm *self, GAsyncResult *result, GError **error);

typedef enum {
    LODGE_VM_PAUSE,
    LODGE_VM_RESUME,
    LODGE_VM_RESET,
    LODGE_VM_SHUT_DOWN, // asks the guest
    LODGE_VM_POWER_OFF, // at once
    LODGE_VM_SUSPEND,   // the state is "suspending" until it is off, or goes on with a reason
} LodgeVmAction;

void lodge_vm_act_async(LodgeVm *self, LodgeVmAction action, GAsyncReadyCallback done,
                        gpointer user_data);
gboolean lodge_vm_act_finish(LodgeVm *self, GAsyncResult *result, GError **error);

// A chord like "ctrl+alt+delete".
void lodge_vm_send_chord(LodgeVm *self, const char *chord);

// LodgeSocketOpen with the machine as open_data: a SPICE channel with shared-memory pictures.
void lodge_vm_open_display(gpointer vm, LodgeSocketReady ready, gpointer ready_data);
// The same for serial port 0.
void lodge_vm_open_serial(gpointer vm, LodgeSocketReady ready, gpointer ready_data);

// Writes the screen to a PNG file.
void lodge_vm_screenshot_async(LodgeVm *self, const char *path, GAsyncReadyCallback done,
                               gpointer user_data);
gboolean lodge_vm_screenshot_finish(LodgeVm *self, GAsyncResult *result, GError **error);

G_END_DECLS
