// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses to guest memory in generated code: linear address, check, host address. The check is
// that of the place's range (bt-range.h); where it has none, or the range does not hold the
// address, the software TLB is looked up. What the TLB does not allow either (a miss, MMIO, a page
// with code or a breakpoint, an access over a page's end) leaves by a site (slow.c).
//
// The check is the second of bt-tlb.h: page and page crossing in one compare.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

static bool flat(const BtDraft *d, unsigned segment)
{
    return d->unit->key >> (BT_KEY_FLAT_SHIFT + segment) & 1;
}

// Whether an access through FS or GS keeps the segment's limit, outside of 64-bit mode.
static bool keeps_limit(const BtDraft *d, const BtInsn *address, unsigned bytes)
{
    uint32_t full = address->segment == VCPU_FS ? BT_KEY_FULL_FS : BT_KEY_FULL_GS;
    return address->base == BT_REG_ZERO && address->index == BT_REG_ZERO && bytes &&
           (d->unit->key & full) && (uint32_t)address->displacement <= UINT32_MAX - (bytes - 1);
}

bool bt_access_of_operand(const BtDraft *d, const BtGuestInsn *g, unsigned operand,
                          BtAccess *ret_access)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    const ZydisDecodedOperand *o = &g->decoded.operand[operand];
    if (insn->address_width == 16 || o->size == 0 || o->size > 512 ||
        o->mem.type != ZYDIS_MEMOP_TYPE_MEM)
        return false;
    BtInsn address = { .length = insn->length };
    bt_select_memory(o, &address);
    if (address.segment == VCPU_FS || address.segment == VCPU_GS) {
        if (!bt_draft_long(d) && !keeps_limit(d, &address, o->size / 8))
            return false;
    } else if (!flat(d, address.segment) || (address.segment == VCPU_CS && !bt_draft_long(d))) {
        return false; // a code segment cannot be written and may be unreadable
    }
    *ret_access = (BtAccess){
        .base = address.base, .index = address.index, .scale = address.scale,
        .displacement = address.displacement, .segment = address.segment,
        .address_size = (uint8_t)(insn->address_width / 8), .size = (uint8_t)(o->size / 8),
        .write = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE,
    };
    if (address.rip_relative) {
        ret_access->base = BT_REG_ZERO;
        ret_access->of_rip = true;
        ret_access->displacement =
            (int64_t)(bt_draft_next_rip(d, g) + (uint64_t)o->mem.disp.value);
    }
    return true;
}

void bt_emit_site(BtDraft *d, uint8_t *distance_at, unsigned flags, unsigned size,
                  const HostMemory *address)
{
    BtTranslator *t = d->t;
    uint32_t index = t->sites++;
    const BtGuestInsn *g = bt_draft_insn(d);
    t->site[index] = (BtSite){
        .unit = d->unit_index, .rip = g->rip, .retry = bt_draft_offset(d, g->start),
        .before = (uint16_t)d->at, .size = (uint16_t)size,
        .flags = (uint16_t)(flags | (d->flags == BT_FLAGS_SAVED ? BT_SITE_FLAGS_KEPT : 0) |
                           (bt_draft_in_shadow(d) ? BT_SITE_SHADOW : 0)),
        .open = d->open, .held_before = d->held_before, .held_after = HOST_NONE,
        .alignment = g->alignment,
    };
    d->site_insn[index - d->first_site] = (uint16_t)d->at;
    d->cold[d->colds++] = (BtCold){
        .kind = BT_COLD_SITE, .distance_at = distance_at, .site = index,
        .address_known = !address, .address = address ? *address : (HostMemory){ 0 },
        .x87_last = d->x87_last,
    };
}

