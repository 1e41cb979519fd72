// SPDX-License-Identifier: GPL-2.0-or-later
// A block: up to 64 decoded guest instructions that follow one another, entered at the first.
// Blocks belong to one CPU. They are found by the physical address of their first byte and the mode
// they were decoded for, so that they outlive page-table changes.
//
// Going from block to block must not cost a look-up. cpu->chain_key stands for everything that says
// where code is: it changes with the mode, with every TLB flush, with the CS limit and where code
// was written (BT_REQUEST_CODE). A block notes the blocks that followed it and under which key
// (next, link_key): as long as the key is the same, they follow again. For branches whose target
// only the run decides, the jump cache leads from a linear address to a candidate, which is right
// where its own `linear` and `chain_key`, those of its last look-up, agree. What is compared is
// cpu->block_key: the chain key, and under the translator, whose units do not go by that when code
// was written, how often that was.
//
// A block is entered without a look-up as long as its budget lasts. Then the run loop has a look:
// the translator makes a unit of what is entered often (translator.c).
//
// A block of a checked page (bt-vm.h) compares its bytes itself, by an instruction of its own that
// it is entered at. So it is chained as any other.
#pragma once

#include "engine/vcpu/bt/bt-vm.h"

#define BT_BLOCK_MAX 64

struct BtBlock {
    uint64_t linear; // CS base + RIP of the last look-up
    uint64_t chain_key; // cpu->block_key of the last look-up
    BtBlock *next[2]; // last seen after it: fall through, taken
    uint64_t link_key[2];
    uint16_t count; // instructions
    uint16_t budget; // entries until the run loop wants to see it; 0: at the next one
    uint32_t generation; // of the first page, when it was decoded
    const uint32_t *generation_at; // that generation now
    BtBlock *hash_next;
    uint64_t physical; // of the first byte
    uint64_t physical_second; // of the second page's first byte, where size_second is not 0
    const uint32_t *generation_second_at;
    uint32_t generation_second;
    uint32_t key;
    uint16_t size; // bytes
    uint16_t size_second; // of them, those in the second page
    uint16_t spent; // under the translator: entries whose budget is used up ...
    uint16_t forgets; // ... since the translator gave up all units so often (BtTranslator.forgets)
    bool cached; // false: code in MMIO, dropped after it ran
    bool aliased; // found at two linear addresses under this chain_key: has no links
    bool checked; // of a checked page
    const BtInsn *entry; // where it begins
    BtInsn insn[] __attribute__((aligned(64)));
};

// bt-block.c: leads the check of a checked block to the pages' first bytes. False: they are not
// RAM, or do not hold what the block was decoded from.
bool bt_block_check(BtBlock *block, const uint8_t *host, const uint8_t *host_second);
// The page, or one of the two, is checked.
bool bt_block_is_in_checked_page(const BtVm *vm, uint64_t physical, unsigned size_second,
                                 uint64_t physical_second);

#define BT_KEY_BITS 16 // of the mode key, see below
#define BT_BLOCK_WRITES_BITS (32 - BT_KEY_BITS)
#define BT_NO_BLOCK_KEY UINT64_MAX // no block has it: until the run loop's next turn

// chain_key: low 32 bits the mode key, high 32 bits an epoch, a number that was never used before
// each time that translations go. Ring 3 and the others have an epoch each, so that a change of the
// address space leaves chains of a kernel in global pages as they are (bt-mmu.c).
enum { BT_EPOCH_SUPERVISOR, BT_EPOCH_USER };

static inline void bt_chain_update_key(BtCpu *cpu)
{
    uint64_t key = (uint64_t)cpu->chain_epoch[cpu->cpl == 3] << 32 | cpu->mode_key;
    if (key != cpu->chain_key)
        cpu->jump_salt = 0; // generated code finds nothing in its jump table
    cpu->chain_key = key;
    cpu->block_key = key | (uint64_t)cpu->block_writes << BT_KEY_BITS;
}

