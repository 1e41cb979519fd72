// SPDX-License-Identifier: GPL-2.0-or-later
// The flattened table is a two-level radix: a leaf holds the entries of 1 GiB (2^18 pages). Leaves
// are made on the first mapping within and freed with the map, so that a reader can walk without a
// lock. An entry is replaced field by field while vCPUs run; the listener call that follows makes
// every vCPU drop what it read in between.
#include "engine/memory/guest-memory.h"

#include "engine/base/checked.h"

#include <string.h>

#define LEAF_BITS GUEST_LEAF_BITS
#define LEAF_PAGES (1u << LEAF_BITS)

struct GuestSlot {
    char *name;
    uint64_t gpa;
    uint64_t size;
    uint8_t *host;
    uint8_t *dirty; // one byte per page with LOG_DIRTY, else NULL
    GuestSlotFlags flags;
};

struct GuestMemory {
    GuestPageTable table; // first: guest_memory_page
    size_t leaf_count;
    GPtrArray *slots; // bottom to top
    GArray *listeners;
    // The write log; bytes is NULL where there is none.
    const uint8_t *log_host;
    uint64_t log_size;
    uint8_t *log_bytes; // one a page
    void (*fuzz_read)(void *opaque, uint64_t gpa, void *buffer, size_t size);
    void *fuzz_opaque;
};

static void slot_free(void *data)
{
    GuestSlot *slot = data;
    g_free(slot->name);
    g_free(slot->dirty);
    g_free(slot);
}

GuestMemory *guest_memory_new(uint64_t limit)
{
    GuestMemory *memory = g_new0(GuestMemory, 1);
    memory->table.limit = limit;
    memory->leaf_count = (limit >> (GUEST_PAGE_BITS + LEAF_BITS)) + 1;
    memory->table.leaves = g_new0(GuestPage *, memory->leaf_count);
    memory->slots = g_ptr_array_new_with_free_func(slot_free);
    memory->listeners = g_array_new(FALSE, FALSE, sizeof(GuestMemoryListener));
    return memory;
}

void guest_memory_free(GuestMemory *memory)
{
    if (!memory)
        return;
    for (size_t i = 0; i < memory->leaf_count; i++)
        g_free(memory->table.leaves[i]);
    g_free(memory->table.leaves);
    g_free(memory->log_bytes);
    g_ptr_array_unref(memory->slots);
    g_array_unref(memory->listeners);
    g_free(memory);
}

void guest_memory_add_listener(GuestMemory *memory, const GuestMemoryListener *listener)
{
    g_array_append_val(memory->listeners, *listener);
}

void guest_memory_remove_listener(GuestMemory *memory, const GuestMemoryListener *listener)
{
    for (guint i = 0; i < memory->listeners->len; i++) {
        GuestMemoryListener *at = &g_array_index(memory->listeners, GuestMemoryListener, i);
        if (at->opaque == listener->opaque && at->changed == listener->changed) {
            g_array_remove_index(memory->listeners, i);
            return;
        }
    }
}

static GuestPage *page_entry(GuestMemory *memory, uint64_t gpa, bool make)
{
    size_t leaf = gpa >> (GUEST_PAGE_BITS + LEAF_BITS);
    if (gpa >= memory->table.limit)
        return NULL;
    GuestPage *pages = __atomic_load_n(&memory->table.leaves[leaf], __ATOMIC_ACQUIRE);
    if (!pages) {
        if (!make)
            return NULL;
        pages = g_new0(GuestPage, LEAF_PAGES);
        __atomic_store_n(&memory->table.leaves[leaf], pages, __ATOMIC_RELEASE);
    }
    return &pages[(gpa >> GUEST_PAGE_BITS) & (LEAF_PAGES - 1)];
}

static void add_log(const GuestMemory *memory, GuestPage *page)
{
    uint64_t offset = (uintptr_t)page->host_write - (uintptr_t)memory->log_host;
    if (!memory->log_bytes || !page->host_write || page->dirty || offset >= memory->log_size)
        return;
    page->dirty = &memory->log_bytes[offset >> GUEST_PAGE_BITS];
    page->dirty_once = true;
}