// T1 = linear address.
static void emit_linear(BtDraft *d, const BtAccess *a)
{
    HostCode *c = &d->code;
    unsigned cut = bt_draft_long(d) && a->address_size == 8 ? 8 : 4;
    if (a->base == BT_REG_ZERO && a->index == BT_REG_ZERO) {
        uint64_t constant = (uint64_t)a->displacement;
        if (a->of_rip && cut == 8)
            bt_emit_of_rip(d, HOST_T1, constant);
        else
            host_load_constant(c, HOST_T1, cut == 8 ? constant : (uint32_t)constant);
        d->unit->fixed |= a->of_rip && cut != 8;
    } else {
        HostMemory m = { .base = HOST_NONE, .index = HOST_NONE, .scale = a->scale,
                         .displacement = (int32_t)a->displacement };
        if (a->base != BT_REG_ZERO) {
            m.base = (uint8_t)bt_host_of(a->base);
            if (m.base == HOST_NONE && d->hold && d->held == a->base) {
                m.base = HOST_T3;
            } else if (m.base == HOST_NONE) {
                host_load(c, 8, HOST_T1, BT_GPR_AT(a->base));
                m.base = HOST_T1;
            }
        }
        if (a->index != BT_REG_ZERO) {
            m.index = (uint8_t)bt_host_of(a->index);
            if (m.index == HOST_NONE && d->hold && d->held == a->index) {
                m.index = HOST_T3;
            } else if (m.index == HOST_NONE) {
                host_load(c, 8, HOST_T2, BT_GPR_AT(a->index));
                m.index = HOST_T2;
            }
        }
        if (m.index == HOST_NONE && m.displacement == 0 && cut == 8)
            host_move(c, HOST_T1, m.base);
        else
            host_lea(c, cut, HOST_T1, m);
    }
    if (a->segment == VCPU_FS || a->segment == VCPU_GS)
        host_op_memory(c, bt_draft_long(d) ? 8 : 4, 0x03, HOST_T1, // add T1, [base]
                       HOST_CPU_AT(offsetof(BtCpu, segment) +
                                   a->segment * sizeof(BtSegment) + offsetof(BtSegment, base)));
}

// ---- The checks ----

#define RANGE_AT(slot, field)                                                                      \
    HOST_CPU_AT(offsetof(BtCpu, range) + (slot) * sizeof(BtRange) + offsetof(BtRange, field))

// T2 = the entry for the linear address in T2. pushed: bytes that RSP is below BtCpu.
static void emit_entry(HostCode *c, unsigned pushed)
{
    host_shift(c, 8, 5, HOST_T2, 12 - BT_TLB_ENTRY_SHIFT);
    host_alu_constant(c, 4, 4, HOST_T2, (BT_TLB_SIZE - 1) << BT_TLB_ENTRY_SHIFT);
    host_op_memory(c, 8, 0x03, HOST_T2, HOST_CPU_AT(offsetof(BtCpu, data_tlb) + pushed));
}

// T2 is the entry. linear ^= tag; the jump is taken where the entry does not serve the access.
static uint8_t *emit_compare(HostCode *c, const BtAccess *a, unsigned linear)
{
    size_t tag = a->write ? offsetof(BtTlbEntry, write) : offsetof(BtTlbEntry, read);
    host_op_memory(c, 8, 0x33, linear, host_based(HOST_T2, (int32_t)tag));
    host_alu_constant(c, 8, 7, linear, 4096 - a->size);
    return host_jump_if(c, HOST_A);
}

// Jumps where the low bits of a register break the access's alignment.
static uint8_t *emit_if_misaligned(HostCode *c, const BtAccess *a, unsigned reg)
{
    host_op_registers(c, 1, 0xf6, 0, reg); // test
    host_byte(c, a->alignment);
    return host_jump_if(c, HOST_NE);
}

static void emit_addend(HostCode *c)
{
    host_load(c, 8, HOST_T2, host_based(HOST_T2, (int32_t)offsetof(BtTlbEntry, addend)));
}

static unsigned site_flags(const BtAccess *a)
{
    return a->write ? BT_SITE_WRITE : BT_SITE_READ;
}

// T2 is the linear address, a register with it is lost. T2 = addend.
static void emit_tlb_check(BtDraft *d, const BtAccess *a, unsigned linear,
                           const HostMemory *address)
{
    HostCode *c = &d->code;
    emit_entry(c, 0);
    uint8_t *miss = emit_compare(c, a, linear);
    bt_emit_site(d, miss, site_flags(a), a->size, address);
    if (a->alignment) // the offset in the page is what is left of the address
        bt_emit_site(d, emit_if_misaligned(c, a, linear), 0, 0, address);
    emit_addend(c);
}

