// SPDX-License-Identifier: GPL-2.0-or-later
// Design: the key is all bytes of an instruction in front of its displacement and immediate, found
// with two small tables (which opcodes have a ModRM byte; SDM vol. 2A, 2.1, and vol. 2D, appendix
// A). What Zydis said of the first one with that key is kept, and where its displacement and
// immediate are; those of the next are put in there. Kept is only what the tables describe: where
// Zydis' own offsets say that the key ends somewhere else, and what has two immediates, or a
// register in one, is decoded each time. 16-bit addresses, EVEX and XOP have no keys.
#include "engine/vcpu/bt/bt-decode-cache.h"

#include <glib.h>
#include <string.h>

enum { ENTRY_BITS = 10, OPERANDS = 6, KEY_MOST = 8 };

typedef struct {
    BtDecodeKey key; // size 0: none
    bool known;
    uint8_t displacement_operand, immediate_operand; // which has it
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[OPERANDS];
} Entry;

struct BtDecodeCache {
    Entry entry[1 << ENTRY_BITS];
};

BtDecodeCache *bt_decode_cache_new(void)
{
    return g_new0(BtDecodeCache, 1);
}

void bt_decode_cache_free(BtDecodeCache *cache)
{
    g_free(cache);
}

// ---- Keys ----

enum { PLAIN, MODRM, OTHER }; // has none, has one, is not kept

static const uint8_t one_byte[256] = {
#define ALU(n) [n] = MODRM, [n + 1] = MODRM, [n + 2] = MODRM, [n + 3] = MODRM
    ALU(0x00), ALU(0x08), ALU(0x10), ALU(0x18), ALU(0x20), ALU(0x28), ALU(0x30), ALU(0x38),
#undef ALU
    [0x62] = OTHER, [0x63] = MODRM, [0x69] = MODRM, [0x6b] = MODRM,
    [0x80 ... 0x8e] = MODRM, [0x8f] = OTHER, [0x9a] = OTHER,
    [0xc0 ... 0xc1] = MODRM, [0xc4 ... 0xc5] = OTHER, [0xc6 ... 0xc7] = MODRM, [0xc8] = OTHER,
    [0xd0 ... 0xd3] = MODRM, [0xd8 ... 0xdf] = MODRM, [0xea] = OTHER,
    [0xf6 ... 0xf7] = MODRM, [0xfe ... 0xff] = MODRM,
};

static const uint8_t two_bytes[256] = {
    [0x00 ... 0x03] = MODRM, [0x04] = OTHER, [0x0a] = OTHER, [0x0c] = OTHER, [0x0d] = MODRM,
    [0x0e ... 0x0f] = OTHER, [0x10 ... 0x1f] = MODRM, [0x20 ... 0x27] = OTHER,
    [0x28 ... 0x2f] = MODRM, [0x36] = OTHER, [0x38 ... 0x3f] = OTHER, [0x40 ... 0x76] = MODRM,
    [0x78 ... 0x7f] = MODRM, [0x90 ... 0x9f] = MODRM, [0xa3 ... 0xa7] = MODRM,
    [0xab ... 0xaf] = MODRM, [0xb0 ... 0xc7] = MODRM, [0xd0 ... 0xff] = MODRM,
};

static bool is_prefix(uint8_t byte)
{
    switch (byte) {
    case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65:
    case 0x66: case 0xf0: case 0xf2: case 0xf3:
        return true;
    default:
        return false;
    }
}

// The opcode at *at, which moves behind it. What comes next is at bytes[*at].
static unsigned pass_opcode(bool long_mode, const uint8_t *bytes, unsigned *at)
{
    uint8_t first = bytes[(*at)++];
    if (first == 0xc5 && (long_mode || bytes[*at] >= 0xc0)) { // VEX, two bytes
        *at += 2;
        return bytes[*at - 1] == 0x77 ? PLAIN : MODRM;
    }
    if (first == 0xc4 && (long_mode || bytes[*at] >= 0xc0)) { // VEX, three bytes
        *at += 3;
        return bytes[*at - 1] == 0x77 ? OTHER : MODRM;
    }
    if (first != 0x0f)
        return one_byte[first];
    uint8_t second = bytes[(*at)++];
    if (second != 0x38 && second != 0x3a)
        return two_bytes[second];
    (*at)++;
    return MODRM;
}

