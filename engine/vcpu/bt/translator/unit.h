// SPDX-License-Identifier: GPL-2.0-or-later
// Units: what the translator makes out of guest code, and everything that is kept about them. A
// unit is host code for up to BT_UNIT_MAX guest instructions of one page, entered at the first:
// it falls through conditional branches and follows direct jumps. An instruction that reaches into
// the next page is a unit of its own. Units belong to one CPU, whose
// thread alone makes, links, runs and drops them, so there is no lock and no cross-modification.
//
// A unit is found by linear and physical address, RIP and mode key of its first instruction. All
// four are baked into its code, but the first and third so that code which is mapped elsewhere too
// needs no second translation (relocate.c). Entries:
//   saved    the guest's flags are in cpu->unit_flags; from indirect branches, and from direct ones
//            where they were saved. Polls. The unit's code begins here
//   entry    polls for requests first; for backward branches and what the run loop enters
//   forward  behind the poll
// Ways out:
//   link     a direct branch; patched to lead to the unit that follows (bt_units_link). Into
//            another page, or where an instruction may reach into one, it is guarded by the epoch
//            of cpu->chain_key (bt-block.h)
//   site     a place that may need C: a memory access that the TLB does not have, an indirect
//            branch that the jump table does not have. C either makes the fast way possible and
//            goes back to the instruction's beginning, or runs the instruction as the interpreter
//            does and goes on behind it (slow.c)
//   call-out an instruction that always runs as the interpreter does
// A unit of a checked page (bt-vm.h) compares its bytes when it is entered (checked.c).
// Memory of units, links, sites and code is given up as a whole (bt_units_forget); a unit that is
// dropped because its code changed stays where it is until then, but nothing leads to it.
#pragma once

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-code-memory.h"
#include "engine/vcpu/bt/bt-decode.h"

#define BT_UNIT_MAX 96

// Instructions that lie side by side: offset in the page, bytes.
typedef struct {
    uint16_t offset, size;
} BtUnitRun;

// A place in a unit's code that is another one where the unit lies elsewhere (relocate.c). code: of
// its last byte plus 1, from the unit's first.
typedef enum {
    BT_FIXUP_RIP_U32, // made from the unit's RIP; zero-extended
    BT_FIXUP_RIP_S32, // ... sign-extended
    BT_FIXUP_RIP_64,
    BT_FIXUP_LINK,     // number of a link, 32 bits
    BT_FIXUP_SITE,     // number of a site, 32 bits
    BT_FIXUP_CALL_OUT, // address of a call-out, 64 bits
    BT_FIXUP_DISTANCE, // to a thunk, 32 bits
} BtFixupKind;

typedef struct {
    uint32_t code;
    uint8_t kind; // BtFixupKind
} BtFixup;

struct HostCode;
typedef struct BtUnit BtUnit;
struct BtUnit {
    // What a look-up reads: one cache line.
    uint64_t rip, linear, physical; // of the first instruction
    BtUnit *hash_next;
    uint32_t key;       // mode key
    uint32_t limit;     // of CS
    const uint32_t *generation_at; // the page's generation now
    uint32_t generation; // when the unit was made, or found unchanged
    uint32_t forward;   // the entries: offsets of code
    bool dropped;
    bool spoilt;        // is never found again
    bool fixed;         // is good for its own linear address only
    bool checked;       // of a checked page
    uint32_t left;      // linear page that it was at before, cut off; 0: none
    uint32_t saved, entry;
    uint64_t physical_second; // page that its only instruction reaches into, 0: none
    const uint32_t *generation_second_at;
    uint32_t generation_second;
    uint32_t incoming;  // links that lead here: index of the first, 0: none
    uint16_t count;     // instructions
    uint16_t low, size; // bytes of the page from the first to the last that it covers
    uint16_t runs;
    uint16_t group_failures; // groups.c
    uint16_t range_failures; // slow.c
    uint16_t links, sites, fixups;
    uint32_t first_link, first_site;
    uint32_t end;       // offset behind its code, which begins at `saved`
    uint32_t entries_left; // checked: until its page is protected again, less one
    uint8_t *bytes;     // those bytes as they were, for comparison
    BtUnitRun *run;     // the parts of them that are code, but for immediates that are read
                        // from there when they are wanted (checked.c)
    const BtFixup *fixup; // what depends on where it lies
} __attribute__((aligned(64)));

