// SPDX-License-Identifier: GPL-2.0-or-later
// Far transfers: JMP, CALL, RET and IRET in every mode, call gates, virtual-8086 mode, hardware
// tasks, SYSCALL and SYSENTER.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

enum { TARGET = 0x6000 }; // where transfers go: ud2

static void put_target(Machine *m)
{
    machine_write(m, TARGET, 2, 0x0b0f);
}

#define PTR32(offset, selector)                                                                    \
    (offset) & 0xff, (offset) >> 8 & 0xff, (offset) >> 16 & 0xff, 0, (selector) & 0xff,            \
        (selector) >> 8

// After a ud2 at TARGET was reached: #UD's frame names it. entry: bytes of a frame slot.
static void assert_at_target(Machine *m, unsigned entry)
{
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), entry), ==, TARGET);
}

// ---- Direct ----

static void test_jump_direct(void)
{
    static const struct {
        uint16_t access, rpl;
        bool user;
        int vector;
    } rows[] = {
        { 0xc09b, 0, false, 6 },  { 0xc09b, 3, false, 13 }, { 0xc0fb, 3, false, 13 },
        { 0xc0fb, 3, true, 6 },   { 0xc0fb, 0, true, 6 },   { 0xc09b, 0, true, 13 },
        { 0xc09f, 0, true, 6 },   { 0xc0ff, 0, false, 13 }, { 0xc093, 0, false, 13 },
        { 0xc01b, 0, false, 11 },
    };
    g_autoptr(Machine) m = machine_new(1);
    put_target(m);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        if (rows[i].user)
            machine_user(m);
        machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, 0xfffff, rows[i].access);
        uint16_t selector = SEL_FREE | rows[i].rpl;
        machine_run_bytes(m, 0xea, PTR32(TARGET, selector));
        if (rows[i].vector == 6) {
            assert_at_target(m, 4);
            // RPL of CS becomes CPL.
            g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 2), ==,
                            SEL_FREE | (rows[i].user ? 3 : 0));
        } else {
            assert_fault(m, rows[i].vector, SEL_FREE, 4);
        }
    }
}

static void test_jump_beyond_limit(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, TARGET - 1, 0x409b);
    machine_run_bytes(m, 0xea, PTR32(TARGET, SEL_FREE));
    assert_fault(m, 13, 0, 4);
}

static void test_call_and_return(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_write(m, TARGET, 3, 0x0004ca); // retf 4
    machine_run_bytes(m, 0x6a, 1, 0x9a, PTR32(TARGET, SEL_CODE32), 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 9);
    g_assert_cmphex(m->state.gpr[VCPU_RSP] + 12, ==, MACHINE_STACK);

    machine_real(m);
    machine_write(m, TARGET, 1, 0xcb);
    machine_run_bytes(m, 0x9a, TARGET & 0xff, TARGET >> 8, 0, 0, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 6);
}

// ---- Call gates ----

static void test_call_gate_inner(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    put_target(m);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE32, TARGET, 0xec, 2);
    machine_run_bytes(m, 0x6a, 0x11, 0x6a, 0x22, 0x9a, PTR32(0x999999, (SEL_FREE | 3)));
    assert_at_target(m, 4);
    // Under #UD's frame: EIP, CS, two parameters, ESP, SS.
    uint64_t sp = MACHINE_STACK0 - 24;
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, sp - 12);
    g_assert_cmphex(machine_read(m, sp, 4), ==, MACHINE_CODE + 11);
    g_assert_cmphex(machine_read(m, sp + 4, 4), ==, SEL_USER_CODE32);
    g_assert_cmphex(machine_read(m, sp + 8, 4), ==, 0x22);
    g_assert_cmphex(machine_read(m, sp + 12, 4), ==, 0x11);
    g_assert_cmphex(machine_read(m, sp + 16, 4), ==, MACHINE_STACK - 8);
    g_assert_cmphex(machine_read(m, sp + 20, 4), ==, SEL_USER_DATA32);
}

