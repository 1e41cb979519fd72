// SPDX-License-Identifier: GPL-2.0-or-later
// Tests bt-x87*.c against the host FPU: every opcode from D8h to DFh with registers and memory,
// from random stacks, control words and values.

#include "tests/unit/engine/vcpu/bt/bt-native.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu.h"

#include <string.h>

static BtCpu *cpu;

static void random_state(NativeState *s)
{
    for (unsigned i = 0; i < 16; i++)
        native_interesting((uint8_t *)&s->gpr[i], 8);
    s->rflags = 0x202 | (native_random() & BT_FLAGS_STATUS);
    memset(s->area, 0, sizeof s->area);
    uint16_t control = 0x37f, status = (uint16_t)(native_random() & 0x3800);
    if (native_below(2))
        control = (uint16_t)((native_random() & 0x1f00) | 0x7f);
    if (native_below(4) == 0)
        control &= (uint16_t)(native_random() | 0xffc0);
    if (native_below(2))
        status |= native_random() & 0x477f;
    if (native_below(16)) // else an exception may be pending
        status &= (uint16_t)~(~control & 0x3f);
    le16_write(s->area, control);
    le16_write(s->area + 2, status);
    s->area[4] = native_below(3) ? 0xff : (uint8_t)native_random();
    if (native_below(2)) // an empty register to push to
        s->area[4] &= (uint8_t)~(1u << (((status >> 11) - 1) & 7));
    le32_write(s->area + 24, 0x1f80);
    for (unsigned i = 0; i < 8; i++) {
        native_interesting(s->area + 32 + 16 * i, 10);
        if (native_below(8) == 0)
            native_interesting(s->area + 32 + 16 * i, 8);
        if (native_below(4) == 0) { // near another, for cancellation
            memcpy(s->area + 32 + 16 * i, s->area + 32 + 16 * native_below(8), 10);
            s->area[32 + 16 * i + native_below(3)] ^= 1;
        }
    }
    le64_write(s->area + 512, 3);
}

static void random_data(uint8_t *data, unsigned offset)
{
    for (unsigned at = 0; at < NATIVE_PAGE; at += 8)
        native_interesting(data + at, 8);
    if (offset + 10 <= NATIVE_PAGE)
        native_interesting(data + offset, native_below(2) ? 10 : 8);
    if (native_below(4) == 0 && offset + 10 <= NATIVE_PAGE) { // decimal
        for (unsigned i = 0; i < 9; i++)
            data[offset + i] = (uint8_t)(native_below(10) | native_below(10) << 4);
        data[offset + 9] = native_below(2) ? 0x80 : 0;
    }
}

static unsigned repetitions(void)
{
    const char *text = g_getenv("BT_REPEAT");
    return text ? (unsigned)g_ascii_strtoull(text, NULL, 0) : 1;
}

static bool is_environment(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_FLDENV || m == ZYDIS_MNEMONIC_FRSTOR ||
           m == ZYDIS_MNEMONIC_FNSTENV || m == ZYDIS_MNEMONIC_FNSAVE;
}

// C1 after these: AMD leaves it, Intel clears it.
static bool leaves_c1(ZydisMnemonic m)
{
    return (m >= ZYDIS_MNEMONIC_FCMOVB && m <= ZYDIS_MNEMONIC_FCMOVU) ||
           m == ZYDIS_MNEMONIC_FCOMI || m == ZYDIS_MNEMONIC_FCOMIP ||
           m == ZYDIS_MNEMONIC_FUCOMI || m == ZYDIS_MNEMONIC_FUCOMIP;
}