// A direct way out.
typedef struct {
    uint64_t rip;        // where it leads
    uint32_t unit;       // whose it is
    uint32_t distance;   // offset of the jump's distance, 0: it is never patched
    uint32_t stub;       // offset of the code that leaves
    uint32_t guard;      // offset of the negated epoch to compare with, 0: none
    uint32_t target;     // unit, 0: none
    uint32_t next;       // further link to the same target
    // Leads to the polling entry: the target does not lie above the unit that it comes from. So
    // links that pass no poll form no circle, wherever the unit itself went on.
    bool backward;
    bool saved; // leads to the entry `saved`, which polls too: the guest's flags are there
} BtLink;

enum {
    BT_SITE_READ = 1 << 0,
    BT_SITE_WRITE = 1 << 1,
    BT_SITE_FLAGS_KEPT = 1 << 2, // the guest's flags are in cpu->unit_flags
    BT_SITE_SHADOW = 1 << 4, // of the instruction behind an STI
    BT_SITE_GROUP = 1 << 5, // a group's window is checked (groups.c) ...
    BT_SITE_STORES = 1 << 6, // ... which has to allow stores, too; READ or WRITE is the access's
    BT_SITE_LEAVES = 1 << 7, // where C runs its instruction, the unit is left
    BT_SITE_OPEN = 1 << 3, // no access: classes of instructions have to be opened (residency.c)
    BT_SITE_CHECK = 1 << 8, // no access: the unit's bytes changed, or did not for long (checked.c)
};

typedef struct {
    uint32_t unit;
    int32_t rip;      // of the instruction, from the unit's
    uint32_t retry;   // offset of the instruction's code
    uint32_t next;    // of the one behind it
    uint16_t before;  // instructions of the unit before it
    uint16_t size;    // bytes of the access; BT_SITE_OPEN: the classes
    uint16_t range;   // its slot in cpu->range, 0: none
    uint16_t delta;   // BT_SITE_GROUP: from the window's first byte to the access
    uint16_t flags;   // BT_SITE_*
    uint8_t held_before, held_after; // guest register in T3 at retry and next (draft.h)
    uint8_t open;     // classes that are open before it and have to be behind it
    uint8_t alignment; // of the access, minus one: who breaks it faults before a miss is looked at
} BtSite;

// An instruction in the interpreter's form: a block of its own. `after` is what follows it in time.
typedef struct {
    uint64_t rip;
    uint32_t rest;  // instructions of the unit behind this one
    uint32_t site;  // slow.c: whose instruction it is
    bool shadow;    // it is behind an STI
    BtBlock block;
    BtInsn insn[2];
} BtCallOut;

// What a page has.
typedef struct BtPageUnit BtPageUnit;
struct BtPageUnit {
    BtUnit *unit;
    BtPageUnit *next;
};

typedef struct BtUnitPage BtUnitPage;
struct BtUnitPage {
    uint64_t page;
    const uint32_t *generation_at;
    uint32_t generation;
    unsigned writes; // times that units of it were dropped
    BtPageUnit *first;
    BtUnitPage *hash_next;
};

// How to translate; for tests and measurements (docs/translator.md tells how to set them).
typedef struct {
    unsigned hot;         // entries before a block is translated
    unsigned insns;       // most instructions of a unit
    unsigned code_kib;    // size of the code memory
    bool exact_flags;     // flags are right at every fault and interrupt, even where they are dead
    bool poll_always;     // every unit entry leaves to the run loop
    bool groups;          // one check for accesses that lie together (groups.c)
    bool clobber;         // vector registers lose their contents wherever C is called
    unsigned ranges;      // pairs of slots (loads, stores) that places are spread over
    bool always_miss;     // no access finds the TLB filled
    bool checked;         // all pages are checked (bt-vm.h)
} BtTranslatorOptions;

