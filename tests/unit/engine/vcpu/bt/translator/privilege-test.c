// SPDX-License-Identifier: GPL-2.0-or-later
// What the sensitive instructions (engine/vcpu/bt/translator/sensitive.c) do for code in ring 0 and
// in ring 3: the guest's own registers and faults, never the host's. Each row is run several times
// over, so that it also runs translated.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#define OPS bt_test_engine()

enum {
    IN_64 = 1 << 0,
    IN_32 = 1 << 1,
    RUNS = 0x100,      // no fault: INT3 behind it is reached
    ANY_VALUE = 0x200, // RAX is not compared
    STOPS = 0x400,     // halts behind it
};
#define IN_BOTH (IN_64 | IN_32)

enum { TEST_PORT = 0x60, LOW_LIMIT = 0x2ff, SYSCALL_TARGET = MACHINE_HANDLERS + 16 * 0x90 };
#define FS_BASE 0x12345000
#define GS_BASE 0x23456000
#define KERNEL_GS_BASE 0x34567000
#define TSC_AUX 0x55

// Kernel and user: RUNS, or the vector. RAX afterwards where it runs; RAX starts as `start`, RBX
// as MACHINE_DATA, RCX as `count`. flags: of RFLAGS, compared under flag_mask.
typedef struct {
    const char *name;
    unsigned modes;
    uint8_t code[12];
    unsigned kernel, user;
    uint64_t kernel_rax, user_rax;
    uint64_t start, count;
} Row;

#define IO_FAULT 13

