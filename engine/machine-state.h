// SPDX-License-Identifier: GPL-2.0-or-later
// The whole of a machine as a state form (state-form.h), memory apart: what it was built of, time,
// CPUs, every device. And the border to wherever a state goes to or comes from: a sink takes the
// form's bytes and pages of memory, a source gives them.
//
// Records of a form: "machine" (lines KEY=VALUE, what the machine is made of), "cpu-model",
// "time", "cpu.N", "device.N" (creation order, each a state-table.h record), "firmware".
#pragma once

#include "engine/machine.h"
#include "engine/memory/ram.h"
#include "engine/state-form.h"
#include "engine/vcpu/cpuid.h"

// Blocks of memory that belong to a state.
typedef enum {
    MACHINE_MEMORY_RAM,
    MACHINE_MEMORY_VIDEO,
    MACHINE_MEMORY_BLOCKS
} MachineMemoryBlock;

// Functions are called one at a time, from one thread after the other. Each that fails gives one
// sentence; discard follows then.
typedef struct MachineStateSink {
    // Before the first pages: bytes of each block, multiples of 4096.
    bool (*begin)(void *opaque, const uint64_t sizes[MACHINE_MEMORY_BLOCKS], GError **error);
    // Pages [offset, offset + size). What is never written is zero. data NULL: zero again. A page
    // may come more than once; the last one holds.
    bool (*pages)(void *opaque, MachineMemoryBlock block, uint64_t offset, const void *data,
                  size_t size, GError **error);
    // Little is left and the guest is about to stand still for it: what was written is made safe
    // now, so that nobody waits for it then. May be NULL.
    bool (*settle)(void *opaque, GError **error);
    // The form, and page numbers of RAM that the guest used last (ascending). After it returns
    // true the state is whole and safe from a crash.
    bool (*commit)(void *opaque, GBytes *form, const uint32_t *hot, size_t hot_count,
                   GError **error);
    void (*discard)(void *opaque);
    void *opaque;
} MachineStateSink;

typedef struct MachineStateSource {
    GBytes *(*form)(void *opaque, GError **error); // a new reference
    uint64_t (*memory_size)(void *opaque, MachineMemoryBlock block);
    // Fills [host, host + size) with the block. replace: host is a private mapping of whole pages
    // of zeros, over which parts of the source may be mapped (then pages come in when they are
    // used); otherwise bytes are copied to it, over whatever is there.
    bool (*memory)(void *opaque, MachineMemoryBlock block, uint8_t *host, uint64_t size,
                   bool replace, GError **error);
    // The machine was filled: pages that are wanted soon may be fetched ahead, in a thread.
    void (*filled)(void *opaque, const uint8_t *ram);
    // The guest is about to run from this state, which with it is used up. Fails where that cannot
    // be made sure of: the guest does not run then.
    bool (*consume)(void *opaque, GError **error);
    void *opaque;
    // The state is kept elsewhere too, so that its moment may come more than once: the guest gets
    // another generation ID.
    bool repeats;
} MachineStateSource;

// What a machine must be like to go on from a form; read before it is built.
typedef struct {
    CpuFeatureSet features;
    uint64_t tsc_hz;
    char backend[16]; // that it ran under
} MachineStateNeeds;
bool machine_state_needs(const StateForm *form, MachineStateNeeds *ret_needs, GError **error);
// "avx2, sha": names of CPU features. Free with g_free.
char *machine_state_feature_names(CpuFeatureSet features);

// The machine's state without its memory. It stands still, no I/O is in flight. Machine lock held.
StateForm *machine_state_collect(Machine *machine);

// Whether a form fits the machine as it is: everything that can be told without touching it. Error
// names what does not fit.
bool machine_state_check(Machine *machine, const StateForm *form, GError **error);

// Puts a form into a machine that stands still; its memory has been put in place. Every value is
// checked: on failure false and error, which names what does not fit; `machine` then may hold a mix
// and must be reset, unless *ret_touched is false. The lock is not held.
bool machine_state_apply(Machine *machine, const StateForm *form, bool *ret_touched,
                         GError **error);

// Both: memory from the source, then its form.
bool machine_state_load(Machine *machine, const MachineStateSource *source, GError **error);

// Host memory of a block.
RamBlock *machine_state_ram_block(Machine *machine, MachineMemoryBlock block);
uint8_t *machine_state_block(Machine *machine, MachineMemoryBlock block, uint64_t *ret_size);
