// SPDX-License-Identifier: GPL-2.0-or-later
// Delivery of exceptions and interrupts: frames, stack switches, double and triple faults.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#define OPS bt_test_engine()

static void test_real_interrupt(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_real(m);
    m->state.rflags = 0x202;
    machine_run_bytes(m, 0xcd, 0x21);
    assert_vector(m, 0x21);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 6);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 6, 2), ==, MACHINE_CODE + 2);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 4, 2), ==, 0);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 2, 2), ==, 0x202);
    g_assert_cmphex(m->state.rflags, ==, 2);
}

static void test_protected_same_ring(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags = 0x202;
    machine_run_bytes(m, 0x0f, 0x0b); // ud2
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 12);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 12, 4), ==, MACHINE_CODE);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 8, 4), ==, SEL_CODE32);
    g_assert_cmphex(machine_read(m, MACHINE_STACK - 4, 4), ==, 0x10202); // RF
}

static void test_protected_inner(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    machine_run_bytes(m, 0xfa); // cli at ring 3
    assert_fault(m, 13, 0, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK0 - 24);
    g_assert_cmphex(m->state.segment[VCPU_SS].selector, ==, SEL_DATA32);
    g_assert_cmphex(machine_read(m, MACHINE_STACK0 - 20, 4), ==, MACHINE_CODE);
    g_assert_cmphex(machine_read(m, MACHINE_STACK0 - 16, 4), ==, SEL_USER_CODE32);
    g_assert_cmphex(machine_read(m, MACHINE_STACK0 - 8, 4), ==, MACHINE_STACK);
    g_assert_cmphex(machine_read(m, MACHINE_STACK0 - 4, 4), ==, SEL_USER_DATA32);
}

static void test_long_frames(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    m->state.gpr[VCPU_RSP] = MACHINE_STACK - 3; // aligned down before the pushes
    machine_run_bytes(m, 0xcc);
    assert_vector(m, 3);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 16 - 40);
    g_assert_cmphex(machine_read(m, m->state.gpr[VCPU_RSP], 8), ==, MACHINE_CODE + 1);
    g_assert_cmphex(machine_read(m, m->state.gpr[VCPU_RSP] + 24, 8), ==, MACHINE_STACK - 3);
    g_assert_cmphex(machine_read(m, m->state.gpr[VCPU_RSP] + 32, 8), ==, SEL_DATA32);

    machine_long(m);
    machine_user(m);
    machine_run_bytes(m, 0xf4); // hlt at ring 3
    assert_fault(m, 13, 0, 8);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK0 - 48);
    g_assert_true(m->state.segment[VCPU_SS].unusable);
    g_assert_cmphex(m->state.segment[VCPU_SS].selector, ==, 0);
}

static void test_long_ist(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    machine_write(m, MACHINE_IDT + 16 * 6 + 4, 1, 1); // IST1
    machine_run_bytes(m, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_IST1 - 40);
    g_assert_cmphex(m->state.segment[VCPU_SS].selector, ==, SEL_DATA32);
}

static void test_soft_dpl(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    machine_run_bytes(m, 0xcd, 0x80);
    assert_fault(m, 13, 0x80 * 8 + 2, 4); // IDT, not EXT
    g_assert_cmphex(machine_read(m, MACHINE_STACK0 - 20, 4), ==, MACHINE_CODE);

    machine_protected(m);
    machine_user(m);
    machine_idt_gate(m, 0x80, SEL_CODE32, MACHINE_HANDLERS + 16 * 0x80, 0xee);
    machine_run_bytes(m, 0xcd, 0x80);
    assert_vector(m, 0x80);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 2);
}

static void test_trap_gate_keeps_if(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags = 0x202;
    machine_idt_gate(m, 0x30, SEL_CODE32, MACHINE_HANDLERS + 16 * 0x30, 0x8f);
    machine_run_bytes(m, 0xcd, 0x30);
    assert_vector(m, 0x30);
    g_assert_cmphex(m->state.rflags & 0x200, ==, 0x200);
}

static void test_gate_16(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_idt_gate(m, 0x30, SEL_CODE32, 0x12340000 | (MACHINE_HANDLERS + 16 * 0x30), 0x86);
    machine_run_bytes(m, 0xcd, 0x30);
    assert_vector(m, 0x30);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 6);
}

static void test_not_present_gate(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_idt_gate(m, 0x30, SEL_CODE32, 0, 0x0e);
    machine_run_bytes(m, 0xcd, 0x30);
    assert_fault(m, 11, 0x30 * 8 + 2, 4);
    // An exception's own gate: EXT is set.
    machine_protected(m);
    machine_idt_gate(m, 6, SEL_CODE32, 0, 0x0e);
    machine_run_bytes(m, 0x0f, 0x0b);
    assert_fault(m, 11, 6 * 8 + 3, 4);
}