static const Row rows[] = {
    // Instructions that do not trap on their own.
    { "str eax", IN_BOTH, { 0x0f, 0x00, 0xc8 }, RUNS, RUNS, SEL_TSS, SEL_TSS },
    { "sldt eax", IN_BOTH, { 0x0f, 0x00, 0xc0 }, RUNS, RUNS, SEL_LDT, SEL_LDT },
    { "smsw ax", IN_BOTH, { 0x66, 0x0f, 0x01, 0xe0 }, RUNS, RUNS, 0x11, 0x11 },
    { "sgdt [rbx]; mov eax, [rbx+2]", IN_BOTH, { 0x0f, 0x01, 0x03, 0x8b, 0x43, 2 }, RUNS, RUNS,
      MACHINE_GDT, MACHINE_GDT },
    { "sidt [rbx]; mov eax, [rbx+2]", IN_BOTH, { 0x0f, 0x01, 0x0b, 0x8b, 0x43, 2 }, RUNS, RUNS,
      MACHINE_IDT, MACHINE_IDT },
    { "mov eax, ds", IN_BOTH, { 0x8c, 0xd8 }, RUNS, RUNS, SEL_DATA32, SEL_USER_DATA32 },
    { "mov eax, cs", IN_64, { 0x8c, 0xc8 }, RUNS, RUNS, SEL_CODE64, SEL_USER_CODE64 },
    { "mov eax, cs", IN_32, { 0x8c, 0xc8 }, RUNS, RUNS, SEL_CODE32, SEL_USER_CODE32 },
    { "mov eax, ss", IN_BOTH, { 0x8c, 0xd0 }, RUNS, RUNS, SEL_DATA32, SEL_USER_DATA32 },
    { "push cs; pop eax", IN_32, { 0x0e, 0x58 }, RUNS, RUNS, SEL_CODE32, SEL_USER_CODE32 },
    { "push fs; pop rax", IN_BOTH, { 0x0f, 0xa0, 0x58 }, RUNS, RUNS, SEL_DATA32, SEL_USER_DATA32 },
    { "mov es, ax", IN_BOTH, { 0x8e, 0xc0, 0x8c, 0xc0 }, RUNS, RUNS, SEL_USER_DATA32,
      SEL_USER_DATA32, SEL_USER_DATA32 },
    { "mov es, ax (ring 0's)", IN_BOTH, { 0x8e, 0xc0, 0x8c, 0xc0 }, RUNS, 13, SEL_DATA32, 0,
      SEL_DATA32 },
    { "push rax; pop gs; mov eax, gs", IN_BOTH, { 0x50, 0x0f, 0xa9, 0x8c, 0xe8 }, RUNS, RUNS,
      SEL_USER_DATA32, SEL_USER_DATA32, SEL_USER_DATA32 },
    { "lar eax, ecx", IN_BOTH, { 0x0f, 0x02, 0xc1 }, RUNS, RUNS, 0xcf9300, 0, 0, SEL_DATA32 },
    { "lar eax, ecx (user's)", IN_BOTH, { 0x0f, 0x02, 0xc1 }, RUNS, RUNS, 0xcff300, 0xcff300, 0,
      SEL_USER_DATA32 },
    { "lsl eax, ecx", IN_BOTH, { 0x0f, 0x03, 0xc1 }, RUNS, RUNS, LOW_LIMIT, 0, 0, SEL_TSS },
    { "verr cx; setz al", IN_BOTH, { 0x0f, 0x00, 0xe1, 0x0f, 0x94, 0xc0 }, RUNS, RUNS, 1, 0, 0,
      SEL_DATA32 },
    { "verw cx; setz al", IN_BOTH, { 0x0f, 0x00, 0xe9, 0x0f, 0x94, 0xc0 }, RUNS, RUNS, 1, 1, 0,
      SEL_USER_DATA32 },
    { "pushf; pop rax", IN_BOTH, { 0x9c, 0x58 }, RUNS, RUNS, 0x2, 0x2 },
    { "push rax; popf; pushf; pop rax", IN_BOTH, { 0x50, 0x9d, 0x9c, 0x58 }, RUNS, RUNS, 0x7246,
      0x4046, 0x7246 }, // IF and IOPL stay 0 in ring 3
    { "rdtsc; xor eax, eax", IN_BOTH, { 0x0f, 0x31, 0x31, 0xc0 }, RUNS, RUNS, 0, 0 },
    { "rdtscp; mov eax, ecx", IN_BOTH, { 0x0f, 0x01, 0xf9, 0x89, 0xc8 }, RUNS, RUNS, TSC_AUX,
      TSC_AUX },
    { "rdpid rax", IN_BOTH, { 0xf3, 0x0f, 0xc7, 0xf8 }, RUNS, RUNS, TSC_AUX, TSC_AUX },
    { "cpuid; mov eax, ebx", IN_BOTH, { 0x0f, 0xa2, 0x89, 0xd8 }, RUNS, RUNS, 0x756e6547,
      0x756e6547 }, // "Genu", on every host
    { "xgetbv", IN_BOTH, { 0x0f, 0x01, 0xd0 }, RUNS, RUNS, 7, 7 },
    { "rdfsbase rax", IN_64, { 0xf3, 0x48, 0x0f, 0xae, 0xc0 }, RUNS, RUNS, FS_BASE, FS_BASE },
    { "rdgsbase rax", IN_64, { 0xf3, 0x48, 0x0f, 0xae, 0xc8 }, RUNS, RUNS, GS_BASE, GS_BASE },
    { "wrfsbase rcx; rdfsbase rax", IN_64,
      { 0xf3, 0x48, 0x0f, 0xae, 0xd1, 0xf3, 0x48, 0x0f, 0xae, 0xc0 }, RUNS, RUNS, 0x7000, 0x7000,
      0, 0x7000 },
    { "wrgsbase rcx; rdgsbase rax", IN_64,
      { 0xf3, 0x48, 0x0f, 0xae, 0xd9, 0xf3, 0x48, 0x0f, 0xae, 0xc8 }, RUNS, RUNS, 0x7000, 0x7000,
      0, 0x7000 },
    { "wrgsbase (not canonical)", IN_64, { 0xf3, 0x48, 0x0f, 0xae, 0xd9 }, 13, 13, 0, 0, 0,
      UINT64_C(1) << 60 },

    // By IOPL (0 here) and the TSS's bitmap (none here).
    { "cli", IN_BOTH, { 0xfa, 0x9c, 0x58 }, RUNS, 13, 2 },
    { "sti; pushf; pop rax; cli", IN_BOTH, { 0xfb, 0x9c, 0x58, 0xfa }, RUNS, 13, 0x202 },
    { "in al, 60h", IN_BOTH, { 0xe4, TEST_PORT }, RUNS, IO_FAULT, 0x5a },
    { "in eax, dx", IN_BOTH, { 0xed }, RUNS, IO_FAULT, 0x5a },
    { "out 60h, al", IN_BOTH, { 0xe6, TEST_PORT }, RUNS | ANY_VALUE, IO_FAULT },
    { "insb", IN_BOTH, { 0x6c }, RUNS | ANY_VALUE, IO_FAULT },
    { "outsb", IN_BOTH, { 0x6e }, RUNS | ANY_VALUE, IO_FAULT },

    // Ring 0 alone.
    { "mov eax, cr0", IN_64, { 0x0f, 0x20, 0xc0 }, RUNS, 13, 0x80000011 },
    { "mov eax, cr0", IN_32, { 0x0f, 0x20, 0xc0 }, RUNS, 13, 0x11 },
    { "mov rax, cr2", IN_64, { 0x0f, 0x20, 0xd0 }, RUNS, 13, 0x1234 },
    { "mov rax, cr3", IN_64, { 0x0f, 0x20, 0xd8 }, RUNS, 13, MACHINE_PML4 },
    { "mov cr3, rax", IN_64, { 0x0f, 0x22, 0xd8 }, RUNS, 13, MACHINE_PML4, 0, MACHINE_PML4 },
    { "mov rax, cr8", IN_64, { 0x44, 0x0f, 0x20, 0xc0 }, RUNS, 13, 5 },
    { "mov cr8, rax", IN_64, { 0x44, 0x0f, 0x22, 0xc0 }, RUNS | ANY_VALUE, 13 },
    { "mov eax, dr6", IN_BOTH, { 0x0f, 0x21, 0xf0 }, RUNS, 13, 0xffff0ff0 },
    { "mov dr0, rcx; mov rax, dr0", IN_BOTH, { 0x0f, 0x23, 0xc1, 0x0f, 0x21, 0xc0 }, RUNS, 13,
      0x1000, 0, 0, 0x1000 },
    { "lmsw ax", IN_BOTH, { 0x0f, 0x01, 0xf0 }, RUNS, 13, 0x11, 0, 0x11 },
    { "clts", IN_BOTH, { 0x0f, 0x06 }, RUNS | ANY_VALUE, 13 },
    { "lgdt [rbx]", IN_BOTH, { 0x0f, 0x01, 0x13 }, RUNS | ANY_VALUE, 13 },
    { "lidt [rbx+16]", IN_BOTH, { 0x0f, 0x01, 0x5b, 16 }, RUNS | ANY_VALUE, 13 },
    { "lldt cx", IN_BOTH, { 0x0f, 0x00, 0xd1 }, RUNS | ANY_VALUE, 13 },
    { "ltr cx", IN_BOTH, { 0x0f, 0x00, 0xd9 }, 13, 13, 0, 0, 0, 0 },
    { "invd", IN_BOTH, { 0x0f, 0x08 }, RUNS | ANY_VALUE, 13 },
    { "wbinvd", IN_BOTH, { 0x0f, 0x09 }, RUNS | ANY_VALUE, 13 },
    { "invlpg [rbx]", IN_BOTH, { 0x0f, 0x01, 0x3b }, RUNS | ANY_VALUE, 13 },
    { "rdmsr (EFER)", IN_64, { 0x0f, 0x32 }, RUNS, 13, 0xd01, 0, 0, 0xc0000080 },
    { "rdmsr (none)", IN_BOTH, { 0x0f, 0x32 }, 13, 13, 0, 0, 0, 0x12345 },
    { "wrmsr (TSC_AUX)", IN_BOTH, { 0x0f, 0x30, 0x0f, 0x32 }, RUNS, 13, 7, 0, 7, 0xc0000103 },
    { "rdpmc", IN_BOTH, { 0x0f, 0x33 }, 13, 13 }, // no counters
    { "xsetbv", IN_BOTH, { 0x0f, 0x01, 0xd1 }, RUNS | ANY_VALUE, 13, 0, 0, 7 },
    { "swapgs; rdgsbase rax", IN_64, { 0x0f, 0x01, 0xf8, 0xf3, 0x48, 0x0f, 0xae, 0xc8 }, RUNS, 13,
      KERNEL_GS_BASE },
    { "stac", IN_BOTH, { 0x0f, 0x01, 0xcb, 0x9c, 0x58, 0x0f, 0x01, 0xca }, RUNS, 6, 0x40002 },
    { "clac", IN_BOTH, { 0x0f, 0x01, 0xca }, RUNS | ANY_VALUE, 6 },
    { "sysret (to itself)", IN_32, { 0x0f, 0x07 }, 6, 6 },
    { "sysexit (CS 0)", IN_BOTH, { 0x0f, 0x35 }, 13, 13 },
    { "rsm", IN_BOTH, { 0x0f, 0xaa }, 6, 6 },
    { "vmcall", IN_BOTH, { 0x0f, 0x01, 0xc1 }, 6, 6 },
    { "rdsspq (no CET: a NOP)", IN_64, { 0xf3, 0x48, 0x0f, 0x1e, 0xc8 }, RUNS, RUNS, 0x77, 0x77,
      0x77 },
    { "endbr64", IN_64, { 0xf3, 0x0f, 0x1e, 0xfa }, RUNS, RUNS, 0x77, 0x77, 0x77 },

    // Through the IDT.
    { "int 80h", IN_BOTH, { 0xcd, 0x80 }, 0x80, 0x80 },
    { "int 81h (DPL 0)", IN_BOTH, { 0xcd, 0x81 }, 0x81, 13 },
    { "int1", IN_BOTH, { 0xf1 }, 1, 1 },
    { "into", IN_32, { 0x80, 0xc0, 0x40, 0xce }, 4, 4, 0, 0, 0x7f },
    { "ud2", IN_BOTH, { 0x0f, 0x0b }, 6, 6 },
    { "hlt", IN_BOTH, { 0xf4 }, STOPS, 13 },
};