// What the topmost slots say of the page at gpa.
static GuestPage resolve_page(GuestMemory *memory, uint64_t gpa)
{
    GuestPage page = { 0 };
    bool write_known = false;
    for (guint i = memory->slots->len; i-- > 0;) {
        GuestSlot *slot = memory->slots->pdata[i];
        if (gpa < slot->gpa || gpa - slot->gpa >= slot->size)
            continue;
        uint64_t offset = gpa - slot->gpa;
        if (!page.slot && (slot->flags & (GUEST_SLOT_READ | GUEST_SLOT_ROM))) {
            page.host_read = slot->host + offset;
            page.slot = slot;
        }
        if (!write_known && (slot->flags & (GUEST_SLOT_WRITE | GUEST_SLOT_ROM))) {
            write_known = true;
            page.rom = !(slot->flags & GUEST_SLOT_WRITE);
            if (!page.rom) {
                page.host_write = slot->host + offset;
                if (slot->flags & GUEST_SLOT_LOG_DIRTY)
                    page.dirty = &slot->dirty[offset >> GUEST_PAGE_BITS];
            }
        }
        if (page.slot && write_known)
            break;
    }
    add_log(memory, &page);
    return page;
}

static void tell_changed(GuestMemory *memory, uint64_t gpa, uint64_t size)
{
    for (guint i = 0; i < memory->listeners->len; i++) {
        GuestMemoryListener *l = &g_array_index(memory->listeners, GuestMemoryListener, i);
        l->changed(l->opaque, gpa, size);
    }
}

static void refresh(GuestMemory *memory, uint64_t gpa, uint64_t size)
{
    for (uint64_t at = gpa; at < gpa + size; at += GUEST_PAGE_SIZE) {
        GuestPage now = resolve_page(memory, at);
        GuestPage *entry = page_entry(memory, at, now.slot || now.host_write);
        if (entry) {
            __atomic_store_n(&entry->host_read, now.host_read, __ATOMIC_RELEASE);
            __atomic_store_n(&entry->host_write, now.host_write, __ATOMIC_RELEASE);
            __atomic_store_n(&entry->dirty, now.dirty, __ATOMIC_RELEASE);
            entry->dirty_once = now.dirty_once;
            entry->rom = now.rom;
            entry->slot = now.slot;
        }
    }
    tell_changed(memory, gpa, size);
}

void guest_memory_replaced(GuestMemory *memory)
{
    tell_changed(memory, 0, memory->table.limit);
}

static void make_dirty_log(GuestSlot *slot)
{
    if ((slot->flags & GUEST_SLOT_LOG_DIRTY) && !slot->dirty) {
        slot->dirty = g_malloc(slot->size >> GUEST_PAGE_BITS);
        memset(slot->dirty, 1, slot->size >> GUEST_PAGE_BITS);
    }
}

GuestSlot *guest_memory_map(GuestMemory *memory, const char *name, uint64_t gpa, uint64_t size,
                            uint8_t *host, GuestSlotFlags flags)
{
    g_return_val_if_fail((gpa | size) % GUEST_PAGE_SIZE == 0, NULL);
    if (!size || !range_within(gpa, size, memory->table.limit))
        return NULL;
    GuestSlot *slot = g_new0(GuestSlot, 1);
    *slot = (GuestSlot){ g_strdup(name), gpa, size, host, NULL, flags };
    make_dirty_log(slot);
    g_ptr_array_add(memory->slots, slot);
    refresh(memory, gpa, size);
    return slot;
}

void guest_memory_unmap(GuestMemory *memory, GuestSlot *slot)
{
    if (!slot)
        return;
    uint64_t gpa = slot->gpa, size = slot->size;
    guint index;
    if (!g_ptr_array_find(memory->slots, slot, &index))
        return;
    g_ptr_array_steal_index(memory->slots, index);
    refresh(memory, gpa, size);
    slot_free(slot);
}

