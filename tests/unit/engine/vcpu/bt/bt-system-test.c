// SPDX-License-Identifier: GPL-2.0-or-later
// Debug exceptions, control and debug registers, MSRs, port I/O, and the state through the
// backend's ops.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

#define OPS bt_test_engine()

// ---- Debug exceptions ----

static void test_single_step(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags |= 0x100;
    machine_run_bytes(m, 0x40, 0x40, 0xf4); // inc eax; inc eax
    assert_vector(m, 1);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 1);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 8, 4), ==, 0x102); // TF in the image, no RF
    g_assert_cmphex(m->state.rflags & 0x100, ==, 0);
    g_assert_cmphex(m->state.dr6, ==, 0xffff4ff0);
}

// POPF that sets TF traps after the instruction that follows it.
static void test_single_step_starts_late(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_run_bytes(m, 0x68, 2, 1, 0, 0, 0x9d, 0x40, 0x40); // push 102h; popf; inc eax; inc eax
    assert_vector(m, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 7);
}

static void test_single_step_skips_int(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags |= 0x100;
    machine_run_bytes(m, 0xcd, 0x30);
    assert_vector(m, 0x30); // the handler's first instruction is not preceded by #DB
    g_assert_cmphex(m->state.dr6, ==, 0xffff0ff0);
}

static void test_code_breakpoint(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.dr[2] = MACHINE_CODE + 1;
    m->state.dr7 = 0x400 | 1 << 4;
    machine_run_bytes(m, 0x40, 0x40, 0xf4);
    assert_vector(m, 1);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1); // a fault: before the instruction
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 1);
    g_assert_cmphex(m->state.dr6 & 0xf, ==, 4);
    // RF in the image lets the instruction pass once: hlt in the handler, or [esp+8], RF; iret.
    static const uint8_t handler[] = { 0x80, 0x4c, 0x24, 0x0a, 0x01, 0xcf };
    for (unsigned i = 0; i < sizeof handler; i++)
        machine_write(m, MACHINE_HANDLERS + 16 + i, 1, handler[i]);
    machine_protected(m);
    m->state.dr[2] = MACHINE_CODE + 1;
    m->state.dr7 = 0x400 | 1 << 4;
    machine_run_bytes(m, 0x40, 0x40, 0xf4);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, MACHINE_CODE + 3);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 2);
    g_assert_cmphex(m->state.rflags & 0x10000, ==, 0);
}

static void test_data_breakpoint(void)
{
    static const struct {
        unsigned kind, length; // DR7 encodings
        uint32_t watch, access;
        bool write, hit;
    } rows[] = {
        { 1, 3, MACHINE_DATA, MACHINE_DATA, true, true },
        { 1, 3, MACHINE_DATA, MACHINE_DATA, false, false },
        { 3, 3, MACHINE_DATA, MACHINE_DATA, false, true },
        { 3, 0, MACHINE_DATA + 2, MACHINE_DATA, false, true },
        { 3, 0, MACHINE_DATA + 4, MACHINE_DATA, false, false },
        { 3, 1, MACHINE_DATA + 5, MACHINE_DATA, false, false }, // aligned down to 4
        { 3, 3, MACHINE_DATA + 7, MACHINE_DATA + 4, true, true },
        { 3, 3, MACHINE_DATA + 0x1000, MACHINE_DATA + 0xffe, true, true }, // over a page
    };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        m->state.dr[1] = rows[i].watch;
        m->state.dr7 = 0x400 | 1 << 2 | rows[i].kind << 20 | rows[i].length << 22;
        m->state.gpr[VCPU_RBX] = rows[i].access;
        m->state.gpr[VCPU_RAX] = 0x12345678;
        machine_write(m, rows[i].access, 4, 0);
        machine_run_bytes(m, 0x42, rows[i].write ? 0x89 : 0x8b, 0x03, 0x42, 0x0f, 0x0b);
        if (rows[i].hit) {
            assert_vector(m, 1); // a trap: after the instruction
            g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 3);
            g_assert_cmphex(m->state.dr6 & 0x400f, ==, 2);
            if (rows[i].write)
                g_assert_cmphex(machine_read(m, rows[i].access, 4), ==, 0x12345678);
        } else {
            assert_vector(m, 6);
            g_assert_cmphex(m->state.dr6 & 0xf, ==, 0);
        }
    }
}