static void set_up(Machine *m, bool long_mode, bool user)
{
    if (long_mode)
        machine_long(m);
    else
        machine_protected(m);
    for (unsigned i = 0; i < 3; i++) {
        static const uint8_t open[] = { 3, 4, 0x80 };
        machine_idt_gate(m, open[i], long_mode ? SEL_CODE64 : SEL_CODE32,
                         MACHINE_HANDLERS + 16 * open[i], 0xee);
    }
    if (user)
        machine_user(m);
    VcpuState *s = &m->state;
    s->cr0 |= 0x10;
    s->cr2 = 0x1234;
    s->cr4 |= 0x50600; // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR
    if (long_mode) {
        s->segment[VCPU_FS].base = FS_BASE;
        s->segment[VCPU_GS].base = GS_BASE;
    }
    s->xcr0 = 7;
    s->dr6 = 0xffff0ff0;
    m->port_input = 0x5a;
    m->port_count = 0;
    machine_write(m, MACHINE_DATA, 2, 0xff); // for LGDT
    machine_write(m, MACHINE_DATA + 2, 8, MACHINE_GDT);
    machine_write(m, MACHINE_DATA + 16, 2, long_mode ? 0xfff : 0x7ff); // for LIDT
    machine_write(m, MACHINE_DATA + 18, 8, MACHINE_IDT);
}

