// SPDX-License-Identifier: GPL-2.0-or-later
// Forming a unit: which instructions belong to it, and which of the guest's flags are wanted where.
//
// Flags: guest and host have the same ones, so they stay in the host's flags register from
// instruction to instruction. A memory check changes them; where the guest may still read them
// (flags_live) they are saved before (emit-flags.c). Backward over the unit: an instruction wants
// what it reads and what is wanted behind it less what it writes. A direct way out wants what the
// instructions at its target want, which are looked at (peek); an indirect one wants all.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-cache.h"
#include "engine/vcpu/bt/bt-memory.h"

typedef struct {
    BtDraft draft;
    BtGuestInsn insn[BT_UNIT_MAX];
    uint8_t page[0x1000 + 15]; // and what an instruction at its end has in the next one
    unsigned page_size;        // bytes of it that are known
    uint64_t seen[0x1000 / 64]; // offsets where an instruction of the unit begins
    BtGuestInsn peeked;
    unsigned peeks; // instructions that may still be looked at
} Work;

static bool count_may_be_zero(const BtDecoded *decoded)
{
    const ZydisDecodedInstruction *insn = &decoded->insn;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD: case ZYDIS_MNEMONIC_SHRD:
        break;
    default:
        return false;
    }
    const ZydisDecodedOperand *count = &decoded->operand[insn->operand_count_visible - 1];
    if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return true;
    unsigned mask = insn->operand_width == 64 ? 63 : 31;
    // Of 8 and 16 bits a rotation by a multiple of the width is one by nothing.
    return (count->imm.value.u & mask) == 0 || insn->operand_width < 32;
}

static bool clears_auxiliary(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_AND || mnemonic == ZYDIS_MNEMONIC_OR ||
           mnemonic == ZYDIS_MNEMONIC_XOR || mnemonic == ZYDIS_MNEMONIC_TEST;
}

static void note_flags(BtGuestInsn *g)
{
    const ZydisAccessedFlags *flags = g->decoded.insn.cpu_flags;
    g->reads_flags = g->writes_flags = 0;
    g->changes_flags = false;
    if (!flags)
        return;
    g->reads_flags = flags->tested & BT_STATUS_FLAGS;
    g->writes_flags = (flags->modified | flags->set_0 | flags->set_1) & BT_STATUS_FLAGS;
    // A flag that the manual calls undefined may also stay what it was.
    if (clears_auxiliary(g->decoded.insn.mnemonic))
        g->writes_flags |= flags->undefined & BT_STATUS_FLAGS;
    g->changes_flags = (g->writes_flags | (flags->undefined & BT_STATUS_FLAGS)) != 0;
    if (count_may_be_zero(&g->decoded))
        g->writes_flags = 0;
}

static void note_memory(BtGuestInsn *g)
{
    g->memory = 0xff;
    for (unsigned i = 0; i < g->decoded.insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &g->decoded.operand[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.type == ZYDIS_MEMOP_TYPE_MEM &&
            g->decoded.insn.mnemonic != ZYDIS_MNEMONIC_NOP)
            g->memory = (uint8_t)i;
    }
}

static void note_fpu(BtGuestInsn *g)
{
    g->fpu = false;
    g->classes = g->alignment = 0;
    if (!g->known || bt_copy_known(&g->decoded.insn))
        return;
    bt_note_simd(g);
    if (!g->fpu)
        bt_note_x87(g);
}

static bool is_stack(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_PUSH || mnemonic == ZYDIS_MNEMONIC_POP ||
           mnemonic == ZYDIS_MNEMONIC_LEAVE;
}

bool bt_runs_inline(const BtDraft *d, const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    return g->known && (g->fpu || bt_copy_known(insn) || is_stack(insn->mnemonic) ||
                        bt_divide_known(insn) || bt_system_known(d, g));
}

// Whether the interpreter's handler may change what the unit depends on.
static bool ends_unit(BtDraft *d, const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (bt_runs_inline(d, g)) {
        // MOV and POP to segment, control and debug registers are in the same mnemonics.
        if (insn->mnemonic != ZYDIS_MNEMONIC_MOV && insn->mnemonic != ZYDIS_MNEMONIC_POP)
            return false;
    }
    BtInsn out = { .offset = 0 };
    if (!bt_decode(d->cpu, d->decoders, g->decoded.bytes, insn->length, &out))
        return true;
    return out.flags & BT_INSN_ENDS_BLOCK;
}

