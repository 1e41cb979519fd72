// SPDX-License-Identifier: GPL-2.0-or-later
// Random bytes as guest code, in every mode that the interpreter knows: decoder, block cache and
// every handler must leave the engine whole whatever the bytes and the registers are. Built a
// second time (FUZZ_ENGINE) to run the translator in lockstep with the interpreter: what the one
// does to registers and memory the other must do too.
//
// The input: a byte for the mode, one for flags, 16 that make the registers, then code. Where a run
// stops (HLT, exceptions, which end in one, shutdown) it goes on at another byte of the code with
// the registers it had.
//
// Code that changes its page tables may see the old ones or the new ones until it invalidates: that
// depends on what an engine has in its TLB. A difference after that is no finding.
#include "engine/base/bytes.h"
#include "engine/vcpu/bt/translator/lockstep-log.h"
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

#ifndef FUZZ_ENGINE
#define FUZZ_ENGINE "interpreter"
#endif
#define OPS          bt_test_engine()
#define IN_LOCKSTEP  (strcmp(FUZZ_ENGINE, "lockstep") == 0)
#define LONGEST_CODE 1024
#define TABLES_END   (MACHINE_PT + 0x1000) // from MACHINE_PML4 on
#define STARTS       24
#define INSTRUCTIONS 64
// Enough for any instruction but a repeated one; after so many the CPU is kicked out of that.
#define MOST_EXITS   512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void (*const modes[])(Machine *m) = {
    machine_real, machine_protected_v86, machine_protected, machine_protected_16,
    machine_protected_user, machine_pae, machine_long, machine_long_user, machine_compatibility,
};

// Half of the registers point at data, the others hold what arithmetic stumbles over.
static uint64_t register_value(uint8_t seed)
{
    static const uint64_t edges[] = { 0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x10000,
        0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, UINT64_MAX };
    return seed & 0x80 ? edges[seed & 15] : 0x7000u + (uint64_t)(seed & 0x7f) * 0x1f3;
}

static void set_start(Machine *m, ByteReader *input)
{
    modes[byte_reader_u8(input) % G_N_ELEMENTS(modes)](m);
    uint8_t flags = byte_reader_u8(input);
    m->state.rflags |= (flags & 1 ? 0x200 : 0) | (flags & 2 ? 0x100 : 0) |
                       (flags & 4 ? 0x400 : 0) | (flags & 8 ? 0x40000 : 0);
    m->state.cr4 |= flags & 16 ? 0x600 : 0; // SSE
    if (flags & 32)
        m->state.cr4 |= 0x40000; // XSAVE: AVX can be turned on
    for (unsigned i = 0; i < 16; i++) {
        uint64_t value = register_value(byte_reader_u8(input));
        if (i != VCPU_RSP)
            m->state.gpr[i] = value;
    }
    m->interrupt = flags & 64 ? 0x40 : -1;
    OPS->set_interrupt(m->vcpu[0], flags & 64);
}

static uint32_t *copy_tables(Machine *m)
{
    uint32_t *copy = g_malloc(TABLES_END - MACHINE_PML4);
    guest_memory_read(m->memory, MACHINE_PML4, copy, TABLES_END - MACHINE_PML4);
    return copy;
}

// Whether the tables are what they were, but for accessed and dirty bits.
static bool tables_are(Machine *m, const uint32_t *before)
{
    g_autofree uint32_t *now = copy_tables(m);
    for (unsigned i = 0; i < (TABLES_END - MACHINE_PML4) / 4; i++) {
        if ((now[i] ^ before[i]) & ~UINT32_C(0x60))
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_setenv("LODGE_TEST_ENGINE", FUZZ_ENGINE, FALSE);
    g_setenv("LODGE_TRANSLATOR", "hot=1,exact", FALSE);
    g_setenv("LODGE_LOCKSTEP", "rounds=8,memory=0,quiet", FALSE);
    ByteReader input = byte_reader(data, size);
    g_autoptr(Machine) m = machine_new(1);
    set_start(m, &input);
    size_t length = MIN(size - MIN(size, input.position), LONGEST_CODE);
    if (length == 0)
        return 0;
    guest_memory_write(m->memory, MACHINE_CODE, data + input.position, length);
    guest_memory_write(m->memory, MACHINE_DATA, data + input.position, length);
    VcpuState start = m->state;
    g_autofree uint32_t *tables = copy_tables(m);
    if (!OPS->set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL))
        g_error("a state of the machine's own was refused");
    for (unsigned i = 0; i < STARTS; i++) {
        m->most_exits = MOST_EXITS;
        OPS->run_some(m->vcpu[0], INSTRUCTIONS, &m->exit);
        OPS->get_state(m->vcpu[0], &m->state, VCPU_STATE_ALL);
        if (m->exit.reason == VCPU_EXIT_INTERNAL_ERROR) {
            if (IN_LOCKSTEP && !strcmp(m->exit.internal_error.text, LOCKSTEP_TOO_MANY))
                return 0;
            if (!IN_LOCKSTEP || (m->state.cr3 == start.cr3 && tables_are(m, tables)))
                g_error("%s", m->exit.internal_error.text);
            g_printerr("no finding: the code changed its page tables\n");
            return 0;
        }
        // A state that the interpreter has got into is one that it takes.
        if (!OPS->set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL))
            g_error("the interpreter's own state was refused");
        if (m->exit.reason == VCPU_EXIT_KICK)
            continue;
        start.rip = MACHINE_CODE + i * 37 % length;
        memcpy(start.gpr, m->state.gpr, sizeof start.gpr);
        start.gpr[VCPU_RSP] = MACHINE_STACK;
        OPS->set_state(m->vcpu[0], &start, VCPU_STATE_ALL);
    }
    return 0;
}