static void test_double_fault(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.segment[VCPU_DS].unusable = true;
    m->state.segment[VCPU_DS].selector = 0;
    machine_idt_gate(m, 13, SEL_CODE32, 0, 0x0e);
    machine_run_bytes(m, 0xa1, 0, 0, 0, 0); // mov eax, [0]: #GP, then #NP
    assert_fault(m, 8, 0, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, MACHINE_CODE);
    // A benign first exception: the second is delivered as itself.
    machine_protected(m);
    machine_idt_gate(m, 13, SEL_CODE32, MACHINE_HANDLERS + 16 * 13, 0x8e);
    machine_idt_gate(m, 3, 0, 0, 0x8e);
    machine_run_bytes(m, 0xcc);
    assert_fault(m, 13, 0, 4);
}

static void test_triple_fault(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.idtr.limit = 0;
    machine_run_bytes(m, 0x0f, 0x0b);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_SHUTDOWN);
}

static void test_page_fault_twice(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_paging(m);
    m->state.gpr[VCPU_RSP] = 0x500000; // not mapped: the frame faults
    machine_run_bytes(m, 0xa1, 0, 0, 0x60, 0);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_SHUTDOWN);
}

static void test_interrupt(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->interrupt = 0x41;
    OPS->set_interrupt(m->vcpu[0], true);
    machine_run_bytes(m, 0xfb, 0x40, 0x40, 0xf4); // sti; inc eax; inc eax; hlt
    assert_vector(m, 0x41);
    // The instruction after STI ran first.
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 2);
}

static void test_halt_wakes(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_run_bytes(m, 0xfb, 0xf4, 0x90);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, MACHINE_CODE + 2);
    m->interrupt = 0x42;
    OPS->set_interrupt(m->vcpu[0], true);
    machine_continue(m);
    assert_vector(m, 0x42);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 2);
}

static void test_nmi_blocked_until_iret(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    // The handler of NMI: hlt; iret.
    machine_write(m, MACHINE_HANDLERS + 16 * 2, 2, 0xcff4);
    m->state.events.nmi_pending = true;
    machine_run_bytes(m, 0x90, 0x90, 0xf4);
    assert_vector(m, 2);
    g_assert_true(m->state.events.nmi_blocked);
    OPS->inject_nmi(m->vcpu[0]);
    machine_continue(m); // IRET, then the pending NMI at once
    assert_vector(m, 2);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE);
}

static void test_mov_ss_shadow(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags = 0x202;
    m->state.gpr[VCPU_RAX] = SEL_DATA32;
    m->interrupt = 0x43;
    m->state.events.interrupt_shadow = true; // or the interrupt came before MOV SS
    OPS->set_interrupt(m->vcpu[0], true);
    machine_run_bytes(m, 0x8e, 0xd0, 0x41, 0x41, 0xf4); // mov ss, eax; inc ecx; inc ecx
    assert_vector(m, 0x43);
    g_assert_cmpuint(m->state.gpr[VCPU_RCX], ==, 1);
}

static void test_injected_exception(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.events.exception_pending = true;
    m->state.events.exception_vector = 14;
    m->state.events.exception_has_error = true;
    m->state.events.exception_error = 6;
    machine_run_bytes(m, 0x90, 0xf4);
    assert_fault(m, 14, 6, 4);
    g_assert_false(m->state.events.exception_pending);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-deliver/real", test_real_interrupt);
    g_test_add_func("/bt-deliver/protected/same-ring", test_protected_same_ring);
    g_test_add_func("/bt-deliver/protected/inner-ring", test_protected_inner);
    g_test_add_func("/bt-deliver/protected/soft-dpl", test_soft_dpl);
    g_test_add_func("/bt-deliver/protected/trap-gate", test_trap_gate_keeps_if);
    g_test_add_func("/bt-deliver/protected/gate-16", test_gate_16);
    g_test_add_func("/bt-deliver/protected/not-present", test_not_present_gate);
    g_test_add_func("/bt-deliver/long/frames", test_long_frames);
    g_test_add_func("/bt-deliver/long/ist", test_long_ist);
    g_test_add_func("/bt-deliver/double-fault", test_double_fault);
    g_test_add_func("/bt-deliver/triple-fault", test_triple_fault);
    g_test_add_func("/bt-deliver/triple-fault/paging", test_page_fault_twice);
    g_test_add_func("/bt-deliver/interrupt/sti-shadow", test_interrupt);
    g_test_add_func("/bt-deliver/interrupt/halt", test_halt_wakes);
    g_test_add_func("/bt-deliver/interrupt/mov-ss-shadow", test_mov_ss_shadow);
    g_test_add_func("/bt-deliver/nmi", test_nmi_blocked_until_iret);
    g_test_add_func("/bt-deliver/injected", test_injected_exception);
    return g_test_run();
}