static void test_opcode(gconstpointer argument)
{
    static NativeRun r;
    uint8_t initial[NATIVE_PAGE];
    unsigned opcode = GPOINTER_TO_UINT(argument), cases = 0;
    for (unsigned modrm = 0; modrm < 256; modrm++) {
        if (modrm < 0xc0 && (modrm & 0xc7) != 3)
            continue; // [rbx]
        const uint8_t code[] = {(uint8_t)opcode, (uint8_t)modrm};
        BtDecoded d;
        BtInsn insn;
        if (!native_decode(cpu, code, sizeof code, &d, &insn) || is_environment(d.insn.mnemonic))
            continue;
        for (unsigned i = 0; i < (modrm < 0xc0 ? 60 : 15) * repetitions(); i++, cases++) {
            unsigned offset = native_below(8) ? 512 : NATIVE_PAGE - native_below(12);
            random_state(&r.before);
            random_data(initial, offset);
            r.before.gpr[3] = (uintptr_t)native_data() + offset;
            native_both(cpu, bt_select_x87, code, sizeof code, initial, &r);
            if (leaves_c1(d.insn.mnemonic))
                r.native.area[3] |= 2, r.ours.area[3] |= 2;
            if (!native_same(&r, &d)) {
                g_test_fail();
                break;
            }
        }
    }
    g_test_message("%u cases", cases);
}

static bool select_both(const BtDecoded *d, BtInsn *out)
{
    return bt_select_x87(d, out) || bt_select_simd(d, out);
}

// One instruction of a sequence; memory operands are at [rbx], [rbx+16] .. [rbx+112]. Returns its
// length.
static unsigned random_instruction(uint8_t *code)
{
    static const uint8_t others[][4] = {
        {3, 0xd9, 0x6b, 0x80}, // fldcw [rbx-128]
        {3, 0xd9, 0x7b, 0x70}, // fnstcw
        {2, 0xdb, 0xe2},       // fnclex
        {2, 0xdb, 0xe3},       // fninit
        {2, 0xdf, 0xe0},       // fnstsw ax
        {3, 0xdd, 0x7b, 0x10}, // fnstsw m16
        {1, 0x9b},             // fwait
        {2, 0x0f, 0x77},       // emms
        {3, 0x0f, 0xfc, 0xc1}, // paddb mm0, mm1
        {3, 0x0f, 0x6f, 0x13}, // movq mm2, [rbx]
        {3, 0x0f, 0x7f, 0xd8}, // movq mm0, mm3
        {3, 0x0f, 0x2a, 0xc1}, // cvtpi2ps xmm0, mm1
        {3, 0x0f, 0x58, 0xc1}, // addps xmm0, xmm1
        {3, 0x0f, 0x5e, 0x0b}, // divps xmm1, [rbx]
        {3, 0x0f, 0x2f, 0xc1}, // comiss xmm0, xmm1
        {3, 0x0f, 0xae, 0x1b}, // stmxcsr [rbx]
    };
    if (native_below(4) == 0) {
        const uint8_t *other = others[native_below(G_N_ELEMENTS(others))];
        memcpy(code, other + 1, other[0]);
        return other[0];
    }
    for (;;) {
        BtDecoded d;
        BtInsn insn;
        code[0] = (uint8_t)(0xd8 + native_below(8));
        code[1] = (uint8_t)native_random();
        unsigned length = 2;
        if (code[1] < 0xc0) {
            code[1] = (code[1] & 0x38) | 0x43;
            code[2] = (uint8_t)(16 * native_below(8));
            length = 3;
        }
        if (!native_decode(cpu, code, length, &d, &insn) || is_environment(d.insn.mnemonic) ||
            d.insn.mnemonic == ZYDIS_MNEMONIC_FLDCW || leaves_c1(d.insn.mnemonic))
            continue;
        return length;
    }
}