// Blocks of that epoch are looked up again before they follow one another. chain_key is never 0.
static inline void bt_chain_renew(BtCpu *cpu, unsigned which)
{
    if (++cpu->chain_epoch_last == 0)
        cpu->chain_epoch_last = 1;
    cpu->chain_epoch[which] = cpu->chain_epoch_last;
    bt_chain_update_key(cpu);
}

#define BT_JUMP_CACHE_BITS 14

// The mode key: all of the CPU's state that the decoding of a block depends on.
enum {
    BT_KEY_MODE = 7, // BtMode
    BT_KEY_CODE_SHIFT = 3, // log2(code_bits / 16)
    BT_KEY_STACK_SHIFT = 5, // log2(stack_bits / 16)
    BT_KEY_USER = 1 << 7, // CPL 3
    BT_KEY_FLAT_SHIFT = 8, // a bit each for ES, CS, SS, DS: base 0, limit 4 GiB, may be read (and
                           // written, CS excepted); all set in long mode
    BT_KEY_ALONE = 1 << 12, // one instruction
    BT_KEY_RING_0 = 1 << 13, // CPL 0
    BT_KEY_FULL_FS = 1 << 14, // any base, limit 4 GiB, may be read and written; set in long mode
    BT_KEY_FULL_GS = 1 << 15,
};

static inline unsigned bt_block_jump_index(uint64_t linear)
{
    return (unsigned)(linear ^ linear >> BT_JUMP_CACHE_BITS) & ((1u << BT_JUMP_CACHE_BITS) - 1);
}

// Enters a block whose RIP is `rip` and that has some budget left. cpu->instructions counts a
// block's instructions when it is entered.
#define BT_ENTER(cpu, block_, rip_)                                                                \
    do {                                                                                           \
        BtBlock *bt_entered = (block_);                                                            \
        (cpu)->block = bt_entered;                                                                 \
        (cpu)->block_rip = (rip_);                                                                 \
        (cpu)->instructions += bt_entered->count;                                                  \
        bt_entered->budget--;                                                                      \
        BT_RUN((cpu), bt_entered->entry);                                                          \
    } while (0)

#define BT_NO_REQUEST(cpu)                                                                         \
    (!(__atomic_load_n(&(cpu)->request, __ATOMIC_RELAXED) & (cpu)->request_mask))

// Goes on at `rip` (wrapped already) by way `which` (0 or 1) out of the running block. Ends a
// handler.
#define BT_CHAIN(cpu, which, rip_)                                                                 \
    do {                                                                                           \
        BtBlock *bt_block = (cpu)->block;                                                          \
        uint64_t bt_rip = (rip_);                                                                  \
        if (__builtin_expect(bt_block->link_key[which] == (cpu)->block_key &&                      \
                                 BT_NO_REQUEST(cpu) && bt_block->next[which]->budget, 1))          \
            BT_ENTER(cpu, bt_block->next[which], bt_rip);                                          \
        (cpu)->rip = bt_rip;                                                                       \
        (cpu)->link = bt_block;                                                                    \
        (cpu)->link_way = (which);                                                                 \
        return;                                                                                    \
    } while (0)

// The same for a target that only the run decides.
#define BT_CHAIN_INDIRECT(cpu, rip_)                                                               \
    do {                                                                                           \
        uint64_t bt_rip = (rip_);                                                                  \
        uint64_t bt_linear_rip = bt_rip + (cpu)->segment[VCPU_CS].base;                            \
        BtBlock *bt_block = (cpu)->jump_cache[bt_block_jump_index(bt_linear_rip)];                 \
        if (__builtin_expect(bt_block->linear == bt_linear_rip &&                                  \
                                 bt_block->chain_key == (cpu)->block_key && BT_NO_REQUEST(cpu) &&  \
                                 bt_block->budget, 1))                                             \
            BT_ENTER(cpu, bt_block, bt_rip);                                                       \
        (cpu)->rip = bt_rip;                                                                       \
        return;                                                                                    \
    } while (0)