// RETF to ring 3 from the gate: parameters go from both stacks, DS of ring 0 becomes null.
static void test_call_gate_round_trip(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    static const uint8_t kernel[] = { 0xb8, SEL_DATA32, 0, 0, 0, 0x8e, 0xd8, 0xca, 8, 0 };
    for (unsigned i = 0; i < sizeof kernel; i++)
        machine_write(m, TARGET + i, 1, kernel[i]);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE32, TARGET, 0xec, 2);
    machine_run_bytes(m, 0x6a, 0x11, 0x6a, 0x22, 0x9a, PTR32(0, (SEL_FREE | 3)), 0x0f, 0x0b);
    assert_vector(m, 6);
    uint64_t frame = machine_stack(m);
    g_assert_cmphex(machine_read(m, frame, 4), ==, MACHINE_CODE + 11);
    g_assert_cmphex(machine_read(m, frame + 4, 4), ==, SEL_USER_CODE32);
    g_assert_cmphex(machine_read(m, frame + 12, 4), ==, MACHINE_STACK);
    g_assert_true(m->state.segment[VCPU_DS].unusable);
    g_assert_false(m->state.segment[VCPU_ES].unusable);
}

static void test_call_gate_checks(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE32, TARGET, 0x8c, 0); // DPL 0
    machine_run_bytes(m, 0x9a, PTR32(0, (SEL_FREE | 3)));
    assert_fault(m, 13, SEL_FREE, 4);
    machine_protected(m);
    machine_user(m);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE32, TARGET, 0x6c, 0); // not present
    machine_run_bytes(m, 0x9a, PTR32(0, (SEL_FREE | 3)));
    assert_fault(m, 11, SEL_FREE, 4);
    machine_protected(m);
    machine_user(m);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_DATA32, TARGET, 0xec, 0); // not code
    machine_run_bytes(m, 0x9a, PTR32(0, (SEL_FREE | 3)));
    assert_fault(m, 13, SEL_DATA32, 4);
    machine_protected(m);
    machine_user(m); // JMP may not change the level
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE32, TARGET, 0xec, 0);
    machine_run_bytes(m, 0xea, PTR32(0, (SEL_FREE | 3)));
    assert_fault(m, 13, SEL_CODE32, 4);
    machine_protected(m);
    machine_user(m); // the stack in the TSS is none
    machine_write(m, MACHINE_TSS + 8, 4, SEL_CODE32);
    machine_run_bytes(m, 0x9a, PTR32(0, (SEL_FREE | 3)));
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_SHUTDOWN); // and none for the fault either
}

static void test_call_gate_64(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    machine_user(m);
    put_target(m);
    machine_gate(m, MACHINE_GDT + SEL_FREE, SEL_CODE64, TARGET, 0xec, 0);
    machine_write(m, MACHINE_GDT + SEL_FREE + 8, 8, 0);
    machine_write(m, MACHINE_DATA, 4, 0);
    machine_write(m, MACHINE_DATA + 4, 2, SEL_FREE | 3);
    machine_run_bytes(m, 0xff, 0x1c, 0x25, 0, 0, 0x10, 0); // call far [DATA]
    assert_at_target(m, 8);
    uint64_t sp = MACHINE_STACK0 - 32;
    g_assert_cmphex(machine_read(m, sp, 8), ==, MACHINE_CODE + 7);
    g_assert_cmphex(machine_read(m, sp + 8, 8), ==, SEL_USER_CODE64);
    g_assert_cmphex(machine_read(m, sp + 16, 8), ==, MACHINE_STACK);
    g_assert_cmphex(machine_read(m, sp + 24, 8), ==, SEL_USER_DATA32);
    g_assert_cmphex(m->state.segment[VCPU_SS].selector, ==, 0);
    g_assert_true(m->state.segment[VCPU_SS].unusable);
}

// ---- IRET ----

static void push_frame(Machine *m, unsigned size, const uint64_t *slots, unsigned count)
{
    m->state.gpr[VCPU_RSP] = MACHINE_STACK - size * count;
    for (unsigned i = 0; i < count; i++)
        machine_write(m, m->state.gpr[VCPU_RSP] + size * i, size, slots[i]);
}

