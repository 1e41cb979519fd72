// SPDX-License-Identifier: GPL-2.0-or-later
// Tests bt-simd*.c against the host CPU: every encoding that the opcode maps hold and Zydis knows,
// with registers and with memory, from random and edge states. What the host lacks raises #UD on
// both sides.

#include "tests/unit/engine/vcpu/bt/bt-native.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu.h"

#include <string.h>

typedef struct {
    uint8_t bytes[16];
    unsigned length;
    unsigned modrm; // its offset
    bool memory;
} Encoding;

static BtCpu *cpu;

// ---- the states ----

static void random_state(NativeState *s)
{
    for (unsigned i = 0; i < 16; i++)
        native_interesting((uint8_t *)&s->gpr[i], 8);
    s->rflags = 0x202 | (native_random() & BT_FLAGS_STATUS);
    memset(s->area, 0, sizeof s->area);
    le16_write(s->area, 0x37f);
    le16_write(s->area + 2, (uint16_t)(native_random() & 0x7f7f)); // no pending exception
    s->area[4] = (uint8_t)native_random();
    uint32_t mxcsr = 0x1f80;
    if (native_below(2))
        mxcsr |= native_random() & 0xe07f;
    if (native_below(4) == 0)
        mxcsr &= ~(uint32_t)(native_random() & 0x1f80);
    le32_write(s->area + 24, mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        native_interesting(s->area + 32 + 16 * i, 10);
        native_interesting(s->area + 32 + 16 * i, 8);
    }
    for (unsigned i = 0; i < 16; i++) {
        native_interesting(s->area + 160 + 16 * i, 16);
        native_interesting(s->area + 576 + 16 * i, 16);
    }
    le64_write(s->area + 512, 7);
}

// ---- the encodings ----

static Encoding legacy(unsigned map, unsigned prefix, unsigned opcode, bool memory)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
    Encoding e = {.memory = memory};
    if (prefix)
        e.bytes[e.length++] = prefixes[prefix];
    if (native_below(2))
        e.bytes[e.length++] = (uint8_t)(0x40 | (native_random() & 15));
    e.bytes[e.length++] = 0x0f;
    if (map > 1)
        e.bytes[e.length++] = map == 2 ? 0x38 : 0x3a;
    e.bytes[e.length++] = (uint8_t)opcode;
    return e;
}

static Encoding vex(unsigned map, unsigned prefix, unsigned opcode, bool memory, unsigned wl,
                    bool no_vvvv)
{
    Encoding e = {.memory = memory};
    unsigned vvvv = no_vvvv ? 15 : (unsigned)native_random() & 15;
    e.bytes[0] = 0xc4;
    e.bytes[1] = (uint8_t)((native_random() & 0xe0) | map);
    e.bytes[2] = (uint8_t)((wl & 1) << 7 | vvvv << 3 | (wl & 2) << 1 | prefix);
    e.bytes[3] = (uint8_t)opcode;
    e.length = 4;
    return e;
}

static void add_operands(Encoding *e, unsigned reg)
{
    e->modrm = e->length;
    // Memory at [rbx] or [r11]; both hold its address.
    e->bytes[e->length++] =
        (uint8_t)(e->memory ? reg << 3 | 3 : 0xc0 | reg << 3 | native_below(8));
    for (unsigned i = e->length; i < 16; i++) // an immediate, where there is one
        e->bytes[i] = (uint8_t)native_random();
}

// VSIB: [rbx or r11 + xmm * scale]
static void make_vsib(Encoding *e)
{
    e->bytes[e->modrm] = (uint8_t)((e->bytes[e->modrm] & 0x38) | 4);
    e->bytes[e->modrm + 1] = (uint8_t)((native_random() & 0xf8) | 3);
}

static bool uses_rsp(const BtDecoded *d)
{
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        if (d->operand[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64,
                                             d->operand[i].reg.value) == ZYDIS_REGISTER_RSP)
            return true;
    }
    return false;
}