// A loop of the whole unit: some rounds of it, so that counting and polling is done once for all.
// The branch at a round's end leaves where it is not taken.
static void unroll(BtDraft *d)
{
    enum { ENOUGH = 48, MOST_ROUNDS = 8 };
    unsigned round = d->count;
    unsigned rounds = MIN(MIN(ENOUGH, d->t->options.insns) / round, MOST_ROUNDS);
    for (unsigned i = 1; i < rounds; i++) {
        memcpy(&d->insn[d->count], d->insn, round * sizeof *d->insn);
        d->count += round;
    }
    for (unsigned i = 1; i < rounds; i++)
        d->insn[i * round - 1].inverted = true;
}

static void take_instructions(BtDraft *d, Work *work, unsigned offset)
{
    uint64_t base = d->unit->physical & 0xfff;
    uint64_t limit = bt_draft_long(d) ? UINT64_MAX
                                      : MIN(d->cpu->segment[VCPU_CS].limit, d->cpu->rip_mask);
    unsigned low = offset, high = offset;
    while (d->count < d->t->options.insns) {
        BtGuestInsn *g = &d->insn[d->count];
        g->rip = (int32_t)offset - (int32_t)base;
        g->inverted = false;
        if (offset >= 0x1000 || (work->seen[offset / 64] >> (offset % 64) & 1) ||
            !bt_decode_operands(d->cpu, d->decoders, work->page + offset,
                                MIN(work->page_size - offset, 15u), &g->decoded, &g->known))
            return;
        uint64_t rip = bt_draft_rip(d, g);
        unsigned length = g->decoded.insn.length;
        if (rip > limit || limit - rip < length - 1)
            return;
        work->seen[offset / 64] |= UINT64_C(1) << (offset % 64);
        note_flags(g);
        note_memory(g);
        note_fpu(g);
        g->window = false;
        g->poll = NULL;
        g->varies = bt_immediate_varies(d, g);
        d->count++;
        low = MIN(low, offset);
        high = MAX(high, offset + length);
        d->unit->low = (uint16_t)low;
        d->unit->size = (uint16_t)(high - low);
        uint64_t target;
        switch (bt_branch_flow(d, g, &target)) {
        case BT_FLOW_CALL:
        case BT_FLOW_END:
            return;
        case BT_FLOW_JUMP:
            if (d->unit->physical_second)
                return;
            // Within the page, where the segment's base is the same for all of it.
            if (target - rip + offset >= 0x1000)
                return;
            offset = (unsigned)(target - rip + offset);
            continue;
        case BT_FLOW_CONDITIONAL:
            if (target > rip)
                break;
            if (target == d->unit->rip && !d->unit->physical_second)
                unroll(d);
            return; // the next round enters by a link that costs nothing
        case BT_FLOW_NEXT:
            if (ends_unit(d, g))
                return;
            break;
        }
        if (d->unit->physical_second || (d->unit->checked && bt_decode_stores(&g->decoded)))
            return;
        offset += length;
    }
}

// Code at rip without a translation that could raise: as far as the page goes, or NULL.
static const uint8_t *code_at(const BtDraft *d, const Work *work, uint64_t rip,
                              unsigned *ret_available)
{
    uint64_t linear = d->unit->linear + (rip - d->unit->rip);
    if (!bt_draft_long(d))
        linear = (uint32_t)linear;
    unsigned offset = linear & 0xfff;
    *ret_available = MIN(0x1000 - offset, 15u);
    if (linear >> 12 == d->unit->linear >> 12)
        return work->page + offset;
    BtCpu *cpu = d->cpu;
    const BtTlbEntry *entry =
        bt_tlb_entry(cpu->tlb[cpu->cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR], linear);
    if (entry->execute != (linear & ~UINT64_C(0xfff)) || !entry->addend)
        return NULL;
    return (const uint8_t *)(linear + entry->addend);
}

