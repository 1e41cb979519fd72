// SPDX-License-Identifier: GPL-2.0-or-later
// A block: up to 64 decoded guest instructions that follow one another, entered at the first. Blocks
// belong to one CPU. They are found by the physical address of their first byte and the mode they
// were decoded for, so that they outlive page-table changes.
//
// Going from block to block must not cost a look-up. Every block notes where it was last found
// valid: `linear` (CS base + RIP) under `chain_key`, which changes with the mode, with every TLB
// flush and with the CS limit. So any candidate for the next block, whatever it was remembered by,
// is right when linear, chain_key and page generation agree; else the run loop looks it up.
#pragma once

#include "engine/vcpu/bt/bt-vm.h"

#define BT_BLOCK_MAX 64

struct BtBlock {
    uint64_t linear;
    uint64_t chain_key;
    const uint32_t *generation_at; // the first page's generation now
    uint32_t generation;
    uint16_t count; // instructions
    uint16_t lead;  // 1 where insn[0] is the check of the second page
    BtBlock *next[2]; // last seen after it: fall through, taken
    BtBlock *hash_next;
    uint64_t physical; // of the first byte
    uint64_t physical_second; // of the second page's first byte, where size_second is not 0
    const uint32_t *generation_second_at;
    uint32_t generation_second;
    uint32_t key;
    uint16_t size; // bytes
    uint16_t size_second; // of them, those in the second page
    bool cached; // false: code in MMIO, dropped after it ran
    BtInsn insn[] __attribute__((aligned(64)));
};

// chain_key: low 32 bits the mode key, high 32 bits a count that every TLB flush increases with
// cpu->chain_key += BT_CHAIN_EPOCH.
#define BT_CHAIN_EPOCH (UINT64_C(1) << 32)

#define BT_JUMP_CACHE_BITS 12

// The mode key: all of the CPU's state that the decoding of a block depends on.
enum {
    BT_KEY_MODE = 7, // BtMode
    BT_KEY_CODE_SHIFT = 3, // log2(code_bits / 16)
    BT_KEY_STACK_SHIFT = 5, // log2(stack_bits / 16)
    BT_KEY_USER = 1 << 7, // CPL 3
    BT_KEY_FLAT_SHIFT = 8, // a bit each for ES, CS, SS, DS: base 0, limit 4 GiB, may be read (and
                           // written, CS excepted); all set in long mode
    BT_KEY_ALONE = 1 << 12, // one instruction
};

static inline unsigned bt_block_jump_index(uint64_t linear)
{
    return (unsigned)(linear ^ linear >> BT_JUMP_CACHE_BITS) & ((1u << BT_JUMP_CACHE_BITS) - 1);
}

// Goes on at `rip` (wrapped already) with *slot where that is still right, else by way of the run
// loop. Ends a handler. cpu->instructions counts a block's instructions when it is entered.
#define BT_CHAIN(cpu, slot, rip_)                                                                  \
    do {                                                                                           \
        BtBlock **bt_slot = (slot);                                                                \
        BtBlock *bt_block = *bt_slot;                                                              \
        uint64_t bt_rip = (rip_);                                                                  \
        (cpu)->rip = bt_rip;                                                                       \
        if (__builtin_expect(                                                                      \
                bt_block->linear == bt_rip + (cpu)->segment[VCPU_CS].base &&                       \
                    bt_block->chain_key == (cpu)->chain_key &&                                     \
                    __atomic_load_n(bt_block->generation_at, __ATOMIC_RELAXED) ==                  \
                        bt_block->generation &&                                                    \
                    !(__atomic_load_n(&(cpu)->request, __ATOMIC_RELAXED) & (cpu)->request_mask),   \
                1)) {                                                                              \
            (cpu)->block = bt_block;                                                               \
            (cpu)->block_rip = bt_rip;                                                             \
            (cpu)->instructions += bt_block->count;                                                \
            BT_RUN((cpu), bt_block->insn);                                                         \
        }                                                                                          \
        (cpu)->link = bt_slot;                                                                     \
        return;                                                                                    \
    } while (0)

// The same for a target that only the run decides: by the linear address.
#define BT_CHAIN_INDIRECT(cpu, rip_)                                                               \
    do {                                                                                           \
        uint64_t bt_target = (rip_);                                                               \
        BT_CHAIN((cpu),                                                                            \
                 &(cpu)->jump_cache[bt_block_jump_index(bt_target + (cpu)->segment[VCPU_CS].base)], \
                 bt_target);                                                                       \
    } while (0)
