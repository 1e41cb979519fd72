// SPDX-License-Identifier: GPL-2.0-or-later
// The software TLB: linear page -> host page, direct mapped. Filled by bt-mmu.c; read inline by
// bt-memory.h, bt-handler.h and generated code, through cpu->tlb[mmu] or cpu->data_tlb.
//
// A tag is the linear page's address, or bt_tlb_none(its index): then the access takes the slow
// path. Withheld are the tags of pages that are MMIO or under a data breakpoint, and the write tag
// of those that hold decoded code, are dirty-logged and clean, or whose D bit is not set.
//
// Both of these tests of an access of `size` bytes are right for every address, canonical or not:
//  - tag == (linear + size - 1 & ~4095), for a canonical linear address (in C);
//  - (linear ^ tag) <= 4096 - size (generated code: page and page crossing in one compare).
// For an entry without a page has a tag that no canonical address has and that differs from every
// address with its index in the lowest bit of the index.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    BT_MMU_SUPERVISOR,         // CPL 0..2, SMAP in force where CR4 has it; implicit accesses
    BT_MMU_USER,               // CPL 3
    BT_MMU_SUPERVISOR_NO_SMAP, // CPL 0..2 with CR4.SMAP and RFLAGS.AC set
    BT_MMU_USER_ALIGNED,       // CPL 3 with alignment checks: never has a tag, so that every access
                               // is slow; the slow path checks and then uses BT_MMU_USER
    BT_MMU_INDEXES
};

#define BT_TLB_BITS 12
#define BT_TLB_SIZE (1u << BT_TLB_BITS)
#define BT_TLB_ENTRY_SHIFT 5 // log2 of an entry's size

typedef struct {
    uint64_t read;
    uint64_t write; // other CPUs take it away (bt-vm.c): atomic
    uint64_t execute;
    uintptr_t addend; // host address = linear + addend; 0: not RAM
} BtTlbEntry;

_Static_assert(sizeof(BtTlbEntry) == 1u << BT_TLB_ENTRY_SHIFT, "indexed by a shift");

// What the slow path knows of an entry, tags given or withheld.
typedef struct {
    uint64_t page;  // linear; BT_TLB_NO_PAGE where the entry is empty
    uint64_t frame; // physical page, and BT_TLB_* in the bits below
} BtTlbNote;

#define BT_TLB_NO_PAGE UINT64_C(1) // never equals a page-aligned address

enum {
    BT_TLB_MAY_READ = 1 << 0,
    BT_TLB_MAY_WRITE = 1 << 1, // and the D bit is set
    BT_TLB_MAY_EXECUTE = 1 << 2,
    BT_TLB_GLOBAL = 1 << 3,
    BT_TLB_PAGE_BITS_SHIFT = 4, // 5 bits: log2 of the size of the page it is out of
    BT_TLB_PAGE_BITS_MASK = 31,
};

#define BT_TLB_WORDS (BT_TLB_SIZE / 64)

typedef struct {
    BtTlbEntry entry[BT_TLB_SIZE] __attribute__((aligned(64)));
    BtTlbNote note[BT_TLB_SIZE];
    uint64_t used[BT_TLB_WORDS];  // bit set: not empty (a flush visits only these)
    uint64_t local[BT_TLB_WORDS]; // of these, not global
    // Bounds of the linear space that large pages in this table cover.
    uint64_t large_low, large_high;
} BtTlb;

static inline unsigned bt_tlb_index(uint64_t linear)
{
    return (unsigned)(linear >> 12) & (BT_TLB_SIZE - 1);
}

// The tag of an entry that has none.
static inline uint64_t bt_tlb_none(unsigned index)
{
    return UINT64_C(1) << 63 | (uint64_t)(index ^ 1) << 12;
}

static inline uint64_t bt_tlb_physical(const BtTlbNote *note)
{
    return note->frame & ~UINT64_C(0xfff);
}

// The entry for `linear`, as its offset in bytes: no multiplication, no second shift.
static inline BtTlbEntry *bt_tlb_entry(BtTlb *tlb, uint64_t linear)
{
    uint64_t at = linear >> (12 - BT_TLB_ENTRY_SHIFT) &
                  (uint64_t)(BT_TLB_SIZE - 1) << BT_TLB_ENTRY_SHIFT;
    return (BtTlbEntry *)((uint8_t *)tlb->entry + at);
}

// Empties a table that was not in use.
void bt_tlb_init(BtTlb *tlb);

