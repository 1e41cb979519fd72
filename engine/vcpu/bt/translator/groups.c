// SPDX-License-Identifier: GPL-2.0-or-later
// Groups: accesses of a unit that lie beside one another, so that one check serves all of them:
// fields of a structure, slots of the stack, the turns of an unrolled loop.
//
// The plan follows what each general register is made of: the value that it, or another register,
// had at some place of the unit, plus a constant. Accesses whose base and index come from the same
// values are a group where they all lie within WINDOW bytes; with a store among them the window
// must allow stores, which implies loads. The first that is emitted checks the whole window
// (emit-memory.c) and leaves the addend in cpu->unit_group; the others just use it. That is right
// until C is called for an instruction that may change translations, so nothing is grouped over a
// call-out; a site runs only what an access may need, and what it takes from the TLB the guest's
// own TLB might still have held.
//
// A window that neither a range nor a TLB entry serves (over the end of a page, in a device, beside
// code) is not for groups: the instruction runs in C and the unit is left. A unit where that
// happens often is dropped and made again without groups (bt_groups_failed).
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

enum { WINDOW = 512, MOST_FAILURES = 64 };

// What a register holds: root + offset.
typedef struct {
    uint16_t root;
    int64_t offset;
} Value;

typedef struct {
    Value value[16];
    uint16_t roots;
    unsigned open; // groups before this one take no more
    bool grouping;
} Plan;

static int64_t cut(const BtDraft *d, int64_t value)
{
    return bt_draft_long(d) ? value : (int32_t)value;
}

// ---- Registers ----

static void set_unknown(Plan *p, unsigned reg)
{
    p->value[reg] = (Value){ .root = p->roots++ };
}

static void set_sum(const BtDraft *d, Plan *p, unsigned reg, unsigned from, int64_t constant)
{
    p->value[reg] = (Value){ p->value[from].root,
                             cut(d, (int64_t)((uint64_t)p->value[from].offset +
                                              (uint64_t)constant)) };
}

static void forget(Plan *p)
{
    for (unsigned i = 0; i < 16; i++)
        set_unknown(p, i);
}

static int whole_register(const BtDraft *d, const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || o->size != 8 * bt_draft_width(d))
        return -1;
    return bt_general_register(o->reg.value);
}