// Sequences, through which the guest's registers stay in the host's.
static void test_sequences(void)
{
    static NativeRun r;
    uint8_t initial[NATIVE_PAGE], code[128];
    for (unsigned i = 0; i < 4000 * repetitions(); i++) {
        unsigned length = 0, offset = 1024;
        for (unsigned n = 1 + native_below(20); n; n--)
            length += random_instruction(code + length);
        random_state(&r.before);
        random_data(initial, offset);
        le16_write(initial + offset - 128, // for FLDCW
                   (uint16_t)((native_random() & 0xf00) | (native_below(6) ? 0x7f : 0x7b)));
        for (unsigned k = 0; k < 16; k++)
            native_interesting(r.before.area + 160 + 16 * k, 16);
        r.before.gpr[3] = (uintptr_t)native_data() + offset;
        native_both(cpu, select_both, code, length, initial, &r);
        BtDecoded d;
        BtInsn insn;
        native_decode(cpu, code, length, &d, &insn);
        if (!native_same(&r, &d)) {
            for (unsigned k = 0; k < length; k++)
                g_printerr("%02x ", code[k]);
            g_printerr("\ncontrol %04x status %04x\n", le16_read(r.before.area),
                       le16_read(r.before.area + 2));
            g_test_fail();
            return;
        }
    }
}

// FNSTENV, FLDENV, FNSAVE, FRSTOR in the two protected-mode layouts. Instruction and data pointers
// have their own test: on the native side XRSTOR has not loaded them.
static void test_environment(gconstpointer argument)
{
    static NativeRun r;
    uint8_t initial[NATIVE_PAGE];
    bool narrow = GPOINTER_TO_UINT(argument);
    static const uint8_t opcodes[][2] = {{0xd9, 0x23}, {0xd9, 0x33}, {0xdd, 0x23}, {0xdd, 0x33}};
    for (unsigned i = 0; i < 400 * repetitions(); i++) {
        const uint8_t *opcode = opcodes[i & 3];
        const uint8_t code[] = {0x66, opcode[0], opcode[1]};
        BtDecoded d;
        BtInsn insn;
        g_assert_true(native_decode(cpu, code + !narrow, sizeof code - !narrow, &d, &insn));
        unsigned offset = native_below(8) ? 512 : NATIVE_PAGE - native_below(120);
        random_state(&r.before);
        random_data(initial, offset);
        for (unsigned at = 0; at < NATIVE_PAGE; at++)
            initial[at] = (uint8_t)native_random();
        r.before.gpr[3] = (uintptr_t)native_data() + offset;
        native_both(cpu, bt_select_x87, code + !narrow, sizeof code - !narrow, initial, &r);
        if (r.native.vector == -1 && (opcode[1] & 0x30) == 0x30) {
            unsigned at = offset + (narrow ? 6 : 12), size = narrow ? 8 : 16;
            memset(r.data_native + at, 0, size);
            memset(r.data_ours + at, 0, size);
        }
        if (!native_same(&r, &d)) {
            g_test_fail();
            break;
        }
    }
}

