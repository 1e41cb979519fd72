// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's physical address space: which 4 KiB page is RAM, ROM or nothing of ours (MMIO, which
// engine/bus owns).
//
// The map is a list of slots, later ones over earlier ones, flattened into a page table that a
// vCPU reads without a lock. Reads and writes are mapped apart, because the i440FX's PAM registers
// can send reads to ROM and writes to RAM (82441FX datasheet, section 3.2.13). Changing the map is
// done with the machine lock held while vCPUs may run: the page table's entries change atomically
// and listeners (execution backends) drop what they cached.
//
// DMA goes through guest_memory_read/write. Both look at `fuzz_read` first, so that a fuzzer can
// fill what a device reads without knowing where the device will look.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct GuestMemory GuestMemory;
typedef struct GuestSlot GuestSlot;

#define GUEST_PAGE_BITS 12
#define GUEST_PAGE_SIZE 4096u

typedef enum {
    GUEST_SLOT_READ = 1 << 0,      // reads come from the slot
    GUEST_SLOT_WRITE = 1 << 1,     // writes go to the slot
    GUEST_SLOT_ROM = 1 << 2,       // reads come from the slot, writes are dropped
    GUEST_SLOT_LOG_DIRTY = 1 << 3, // writes are noted page by page (video RAM)
} GuestSlotFlags;

// What is at one guest page. host_read is NULL where a read is MMIO, host_write where a write is
// MMIO or dropped (rom). Both point at the page's first byte.
typedef struct {
    uint8_t *host_read;
    uint8_t *host_write;
    uint8_t *dirty;  // one byte per page to be set to 1 by a writer, or NULL
    bool dirty_once; // while the byte is 1 writers need not set it (guest_memory_log_start)
    bool rom;        // writes are dropped instead of going to the bus
    GuestSlot *slot; // the slot that reads come from, or NULL
} GuestPage;

// Told after a change, with the machine lock held; must not call back into the map.
typedef struct {
    // Pages [gpa, gpa + size) have changed: forget host pointers and decoded code for them.
    void (*changed)(void *opaque, uint64_t gpa, uint64_t size);
    // Someone other than a vCPU wrote (DMA): forget decoded code for them. Any thread.
    void (*written)(void *opaque, uint64_t gpa, uint64_t size);
    // Bring the dirty bytes up to date where writers do not set them themselves (KVM keeps its own
    // log). May be NULL.
    void (*sync_dirty)(void *opaque);
    // Pages that could be written without a note must be noted again (the write log started, was
    // taken or ended); vCPUs stand still. May be NULL.
    void (*log_changed)(void *opaque);
    void *opaque;
} GuestMemoryListener;

// limit: first guest-physical address that can never be mapped (for instance 1 << 40).
GuestMemory *guest_memory_new(uint64_t limit);
void guest_memory_free(GuestMemory *memory);

void guest_memory_add_listener(GuestMemory *memory, const GuestMemoryListener *listener);
void guest_memory_remove_listener(GuestMemory *memory, const GuestMemoryListener *listener);

// Maps size bytes of host memory at gpa, over what was there. gpa, size: multiples of 4096.
// host stays the caller's and must live until the slot is removed. name: for dumps, copied.
// Machine lock held. Returns the slot, owned by the map; NULL where gpa + size passes the limit.
GuestSlot *guest_memory_map(GuestMemory *memory, const char *name, uint64_t gpa, uint64_t size,
                            uint8_t *host, GuestSlotFlags flags);
// Uncovers what the slot was over. The slot is freed. NULL is allowed. Machine lock held.
void guest_memory_unmap(GuestMemory *memory, GuestSlot *slot);
// Changes address or flags in place (PCI BAR moves, PAM). Machine lock held.
void guest_memory_move(GuestMemory *memory, GuestSlot *slot, uint64_t gpa, GuestSlotFlags flags);

// How a GuestMemory begins: its flattened table, for guest_memory_page alone. A leaf, or NULL, for
// each 1 GiB below the limit. Inline, because an execution backend looks pages up while the guest's
// vector registers are live in the host's: its files are compiled without any use of those.
typedef struct {
    uint64_t limit;
    GuestPage **leaves;
} GuestPageTable;

