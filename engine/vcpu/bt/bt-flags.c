// SPDX-License-Identifier: GPL-2.0-or-later
// RFLAGS as a whole: the status flags in the host's form and the rest (bt-flags.h).
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-parts.h"

uint64_t bt_rflags_get(const BtCpu *cpu)
{
    return cpu->rflags_rest | bt_flags_get_status(cpu);
}

void bt_rflags_set(BtCpu *cpu, uint64_t rflags)
{
    bt_flags_set_status(cpu, rflags);
    cpu->rflags_rest =
        (rflags & BT_FLAGS_DEFINED & ~(uint64_t)BT_FLAGS_STATUS) | BT_FLAG_ONE;
    bt_debug_update(cpu);
}
