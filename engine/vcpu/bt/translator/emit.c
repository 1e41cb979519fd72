// SPDX-License-Identifier: GPL-2.0-or-later
// A unit's code from its first byte to its last: entry, the instructions in their order, then what
// is rarely run: guards of links, stubs that leave, calls of C.
#include "engine/vcpu/bt/translator/draft.h"

// instructions += by, flags as they were.
static void emit_count_quietly(BtDraft *d, int by)
{
    HostCode *c = &d->code;
    host_load(c, 8, HOST_T1, HOST_CPU(instructions));
    host_lea(c, 8, HOST_T1, host_based(HOST_T1, by));
    host_store(c, 8, HOST_CPU(instructions), HOST_T1);
}

static void emit_count(BtDraft *d)
{
    HostCode *c = &d->code;
    if (d->insn[0].flags_live && d->flags == BT_FLAGS_NATIVE) {
        emit_count_quietly(d, (int)d->count);
        return;
    }
    host_op_memory(c, 8, 0x83, 0, HOST_CPU(instructions)); // add [instructions], count
    host_byte(c, d->count);
}

_Static_assert(BT_UNIT_MAX < 128, "emit_count");

// Leaves to `rip` where a request waits that can be served.
static void emit_poll(BtDraft *d, bool flags_live, uint64_t rip, unsigned rest)
{
    HostCode *c = &d->code;
    uint8_t *leave;
    if (d->t->options.poll_always && rip == d->unit->rip) {
        leave = host_jump(c);
    } else if (!flags_live) {
        host_load(c, 4, HOST_T1, HOST_CPU(request_mask));
        host_op_memory(c, 4, 0x85, HOST_T1, HOST_CPU(request)); // test [request], T1
        leave = host_jump_if(c, HOST_NE);
    } else {
        host_move(c, HOST_T1, HOST_RCX);
        host_load(c, 4, HOST_RCX, HOST_CPU(request));
        if (d->t->bmi2) { // else it leaves for every request, and comes back
            host_bytes(c, "\xc4\xe2\x72\xf5", 4); // pext ecx, ecx, [request_mask]
            host_modrm(c, HOST_RCX, HOST_CPU(request_mask));
        }
        uint8_t *none = host_skip_if_rcx_zero(c);
        host_move(c, HOST_RCX, HOST_T1);
        leave = host_jump(c);
        host_skip_end(c, none);
        host_move(c, HOST_RCX, HOST_T1);
    }
    d->cold[d->colds++] = (BtCold){ .kind = BT_COLD_LINK, .distance_at = leave, .rip = rip,
                                    .poll = true, .rest = rest,
                                    .flags_saved = d->flags == BT_FLAGS_SAVED };
}

void bt_emit_call_out(BtDraft *d)
{
    HostCode *c = &d->code;
    bt_emit_flags_native(d, HOST_T1);
    const BtGuestInsn *g = bt_draft_insn(d);
    BtCallOut *call_out = bt_call_out_new(d->cpu, d->decoders, g->decoded.bytes,
                                          g->decoded.insn.length, bt_draft_rip(d, g));
    if (!call_out) {
        c->full = true;
        return;
    }
    d->open = 0; // the instruction may change what is
    d->held = HOST_NONE;
    call_out->rest = d->count - d->at - 1;
    call_out->shadow = bt_draft_in_shadow(d);
    host_load_constant(c, HOST_T1, (uintptr_t)call_out);
    bt_note_fixup(d, BT_FIXUP_CALL_OUT);
    d->unit->fixed |= (uintptr_t)call_out <= UINT32_MAX; // a shorter form
    bt_reach_thunk(d, host_call(c), d->t->call_out);
}

// ---- Behind the straight code ----

static void emit_leave_by(BtDraft *d, uint32_t link)
{
    HostCode *c = &d->code;
    host_load_constant(c, HOST_T2, link);
    bt_note_fixup(d, BT_FIXUP_LINK);
    bt_reach_thunk(d, host_jump(c), d->t->leave);
}

// In the unit's page for sure, all of the instruction there included.
static bool in_unit_page(const BtDraft *d, uint64_t rip)
{
    uint64_t linear = d->unit->linear + (rip - d->unit->rip);
    if (!bt_draft_long(d))
        linear = (uint32_t)linear;
    return linear >> 12 == d->unit->linear >> 12 && (linear & 0xfff) <= 0x1000 - 15;
}

