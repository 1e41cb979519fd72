// SPDX-License-Identifier: GPL-2.0-or-later
// Names of exits and counters.
#include "engine/vcpu/vcpu-exit.h"

#include "engine/vcpu/vcpu-backend.h"

#include <string.h>

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
        [VCPU_UNIT_DROPPED] = "dropped",
        [VCPU_UNIT_DROPPED_STORE] = "dropped_by_store",
        [VCPU_UNIT_DROPPED_DEVICE] = "dropped_by_device",
        [VCPU_UNIT_DROPPED_MAP] = "dropped_by_memory_map",
        [VCPU_UNIT_DROPPED_MANY] = "dropped_by_many_writes",
        [VCPU_UNIT_DROPPED_REGROUP] = "dropped_to_regroup",
        [VCPU_UNIT_DROPPED_RANGES] = "dropped_for_ranges",
        [VCPU_UNIT_REVIVED] = "revived",      [VCPU_UNIT_RELOCATED] = "relocated",
        [VCPU_UNIT_FORGETS] = "forgets",      [VCPU_UNIT_CODE] = "code_bytes",
    };
    return (unsigned)counter < VCPU_UNIT_COUNTERS ? counters[counter] : "unknown";
}

void vcpu_call_outs_add(VcpuCallOut *rows, const char *name, uint64_t count)
{
    VcpuCallOut *row = rows;
    for (unsigned i = 0; i < VCPU_CALL_OUTS; i++) {
        if (!rows[i].name || strcmp(rows[i].name, name) == 0) {
            rows[i] = (VcpuCallOut){ name, rows[i].count + count };
            return;
        }
        if (rows[i].count < row->count)
            row = &rows[i];
    }
    if (count > row->count)
        *row = (VcpuCallOut){ name, count };
}
