// SPDX-License-Identifier: GPL-2.0-or-later
// Forming blocks: decoding instructions that follow one another until one ends the block, the page
// ends, or there are 64. An instruction that crosses into the next page is a block of its own, the
// only kind with two pages, so that the second page is fetched (and may fault) only when its
// bytes are needed (SDM vol. 3A, 6.5: the fault belongs to this instruction). In a checked page
// (bt-vm.h) a block ends behind an instruction that stores, and has two things behind its end: the
// instruction that checks it, and the bytes to compare with.
#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fuse.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"

#include <glib.h>
#include <string.h>

#define INSN_MAX 15

typedef struct {
    BtInsn insn[BT_BLOCK_MAX];
    unsigned count;
    unsigned size, size_second;
    uint64_t physical_second;
    const uint8_t *host_second; // the second page's first byte
    uint8_t bytes[BT_BLOCK_MAX * INSN_MAX + INSN_MAX]; // as read when they were decoded
} Draft;

// ---- Handlers that stand for no guest instruction ----

// Behind the last instruction of a block that falls through.
static void end_chain(BtCpu *cpu, const BtInsn *insn)
{
    BT_CHAIN(cpu, 0, bt_next_rip(cpu, insn));
}

// The same where the last instruction may have changed what blocks depend on.
static void end_loop(BtCpu *cpu, const BtInsn *insn)
{
    cpu->rip = bt_next_rip(cpu, insn);
}

// ---- Checked blocks ----

static bool is_unchanged(const BtBlock *block, const BtInsn *check)
{
    const uint8_t *bytes = (const uint8_t *)(check + 1);
    unsigned first = block->size - block->size_second;
    return memcmp(check->data, bytes, first) == 0 &&
           (!block->size_second || memcmp((const uint8_t *)(uintptr_t)check->immediate,
                                          bytes + first, block->size_second) == 0);
}

// What a checked block begins with.
static void check(BtCpu *cpu, const BtInsn *insn)
{
    BtBlock *block = cpu->block;
    if (__builtin_expect(is_unchanged(block, insn), 1))
        BT_RUN(cpu, block->insn);
    cpu->instructions -= block->count;
    cpu->rip = cpu->block_rip;
    block->chain_key = 0; // the jump cache's too
    // Whatever leads to it has to look it up again.
    __atomic_fetch_or(&cpu->request, BT_REQUEST_CODE, __ATOMIC_SEQ_CST);
}

bool bt_block_check(BtBlock *block, const uint8_t *host, const uint8_t *host_second)
{
    if (!host || (block->size_second && !host_second))
        return false;
    BtInsn *insn = &block->insn[block->count + 1];
    insn->data = (void *)(uintptr_t)(host + (block->physical & 0xfff));
    insn->immediate = (uintptr_t)host_second;
    return is_unchanged(block, insn);
}

bool bt_block_is_in_checked_page(const BtVm *vm, uint64_t physical, unsigned size_second,
                                 uint64_t physical_second)
{
    return bt_vm_page_is_checked(vm, physical) ||
           (size_second && bt_vm_page_is_checked(vm, physical_second));
}

static void add_check(BtBlock *block, const Draft *draft, const uint8_t *host,
                      const uint8_t *host_second)
{
    BtInsn *insn = &block->insn[block->count + 1];
    memset(insn, 0, sizeof *insn);
    insn->handler = check;
    memcpy(insn + 1, draft->bytes, block->size);
    bt_block_check(block, host, host_second);
    if (!(block->key & BT_KEY_ALONE)) // which is looked up each time
        block->entry = insn;
}

// ---- Reading code ----

static void read_mmio(BtCpu *cpu, uint64_t physical, uint8_t *out, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        out[i] = (uint8_t)bt_physical_read(cpu, physical + i, 1);
}

// Decodes a first instruction that the page's end cuts off.
static void decode_crossing(BtCpu *cpu, const BtDecoders *decoders, Draft *draft, unsigned have)
{
    uint64_t linear = cpu->rip + cpu->segment[VCPU_CS].base + have;
    if (cpu->mode != BT_MODE_LONG)
        linear = (uint32_t)linear;
    const uint8_t *host;
    uint64_t physical = bt_fetch_page(cpu, linear, &host) & ~UINT64_C(0xfff);
    if (host)
        memcpy(draft->bytes + have, host, INSN_MAX);
    else
        read_mmio(cpu, physical, draft->bytes + have, INSN_MAX);
    bt_decode(cpu, decoders, draft->bytes, INSN_MAX, &draft->insn[0]);
    draft->count = 1;
    draft->size = draft->insn[0].length;
    draft->size_second = draft->size - have;
    draft->physical_second = physical;
    draft->host_second = host;
}

