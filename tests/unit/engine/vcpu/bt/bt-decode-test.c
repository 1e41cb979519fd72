// SPDX-License-Identifier: GPL-2.0-or-later
// What the decoder makes of byte strings in each mode: an instruction of some length, #UD, #GP (too
// long) or a request for more bytes. Also what depends on the guest's CPUID.
#include "engine/vcpu/bt/bt-cpu.h"
#include "engine/vcpu/bt/bt-decode.h"
#include "engine/vcpu/vcpu-backend.h"

#include <stdlib.h>
#include <string.h>

enum { REAL, V86, PROTECTED_16, PROTECTED_32, COMPAT_32, LONG, MODES };

enum { UD = -1, GP = -2 }; // instead of a length

typedef struct {
    const char *name, *bytes;
    unsigned size;
    int length[MODES]; // 0: not looked at
} Row;

#define ALL(n) {n, n, n, n, n, n}
#define NOT_REAL(n) {UD, UD, n, n, n, n}
#define ONLY_LONG(n) {UD, UD, UD, UD, UD, n}
#define NOT_LONG(n) {n, n, n, n, n, UD}

static const Row rows[] = {
    {"nop", "\x90", 1, ALL(1)},
    {"pause", "\xf3\x90", 2, ALL(2)},
    {"wide-nop", "\x0f\x1f\x00", 3, ALL(3)},
    {"endbr64-is-nop", "\xf3\x0f\x1e\xfa", 4, ALL(4)},
    {"mov-immediate", "\xb8\x01\x02\x03\x04", 5, {3, 3, 3, 5, 5, 5}},
    {"mov-immediate-66", "\x66\xb8\x01\x02\x03\x04", 6, {6, 6, 6, 4, 4, 4}},
    {"mov-moffs", "\xa1\1\2\3\4\5\6\7\x8", 9, {3, 3, 3, 5, 5, 9}},
    {"address-67", "\x67\x8b\x03\x90\x90\x90", 6, {3, 3, 3, 3, 3, 3}},
    {"rex-or-dec", "\x48\x8b\xc3", 3, {1, 1, 1, 1, 1, 3}},
    {"sal-alias", "\xc1\xf0\x01", 3, ALL(3)},
    {"test-alias", "\xf6\xc8\x01", 3, ALL(3)},
    {"82-alias", "\x82\xc0\x01", 3, NOT_LONG(3)},
    {"salc", "\xd6", 1, NOT_LONG(1)},
    {"aam-0", "\xd4\x00", 2, NOT_LONG(2)},
    {"pusha", "\x60", 1, NOT_LONG(1)},
    {"int1", "\xf1", 1, ALL(1)},
    {"ud2", "\x0f\x0b", 2, ALL(UD)},
    {"ud1", "\x0f\xb9\xc0", 3, ALL(UD)},
    {"ud0", "\x0f\xff\xc0", 3, ALL(UD)},
    {"arpl-or-movsxd", "\x63\xc8", 2, {UD, UD, 2, 2, 2, 2}},
    {"sldt", "\x0f\x00\xc0", 3, NOT_REAL(3)},
    {"lar", "\x0f\x02\xc0", 3, NOT_REAL(3)},
    {"mov-cs", "\x8e\xc8", 2, ALL(UD)},
    {"mov-cr1", "\x0f\x20\xc8", 3, ALL(UD)},
    {"mov-cr0-no-modrm-mod", "\x0f\x20\x00", 3, ALL(3)},
    {"swapgs", "\x0f\x01\xf8", 3, ONLY_LONG(3)},
    {"vmcall", "\x0f\x01\xc1", 3, ALL(UD)},
    {"vmmcall", "\x0f\x01\xd9", 3, ALL(UD)},
    {"vmrun", "\x0f\x01\xd8", 3, ALL(UD)},
    {"monitor", "\x0f\x01\xc8", 3, ALL(UD)},
    {"xbegin", "\xc7\xf8\0\0\0\0", 6, ALL(UD)},
    {"xabort", "\xc6\xf8\0", 3, ALL(UD)},
    {"3dnow", "\x0f\x0f\xc1\xb4", 4, ALL(UD)},
    {"femms", "\x0f\x0e", 2, ALL(UD)},
    {"test-register", "\x0f\x24\xc0", 3, ALL(UD)},
    {"cmpxchg486", "\x0f\xa6\xc8", 3, ALL(UD)},
    {"getsec", "\x0f\x37", 2, ALL(UD)},
    {"rsm", "\x0f\xaa", 2, {0}},
    {"serialize", "\x0f\x01\xe8", 3, ALL(UD)},
    {"rdpku", "\x0f\x01\xee", 3, ALL(UD)},
    {"clwb", "\x66\x0f\xae\x33", 4, ALL(UD)},
    {"xsaves", "\x0f\xc7\x2b", 3, ALL(UD)},
    {"evex", "\x62\xf1\x7c\x48\x58\xc1", 6, {UD, UD, UD, UD, UD, UD}},
    {"xop", "\x8f\xe8\x78\xa2\xc1\x00", 6, ALL(UD)},
    {"vex-andn", "\xc4\xe2\x78\xf2\xc1", 5, NOT_REAL(5)},
    {"les", "\xc4\x03", 2, NOT_LONG(2)},
    {"bound-or-evex", "\x62\x03", 2, {2, 2, 2, 2, 2, 0}},
    {"lock-add", "\xf0\x01\x03", 3, ALL(3)},
    {"lock-add-register", "\xf0\x01\xc3", 3, ALL(UD)},
    {"lock-cmp", "\xf0\x39\x03", 3, ALL(UD)},
    {"lock-mov", "\xf0\x89\x03", 3, ALL(UD)},
    {"lock-nop", "\xf0\x90", 2, ALL(UD)},
    {"lock-bt", "\xf0\x0f\xa3\x03", 4, ALL(UD)},
    {"lock-bts", "\xf0\x0f\xab\x03", 4, ALL(4)},
    {"fifteen-bytes", "\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x90", 15, ALL(15)},
    {"sixteen-bytes", "\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e\x3e", 15, ALL(GP)},
    {"far-jump", "\xea\0\0\0\0\0\0", 7, {5, 5, 5, 7, 7, UD}},
    {"jmp-short", "\xeb\xfe", 2, ALL(2)},
    {"jmp-near", "\xe9\0\0\0\0", 5, {3, 3, 3, 5, 5, 5}},
    {"call-66", "\x66\xe8\0\0\0\0", 6, {6, 6, 6, 4, 4, 6}},
    {"enter", "\xc8\x10\0\1", 4, ALL(4)},
    {"cmpxchg16b", "\x48\x0f\xc7\x0b", 4, {1, 1, 1, 1, 1, 4}},
    {"movbe", "\x0f\x38\xf0\x03", 4, ALL(4)},
    {"movbe-register", "\x0f\x38\xf0\xc3", 4, ALL(UD)},
    {"crc32", "\xf2\x0f\x38\xf1\xc3", 5, ALL(5)},
    {"rdrand", "\x0f\xc7\xf0", 3, ALL(3)},
    {"rdrand-memory-is-vmptrld", "\x0f\xc7\x33", 3, ALL(UD)},
};