static void set_msr(VcpuState *s, uint32_t index, uint64_t value)
{
    for (unsigned i = 0; i < s->msr_count; i++) {
        if (s->msr[i].index == index) {
            s->msr[i].value = value;
            return;
        }
    }
    s->msr[s->msr_count++] = (VcpuMsr){ index, value };
}

static void run_row(Machine *m, const Row *row, bool long_mode, bool user)
{
    set_up(m, long_mode, user);
    VcpuState *s = &m->state;
    set_msr(s, 0xc0000103, TSC_AUX);
    set_msr(s, 0xc0000102, KERNEL_GS_BASE);
    s->gpr[VCPU_RAX] = row->start;
    s->gpr[VCPU_RBX] = s->gpr[VCPU_RSI] = s->gpr[VCPU_RDI] = MACHINE_DATA;
    s->gpr[VCPU_RCX] = row->count;
    s->gpr[VCPU_RDX] = row->code[0] == 0xed ? TEST_PORT : 0;
    uint8_t code[16] = { 0 };
    memcpy(code, row->code, sizeof row->code);
    unsigned length = sizeof row->code;
    while (length > 1 && !code[length - 1])
        length--;
    code[length] = 0xcc;
    machine_run(m, code, sizeof code);
}

static void check_row(Machine *m, const Row *row, bool long_mode, bool user)
{
    run_row(m, row, long_mode, user);
    unsigned wanted = user ? row->user : row->kernel;
    int vector = wanted & RUNS ? 3 : (int)wanted;
    uint64_t rax = user ? row->user_rax : row->kernel_rax;
    if (wanted == STOPS) {
        g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
        g_assert_cmphex(m->state.rip, ==, MACHINE_CODE + 1);
        return;
    }
    bool right = machine_vector(m) == vector && (user || (wanted & RUNS) || !m->port_count);
    if ((wanted & RUNS) && !(wanted & ANY_VALUE))
        right &= m->state.gpr[VCPU_RAX] == rax;
    if (right)
        return;
    g_test_message("%s, %s, ring %u: vector %d, RAX %" G_GINT64_MODIFIER "x, %u port accesses",
                   row->name, long_mode ? "64-bit" : "32-bit", user ? 3 : 0, machine_vector(m),
                   m->state.gpr[VCPU_RAX], m->port_count);
    g_test_fail(); // and on to the next row
}

enum { REPEATS = 3 };

static void check_all(bool long_mode, bool user)
{
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        for (unsigned again = 0; again < REPEATS; again++) {
            if (rows[i].modes & (long_mode ? IN_64 : IN_32))
                check_row(m, &rows[i], long_mode, user);
        }
    }
}

static void test_kernel_64(void)
{
    check_all(true, false);
}