static void test_port_breakpoint(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.cr4 = 8; // DE
    m->state.dr[0] = 0x61;
    m->state.dr7 = 0x400 | 1 | 2 << 16;
    machine_run_bytes(m, 0xe4, 0x60, 0xe4, 0x61, 0x90); // in al, 60h; in al, 61h
    assert_vector(m, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 4);
    g_assert_cmpuint(m->port_count, ==, 2); // each port once
}

static void test_general_detect(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.dr7 = 0x400 | 1 << 13;
    machine_run_bytes(m, 0x0f, 0x21, 0xc0); // mov eax, dr0
    assert_vector(m, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE);
    g_assert_cmphex(m->state.dr6 & 0x2000, ==, 0x2000);
    g_assert_cmphex(m->state.dr7 & 0x2000, ==, 0);
}

static void test_debug_register_aliases(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_run_bytes(m, 0x0f, 0x21, 0xe0, 0x0f, 0x0b); // mov eax, dr4
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0xffff0ff0);
    machine_protected(m);
    m->state.cr4 = 8;
    machine_run_bytes(m, 0x0f, 0x21, 0xe0);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE);
}

// MOV SS holds a data breakpoint's trap off until after the next instruction.
static void test_mov_ss_holds_trap(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.dr[0] = MACHINE_DATA;
    m->state.dr7 = 0x400 | 1 | 3 << 16;
    machine_write(m, MACHINE_DATA, 2, SEL_DATA32);
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    machine_run_bytes(m, 0x8e, 0x13, 0x40, 0x40); // mov ss, [ebx]; inc eax; inc eax
    assert_vector(m, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 3);
}

// The held trap comes at the first instruction of the handler of an INT that follows, as traps do
// (what Linux calls the MOV SS trick); an instruction breakpoint there is passed over.
static void test_mov_ss_and_int(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.dr[0] = MACHINE_DATA;
    m->state.dr[1] = MACHINE_CODE + 2; // the INT3
    m->state.dr7 = 0x400 | 2 | 8 | 0x7 << 16;
    machine_write(m, MACHINE_DATA, 2, SEL_DATA32);
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    // #DB's handler counts and returns.
    machine_write(m, MACHINE_HANDLERS + 16, 2, 0xcf42); // inc edx; iret
    m->state.gpr[VCPU_RDX] = 0;
    machine_run_bytes(m, 0x8e, 0x13, 0xcc, 0x0f, 0x0b); // mov ss, [ebx]; int3
    assert_vector(m, 3);
    g_assert_cmpuint(m->state.gpr[VCPU_RDX], ==, 1);
    g_assert_cmphex(m->state.dr6 & 0xf, ==, 1);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 3);
    g_assert_cmphex(machine_read(m, machine_stack(m) - 12, 4), ==, MACHINE_HANDLERS + 16 * 3);
    // INT1 is a #DB itself and takes the held one along.
    machine_write(m, MACHINE_HANDLERS + 16, 1, 0xf4);
    machine_protected(m);
    m->state.dr[0] = MACHINE_DATA;
    m->state.dr7 = 0x400 | 2 | 0x7 << 16;
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    machine_run_bytes(m, 0x8e, 0x13, 0xf1);
    assert_vector(m, 1);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 12);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE + 3);
    g_assert_cmphex(m->state.dr6 & 0xf, ==, 1);
}

// ---- Control registers ----

static void mov_cr(Machine *m, unsigned cr, uint64_t value)
{
    m->state.gpr[VCPU_RAX] = value;
    machine_run_bytes(m, 0x0f, 0x22, (uint8_t)(0xc0 | cr << 3), 0x0f, 0x0b);
}

