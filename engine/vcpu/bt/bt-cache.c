// SPDX-License-Identifier: GPL-2.0-or-later
// The blocks of one CPU: an arena that is given up as a whole when it is full, a hash by physical
// address and mode, and the jump cache by linear address that chaining looks at. A block whose page
// was written since is compared with memory before it is given up: data beside code, and code that
// is loaded again, cost a compare instead of a decoding.
#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/translator/translator.h"

#include <sys/mman.h>

#define ARENA_SIZE (UINT64_C(128) << 20)
#define ARENA_BESIDE_UNITS (UINT64_C(48) << 20) // under the translator: blocks are cold
#define HASH_BITS 18

static unsigned hash_index(uint64_t physical, uint32_t key)
{
    uint64_t h = (physical ^ (uint64_t)key << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(h >> (64 - HASH_BITS));
}

static void forget(BtCpu *cpu, BtCache *cache)
{
    memset(cache->bucket, 0, (sizeof *cache->bucket) << HASH_BITS);
    for (unsigned i = 0; i < 1u << BT_JUMP_CACHE_BITS; i++)
        cpu->jump_cache[i] = &cache->none;
    cache->used = 0;
    cpu->link = NULL;
    cpu->block = NULL;
}

static bool generations_match(const BtBlock *block)
{
    return __atomic_load_n(block->generation_at, __ATOMIC_ACQUIRE) == block->generation &&
           (!block->size_second ||
            __atomic_load_n(block->generation_second_at, __ATOMIC_ACQUIRE) ==
                block->generation_second);
}

// Whether memory still holds what the block was decoded from; if so its generations are brought up
// to date. host, host_second: the pages' first bytes.
static bool revalidate(BtCpu *cpu, BtBlock *block, const uint8_t *host, const uint8_t *host_second)
{
    if (!host || (block->size_second && !host_second))
        return false;
    unsigned size_first = block->size - block->size_second;
    uint32_t generation = bt_vm_protect_page(cpu->vm, block->physical, size_first);
    uint32_t generation_second = 0;
    if (block->size_second)
        generation_second = bt_vm_protect_page(cpu->vm, block->physical_second, block->size_second);
    const uint8_t *at = host + (block->physical & 0xfff);
    for (unsigned i = 0; i < block->count; i++) {
        const BtInsn *insn = &block->insn[i];
        for (unsigned b = 0; b < insn->length; b++) {
            unsigned offset = insn->offset + b;
            uint8_t byte = offset < size_first ? at[offset] : host_second[offset - size_first];
            if (byte != insn->bytes[b])
                return false;
        }
    }
    block->generation = generation;
    block->generation_second = generation_second;
    // Else nobody protects it by now.
    return !bt_block_is_in_checked_page(cpu->vm, block->physical, block->size_second,
                                        block->physical_second);
}

// Whether the block may run as it is. In a checked page no generation says so.
static bool is_up_to_date(BtCpu *cpu, BtBlock *block, const uint8_t *host,
                          const uint8_t *host_second)
{
    if (bt_block_is_in_checked_page(cpu->vm, block->physical, block->size_second,
                                    block->physical_second) != block->checked)
        return false;
    if (block->checked)
        return bt_block_check(block, host, host_second);
    return generations_match(block) || revalidate(cpu, block, host, host_second);
}

// Finds the block in the hash; drops one that memory has left behind, which is *ret_stale then.
static BtBlock *look_up(BtCpu *cpu, BtCache *cache, uint64_t physical, uint32_t key,
                        const uint8_t *host, uint64_t linear, const BtBlock **ret_stale)
{
    BtBlock **at = &cache->bucket[hash_index(physical, key)];
    for (BtBlock *block; (block = *at); at = &block->hash_next) {
        if (block->physical != physical || block->key != key)
            continue;
        const uint8_t *host_second = NULL;
        bool same = true;
        if (block->size_second) {
            uint64_t second = bt_fetch_page(cpu, (linear | 0xfff) + 1, &host_second);
            same = (second & ~UINT64_C(0xfff)) == block->physical_second;
        }
        if (same && is_up_to_date(cpu, block, host, host_second))
            return block;
        *at = block->hash_next;
        *ret_stale = block;
        return NULL;
    }
    return NULL;
}

// A block that only differs in what its instructions carry is as hot as the one before it: programs
// that write an immediate before each run would never have a unit else.
static void inherit(BtBlock *block, const BtBlock *stale)
{
    if (!stale->checked || stale->count != block->count)
        return;
    for (unsigned i = 0; i < block->count; i++) {
        if (block->insn[i].handler != stale->insn[i].handler)
            return;
    }
    block->budget = stale->budget;
    block->spent = stale->spent;
    block->forgets = stale->forgets;
}

// The block was found at `linear`. Under one key it has one place: what follows it elsewhere is
// another block, though branch by branch at the same distance.
static void note_place(BtBlock *block, uint64_t linear, uint64_t block_key)
{
    if (block->linear != linear) {
        block->link_key[0] = block->link_key[1] = 0;
        block->aliased = block->chain_key == block_key;
    } else if (block->chain_key != block_key) {
        block->aliased = false;
    }
    block->linear = linear;
    block->chain_key = block_key;
}

void bt_cache_create(BtCpu *cpu)
{
    BtCache *cache = g_new0(BtCache, 1);
    cache->arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cache->arena == MAP_FAILED)
        g_error("out of address space for decoded code"); // as g_malloc does
    cache->bucket = g_new0(BtBlock *, 1u << HASH_BITS);
    cpu->block_cache = cache;
    cpu->jump_cache = g_new(BtBlock *, 1u << BT_JUMP_CACHE_BITS);
    bt_mmu_renew_chains(cpu);
    bt_decoders_init(&cache->decoders, cpu->config->cpuid);
    cache->decoders.cache = bt_decode_cache_new();
    forget(cpu, cache);
}