// What this family answers for.
static bool is_simd(const ZydisDecodedInstruction *insn)
{
    static const ZydisISAExt ours[] = {
        ZYDIS_ISA_EXT_MMX, ZYDIS_ISA_EXT_SSE, ZYDIS_ISA_EXT_SSE2, ZYDIS_ISA_EXT_SSE3,
        ZYDIS_ISA_EXT_SSSE3, ZYDIS_ISA_EXT_SSE4, ZYDIS_ISA_EXT_AES, ZYDIS_ISA_EXT_PCLMULQDQ,
        ZYDIS_ISA_EXT_SHA, ZYDIS_ISA_EXT_AVX, ZYDIS_ISA_EXT_AVX2, ZYDIS_ISA_EXT_AVX2GATHER,
        ZYDIS_ISA_EXT_AVXAES, ZYDIS_ISA_EXT_FMA, ZYDIS_ISA_EXT_F16C};
    switch (insn->mnemonic) { // other families'
    case ZYDIS_MNEMONIC_POPCNT: case ZYDIS_MNEMONIC_CRC32: case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE: case ZYDIS_MNEMONIC_SFENCE: case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0: case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2: case ZYDIS_MNEMONIC_PAUSE: case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR: case ZYDIS_MNEMONIC_VLDMXCSR: case ZYDIS_MNEMONIC_VSTMXCSR:
    case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64: case ZYDIS_MNEMONIC_CLFLUSH: case ZYDIS_MNEMONIC_FISTTP:
        return false;
    default:
        break;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(ours); i++) {
        if (insn->meta.isa_ext == ours[i])
            return true;
    }
    return false;
}

// ---- one comparison ----

static bool is_dot_product(const BtDecoded *d)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_DPPS: case ZYDIS_MNEMONIC_DPPD:
    case ZYDIS_MNEMONIC_VDPPS: case ZYDIS_MNEMONIC_VDPPD:
        return true;
    default:
        return false;
    }
}

// Differences that are known and allowed: makes them equal.
static bool allowed(NativeRun *r, const BtDecoded *d)
{
    if (r->native.vector == BT_UD && r->ours.vector == BT_UD)
        return true;
    if (!native_is_amd() && (d->insn.mnemonic == ZYDIS_MNEMONIC_EMMS || r->native.vector == BT_XM ||
                             d->insn.meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER))
        return true;
    // Intel's SHA instructions want alignment, AMD's do not.
    if (d->insn.meta.isa_ext == ZYDIS_ISA_EXT_SHA && r->native.vector == BT_GP)
        return true;
    // Whether disabled bytes may fault is up to the processor.
    if (r->native.vector == BT_PF && (d->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
                                      d->insn.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
                                      d->insn.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU))
        return true;
    // See bt-simd-fp.c's head: PE beside an unmasked overflow or underflow, and dot products.
    uint32_t mxcsr = le32_read(r->before.area + 24);
    if (r->native.vector == BT_XM && is_dot_product(d)) {
        if (!(mxcsr & 0x800)) // a tiny product does not show in the sum
            return true;
        memcpy(r->ours.area + 24, r->native.area + 24, 4);
    }
    if (r->native.vector == BT_XM && r->ours.vector == BT_XM &&
        (r->native.area[24] & ~(mxcsr >> 7) & 0x18))
        r->native.area[24] |= 0x20, r->ours.area[24] |= 0x20;
    return false;
}

