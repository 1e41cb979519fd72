// SPDX-License-Identifier: GPL-2.0-or-later
// org.lodge.Vm1.Trace: samples of the guest's CPUs for as long as the caller asked, then the
// answer. Main thread.
#pragma once

#include "data/dbus/lodge-vm1.h"
#include "engine/machine.h"

typedef struct VmTrace VmTrace;

VmTrace *vm_trace_new(Machine *machine);
// A trace that runs is answered with an error. NULL is allowed.
void vm_trace_free(VmTrace *trace);

// Begins, and answers the call when it is over. Where it cannot begin: false and error (with a code
// that errors.h knows), and the call is the caller's to answer.
bool vm_trace_start(VmTrace *trace, LodgeVm1 *skeleton, GDBusMethodInvocation *invocation,
                    guint milliseconds, GError **error);