static void test_iret_flags(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    put_target(m);
    push_frame(m, 4, (const uint64_t[]){ TARGET, SEL_CODE32, 0x243ed7 }, 3);
    machine_run_bytes(m, 0xcf);
    assert_at_target(m, 4);
    // TF, which traps only after the next instruction, is clear in the image.
    uint64_t flags = machine_read(m, machine_stack(m) + 8, 4);
    g_assert_cmphex(flags, ==, 0x253ed7); // and RF, because #UD is a fault
    // Ring 3 with IOPL 0 changes neither IF nor IOPL.
    machine_protected(m);
    machine_user(m);
    push_frame(m, 4, (const uint64_t[]){ TARGET, SEL_USER_CODE32, 0x3202 }, 3);
    machine_run_bytes(m, 0xcf);
    flags = machine_read(m, machine_stack(m) + 8, 4);
    g_assert_cmphex(flags & 0x3200, ==, 0);
}

static void test_iret_outer(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    put_target(m);
    push_frame(m, 4,
               (const uint64_t[]){ TARGET, SEL_USER_CODE32, 2, 0x5800, SEL_USER_DATA32 }, 5);
    machine_run_bytes(m, 0xcf);
    assert_at_target(m, 4);
    uint64_t frame = machine_stack(m);
    g_assert_cmphex(machine_read(m, frame + 4, 4), ==, SEL_USER_CODE32);
    g_assert_cmphex(machine_read(m, frame + 12, 4), ==, 0x5800);
    g_assert_cmphex(machine_read(m, frame + 16, 4), ==, SEL_USER_DATA32);
    g_assert_true(m->state.segment[VCPU_DS].unusable); // it was ring 0's
    // A null selector loses its RPL, a base that an MSR gave stays.
    machine_long(m);
    machine_write(m, TARGET, 3, 0x0b0f90);
    m->state.segment[VCPU_FS] = (VcpuSegment){ .selector = 3, .base = 0x1234, .unusable = true };
    push_frame(m, 8, (const uint64_t[]){ TARGET, SEL_USER_CODE64, 2, 0x5800, SEL_USER_DATA32 }, 5);
    machine_run_bytes(m, 0x48, 0xcf);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.segment[VCPU_FS].selector, ==, 0);
    g_assert_cmphex(m->state.segment[VCPU_FS].base, ==, 0x1234);
}

typedef struct {
    uint64_t cs, ss;
    int vector;
    uint32_t error;
} BadIret;

static void test_iret_checks(void)
{
    static const BadIret rows[] = {
        { 0, 0, 13, 0 },
        { SEL_DATA32, 0, 13, SEL_DATA32 },
        { 0x3f8, 0, 13, 0x3f8 },                               // beyond the GDT
        { SEL_USER_CODE32, SEL_DATA32, 13, SEL_DATA32 },       // RPL of SS
        { SEL_USER_CODE32, SEL_USER_CODE32, 13, SEL_USER_CODE32 & ~3 }, // not data
        { SEL_USER_CODE32, 3, 13, 0 },                         // null
        { SEL_CODE32 | 3, SEL_USER_DATA32, 13, SEL_CODE32 },   // DPL is not RPL
    };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        push_frame(m, 4, (const uint64_t[]){ TARGET, rows[i].cs, 2, 0x5800, rows[i].ss }, 5);
        uint64_t sp = m->state.gpr[VCPU_RSP];
        machine_run_bytes(m, 0xcf);
        assert_fault(m, rows[i].vector, rows[i].error, 4);
        g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, sp - 16); // ESP as before the IRET
    }
    machine_protected(m); // to an inner ring
    machine_user(m);
    push_frame(m, 4, (const uint64_t[]){ TARGET, SEL_CODE32, 2 }, 3);
    machine_run_bytes(m, 0xcf);
    assert_fault(m, 13, SEL_CODE32, 4);
}