void bt_cache_destroy(BtCpu *cpu)
{
    BtCache *cache = cpu->block_cache;
    if (!cache)
        return;
    munmap(cache->arena, ARENA_SIZE);
    bt_decode_cache_free(cache->decoders.cache);
    g_free(cache->bucket);
    g_free(cache);
    g_clear_pointer(&cpu->jump_cache, g_free);
    cpu->block_cache = NULL;
}

void bt_cache_forget(BtCpu *cpu)
{
    BtCache *cache = cpu->block_cache;
    if (cache)
        forget(cpu, cache);
    if (cpu->translator)
        bt_translator_forget(cpu);
}

BtBlock *bt_cache_allocate(BtCpu *cpu, unsigned count)
{
    BtCache *cache = cpu->block_cache;
    uint64_t size = sizeof(BtBlock) + (count + 1) * sizeof(BtInsn); // one for the end
    if (cache->used + size > (cpu->translator ? ARENA_BESIDE_UNITS : ARENA_SIZE))
        forget(cpu, cache);
    BtBlock *block = (BtBlock *)(cache->arena + cache->used);
    cache->used += size;
    memset(block, 0, sizeof *block);
    return block;
}

static bool is_at(const BtCpu *cpu, const BtBlock *block, uint64_t token)
{
    return block->linear == token && block->chain_key == cpu->block_key;
}

bool bt_cache_has_cold(const BtCpu *cpu)
{
    uint64_t token = cpu->rip + cpu->segment[VCPU_CS].base;
    const BtBlock *block = cpu->jump_cache[bt_block_jump_index(token)];
    return is_at(cpu, block, token) && block->budget;
}

BtBlock *bt_cache_find(BtCpu *cpu, bool alone)
{
    BtCache *cache = cpu->block_cache;
    uint64_t token = cpu->rip + cpu->segment[VCPU_CS].base;
    BtBlock **jump = &cpu->jump_cache[bt_block_jump_index(token)];
    if (!alone && is_at(cpu, *jump, token) && !(*jump)->checked)
        return *jump;

    uint64_t linear = token;
    uint64_t last = UINT64_MAX; // the last RIP that may be fetched
    if (cpu->mode == BT_MODE_LONG) {
        if ((uint64_t)(((int64_t)linear >> 47) + 1) > 1)
            bt_raise_error(cpu, BT_GP, 0);
    } else {
        linear = (uint32_t)linear;
        last = MIN(cpu->segment[VCPU_CS].limit, cpu->rip_mask);
        if (cpu->rip > last)
            bt_raise_error(cpu, BT_GP, 0);
    }
    const uint8_t *host;
    uint64_t physical = bt_fetch_page(cpu, linear, &host);
    physical = (physical & ~UINT64_C(0xfff)) | (linear & 0xfff);
    uint32_t key = cpu->mode_key | (alone ? BT_KEY_ALONE : 0);
    const BtBlock *stale = NULL;
    BtBlock *block = look_up(cpu, cache, physical, key, host, linear, &stale);
    if (!block) {
        const uint8_t *arena = cache->arena + cache->used;
        block = bt_block_form(cpu, &cache->decoders, physical, host, key);
        block->budget = bt_translator_budget(cpu);
        if (stale && (const uint8_t *)block >= arena) // else all blocks went
            inherit(block, stale);
        cpu->stats.translations++;
        if (block->cached) {
            BtBlock **bucket = &cache->bucket[hash_index(physical, key)];
            block->hash_next = *bucket;
            *bucket = block;
        }
    }
    // The block was formed under another limit: up to the one that fits. A single instruction that
    // reaches over the limit raises #GP.
    if (cpu->rip + block->size - 1 > last) {
        if (alone)
            bt_raise_error(cpu, BT_GP, 0);
        return bt_cache_find(cpu, true);
    }
    if (!alone && block->cached) {
        note_place(block, token, cpu->block_key);
        *jump = block;
    }
    return block;
}