// Runs an encoding some times; false where it does not decode.
static bool try_encoding(Encoding *e, unsigned times, GHashTable *seen, unsigned *cases)
{
    static NativeRun r;
    BtDecoded d;
    BtInsn insn;
    if (!native_decode(cpu, e->bytes, 16, &d, &insn)) {
        if (e->bytes[0] == 0xc4)
            make_vsib(e);
        if (!e->memory || !native_decode(cpu, e->bytes, 16, &d, &insn))
            return false;
    }
    if (!is_simd(&d.insn) || uses_rsp(&d) || (d.insn.raw.modrm.mod != 3) != e->memory)
        return false;
    bool gather = d.insn.meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER;
    g_hash_table_add(seen, GUINT_TO_POINTER(d.insn.mnemonic));
    for (unsigned i = 0; i < times; i++) {
        uint8_t *data = native_data();
        uint8_t initial[NATIVE_PAGE];
        unsigned offset = 1024;
        if (native_below(4) == 0)
            offset += native_below(64);
        if (native_below(16) == 0)
            offset = NATIVE_PAGE - 1 - native_below(40);
        for (unsigned at = 0; at < NATIVE_PAGE; at += 64)
            native_interesting(initial + at, 64);
        if (native_below(2))
            for (unsigned at = offset & ~7u; at < NATIVE_PAGE && at < offset + 32; at += 8)
                native_interesting(initial + at, 8);
        random_state(&r.before);
        r.before.gpr[3] = r.before.gpr[11] = r.before.gpr[7] = (uintptr_t)data + offset;
        if (gather) {
            unsigned index = (unsigned)ZydisRegisterGetId(d.operand[1].mem.index);
            bool wide = strstr(ZydisMnemonicGetString(d.insn.mnemonic), "gatherq") != NULL;
            for (unsigned k = 0; k < 32; k += wide ? 8 : 4) {
                int64_t value = (int64_t)native_below(240) - 120;
                if (native_below(30) == 0) // behind the page
                    value = 4000 / d.operand[1].mem.scale;
                uint8_t *at = r.before.area + (k < 16 ? 160 : 576 - 16) + 16 * index + k;
                memcpy(at, &value, wide ? 8 : 4);
            }
        }
        (*cases)++;
        native_both(cpu, bt_select_simd, e->bytes, d.insn.length, initial, &r);
        if (!allowed(&r, &d) && !native_same(&r, &d)) {
            g_test_fail();
            return true;
        }
    }
    return true;
}

static unsigned repetitions(void)
{
    const char *text = g_getenv("BT_REPEAT");
    return text ? (unsigned)g_ascii_strtoull(text, NULL, 0) : 1;
}

static void test_legacy(gconstpointer data)
{
    unsigned prefix = GPOINTER_TO_UINT(data), cases = 0;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (unsigned map = 1; map <= 3; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            if (map == 1 && (opcode == 0x38 || opcode == 0x3a)) // lead to the other maps
                continue;
            for (unsigned reg = 0; reg < 8; reg++) {
                for (unsigned memory = 0; memory < 2; memory++) {
                    Encoding e = legacy(map, prefix, opcode, memory);
                    add_operands(&e, reg);
                    try_encoding(&e, 2 * repetitions(), seen, &cases);
                }
            }
        }
    }
    g_test_message("%u cases, %u mnemonics", cases, g_hash_table_size(seen));
}

static void test_vex(gconstpointer data)
{
    unsigned prefix = GPOINTER_TO_UINT(data), cases = 0;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (unsigned map = 1; map <= 3; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            for (unsigned variant = 0; variant < 64; variant++) {
                unsigned wl = variant & 3, reg = variant >> 3;
                Encoding e = vex(map, prefix, opcode, variant & 4, wl, false);
                add_operands(&e, reg);
                if (!try_encoding(&e, repetitions(), seen, &cases)) {
                    e = vex(map, prefix, opcode, variant & 4, wl, true);
                    add_operands(&e, reg);
                    try_encoding(&e, repetitions(), seen, &cases);
                }
            }
        }
    }
    g_test_message("%u cases, %u mnemonics", cases, g_hash_table_size(seen));
}

// ---- one behaviour each ----

static int run_bytes(const uint8_t *bytes, unsigned length, NativeState *state)
{
    g_assert_cmpint(native_interpret(cpu, bt_select_simd, bytes, length, state), ==, NATIVE_RAN);
    return state->vector;
}