static HostMemory range_length(unsigned slot, unsigned bytes)
{
    return RANGE_AT(slot, length[bt_range_extent(bytes)]);
}

// T2 is the linear address. T2 = addend. The TLB is looked up behind the straight code.
static void emit_range_check(BtDraft *d, const BtAccess *a, unsigned slot,
                             const HostMemory *address)
{
    HostCode *c = &d->code;
    host_op_memory(c, 8, 0x2b, HOST_T2, RANGE_AT(slot, start));  // sub
    host_op_memory(c, 8, 0x3b, HOST_T2, range_length(slot, a->size)); // cmp
    uint8_t *miss = host_jump_if(c, HOST_AE);
    bt_emit_site(d, miss, site_flags(a), a->size, address);
    BtCold *cold = &d->cold[d->colds - 1];
    if (a->alignment) // runs begin with a page
        bt_emit_site(d, emit_if_misaligned(c, a, HOST_T2), 0, 0, address);
    host_load(c, 8, HOST_T2, RANGE_AT(slot, addend));
    d->t->site[cold->site].range = (uint16_t)slot;
    cold->access = *a;
    cold->back = c->at;
}

// ---- The TLB behind the ranges ----

static void emit_xor_tag(HostCode *c, const BtAccess *a)
{
    size_t tag = a->write ? offsetof(BtTlbEntry, write) : offsetof(BtTlbEntry, read);
    host_op_memory(c, 8, 0x33, HOST_T1, host_based(HOST_T2, (int32_t)tag));
}

// The jumps out of a look-up that does not serve.
typedef struct {
    uint8_t *learn, *miss;
    uint8_t *misaligned; // NULL: none
} Lookup;

// With the linear address in T1: T2 = addend, T1 as it was. budget: of the slot whose range did not
// hold the address. pushed: as for emit_entry.
static Lookup emit_lookup(HostCode *c, const BtAccess *a, HostMemory budget, unsigned pushed)
{
    Lookup lookup = { NULL };
    host_op_memory(c, 2, 0xff, 1, budget); // dec
    lookup.learn = host_jump_if(c, HOST_S);
    host_move(c, HOST_T2, HOST_T1);
    emit_entry(c, pushed);
    lookup.miss = emit_compare(c, a, HOST_T1);
    if (a->alignment)
        lookup.misaligned = emit_if_misaligned(c, a, HOST_T1);
    emit_xor_tag(c, a);
    emit_addend(c);
    return lookup;
}

// Where those jumps lead. T1 is the linear address.
static void emit_lookup_failed(HostCode *c, const BtAccess *a, const Lookup *lookup)
{
    if (c->full)
        return;
    host_reach(lookup->miss, c->at);
    if (lookup->misaligned)
        host_reach(lookup->misaligned, c->at);
    emit_xor_tag(c, a);
    if (!c->full)
        host_reach(lookup->learn, c->at);
}

enum { JUMP_SIZE = 5 };

// A look-up that all places call which have nothing special, with the slot's offset in T2. Returns;
// else on to the slow thunk, with the site's number behind the jump that is behind the call.
static void emit_lookup_thunk(BtTranslator *t, HostCode *c, const BtAccess *access)
{
    enum { PUSHED = 8 };
    HostMemory at = HOST_CPU_AT(offsetof(BtCpu, range) + offsetof(BtRange, budget) + PUSHED);
    at.index = HOST_T2;
    Lookup lookup = emit_lookup(c, access, at, PUSHED);
    host_byte(c, 0xc3); // ret
    emit_lookup_failed(c, access, &lookup);
    host_op_memory(c, 8, 0x83, 0, host_based(HOST_RSP, 0)); // add [rsp], JUMP_SIZE
    host_byte(c, JUMP_SIZE);
    host_reach(host_jump(c), t->writable + t->slow);
}

void bt_lookup_thunks_emit(BtTranslator *t, HostCode *c)
{
    for (unsigned write = 0; write < 2; write++) {
        for (unsigned shift = 0; shift < BT_LOOKUP_SIZES; shift++) {
            t->lookup[write][shift] = (uint32_t)(c->at - t->writable);
            emit_lookup_thunk(t, c, &(BtAccess){ .size = (uint16_t)(1u << shift), .write = write });
        }
    }
}

