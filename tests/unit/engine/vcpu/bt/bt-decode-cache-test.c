// SPDX-License-Identifier: GPL-2.0-or-later
// What is made from a decoding that was kept is what Zydis would have said: every opcode and ModRM
// byte in each mode, with prefixes, SIB bytes, displacements and immediates by chance.
#include "engine/vcpu/bt/bt-cpu.h"
#include "engine/vcpu/bt/bt-decode.h"
#include "engine/vcpu/vcpu-backend.h"

#include <stdlib.h>
#include <string.h>

enum { ONE_BYTE, TWO_BYTES, MAP_0F38, MAP_0F3A, VEX_TWO, VEX_THREE, MAPS };

typedef struct {
    uint8_t mode, bits;
} Mode;

static const Mode modes[] = {
    { BT_MODE_LONG, 64 }, { BT_MODE_PROTECTED, 32 }, { BT_MODE_COMPAT, 32 }, { BT_MODE_REAL, 16 },
};

static CpuidModel model;
static unsigned made; // decodings that came from the cache

static BtCpu *cpu_new(Mode mode)
{
    BtCpu *cpu = aligned_alloc(64, (sizeof *cpu + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    cpu->mode = mode.mode;
    cpu->code_bits = cpu->stack_bits = mode.bits;
    return cpu;
}

// Prefixes and opcode at bytes[0..]; returns how many bytes they are.
static unsigned put_opcode(uint8_t *bytes, unsigned map, unsigned opcode, GRand *rand)
{
    static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x64, 0x2e,
                                        0xf0, 0x67, 0x48, 0x41, 0x45 };
    unsigned count = 0;
    while (map < VEX_TWO && count < 4 && g_rand_int_range(rand, 0, 3) == 0)
        bytes[count++] = prefixes[g_rand_int_range(rand, 0, G_N_ELEMENTS(prefixes))];
    if (map == VEX_TWO || map == VEX_THREE) {
        bytes[count++] = map == VEX_TWO ? 0xc5 : 0xc4;
        if (map == VEX_THREE)
            bytes[count++] = (uint8_t)(g_rand_int_range(rand, 0, 8) << 5 |
                                       g_rand_int_range(rand, 1, 4));
        bytes[count++] = (uint8_t)g_rand_int_range(rand, 0, 256);
    } else if (map != ONE_BYTE) {
        bytes[count++] = 0x0f;
        if (map != TWO_BYTES)
            bytes[count++] = map == MAP_0F38 ? 0x38 : 0x3a;
    }
    bytes[count++] = (uint8_t)opcode;
    return count;
}

static void compare(BtCpu *cpu, const BtDecoders *kept, const BtDecoders *plain,
                    const uint8_t *bytes, unsigned available)
{
    static BtDecoded one, other; // what is behind the operands counts, too
    bool known_one = false, known_other = false;
    memset(&one, 0xaa, sizeof one);
    memset(&other, 0x55, sizeof other);
    bool is_one = bt_decode_operands(cpu, kept, bytes, available, &one, &known_one);
    bool is_other = bt_decode_operands(cpu, plain, bytes, available, &other, &known_other);
    bool same = is_one == is_other &&
                (!is_one || (known_one == known_other &&
                             memcmp(&one.insn, &other.insn, sizeof one.insn) == 0 &&
                             memcmp(one.operand, other.operand, sizeof one.operand) == 0));
    if (same)
        return;
    g_autoptr(GString) text = g_string_new(NULL);
    for (unsigned i = 0; i < available; i++)
        g_string_append_printf(text, " %02x", bytes[i]);
    g_error("with %u bits:%s", cpu->code_bits, text->str);
}

// The same beginning with another displacement and immediate each time, so that all but the first
// come from the cache.
static void try_opcode(BtCpu *cpu, const BtDecoders *kept, const BtDecoders *plain, unsigned map,
                       unsigned opcode, GRand *rand)
{
    uint8_t bytes[16];
    unsigned count = put_opcode(bytes, map, opcode, rand);
    unsigned modrm = (unsigned)g_rand_int_range(rand, 0, 256);
    unsigned sib = (unsigned)g_rand_int_range(rand, 0, 256);
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned at = count; at < sizeof bytes; at++)
            bytes[at] = (uint8_t)g_rand_int_range(rand, 0, 256);
        bytes[count] = (uint8_t)modrm;
        bytes[count + 1] = (uint8_t)sib;
        BtDecodeKey key;
        BtDecoded d;
        bool known;
        if (cpu->code_bits != 16 &&
            bt_decode_key(cpu->code_bits == 64, 0, bytes, 15, &key)) {
            key.decoder = cpu->code_bits == 64            ? BT_DECODER_LONG
                          : cpu->mode == BT_MODE_COMPAT ? BT_DECODER_COMPAT_32
                                                          : BT_DECODER_32;
            made += bt_decode_cache_get(kept->cache, key, bytes, 15, &d.insn, d.operand, &known);
        }
        unsigned available = 15;
        if (g_rand_int_range(rand, 0, 8) == 0)
            available = (unsigned)g_rand_int_range(rand, 1, 16);
        compare(cpu, kept, plain, bytes, available);
    }
}

static void test_all(gconstpointer data)
{
    const Mode *mode = data;
    enum { TRIES = 150 };
    BtDecoders plain, kept;
    bt_decoders_init(&plain, &model);
    bt_decoders_init(&kept, &model);
    kept.cache = bt_decode_cache_new();
    BtCpu *cpu = cpu_new(*mode);
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_test_rand_int());
    made = 0;
    for (unsigned map = 0; map < MAPS; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            for (unsigned i = 0; i < TRIES; i++)
                try_opcode(cpu, &kept, &plain, map, opcode, rand);
        }
    }
    g_test_message("%u from the cache", made);
    if (mode->bits == 16)
        g_assert_cmpuint(made, ==, 0);
    else
        g_assert_cmpuint(made, >, MAPS * 256 * TRIES / 4);
    bt_decode_cache_free(kept.cache);
    free(cpu);
}

// Two beginnings that meet in the table do not take one another for their own.
static void test_places_that_meet(void)
{
    BtDecoders plain, kept;
    bt_decoders_init(&plain, &model);
    bt_decoders_init(&kept, &model);
    kept.cache = bt_decode_cache_new();
    BtCpu *cpu = cpu_new(modes[0]);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned modrm = 0; modrm < 256; modrm++) {
            for (unsigned rex = 0x40; rex < 0x50; rex++) {
                uint8_t bytes[15] = { (uint8_t)rex, 0x8b, (uint8_t)modrm, 1, 2, 3, 4, 5 };
                compare(cpu, &kept, &plain, bytes, sizeof bytes);
            }
        }
    }
    bt_decode_cache_free(kept.cache);
    free(cpu);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    cpuid_model_build(&model, vcpu_backend_interpreter.features(), 1, 1000000000);
    g_test_add_data_func("/decode-cache/long", &modes[0], test_all);
    g_test_add_data_func("/decode-cache/protected", &modes[1], test_all);
    g_test_add_data_func("/decode-cache/compat", &modes[2], test_all);
    g_test_add_data_func("/decode-cache/real", &modes[3], test_all);
    g_test_add_func("/decode-cache/places-that-meet", test_places_that_meet);
    return g_test_run();
}