static void test_cr0_checks(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    mov_cr(m, 0, 0x80000010); // PG without PE
    assert_fault(m, 13, 0, 4);
    machine_protected(m);
    mov_cr(m, 0, 0x20000011); // NW without CD
    assert_fault(m, 13, 0, 4);
    machine_long(m);
    mov_cr(m, 0, 0x11); // leaving paging from 64-bit code
    assert_fault(m, 13, 0, 8);
    machine_long(m);
    mov_cr(m, 0, UINT64_C(0x180000011));
    assert_fault(m, 13, 0, 8);
    machine_protected(m);
    mov_cr(m, 0, 1); // ET cannot be cleared
    assert_vector(m, 6);
    g_assert_cmphex(m->state.cr0, ==, 0x11);
    machine_protected(m);
    machine_user(m);
    mov_cr(m, 0, 0x11);
    assert_fault(m, 13, 0, 4);
}

static void test_cr4_checks(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    mov_cr(m, 4, 1); // VME, which CPUID does not offer
    assert_fault(m, 13, 0, 4);
    machine_protected(m);
    mov_cr(m, 4, 1u << 17); // PCIDE outside of long mode
    assert_fault(m, 13, 0, 4);
    machine_long(m);
    mov_cr(m, 4, 0); // PAE in long mode
    assert_fault(m, 13, 0, 8);
    machine_long(m);
    mov_cr(m, 4, 0x20 | 1u << 17);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.cr4, ==, 0x20 | 1u << 17);
}

static void test_entering_long_mode(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m); // makes the tables
    VcpuState tables = m->state;
    machine_protected(m);
    m->state.efer = 0x100;
    m->state.cr3 = tables.cr3;
    mov_cr(m, 0, 0x80000011); // without PAE
    assert_fault(m, 13, 0, 4);
    machine_protected(m);
    m->state.efer = 0x100;
    m->state.cr4 = 0x20;
    m->state.cr3 = MACHINE_PML4;
    m->state.gpr[VCPU_RAX] = 0x80000011;
    machine_run_bytes(m, 0x0f, 0x22, 0xc0, 0xf4);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.efer, ==, 0x500);
    // LME may not change while paging is on: mov ecx, EFER; xor eax, eax; xor edx, edx; wrmsr.
    machine_long(m);
    machine_run_bytes(m, 0xb9, 0x80, 0, 0, 0xc0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30);
    assert_fault(m, 13, 0, 8);
}

static void test_lmsw_smsw(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = 0xe; // PE stays, MP EM TS come
    machine_run_bytes(m, 0x0f, 0x01, 0xf0, 0x0f, 0x01, 0xe1, 0x0f, 0x0b); // lmsw ax; smsw ecx
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, 0x1f);
}

static void test_cr8(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    machine_run_bytes(m, 0x44, 0x0f, 0x20, 0xc0, 0x0f, 0x0b); // mov rax, cr8
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 5);
    machine_long(m);
    m->state.gpr[VCPU_RAX] = 16;
    machine_run_bytes(m, 0x44, 0x0f, 0x22, 0xc0);
    assert_fault(m, 13, 0, 8);
}

static void test_xsetbv(void)
{
    static const struct {
        uint32_t value;
        bool valid;
    } rows[] = {
        { 1, true }, { 3, true }, { 7, true }, { 0, false }, { 5, false }, { 0xf, false },
    };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        m->state.cr4 = 1u << 18;
        m->state.gpr[VCPU_RAX] = rows[i].value;
        m->state.gpr[VCPU_RDX] = 0;
        machine_run_bytes(m, 0x0f, 0x01, 0xd1, 0x0f, 0x0b);
        if (rows[i].valid && !(rows[i].value & ~m->cpuid.xcr0_mask))
            assert_vector(m, 6);
        else
            assert_fault(m, 13, 0, 4);
    }
    machine_protected(m); // without CR4.OSXSAVE
    m->state.gpr[VCPU_RAX] = 1;
    machine_run_bytes(m, 0x0f, 0x01, 0xd1);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, machine_stack(m), 4), ==, MACHINE_CODE);
}

// ---- MSRs ----

static void rdmsr(Machine *m, uint32_t index)
{
    m->state.gpr[VCPU_RCX] = index;
    machine_run_bytes(m, 0x0f, 0x32, 0x0f, 0x0b);
}

