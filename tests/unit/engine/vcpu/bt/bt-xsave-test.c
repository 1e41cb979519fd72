// SPDX-License-Identifier: GPL-2.0-or-later
// Tests bt-xsave.c against the host CPU: images of random states, headers good and bad, requested
// components, unaligned and unreachable areas, MXCSR; and the conversion to VcpuState's image.

#include "tests/unit/engine/vcpu/bt/bt-native.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu.h"

#include <string.h>

static BtCpu *cpu;

enum { AT = 1024, HEADER = 512 };

static void random_state(NativeState *s)
{
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = native_random();
    s->gpr[0] = native_below(4) ? 7 : native_random() & 7; // edx:eax
    s->gpr[2] = 0;
    s->rflags = 0x202;
    memset(s->area, 0, sizeof s->area);
    le16_write(s->area, (uint16_t)((native_random() & 0x1f3f) | 0x40));
    le16_write(s->area + 2, (uint16_t)native_random() & 0x7f7f);
    if (native_below(4))
        s->area[0] |= 0x3f; // nothing pending
    s->area[4] = (uint8_t)native_random();
    le32_write(s->area + 24, native_below(2) ? 0x1f80 : native_random() & 0xffff);
    for (unsigned i = 0; i < 8; i++)
        native_interesting(s->area + 32 + 16 * i, 10);
    bool sse = native_below(3), avx = native_below(3);
    for (unsigned i = 0; i < 16; i++) {
        if (sse)
            native_interesting(s->area + 160 + 16 * i, 16);
        if (avx)
            native_interesting(s->area + 576 + 16 * i, 16);
    }
    le64_write(s->area + HEADER, 7);
}

// A header that is mostly right.
static void random_header(uint8_t *header)
{
    memset(header, 0, 64);
    uint64_t present = native_below(3) ? 7 : native_random() & 7, layout = 0;
    if (native_below(2))
        layout = UINT64_C(1) << 63 | (native_below(4) ? 7 : native_random() & 7) | present;
    if (native_below(8) == 0)
        present |= UINT64_C(1) << (40 + native_below(20));
    if (native_below(8) == 0)
        layout ^= UINT64_C(1) << (native_below(2) ? 40 + native_below(24) : native_below(3));
    le64_write(header, present);
    le64_write(header + 8, layout);
    if (native_below(8) == 0)
        header[16 + native_below(48)] = 1;
}

typedef struct {
    const char *name;
    uint8_t code[6];
    unsigned length;
    bool loads;
} Row;

static const Row rows[] = {
    {"fxsave", {0x0f, 0xae, 0x03}, 3, false},
    {"fxsave64", {0x48, 0x0f, 0xae, 0x03}, 4, false},
    {"fxrstor", {0x0f, 0xae, 0x0b}, 3, true},
    {"fxrstor64", {0x48, 0x0f, 0xae, 0x0b}, 4, true},
    {"xsave", {0x0f, 0xae, 0x23}, 3, false},
    {"xsave64", {0x48, 0x0f, 0xae, 0x23}, 4, false},
    {"xrstor", {0x0f, 0xae, 0x2b}, 3, true},
    {"xrstor64", {0x48, 0x0f, 0xae, 0x2b}, 4, true},
    {"xsaveopt", {0x0f, 0xae, 0x33}, 3, false},
    {"xsaveopt64", {0x48, 0x0f, 0xae, 0x33}, 4, false},
    {"xsavec", {0x0f, 0xc7, 0x23}, 3, false},
    {"xsavec64", {0x48, 0x0f, 0xc7, 0x23}, 4, false},
    {"ldmxcsr", {0x0f, 0xae, 0x13}, 3, true},
    {"stmxcsr", {0x0f, 0xae, 0x1b}, 3, false},
    {"vldmxcsr", {0xc5, 0xf8, 0xae, 0x13}, 4, true},
    {"vstmxcsr", {0xc5, 0xf8, 0xae, 0x1b}, 4, false},
};

static void test_native(gconstpointer argument)
{
    const Row *row = argument;
    static NativeRun r;
    uint8_t initial[NATIVE_PAGE];
    const char *repeat = g_getenv("BT_REPEAT");
    unsigned times = 500 * (repeat ? (unsigned)g_ascii_strtoull(repeat, NULL, 0) : 1);
    bool mxcsr = strstr(row->name, "mxcsr"), legacy = row->name[0] == 'f';
    BtDecoded d;
    BtInsn insn;
    g_assert_true(native_decode(cpu, row->code, row->length, &d, &insn));
    for (unsigned i = 0; i < times; i++) {
        unsigned at = AT;
        for (unsigned k = 0; k < NATIVE_PAGE; k += 8)
            le64_write(initial + k, native_random());
        random_state(&r.before);
        NativeState image;
        random_state(&image);
        memcpy(initial + at, image.area, 416);
        memcpy(initial + at + 576, image.area + 576, 256);
        random_header(initial + at + HEADER);
        uint32_t reserved = native_below(16) == 0 ? 1u << (18 + native_below(14)) : 0;
        le32_write(initial + at + 24, le32_read(image.area + 24) | reserved);
        uint32_t value = le32_read(initial + at + 24);
        if (native_below(16) == 0)
            at += 1 + native_below(63);
        else if (native_below(8) == 0)
            at = NATIVE_PAGE - 64 * (1 + native_below(13));
        if (mxcsr)
            le32_write(initial + at, value);
        if (at + 28 <= NATIVE_PAGE) // MXCSR.MM is the host's alone
            initial[at + 26] &= (uint8_t)~2;
        r.before.gpr[3] = (uintptr_t)native_data() + at;
        native_both(cpu, bt_select_simd, row->code, row->length, initial, &r);
        if (!row->loads && !mxcsr && at + 32 <= NATIVE_PAGE) { // MXCSR_MASK
            uint8_t *n = r.data_native + at + 28, *o = r.data_ours + at + 28;
            if (le32_read(o) == 0xffff && (le32_read(n) & ~0x20000u) == 0xffff)
                le32_write(n, 0xffff);
            // FIP, FDP and FOP: native_run has not loaded them.
            if (le16_read(o + 2 - 28) & 0x80 && (r.before.gpr[0] & 1 || legacy)) {
                memset(n + 6 - 28, 0, 18);
                memset(o + 6 - 28, 0, 18);
            }
        }
        // The host may say "in use" of an initial state.
        bool extended = row->name[0] == 'x' && !row->loads;
        if (extended && at + HEADER < NATIVE_PAGE && r.native.vector == -1 &&
            ((r.data_native[at + HEADER] & ~r.data_ours[at + HEADER] & 7) ||
             (!native_is_amd() && r.data_native[at + HEADER] != r.data_ours[at + HEADER])))
            continue;
        if (r.native.vector == BT_PF && r.ours.vector == BT_PF) // how much was written is open
            memcpy(r.data_ours, r.data_native, NATIVE_PAGE);
        if (!native_same(&r, &d)) {
            g_test_fail();
            return;
        }
    }
}

