// SPDX-License-Identifier: GPL-2.0-or-later
// The units of one CPU: finding them, leading one to the next, and taking back what leads to code
// that is no longer what it was. unit.h tells what there is.
//
// Code that is mapped at several linear addresses has a unit at some of them, made from each other.
//
// When code is written (BT_REQUEST_CODE) every page with units whose generation moved on loses
// them: links that lead to them are turned back to their stubs and the jump table forgets them.
// Their bytes are compared when they are wanted again, so data beside code costs no translation.
#include "engine/vcpu/bt/translator/unit.h"

#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-range.h"

// Room that any unit has: its code, links, sites and call-outs.
enum { CODE_MOST = 96 << 10, PER_UNIT = 4 * BT_UNIT_MAX + 8, DATA_MOST = 96 << 10 };

// Units of the same code at different linear addresses. One that is wanted elsewhere goes there,
// and stays gone: programs that end are the rule. Only where it is wanted back does the code get a
// further unit, as two programs take turns.
enum { MOST_PLACES = 3 };

static unsigned unit_hash(uint64_t physical, uint32_t key)
{
    uint64_t h = (physical ^ (uint64_t)key << 44) * UINT64_C(0x9e3779b97f4a7c15);
    return (unsigned)(h >> 44) & (BT_UNIT_BUCKETS - 1);
}

static unsigned page_hash(uint64_t page)
{
    return (unsigned)((page * UINT64_C(0x9e3779b97f4a7c15)) >> 48) & (BT_UNIT_PAGES - 1);
}

// IRET orders that. Not CPUID, which leaves a virtual machine.
void bt_units_synchronize(void)
{
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\t"
                     "mov %%rsp, %%rax\n\t"
                     "mov %%ss, %%ecx\n\t"
                     "push %%rcx\n\t"
                     "push %%rax\n\t"
                     "pushfq\n\t"
                     "mov %%cs, %%ecx\n\t"
                     "push %%rcx\n\t"
                     "lea 1f(%%rip), %%rcx\n\t"
                     "push %%rcx\n\t"
                     "iretq\n"
                     "1:\n\t"
                     "lea 128(%%rsp), %%rsp"
                     ::: "rax", "rcx", "memory", "cc");
}

static void write_32(BtTranslator *t, uint32_t at, uint32_t value)
{
    __atomic_store_n((uint32_t *)(t->writable + at), value, __ATOMIC_RELAXED);
}

// ---- The jump table ----

// A slot is found by the low bits of RIP, so in a tag these have room for the salt: whatever RIPs a
// guest may think of, canonical or not, two that are not the same or have not the same salt never
// have the same tag in the same slot. Salts are 1 and up; 0 is that of a chain key that has none
// yet, and the highest is that of empty slots.
enum { JUMP_MASK = (1 << BT_JUMP_BITS) - 1, SALT_EMPTY = JUMP_MASK };

static BtJump *jump_slot(BtCpu *cpu, uint64_t rip)
{
    return &cpu->jump[rip & JUMP_MASK];
}

static void empty(BtCpu *cpu, BtJump *jump)
{
    *jump = (BtJump){ .tag = (uint64_t)(jump - cpu->jump) ^ SALT_EMPTY };
}

static void empty_all(BtCpu *cpu)
{
    for (unsigned slot = 0; slot <= JUMP_MASK; slot++)
        empty(cpu, &cpu->jump[slot]);
}

// ---- Memory ----

void *bt_units_data(BtTranslator *t, size_t size, size_t alignment)
{
    size_t at = (t->data_used + alignment - 1) & ~(alignment - 1);
    if (at + size > BT_UNIT_DATA)
        return NULL;
    t->data_used = at + size;
    return t->data + at;
}

void bt_units_forget(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    memset(t->bucket, 0, sizeof t->bucket);
    memset(t->page, 0, sizeof t->page);
    g_ptr_array_set_size(t->pages, 0);
    memset(t->slow_cache, 0, sizeof t->slow_cache);
    empty_all(cpu);
    t->used = t->start;
    t->data_used = 0;
    t->units = t->links = 1;
    t->sites = 0;
    bt_range_forget(cpu);
    memset(t->ungrouped, 0, sizeof t->ungrouped);
    memset(t->unranged, 0, sizeof t->unranged);
    t->pending = 0;
    t->forgets++;
    cpu->stats.units[VCPU_UNIT_FORGETS]++;
    bt_units_synchronize();
}

bool bt_units_have_room(const BtTranslator *t)
{
    return t->size - t->used >= CODE_MOST && BT_UNIT_DATA - t->data_used >= DATA_MOST &&
           t->units < BT_UNITS && BT_LINKS - t->links >= PER_UNIT &&
           BT_SITES - t->sites >= PER_UNIT;
}