enum { BT_LOOKUP_SIZES = 7 };
#define BT_UNIT_BUCKETS (1u << 17)
#define BT_UNIT_PAGES (1u << 12)
enum { BT_UNITS = 1 << 18, BT_LINKS = 1 << 20, BT_SITES = 1 << 21, BT_SLOW_CACHE = 2048,
       BT_SALT_WAYS = 4, BT_SALTS = 16 * BT_SALT_WAYS,
       BT_WITHOUT = 1024 };

struct BtTranslator {
    BtTranslatorOptions options;
    BtCodeMemory *memory;
    uint8_t *writable;         // the two views of the code memory
    const uint8_t *executable;
    uint32_t size, used, start; // start: behind the thunks
    // Thunks (thunks.c), offsets.
    // RIP of units that are made without groups, and without ranges of their own, by hash.
    uint64_t ungrouped[BT_WITHOUT], unranged[BT_WITHOUT];
    uint64_t varies[BT_WITHOUT]; // physical addresses of code bytes that changed, by hash
    uint32_t enter, leave, slow, call_out, vectors_store, vectors_load;
    uint32_t lookup[2][BT_LOOKUP_SIZES]; // loads, stores; by log2 of the size (emit-memory.c)
    BtUnit *unit;              // [BT_UNITS], 0 is none
    BtLink *link;              // [BT_LINKS], 0 is none
    BtSite *site;              // [BT_SITES]
    uint8_t *data;             // call-outs and copies of guest code
    size_t data_used;
    uint32_t units, links, sites;
    BtUnit *bucket[BT_UNIT_BUCKETS];
    BtUnitPage *page[BT_UNIT_PAGES];
    GPtrArray *pages;
    uint64_t written;          // of vm->written_count: what was looked at
    void *draft;               // form.c's work space
    unsigned forgets;          // times that all units went
    uint64_t forgot_at;        // cpu->instructions at the last time
    unsigned wasted;           // checked units that lately went before they were of use
    unsigned pressure;         // that was before they were of use: code must be 2^this times hotter
    uint32_t pending;          // the link by which the last unit was left, 0: none
    // The jump table's salts: a number for each chain key, by a hash of the key.
    uint64_t salt_key[BT_SALTS];
    uint16_t salt[BT_SALTS];
    uint16_t salt_last;
    BtCallOut *slow_cache[BT_SLOW_CACHE]; // instructions of sites that ran in C
    uint64_t refill_at;        // cpu->instructions at the last refill of the TLB, and how often
    unsigned refills;          // the same instruction came for one
    bool bmi2, avx;
    uint64_t call_outs[ZYDIS_MNEMONIC_MAX_VALUE + 1]; // how often, by mnemonic
};

#define BT_UNIT_DATA ((size_t)96 << 20)

// ---- units.c ----

// The unit for cpu->rip where there is one, up to date with memory; linear, physical: of cpu->rip.
BtUnit *bt_units_find(BtCpu *cpu, uint64_t linear, uint64_t physical, const uint8_t *host);
// Whether there is room for any unit, its links, sites and code. begin: makes room, for which it
// may forget all others.
bool bt_units_have_room(const BtTranslator *t);
BtUnit *bt_units_begin(BtCpu *cpu);
// It is complete: can be found from now on.
void bt_units_add(BtCpu *cpu, BtUnit *unit);
// Takes the link back to its stub.
void bt_units_unlink(BtTranslator *t, uint32_t link);
// A processor may have fetched what a store through the other view changed: after such stores.
void bt_units_synchronize(void);
// The link's target is `unit`, as things are now.
void bt_units_link(BtCpu *cpu, uint32_t link, BtUnit *unit);
// Makes writers to the unit's code noticed from now on and notes the pages' generations. True where
// memory holds what `bytes` says; host: the first page's first byte.
bool bt_units_protect(BtCpu *cpu, BtUnit *unit, const uint8_t *host);
// How often units of the page were dropped lately: what is written again and again is not worth a
// translation.
unsigned bt_units_writes(BtCpu *cpu, uint64_t physical);
// Enters the unit into the jump table.
void bt_units_note_jump(BtCpu *cpu, BtUnit *unit);
// Code was written: drops the units of pages that changed.
void bt_units_check(BtCpu *cpu);
void bt_units_forget(BtCpu *cpu);
// cpu->jump_salt for cpu->chain_key.
void bt_units_update_salt(BtCpu *cpu);

