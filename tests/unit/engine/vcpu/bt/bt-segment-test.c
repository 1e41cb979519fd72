// SPDX-License-Identifier: GPL-2.0-or-later
// Segment loads and limits, and the instructions that look at descriptors.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

// ---- Loads ----

// mov ds, ax (or ss, es) with the selector in AX; vector 6 says that it went well.
static void load(Machine *m, unsigned segment, uint16_t selector)
{
    m->state.gpr[VCPU_RAX] = selector;
    machine_run_bytes(m, 0x8e, (uint8_t)(0xc0 | segment << 3), 0x0f, 0x0b);
}

typedef struct {
    const char *name;
    unsigned segment;
    uint16_t rpl, access;
    bool user;
    int vector; // 6: loaded
} Load;

static const Load loads[] = {
    { "data", VCPU_DS, 0, 0xc093, false, 6 },
    { "data-rpl-3", VCPU_DS, 3, 0xc093, false, 13 },
    { "data-dpl-3-rpl-3", VCPU_DS, 3, 0xc0f3, false, 6 },
    { "data-dpl-0-from-user", VCPU_DS, 0, 0xc093, true, 13 },
    { "read-only", VCPU_DS, 0, 0xc091, false, 6 },
    { "expand-down", VCPU_DS, 0, 0xc097, false, 6 },
    { "readable-code", VCPU_ES, 0, 0xc09b, false, 6 },
    { "execute-only-code", VCPU_ES, 0, 0xc099, false, 13 },
    { "conforming-from-user", VCPU_ES, 3, 0xc09f, true, 6 },
    { "not-present", VCPU_ES, 0, 0xc013, false, 11 },
    { "system", VCPU_ES, 0, 0x0082, false, 13 },
    { "stack", VCPU_SS, 0, 0xc093, false, 6 },
    { "stack-read-only", VCPU_SS, 0, 0xc091, false, 13 },
    { "stack-code", VCPU_SS, 0, 0xc09b, false, 13 },
    { "stack-rpl", VCPU_SS, 3, 0xc0f3, false, 13 },
    { "stack-dpl", VCPU_SS, 0, 0xc0f3, false, 13 },
    { "stack-not-present", VCPU_SS, 0, 0xc013, false, 12 },
};

static void test_load(gconstpointer data)
{
    const Load *row = data;
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0x1000, 0xfffff, row->access);
    if (row->user)
        machine_user(m);
    load(m, row->segment, SEL_FREE | row->rpl);
    if (row->vector == 6) {
        assert_vector(m, 6);
        g_assert_cmphex(m->state.segment[row->segment].base, ==, 0x1000);
    } else {
        assert_fault(m, row->vector, SEL_FREE, 4);
    }
}

static void test_null(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    load(m, VCPU_DS, 3);
    assert_vector(m, 6);
    g_assert_true(m->state.segment[VCPU_DS].unusable);
    machine_protected(m);
    load(m, VCPU_SS, 0);
    assert_fault(m, 13, 0, 4);
    // Using it faults, loading it did not.
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = 0;
    machine_run_bytes(m, 0x8e, 0xd8, 0x8b, 0x03);
    assert_fault(m, 13, 0, 4);
    g_assert_cmphex(machine_read(m, machine_stack(m) + 4, 4), ==, MACHINE_CODE + 2);
    // 64-bit mode, ring 0: SS may be null.
    machine_long(m);
    load(m, VCPU_SS, 0);
    assert_vector(m, 6);
}

static void test_table_limits(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.gdtr.limit = 0x7e; // the last descriptor is cut off
    load(m, VCPU_DS, 0x78);
    assert_fault(m, 13, 0x78, 4);
    machine_protected(m);
    load(m, VCPU_DS, 0x104); // behind the LDT's limit
    assert_fault(m, 13, 0x104, 4);
    machine_protected(m);
    machine_descriptor(m, MACHINE_LDT, 0x0c, 0x5000, 0, 0x4093);
    load(m, VCPU_DS, 0x0c);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.segment[VCPU_DS].base, ==, 0x5000);
    machine_protected(m);
    m->state.ldtr.unusable = true;
    load(m, VCPU_DS, 0x0c);
    assert_fault(m, 13, 0x0c, 4);
}