// Code that does not fit is better interpreted than translated again and again: where units go
// before they have run as much as their making costs, the next ones have to be hotter.
static void feel_pressure(BtTranslator *t, uint64_t instructions)
{
    enum { INSTRUCTIONS_PER_UNIT = 20000, MOST_PRESSURE = 8 };
    bool paid = instructions - t->forgot_at >= (uint64_t)t->units * INSTRUCTIONS_PER_UNIT;
    if (!paid)
        t->pressure = MIN(t->pressure + 1, MOST_PRESSURE);
    else if (t->pressure)
        t->pressure--;
    t->forgot_at = instructions;
}

BtUnit *bt_units_begin(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    if (!bt_units_have_room(t)) {
        feel_pressure(t, cpu->instructions);
        bt_units_forget(cpu);
    }
    return &t->unit[t->units];
}

// ---- Finding ----

static BtUnitPage *known_page(const BtTranslator *t, uint64_t number)
{
    BtUnitPage *page = t->page[page_hash(number)];
    while (page && page->page != number)
        page = page->hash_next;
    return page;
}

static BtUnitPage *page_of(BtCpu *cpu, uint64_t physical)
{
    BtTranslator *t = cpu->translator;
    uint64_t number = physical >> 12;
    BtUnitPage *page = known_page(t, number);
    if (page)
        return page;
    BtUnitPage **bucket = &t->page[page_hash(number)];
    page = bt_units_data(t, sizeof *page, 8);
    if (!page)
        return NULL;
    *page = (BtUnitPage){ .page = number, .hash_next = *bucket,
                          .generation_at = &cpu->vm->code_generation[number] };
    page->generation = __atomic_load_n(page->generation_at, __ATOMIC_ACQUIRE);
    *bucket = page;
    g_ptr_array_add(t->pages, page);
    return page;
}

static bool join_page(BtCpu *cpu, BtUnit *unit, uint64_t physical)
{
    BtUnitPage *page = page_of(cpu, physical);
    BtPageUnit *member = bt_units_data(cpu->translator, sizeof *member, 8);
    if (!page || !member)
        return false;
    *member = (BtPageUnit){ unit, page->first };
    page->first = member;
    return true;
}

void bt_units_add(BtCpu *cpu, BtUnit *unit)
{
    BtTranslator *t = cpu->translator;
    t->units++;
    BtUnit **bucket = &t->bucket[unit_hash(unit->physical, unit->key)];
    unit->hash_next = *bucket;
    *bucket = unit;
    // Without room to notice its changes it is never found.
    if (!join_page(cpu, unit, unit->physical) ||
        (unit->physical_second && !join_page(cpu, unit, unit->physical_second)))
        *bucket = unit->hash_next;
}

bool bt_units_protect(BtCpu *cpu, BtUnit *unit, const uint8_t *host)
{
    uint64_t page = unit->physical & ~UINT64_C(0xfff);
    for (unsigned i = 0; i < unit->runs; i++) {
        const BtUnitRun *run = &unit->run[i];
        uint32_t generation = bt_vm_protect_page(cpu->vm, page + run->offset, run->size);
        if (i == 0)
            unit->generation = generation;
        if (memcmp(host + run->offset, unit->bytes + run->offset - unit->low, run->size) != 0)
            return false;
    }
    // Else nobody protects it by now, or it makes sure of itself where nobody has to.
    if (bt_vm_page_is_checked(cpu->vm, page) != unit->checked)
        return false;
    if (!unit->physical_second)
        return true;
    unsigned first = 0x1000 - unit->low;
    unsigned size = unit->size - first;
    unit->generation_second = bt_vm_protect_page(cpu->vm, unit->physical_second, size);
    GuestPage second = guest_memory_page(cpu->config->memory, unit->physical_second);
    return second.host_read && !bt_vm_page_is_checked(cpu->vm, unit->physical_second) &&
           memcmp(second.host_read, unit->bytes + first, size) == 0;
}

// The second page is still behind the first. May raise.
static bool second_page_follows(BtCpu *cpu, const BtUnit *unit)
{
    const uint8_t *host;
    uint64_t next = (unit->linear | 0xfff) + 1;
    if (cpu->mode != BT_MODE_LONG)
        next = (uint32_t)next;
    return (bt_fetch_page(cpu, next, &host) & ~UINT64_C(0xfff)) == unit->physical_second;
}

static bool generations_match(const BtUnit *unit)
{
    return __atomic_load_n(unit->generation_at, __ATOMIC_ACQUIRE) == unit->generation &&
           (!unit->physical_second ||
            __atomic_load_n(unit->generation_second_at, __ATOMIC_ACQUIRE) ==
                unit->generation_second);
}