#define GUEST_LEAF_BITS 18

// The page at gpa; all-NULL where nothing is mapped. Lock-free, any thread.
static inline GuestPage guest_memory_page(const GuestMemory *memory, uint64_t gpa)
{
    const GuestPageTable *table = (const GuestPageTable *)memory;
    GuestPage page = { 0 };
    if (gpa >= table->limit)
        return page;
    const GuestPage *leaf = __atomic_load_n(
        &table->leaves[gpa >> (GUEST_PAGE_BITS + GUEST_LEAF_BITS)], __ATOMIC_ACQUIRE);
    if (!leaf)
        return page;
    const GuestPage *entry = &leaf[gpa >> GUEST_PAGE_BITS & ((1u << GUEST_LEAF_BITS) - 1)];
    page.host_read = __atomic_load_n(&entry->host_read, __ATOMIC_ACQUIRE);
    page.host_write = __atomic_load_n(&entry->host_write, __ATOMIC_ACQUIRE);
    page.dirty = __atomic_load_n(&entry->dirty, __ATOMIC_ACQUIRE);
    page.dirty_once = entry->dirty_once;
    page.rom = entry->rom;
    page.slot = entry->slot;
    return page;
}

// Host pointer to [gpa, gpa + size) where that is one contiguous piece of readable (and, if asked,
// writable) RAM, else NULL. A writer must call guest_memory_written afterwards.
void *guest_memory_host(GuestMemory *memory, uint64_t gpa, uint64_t size, bool for_write);

// DMA. Returns false where a byte lies outside RAM and ROM: read bytes there are 0xff, written
// bytes are dropped; the rest is done. Any thread.
bool guest_memory_read(GuestMemory *memory, uint64_t gpa, void *buffer, size_t size);
bool guest_memory_write(GuestMemory *memory, uint64_t gpa, const void *buffer, size_t size);

// Tells listeners and the dirty log that a device wrote through guest_memory_host.
void guest_memory_written(GuestMemory *memory, uint64_t gpa, uint64_t size);

// The content of all memory was replaced behind the map's back: vCPUs, which stand still, forget
// what they decoded. Machine lock held.
void guest_memory_replaced(GuestMemory *memory);

// The dirty bytes of a slot with GUEST_SLOT_LOG_DIRTY (one per page, set by writers, cleared by
// the reader with an atomic exchange), or NULL. Call guest_memory_sync_dirty before reading them.
uint8_t *guest_slot_dirty(GuestSlot *slot);
void guest_memory_sync_dirty(GuestMemory *memory); // machine lock held

// Whether a CPU may write to the page from now on without setting its dirty byte each time.
static inline bool guest_page_is_noted(const GuestPage *page)
{
    return !page->dirty || (page->dirty_once && __atomic_load_n(page->dirty, __ATOMIC_ACQUIRE));
}

// The write log: which pages of [host, host + size) were written since the last take, whoever
// wrote. Costs a vCPU one slow write per page and take. One log at a time. All three: machine lock
// held, vCPUs stand still.
void guest_memory_log_start(GuestMemory *memory, const uint8_t *host, uint64_t size);
// Sets the bits of written pages in bitmap (one bit a page, (pages + 63) / 64 words) and forgets
// them. Returns how many they were.
uint64_t guest_memory_log_take(GuestMemory *memory, uint64_t *bitmap);
void guest_memory_log_stop(GuestMemory *memory);
bool guest_memory_is_logged(const GuestMemory *memory);

// Calls visit for each flat range in ascending order (for KVM memory slots and for dumps).
typedef struct {
    uint64_t gpa;
    uint64_t size;
    uint8_t *host;
    bool writable;
    bool log_dirty;
} GuestRange;
void guest_memory_for_each(GuestMemory *memory,
                           void (*visit)(void *opaque, const GuestRange *range),
                           void *opaque);

// Fuzzing: called for each DMA read with the bytes about to be returned; may replace them.
void guest_memory_set_fuzz_read(GuestMemory *memory,
                                void (*fill)(void *opaque, uint64_t gpa, void *buffer, size_t size),
                                void *opaque);