static const uint8_t addps[] = {0x0f, 0x58, 0xc1}, vaddps[] = {0xc5, 0xf0, 0x58, 0xc2},
                     paddb_mmx[] = {0x0f, 0xfc, 0xc1}, movaps[] = {0x0f, 0x28, 0xc1},
                     movaps_load[] = {0x0f, 0x28, 0x03}, vmovaps_load[] = {0xc5, 0xf8, 0x28, 0x03},
                     comiss[] = {0x0f, 0x2f, 0xc1}, divps[] = {0x0f, 0x5e, 0xc1},
                     emms[] = {0x0f, 0x77};

typedef struct {
    const char *name;
    uint64_t cr0_set, cr4_clear, xcr0;
    int legacy, avx, mmx; // what a legacy, a VEX and an MMX instruction raise
} GateRow;

static const GateRow gate_rows[] = {
    {"task-switched", BT_CR0_TS, 0, 7, BT_NM, BT_NM, BT_NM},
    {"emulation", BT_CR0_EM, 0, 7, BT_UD, -1, BT_UD},
    {"emulation-and-task-switched", BT_CR0_EM | BT_CR0_TS, 0, 7, BT_UD, BT_NM, BT_UD},
    {"no-osfxsr", 0, BT_CR4_OSFXSR, 7, BT_UD, -1, -1},
    {"no-osxsave", 0, BT_CR4_OSXSAVE, 7, -1, BT_UD, -1},
    {"no-avx-state", 0, 0, 3, -1, BT_UD, -1},
};

static void test_gate(gconstpointer data)
{
    const GateRow *row = data;
    uint64_t cr0 = cpu->cr0, cr4 = cpu->cr4;
    cpu->cr0 |= row->cr0_set;
    cpu->cr4 &= ~row->cr4_clear;
    cpu->fpu.xcr0 = row->xcr0;
    bt_fpu_update(cpu);
    NativeState s;
    random_state(&s);
    le32_write(s.area + 24, 0x1f80);
    s.gpr[3] = (uintptr_t)native_data();
    g_assert_cmpint(run_bytes(addps, sizeof addps, &s), ==, row->legacy);
    g_assert_cmpint(run_bytes(movaps, sizeof movaps, &s), ==, row->legacy);
    g_assert_cmpint(run_bytes(movaps_load, sizeof movaps_load, &s), ==, row->legacy);
    g_assert_cmpint(run_bytes(comiss, sizeof comiss, &s), ==, row->legacy);
    g_assert_cmpint(run_bytes(vaddps, sizeof vaddps, &s), ==, row->avx);
    g_assert_cmpint(run_bytes(vmovaps_load, sizeof vmovaps_load, &s), ==, row->avx);
    g_assert_cmpint(run_bytes(paddb_mmx, sizeof paddb_mmx, &s), ==, row->mmx);
    g_assert_cmpint(run_bytes(emms, sizeof emms, &s), ==, row->mmx);
    cpu->cr0 = cr0;
    cpu->cr4 = cr4;
    cpu->fpu.xcr0 = 7;
    bt_fpu_update(cpu);
}

// 1.0 / 0.0 with ZE unmasked.
static void test_no_osxmmexcpt(void)
{
    NativeState s = {0};
    le32_write(s.area + 24, 0x1f80 & ~0x200u);
    le64_write(s.area + 512, 7);
    le32_write(s.area + 160, 0x3f800000);
    g_assert_cmpint(run_bytes(divps, sizeof divps, &s), ==, BT_XM);
    g_assert_cmphex(le32_read(s.area + 160), ==, 0x3f800000);
    cpu->cr4 &= ~(uint64_t)BT_CR4_OSXMMEXCPT;
    g_assert_cmpint(run_bytes(divps, sizeof divps, &s), ==, BT_UD);
    cpu->cr4 |= BT_CR4_OSXMMEXCPT;
}

static void test_mmx_pending_x87(void)
{
    NativeState s = {0};
    le16_write(s.area, 0x37e); // IE unmasked, and set
    le16_write(s.area + 2, 0x8081);
    le64_write(s.area + 512, 1);
    g_assert_cmpint(run_bytes(paddb_mmx, sizeof paddb_mmx, &s), ==, BT_MF);
    g_assert_cmpint(run_bytes(emms, sizeof emms, &s), ==, BT_MF);
}