// Whether a dropped unit is as good as new: memory holds what it was made from. A checked one knows
// where that was on the host.
static bool revive(BtCpu *cpu, BtUnit *unit, const uint8_t *host)
{
    if (!host || unit->checked || !bt_units_protect(cpu, unit, host))
        return false;
    unit->dropped = false;
    cpu->stats.units[VCPU_UNIT_REVIVED]++;
    return true;
}

static bool is_good(BtCpu *cpu, BtUnit *unit, const uint8_t *host)
{
    return !unit->spoilt &&
           ((!unit->dropped && generations_match(unit)) || revive(cpu, unit, host));
}

// The unit at *at is the oldest that the code has. copies: it may have one more.
static BtUnit *place(BtCpu *cpu, BtUnit **at, bool copies, uint64_t linear, const uint8_t *host)
{
    BtUnit *unit = *at;
    if (!is_good(cpu, unit, host)) {
        *at = unit->hash_next;
        return NULL;
    }
    bool in_place = !copies || !bt_units_have_room(cpu->translator);
    BtUnit *there = bt_unit_relocate(cpu, unit, linear, in_place);
    if (there != unit)
        return there;
    // The oldest is the last.
    BtUnit **bucket = &cpu->translator->bucket[unit_hash(unit->physical, unit->key)];
    *at = unit->hash_next;
    unit->hash_next = *bucket;
    *bucket = unit;
    return unit;
}

BtUnit *bt_units_find(BtCpu *cpu, uint64_t linear, uint64_t physical, const uint8_t *host)
{
    BtTranslator *t = cpu->translator;
    BtUnit **at = &t->bucket[unit_hash(physical, cpu->mode_key)];
    BtUnit **elsewhere = NULL;
    unsigned places = 0;
    bool wanted_back = false;
    for (BtUnit *unit; (unit = *at); at = &unit->hash_next) {
        if (unit->physical != physical || unit->key != cpu->mode_key ||
            unit->limit != cpu->segment[VCPU_CS].limit)
            continue;
        if (unit->linear != linear || unit->rip != cpu->rip) {
            if (!unit->fixed) {
                elsewhere = at;
                places++;
                wanted_back |= unit->left == (uint32_t)(linear >> 12);
            }
            continue;
        }
        if (unit->physical_second && !second_page_follows(cpu, unit))
            continue;
        if (is_good(cpu, unit, host))
            return unit;
        *at = unit->hash_next; // stays in the page's list, dropped
        return NULL;
    }
    return elsewhere ? place(cpu, elsewhere, wanted_back && places < MOST_PLACES, linear, host)
                     : NULL;
}

// ---- Leading to one another ----

static void take_out(BtTranslator *t, uint32_t index)
{
    BtLink *link = &t->link[index];
    uint32_t *at = &t->unit[link->target].incoming;
    while (*at && *at != index)
        at = &t->link[*at].next;
    if (*at)
        *at = link->next;
    link->target = 0;
}

void bt_units_unlink(BtTranslator *t, uint32_t index)
{
    BtLink *link = &t->link[index];
    if (!link->target)
        return;
    take_out(t, index);
    write_32(t, link->distance, link->stub - (link->distance + 4));
}

void bt_units_link(BtCpu *cpu, uint32_t index, BtUnit *unit)
{
    BtTranslator *t = cpu->translator;
    BtLink *link = &t->link[index];
    const BtUnit *from = &t->unit[link->unit];
    if (!link->distance || link->rip != cpu->rip || from->dropped || from->key != unit->key ||
        from->limit != unit->limit)
        return;
    if (!link->guard && (unit->physical_second || from->linear >> 12 != unit->linear >> 12 ||
                         from->physical >> 12 != unit->physical >> 12))
        return;
    uint32_t target = (uint32_t)(unit - t->unit);
    if (link->target && link->target != target)
        take_out(t, index);
    if (link->guard)
        write_32(t, link->guard, -(uint32_t)(cpu->chain_key >> 32));
    uint32_t to = link->saved ? unit->saved : link->backward ? unit->entry : unit->forward;
    write_32(t, link->distance, to - (link->distance + 4));
    if (!link->target) {
        link->target = target;
        link->next = unit->incoming;
        unit->incoming = index;
    }
    cpu->stats.units[VCPU_UNIT_LINKS]++;
    bt_units_synchronize();
}

void bt_units_note_jump(BtCpu *cpu, BtUnit *unit)
{
    *jump_slot(cpu, unit->rip) = (BtJump){ unit->rip ^ cpu->jump_salt,
                                           cpu->translator->executable + unit->saved };
}

