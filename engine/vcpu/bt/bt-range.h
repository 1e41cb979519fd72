// SPDX-License-Identifier: GPL-2.0-or-later
// Ranges: what generated code checks an access against before it looks into the TLB. A slot in
// BtCpu.range remembers the run of guest-linear addresses around an access that lies in one piece
// of host memory: a page, neighbouring pages with neighbouring frames, a large page, a mirror
// (bt-mirror.h). Which places in the code share a slot, translator/emit-memory.c decides: those
// that are likely to go to the same run. The check of an access that begins at A is
//     A - start < length[extent]    (unsigned), and the host address is A + addend
// because each length is that of the run less the most bytes that an access of this extent has (8,
// 64 or 512), plus one. No load depends on the address.
//
// A slot never allows more than the TLB would. It goes (length = 0) with each invalidation that
// touches its addresses, with every load of CR3 unless all of its pages are global, and, where it
// is for stores, when a page of it gets to hold decoded code. The pages of a run have A set, and
// D where it is for stores. A slot of CPL 0..2 never covers what SMAP forbids, so it is right
// with RFLAGS.AC set and clear; with CPL 3 and alignment checks there are none.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

// With bt_mmu_create: all slots are empty.
void bt_range_init(BtCpu *cpu);

// Fills the slot with the run around [linear, linear + bytes), in the present view
// (cpu->mmu_index). Sets no A or D bit and never raises. False, and the slot is empty: that cannot
// be had.
bool bt_range_fill(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write);

// Whether the slot serves an access.
static inline bool bt_range_allows(const BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes)
{
    const BtRange *range = &cpu->range[slot];
    return linear - range->start <
           __atomic_load_n(&range->length[bt_range_extent(bytes)], __ATOMIC_RELAXED);
}

// Fills it for an access that it did not allow, and decides how soon to try again: after a few
// accesses where it gets emptied; later each time where it held a short run elsewhere, as what goes
// from page to page is better served by the TLB; much later where it cannot be had. A stack's slot
// is always filled again soon: it moves with the task that runs.
void bt_range_learn(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write);

// Fills it for an access that goes over a page's end, for which the frames of both pages may have
// to be brought together (bt-mirror.h). Whether the slot serves it now.
bool bt_range_bridge(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write);

// As bt_range_learn for an access that the TLB did not have either and has now: such a miss costs
// as much as several look-ups. Where it is too soon to search, the slot gets the page that the TLB
// has.
void bt_range_missed(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned bytes, bool write);

// The places that share the slot go all over memory: the TLB alone serves them better.
bool bt_range_is_hopeless(const BtCpu *cpu, unsigned slot);

// Other places are going to use the slots: what they have learned goes.
void bt_range_forget(BtCpu *cpu);

// Empties every slot; those with a page that is not global; those that touch the page, or the large
// page around it.
void bt_range_drop_all(BtCpu *cpu);
void bt_range_drop_local(BtCpu *cpu);
void bt_range_drop_page(BtCpu *cpu, uint64_t page);

// Empties the slots whose runs go through a mirror and touch [low, high] of the present address
// space, from whose mirrors those pages are about to go.
void bt_range_drop_mirrored(BtCpu *cpu, uint64_t low, uint64_t high);

// Empties another CPU's slots for stores that touch the 4 KiB at `host`. The page's granules are
// set and the machine's code_protections has moved on already.
void bt_range_drop_host_page(BtCpu *cpu, const uint8_t *host);