// The guest's rounding mode and flush-to-zero must not reach code outside of guest execution.
static void test_host_mxcsr(void)
{
    NativeState s = {0};
    le32_write(s.area + 24, 0xffc0);
    le64_write(s.area + 512, 7);
    g_assert_cmpint(run_bytes(addps, sizeof addps, &s), ==, -1);
    g_assert_false(cpu->fpu.live);
    g_assert_cmphex(__builtin_ia32_stmxcsr() & ~0x3fu, ==, 0x1f80);
}

// A gather that faults in its third element keeps the first two and can be run again.
static void test_gather_restart(void)
{
    static const uint8_t gather[] = {0xc4, 0xe2, 0x69, 0x92, 0x04, 0x0b}; // xmm0,[rbx+xmm1],xmm2
    NativeState s = {0};
    uint32_t index[4] = {0, 4, 5000, 8};
    le64_write(s.area + 512, 7);
    le32_write(s.area + 24, 0x1f80);
    memcpy(s.area + 176, index, 16);
    memset(s.area + 192, 0xff, 16);
    s.gpr[3] = (uintptr_t)native_data();
    for (unsigned i = 0; i < 3; i++)
        le32_write(native_data() + 4 * i, 100 + i);
    g_assert_cmpint(run_bytes(gather, sizeof gather, &s), ==, BT_PF);
    static const uint32_t done[4] = {100, 101, 0, 0};
    static const uint32_t left[4] = {0, 0, ~0u, ~0u};
    g_assert_cmpmem(s.area + 160, 16, done, 16);
    g_assert_cmpmem(s.area + 192, 16, left, 16);
    le32_write(s.area + 176 + 8, 8);
    g_assert_cmpint(run_bytes(gather, sizeof gather, &s), ==, -1);
    static const uint32_t all[4] = {100, 101, 102, 102};
    g_assert_cmpmem(s.area + 160, 16, all, 16);
}

// More distinct forms than the arena holds: they still run, and a flush makes room again.
static void test_code_memory_full(void)
{
    BtCpu *other = native_cpu_new();
    NativeState s = {0};
    le64_write(s.area + 512, 7);
    le32_write(s.area + 24, 0x1f80);
    uint64_t tries = 0;
    for (unsigned i = 0; i < 16 && !bt_simd_wants_flush(other); i++) {
        for (unsigned n = 0; n < 1u << 16 && !bt_simd_wants_flush(other); n++, tries++) {
            // vshufps xmm, xmm, xmm, imm8
            uint8_t code[] = {0xc5, (uint8_t)(0x80 | (i << 3)), 0xc6,
                              (uint8_t)(0xc0 | (n & 63)), (uint8_t)(n >> 6)};
            BtDecoded d;
            BtInsn insn;
            g_assert_true(native_decode(other, code, sizeof code, &d, &insn));
            g_assert_true(bt_select_simd(&d, &insn));
        }
        // The same with VEX.256.
        for (unsigned n = 0; n < 1u << 14 && !bt_simd_wants_flush(other); n++, tries++) {
            uint8_t code[] = {0xc5, (uint8_t)(0x84 | (i << 3)), 0xc6,
                              (uint8_t)(0xc0 | (n & 63)), (uint8_t)(n >> 6)};
            BtDecoded d;
            BtInsn insn;
            g_assert_true(native_decode(other, code, sizeof code, &d, &insn));
            g_assert_true(bt_select_simd(&d, &insn));
        }
    }
    g_assert_true(bt_simd_wants_flush(other));
    for (unsigned imm = 0; imm < 256; imm++) { // each of them outside of the arena
        const uint8_t blend[] = {0xc4, 0xe3, 0x75, 0x0e, 0xc2, (uint8_t)imm}; // vpblendw
        NativeState native = s, ours = s;
        for (unsigned i = 0; i < 64; i++)
            native.area[176 + i] = ours.area[176 + i] = (uint8_t)i;
        native_run(blend, sizeof blend, &native);
        g_assert_cmpint(native_interpret(other, bt_select_simd, blend, sizeof blend, &ours), ==,
                        NATIVE_RAN);
        g_assert_cmpint(ours.vector, ==, -1);
        g_assert_cmpmem(native.area + 160, 16, ours.area + 160, 16);
        g_assert_cmpmem(native.area + 576, 16, ours.area + 576, 16);
    }
    static const uint8_t fadd[] = {0xd8, 0xc1}, fadd_memory[] = {0xd8, 0x03};
    uint8_t initial[NATIVE_PAGE] = {0};
    for (unsigned i = 0; i < 100; i++) {
        NativeRun run;
        BtDecoded d;
        BtInsn insn;
        random_state(&run.before);
        native_interesting(initial, 64);
        run.before.gpr[3] = (uintptr_t)native_data();
        const uint8_t *code = i & 1 ? fadd : fadd_memory;
        native_both(other, bt_select_x87, code, 2, initial, &run);
        g_assert_true(native_decode(other, code, 2, &d, &insn));
        g_assert_true(native_same(&run, &d));
    }
    bt_simd_flushed(other);
    g_assert_false(bt_simd_wants_flush(other));
    g_assert_cmpint(native_interpret(other, bt_select_simd, vaddps, sizeof vaddps, &s), ==,
                    NATIVE_RAN);
    g_assert_false(bt_simd_wants_flush(other));
    native_cpu_free(other);
}