// Where cpu->chain_key has its salt, or gets one: the keys of user and kernel code take turns all
// the time and must not take one another's.
static unsigned salt_slot(BtTranslator *t, uint64_t key)
{
    unsigned set = (unsigned)((key * UINT64_C(0x9e3779b97f4a7c15)) >> 60) * BT_SALT_WAYS;
    for (unsigned slot = set; slot < set + BT_SALT_WAYS; slot++) {
        if (t->salt_key[slot] == key && t->salt[slot])
            return slot;
    }
    if (t->salt_last == SALT_EMPTY - 1) {
        memset(t->salt, 0, sizeof t->salt);
        t->salt_last = 0;
        return BT_SALTS;
    }
    unsigned slot = set + t->salt_last % BT_SALT_WAYS;
    t->salt_key[slot] = key;
    t->salt[slot] = ++t->salt_last;
    return slot;
}

void bt_units_update_salt(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    unsigned slot = salt_slot(t, cpu->chain_key);
    if (slot == BT_SALTS) { // all were used: begin again
        empty_all(cpu);
        slot = salt_slot(t, cpu->chain_key);
    }
    cpu->jump_salt = t->salt[slot];
}

// ---- Written code ----

void bt_units_cut_off(BtCpu *cpu, BtUnit *unit)
{
    BtTranslator *t = cpu->translator;
    for (uint32_t index = unit->incoming; index;) {
        BtLink *link = &t->link[index];
        write_32(t, link->distance, link->stub - (link->distance + 4));
        index = link->next;
        link->target = link->next = 0;
    }
    unit->incoming = 0;
    BtJump *jump = jump_slot(cpu, unit->rip);
    if (jump->code == t->executable + unit->saved)
        empty(cpu, jump);
}

void bt_units_drop(BtCpu *cpu, BtUnit *unit)
{
    unit->dropped = true;
    cpu->stats.units[VCPU_UNIT_DROPPED]++;
    bt_units_cut_off(cpu, unit);
}

void bt_units_make_anew(BtCpu *cpu, BtUnit *unit, uint64_t without[BT_WITHOUT])
{
    without[bt_without_hash(unit)] = unit->rip;
    unit->spoilt = true;
    bt_units_drop(cpu, unit);
}

// cause: the counter of why its units go.
static bool check_page(BtCpu *cpu, BtUnitPage *page, VcpuUnitCounter cause)
{
    uint32_t generation = __atomic_load_n(page->generation_at, __ATOMIC_ACQUIRE);
    if (generation == page->generation)
        return false;
    page->generation = generation;
    bool changed = false;
    for (BtPageUnit *member = page->first; member; member = member->next) {
        if (member->unit->dropped)
            continue;
        bt_units_drop(cpu, member->unit);
        cpu->stats.units[cause]++;
        changed = true;
    }
    page->writes += changed;
    return changed;
}

unsigned bt_units_writes(BtCpu *cpu, uint64_t physical)
{
    const BtUnitPage *page = known_page(cpu->translator, physical >> 12);
    return page ? page->writes : 0;
}

void bt_units_check(BtCpu *cpu)
{
    BtTranslator *t = cpu->translator;
    BtVm *vm = cpu->vm;
    static const VcpuUnitCounter causes[] = {
        [BT_WRITER_CPU] = VCPU_UNIT_DROPPED_STORE, [BT_WRITER_DEVICE] = VCPU_UNIT_DROPPED_DEVICE,
        [BT_WRITER_MAP] = VCPU_UNIT_DROPPED_MAP,
    };
    uint64_t written[BT_WRITTEN_PAGES];
    uint8_t writer[BT_WRITTEN_PAGES];
    pthread_mutex_lock(&vm->tlb_lock);
    uint64_t count = vm->written_count - t->written;
    t->written = vm->written_count;
    for (uint64_t i = 0; i < count && i < BT_WRITTEN_PAGES; i++) {
        unsigned slot = (vm->written_count - 1 - i) % BT_WRITTEN_PAGES;
        written[i] = vm->written_page[slot];
        writer[i] = vm->written_by[slot];
    }
    pthread_mutex_unlock(&vm->tlb_lock);

    bool changed = false;
    if (count > BT_WRITTEN_PAGES) {
        for (unsigned i = 0; i < t->pages->len; i++)
            changed |= check_page(cpu, t->pages->pdata[i], VCPU_UNIT_DROPPED_MANY);
    } else {
        for (unsigned i = 0; i < count; i++) {
            BtUnitPage *page = known_page(t, written[i]);
            if (page)
                changed |= check_page(cpu, page, causes[writer[i]]);
        }
    }
    if (changed)
        bt_units_synchronize();
}
