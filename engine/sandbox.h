// SPDX-License-Identifier: GPL-2.0-or-later
// The engine locks itself in: after everything is open and before the guest's first instruction.
// What remains: computing, and the descriptors it has.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    bool executable_memory;      // a backend makes code at run time
    bool kvm;                    // ioctls on KVM descriptors
} SandboxConfig;

// For this process with all its threads, for good. False and error where the kernel refuses.
bool sandbox_enter(const SandboxConfig *config, GError **error);

// Whether the kernel has Landlock, the second layer.
bool sandbox_has_landlock(void);

// Proves in child processes that after sandbox_enter opening, connecting and executing fail, and
// that what the engine needs still works. Prints a line a check; returns an exit status.
int sandbox_self_test(void);