// The flags that the code at rip wants.
static uint32_t peek(BtDraft *d, Work *work, uint64_t rip, unsigned depth)
{
    BtGuestInsn *g = &work->peeked;
    uint32_t wanted = 0, set = 0;
    while (set != BT_STATUS_FLAGS && work->peeks) {
        work->peeks--;
        unsigned available;
        const uint8_t *code = code_at(d, work, rip, &available);
        int64_t distance = (int64_t)(rip - d->unit->rip);
        if (!code || distance != (int32_t)distance ||
            !bt_decode_operands(d->cpu, d->decoders, code, available, &g->decoded, &g->known))
            break;
        g->rip = (int32_t)distance;
        g->inverted = false;
        note_flags(g);
        note_fpu(g);
        wanted |= g->reads_flags & ~set;
        set |= g->writes_flags;
        rip = bt_draft_next_rip(d, g);
        uint64_t target;
        switch (bt_branch_flow(d, g, &target)) {
        case BT_FLOW_CONDITIONAL:
            if (!depth)
                return wanted | (BT_STATUS_FLAGS & ~set);
            wanted |= peek(d, work, target, depth - 1) & ~set;
            break;
        case BT_FLOW_JUMP:
        case BT_FLOW_CALL:
            rip = target;
            break;
        case BT_FLOW_END:
            return wanted | (BT_STATUS_FLAGS & ~set);
        case BT_FLOW_NEXT:
            if (!bt_runs_inline(d, g))
                return wanted | (BT_STATUS_FLAGS & ~set);
            break;
        }
    }
    return wanted | (BT_STATUS_FLAGS & ~set);
}

enum { PEEKS_PER_WAY = 12, PEEK_DEPTH = 1 };

static uint32_t wanted_at(BtDraft *d, Work *work, uint64_t rip)
{
    // A checked unit does not learn of changes elsewhere.
    if (d->t->options.exact_flags || d->unit->checked)
        return BT_STATUS_FLAGS;
    work->peeks = PEEKS_PER_WAY;
    return peek(d, work, rip, PEEK_DEPTH);
}

static void find_live_flags(BtDraft *d, Work *work)
{
    const BtGuestInsn *last = &d->insn[d->count - 1];
    bool exact = d->t->options.exact_flags;
    uint64_t target;
    uint32_t live = BT_STATUS_FLAGS;
    switch (bt_branch_flow(d, last, &target)) {
    case BT_FLOW_NEXT:
        if (!bt_runs_inline(d, last))
            break;
        // fall through
    case BT_FLOW_CONDITIONAL:
        live = wanted_at(d, work, bt_draft_next_rip(d, last));
        break;
    case BT_FLOW_JUMP:
    case BT_FLOW_CALL:
        live = wanted_at(d, work, target);
        break;
    case BT_FLOW_END:
        break;
    }
    for (unsigned i = d->count; i-- > 0;) {
        BtGuestInsn *g = &d->insn[i];
        BtFlow flow = bt_branch_flow(d, g, &target);
        if (flow == BT_FLOW_CONDITIONAL)
            live |= wanted_at(d, work, g->inverted ? bt_draft_next_rip(d, g) : target);
        g->live_after = exact ? BT_STATUS_FLAGS : live;
        if (flow == BT_FLOW_END || (flow == BT_FLOW_NEXT && !bt_runs_inline(d, g)))
            live = BT_STATUS_FLAGS;
        else
            live = g->reads_flags | (live & ~g->writes_flags);
        g->flags_live = live || exact;
    }
    // Other code, if its check finds that, may want them.
    d->insn[0].flags_live |= d->unit->checked;
}

// Whether the unit's end goes back, or anywhere.
static bool is_repeated(const BtDraft *d)
{
    if (d->t->unranged[bt_without_hash(d->unit)] == d->unit->rip)
        return false;
    const BtGuestInsn *last = &d->insn[d->count - 1];
    uint64_t target;
    switch (bt_branch_flow(d, last, &target)) {
    case BT_FLOW_CONDITIONAL:
    case BT_FLOW_JUMP:
        return target <= bt_draft_rip(d, last);
    case BT_FLOW_END:
        return last->decoded.insn.mnemonic == ZYDIS_MNEMONIC_JMP;
    default:
        return false;
    }
}

static int compare_runs(const void *a, const void *b)
{
    return ((const BtUnitRun *)a)->offset - ((const BtUnitRun *)b)->offset;
}