static void decode_all(BtCpu *cpu, const BtDecoders *decoders, Draft *draft, uint64_t physical,
                       const uint8_t *host, bool alone, bool checked)
{
    unsigned have = 0x1000 - (physical & 0xfff);
    have = MIN(have, alone || !host ? INSN_MAX : BT_BLOCK_MAX * INSN_MAX);
    bool to_page_end = ((physical + have) & 0xfff) == 0;
    if (host)
        memcpy(draft->bytes, host + (physical & 0xfff), have);
    else
        read_mmio(cpu, physical, draft->bytes, have);

    unsigned max = alone || !host ? 1 : BT_BLOCK_MAX;
    uint64_t room = UINT64_MAX; // bytes that the segment allows
    if (cpu->mode != BT_MODE_LONG)
        room = MIN(cpu->segment[VCPU_CS].limit, cpu->rip_mask) - cpu->rip + 1;
    draft->count = draft->size = draft->size_second = 0;
    draft->host_second = NULL;
    while (draft->count < max) {
        BtInsn *insn = &draft->insn[draft->count];
        unsigned left = MIN(have - draft->size, INSN_MAX);
        memset(insn, 0, sizeof *insn);
        insn->offset = (uint16_t)draft->size;
        if (left == 0 || !bt_decode(cpu, decoders, draft->bytes + draft->size, left, insn)) {
            if (draft->count == 0 && to_page_end)
                decode_crossing(cpu, decoders, draft, have);
            return;
        }
        if (draft->count > 0 && draft->size + insn->length > room)
            return;
        draft->size += insn->length;
        draft->count++;
        if ((insn->flags & BT_INSN_ENDS_BLOCK) || (checked && (insn->flags & BT_INSN_STORES)))
            return;
    }
}

// True where memory still holds the bytes, now that writers to them are noticed.
static bool protect(BtCpu *cpu, Draft *draft, uint64_t physical, const uint8_t *host,
                    BtBlock *block)
{
    BtVm *vm = cpu->vm;
    unsigned size_first = draft->size - draft->size_second;
    block->generation = bt_vm_protect_page(vm, physical, size_first);
    block->generation_at = &vm->code_generation[physical >> 12];
    if (memcmp(host + (physical & 0xfff), draft->bytes, size_first) != 0)
        return false;
    if (!draft->size_second)
        return true;
    block->generation_second = bt_vm_protect_page(vm, draft->physical_second, draft->size_second);
    block->generation_second_at = &vm->code_generation[draft->physical_second >> 12];
    GuestPage page = guest_memory_page(cpu->config->memory, draft->physical_second);
    return page.host_read &&
           memcmp(page.host_read, draft->bytes + size_first, draft->size_second) == 0;
}

static void set_trailer(BtInsn *insn, const Draft *draft, BtHandler *handler)
{
    memset(insn, 0, sizeof *insn);
    insn->handler = handler;
    insn->offset = (uint16_t)draft->size;
}

BtBlock *bt_block_form(BtCpu *cpu, const BtDecoders *decoders, uint64_t physical,
                       const uint8_t *host, uint32_t key)
{
    static const uint32_t no_generation;
    const BtVm *vm = cpu->vm;
    Draft draft;
    BtBlock header = {.generation_at = &no_generation, .generation_second_at = &no_generation};

    // Here, where no instruction in the making holds a compiled form.
    if (bt_simd_wants_flush(cpu)) {
        bt_cache_forget(cpu);
        bt_simd_flushed(cpu);
    }

    // Another CPU or a device may write the bytes meanwhile; a block of bytes that never rest is
    // run once and forgotten.
    bool cached = false, checked = false;
    for (unsigned tries = 0; tries < 3 && !cached; tries++) {
        checked = bt_vm_page_is_checked(vm, physical);
        decode_all(cpu, decoders, &draft, physical, host, key & BT_KEY_ALONE, checked);
        if (!host || physical >> 12 >= vm->page_count ||
            (draft.size_second && draft.physical_second >> 12 >= vm->page_count))
            break;
        cached = protect(cpu, &draft, physical, host, &header) &&
                 bt_vm_page_is_checked(vm, physical) == checked;
    }
    checked = cached && bt_block_is_in_checked_page(vm, physical, draft.size_second,
                                                    draft.physical_second);
    bool harmless = !(draft.insn[draft.count - 1].flags & BT_INSN_ENDS_BLOCK);
    bt_fuse(draft.insn, draft.count);

    unsigned for_check = checked ? 1 + (draft.size + (unsigned)sizeof(BtInsn) - 1) /
                                           (unsigned)sizeof(BtInsn)
                                 : 0;
    BtBlock *block = bt_cache_allocate(cpu, draft.count + for_check);
    block->generation = header.generation;
    block->generation_at = header.generation_at;
    block->generation_second = header.generation_second;
    block->generation_second_at = header.generation_second_at;
    block->physical = physical;
    block->physical_second = draft.physical_second;
    block->key = key;
    block->count = (uint16_t)draft.count;
    block->size = (uint16_t)draft.size;
    block->size_second = (uint16_t)draft.size_second;
    block->cached = cached;
    memcpy(block->insn, draft.insn, draft.count * sizeof(BtInsn));
    set_trailer(&block->insn[draft.count], &draft,
                harmless && cached && !(key & BT_KEY_ALONE) ? end_chain : end_loop);
    block->checked = checked;
    block->entry = block->insn;
    if (checked)
        add_check(block, &draft, host, draft.host_second);
    return block;
}