static void wrmsr(Machine *m, uint32_t index, uint64_t value)
{
    m->state.gpr[VCPU_RCX] = index;
    m->state.gpr[VCPU_RAX] = (uint32_t)value;
    m->state.gpr[VCPU_RDX] = value >> 32;
    machine_run_bytes(m, 0x0f, 0x30, 0x0f, 0x0b);
}

static void test_msr_values(void)
{
    static const struct {
        uint32_t index;
        uint64_t value;
        bool valid;
    } rows[] = {
        { 0x277, UINT64_C(0x0007010600070106), true }, // PAT
        { 0x277, 2, false },
        { 0x277, UINT64_C(0x0800000000000000), false },
        { 0x2ff, 0xc06, true }, // MTRR default type
        { 0x2ff, 0x1000, false },
        { 0x200, 0x80000006, true },
        { 0x200, 2, false },
        { 0x201, UINT64_C(0xff80000800), true },
        { 0x201, UINT64_C(1) << 45, false },
        { 0x250, UINT64_C(0x0606060606060606), true },
        { 0x250, 3, false },
        { 0xfe, 0, false },             // MTRRcap is read-only
        { 0x3a, 1, false },             // FEATURE_CONTROL is locked
        { 0x10a, 0, false },
        { 0xc0000080, 0x901, true },    // SCE LME NXE
        { 0xc0000080, 0x1000, false },  // SVM
        { 0xc0000082, UINT64_C(1) << 47, false },
        { 0xc0000100, UINT64_C(0xffff800000000000), true },
        { 0xc0000103, UINT64_C(1) << 32, false },
        { 0x12345, 0, false },
        { 0x1b, 0, true },              // the APIC's answer
        { 0x808, 0, false },
    };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        wrmsr(m, rows[i].index, rows[i].value);
        if (rows[i].valid)
            assert_vector(m, 6);
        else
            assert_fault(m, 13, 0, 4);
    }
    machine_protected(m);
    machine_user(m);
    rdmsr(m, 0x10);
    assert_fault(m, 13, 0, 4);
}

static void test_tsc(void)
{
    g_autoptr(Machine) m = machine_new(1);
    m->now = 1000;
    machine_protected(m);
    m->state.tsc = 5000;
    machine_run_bytes(m, 0x0f, 0x31, 0x0f, 0x0b);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 5000);
    m->now = 3000; // 1 GHz
    g_assert_cmpuint(OPS->tsc(m->vcpu[0]), ==, 7000);
    // Writing the counter moves TSC_ADJUST along.
    machine_protected(m);
    m->state.tsc = 7000;
    wrmsr(m, 0x10, 17000);
    machine_protected(m);
    m->state.msr_count = 0;
    g_assert_cmpuint(OPS->tsc(m->vcpu[0]), ==, 17000);
    VcpuState state;
    OPS->get_state(m->vcpu[0], &state, VCPU_STATE_MSRS);
    uint64_t adjust = 0;
    for (unsigned i = 0; i < state.msr_count; i++) {
        if (state.msr[i].index == 0x3b)
            adjust = state.msr[i].value;
    }
    g_assert_cmpuint(adjust, ==, 10000);
    // CR4.TSD
    machine_protected(m);
    machine_user(m);
    m->state.cr4 = 4;
    machine_run_bytes(m, 0x0f, 0x31);
    assert_fault(m, 13, 0, 4);
}

// CPUs whose state is set one after another, as time goes on, have one TSC.
static void test_tsc_of_two(void)
{
    g_autoptr(Machine) m = machine_new(2);
    VcpuState state;
    vcpu_state_reset(&state, 0);
    m->now = 1000;
    OPS->set_state(m->vcpu[0], &state, VCPU_STATE_ALL);
    m->now = 51000;
    OPS->set_state(m->vcpu[1], &state, VCPU_STATE_ALL);
    g_assert_cmpuint(OPS->tsc(m->vcpu[0]), ==, OPS->tsc(m->vcpu[1]));
}

// ---- Ports ----

