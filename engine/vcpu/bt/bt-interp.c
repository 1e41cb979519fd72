// SPDX-License-Identifier: GPL-2.0-or-later
// The interpreter's run loop: requests, interrupts and halts between blocks, look-up of the next
// block, and what happens when a handler leaves by longjmp. Within a chain of blocks none of this
// runs (bt-block.h).
#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-follow.h"
#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/translator/translator.h"

#include <glib.h>

static uint32_t request_of(const BtCpu *cpu)
{
    return __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);
}

static void clear_request(BtCpu *cpu, uint32_t bits)
{
    __atomic_fetch_and(&cpu->request, ~bits, __ATOMIC_SEQ_CST);
}

// ---- What blocks depend on ----

static bool segment_is_full(const BtSegment *s, unsigned allows)
{
    return s->low == 0 && s->high >= UINT32_MAX && (s->allows & allows) == allows;
}

static uint32_t make_mode_key(const BtCpu *cpu)
{
    uint32_t key = cpu->mode | (uint32_t)(cpu->code_bits >> 5) << BT_KEY_CODE_SHIFT |
                   (uint32_t)(cpu->stack_bits >> 5) << BT_KEY_STACK_SHIFT;
    if (cpu->cpl == 3)
        key |= BT_KEY_USER;
    else if (cpu->cpl == 0)
        key |= BT_KEY_RING_0;
    if (cpu->mode == BT_MODE_LONG)
        return key | 0xfu << BT_KEY_FLAT_SHIFT | BT_KEY_FULL_FS | BT_KEY_FULL_GS;
    for (unsigned i = VCPU_ES; i <= VCPU_DS; i++) {
        unsigned allows = i == VCPU_CS ? 0 : BT_ALLOW_READ | BT_ALLOW_WRITE;
        if (cpu->segment[i].base == 0 && segment_is_full(&cpu->segment[i], allows))
            key |= 1u << (BT_KEY_FLAT_SHIFT + i);
    }
    if (segment_is_full(&cpu->segment[VCPU_FS], BT_ALLOW_READ | BT_ALLOW_WRITE))
        key |= BT_KEY_FULL_FS;
    if (segment_is_full(&cpu->segment[VCPU_GS], BT_ALLOW_READ | BT_ALLOW_WRITE))
        key |= BT_KEY_FULL_GS;
    return key;
}

// INTR stays high while IF is 0: that is no reason to leave the chain.
static uint32_t servable(const BtCpu *cpu)
{
    return cpu->rflags_rest & BT_FLAG_IF ? UINT32_MAX : ~(uint32_t)BT_REQUEST_INTERRUPT;
}

// Brings all that is derived for the hot path up to date.
void bt_run_update(BtCpu *cpu)
{
    cpu->flat_mask = cpu->mode == BT_MODE_LONG ? UINT64_MAX : UINT32_MAX;
    cpu->rip_mask = cpu->code_bits == 64   ? UINT64_MAX
                    : cpu->code_bits == 32 ? UINT32_MAX
                                           : UINT16_MAX;
    cpu->mode_key = make_mode_key(cpu);
    if (cpu->segment[VCPU_CS].limit != cpu->chain_limit) {
        cpu->chain_limit = cpu->segment[VCPU_CS].limit;
        bt_mmu_renew_chains(cpu);
    }
    bt_chain_update_key(cpu);
    cpu->request_mask = servable(cpu);
}

// ---- Leaving a handler ----

// The instructions of the block from the one at cpu->rip on did not run.
static void uncount_from_rip(BtCpu *cpu)
{
    const BtBlock *block = cpu->block;
    if (!block)
        return;
    for (unsigned i = 0; i < block->count; i++) {
        const BtInsn *insn = &block->insn[i];
        if ((bt_insn_rip(cpu, insn) & cpu->rip_mask) == cpu->rip) {
            cpu->instructions -= block->count - i;
            return;
        }
    }
}

