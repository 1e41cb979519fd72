// SPDX-License-Identifier: GPL-2.0-or-later
// Names of exits and counters.
#include "engine/vcpu/vcpu-exit.h"

#include "engine/vcpu/vcpu-backend.h"

static const char *const names[VCPU_EXIT_COUNT] = {
#define VCPU_EXIT_NAME(name, text) [VCPU_EXIT_##name] = text,
    VCPU_EXIT_REASONS(VCPU_EXIT_NAME)
#undef VCPU_EXIT_NAME
};

const char *vcpu_exit_name(VcpuExitReason reason)
{
    return (unsigned)reason < VCPU_EXIT_COUNT ? names[reason] : "unknown";
}

const char *vcpu_unit_counter_name(VcpuUnitCounter counter)
{
    static const char *const counters[VCPU_UNIT_COUNTERS] = {
        [VCPU_UNIT_ENTRIES] = "unit_entries", [VCPU_UNIT_BLOCKS] = "cold_blocks",
        [VCPU_UNIT_LINKS] = "links",          [VCPU_UNIT_CALL_OUTS] = "call_outs",
        [VCPU_UNIT_REFILLS] = "refills",      [VCPU_UNIT_SLOW] = "slow_instructions",
        [VCPU_UNIT_DROPPED] = "dropped",      [VCPU_UNIT_REVIVED] = "revived",
        [VCPU_UNIT_FORGETS] = "forgets",      [VCPU_UNIT_CODE] = "code_bytes",
    };
    return (unsigned)counter < VCPU_UNIT_COUNTERS ? counters[counter] : "unknown";
}
