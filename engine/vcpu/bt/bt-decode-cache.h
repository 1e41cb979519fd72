// SPDX-License-Identifier: GPL-2.0-or-later
// Zydis' decodings, kept: instructions that differ in nothing but displacement and immediate are
// decoded by Zydis once, and made from that the next time, which takes far less time.
#pragma once

#include <Zydis/Zydis.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct BtDecodeCache BtDecodeCache;

// Free with bt_decode_cache_free. Belongs to one thread.
BtDecodeCache *bt_decode_cache_new(void);
void bt_decode_cache_free(BtDecodeCache *cache);

// What bytes say before displacement and immediate.
typedef struct {
    uint64_t bytes; // prefixes, opcode, ModRM and SIB
    uint8_t size;   // of these
    uint8_t decoder; // caller's number of the mode
} BtDecodeKey;

// False: none of what is kept. The mode is one of 32 or 64 bits.
bool bt_decode_key(bool long_mode, unsigned decoder, const uint8_t *bytes, unsigned available,
                   BtDecodeKey *ret_key);

// Fills in insn, operands[ZYDIS_MAX_OPERAND_COUNT] and what was put with them; false where it is
// not there, or bytes are missing.
bool bt_decode_cache_get(const BtDecodeCache *cache, BtDecodeKey key, const uint8_t *bytes,
                         unsigned available, ZydisDecodedInstruction *insn,
                         ZydisDecodedOperand *operands, bool *ret_known);
// What Zydis made of bytes with that key. known: the caller's.
void bt_decode_cache_put(BtDecodeCache *cache, BtDecodeKey key, const ZydisDecodedInstruction *insn,
                         const ZydisDecodedOperand *operands, bool known);