// Goes to the stub where the epoch is not the one that the link was made in; returns that jump.
static uint8_t *emit_guard(BtDraft *d, BtLink *link, bool flags_live)
{
    HostCode *c = &d->code;
    HostMemory epoch = HOST_CPU_AT(offsetof(BtCpu, chain_key) + 4);
    if (!flags_live) {
        host_load(c, 4, HOST_T1, epoch);
        host_bytes(c, "\x41\x81\xc4", 3); // add r12d, -epoch
        link->guard = bt_draft_offset(d, c->at);
        host_32(c, 0);
        return host_jump_if(c, HOST_NE);
    }
    host_move(c, HOST_T1, HOST_RCX);
    host_load(c, 4, HOST_RCX, epoch);
    host_bytes(c, "\x8d\x89", 2); // lea ecx, [rcx - epoch]
    link->guard = bt_draft_offset(d, c->at);
    host_32(c, 0);
    uint8_t *fresh = host_skip_if_rcx_zero(c);
    host_move(c, HOST_RCX, HOST_T1);
    uint8_t *stale = host_jump(c);
    host_skip_end(c, fresh);
    host_move(c, HOST_RCX, HOST_T1);
    return stale;
}

static uint32_t new_link(BtDraft *d, uint64_t rip)
{
    uint32_t index = d->t->links++;
    d->t->link[index] = (BtLink){ .rip = rip, .unit = d->unit_index,
                                  .backward = rip <= d->unit->rip };
    return index;
}

// What goes before a link's jump. Returns the guard's, or NULL.
static uint8_t *emit_link_head(BtDraft *d, BtLink *link, unsigned rest, bool flags_live)
{
    if (rest)
        emit_count_quietly(d, -(int)rest);
    return in_unit_page(d, link->rip) ? NULL : emit_guard(d, link, flags_live);
}

static void emit_stub(BtDraft *d, uint32_t index)
{
    BtLink *link = &d->t->link[index];
    link->stub = bt_draft_offset(d, d->code.at);
    if (link->saved)
        bt_emit_flags_restore(&d->code, HOST_T1);
    emit_leave_by(d, index);
}

void bt_emit_link(BtDraft *d, uint64_t rip)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    bool flags_live = g->live_after != 0;
    uint32_t index = new_link(d, rip);
    BtLink *link = &d->t->link[index];
    link->saved = flags_live && d->flags == BT_FLAGS_SAVED;
    uint8_t *stale = emit_link_head(d, link, d->count - d->at - 1, flags_live && !link->saved);
    uint8_t *distance_at = host_jump(&d->code);
    link->distance = bt_draft_offset(d, distance_at);
    d->cold[d->colds++] = (BtCold){ .kind = BT_COLD_STUB, .distance_at = distance_at,
                                    .stale = stale, .link = index };
}

static void emit_cold_stub(BtDraft *d, const BtCold *cold)
{
    host_reach(cold->distance_at, d->code.at);
    if (cold->stale)
        host_reach(cold->stale, d->code.at);
    emit_stub(d, cold->link);
}

// A conditional branch's way, or the poll's.
static void emit_cold_link(BtDraft *d, const BtCold *cold)
{
    HostCode *c = &d->code;
    uint32_t index = new_link(d, cold->rip);
    BtLink *link = &d->t->link[index];
    host_reach(cold->distance_at, c->at);
    if (cold->poll) {
        link->saved = cold->flags_saved;
        if (cold->rest)
            emit_count_quietly(d, -(int)cold->rest);
        emit_stub(d, index); // never patched
    } else if (cold->rest == 0 && in_unit_page(d, cold->rip)) {
        link->distance = bt_draft_offset(d, cold->distance_at);
        emit_stub(d, index);
    } else {
        uint8_t *stale = emit_link_head(d, link, cold->rest, cold->flags_live);
        uint8_t *distance_at = host_jump(c);
        link->distance = bt_draft_offset(d, distance_at);
        if (c->full)
            return;
        host_reach(distance_at, c->at);
        if (stale)
            host_reach(stale, c->at);
        emit_stub(d, index);
    }
}

static void emit_cold_site(BtDraft *d, const BtCold *cold)
{
    HostCode *c = &d->code;
    host_reach(cold->distance_at, c->at);
    if (!cold->address_known)
        host_lea(c, 8, HOST_T1, cold->address);
    if (!bt_emit_cold_access(d, cold)) {
        bt_emit_note_x87(d, cold->x87_last);
        bt_reach_thunk(d, host_call(c), d->t->slow);
    }
    host_32(c, cold->site);
    bt_note_fixup(d, BT_FIXUP_SITE);
}

static bool emit_inline(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    if (!g->known)
        return false;
    if (g->memory == 0xff && bt_flags_wanted_native(g))
        bt_emit_flags_native(d, HOST_T1);
    if (bt_emit_copy(d) || bt_emit_stack(d) || bt_emit_divide(d))
        return true;
    // The others use T3 for what they like, but a conditional branch, which uses nothing.
    uint64_t target;
    uint8_t held = bt_branch_flow(d, g, &target) == BT_FLOW_CONDITIONAL ? d->held : HOST_NONE;
    d->held = HOST_NONE;
    bool done = bt_emit_simd(d) || bt_emit_x87(d) || bt_emit_branch(d) || bt_emit_system(d);
    d->held = done ? held : HOST_NONE;
    return done;
}

// Before the unit can be left other than by a site.
static void settle(BtDraft *d)
{
    if (d->x87_last.present)
        d->held = HOST_NONE;
    bt_emit_settle_x87(d);
}