static void test_accessed(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, 0, 0x0092);
    load(m, VCPU_DS, SEL_FREE);
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_FREE + 5, 1), ==, 0x93);
}

// ---- Limits ----

typedef struct {
    const char *name;
    uint16_t access;
    uint32_t limit; // the field
    uint32_t offset;
    unsigned size;
    bool write, fault;
} Limit;

static const Limit limits[] = {
    { "last-byte", 0x0093, 0xfff, 0xfff, 1, false, false },
    { "behind", 0x0093, 0xfff, 0x1000, 1, false, true },
    { "straddle", 0x0093, 0xfff, 0xffd, 4, false, true },
    { "granular", 0xc093, 0, 0xffc, 4, false, false },
    { "granular-behind", 0xc093, 0, 0xffd, 4, false, true },
    { "read-only", 0xc091, 0, 0, 4, true, true },
    { "code-write", 0xc09b, 0, 0, 4, true, true },
    { "down-below", 0x0097, 0xfff, 0xfff, 1, false, true },
    { "down-first", 0x0097, 0xfff, 0x1000, 4, true, false },
    { "down-16-last", 0x0097, 0xfff, 0xfffc, 4, true, false },
    { "down-16-behind", 0x0097, 0xfff, 0x10000, 1, false, true },
    { "down-32-behind", 0x4097, 0xfff, 0x10000, 1, false, false },
};

static void test_limit(gconstpointer data)
{
    const Limit *row = data;
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, MACHINE_DATA, row->limit, row->access);
    m->state.segment[VCPU_FS] = (VcpuSegment){
        .base = MACHINE_DATA, .selector = SEL_FREE, .access = row->access,
        .limit = row->access & 0x8000 ? row->limit << 12 | 0xfff : row->limit,
    };
    m->state.gpr[VCPU_RBX] = row->offset;
    uint8_t opcode = (uint8_t)((row->write ? 0x88 : 0x8a) + (row->size == 4));
    machine_run_bytes(m, 0x64, opcode, 0x03, 0x0f, 0x0b);
    if (row->fault)
        assert_fault(m, 13, 0, 4);
    else
        assert_vector(m, 6);
}

static void test_stack_limit(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    // A push that would wrap below offset 0 of a small stack; the handler gets a good one by a
    // task-free way: #SS comes through a conforming path, so use ring 3 and the TSS's stack.
    machine_user(m);
    m->state.segment[VCPU_SS].limit = 0xfff;
    m->state.gpr[VCPU_RSP] = 0x1002;
    machine_run_bytes(m, 0x50);
    assert_fault(m, 12, 0, 4);
}

static void test_real_limit(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_real(m);
    m->state.gpr[VCPU_RBX] = 0xffff;
    machine_run_bytes(m, 0x8b, 0x07); // mov ax, [bx]
    assert_vector(m, 13);
    // "Unreal": the limit that protected mode left stays.
    machine_real(m);
    m->state.segment[VCPU_DS].limit = UINT32_MAX;
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    machine_write(m, MACHINE_DATA, 2, 0x1234);
    m->state.gpr[VCPU_RAX] = 0;
    machine_run_bytes(m, 0x8e, 0xd8, 0x67, 0x8b, 0x03, 0x0f, 0x0b); // mov ds, ax; mov ax, [ebx]
    assert_vector(m, 6);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x1234);
}

// ---- LAR, LSL, VERR, VERW, ARPL ----

static void look(Machine *m, uint16_t access, uint32_t limit, uint16_t rpl, const uint8_t *code,
                 unsigned size, bool user)
{
    machine_protected(m);
    if (user)
        machine_user(m);
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0, limit, access);
    m->state.gpr[VCPU_RAX] = SEL_FREE | rpl;
    m->state.gpr[VCPU_RCX] = 0xdead;
    m->state.rflags |= 0x40;
    uint8_t all[8];
    memcpy(all, code, size);
    all[size] = 0x0f;
    all[size + 1] = 0x0b;
    machine_run(m, all, size + 2);
    assert_vector(m, 6);
}

