// SPDX-License-Identifier: GPL-2.0-or-later
// Units of checked pages (bt-vm.h): code that programs make, change or keep data beside again and
// again. Stores to it are as fast as any; instead each entry compares the bytes that the unit was
// made from with memory. form.c ends such a unit behind an instruction that stores, so what it runs
// is what was there when it was entered. The bytes are constants in its code, and differences are
// gathered, so the check has one branch. It keeps the flags, also where the unit does not want
// them: what is found there instead may. For the same reason a checked unit, which does not learn
// of changes elsewhere, leaves by branches with all flags.
//
// A program that writes a new immediate into an instruction before each run is as old as programs.
// Where only an immediate was found changed, the next unit there reads it from the guest's code and
// does not compare it.
//
// A counter of entries tells, when the unit goes, whether it was of use (is_hot in translator.c),
// and brings the page back to being protected where its code was found unchanged for long.
#include "engine/vcpu/bt/translator/draft.h"

#include <stddef.h>

static unsigned varies_hash(uint64_t physical)
{
    return (unsigned)(physical ^ physical >> 10) & (BT_WITHOUT - 1);
}

// ---- Immediates ----

bool bt_immediate_varies(const BtDraft *d, const BtGuestInsn *g)
{
    unsigned size;
    if (!d->unit->checked || !g->known || !bt_copy_takes_immediate(g, &size))
        return false;
    uint64_t end = d->unit->physical + (uint64_t)(int64_t)g->rip + g->decoded.insn.length;
    for (uint64_t at = end - size; at < end; at++) {
        if (d->t->varies[varies_hash(at)] == at)
            return true;
    }
    return false;
}

// ---- The check ----

static uint32_t entries_of(unsigned period)
{
    return period ? period : UINT32_MAX;
}

// T3 |= difference of `size` bytes to what T1 + at points to; first: T3 = that.
static void emit_compare(HostCode *c, unsigned at, const uint8_t *bytes, unsigned size, bool first)
{
    unsigned reg = first ? HOST_T3 : HOST_T2;
    uint64_t value = 0;
    memcpy(&value, bytes, size);
    HostMemory memory = host_based(HOST_T1, (int32_t)at);
    if (size == 1) {
        host_op_memory(c, 4, 0x0fb6, reg, memory); // movzx
        host_alu_constant(c, 4, 6, reg, (int32_t)value);
    } else {
        host_load_constant(c, reg, value);
        host_op_memory(c, size, 0x33, reg, memory); // xor
    }
    if (!first)
        host_op_registers(c, 8, 0x09, HOST_T2, HOST_T3); // or
}

static void emit_compare_run(BtDraft *d, const BtUnitRun *run, bool first)
{
    const BtUnit *unit = d->unit;
    unsigned at = run->offset - unit->low, end = at + run->size;
    unsigned step = run->size >= 8 ? 8 : run->size >= 4 ? 4 : 1;
    while (at < end) {
        if (at + step > end) // some bytes twice
            at = end - step;
        emit_compare(&d->code, at, unit->bytes + at, step, first);
        first = false;
        at += step;
    }
}

void bt_emit_check(BtDraft *d)
{
    HostCode *c = &d->code;
    BtUnit *unit = d->unit;
    if (!unit->checked)
        return;
    unit->fixed = true;
    unit->entries_left = entries_of(bt_vm_check_period(d->cpu->vm, unit->physical));
    d->at = 0;
    d->held_before = HOST_NONE;
    bt_draft_insn(d)->start = c->at;
    bt_emit_flags_begin(d);
    host_load_constant(c, HOST_T1, (uintptr_t)(d->host + unit->low));
    for (unsigned i = 0; i < unit->runs; i++)
        emit_compare_run(d, &unit->run[i], i == 0);
    host_load_constant(c, HOST_T1, (uintptr_t)&unit->entries_left);
    host_bytes(c, "\x41\x83\x2c\x24\x01", 5);          // sub dword [r12], 1
    host_op_registers(c, 8, 0x19, HOST_T2, HOST_T2);   // sbb T2, T2
    host_op_registers(c, 8, 0x09, HOST_T2, HOST_T3);   // or T3, T2
    bt_emit_site(d, host_jump_if(c, HOST_NE), BT_SITE_CHECK, 0, NULL);
}

// ---- What comes of it ----

// Notes which bytes changed. False: none did.
static bool note_changes(BtCpu *cpu, const BtUnit *unit)
{
    GuestPage page = guest_memory_page(cpu->config->memory, unit->physical & ~UINT64_C(0xfff));
    if (!page.host_read)
        return true;
    bool changed = false;
    for (unsigned i = 0; i < unit->runs; i++) {
        unsigned end = unit->run[i].offset + unit->run[i].size;
        for (unsigned at = unit->run[i].offset; at < end; at++) {
            if (page.host_read[at] == unit->bytes[at - unit->low])
                continue;
            uint64_t physical = (unit->physical & ~UINT64_C(0xfff)) + at;
            cpu->translator->varies[varies_hash(physical)] = physical;
            changed = true;
        }
    }
    return changed;
}

// A unit is made anew, or as a protected one.
static void note_use(BtTranslator *t, const BtUnit *unit, unsigned entries)
{
    enum { INSTRUCTIONS_OF_USE = 20000, MOST_WASTED = 32 };
    if ((uint64_t)entries * unit->count < INSTRUCTIONS_OF_USE)
        t->wasted = MIN(t->wasted + 1, MOST_WASTED);
    else if (t->wasted)
        t->wasted--;
}

void bt_unit_checked(BtCpu *cpu, BtUnit *unit)
{
    unsigned period = bt_vm_check_period(cpu->vm, unit->physical);
    if (period)
        note_use(cpu->translator, unit, period - unit->entries_left);
    if (note_changes(cpu, unit)) {
        bt_units_drop(cpu, unit);
        cpu->stats.units[VCPU_UNIT_DROPPED_STORE]++;
        return;
    }
    unit->entries_left = entries_of(period);
    if (period)
        bt_vm_protect_again(cpu->vm, unit->physical);
}