// VEX.W does not widen a general register outside of 64-bit mode.
static void test_vex_w_in_32_bit(void)
{
    static const uint8_t vmovd[] = {0xc4, 0xe1, 0xf9, 0x6e, 0xc0}; // vmovd xmm0, eax, W = 1
    NativeState s = {.gpr = {UINT64_C(0x1111222233334444)}};
    le64_write(s.area + 512, 7);
    le32_write(s.area + 24, 0x1f80);
    cpu->mode = BT_MODE_COMPAT;
    cpu->code_bits = 32;
    g_assert_cmpint(run_bytes(vmovd, sizeof vmovd, &s), ==, -1);
    g_assert_cmphex(le64_read(s.area + 160), ==, 0x33334444);
    cpu->mode = BT_MODE_V86;
    g_assert_cmpint(native_interpret(cpu, bt_select_simd, vmovd, sizeof vmovd, &s), !=,
                    NATIVE_RAN);
    cpu->mode = BT_MODE_LONG;
    cpu->code_bits = 64;
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    native_init();
    cpu = native_cpu_new();
    static const char *const names[] = {"none", "66", "f3", "f2"};
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *a = g_strdup_printf("/bt-simd/native/legacy-%s", names[i]);
        g_autofree char *b = g_strdup_printf("/bt-simd/native/vex-%s", names[i]);
        g_test_add_data_func(a, GUINT_TO_POINTER(i), test_legacy);
        g_test_add_data_func(b, GUINT_TO_POINTER(i), test_vex);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(gate_rows); i++) {
        g_autofree char *name = g_strdup_printf("/bt-simd/gate/%s", gate_rows[i].name);
        g_test_add_data_func(name, &gate_rows[i], test_gate);
    }
    g_test_add_func("/bt-simd/gate/no-osxmmexcpt", test_no_osxmmexcpt);
    g_test_add_func("/bt-simd/mmx/pending-x87", test_mmx_pending_x87);
    g_test_add_func("/bt-simd/mxcsr/host", test_host_mxcsr);
    g_test_add_func("/bt-simd/gather/restart", test_gather_restart);
    g_test_add_func("/bt-simd/code-memory/full", test_code_memory_full);
    g_test_add_func("/bt-simd/vex/w-in-32-bit", test_vex_w_in_32_bit);
    int status = g_test_run();
    native_cpu_free(cpu);
    return status;
}