static void test_iret_64(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    put_target(m);
    // SS:RSP are popped within the ring too; a null SS is fine.
    push_frame(m, 8, (const uint64_t[]){ TARGET, SEL_CODE64, 2, 0x5800, 0 }, 5);
    machine_run_bytes(m, 0x48, 0xcf);
    assert_at_target(m, 8);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 24, 8), ==, 0x5800);
    // To compatibility mode, and its 32-bit code runs.
    machine_long(m);
    machine_write(m, TARGET, 3, 0x0b0f40); // inc eax (REX in 64-bit mode); ud2
    push_frame(m, 8, (const uint64_t[]){ TARGET, SEL_USER_CODE32, 2, 0x5800, SEL_USER_DATA32 }, 5);
    machine_run_bytes(m, 0x48, 0xcf);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 8), ==, TARGET + 1);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
    // Not canonical.
    machine_long(m);
    push_frame(m, 8, (const uint64_t[]){ UINT64_C(1) << 47, SEL_CODE64, 2, 0x5800, 0 }, 5);
    machine_run_bytes(m, 0x48, 0xcf);
    assert_fault(m, 13, 0, 8);
    // NT in long mode.
    machine_long(m);
    m->state.rflags |= 0x4000;
    push_frame(m, 8, (const uint64_t[]){ TARGET, SEL_CODE64, 2, 0x5800, 0 }, 5);
    machine_run_bytes(m, 0x48, 0xcf);
    assert_fault(m, 13, 0, 8);
}

// The 16-bit stack segment leaves the upper half of ESP as it was (what espfix works around).
static void test_iret_to_16_bit_stack(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    put_target(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, 0xffff, 0x00f3);
    push_frame(m, 4, (const uint64_t[]){ TARGET, SEL_USER_CODE32, 2, 0xdead5800, SEL_FREE | 3 }, 5);
    machine_run_bytes(m, 0xcf);
    assert_at_target(m, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 12, 4), ==, 0x5800);
}

// ---- Virtual-8086 mode ----

static void test_v86_entry_and_exit(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    push_frame(m, 4,
               (const uint64_t[]){ TARGET & 15, TARGET >> 4, 0x23202, 0x7ff0, 0x500, 1, 2, 3, 4 },
               9);
    put_target(m);
    machine_run_bytes(m, 0xcf);
    assert_vector(m, 6);
    uint64_t f = machine_stack(m);
    g_assert_cmphex(f, ==, MACHINE_STACK0 - 36);
    static const uint32_t want[] = { TARGET & 15, TARGET >> 4, 0x33202, 0x7ff0, 0x500, 1, 2, 3, 4 };
    for (unsigned i = 0; i < G_N_ELEMENTS(want); i++)
        g_assert_cmphex(machine_read(m, f + 4 * i, 4), ==, want[i]);
    g_assert_cmphex(m->state.rflags & 0x20000, ==, 0);
    g_assert_true(m->state.segment[VCPU_DS].unusable);
    g_assert_true(m->state.segment[VCPU_GS].unusable);
}

static void v86(Machine *m, unsigned iopl)
{
    machine_protected(m);
    machine_v86(m);
    m->state.rflags |= iopl << 12;
    m->state.gpr[VCPU_RSP] = MACHINE_STACK;
}

static void test_v86_sensitive(void)
{
    static const uint8_t codes[][2] = { { 0xfa, 0x90 }, { 0xfb, 0x90 }, { 0xcd, 0x21 },
                                        { 0xcf, 0x90 }, { 0x9c, 0x90 }, { 0x9d, 0x90 } };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        v86(m, 0);
        machine_run(m, codes[i], 2);
        assert_fault(m, 13, 0, 4);
        g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, MACHINE_CODE);
    }
    v86(m, 3);
    machine_run_bytes(m, 0xfb, 0x9c, 0x58, 0x0f, 0x0b); // sti; pushf; pop ax; ud2
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x3202);
    v86(m, 3); // IRET within v86
    machine_write(m, MACHINE_STACK, 6, UINT64_C(0x0202) << 32 | TARGET);
    put_target(m);
    machine_run_bytes(m, 0xcf);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, TARGET);
    // INT with IOPL 3 goes through the IDT of protected mode, whose gate must be ring 3's.
    v86(m, 3);
    machine_run_bytes(m, 0xcd, 0x21);
    assert_fault(m, 13, 0x21 * 8 + 2, 4);
    // INT3 does not look at IOPL.
    v86(m, 0);
    machine_idt_gate(m, 3, SEL_CODE32, MACHINE_HANDLERS + 16 * 3, 0xee);
    machine_run_bytes(m, 0xcc);
    assert_vector(m, 3);
}