static void test_io_bitmap(void)
{
    static const struct {
        unsigned port, size, denied; // denied: a port whose bit is set
        bool allowed;
    } rows[] = {
        { 0x60, 1, 0x61, true },  { 0x60, 1, 0x60, false }, { 0x60, 2, 0x61, false },
        { 0x67, 2, 0x68, false }, { 0x67, 4, 0x6b, true },  { 0x67, 4, 0x6a, false },
    };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        machine_protected(m);
        machine_user(m);
        machine_write(m, MACHINE_TSS + 102, 2, 104);
        for (unsigned b = 0; b < 32; b++)
            machine_write(m, MACHINE_TSS + 104 + b, 1, 0);
        machine_write(m, MACHINE_TSS + 104 + rows[i].denied / 8, 1, 1u << rows[i].denied % 8);
        m->state.gpr[VCPU_RDX] = rows[i].port;
        m->port_count = 0;
        uint8_t prefix = rows[i].size == 2 ? 0x66 : 0x90;
        machine_run_bytes(m, prefix, rows[i].size == 1 ? 0xec : 0xed, 0x0f, 0x0b);
        if (rows[i].allowed) {
            assert_vector(m, 6);
            g_assert_cmpuint(m->port_count, ==, 1);
        } else {
            assert_fault(m, 13, 0, 4);
            g_assert_cmpuint(m->port_count, ==, 0);
        }
    }
    machine_protected(m); // behind the TSS's limit
    machine_user(m);
    machine_write(m, MACHINE_TSS + 102, 2, 0x2ff);
    machine_run_bytes(m, 0xe4, 0x60);
    assert_fault(m, 13, 0, 4);
    machine_protected(m); // IOPL 3 asks no bitmap
    machine_user(m);
    m->state.rflags |= 0x3000;
    machine_run_bytes(m, 0xe4, 0x60, 0x0f, 0x0b);
    assert_vector(m, 6);
}

static void test_in_sizes(void)
{
    g_autoptr(Machine) m = machine_new(1);
    m->port_input = 0x99887766;
    machine_long(m);
    m->state.gpr[VCPU_RAX] = UINT64_MAX;
    machine_run_bytes(m, 0xe4, 0x10, 0x0f, 0x0b);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, UINT64_C(0xffffffffffffff66));
    machine_long(m);
    m->state.gpr[VCPU_RAX] = UINT64_MAX;
    machine_run_bytes(m, 0x66, 0xe5, 0x10, 0x0f, 0x0b);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, UINT64_C(0xffffffffffff7766));
    machine_long(m);
    m->state.gpr[VCPU_RAX] = UINT64_MAX;
    machine_run_bytes(m, 0xe5, 0x10, 0x0f, 0x0b);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x99887766);
}