bool bt_emit_cold_access(BtDraft *d, const BtCold *cold)
{
    HostCode *c = &d->code;
    const BtAccess *a = &cold->access;
    unsigned slot = d->t->site[cold->site].range;
    if (!slot)
        return false;
    unsigned shift = (unsigned)__builtin_ctz(a->size);
    bool calls = !a->alignment && !cold->x87_last.present && shift < BT_LOOKUP_SIZES &&
                 a->size == 1u << shift;
    Lookup lookup;
    if (calls) {
        host_load_constant(c, HOST_T2, slot * sizeof(BtRange));
        bt_reach_thunk(d, host_call(c), d->t->lookup[a->write][shift]);
    } else {
        lookup = emit_lookup(c, a, RANGE_AT(slot, budget), 0);
    }
    uint8_t *behind = c->at;
    uint8_t *hit = host_jump(c);
    g_assert(c->full || c->at - behind == JUMP_SIZE);
    if (!c->full)
        host_reach(hit, cold->back);
    if (!calls)
        emit_lookup_failed(c, a, &lookup);
    return calls;
}

// Different places may come to the same slot, but never a store to one that is filled for loads.
static unsigned hashed_slot(const BtDraft *d, uint64_t what, bool stores)
{
    uint64_t hash = what * UINT64_C(0x9e3779b97f4a7c15) >> 32;
    return BT_RANGE_HASHED + 2 * (unsigned)(hash % d->t->options.ranges) + stores;
}

// The slot of an access, 0: none. Those that RSP leads to have one for all units: a slot for
// stores, as a stack is read and written; so do constant addresses that lie together. Others share
// it within the unit where base and index come from the same values. A kernel's accesses but those
// to its stack go all over memory: there the TLB serves better. Slots of CPL 3 have nobody else.
// stores: the check is to allow a store.
static unsigned slot_of(const BtDraft *d, const BtAccess *a, bool stores)
{
    enum { CONSTANT_SHIFT = 15, OFFSET_SHIFT = 12 };
    bool user = d->unit->key & BT_KEY_USER;
    if (a->base == VCPU_RSP && a->segment <= VCPU_DS)
        return user ? BT_RANGE_USER_STACK : BT_RANGE_KERNEL_STACK;
    if (!user)
        return 0;
    if (a->segment > VCPU_DS)
        return hashed_slot(d, a->segment, stores);
    if (a->base == BT_REG_ZERO && a->index == BT_REG_ZERO)
        return hashed_slot(d, (uint64_t)a->displacement >> CONSTANT_SHIFT << 4 | 8, stores);
    if (!d->repeats)
        return 0;
    const BtPlace *place = &d->place[d->at][a->write];
    uint64_t about = place->planned ? place->roots : 0;
    uint64_t offset = ((uint64_t)a->displacement + (1u << (OFFSET_SHIFT - 1))) >> OFFSET_SHIFT;
    return hashed_slot(d, d->unit->linear ^ about << 20 ^ about >> 30 ^ offset << 36, stores);
}

// ---- ----

// What is checked for an access: itself, or the window of its group.
typedef struct {
    BtAccess access;
    BtPlace *place; // NULL: itself
    BtGroup *group;
    int32_t back;   // from the access to the window's first byte: 0 or less
} Check;

static Check choose_check(BtDraft *d, const BtAccess *a)
{
    Check check = { .access = *a, .place = bt_group_place(d, a) };
    if (!check.place)
        return check;
    check.group = &d->group[check.place->group];
    check.access.size = (uint16_t)(check.group->high - check.group->low);
    check.access.write = check.group->write;
    check.access.alignment = 0; // tested apart
    check.back = (int32_t)(check.group->low - check.place->offset);
    if (!check.group->checked && check.back + a->displacement < INT32_MIN) {
        check = (Check){ .access = *a };
        d->place[d->at][a->write].group = BT_GROUP_NONE;
    }
    return check;
}

static HostMemory group_addend(const Check *check)
{
    return HOST_CPU_AT(offsetof(BtCpu, unit_group) + 8 * (size_t)check->place->group);
}