static void test_v86_conforming_handler(void)
{
    g_autoptr(Machine) m = machine_new(1);
    v86(m, 3);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, 0xfffff, 0xc09f);
    machine_idt_gate(m, 0x21, SEL_FREE, MACHINE_HANDLERS, 0xee);
    machine_run_bytes(m, 0xcd, 0x21);
    assert_fault(m, 13, SEL_FREE, 4);
}

// ---- Tasks ----

// A second task: ring 0, code at TARGET, its own stack.
static void make_task(Machine *m)
{
    put_target(m);
    static const struct {
        unsigned offset;
        uint32_t value;
    } fields[] = {
        { 28, 0 },          { 32, TARGET },     { 36, 2 },           { 40, 0x1111 },
        { 56, 0xe000 },     { 72, SEL_DATA32 }, { 76, SEL_CODE32 },  { 80, SEL_DATA32 },
        { 84, SEL_DATA32 }, { 88, SEL_DATA32 }, { 92, SEL_DATA32 },  { 96, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(fields); i++)
        machine_write(m, MACHINE_TSS2 + fields[i].offset, 4, fields[i].value);
    machine_write(m, MACHINE_TSS2 + 100, 4, 0);
}

static void test_task_jump(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    make_task(m);
    m->state.gpr[VCPU_RCX] = 0x2222;
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS2));
    assert_at_target(m, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x1111);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, 0xe000 - 12);
    g_assert_cmphex(m->state.tr.selector, ==, SEL_TSS2);
    g_assert_cmphex(m->state.cr0 & 8, ==, 8); // TS
    g_assert_true(m->state.ldtr.unusable);
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_TSS + 5, 1), ==, 0x89);
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_TSS2 + 5, 1), ==, 0x8b);
    // The old task is saved.
    g_assert_cmphex(machine_read(m, MACHINE_TSS + 32, 4), ==, MACHINE_CODE + 7);
    g_assert_cmphex(machine_read(m, MACHINE_TSS + 44, 4), ==, 0x2222);
    g_assert_cmphex(machine_read(m, MACHINE_TSS + 76, 2), ==, SEL_CODE32);
}

static void test_task_call_and_return(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    make_task(m);
    machine_write(m, TARGET, 1, 0xcf); // iret with NT: back
    machine_run_bytes(m, 0x9a, PTR32(0, SEL_TSS2), 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 7);
    g_assert_cmphex(m->state.tr.selector, ==, SEL_TSS);
    g_assert_cmphex(machine_read(m, MACHINE_TSS2, 2), ==, SEL_TSS); // the link
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_TSS2 + 5, 1), ==, 0x89);
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_TSS + 5, 1), ==, 0x8b);
    g_assert_cmphex(machine_read(m, MACHINE_TSS2 + 36, 4) & 0x4000, ==, 0); // NT is cleared
}

// A task gate in the IDT, with an error code for the new stack.
static void test_task_gate(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    make_task(m);
    machine_write(m, TARGET, 1, 0xf4);
    machine_gate(m, MACHINE_IDT + 8 * 13, SEL_TSS2, 0, 0x85, 0);
    m->state.gpr[VCPU_RAX] = SEL_TSS;
    machine_run_bytes(m, 0x8e, 0xd8); // mov ds, TSS: #GP
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, TARGET + 1);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, 0xe000 - 4);
    g_assert_cmphex(machine_read(m, 0xe000 - 4, 4), ==, SEL_TSS);
    g_assert_cmphex(m->state.rflags & 0x4000, ==, 0x4000);
    g_assert_cmphex(machine_read(m, MACHINE_TSS + 32, 4), ==, MACHINE_CODE);
    g_assert_cmphex(machine_read(m, MACHINE_TSS + 36, 4) & 0x10000, ==, 0x10000); // RF
}