void guest_memory_move(GuestMemory *memory, GuestSlot *slot, uint64_t gpa, GuestSlotFlags flags)
{
    if (slot->gpa == gpa && slot->flags == flags)
        return;
    if (!range_within(gpa, slot->size, memory->table.limit))
        return;
    uint64_t old = slot->gpa;
    slot->gpa = gpa;
    slot->flags = flags;
    make_dirty_log(slot);
    if (old != gpa)
        refresh(memory, old, slot->size);
    refresh(memory, gpa, slot->size);
}

void *guest_memory_host(GuestMemory *memory, uint64_t gpa, uint64_t size, bool for_write)
{
    if (!size || !range_within(gpa, size, memory->table.limit) || memory->fuzz_read)
        return NULL;
    GuestPage first = guest_memory_page(memory, gpa);
    uint8_t *base = for_write ? first.host_write : first.host_read;
    if (!base || (for_write && first.host_read != first.host_write))
        return NULL;
    uint64_t start = gpa & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    for (uint64_t at = start + GUEST_PAGE_SIZE; at < gpa + size; at += GUEST_PAGE_SIZE) {
        GuestPage page = guest_memory_page(memory, at);
        if ((for_write ? page.host_write : page.host_read) != base + (at - start))
            return NULL;
    }
    return base + (gpa - start);
}

bool guest_memory_read(GuestMemory *memory, uint64_t gpa, void *buffer, size_t size)
{
    bool whole = true;
    uint8_t *out = buffer;
    for (size_t done = 0; done < size;) {
        uint64_t at = gpa + done;
        size_t piece = MIN(size - done, GUEST_PAGE_SIZE - (at & (GUEST_PAGE_SIZE - 1)));
        GuestPage page = guest_memory_page(memory, at);
        if (page.host_read) {
            memcpy(out + done, page.host_read + (at & (GUEST_PAGE_SIZE - 1)), piece);
        } else {
            memset(out + done, 0xff, piece);
            whole = false;
        }
        done += piece;
    }
    if (memory->fuzz_read)
        memory->fuzz_read(memory->fuzz_opaque, gpa, buffer, size);
    return whole;
}

bool guest_memory_write(GuestMemory *memory, uint64_t gpa, const void *buffer, size_t size)
{
    bool whole = true;
    const uint8_t *from = buffer;
    for (size_t done = 0; done < size;) {
        uint64_t at = gpa + done;
        size_t piece = MIN(size - done, GUEST_PAGE_SIZE - (at & (GUEST_PAGE_SIZE - 1)));
        GuestPage page = guest_memory_page(memory, at);
        if (page.host_write)
            memcpy(page.host_write + (at & (GUEST_PAGE_SIZE - 1)), from + done, piece);
        else
            whole = false;
        done += piece;
    }
    if (size)
        guest_memory_written(memory, gpa, size);
    return whole;
}

void guest_memory_written(GuestMemory *memory, uint64_t gpa, uint64_t size)
{
    for (uint64_t at = gpa & ~(uint64_t)(GUEST_PAGE_SIZE - 1); at < gpa + size;
         at += GUEST_PAGE_SIZE) {
        uint8_t *dirty = guest_memory_page(memory, at).dirty;
        if (dirty)
            __atomic_store_n(dirty, 1, __ATOMIC_RELAXED);
    }
    for (guint i = 0; i < memory->listeners->len; i++) {
        GuestMemoryListener *l = &g_array_index(memory->listeners, GuestMemoryListener, i);
        if (l->written)
            l->written(l->opaque, gpa, size);
    }
}

static void tell_log_changed(GuestMemory *memory)
{
    for (guint i = 0; i < memory->listeners->len; i++) {
        GuestMemoryListener *l = &g_array_index(memory->listeners, GuestMemoryListener, i);
        if (l->log_changed)
            l->log_changed(l->opaque);
    }
}

