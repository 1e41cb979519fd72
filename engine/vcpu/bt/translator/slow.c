// SPDX-License-Identifier: GPL-2.0-or-later
// What generated code calls C for. Registers and flags are in BtCpu here, as they are before the
// instruction in question, so that the interpreter's handler can run it, fault, or leave.
//
// cpu->instructions counts the whole unit from its entry on; what is not run is taken off before
// anything can leave by longjmp.
#include "engine/vcpu/bt/translator/unit.h"

#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-range.h"

#include <stddef.h>

_Static_assert(offsetof(BtCallOut, insn) == offsetof(BtCallOut, block) + offsetof(BtBlock, insn),
               "insn[] is where the block has its instructions");

// Behind the instruction of a call-out.
static void go_on(BtCpu *cpu, const BtInsn *insn)
{
    cpu->rip = bt_next_rip(cpu, insn);
    cpu->unit_continues = true;
#if !BT_TAIL_CALLS
    cpu->next = NULL;
#endif
}

static void decode(BtCpu *cpu, BtCallOut *out, const BtDecoders *decoders, const uint8_t *bytes,
                   unsigned length, uint64_t rip)
{
    static const uint32_t no_generation;
    memset(out, 0, sizeof *out);
    BtInsn *insn = out->block.insn;
    bt_decode(cpu, decoders, bytes, length, insn);
    out->rip = rip;
    out->block.count = 1;
    out->block.size = insn->length;
    out->block.generation_at = out->block.generation_second_at = &no_generation;
    insn[1].handler = go_on;
    insn[1].offset = insn->length;
}

BtCallOut *bt_call_out_new(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes,
                           unsigned length, uint64_t rip)
{
    BtCallOut *out = bt_units_data(cpu->translator, sizeof *out, 64);
    if (out)
        decode(cpu, out, decoders, bytes, length, rip);
    return out;
}

static void run(BtCpu *cpu, BtCallOut *out)
{
    cpu->block = &out->block;
    cpu->block_rip = out->rip;
    cpu->shadow = out->shadow ? BT_SHADOW_STI : 0;
    cpu->unit_continues = false;
    cpu->block_key = BT_NO_BLOCK_KEY; // one instruction
    bt_run_from(cpu, out->block.insn);
    cpu->block = NULL;
    cpu->insn = NULL;
    cpu->link = NULL;
    if (out->shadow)
        cpu->shadow = 0;
}

// The unit may go on behind an instruction that ran in C: it did not transfer control, and no code
// was written, which this unit's might be.
static bool may_go_on(const BtCpu *cpu, const BtInsn *insn)
{
    return cpu->unit_continues && !(insn->flags & BT_INSN_ENDS_BLOCK) &&
           !(__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) &
             (BT_REQUEST_CODE | BT_REQUEST_STEP | BT_REQUEST_SHADOW));
}

const uint8_t *bt_unit_call_out(BtCpu *cpu, BtCallOut *out)
{
    cpu->instructions -= out->rest;
    cpu->stats.units[VCPU_UNIT_CALL_OUTS]++;
    cpu->translator->call_outs[out->block.insn->mnemonic]++;
    run(cpu, out);
    if (!may_go_on(cpu, out->block.insn))
        return bt_unit_next(cpu);
    cpu->instructions += out->rest;
    return BT_UNIT_GOES_ON;
}

const uint8_t *bt_unit_follow(BtCpu *cpu, uint32_t link)
{
    BtTranslator *t = cpu->translator;
    cpu->rip = t->link[link].rip;
    t->pending = link;
    return bt_unit_next(cpu);
}

// ---- Sites ----

static bool canonical(uint64_t linear)
{
    return (uint64_t)(((int64_t)linear >> 47) + 1) <= 1;
}

// A unit whose ranges are of no use, again and again, is made anew without.
static void range_failed(BtCpu *cpu, uint32_t index)
{
    enum { MOST_FAILURES = 4 };
    BtTranslator *t = cpu->translator;
    BtUnit *unit = &t->unit[index];
    if (++unit->range_failures != MOST_FAILURES)
        return;
    bt_units_make_anew(cpu, unit, t->unranged);
    cpu->stats.units[VCPU_UNIT_DROPPED_RANGES]++;
}