// REP INSW over a page boundary: two exits, all of the data, registers at the end.
static void test_rep_ins(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->port_input = 0x5a;
    m->state.gpr[VCPU_RDX] = 0x1f0;
    m->state.gpr[VCPU_RDI] = MACHINE_DATA + 0xf01; // not aligned: one word crosses
    m->state.gpr[VCPU_RCX] = 256;
    machine_run_bytes(m, 0xf3, 0x66, 0x6d, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmpuint(m->state.gpr[VCPU_RCX], ==, 0);
    g_assert_cmphex(m->state.gpr[VCPU_RDI], ==, MACHINE_DATA + 0xf01 + 512);
    unsigned elements = 0;
    for (unsigned i = 0; i < m->port_count; i++)
        elements += m->ports[i].count;
    g_assert_cmpuint(elements, ==, 256);
    g_assert_cmpuint(m->port_count, <=, 4);
    for (unsigned i = 0; i < 512; i++)
        g_assert_cmphex(machine_read(m, MACHINE_DATA + 0xf01 + i, 1), ==, 0x5a);
    g_assert_cmphex(machine_read(m, MACHINE_DATA + 0xf01 + 512, 1), ==, 0);
}

static void test_rep_outs_down(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.rflags |= 0x400; // DF
    m->state.gpr[VCPU_RDX] = 0x80;
    m->state.gpr[VCPU_RSI] = MACHINE_DATA + 3;
    m->state.gpr[VCPU_RCX] = 4;
    machine_run_bytes(m, 0xf3, 0x6e, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmpuint(m->port_count, ==, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RSI], ==, MACHINE_DATA - 1);
}

// A fault in the middle: what went before is done and counted, and the device is not asked for
// what memory cannot take.
static void test_rep_ins_fault(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_paging(m);
    machine_write(m, MACHINE_PT + 4 * ((MACHINE_DATA >> 12) + 1), 4, 0);
    m->state.gpr[VCPU_RDX] = 0x1f0;
    m->state.gpr[VCPU_RDI] = MACHINE_DATA + 0xff0;
    m->state.gpr[VCPU_RCX] = 64;
    machine_run_bytes(m, 0xf3, 0x6c);
    assert_fault(m, 14, 2, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, MACHINE_CODE);
    g_assert_cmpuint(m->state.gpr[VCPU_RCX], ==, 48);
    g_assert_cmphex(m->state.gpr[VCPU_RDI], ==, MACHINE_DATA + 0x1000);
    g_assert_cmpuint(m->port_count, ==, 1);
}

// ---- State ----

static void assert_same_segment(const VcpuSegment *a, const VcpuSegment *b)
{
    g_assert_cmphex(a->base, ==, b->base);
    g_assert_cmphex(a->limit, ==, b->limit);
    g_assert_cmphex(a->selector, ==, b->selector);
    g_assert_cmphex(a->access, ==, b->access);
    g_assert_cmpint(a->unusable, ==, b->unusable);
}

static void test_state_round_trip(void)
{
    g_autoptr(Machine) m = machine_new(2);
    machine_long(m);
    m->state.gpr[VCPU_R15] = 15;
    m->state.dr[3] = 0x1234;
    m->state.events.nmi_blocked = true;
    m->state.cr2 = 99;
    machine_run_bytes(m, 0xf4);
    VcpuState copy;
    g_assert_true(OPS->set_state(m->vcpu[1], &m->state, VCPU_STATE_ALL));
    OPS->get_state(m->vcpu[1], &copy, VCPU_STATE_ALL);
    g_assert_cmpmem(&copy.gpr, sizeof copy.gpr, &m->state.gpr, sizeof copy.gpr);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        assert_same_segment(&copy.segment[i], &m->state.segment[i]);
    assert_same_segment(&copy.ldtr, &m->state.ldtr);
    assert_same_segment(&copy.tr, &m->state.tr);
    g_assert_cmpmem(&copy.dr, sizeof copy.dr, &m->state.dr, sizeof copy.dr);
    g_assert_true(copy.events.nmi_blocked);
    g_assert_true(copy.events.halted);
    g_assert_cmpuint(copy.msr_count, ==, m->state.msr_count);
    for (unsigned i = 0; i < copy.msr_count; i++) {
        g_assert_cmphex(copy.msr[i].index, ==, m->state.msr[i].index);
        g_assert_cmphex(copy.msr[i].value, ==, m->state.msr[i].value);
    }
    g_assert_cmpmem(&copy.xsave, sizeof copy.xsave, &m->state.xsave, sizeof copy.xsave);
    g_assert_cmphex(copy.cr3, ==, m->state.cr3);
    g_assert_cmphex(copy.efer, ==, m->state.efer);
    g_assert_cmphex(copy.rflags, ==, m->state.rflags);
}

static void test_state_refuses(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    OPS->set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL);
    VcpuState good, bad, now;
    memset(&good, 0, sizeof good);
    memset(&now, 0, sizeof now);
    OPS->get_state(m->vcpu[0], &good, VCPU_STATE_ALL);
#define REFUSED(change)                                                                            \
    bad = good;                                                                                    \
    change;                                                                                        \
    bad.gpr[0] = 0x77;                                                                             \
    g_assert_false(OPS->set_state(m->vcpu[0], &bad, VCPU_STATE_ALL));                              \
    OPS->get_state(m->vcpu[0], &now, VCPU_STATE_ALL);                                              \
    g_assert_cmpmem(&now.gpr, sizeof now.gpr, &good.gpr, sizeof good.gpr);                         \
    g_assert_cmphex(now.cr0, ==, good.cr0);                                                        \
    g_assert_cmphex(now.cr4, ==, good.cr4);                                                        \
    g_assert_cmphex(now.efer, ==, good.efer);                                                      \
    g_assert_cmphex(now.xcr0, ==, good.xcr0)
    REFUSED(bad.cr0 = 0x80000010);
    REFUSED(bad.cr0 |= UINT64_C(1) << 40);
    REFUSED(bad.cr4 |= 1);
    REFUSED(bad.efer = 0x400);
    REFUSED(bad.efer = 1u << 12);
    REFUSED(bad.cr3 = UINT64_C(1) << 60);
    REFUSED(bad.xcr0 = 4);
    REFUSED(bad.dr7 = UINT64_C(1) << 40);
    REFUSED(bad.rip = UINT64_C(1) << 33);
    REFUSED(bad.segment[VCPU_FS].base = UINT64_C(1) << 47);
    REFUSED(bad.tr.base = UINT64_C(1) << 47);
    REFUSED(bad.xsave[512 + 8] = 1); // XCOMP_BV
#undef REFUSED
}