static void test_user_64(void)
{
    check_all(true, true);
}

static void test_kernel_32(void)
{
    check_all(false, false);
}

static void test_user_32(void)
{
    check_all(false, true);
}

// UMIP makes the five that user mode may run fault there.
static void test_umip(void)
{
    static const uint8_t codes[][3] = {
        { 0x0f, 0x00, 0xc8 }, { 0x0f, 0x00, 0xc0 }, { 0x0f, 0x01, 0xe0 },
        { 0x0f, 0x01, 0x03 }, { 0x0f, 0x01, 0x0b },
    };
    g_autoptr(Machine) m = machine_new(1);
    if (!cpuid_model_has(&m->cpuid, CPU_FEATURE_UMIP)) {
        g_test_skip("this guest's CPUID has no UMIP");
        return;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        set_up(m, true, true);
        m->state.cr4 |= 0x800;
        m->state.gpr[VCPU_RBX] = MACHINE_DATA;
        machine_run(m, codes[i], sizeof codes[i]);
        assert_fault(m, 13, 0, 8);
    }
}

// CR4.TSD keeps user mode from the time.
static void test_time_stamp_disabled(void)
{
    static const uint8_t codes[][3] = { { 0x0f, 0x31, 0x90 }, { 0x0f, 0x01, 0xf9 } };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        set_up(m, true, true);
        m->state.cr4 |= 4;
        machine_run(m, codes[i], sizeof codes[i]);
        assert_fault(m, 13, 0, 8);
    }
}

// With IOPL 3, user mode has IF and the ports.
static void test_io_privilege(void)
{
    g_autoptr(Machine) m = machine_new(1);
    set_up(m, true, true);
    m->state.rflags |= 0x3000;
    machine_run_bytes(m, 0xfb, 0x90, 0xe4, TEST_PORT, 0x9c, 0x59, 0xfa, 0xcc);
    assert_vector(m, 3);
    g_assert_cmphex(m->state.gpr[VCPU_RAX] & 0xff, ==, 0x5a);
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, 0x3202);
    g_assert_cmphex(m->state.rflags & 0x200, ==, 0);
}

// SYSCALL goes where LSTAR says, with the guest's flags in R11; SYSRET back.
static void test_syscall_and_back(void)
{
    g_autoptr(Machine) m = machine_new(1);
    set_up(m, true, true);
    set_msr(&m->state, 0xc0000081, (uint64_t)SEL_CODE32 << 32 | (uint64_t)(SEL_CODE64 - 16) << 48);
    set_msr(&m->state, 0xc0000082, SYSCALL_TARGET);
    set_msr(&m->state, 0xc0000084, 0x200);
    machine_write(m, SYSCALL_TARGET, 1, 0xf4);
    m->state.rflags |= 0x201;
    machine_run_bytes(m, 0x0f, 0x05, 0xcc);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, SYSCALL_TARGET + 1);
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, MACHINE_CODE + 2);
    g_assert_cmphex(m->state.gpr[VCPU_R11], ==, 0x203);
    g_assert_cmphex(m->state.segment[VCPU_CS].selector, ==, SEL_CODE32);
    g_assert_cmphex(m->state.rflags & 0x201, ==, 1);
}

// The I/O bitmap of the guest's TSS decides for single ports.
static void test_port_bitmap(void)
{
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned port = TEST_PORT; port < TEST_PORT + 2; port++) {
        set_up(m, true, true);
        machine_write(m, MACHINE_TSS + 102, 2, 0x68);
        for (unsigned i = 0; i < 0x40; i++)
            machine_write(m, MACHINE_TSS + 0x68 + i, 1, 0xff);
        machine_write(m, MACHINE_TSS + 0x68 + TEST_PORT / 8, 1, 0xfe);
        machine_run_bytes(m, 0xe4, (uint8_t)port, 0xcc);
        assert_vector(m, port == TEST_PORT ? 3 : 13);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt/privilege/kernel-64", test_kernel_64);
    g_test_add_func("/bt/privilege/user-64", test_user_64);
    g_test_add_func("/bt/privilege/kernel-32", test_kernel_32);
    g_test_add_func("/bt/privilege/user-32", test_user_32);
    g_test_add_func("/bt/privilege/umip", test_umip);
    g_test_add_func("/bt/privilege/time-stamp-disabled", test_time_stamp_disabled);
    g_test_add_func("/bt/privilege/io-privilege", test_io_privilege);
    g_test_add_func("/bt/privilege/syscall-and-back", test_syscall_and_back);
    g_test_add_func("/bt/privilege/port-bitmap", test_port_bitmap);
    return g_test_run();
}
