// SPDX-License-Identifier: GPL-2.0-or-later
// Which backend runs a machine: `auto` measures each that opens and takes the fastest, because a
// /dev/kvm without VT-x behind it can be far slower than the interpreter.
#pragma once

#include "engine/vcpu/vcpu-backend.h"

typedef struct {
    const VcpuBackendOps *ops;
    char *reason;              // why it cannot run here, or NULL; owned
    double instructions_per_second; // of a calibrated loop, 0 where it was not measured
} BackendReport;

#define BACKEND_COUNT 3

// Probes and, if asked, measures every backend (about 30 ms each), in order of preference.
void vcpu_select_report(BackendReport report[BACKEND_COUNT], bool measure);
void vcpu_select_clear(BackendReport report[BACKEND_COUNT]);

// name: "auto", "kvm", "translator", "interpreter". ret_why: one sentence for the user, owned by
// the caller. NULL and error (G_IO_ERROR_NOT_SUPPORTED, G_IO_ERROR_INVALID_ARGUMENT) where the
// named backend cannot run or does not exist.
const VcpuBackendOps *vcpu_select(const char *name, char **ret_why, GError **error);

// The TSC rate for a machine on this backend, Hz.
uint64_t vcpu_select_tsc_hz(const VcpuBackendOps *ops);