static void test_kick(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    OPS->kick(m->vcpu[0]);
    machine_run_bytes(m, 0xeb, 0xfe);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_KICK);
}

static void test_wait_for_sipi(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.events.wait_for_sipi = true;
    machine_run_bytes(m, 0x40);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, MACHINE_CODE);
}

static void test_reset_vector(void)
{
    g_autoptr(Machine) m = machine_new(1);
    g_autoptr(RamBlock) rom = ram_block_new("rom", 0x10000, NULL);
    rom->host[0xfff0] = 0xf4;
    GuestSlot *slot = guest_memory_map(m->memory, "rom", 0xffff0000, 0x10000, rom->host,
                                       GUEST_SLOT_READ | GUEST_SLOT_ROM);
    vcpu_state_reset(&m->state, 0x30661);
    machine_run_bytes(m, 0x90);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, 0xfff1);
    g_assert_cmphex(m->state.gpr[VCPU_RDX], ==, 0x30661);
    guest_memory_unmap(m->memory, slot);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt-debug/single-step", test_single_step);
    g_test_add_func("/bt-debug/single-step/popf", test_single_step_starts_late);
    g_test_add_func("/bt-debug/single-step/int", test_single_step_skips_int);
    g_test_add_func("/bt-debug/breakpoint/code", test_code_breakpoint);
    g_test_add_func("/bt-debug/breakpoint/data", test_data_breakpoint);
    g_test_add_func("/bt-debug/breakpoint/port", test_port_breakpoint);
    g_test_add_func("/bt-debug/general-detect", test_general_detect);
    g_test_add_func("/bt-debug/aliases", test_debug_register_aliases);
    g_test_add_func("/bt-debug/mov-ss", test_mov_ss_holds_trap);
    g_test_add_func("/bt-debug/mov-ss/int", test_mov_ss_and_int);
    g_test_add_func("/bt-control/cr0", test_cr0_checks);
    g_test_add_func("/bt-control/cr4", test_cr4_checks);
    g_test_add_func("/bt-control/long-mode", test_entering_long_mode);
    g_test_add_func("/bt-control/lmsw", test_lmsw_smsw);
    g_test_add_func("/bt-control/cr8", test_cr8);
    g_test_add_func("/bt-control/xsetbv", test_xsetbv);
    g_test_add_func("/bt-msr/values", test_msr_values);
    g_test_add_func("/bt-msr/tsc", test_tsc);
    g_test_add_func("/bt-msr/tsc/two-cpus", test_tsc_of_two);
    g_test_add_func("/bt-io/bitmap", test_io_bitmap);
    g_test_add_func("/bt-io/in", test_in_sizes);
    g_test_add_func("/bt-io/rep-ins", test_rep_ins);
    g_test_add_func("/bt-io/rep-ins/fault", test_rep_ins_fault);
    g_test_add_func("/bt-io/rep-outs/down", test_rep_outs_down);
    g_test_add_func("/bt-state/round-trip", test_state_round_trip);
    g_test_add_func("/bt-state/refuses", test_state_refuses);
    g_test_add_func("/bt-state/kick", test_kick);
    g_test_add_func("/bt-state/wait-for-sipi", test_wait_for_sipi);
    g_test_add_func("/bt-state/reset-vector", test_reset_vector);
    return g_test_run();
}