static bool zero_flag(const Machine *m)
{
    return m->state.rflags & 0x40;
}

static void test_lar_lsl(void)
{
    static const uint8_t lar[] = { 0x0f, 0x02, 0xc8 }, lsl[] = { 0x0f, 0x03, 0xc8 };
    g_autoptr(Machine) m = machine_new(1);
    look(m, 0xc0fb, 0x12345, 3, lar, 3, true);
    g_assert_true(zero_flag(m));
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, 0x00c1fb00); // limit bits 16..19 come along
    look(m, 0xc0fb, 0x12345, 3, lsl, 3, true);
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, 0x12345fff);
    look(m, 0xc093, 0, 0, lar, 3, true); // DPL 0 from ring 3
    g_assert_false(zero_flag(m));
    g_assert_cmphex(m->state.gpr[VCPU_RCX], ==, 0xdead);
    look(m, 0x008c, 0, 0, lar, 3, false); // a call gate has rights but no limit
    g_assert_true(zero_flag(m));
    look(m, 0x008c, 0, 0, lsl, 3, false);
    g_assert_false(zero_flag(m));
    look(m, 0x008e, 0, 0, lar, 3, false); // an interrupt gate has neither
    g_assert_false(zero_flag(m));
}

static void test_verr_verw(void)
{
    static const uint8_t verr[] = { 0x0f, 0x00, 0xe0 }, verw[] = { 0x0f, 0x00, 0xe8 };
    g_autoptr(Machine) m = machine_new(1);
    look(m, 0xc093, 0, 0, verr, 3, false);
    g_assert_true(zero_flag(m));
    look(m, 0xc093, 0, 3, verr, 3, false);
    g_assert_false(zero_flag(m));
    look(m, 0xc099, 0, 0, verr, 3, false); // execute-only
    g_assert_false(zero_flag(m));
    look(m, 0xc091, 0, 0, verw, 3, false);
    g_assert_false(zero_flag(m));
    look(m, 0xc09f, 0, 3, verr, 3, true); // conforming
    g_assert_true(zero_flag(m));
    look(m, 0xc013, 0, 0, verr, 3, false); // not present does not matter
    g_assert_true(zero_flag(m));
}

static void test_arpl(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = 0x1230;
    m->state.gpr[VCPU_RCX] = 2;
    machine_run_bytes(m, 0x63, 0xc8, 0x0f, 0x0b);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x1232);
    g_assert_true(zero_flag(m));
    machine_v86(m);
    machine_run_bytes(m, 0x63, 0xc8);
    assert_vector(m, 6);
}

