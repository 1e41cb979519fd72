// SPDX-License-Identifier: GPL-2.0-or-later
// Names of exits.
#include "engine/vcpu/vcpu-exit.h"

static const char *const names[VCPU_EXIT_COUNT] = {
#define VCPU_EXIT_NAME(name, text) [VCPU_EXIT_##name] = text,
    VCPU_EXIT_REASONS(VCPU_EXIT_NAME)
#undef VCPU_EXIT_NAME
};

const char *vcpu_exit_name(VcpuExitReason reason)
{
    return (unsigned)reason < VCPU_EXIT_COUNT ? names[reason] : "unknown";
}