// What FNSTENV tells of the instruction before it: after FLD m32, the opcode to be tested.
static void test_pointers(void)
{
    static const uint8_t fld[] = {0xd9, 0x43, 0x40};                       // flds [rbx+64]
    static const uint8_t fnstenv[] = {0xd9, 0xb3, 0x00, 0x04, 0x00, 0x00}; // [rbx+1024]
    uint8_t initial[NATIVE_PAGE], code[16];
    unsigned cases = 0;
    if (!native_is_amd()) { // Intel's newer ones note pointers of exceptions only
        g_test_skip("the host notes other pointers");
        return;
    }
    memcpy(code, fld, sizeof fld);
    memcpy(code + 5, fnstenv, sizeof fnstenv);
    for (unsigned opcode = 0xd8; opcode <= 0xdf; opcode++) {
        for (unsigned modrm = 0; modrm < 256; modrm++) {
            NativeState native, ours;
            BtDecoded d;
            BtInsn insn;
            uint64_t base = native_code_address();
            code[3] = (uint8_t)opcode;
            code[4] = (uint8_t)modrm;
            if ((modrm < 0xc0 && (modrm & 0xc7) != 3) ||
                !native_decode(cpu, code + 3, 2, &d, &insn) || is_environment(d.insn.mnemonic))
                continue;
            random_state(&native);
            random_data(initial, 0);
            le16_write(native.area, 0x37f);
            le16_write(native.area + 2, 0);
            native.area[4] = 0x7f;
            native.gpr[3] = (uintptr_t)native_data();
            ours = native;
            memcpy(native_data(), initial, NATIVE_PAGE);
            native_run(code, 11, &native);
            g_assert_cmpint(native.vector, ==, -1);
            const uint8_t *env = native_data() + 1024;
            uint32_t ip = le32_read(env + 12) - (uint32_t)base, dp = le32_read(env + 20);
            uint32_t selectors_opcode = le32_read(env + 16), ds = le16_read(env + 24);

            memcpy(native_data(), initial, NATIVE_PAGE);
            native_load(cpu, &ours);
            g_assert_cmpint(native_step(cpu, bt_select_x87, fld, sizeof fld, base), ==, -1);
            g_assert_cmpint(native_step(cpu, bt_select_x87, code + 3, 2, base + 3), ==, -1);
            g_assert_cmpint(native_step(cpu, bt_select_x87, fnstenv, sizeof fnstenv, base + 5), ==,
                            -1);
            uint32_t our_ip = le32_read(env + 12) - (uint32_t)base, our_dp = le32_read(env + 20);
            uint32_t our_rest = le32_read(env + 16), our_ds = le16_read(env + 24);
            cases++;
            if (ip != our_ip || dp != our_dp || selectors_opcode != our_rest || ds != our_ds) {
                g_printerr("%02x %02x: native ip %x dp %08x %08x %04x, ours %x %08x %08x %04x\n",
                           opcode, modrm, ip, dp, selectors_opcode, ds, our_ip, our_dp, our_rest,
                           our_ds);
                g_test_fail();
            }
        }
    }
    g_assert_cmpuint(cases, >, 300);
}

// Linear addresses in the layouts of real mode, and back.
static void test_real_mode_layout(void)
{
    static const uint8_t fnstenv[] = {0x66, 0xd9, 0x33}, fldenv[] = {0x66, 0xd9, 0x23};
    uint8_t *env = native_data();
    cpu->mode = BT_MODE_V86; // the decoder still sees 64-bit code, for [rbx]
    cpu->gpr[3] = (uintptr_t)env;
    for (unsigned narrow = 0; narrow < 2; narrow++) {
        bt_fpu_reset(cpu);
        cpu->fpu.instruction_selector = 0x1234;
        cpu->fpu.instruction_pointer = 0x5678;
        cpu->fpu.data_selector = 0xfedc;
        cpu->fpu.data_pointer = 0xba98;
        cpu->fpu.opcode = 0x5a5;
        cpu->fpu.tags = 0x81;
        g_assert_cmpint(native_step(cpu, bt_select_x87, fnstenv + !narrow, 2 + narrow, 0), ==, -1);
        if (narrow) {
            static const uint16_t expected[] = {0x40, 0, 0x7ffd, 0x79b8, 0x15a5, 0xa858, 0};
            g_assert_cmpmem(env, 14, expected, sizeof expected);
        } else {
            static const uint32_t expected[] = {0xffff0040, 0xffff0000, 0xffff7ffd, 0x79b8,
                                                0x15a5, 0xa858, 0x10000};
            g_assert_cmpmem(env, 28, expected, sizeof expected);
        }
        bt_fpu_reset(cpu);
        g_assert_cmpint(native_step(cpu, bt_select_x87, fldenv + !narrow, 2 + narrow, 0), ==, -1);
        g_assert_cmphex(cpu->fpu.instruction_pointer, ==, 0x179b8);
        g_assert_cmphex(cpu->fpu.data_pointer, ==, narrow ? 0xa858 : 0x10a858);
        g_assert_cmphex(cpu->fpu.opcode, ==, 0x5a5);
        g_assert_cmphex(cpu->fpu.tags, ==, 0x81);
    }
    cpu->mode = BT_MODE_LONG;
    bt_fpu_reset(cpu);
}