static void test_ltr(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = SEL_TSS2;
    machine_run_bytes(m, 0x0f, 0x00, 0xd8, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmphex(m->state.tr.selector, ==, SEL_TSS2);
    g_assert_cmphex(m->state.tr.base, ==, MACHINE_TSS2);
    g_assert_cmphex(machine_read(m, MACHINE_GDT + SEL_TSS2 + 5, 1), ==, 0x8b);
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = SEL_TSS; // busy
    machine_run_bytes(m, 0x0f, 0x00, 0xd8);
    assert_fault(m, 13, SEL_TSS, 4);
    machine_long(m); // 16 bytes; the upper half gives bits 32..63
    machine_descriptor(m, MACHINE_GDT, SEL_FREE, 0x4000, 0x67, 0x0089);
    machine_write(m, MACHINE_GDT + SEL_FREE + 8, 8, 0xffff8000);
    m->state.gpr[VCPU_RAX] = SEL_FREE;
    machine_run_bytes(m, 0x0f, 0x00, 0xd8, 0x0f, 0x0b);
    g_assert_cmphex(m->state.tr.base, ==, UINT64_C(0xffff800000004000));
}

static void test_umip(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_user(m);
    machine_run_bytes(m, 0x0f, 0x00, 0xc8, 0x0f, 0x0b); // str eax
    assert_vector(m, 6);
    machine_protected(m);
    machine_user(m);
    m->state.cr4 |= 1u << 11;
    machine_run_bytes(m, 0x0f, 0x00, 0xc8);
    assert_fault(m, 13, 0, 4);
}

static void test_load_far_pointer(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_write(m, MACHINE_DATA, 8, UINT64_C(0x30) << 32 | 0x89abcdef);
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    machine_run_bytes(m, 0xc4, 0x03, 0x0f, 0x0b); // les eax, [ebx]
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x89abcdef);
    g_assert_cmphex(m->state.segment[VCPU_ES].selector, ==, SEL_DATA16);
    // A bad selector leaves the register alone.
    machine_protected(m);
    machine_write(m, MACHINE_DATA + 4, 2, SEL_TSS);
    m->state.gpr[VCPU_RBX] = MACHINE_DATA;
    machine_run_bytes(m, 0xc4, 0x03);
    assert_fault(m, 13, SEL_TSS, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0);
}

// In 64-bit mode the base of DS counts for nothing, and counts again in compatibility mode.
static void test_long_bases(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    m->state.segment[VCPU_DS].base = 0x1000;
    m->state.segment[VCPU_FS].base = 0x2000;
    machine_write(m, MACHINE_DATA, 4, 1);
    machine_write(m, MACHINE_DATA + 0x2000, 4, 2);
    machine_run_bytes(m, 0x8b, 0x04, 0x25, 0, 0, 0x10, 0, //
                      0x64, 0x8b, 0x1c, 0x25, 0, 0, 0x10, 0, 0x0f, 0x0b);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 2);
    g_assert_cmphex(m->state.segment[VCPU_DS].base, ==, 0x1000);
}

static void test_push_pop(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_write(m, MACHINE_STACK - 4, 4, 0xffffffff);
    machine_run_bytes(m, 0x1e, 0x07, 0x0f, 0x0b); // push ds; pop es
    assert_vector(m, 6);
    g_assert_cmphex(m->state.segment[VCPU_ES].selector, ==, SEL_DATA32);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 12);
    // POP with a bad selector: ESP is as before.
    machine_protected(m);
    machine_run_bytes(m, 0x6a, SEL_TSS, 0x07); // push 38h; pop es
    assert_fault(m, 13, SEL_TSS, 4);
    g_assert_cmphex(m->state.gpr[VCPU_RSP], ==, MACHINE_STACK - 4 - 16);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(loads); i++) {
        g_autofree char *path = g_strdup_printf("/bt-segment/load/%s", loads[i].name);
        g_test_add_data_func(path, &loads[i], test_load);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
        g_autofree char *path = g_strdup_printf("/bt-segment/limit/%s", limits[i].name);
        g_test_add_data_func(path, &limits[i], test_limit);
    }
    g_test_add_func("/bt-segment/load/null", test_null);
    g_test_add_func("/bt-segment/load/table-limits", test_table_limits);
    g_test_add_func("/bt-segment/load/accessed", test_accessed);
    g_test_add_func("/bt-segment/load/far-pointer", test_load_far_pointer);
    g_test_add_func("/bt-segment/load/push-pop", test_push_pop);
    g_test_add_func("/bt-segment/limit/stack", test_stack_limit);
    g_test_add_func("/bt-segment/limit/real", test_real_limit);
    g_test_add_func("/bt-segment/lar-lsl", test_lar_lsl);
    g_test_add_func("/bt-segment/verr-verw", test_verr_verw);
    g_test_add_func("/bt-segment/arpl", test_arpl);
    g_test_add_func("/bt-segment/ltr", test_ltr);
    g_test_add_func("/bt-segment/umip", test_umip);
    g_test_add_func("/bt-segment/long-bases", test_long_bases);
    return g_test_run();
}