// Instructions that leave a register as another one plus a constant.
static bool follow_sum(const BtDraft *d, Plan *p, const BtGuestInsn *g)
{
    const ZydisDecodedOperand *o = g->decoded.operand;
    unsigned width = bt_draft_width(d);
    int to = whole_register(d, &o[0]);
    switch (g->decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        if (to < 0 || o[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
            return false;
        set_sum(d, p, (unsigned)to, (unsigned)to,
                g->decoded.insn.mnemonic == ZYDIS_MNEMONIC_ADD ? o[1].imm.value.s
                                                               : -o[1].imm.value.s);
        return true;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        if (to < 0)
            return false;
        set_sum(d, p, (unsigned)to, (unsigned)to,
                g->decoded.insn.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1);
        return true;
    case ZYDIS_MNEMONIC_MOV: {
        int from = whole_register(d, &o[1]);
        if (to < 0 || from < 0)
            return false;
        set_sum(d, p, (unsigned)to, (unsigned)from, 0);
        return true;
    }
    case ZYDIS_MNEMONIC_LEA: {
        BtInsn address = { .length = g->decoded.insn.length };
        bt_select_memory(&o[1], &address);
        if (to < 0 || g->decoded.insn.address_width != 8 * width || address.base > 15 ||
            address.index != BT_REG_ZERO)
            return false;
        set_sum(d, p, (unsigned)to, address.base, address.displacement);
        return true;
    }
    case ZYDIS_MNEMONIC_PUSH:
        if (!bt_stack_is_plain(d))
            return false;
        set_sum(d, p, VCPU_RSP, VCPU_RSP, -(g->decoded.insn.operand_width / 8));
        return true;
    case ZYDIS_MNEMONIC_POP:
        if (!bt_stack_is_plain(d))
            return false;
        set_sum(d, p, VCPU_RSP, VCPU_RSP, g->decoded.insn.operand_width / 8);
        if (o[0].type == ZYDIS_OPERAND_TYPE_REGISTER && bt_general_register(o[0].reg.value) >= 0)
            set_unknown(p, (unsigned)bt_general_register(o[0].reg.value));
        return true;
    case ZYDIS_MNEMONIC_LEAVE:
        if (!bt_stack_is_plain(d) || g->decoded.insn.operand_width != 8 * width)
            return false;
        set_sum(d, p, VCPU_RSP, VCPU_RBP, (int64_t)width);
        set_unknown(p, VCPU_RBP);
        return true;
    default:
        return false;
    }
}

static void follow(const BtDraft *d, Plan *p, const BtGuestInsn *g)
{
    if (follow_sum(d, p, g))
        return;
    for (unsigned i = 0; i < g->decoded.insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &g->decoded.operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        int reg = bt_general_register(o->reg.value);
        if (reg >= 0)
            set_unknown(p, (unsigned)reg & 15); // AH..BH are 20..23: one more than needed is lost
        if (reg >= 20)
            set_unknown(p, (unsigned)reg - 20);
    }
}

// ---- Accesses ----

static void plan_access(BtDraft *d, Plan *p, unsigned insn, const BtAccess *a)
{
    BtPlace *place = &d->place[insn][a->write];
    place->access = *a;
    place->planned = true;
    place->group = BT_GROUP_NONE;
    Value base = a->base == BT_REG_ZERO ? (Value){ 0 } : p->value[a->base];
    Value index = a->index == BT_REG_ZERO ? (Value){ 0 } : p->value[a->index];
    place->offset = cut(d, (int64_t)((uint64_t)a->displacement + (uint64_t)base.offset +
                                     ((uint64_t)index.offset << a->scale)));
    place->roots = base.root | (uint64_t)index.root << 16 | (uint64_t)a->scale << 32 |
                   (uint64_t)a->of_rip << 48;
    if (!p->grouping || a->address_size != bt_draft_width(d) || a->segment > VCPU_DS)
        return;
    if (a->displacement != (int32_t)a->displacement) // of RIP; the code is near
        return;
    if (place->offset > INT64_MAX - 2 * WINDOW || place->offset < INT64_MIN + 2 * WINDOW)
        return;
    for (unsigned i = p->open; i < d->groups; i++) {
        BtGroup *group = &d->group[i];
        int64_t low = MIN(group->low, place->offset);
        int64_t high = MAX(group->high, place->offset + a->size);
        if (group->roots != place->roots || (uint64_t)high - (uint64_t)low > WINDOW)
            continue;
        group->low = low;
        group->high = high;
        group->count++;
        group->write |= a->write;
        place->group = (uint8_t)i;
        return;
    }
    if (d->groups == BT_GROUPS)
        return;
    d->group[d->groups] = (BtGroup){ .roots = place->roots, .low = place->offset,
                                     .high = place->offset + a->size, .count = 1,
                                     .write = a->write };
    place->group = (uint8_t)d->groups++;
}

static void plan_accesses(BtDraft *d, Plan *p, unsigned insn)
{
    const BtGuestInsn *g = &d->insn[insn];
    const ZydisDecodedInstruction *decoded = &g->decoded.insn;
    BtAccess a;
    if (!g->known || bt_copy_is_nothing(decoded->mnemonic))
        return;
    if (g->memory != 0xff && bt_access_of_operand(d, g, g->memory, &a)) {
        a.alignment = g->alignment;
        plan_access(d, p, insn, &a);
    }
    unsigned size = decoded->operand_width / 8;
    a = bt_stack_access(d, VCPU_RSP, 0, size, false);
    switch (decoded->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_CALL:
        a.write = true;
        a.displacement = -(int64_t)size;
        break;
    case ZYDIS_MNEMONIC_LEAVE:
        a.base = VCPU_RBP;
        break;
    case ZYDIS_MNEMONIC_POP:
    case ZYDIS_MNEMONIC_RET:
        break;
    default:
        return;
    }
    if (!d->place[insn][a.write].planned)
        plan_access(d, p, insn, &a);
}

// Runs without C, and changes neither segments nor translations.
static bool is_plain(const BtDraft *d, const BtGuestInsn *g)
{
    if (!bt_runs_inline(d, g) || bt_system_known(d, g))
        return false;
    for (unsigned i = 0; i < g->decoded.insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &g->decoded.operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(o->reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT:
        case ZYDIS_REGCLASS_CONTROL:
        case ZYDIS_REGCLASS_DEBUG:
            return false;
        default:
            break;
        }
    }
    return true;
}

void bt_groups_plan(BtDraft *d)
{
    Plan p = { .roots = 1 }; // 0: a register that is not there
    memset(d->place, 0, sizeof d->place);
    d->groups = 0;
    p.grouping =
        d->t->options.groups && d->t->ungrouped[bt_without_hash(d->unit)] != d->unit->rip;
    forget(&p);
    for (unsigned i = 0; i < d->count; i++) {
        const BtGuestInsn *g = &d->insn[i];
        uint64_t target;
        if (is_plain(d, g) || bt_branch_flow(d, g, &target) != BT_FLOW_NEXT) {
            plan_accesses(d, &p, i);
            follow(d, &p, g);
        } else {
            forget(&p);
            p.open = d->groups;
        }
    }
    for (unsigned i = 0; i < d->groups; i++)
        d->group[i].off = d->group[i].count < 2;
}

BtPlace *bt_group_place(BtDraft *d, const BtAccess *a)
{
    BtPlace *place = &d->place[d->at][a->write];
    const BtAccess *planned = &place->access;
    if (!place->planned || place->group == BT_GROUP_NONE || d->group[place->group].off ||
        planned->base != a->base || planned->index != a->index || planned->scale != a->scale ||
        planned->of_rip != a->of_rip ||
        planned->displacement != a->displacement || planned->size != a->size ||
        planned->segment != a->segment || planned->address_size != a->address_size)
        return NULL;
    return place;
}

bool bt_group_aligned(const BtDraft *d, const BtPlace *place)
{
    const BtGroup *group = &d->group[place->group];
    unsigned mask = place->access.alignment;
    return (group->alignment & mask) == mask &&
           !((uint64_t)(place->offset - group->aligned) & mask);
}

// Only for instructions whose one access the plan knows just as their emitter does.
bool bt_group_quiet(const BtDraft *d)
{
    const BtGuestInsn *g = &d->insn[d->at];
    ZydisMnemonic mnemonic = g->decoded.insn.mnemonic;
    if (!is_plain(d, g) || bt_divide_known(&g->decoded.insn) || bt_opens(d) ||
        mnemonic == ZYDIS_MNEMONIC_FLDCW ||
        (mnemonic == ZYDIS_MNEMONIC_PUSH && g->memory != 0xff))
        return false;
    const BtPlace *place = &d->place[d->at][d->place[d->at][1].planned];
    if (!place->planned || place->group == BT_GROUP_NONE)
        return false;
    const BtGroup *group = &d->group[place->group];
    return group->checked && !group->off && bt_group_aligned(d, place);
}

void bt_groups_failed(BtCpu *cpu, BtUnit *unit)
{
    if (++unit->group_failures != MOST_FAILURES)
        return;
    bt_units_make_anew(cpu, unit, cpu->translator->ungrouped);
    cpu->stats.units[VCPU_UNIT_DROPPED_REGROUP]++;
}
