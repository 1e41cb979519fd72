// SPDX-License-Identifier: GPL-2.0-or-later
// Ranges: what generated code checks an access against before it looks into the TLB. Each place in
// the code has a slot of its own in BtCpu.range, which remembers the run of guest-linear addresses
// around its last access that lies in one piece of host memory: a page, neighbouring pages with
// neighbouring frames, a large page. The check of an access that begins at A and covers `extent`
// bytes is
//     A - start < length        (unsigned), and the host address is A + addend
// because `length` is that of the run less extent - 1. No load depends on the address.
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

// Fills the slot for [linear, linear + extent), in the present view (cpu->mmu_index). Sets no A or
// D bit and never raises. False, and the slot is empty: that cannot be had.
bool bt_range_fill(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned extent, bool write);

// The same for a place whose access the slot did not allow, and how soon to try again: after a few
// accesses where it gets emptied; later each time where it held other addresses, as a place that
// goes from page to page is better served by the TLB; much later where it cannot be had.
void bt_range_learn(BtCpu *cpu, unsigned slot, uint64_t linear, unsigned extent, bool write);

// The first `slots` slots may be given to other places: what they have learned goes.
void bt_range_forget(BtCpu *cpu, unsigned slots);

// Empties every slot; those with a page that is not global; those that touch the page, or the large
// page around it.
void bt_range_drop_all(BtCpu *cpu);
void bt_range_drop_local(BtCpu *cpu);
void bt_range_drop_page(BtCpu *cpu, uint64_t page);

// Empties another CPU's slots for stores that touch the 4 KiB at `host`. The page's granules are
// set and the machine's code_protections has moved on already.
void bt_range_drop_host_page(BtCpu *cpu, const uint8_t *host);