// Every entry, without asking the slots: a machine of 2 GiB has half a million.
static void for_each_entry(GuestMemory *memory, void (*visit)(GuestMemory *memory, GuestPage *page))
{
    for (size_t leaf = 0; leaf < memory->leaf_count; leaf++) {
        for (size_t i = 0; memory->table.leaves[leaf] && i < LEAF_PAGES; i++)
            visit(memory, &memory->table.leaves[leaf][i]);
    }
}

static void enter_log(GuestMemory *memory, GuestPage *page)
{
    add_log(memory, page);
}

static void leave_log(GuestMemory *memory, GuestPage *page)
{
    if (page->dirty_once) {
        page->dirty_once = false;
        page->dirty = NULL;
    }
}

void guest_memory_log_start(GuestMemory *memory, const uint8_t *host, uint64_t size)
{
    g_return_if_fail(!memory->log_bytes && size);
    memory->log_host = host;
    memory->log_size = size;
    memory->log_bytes = g_malloc0((size + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_BITS);
    for_each_entry(memory, enter_log);
    tell_log_changed(memory);
}

uint64_t guest_memory_log_take(GuestMemory *memory, uint64_t *bitmap)
{
    g_return_val_if_fail(memory->log_bytes, 0);
    guest_memory_sync_dirty(memory);
    uint64_t pages = (memory->log_size + GUEST_PAGE_SIZE - 1) >> GUEST_PAGE_BITS, count = 0;
    for (uint64_t page = 0; page < pages; page++) {
        if (!(page % 8) && pages - page >= 8) {
            uint64_t eight;
            memcpy(&eight, memory->log_bytes + page, 8);
            if (!eight) {
                page += 7;
                continue;
            }
        }
        if (memory->log_bytes[page]) {
            memory->log_bytes[page] = 0;
            bitmap[page / 64] |= UINT64_C(1) << page % 64;
            count++;
        }
    }
    tell_log_changed(memory);
    return count;
}

void guest_memory_log_stop(GuestMemory *memory)
{
    if (!memory->log_bytes)
        return;
    for_each_entry(memory, leave_log);
    g_clear_pointer(&memory->log_bytes, g_free);
    tell_log_changed(memory);
}

bool guest_memory_is_logged(const GuestMemory *memory)
{
    return memory->log_bytes != NULL;
}

uint8_t *guest_slot_dirty(GuestSlot *slot)
{
    return slot->dirty;
}

void guest_memory_sync_dirty(GuestMemory *memory)
{
    for (guint i = 0; i < memory->listeners->len; i++) {
        GuestMemoryListener *l = &g_array_index(memory->listeners, GuestMemoryListener, i);
        if (l->sync_dirty)
            l->sync_dirty(l->opaque);
    }
}

void guest_memory_for_each(GuestMemory *memory,
                           void (*visit)(void *opaque, const GuestRange *range),
                           void *opaque)
{
    GuestRange range = { 0 };
    for (size_t leaf = 0; leaf < memory->leaf_count; leaf++) {
        for (size_t i = 0; memory->table.leaves[leaf] && i < LEAF_PAGES; i++) {
            GuestPage *page = &memory->table.leaves[leaf][i];
            uint64_t gpa = ((uint64_t)leaf << LEAF_BITS | i) << GUEST_PAGE_BITS;
            bool writable = page->host_write && page->host_write == page->host_read;
            if (range.size && range.gpa + range.size == gpa &&
                page->host_read == range.host + range.size && writable == range.writable &&
                (page->dirty != NULL) == range.log_dirty) {
                range.size += GUEST_PAGE_SIZE;
                continue;
            }
            if (range.size)
                visit(opaque, &range);
            range = (GuestRange){ gpa, page->host_read ? GUEST_PAGE_SIZE : 0, page->host_read,
                                  writable, page->dirty != NULL };
        }
    }
    if (range.size)
        visit(opaque, &range);
}

void guest_memory_set_fuzz_read(GuestMemory *memory,
                                void (*fill)(void *opaque, uint64_t gpa, void *buffer, size_t size),
                                void *opaque)
{
    memory->fuzz_read = fill;
    memory->fuzz_opaque = opaque;
}