// Those after cpu->insn did not run.
static void uncount_rest(BtCpu *cpu)
{
    const BtBlock *block = cpu->block;
    if (block && cpu->insn)
        cpu->instructions -= block->count - (unsigned)(cpu->insn - block->insn) - 1;
}

static void finish_step(BtCpu *cpu)
{
    cpu->insn = NULL;
    cpu->block = NULL;
    if (!cpu->stepping)
        return;
    cpu->stepping = false;
    bt_debug_after(cpu, cpu->stepping_tf);
}

// True where run must return.
static bool left_by_jump(BtCpu *cpu, BtLeave why)
{
    cpu->link = NULL;
    switch (why) {
    case BT_LEAVE_EXCEPTION:
        uncount_from_rip(cpu);
        cpu->block = NULL;
        cpu->shadow = 0; // the translator runs instructions with their shadow set
        cpu->stepping = false;
        return !bt_deliver_fault(cpu);
    case BT_LEAVE_RETRY_ALONE:
        uncount_from_rip(cpu);
        cpu->block = NULL;
        cpu->stepping = false;
        cpu->alone = true;
        return false;
    case BT_LEAVE_BLOCK:
        uncount_rest(cpu);
        finish_step(cpu);
        return false;
    case BT_LEAVE_RUN:
        break;
    }
    uncount_rest(cpu);
    cpu->block = NULL;
    cpu->insn = NULL;
    cpu->stepping = false;
    return true;
}

// ---- Between blocks ----

// Those that stay until whoever set them, or serves them, takes them back. The others only end the
// chain, so that the run loop looks at cpu->shadow and cpu->halted.
#define LASTING_REQUESTS                                                                           \
    ((uint32_t)(BT_REQUEST_INTERRUPT | BT_REQUEST_NMI | BT_REQUEST_STEP | BT_REQUEST_TLB_FLUSH |   \
                BT_REQUEST_A20 | BT_REQUEST_KICK | BT_REQUEST_COUNT))

static void make_sample(BtCpu *cpu)
{
    VcpuSample *s = &cpu->sample;
    uint64_t address = cpu->rip + cpu->segment[VCPU_CS].base;
    if (cpu->mode != BT_MODE_LONG)
        address = (uint32_t)address;
    __atomic_store_n(&s->address, address, __ATOMIC_RELAXED);
    __atomic_store_n(&s->ring, cpu->cpl, __ATOMIC_RELAXED);
    __atomic_store_n(&s->bits, cpu->code_bits, __ATOMIC_RELAXED);
    __atomic_store_n(&s->number, s->number + 1, __ATOMIC_RELEASE);
}

// Blocks are looked up again. Units are not: nothing leads to one that was written.
static void code_written(BtCpu *cpu)
{
    if (cpu->translator)
        bt_translator_code_written(cpu);
    if (!cpu->translator || ++cpu->block_writes >> BT_BLOCK_WRITES_BITS) {
        cpu->block_writes = 0;
        bt_mmu_renew_chains(cpu);
    }
}

// True where run must return; cpu->exit is filled.
static bool serve_requests(BtCpu *cpu)
{
    uint32_t request = request_of(cpu);
    if (request & (BT_REQUEST_TLB_FLUSH | BT_REQUEST_A20))
        bt_mmu_service(cpu);
    if (request & BT_REQUEST_KICK) {
        clear_request(cpu, BT_REQUEST_KICK);
        cpu->exit = (VcpuExit){.reason = VCPU_EXIT_KICK};
        return true;
    }
    if (request & ~LASTING_REQUESTS) {
        clear_request(cpu, ~LASTING_REQUESTS);
        if (request & BT_REQUEST_SAMPLE)
            make_sample(cpu);
        if (request & BT_REQUEST_CODE)
            code_written(cpu);
    }
    if (cpu->wait_for_sipi) {
        cpu->exit = (VcpuExit){.reason = VCPU_EXIT_HALT};
        return true;
    }
    if (!cpu->shadow)
        bt_accept_interrupt(cpu);
    if (!cpu->halted)
        return false;
    // A shadow covers HLT too; it ends with it.
    cpu->shadow = 0;
    if (bt_interrupt_waits(cpu) && bt_accept_interrupt(cpu))
        return false;
    cpu->exit = (VcpuExit){.reason = VCPU_EXIT_HALT};
    return true;
}