typedef struct {
    const char *name;
    uint64_t cr0_set;
    bool pending;
    int arithmetic, control, wait; // FADD, FNSTCW, FWAIT
} GateRow;

static const GateRow gate_rows[] = {
    {"open", 0, false, -1, -1, -1},
    {"task-switched", BT_CR0_TS, false, BT_NM, BT_NM, BT_NM},
    {"task-switched-no-monitor", BT_CR0_TS | BT_CR0_MP, false, BT_NM, BT_NM, -1},
    {"emulation", BT_CR0_EM, false, BT_NM, BT_NM, -1},
    {"pending", 0, true, BT_MF, -1, BT_MF},
    {"pending-and-task-switched", BT_CR0_TS, true, BT_NM, BT_NM, BT_NM},
};

// cr0_set is toggled: MP is set before.
static void test_gate(gconstpointer data)
{
    static const uint8_t fadd[] = {0xd8, 0xc1}, fnstcw[] = {0xd9, 0x3b}, fwait[] = {0x9b};
    const GateRow *row = data;
    uint64_t cr0 = cpu->cr0;
    cpu->cr0 ^= row->cr0_set;
    bt_fpu_reset(cpu);
    cpu->fpu.control = 0x37e;
    cpu->fpu.status = row->pending ? 0x8081 : 0;
    bt_fpu_update(cpu);
    cpu->gpr[3] = (uintptr_t)native_data();
    g_assert_cmpint(native_step(cpu, bt_select_x87, fadd, 2, 0), ==, row->arithmetic);
    g_assert_cmpint(native_step(cpu, bt_select_x87, fnstcw, 2, 0), ==, row->control);
    g_assert_cmpint(native_step(cpu, bt_select_x87, fwait, 1, 0), ==, row->wait);
    cpu->cr0 = cr0;
    bt_fpu_reset(cpu);
}

// The guest's precision and rounding control must not reach code outside of guest execution.
static void test_host_control(void)
{
    static const uint8_t fadd[] = {0xd8, 0xc1};
    uint16_t control;
    bt_fpu_reset(cpu);
    cpu->fpu.control = 0x0c7f;
    bt_fpu_update(cpu);
    g_assert_cmpint(native_step(cpu, bt_select_x87, fadd, 2, 0), ==, -1);
    __asm__ volatile("fnstcw %0" : "=m"(control));
    g_assert_cmphex(control, ==, 0x37f);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    native_init();
    cpu = native_cpu_new();
    for (unsigned i = 0xd8; i <= 0xdf; i++) {
        g_autofree char *name = g_strdup_printf("/bt-x87/native/%02x", i);
        g_test_add_data_func(name, GUINT_TO_POINTER(i), test_opcode);
    }
    g_test_add_func("/bt-x87/sequences", test_sequences);
    g_test_add_data_func("/bt-x87/environment/32-bit", GUINT_TO_POINTER(0), test_environment);
    g_test_add_data_func("/bt-x87/environment/16-bit", GUINT_TO_POINTER(1), test_environment);
    g_test_add_func("/bt-x87/environment/real-mode", test_real_mode_layout);
    g_test_add_func("/bt-x87/pointers", test_pointers);
    g_test_add_func("/bt-x87/host-control", test_host_control);
    for (unsigned i = 0; i < G_N_ELEMENTS(gate_rows); i++) {
        g_autofree char *name = g_strdup_printf("/bt-x87/gate/%s", gate_rows[i].name);
        g_test_add_data_func(name, &gate_rows[i], test_gate);
    }
    int status = g_test_run();
    native_cpu_free(cpu);
    return status;
}