static void test_task_busy(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS)); // itself
    assert_fault(m, 13, SEL_TSS, 4);
    machine_protected(m);
    machine_descriptor(m, MACHINE_GDT, SEL_TSS2, MACHINE_TSS2, 0x66, 0x0089);
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS2)); // too short
    assert_fault(m, 10, SEL_TSS2, 4);
    g_assert_cmphex(m->state.tr.selector, ==, SEL_TSS);
}

// A bad segment in the new TSS faults in the new task.
static void test_task_bad_segment(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    make_task(m);
    machine_write(m, MACHINE_TSS2 + 84, 4, SEL_TSS); // DS
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS2));
    g_assert_cmphex(m->state.tr.selector, ==, SEL_TSS2);
    // CS was not loaded yet, so the handler's CS is the gate's and the frame is the new task's.
    assert_fault(m, 10, SEL_TSS, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, TARGET);
}

static void test_task_16(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    put_target(m);
    machine_descriptor(m, MACHINE_GDT, SEL_TSS2, MACHINE_TSS2, 43, 0x0081);
    static const uint16_t words[22] = { 0,      0, 0, 0, 0, 0, 0, TARGET, 2, 0x1234, 0, 0, 0,
                                        0xe000, 0, 0, 0, SEL_DATA32, SEL_CODE32, SEL_DATA32,
                                        SEL_DATA32, 0 };
    for (unsigned i = 0; i < 22; i++)
        machine_write(m, MACHINE_TSS2 + 2 * i, 2, words[i]);
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS2));
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0xffff1234);
    g_assert_true(m->state.segment[VCPU_FS].unusable);
}

static void test_task_trap_bit(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    make_task(m);
    machine_write(m, MACHINE_TSS2 + 100, 2, 1);
    machine_run_bytes(m, 0xea, PTR32(0, SEL_TSS2));
    assert_vector(m, 1);
    g_assert_cmphex(m->state.dr6 & 0x8000, ==, 0x8000);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, TARGET);
}

// ---- SYSCALL, SYSENTER ----

static void set_msr(Machine *m, uint32_t index, uint64_t value)
{
    m->state.msr[m->state.msr_count++] = (VcpuMsr){ index, value };
}

static void test_syscall(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    machine_user(m);
    put_target(m);
    set_msr(m, 0xc0000081, (uint64_t)SEL_CODE64 << 32);
    set_msr(m, 0xc0000082, TARGET);
    set_msr(m, 0xc0000084, 0x40);
    m->state.rflags = 0x42;
    machine_run_bytes(m, 0x0f, 0x05);
    assert_at_target(m, 8);
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, MACHINE_CODE + 2);
    g_assert_cmphex(m->state.gpr[VCPU_R11], ==, 0x42);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 16, 8), ==, 0x10002);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 8, 8), ==, SEL_CODE64);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 32, 8), ==, SEL_CODE64 + 8);
    // Without EFER.SCE, and outside of 64-bit mode.
    machine_long(m);
    m->state.efer &= ~UINT64_C(1);
    machine_run_bytes(m, 0x0f, 0x05);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 8), ==, MACHINE_CODE);
    machine_protected(m);
    machine_run_bytes(m, 0x0f, 0x05);
    assert_vector(m, 6);
}

// The single step after SYSCALL and SYSRET goes by TF as they leave it.
static void test_syscall_single_step(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    machine_user(m);
    put_target(m);
    set_msr(m, 0xc0000081, (uint64_t)SEL_CODE64 << 32);
    set_msr(m, 0xc0000082, TARGET);
    set_msr(m, 0xc0000084, 0x100);
    m->state.rflags = 0x102;
    machine_run_bytes(m, 0x0f, 0x05);
    assert_at_target(m, 8);
    g_assert_cmphex(m->state.dr6, ==, 0xffff0ff0);
    g_assert_cmphex(m->state.gpr[VCPU_R11], ==, 0x102);

    machine_long(m);
    put_target(m);
    set_msr(m, 0xc0000081, (uint64_t)0x50 << 48);
    m->state.gpr[VCPU_RCX] = TARGET;
    m->state.gpr[VCPU_R11] = 0x102;
    machine_run_bytes(m, 0x48, 0x0f, 0x07);
    assert_vector(m, 1); // before the first instruction of ring 3
    g_assert_cmphex(machine_read(m, machine_stack(m), 8), ==, TARGET);
    g_assert_cmphex(m->state.dr6 & 0x4000, ==, 0x4000);
}