// Fills the TLB for the access; true where generated code will hit now. May raise.
static bool refill(BtCpu *cpu, const BtSite *site, uint64_t linear)
{
    bool group = site->flags & BT_SITE_GROUP;
    bool crosses = (linear & 0xfff) + site->size > 0x1000;
    uint64_t access = (linear + site->delta) & cpu->flat_mask, last = linear + site->size - 1;
    // Over the end of all addresses, or of those that are canonical, an access faults otherwise.
    if (crosses && (!group || last > cpu->flat_mask || last < linear || !canonical(linear) ||
                    !canonical(last)))
        return false;
    if (!(site->flags & (BT_SITE_READ | BT_SITE_WRITE)) || cpu->mmu_index == BT_MMU_USER_ALIGNED ||
        !canonical(access) || (access & site->alignment))
        return false;
    bool write = site->flags & BT_SITE_WRITE;
    bool window = write || (site->flags & BT_SITE_STORES); // what is checked
    bool stores = window || site->range <= BT_RANGE_STACKS; // what the slot is for
    bt_mmu_note(cpu, access, write ? BT_TLB_MAY_WRITE : BT_TLB_MAY_READ, cpu->mmu_index);
    if (bt_code_is_written(cpu)) // by the walk, in a table that is this unit
        return false;
    if (crosses)
        return site->range && bt_range_bridge(cpu, site->range, linear, site->size, stores);
    const BtTlbEntry *entry = bt_tlb_entry(cpu->data_tlb, linear);
    uint64_t tag = window ? __atomic_load_n(&entry->write, __ATOMIC_RELAXED) : entry->read;
    if (tag != (linear & ~UINT64_C(0xfff)))
        return false;
    if (site->range) {
        bt_range_missed(cpu, site->range, linear, site->size, stores);
        if (bt_range_is_hopeless(cpu, site->range))
            range_failed(cpu, site->unit);
    }
    return true;
}

// Nobody holds what another site has left in its slot: there it goes.
static BtCallOut *decode_site(BtCpu *cpu, uint32_t index, const BtUnit *unit, uint64_t rip)
{
    BtTranslator *t = cpu->translator;
    BtCallOut **slot = &t->slow_cache[index % BT_SLOW_CACHE];
    if (*slot && (*slot)->site == index && (*slot)->rip == rip)
        return *slot;
    if (!*slot)
        *slot = bt_units_data(t, sizeof **slot, 64);
    if (!*slot)
        return NULL;
    const BtCache *cache = cpu->block_cache;
    unsigned offset = (unsigned)((unit->physical & 0xfff) + (rip - unit->rip)) & 0xfff;
    unsigned at = offset - unit->low;
    decode(cpu, *slot, &cache->decoders, unit->bytes + at, MIN(unit->size - at, 15u), rip);
    (*slot)->site = index;
    return *slot;
}

// Two accesses of one instruction may take one another's TLB entry away: the third time that it
// comes here, C does both.
static bool may_refill(BtTranslator *t, uint64_t instructions)
{
    if (t->refill_at != instructions) {
        t->refill_at = instructions;
        t->refills = 0;
    }
    return t->refills++ < 2;
}

// For the thunk: what T3 is to hold.
static void hold(BtCpu *cpu, unsigned guest)
{
    cpu->unit_held = cpu->gpr[guest < 16 ? guest : BT_REG_ZERO];
}

const uint8_t *bt_unit_slow(BtCpu *cpu, uint32_t index, uint64_t linear)
{
    BtTranslator *t = cpu->translator;
    const BtSite site = t->site[index];
    BtUnit *unit = &t->unit[site.unit];
    if (site.flags & BT_SITE_FLAGS_KEPT)
        cpu->flags_status = (uint16_t)cpu->unit_flags;
    uint64_t rip = (unit->rip + (uint64_t)(int64_t)site.rip) & cpu->rip_mask;
    unsigned rest = unit->count - site.before - 1u;
    cpu->rip = rip;
    cpu->instructions -= rest + 1;
    if (site.flags & BT_SITE_CHECK) {
        bt_unit_checked(cpu, unit);
        return NULL;
    }
    bool opens = site.flags & BT_SITE_OPEN;
    uint32_t changes = cpu->mmu->mirror_changes;
    bool again = opens || (may_refill(t, cpu->instructions) && refill(cpu, &site, linear));
    bool stale = changes != cpu->mmu->mirror_changes; // the unit's groups may be
    unsigned classes = site.open | (opens ? site.size : 0);
    if (again && !stale && (!classes || bt_fpu_open(cpu, classes))) {
        cpu->instructions += rest + 1;
        cpu->stats.units[VCPU_UNIT_REFILLS]++;
        hold(cpu, site.held_before);
        return t->executable + site.retry;
    }
    BtCallOut *out = decode_site(cpu, index, unit, rip);
    if (!out) { // no room: the interpreter runs it from the run loop
        cpu->alone = true;
        return NULL;
    }
    out->shadow = site.flags & BT_SITE_SHADOW;
    cpu->instructions++;
    cpu->stats.units[VCPU_UNIT_SLOW]++;
    if (site.flags & BT_SITE_GROUP)
        bt_groups_failed(cpu, &t->unit[site.unit]);
    run(cpu, out);
    // What follows counts on it.
    bool leaves = stale || (site.flags & (BT_SITE_OPEN | BT_SITE_LEAVES));
    if (leaves || !may_go_on(cpu, out->block.insn) ||
        (site.open && !bt_fpu_open(cpu, site.open)))
        return bt_unit_next(cpu);
    cpu->instructions += rest;
    hold(cpu, site.held_after);
    cpu->unit_flags = cpu->flags_status; // whichever the code there goes by
    return t->executable + site.next;
}
