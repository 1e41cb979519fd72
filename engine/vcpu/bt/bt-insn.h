// SPDX-License-Identifier: GPL-2.0-or-later
// The decoded form of one guest instruction: made once per block from Zydis' decoding, executed
// many times, and later the translator's input as well.
#pragma once

#include <Zydis/Zydis.h>

#include <stdbool.h>
#include <stdint.h>

typedef struct BtCpu BtCpu;
typedef struct BtInsn BtInsn;
typedef void BtHandler(BtCpu *cpu, const BtInsn *insn);

enum {
    BT_INSN_LOCK = 1 << 0,
    BT_INSN_REP = 1 << 1,   // F3
    BT_INSN_REPNE = 1 << 2, // F2
    BT_INSN_HAS_MEMORY = 1 << 3,
    BT_INSN_QUIET = 1 << 5, // cannot fault, neither reads nor writes status flags
    BT_INSN_STORES = 1 << 6, // may write memory
    BT_INSN_ENDS_BLOCK = 1 << 4, // set by a family whose handler may return to the run loop
};

// 64 bytes, one cache line. Meaning of `reg` is the handler's: general registers 0..15 (a high byte
// register AH..BH is 20..23; the integer family's 8-bit handlers hold byte offsets into gpr
// instead), segment, control, vector or x87 register numbers.
struct BtInsn {
    BtHandler *handler;
    uint16_t offset; // from the block's first byte
    uint8_t length : 4;
    bool rip_relative : 1; // base is BT_REG_RIP
    uint8_t flags;         // BT_INSN_*
    uint8_t operand_size; // bytes: 1, 2, 4, 8
    uint8_t address_bits; // 16, 32, 64
    uint8_t reg[3];
    uint8_t segment;      // of the memory operand: VCPU_ES.. or BT_SEG_FLAT
    uint8_t base, index;  // general register numbers, BT_REG_ZERO where absent, BT_REG_RIP
    uint8_t scale;        // shift: 0..3
    uint8_t extra;        // the handler's own
    uint16_t mnemonic;    // ZydisMnemonic
    int64_t displacement; // RIP-relative operands: counted from the block's first byte, because
                          // BT_REG_RIP holds block_rip
    uint64_t immediate;
    void *data;           // the family's own (a compiled SIMD form); lives as long as the CPU
    uint8_t memory_size;  // bytes of the memory operand, 0 where variable
    uint8_t bytes[15];    // as fetched, for re-encoding and for dumps
};
_Static_assert(sizeof(BtInsn) == 64, "one cache line");

// All that a family's selector may look at.
typedef struct {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT]; // visible ones first, then hidden
    const uint8_t *bytes;
    BtCpu *cpu; // mode, CPUID gating
} BtDecoded;

// Each family looks at the decoded instruction; where it is its own it sets handler and operands
// in `out` (memory operand, length, sizes and prefixes are already filled by bt-decode.c) and
// returns true. An instruction that nobody takes raises #UD. bt-decode.c asks them in this order,
// after it has checked CPUID gating and mode rules. Instructions of the system family end their
// block unless bt-decode-table.c lists them as harmless, so what they change (mode, segments,
// paging) is looked at before the next instruction runs.
bool bt_select_integer(const BtDecoded *d, BtInsn *out); // bt-interp*.c
bool bt_select_system(const BtDecoded *d, BtInsn *out);  // bt-system.c, bt-segment.c
bool bt_select_x87(const BtDecoded *d, BtInsn *out);     // bt-x87.c
bool bt_select_simd(const BtDecoded *d, BtInsn *out);    // bt-simd.c: MMX .. AVX2, AES, SHA, F16C