static void test_backend_image(void)
{
    NativeState s;
    uint8_t image[VCPU_XSAVE_SIZE] = {0}, again[VCPU_XSAVE_SIZE];
    for (unsigned i = 0; i < 100; i++) {
        random_state(&s);
        memset(image, 0, sizeof image);
        memcpy(image, s.area, NATIVE_AREA);
        le64_write(image + 8, native_random());
        le64_write(image + 16, native_random());
        g_assert_true(bt_fpu_set(cpu, image));
        bt_fpu_get(cpu, again);
        // ES and B are derived, and bytes 28..31 are ours.
        uint16_t status = le16_read(image + 2);
        if (status & ~le16_read(image) & 0x3f)
            status |= 0x8080;
        le16_write(image + 2, status);
        le32_write(image + 28, 0xffff);
        g_assert_cmpmem(image, sizeof image, again, sizeof again);
    }
    // A refused image changes nothing.
    le32_write(image + 24, 0x10000);
    g_assert_false(bt_fpu_set(cpu, image));
    le32_write(image + 24, 0x1f80);
    le64_write(image + HEADER, 1u << 5);
    g_assert_false(bt_fpu_set(cpu, image));
    le64_write(image + HEADER, 7);
    le64_write(image + HEADER + 8, UINT64_C(1) << 63);
    g_assert_false(bt_fpu_set(cpu, image));
    uint8_t unchanged[VCPU_XSAVE_SIZE];
    bt_fpu_get(cpu, unchanged);
    g_assert_cmpmem(unchanged, sizeof unchanged, again, sizeof again);
}

static void test_xcr0(void)
{
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpint(bt_xcr0_valid(i), ==, i == 1 || i == 3 || i == 7);
}

typedef struct {
    const char *name;
    uint64_t cr0_set, cr4_clear;
    int legacy, extended, mxcsr; // FXSAVE, XSAVE, STMXCSR
} GateRow;

static const GateRow gate_rows[] = {
    {"open", 0, 0, -1, -1, -1},
    {"task-switched", BT_CR0_TS, 0, BT_NM, BT_NM, BT_NM},
    {"emulation", BT_CR0_EM, 0, BT_NM, -1, BT_UD},
    {"no-osxsave", 0, BT_CR4_OSXSAVE, -1, BT_UD, -1},
    {"no-osfxsr", 0, BT_CR4_OSFXSR, -1, -1, BT_UD},
};

static void test_gate(gconstpointer data)
{
    const GateRow *row = data;
    uint64_t cr0 = cpu->cr0, cr4 = cpu->cr4;
    cpu->cr0 |= row->cr0_set;
    cpu->cr4 &= ~row->cr4_clear;
    bt_fpu_update(cpu);
    cpu->gpr[0] = 7;
    cpu->gpr[2] = 0;
    cpu->gpr[3] = (uintptr_t)native_data();
    g_assert_cmpint(native_step(cpu, bt_select_simd, rows[0].code, 3, 0), ==, row->legacy);
    g_assert_cmpint(native_step(cpu, bt_select_simd, rows[4].code, 3, 0), ==, row->extended);
    g_assert_cmpint(native_step(cpu, bt_select_simd, rows[13].code, 3, 0), ==, row->mxcsr);
    cpu->cr0 = cr0;
    cpu->cr4 = cr4;
    bt_fpu_update(cpu);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    native_init();
    cpu = native_cpu_new();
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *name = g_strdup_printf("/bt-xsave/native/%s", rows[i].name);
        g_test_add_data_func(name, &rows[i], test_native);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(gate_rows); i++) {
        g_autofree char *name = g_strdup_printf("/bt-xsave/gate/%s", gate_rows[i].name);
        g_test_add_data_func(name, &gate_rows[i], test_gate);
    }
    g_test_add_func("/bt-xsave/backend-image", test_backend_image);
    g_test_add_func("/bt-xsave/xcr0", test_xcr0);
    int status = g_test_run();
    native_cpu_free(cpu);
    return status;
}