// Code pages that were fetched through a set of translations since its epoch began (bt-block.h): a
// bit per page address modulo 4096 pages, and bounds.
typedef struct {
    uint64_t low, high;
    uint64_t bits[64];
    bool local; // one of the pages was not global
} BtFetched;

// A user view: what CPL 3 sees of one address space. Loads of CR3 that keep translations (PCID)
// find their bank again; the least recently used one goes.
typedef struct {
    BtTlb tlb;
    uint32_t key;      // PCID; BT_BANK_FREE: not in use, tlb not initialized
    uint32_t epoch;    // of its code; 0: a new one is due at the next load
    uint64_t last_use; // BtMmu.clock when it was loaded
    BtFetched fetched;
} BtBank;

enum { BT_BANKS = 8, BT_BANK_FREE = 1 << 16 };

// A page table that a walk ended in: the levels above it need no look. Valid under one generation.
typedef struct {
    uint64_t tag; // generation in the high half, linear >> 21 or 22 (folded) in the low half
    const uint8_t *host;
    uint64_t physical;
    bool user, writable, no_execute;
} BtWalkCache;

enum { BT_WALK_CACHE_SIZE = 64 };

// What generated code looks at before the TLB (bt-range.h). One cache line.
enum { BT_RANGE_EXTENTS = 3 };
typedef struct {
    uint64_t start;
    uint64_t length[BT_RANGE_EXTENTS]; // of the run less the extent - 1; 0: empty. Atomic
    uintptr_t addend; // host address = linear + addend
    uint32_t pages;   // length of the run
    int16_t budget;   // accesses that the TLB may serve before the slot is filled again
    uint8_t flags;    // BT_RANGE_WRITE, _MIRRORED, log2 of the size of the largest page in it
    uint8_t listed;   // BT_RANGE_IN_*
    uint8_t conflicts; // how often it was filled lately while it held other addresses
} __attribute__((aligned(64))) BtRange;

// Which length is for an access of so many bytes.
static inline unsigned bt_range_extent(unsigned bytes)
{
    return bytes <= 8 ? 0 : bytes <= 64 ? 1 : 2;
}

// The bytes that it allows from an address on.
static inline unsigned bt_range_extent_bytes(unsigned extent)
{
    return 8u << 3 * extent;
}

enum {
    BT_RANGES = 1 << 14,
    // The first slots have places that many units share.
    BT_RANGE_KERNEL_STACK = 1,
    BT_RANGE_USER_STACK = 2,
    BT_RANGE_STACKS = 2, // the last of the two
    BT_RANGE_HASHED = 3,
    BT_RANGE_PAGE_BITS = 63,
    BT_RANGE_WRITE = 64,
    BT_RANGE_MIRRORED = 128, // it goes through a mirror (bt-mirror.h)
    BT_RANGE_IN_LOCAL = 1, // list
    BT_RANGE_IN_GLOBAL = 2,
};

// Slots that may be filled, and a bitmap of the pages (modulo 4096) that they cover.
typedef struct {
    unsigned count;
    uint64_t low, high;
    uint64_t bits[64];
    uint32_t slot[BT_RANGES];
} BtRangeList;

// A run that was found, for the next slot that wants it. Valid under one generation.
typedef struct {
    uint64_t start, end; // linear, both included
    uintptr_t addend;
    uint32_t generation; // BtMmu.run_generation
    uint32_t protections; // for stores: the machine's code_protections
    uint8_t page_bits, mmu;
    bool global, write, mirrored;
} BtRun;

enum { BT_RUN_CACHE_SIZE = 64 };

// One CPU's translations. A mapping of its own: what is not used costs no memory.
typedef struct BtMmu {
    BtTlb supervisor, no_smap; // all address spaces: what is not global goes with a load of CR3
    BtTlb none;                // BT_MMU_USER_ALIGNED: always empty
    BtBank bank[BT_BANKS];
    BtBank *current; // cpu->tlb[BT_MMU_USER] is its table
    uint64_t clock;
    BtFetched fetched; // by CPL 0..2
    uint32_t walk_generation;
    BtWalkCache walk[BT_WALK_CACHE_SIZE];
    BtRangeList local_ranges, global_ranges;
    uint32_t run_generation;
    struct BtMirrors *mirrors; // bt-mirror.h; NULL: none yet
    uint32_t mirror_changes;   // times that something else, or nothing, came to be in a window
    BtRun run[BT_RUN_CACHE_SIZE];
} BtMmu;
