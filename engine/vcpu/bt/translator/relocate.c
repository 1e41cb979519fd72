// SPDX-License-Identifier: GPL-2.0-or-later
// One translation for all linear addresses of the same code. Programs and libraries are loaded
// elsewhere each time that they run, in the same physical pages. What a unit's code holds of its
// RIP, or of numbers that are its own (links, sites, call-outs), is noted when it is emitted; a
// unit for another linear address is a copy with these mended, or the unit itself, where the code
// has enough copies already. Both cost a small part of a translation.
//
// What the look-ahead at other pages has found (form.c: flags that a branch's target wants) is
// taken over. It is as good there as it is for the one unit that serves several address spaces.
#include "engine/vcpu/bt/translator/draft.h"

// ---- Noting ----

void bt_note_fixup(BtDraft *d, BtFixupKind kind)
{
    if (d->fixups == BT_FIXUPS_MOST) {
        d->unit->fixed = true;
        return;
    }
    d->fixup[d->fixups++] = (BtFixup){ bt_draft_offset(d, d->code.at) - d->unit->saved,
                                       (uint8_t)kind };
}

void bt_emit_of_rip(BtDraft *d, unsigned reg, uint64_t value)
{
    host_load_constant(&d->code, reg, value);
    bt_note_fixup(d, value <= UINT32_MAX                   ? BT_FIXUP_RIP_U32
                     : (int64_t)value == (int32_t)value ? BT_FIXUP_RIP_S32
                                                        : BT_FIXUP_RIP_64);
}

void bt_reach_thunk(BtDraft *d, uint8_t *distance_at, uint32_t thunk)
{
    host_reach(distance_at, d->t->writable + thunk);
    bt_note_fixup(d, BT_FIXUP_DISTANCE);
}

bool bt_fixups_keep(BtDraft *d)
{
    BtFixup *kept = bt_units_data(d->t, d->fixups * sizeof *kept, 4);
    if (!kept)
        return false;
    memcpy(kept, d->fixup, d->fixups * sizeof *kept);
    d->unit->fixup = kept;
    d->unit->fixups = (uint16_t)d->fixups;
    return true;
}

// ---- Mending ----

// From where to where a unit goes: RIP, code, numbers.
typedef struct {
    uint64_t rip;
    uint32_t code, link, site;
    bool wide; // RIP has 64 bits
} Way;

static uint32_t read_32(const BtTranslator *t, uint32_t end)
{
    uint32_t value;
    memcpy(&value, t->writable + end - sizeof value, sizeof value);
    return value;
}

static void write_32(BtTranslator *t, uint32_t end, uint32_t value)
{
    memcpy(t->writable + end - sizeof value, &value, sizeof value);
}

static uint64_t read_64(const BtTranslator *t, uint32_t end)
{
    uint64_t value;
    memcpy(&value, t->writable + end - sizeof value, sizeof value);
    return value;
}

static void write_64(BtTranslator *t, uint32_t end, uint64_t value)
{
    memcpy(t->writable + end - sizeof value, &value, sizeof value);
}

// Every constant of the unit still fits in its place.
static bool may_go(const BtTranslator *t, const BtUnit *unit, const Way *way)
{
    for (unsigned i = 0; way->wide && i < unit->fixups; i++) {
        const BtFixup *fixup = &unit->fixup[i];
        uint32_t end = unit->saved + fixup->code;
        uint64_t value;
        switch ((BtFixupKind)fixup->kind) {
        case BT_FIXUP_RIP_U32:
            if (read_32(t, end) + way->rip > UINT32_MAX)
                return false;
            break;
        case BT_FIXUP_RIP_S32:
            value = (uint64_t)(int64_t)(int32_t)read_32(t, end) + way->rip;
            if ((int64_t)value != (int32_t)value)
                return false;
            break;
        default:
            break;
        }
    }
    return true;
}

static uint64_t moved(uint64_t rip, const Way *way)
{
    return way->wide ? rip + way->rip : (uint32_t)(rip + way->rip);
}

static bool mend_call_out(BtTranslator *t, uint32_t end, const Way *way)
{
    BtCallOut *out = (BtCallOut *)(uintptr_t)read_64(t, end);
    if (way->code) {
        BtCallOut *copy = bt_units_data(t, sizeof *copy, 64);
        if (!copy)
            return false;
        *copy = *out;
        write_64(t, end, (uintptr_t)copy);
        out = copy;
    }
    out->rip = moved(out->rip, way);
    return true;
}

