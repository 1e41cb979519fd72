// SPDX-License-Identifier: GPL-2.0-or-later
// Mirrors: a guest's pages in the order of their linear addresses. Neighbouring pages of a program
// seldom have neighbouring frames, so that runs (bt-range.h) are short. A mirror is a window of
// host address space that stands for a piece of one linear address space, with the frames of its
// pages mapped once more, side by side; a run through it is as long as the piece.
//
// A mirror says nothing about what the guest may access: a page in it may be used only behind a
// walk that has just found the same frame, and as long as that walk's result holds.
//
// Windows are second mappings of shared memory (mremap with an old size of 0), so all views see the
// same bytes at once. Memory that is a private copy of a file (a machine that was resumed) cannot
// be mapped so; such a machine has no mirrors. Each CPU has its own; all calls from its thread.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

typedef struct BtMirrors BtMirrors;

// Whether some page of the mirror around `page`, a page of the present address space, is mapped.
bool bt_mirror_known(const BtCpu *cpu, uint64_t page);

// Where the frame at `host` stands in the mirror for `page`: *ret_addend + page is its address
// there, *ret_addend the same for all pages of the piece. may_map: where it is not there yet it is
// mapped, as long as that has not happened too often lately. False: not to be had. Where other
// pages of mirrors had to go, no run goes through a mirror any longer, and what somebody took from
// one (translator/groups.c) is wrong: BtMmu.mirror_changes tells.
bool bt_mirror_place(BtCpu *cpu, uint64_t page, uintptr_t host, bool may_map,
                     uintptr_t *ret_addend);

// Whether pages may be mapped now.
bool bt_mirror_is_allowed(const BtCpu *cpu);

// The memory map changed: nothing of it is mapped any longer. No run goes through a mirror when
// this is called.
void bt_mirror_drop_all(BtCpu *cpu);

// With the CPU.
void bt_mirror_destroy(BtCpu *cpu);
