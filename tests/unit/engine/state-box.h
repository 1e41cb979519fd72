// SPDX-License-Identifier: GPL-2.0-or-later
// For tests of machine states: small machines with a boot sector, and a state in memory that can be
// a machine's source.
#pragma once

#include "engine/machine-state.h"

#include <gio/gio.h>

// The port whose writes end up in StateBox.value.
#define STATE_BOX_EXIT_PORT 0x501

typedef struct {
    char *folder, *floppy, *disk;
    Config *config;
    Machine *machine;
    GMainLoop *loop;
    bool exited;
    uint32_t value;
} StateBox;

typedef struct {
    GBytes *form;
    GByteArray *memory[MACHINE_MEMORY_BLOCKS];
    unsigned consumed, filled;
    size_t hot_count;
    bool discarded;
    unsigned fail_after; // the Nth call with pages fails; 0: none
    MachineStateSource source;
} HeldState;

// 32 MiB, one CPU, interpreter, a floppy with the boot sector. Change box->config, then build.
void state_box_init(StateBox *box, const void *code, size_t size);
void state_box_build(StateBox *box, const MachineStateSource *resume, GError **error);
void state_box_clear(StateBox *box);
// Its folder, for those who never clear it: what a machine has open it keeps.
void state_box_remove_files(StateBox *box);
// Lets the main loop turn until the guest writes to the exit port, or for `ms` milliseconds.
void state_box_run_until_exit(StateBox *box);
void state_box_run_for(StateBox *box, unsigned ms);

// A sink that fills the (zeroed) state; once it is committed the state can be a source.
MachineStateSink held_state_sink(HeldState *state);

// Everything of a machine that stands still.
void held_state_take(HeldState *state, Machine *machine);
void held_state_clear(HeldState *state);

// A boot sector that computes for `rounds` rounds, writing all over 64 KiB, then writes
// state_box_result(rounds) to the exit port. Returns its size.
size_t state_box_sum_code(uint8_t code[128], uint32_t rounds);
uint8_t state_box_result(uint32_t rounds);