// The address is in `reg`. Uses nothing.
static void emit_group_alignment(BtDraft *d, const Check *check, unsigned reg)
{
    const BtAccess *a = &check->place->access;
    if (bt_group_aligned(d, check->place))
        return;
    bt_emit_site(d, emit_if_misaligned(&d->code, a, reg), 0, 0, NULL);
    check->group->alignment = a->alignment;
    check->group->aligned = check->place->offset;
}

// The site that the window's check has made.
static void note_window(BtDraft *d, const Check *check)
{
    BtSite *site = &d->t->site[d->t->sites - 1];
    site->flags |= BT_SITE_GROUP;
    if (check->group->write && !check->place->access.write)
        site->flags ^= BT_SITE_READ | BT_SITE_WRITE | BT_SITE_STORES;
    site->delta = (uint16_t)-check->back;
    // Also where another access of the instruction, before this one, has to be done in C: what
    // follows counts on the window.
    for (uint32_t i = d->t->sites; i > d->first_site; i--) {
        if (d->site_insn[i - 1 - d->first_site] != d->at)
            break;
        d->t->site[i - 1].flags |= BT_SITE_LEAVES;
    }
    host_store(&d->code, 8, group_addend(check), HOST_T2);
    check->group->checked = true;
}

static void emit_load_simple(HostCode *c, unsigned to, HostMemory address)
{
    if (address.displacement)
        host_lea(c, 8, to, address);
    else
        host_move(c, to, address.base);
}

// An address of a register and a constant.
static void emit_simple_access(BtDraft *d, HostMemory address, Check *check, unsigned slot,
                               HostMemory *ret_memory)
{
    HostCode *c = &d->code;
    *ret_memory = host_indexed(address.base, HOST_T2, address.displacement);
    if (check->group && !bt_group_aligned(d, check->place)) {
        emit_load_simple(c, HOST_T1, address);
        emit_group_alignment(d, check, HOST_T1);
    }
    if (check->group && check->group->checked) {
        host_load(c, 8, HOST_T2, group_addend(check));
        return;
    }
    address.displacement += check->back;
    if (slot) {
        emit_load_simple(c, HOST_T2, address);
        emit_range_check(d, &check->access, slot, &address);
    } else {
        emit_load_simple(c, HOST_T1, address);
        host_move(c, HOST_T2, HOST_T1);
        emit_tlb_check(d, &check->access, HOST_T1, &address);
    }
    if (check->group)
        note_window(d, check);
}

void bt_emit_access(BtDraft *d, const BtAccess *a, HostMemory *ret_memory)
{
    HostCode *c = &d->code;
    unsigned base = a->base == BT_REG_ZERO ? HOST_NONE : bt_host_of(a->base);
    bool may_hold = d->hold && a->base != BT_REG_ZERO; // then T3 may be the base
    bool simple = (base != HOST_NONE || may_hold) && a->index == BT_REG_ZERO && bt_draft_long(d) &&
                  a->address_size == 8 && a->segment != VCPU_FS && a->segment != VCPU_GS;
    Check check = choose_check(d, a);
    bool served = check.group && check.group->checked;
    if (!served && bt_group_quiet(d)) // foreseen otherwise: flags are not kept
        c->full = true;
    unsigned slot = !served ? slot_of(d, a, check.access.write) : 0;
    if (simple) {
        if (base == HOST_NONE) {
            bt_emit_hold(d, a->base);
            base = HOST_T3;
        }
        emit_simple_access(d, host_based(base, (int32_t)a->displacement), &check, slot, ret_memory);
        return;
    }
    emit_linear(d, a);
    *ret_memory = host_indexed(HOST_T1, HOST_T2, -check.back);
    if (check.group)
        emit_group_alignment(d, &check, HOST_T1);
    if (served) {
        host_load(c, 8, HOST_T2, group_addend(&check));
        ret_memory->displacement = 0;
        return;
    }
    if (check.back)
        host_lea(c, bt_draft_width(d), HOST_T1, host_based(HOST_T1, check.back));
    host_move(c, HOST_T2, HOST_T1);
    if (slot) {
        emit_range_check(d, &check.access, slot, NULL);
    } else {
        host_move(c, HOST_T3, HOST_T1);
        d->held = HOST_NONE;
        emit_tlb_check(d, &check.access, HOST_T3, NULL);
    }
    if (check.group)
        note_window(d, &check);
}