static CpuidModel model;
static BtDecoders decoders;
static BtHandler *undefined, *too_long;

static BtCpu *cpu_new(unsigned mode)
{
    static const struct {
        uint8_t mode, bits;
    } modes[MODES] = {
        [REAL] = {BT_MODE_REAL, 16},        [V86] = {BT_MODE_V86, 16},
        [PROTECTED_16] = {BT_MODE_PROTECTED, 16}, [PROTECTED_32] = {BT_MODE_PROTECTED, 32},
        [COMPAT_32] = {BT_MODE_COMPAT, 32}, [LONG] = {BT_MODE_LONG, 64},
    };
    BtCpu *cpu = aligned_alloc(64, (sizeof *cpu + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    cpu->mode = modes[mode].mode;
    cpu->code_bits = cpu->stack_bits = modes[mode].bits;
    return cpu;
}

static BtInsn decode(unsigned mode, const void *bytes, unsigned size)
{
    uint8_t buffer[15] = {0};
    memcpy(buffer, bytes, MIN(size, sizeof buffer));
    BtCpu *cpu = cpu_new(mode);
    BtInsn insn = {0};
    g_assert_true(bt_decode(cpu, &decoders, buffer, sizeof buffer, &insn));
    free(cpu);
    return insn;
}

static int outcome(const BtInsn *insn)
{
    return insn->handler == undefined ? UD : insn->handler == too_long ? GP : insn->length;
}

static void test_row(gconstpointer data)
{
    const Row *row = data;
    for (unsigned mode = 0; mode < MODES; mode++) {
        if (!row->length[mode])
            continue;
        BtInsn insn = decode(mode, row->bytes, row->size);
        if (outcome(&insn) != row->length[mode])
            g_test_message("mode %u", mode);
        g_assert_cmpint(outcome(&insn), ==, row->length[mode]);
        g_assert_nonnull(insn.handler);
    }
}

// Every length short of the whole asks for more; the whole does not look behind itself.
static void test_more_bytes(void)
{
    static const uint8_t bytes[] = {0x66, 0x48, 0x81, 0x84, 0x8b, 1, 2, 3, 4, 5, 6, 7, 8};
    BtCpu *cpu = cpu_new(LONG);
    for (unsigned n = 0; n < 13; n++) {
        BtInsn insn = {0};
        g_assert_cmpint(bt_decode(cpu, &decoders, bytes, n, &insn), ==, n >= 13);
    }
    BtInsn insn = {0};
    g_assert_true(bt_decode(cpu, &decoders, bytes, 13, &insn));
    g_assert_cmpuint(insn.length, ==, 13);
    free(cpu);
}

static void test_operands(void)
{
    // add %rax, 0x12345678(%rbx,%rcx,4)
    BtInsn insn = decode(LONG, "\x48\x01\x84\x8b\x78\x56\x34\x12", 8);
    g_assert_cmpuint(insn.base, ==, VCPU_RBX);
    g_assert_cmpuint(insn.index, ==, VCPU_RCX);
    g_assert_cmpuint(insn.scale, ==, 2);
    g_assert_cmpint(insn.displacement, ==, 0x12345678);
    g_assert_cmpuint(insn.segment, ==, VCPU_DS);
    g_assert_cmpuint(insn.flags & BT_INSN_HAS_MEMORY, !=, 0);
    // mov %fs:-8(%ebp), %eax
    insn = decode(PROTECTED_32, "\x64\x8b\x45\xf8", 4);
    g_assert_cmpuint(insn.base, ==, VCPU_RBP);
    g_assert_cmpuint(insn.index, ==, BT_REG_ZERO);
    g_assert_cmpint(insn.displacement, ==, -8);
    g_assert_cmpuint(insn.segment, ==, VCPU_FS);
    // mov 0x10(%rip), %eax: counted from the block's start
    insn = decode(LONG, "\x8b\x05\x10\0\0\0", 6);
    g_assert_cmpuint(insn.base, ==, BT_REG_RIP);
    g_assert_cmpint(insn.displacement, ==, 0x16);
    // mov (%bp,%si), %ax: SS by default
    insn = decode(REAL, "\x8b\x02", 2);
    g_assert_cmpuint(insn.base, ==, VCPU_RBP);
    g_assert_cmpuint(insn.index, ==, VCPU_RSI);
    g_assert_cmpuint(insn.segment, ==, VCPU_SS);
}

// Without the feature the prefix means nothing, or the instruction does not exist.
static void test_features(void)
{
    CpuidModel plain;
    BtDecoders few;
    cpuid_model_build(&plain, 0, 1, 1000000000);
    bt_decoders_init(&few, &plain);
    static const struct {
        const char *bytes;
        unsigned size;
        int with, without;
        ZydisMnemonic without_mnemonic;
    } cases[] = {
        {"\xf3\x0f\xbd\xc1", 4, 4, 4, ZYDIS_MNEMONIC_BSR}, // LZCNT
        {"\xf3\x0f\xbc\xc1", 4, 4, 4, ZYDIS_MNEMONIC_BSF}, // TZCNT
        {"\xf3\x0f\xb8\xc1", 4, 4, UD, 0},                 // POPCNT
        {"\x0f\x38\xf0\x03", 4, 4, UD, 0},                 // MOVBE
        {"\x0f\xc7\xf0", 3, 3, UD, 0},                     // RDRAND
        {"\x0f\x01\xd0", 3, 3, UD, 0},                     // XGETBV
        {"\xf3\x0f\xae\xc0", 4, 4, UD, 0},                 // RDFSBASE
        {"\x0f\xae\xe8", 3, 3, 3, ZYDIS_MNEMONIC_LFENCE},
    };
    BtCpu *cpu = cpu_new(LONG);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        uint8_t buffer[15] = {0};
        memcpy(buffer, cases[i].bytes, cases[i].size);
        BtInsn insn = {0};
        g_assert_true(bt_decode(cpu, &decoders, buffer, 15, &insn));
        g_assert_cmpint(outcome(&insn), ==, cases[i].with);
        insn = (BtInsn){0};
        g_assert_true(bt_decode(cpu, &few, buffer, 15, &insn));
        g_assert_cmpint(outcome(&insn), ==, cases[i].without);
        if (cases[i].without_mnemonic)
            g_assert_cmpint(insn.mnemonic, ==, cases[i].without_mnemonic);
    }
    free(cpu);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    cpuid_model_build(&model, vcpu_backend_interpreter.features(), 1, 1000000000);
    bt_decoders_init(&decoders, &model);
    undefined = decode(LONG, "\x0f\x0b", 2).handler;
    static const uint8_t prefixes[15] = {[0 ... 14] = 0x3e};
    too_long = decode(LONG, prefixes, 15).handler;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *path = g_strdup_printf("/bt-decode/bytes/%s", rows[i].name);
        g_test_add_data_func(path, &rows[i], test_row);
    }
    g_test_add_func("/bt-decode/more-bytes", test_more_bytes);
    g_test_add_func("/bt-decode/operands", test_operands);
    g_test_add_func("/bt-decode/features", test_features);
    return g_test_run();
}