bool bt_decode_key(bool long_mode, unsigned decoder, const uint8_t *bytes, unsigned available,
                   BtDecodeKey *ret_key)
{
    if (available < KEY_MOST) // so that no end has to be looked for below
        return false;
    unsigned at = 0;
    while (at < 3 && is_prefix(bytes[at]))
        at++;
    if (long_mode && (bytes[at] & 0xf0) == 0x40)
        at++;
    if (is_prefix(bytes[at]) || bytes[at] == 0x67 || (long_mode && (bytes[at] & 0xf0) == 0x40))
        return false;
    unsigned kind = pass_opcode(long_mode, bytes, &at);
    if (kind == OTHER || at >= KEY_MOST)
        return false;
    if (kind == MODRM) {
        uint8_t modrm = bytes[at++];
        at += modrm < 0xc0 && (modrm & 7) == 4; // SIB
    }
    if (at > KEY_MOST)
        return false;
    uint64_t key;
    memcpy(&key, bytes, sizeof key);
    if (at < KEY_MOST)
        key &= (UINT64_C(1) << 8 * at) - 1;
    *ret_key = (BtDecodeKey){ .bytes = key, .size = (uint8_t)at, .decoder = (uint8_t)decoder };
    return true;
}

static unsigned entry_of(BtDecodeKey key)
{
    uint64_t hash = (key.bytes ^ (uint64_t)key.size << 60 ^ (uint64_t)key.decoder << 50) *
                    UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(hash >> (64 - ENTRY_BITS));
}

// ---- Entries ----

static uint64_t read_field(const uint8_t *at, unsigned bits, bool extends)
{
    uint64_t value = 0;
    memcpy(&value, at, bits / 8);
    if (extends && bits < 64)
        value = (uint64_t)((int64_t)(value << (64 - bits)) >> (64 - bits));
    return value;
}

bool bt_decode_cache_get(const BtDecodeCache *cache, BtDecodeKey key, const uint8_t *bytes,
                         unsigned available, ZydisDecodedInstruction *insn,
                         ZydisDecodedOperand *operands, bool *ret_known)
{
    const Entry *e = &cache->entry[entry_of(key)];
    if (e->key.bytes != key.bytes || e->key.size != key.size || e->key.decoder != key.decoder ||
        e->insn.length > available)
        return false;
    *insn = e->insn;
    unsigned count = e->insn.operand_count;
    memcpy(operands, e->operand, count * sizeof *operands);
    memset(operands + count, 0, (ZYDIS_MAX_OPERAND_COUNT - count) * sizeof *operands);
    *ret_known = e->known;
    if (insn->raw.disp.size) {
        uint64_t value = read_field(bytes + insn->raw.disp.offset, insn->raw.disp.size, true);
        insn->raw.disp.value = (int64_t)value;
        operands[e->displacement_operand].mem.disp.value = (int64_t)value;
    }
    if (insn->raw.imm[0].size) {
        uint64_t value = read_field(bytes + insn->raw.imm[0].offset, insn->raw.imm[0].size,
                                    insn->raw.imm[0].is_signed);
        insn->raw.imm[0].value.u = value;
        operands[e->immediate_operand].imm.value.u = value;
    }
    return true;
}

// The one operand that has the displacement, or the immediate; OPERANDS where that is not so.
static unsigned operand_with(const ZydisDecodedInstruction *insn,
                             const ZydisDecodedOperand *operands, ZydisOperandType type)
{
    unsigned found = OPERANDS, count = 0;
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const ZydisDecodedOperand *o = &operands[i];
        if (o->encoding == ZYDIS_OPERAND_ENCODING_IS4) // half of the immediate is something else
            return OPERANDS;
        if (o->type != type || (type == ZYDIS_OPERAND_TYPE_MEMORY && !o->mem.disp.has_displacement))
            continue;
        found = i;
        count++;
    }
    return count == 1 ? found : OPERANDS;
}

void bt_decode_cache_put(BtDecodeCache *cache, BtDecodeKey key, const ZydisDecodedInstruction *insn,
                         const ZydisDecodedOperand *operands, bool known)
{
    unsigned end = key.size;
    unsigned displacement = 0, immediate = 0;
    if (insn->operand_count > OPERANDS || insn->raw.imm[1].size)
        return;
    if (insn->raw.disp.size) {
        displacement = operand_with(insn, operands, ZYDIS_OPERAND_TYPE_MEMORY);
        if (displacement == OPERANDS || insn->raw.disp.offset != end)
            return;
        end += insn->raw.disp.size / 8;
    }
    if (insn->raw.imm[0].size) {
        immediate = operand_with(insn, operands, ZYDIS_OPERAND_TYPE_IMMEDIATE);
        if (immediate == OPERANDS || insn->raw.imm[0].offset != end)
            return;
        end += insn->raw.imm[0].size / 8;
    }
    if (end != insn->length)
        return;
    Entry *e = &cache->entry[entry_of(key)];
    e->key = key;
    e->known = known;
    e->displacement_operand = (uint8_t)displacement;
    e->immediate_operand = (uint8_t)immediate;
    e->insn = *insn;
    memcpy(e->operand, operands, insn->operand_count * sizeof *operands);
}