// Memory that lives as long as the units; NULL where there is none left.
void *bt_units_data(BtTranslator *t, size_t size, size_t alignment);

// ---- relocate.c ----

// A unit at cpu->rip made from `unit`, which is of the same code elsewhere and up to date; NULL
// where that cannot be. in_place: `unit` itself goes there.
BtUnit *bt_unit_relocate(BtCpu *cpu, BtUnit *unit, uint64_t linear, bool in_place);
// Notes d->fixup at the unit. False: no room.
struct BtDraft;
bool bt_fixups_keep(struct BtDraft *d);

// ---- form.c ----

void *bt_draft_space_new(void); // for BtTranslator.draft; free with g_free

// Translates the code at cpu->rip, where the interpreter has `block`; NULL where there is nothing
// to translate.
BtUnit *bt_unit_form(BtCpu *cpu, const BtDecoders *decoders, const BtBlock *block, uint64_t linear,
                     uint64_t physical, const uint8_t *host);

// Takes away whatever leads to the unit; drop: and it has to be compared with memory before it is
// found again.
void bt_units_cut_off(BtCpu *cpu, BtUnit *unit);
void bt_units_drop(BtCpu *cpu, BtUnit *unit);
// Drops it for good; what is made in its place goes without (t->ungrouped or t->unranged).
void bt_units_make_anew(BtCpu *cpu, BtUnit *unit, uint64_t without[BT_WITHOUT]);

// Index into ungrouped and unranged.
static inline unsigned bt_without_hash(const BtUnit *unit)
{
    return (unsigned)(unit->rip ^ unit->rip >> 10) & (BT_WITHOUT - 1);
}

// ---- checked.c ----

// By its check: the code of a checked unit changed, or was found unchanged for long.
void bt_unit_checked(BtCpu *cpu, BtUnit *unit);

// ---- groups.c ----

// A window could not be had: after some times the unit goes and is made without groups.
void bt_groups_failed(BtCpu *cpu, BtUnit *unit);

// ---- thunks.c ----

void bt_thunks_emit(BtTranslator *t);

// ---- residency.c: parts of thunks; they change flags ----

// The code that the others call.
void bt_residency_emit(BtTranslator *t, struct HostCode *c);
// Before C is called or returned to: vector registers to BtFpu, if they are resident. A thunk that
// calls C without it lets C destroy them.
void bt_residency_keep(BtTranslator *t, struct HostCode *c);
// Behind bt_unit_slow: loads them where it opened their classes.
void bt_residency_restore(BtTranslator *t, struct HostCode *c);

// ---- slow.c: called by thunks ----

// An access or an indirect branch that has to be done in C; linear: of the access. The address of
// the code to go on with, or NULL to leave to the run loop with cpu->rip set.
const uint8_t *bt_unit_slow(BtCpu *cpu, uint32_t site, uint64_t linear);
// Runs the instruction. BT_UNIT_GOES_ON, or code to go on with elsewhere, or NULL to leave.
const uint8_t *bt_unit_call_out(BtCpu *cpu, BtCallOut *call_out);
#define BT_UNIT_GOES_ON ((const uint8_t *)1)
// The unit ends by a link that leads nowhere yet. The code to go on with, or NULL to leave.
const uint8_t *bt_unit_follow(BtCpu *cpu, uint32_t link);

// ---- translator.c ----

// The code for cpu->rip, where there is some and the run loop has nothing else to do first. Links
// to it what was left last. May raise.
const uint8_t *bt_unit_next(BtCpu *cpu);
// Decodes the instruction at `bytes` into a call-out at `rip`.
BtCallOut *bt_call_out_new(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes,
                           unsigned length, uint64_t rip);