// The unit's code is where it is to be; what it holds is still of where it was.
static bool mend(BtTranslator *t, const BtUnit *unit, const Way *way)
{
    for (unsigned i = 0; i < unit->fixups; i++) {
        const BtFixup *fixup = &unit->fixup[i];
        uint32_t end = unit->saved + fixup->code;
        switch ((BtFixupKind)fixup->kind) {
        case BT_FIXUP_RIP_U32:
        case BT_FIXUP_RIP_S32:
            write_32(t, end, read_32(t, end) + (uint32_t)way->rip);
            break;
        case BT_FIXUP_RIP_64:
            write_64(t, end, read_64(t, end) + way->rip);
            break;
        case BT_FIXUP_LINK:
            write_32(t, end, read_32(t, end) + way->link);
            break;
        case BT_FIXUP_SITE:
            write_32(t, end, read_32(t, end) + way->site);
            break;
        case BT_FIXUP_CALL_OUT:
            if (!mend_call_out(t, end, way))
                return false;
            break;
        case BT_FIXUP_DISTANCE:
            write_32(t, end, read_32(t, end) - way->code);
            break;
        }
    }
    return true;
}

static BtUnit *go_there(BtCpu *cpu, BtUnit *unit, uint64_t linear, const Way *way)
{
    BtTranslator *t = cpu->translator;
    bt_units_cut_off(cpu, unit);
    for (uint32_t i = unit->first_link; i < unit->first_link + unit->links; i++) {
        bt_units_unlink(t, i);
        t->link[i].rip = moved(t->link[i].rip, way);
    }
    mend(t, unit, way);
    unit->left = (uint32_t)(unit->linear >> 12);
    unit->rip = cpu->rip;
    unit->linear = linear;
    bt_units_synchronize();
    return unit;
}

static void copy_link(BtTranslator *t, uint32_t from, uint32_t unit, const Way *way)
{
    BtLink *link = &t->link[from + way->link];
    *link = t->link[from];
    link->rip = moved(link->rip, way);
    link->unit = unit;
    link->stub += way->code;
    link->target = link->next = 0;
    if (link->guard)
        link->guard += way->code;
    if (!link->distance)
        return;
    link->distance += way->code;
    write_32(t, link->distance + 4, link->stub - (link->distance + 4));
}

static void copy_site(BtTranslator *t, uint32_t from, uint32_t unit, const Way *way)
{
    BtSite *site = &t->site[from + way->site];
    *site = t->site[from];
    site->unit = unit;
    site->retry += way->code;
    site->next += way->code;
}

static BtUnit *copy(BtCpu *cpu, const BtUnit *from, uint64_t linear, Way *way)
{
    BtTranslator *t = cpu->translator;
    uint32_t index = t->units;
    BtUnit *unit = &t->unit[index];
    way->code = t->used - from->saved;
    way->link = t->links - from->first_link;
    way->site = t->sites - from->first_site;
    *unit = *from;
    unit->rip = cpu->rip;
    unit->linear = linear;
    unit->incoming = 0;
    unit->left = 0;
    unit->group_failures = unit->range_failures = 0;
    unit->saved += way->code;
    unit->entry += way->code;
    unit->forward += way->code;
    unit->end += way->code;
    unit->first_link += way->link;
    unit->first_site += way->site;
    memcpy(t->writable + unit->saved, t->writable + from->saved, unit->end - unit->saved);
    if (!mend(t, unit, way))
        return NULL;
    for (uint32_t i = from->first_link; i < from->first_link + from->links; i++)
        copy_link(t, i, index, way);
    for (uint32_t i = from->first_site; i < from->first_site + from->sites; i++)
        copy_site(t, i, index, way);
    t->links += unit->links;
    t->sites += unit->sites;
    uint32_t end = (unit->end + 15) & ~15u;
    cpu->stats.units[VCPU_UNIT_CODE] += end - t->used;
    t->used = end;
    bt_units_add(cpu, unit);
    return unit;
}

BtUnit *bt_unit_relocate(BtCpu *cpu, BtUnit *unit, uint64_t linear, bool in_place)
{
    BtTranslator *t = cpu->translator;
    // Where a branch leads over the end of what is canonical it faults itself.
    bool wide = cpu->mode == BT_MODE_LONG;
    if (linear != cpu->rip || unit->linear != unit->rip || (wide && linear >> 32 >= 0x7fff))
        return NULL;
    Way way = { .rip = linear - unit->linear, .wide = wide };
    if (!may_go(t, unit, &way))
        return NULL;
    cpu->stats.units[VCPU_UNIT_RELOCATED]++;
    return in_place ? go_there(cpu, unit, linear, &way) : copy(cpu, unit, linear, &way);
}