static void test_sysret(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    put_target(m);
    set_msr(m, 0xc0000081, (uint64_t)0x50 << 48);
    m->state.gpr[VCPU_RCX] = TARGET;
    m->state.gpr[VCPU_R11] = 0x40202;
    machine_run_bytes(m, 0x48, 0x0f, 0x07);
    assert_at_target(m, 8);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 8, 8), ==, 0x63);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 16, 8), ==, 0x50202);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 32, 8), ==, 0x5b);
    // A target that is not canonical faults in ring 0, on the ring 3 stack (as on Intel).
    machine_long(m);
    m->state.gpr[VCPU_RCX] = UINT64_C(1) << 47;
    machine_run_bytes(m, 0x48, 0x0f, 0x07);
    assert_fault(m, 13, 0, 8);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 16, 8), ==, SEL_CODE64);
}

static void test_sysenter(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    put_target(m);
    set_msr(m, 0x174, SEL_CODE32);
    set_msr(m, 0x175, 0xe000);
    set_msr(m, 0x176, TARGET);
    machine_run_bytes(m, 0x0f, 0x34);
    assert_at_target(m, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, 0xe000 - 12);
    machine_protected(m);
    set_msr(m, 0x174, SEL_CODE32);
    m->state.gpr[VCPU_RDX] = TARGET;
    m->state.gpr[VCPU_RCX] = 0x5800;
    machine_run_bytes(m, 0x0f, 0x35); // SYSEXIT
    assert_at_target(m, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, (SEL_CODE32 + 16) | 3);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 12, 4), ==, 0x5800);
    machine_protected(m); // no CS in the MSR
    machine_run_bytes(m, 0x0f, 0x34);
    assert_fault(m, 13, 0, 4);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-transfer/jump/direct", test_jump_direct);
    g_test_add_func("/bt-transfer/jump/limit", test_jump_beyond_limit);
    g_test_add_func("/bt-transfer/call/direct", test_call_and_return);
    g_test_add_func("/bt-transfer/call-gate/inner", test_call_gate_inner);
    g_test_add_func("/bt-transfer/call-gate/round-trip", test_call_gate_round_trip);
    g_test_add_func("/bt-transfer/call-gate/checks", test_call_gate_checks);
    g_test_add_func("/bt-transfer/call-gate/64", test_call_gate_64);
    g_test_add_func("/bt-transfer/iret/flags", test_iret_flags);
    g_test_add_func("/bt-transfer/iret/outer", test_iret_outer);
    g_test_add_func("/bt-transfer/iret/checks", test_iret_checks);
    g_test_add_func("/bt-transfer/iret/64", test_iret_64);
    g_test_add_func("/bt-transfer/iret/16-bit-stack", test_iret_to_16_bit_stack);
    g_test_add_func("/bt-transfer/v86/entry-exit", test_v86_entry_and_exit);
    g_test_add_func("/bt-transfer/v86/sensitive", test_v86_sensitive);
    g_test_add_func("/bt-transfer/v86/conforming", test_v86_conforming_handler);
    g_test_add_func("/bt-transfer/task/jump", test_task_jump);
    g_test_add_func("/bt-transfer/task/call-return", test_task_call_and_return);
    g_test_add_func("/bt-transfer/task/gate", test_task_gate);
    g_test_add_func("/bt-transfer/task/busy", test_task_busy);
    g_test_add_func("/bt-transfer/task/bad-segment", test_task_bad_segment);
    g_test_add_func("/bt-transfer/task/16", test_task_16);
    g_test_add_func("/bt-transfer/task/trap-bit", test_task_trap_bit);
    g_test_add_func("/bt-transfer/syscall", test_syscall);
    g_test_add_func("/bt-transfer/syscall/single-step", test_syscall_single_step);
    g_test_add_func("/bt-transfer/sysret", test_sysret);
    g_test_add_func("/bt-transfer/sysenter", test_sysenter);
    return g_test_run();
}