bool bt_run_undisturbed(const BtCpu *cpu)
{
    return !(request_of(cpu) & servable(cpu)) && !cpu->halted && !cpu->wait_for_sipi &&
           !cpu->alone && !cpu->shadow && !cpu->instructions_left && !cpu->follow;
}

static void run_block(BtCpu *cpu, BtBlock *block)
{
    cpu->block = block;
    cpu->block_rip = cpu->rip;
    cpu->instructions += block->count;
    block->budget -= block->budget != 0;
    bt_run_from(cpu, block->entry);
}

// One instruction, with what single-stepping and breakpoints want around it.
static void run_alone(BtCpu *cpu)
{
    cpu->block_key = BT_NO_BLOCK_KEY; // no other one behind it
    if (request_of(cpu) & BT_REQUEST_STEP) {
        bt_debug_before(cpu);
        cpu->stepping_tf = cpu->rflags_rest & BT_FLAG_TF;
        cpu->shadow = 0;
        BtBlock *block = bt_cache_find(cpu, true);
        cpu->alone = false;
        cpu->stepping = true;
        run_block(cpu, block);
        finish_step(cpu);
        return;
    }
    cpu->shadow = 0;
    BtBlock *block = bt_cache_find(cpu, true);
    cpu->alone = false;
    run_block(cpu, block);
}

static void run_next(BtCpu *cpu)
{
    if (cpu->translator && bt_translator_run(cpu)) {
        cpu->link = NULL;
        return;
    }
    BtBlock *block = bt_cache_find(cpu, false);
    if (cpu->translator)
        cpu->stats.units[VCPU_UNIT_BLOCKS]++;
    else
        block->budget = UINT16_MAX;
    if (!bt_follow_allows(cpu, block->count)) {
        cpu->link = NULL;
        run_alone(cpu);
        return;
    }
    // The block it came from is still there: giving up all blocks clears the link.
    BtBlock *from = cpu->link;
    cpu->link = NULL;
    if (from && block->cached && !from->aliased && from->chain_key == cpu->block_key) {
        from->next[cpu->link_way] = block;
        from->link_key[cpu->link_way] = cpu->block_key;
    }
    run_block(cpu, block);
}

void bt_run(BtCpu *cpu)
{
    cpu->exit = (VcpuExit){.reason = VCPU_EXIT_NONE};
    if (cpu->translator)
        bt_translator_begin(cpu);
    int why = _setjmp(cpu->leave);
    bool done = why && left_by_jump(cpu, (BtLeave)why);
    while (!done) {
        cpu->insn = NULL;
        cpu->block = NULL;
        if ((request_of(cpu) & servable(cpu)) || cpu->halted || cpu->wait_for_sipi) {
            cpu->link = NULL; // an interrupt handler does not follow the block
            done = serve_requests(cpu);
            if (done)
                break;
        }
        if (cpu->follow && bt_follow_stops(cpu)) {
            cpu->exit = (VcpuExit){.reason = VCPU_EXIT_KICK};
            break;
        }
        if (cpu->instructions_left) {
            if (--cpu->instructions_left == 0) {
                cpu->exit = (VcpuExit){.reason = VCPU_EXIT_KICK};
                break;
            }
            cpu->alone = true;
        }
        bt_run_update(cpu);
        if (cpu->alone || cpu->shadow || (request_of(cpu) & BT_REQUEST_STEP))
            run_alone(cpu);
        else
            run_next(cpu);
    }
    bt_fpu_leave(cpu);
}