static void emit_insn(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    if (!bt_runs_inline(d, g))
        settle(d);
    g->start = d->code.at;
    d->held_before = d->held;
    uint32_t sites = d->t->sites;
    if (emit_inline(d)) {
        if (g->changes_flags)
            d->flags = BT_FLAGS_NATIVE;
    } else {
        settle(d);
        bt_emit_call_out(d);
    }
    for (uint32_t i = sites; i < d->t->sites; i++)
        d->t->site[i].held_after = d->held;
}

// The first instruction that has to do with flags is one whose check changes them: then the unit
// begins with saved flags, however it is entered.
static bool saves_first(const BtDraft *d)
{
    for (unsigned i = 0; i < d->count; i++) {
        const BtGuestInsn *g = &d->insn[i];
        ZydisMnemonic mnemonic = g->decoded.insn.mnemonic;
        uint64_t target;
        BtFlow flow = bt_branch_flow(d, g, &target);
        if (!g->known || g->changes_flags || g->reads_flags)
            return false;
        if (flow == BT_FLOW_JUMP)
            continue;
        if (flow != BT_FLOW_NEXT)
            return bt_branch_known(d, g);
        if (!bt_runs_inline(d, g))
            return false;
        if (g->memory != 0xff && mnemonic != ZYDIS_MNEMONIC_LEA && !bt_copy_is_nothing(mnemonic))
            return true;
        if (mnemonic == ZYDIS_MNEMONIC_PUSH || mnemonic == ZYDIS_MNEMONIC_POP)
            return true;
    }
    return false;
}

// The entries, or that for saved flags alone: then the others follow behind all code.
static void emit_entries(BtDraft *d)
{
    HostCode *c = &d->code;
    BtUnit *unit = d->unit;
    bool live = d->insn[0].flags_live;
    unit->saved = bt_draft_offset(d, c->at);
    if (live && (unit->checked || saves_first(d))) {
        d->flags = BT_FLAGS_SAVED;
        emit_poll(d, false, unit->rip, 0);
        return;
    }
    if (live)
        bt_emit_flags_restore(c, HOST_T1);
    unit->entry = bt_draft_offset(d, c->at);
    emit_poll(d, live, unit->rip, 0);
    unit->forward = bt_draft_offset(d, c->at);
}

// to: the code for saved flags, with the poll or behind it.
static uint32_t emit_saving_entry(BtDraft *d, const uint8_t *to)
{
    uint32_t entry = bt_draft_offset(d, d->code.at);
    bt_emit_flags_save(d);
    host_reach(host_jump(&d->code), to);
    return entry;
}

bool bt_emit_unit(BtDraft *d)
{
    HostCode *c = &d->code;
    BtTranslator *t = d->t;
    d->open = 0;
    d->x87_last = (BtX87Last){ .present = false };
    d->flags = BT_FLAGS_NATIVE;
    d->held = HOST_NONE;
    d->hold = false;
    emit_entries(d);
    const uint8_t *polled = c->at;
    bool begins_saved = d->flags == BT_FLAGS_SAVED;
    emit_count(d);
    bt_emit_check(d);
    for (d->at = 0; d->at < d->count; d->at++) {
        emit_insn(d);
        if (bt_draft_in_shadow(d)) {
            BtGuestInsn *g = bt_draft_insn(d);
            settle(d);
            g->poll = c->at;
            if (g->live_after)
                bt_emit_flags_native(d, HOST_T1);
            emit_poll(d, g->live_after != 0, bt_draft_next_rip(d, g), d->count - d->at - 1);
        }
    }
    const uint8_t *end = c->at;
    const BtGuestInsn *last = &d->insn[d->count - 1];
    d->at = d->count - 1;
    uint64_t target;
    BtFlow flow = bt_branch_flow(d, last, &target);
    settle(d);
    if (flow == BT_FLOW_NEXT || flow == BT_FLOW_CONDITIONAL)
        bt_emit_link(d, bt_draft_next_rip(d, last));
    for (uint32_t i = d->first_site; i < t->sites; i++) {
        unsigned insn = d->site_insn[i - d->first_site];
        const uint8_t *next = d->insn[insn].poll      ? d->insn[insn].poll
                              : insn + 1 < d->count ? d->insn[insn + 1].start
                                                    : end;
        t->site[i].next = bt_draft_offset(d, next);
    }
    for (unsigned i = 0; i < d->colds && !c->full; i++) {
        const BtCold *cold = &d->cold[i];
        if (cold->kind == BT_COLD_SITE)
            emit_cold_site(d, cold);
        else if (cold->kind == BT_COLD_STUB)
            emit_cold_stub(d, cold);
        else
            emit_cold_link(d, cold);
    }
    if (begins_saved && !c->full) {
        d->unit->entry = emit_saving_entry(d, t->writable + d->unit->saved);
        d->unit->forward = emit_saving_entry(d, polled);
    }
    return !c->full;
}