// Which bytes of the page the unit is made from, and a copy of them.
static bool note_bytes(BtDraft *d, const Work *work)
{
    BtUnit *unit = d->unit;
    BtUnitRun run[BT_UNIT_MAX];
    unsigned runs = 0;
    for (unsigned i = 0; i < d->count; i++) {
        unsigned offset = (unsigned)((int32_t)(unit->physical & 0xfff) + d->insn[i].rip);
        unsigned size = d->insn[i].decoded.insn.length;
        if (d->insn[i].varies)
            size -= d->insn[i].decoded.insn.raw.imm[0].size / 8;
        run[i] = (BtUnitRun){ (uint16_t)offset, (uint16_t)MIN(size, 0x1000 - offset) };
    }
    qsort(run, d->count, sizeof *run, compare_runs);
    for (unsigned i = 1; i < d->count; i++) {
        if (run[i].offset < run[runs].offset + run[runs].size)
            continue; // another round's
        if (run[i].offset == run[runs].offset + run[runs].size)
            run[runs].size += run[i].size;
        else
            run[++runs] = run[i];
    }
    unit->runs = (uint16_t)(runs + 1);
    unit->bytes = bt_units_data(d->t, unit->size, 1);
    unit->run = bt_units_data(d->t, unit->runs * sizeof *run, 2);
    if (!unit->bytes || !unit->run)
        return false;
    memcpy(unit->bytes, work->page + unit->low, unit->size);
    memcpy(unit->run, run, unit->runs * sizeof *run);
    return true;
}

void *bt_draft_space_new(void)
{
    return g_new(Work, 1);
}

BtUnit *bt_unit_form(BtCpu *cpu, const BtDecoders *decoders, const BtBlock *block, uint64_t linear,
                     uint64_t physical, const uint8_t *host)
{
    if (!host || physical >> 12 >= cpu->vm->page_count || cpu->code_bits == 16 ||
        (block->checked && block->size_second))
        return NULL;
    BtTranslator *t = cpu->translator;
    Work *work = t->draft;
    memset(work->seen, 0, sizeof work->seen);
    BtDraft *d = &work->draft;
    BtUnit *unit = bt_units_begin(cpu);
    *unit = (BtUnit){ .rip = cpu->rip, .linear = linear, .physical = physical,
                      .key = cpu->mode_key, .limit = cpu->segment[VCPU_CS].limit,
                      .checked = block->checked };
    d->cpu = cpu;
    d->t = t;
    d->unit = unit;
    d->unit_index = (uint32_t)(unit - t->unit);
    d->insn = work->insn;
    d->count = d->at = d->colds = 0;
    d->first_site = t->sites;
    d->fixups = 0;
    d->decoders = decoders;
    d->host = host;
    d->code = (HostCode){ t->writable + t->used, t->writable + t->size, false };

    memcpy(work->page, host, 0x1000);
    work->page_size = 0x1000;
    if (block->size_second) {
        unit->physical_second = block->physical_second;
        unit->fixed = true;
        unit->generation_second_at = &cpu->vm->code_generation[block->physical_second >> 12];
        memcpy(work->page + (physical & 0xfff), block->insn[0].bytes, block->size);
        work->page_size = 0x1000 + block->size_second;
    }
    take_instructions(d, work, physical & 0xfff);
    unit->count = (uint16_t)d->count;
    unit->generation_at = &cpu->vm->code_generation[physical >> 12];
    if (d->count == 0 || !note_bytes(d, work) || !bt_units_protect(cpu, unit, host))
        return NULL;
    d->repeats = is_repeated(d);
    bt_groups_plan(d);
    find_live_flags(d, work);
    unit->first_link = t->links;
    unit->first_site = t->sites;
    if (!bt_emit_unit(d) || !bt_fixups_keep(d))
        return NULL;
    unit->end = bt_draft_offset(d, d->code.at);
    unit->links = (uint16_t)(t->links - unit->first_link);
    unit->sites = (uint16_t)(t->sites - unit->first_site);
    uint32_t end = (unit->end + 15) & ~15u;
    cpu->stats.units[VCPU_UNIT_CODE] += end - t->used;
    t->used = end;
    bt_units_add(cpu, unit);
    return unit;
}
