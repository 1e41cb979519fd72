// SPDX-License-Identifier: GPL-2.0-or-later
// See lockstep-memory.h. Memory is copied in blocks, one for each range of host memory that the
// leader's map shows; a later range that reaches beyond a block takes its bytes over.
#include "engine/vcpu/bt/translator/lockstep-memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t *leader, *copy;
    uint64_t size;
} Block;

typedef struct {
    uint64_t gpa, size;
    const uint8_t *leader, *copy;
} Compared;

struct LockstepMemory {
    GuestMemory *leader, *map;
    GArray *blocks;
    GArray *compared;
    GPtrArray *slots;
};

LockstepMemory *lockstep_memory_new(GuestMemory *leader, uint64_t limit)
{
    LockstepMemory *m = g_new0(LockstepMemory, 1);
    m->leader = leader;
    m->map = guest_memory_new(limit);
    m->blocks = g_array_new(FALSE, FALSE, sizeof(Block));
    m->compared = g_array_new(FALSE, FALSE, sizeof(Compared));
    m->slots = g_ptr_array_new();
    lockstep_memory_update(m);
    return m;
}

static void unmap_all(LockstepMemory *m)
{
    for (guint i = m->slots->len; i--;)
        guest_memory_unmap(m->map, m->slots->pdata[i]);
    g_ptr_array_set_size(m->slots, 0);
}

void lockstep_memory_free(LockstepMemory *m)
{
    if (!m)
        return;
    unmap_all(m);
    guest_memory_free(m->map);
    for (guint i = 0; i < m->blocks->len; i++)
        free(g_array_index(m->blocks, Block, i).copy);
    g_array_unref(m->blocks);
    g_array_unref(m->compared);
    g_ptr_array_unref(m->slots);
    g_free(m);
}

GuestMemory *lockstep_memory_map(const LockstepMemory *m)
{
    return m->map;
}

static Block *block_of(LockstepMemory *m, const uint8_t *host, uint64_t size)
{
    for (guint i = 0; i < m->blocks->len; i++) {
        Block *b = &g_array_index(m->blocks, Block, i);
        if (host >= b->leader && size <= b->size && (uint64_t)(host - b->leader) <= b->size - size)
            return b;
    }
    return NULL;
}

// A new block, with what older ones that lie inside of it hold.
static Block *add_block(LockstepMemory *m, uint8_t *host, uint64_t size)
{
    Block block = { host, aligned_alloc(GUEST_PAGE_SIZE, size), size };
    if (!block.copy)
        g_error("no memory for a second copy of the guest's");
    memcpy(block.copy, host, size);
    for (guint i = m->blocks->len; i--;) {
        Block old = g_array_index(m->blocks, Block, i);
        if (old.leader < host || old.leader - host + old.size > size)
            continue;
        memcpy(block.copy + (old.leader - host), old.copy, old.size);
        free(old.copy);
        g_array_remove_index(m->blocks, i);
    }
    g_array_append_val(m->blocks, block);
    return &g_array_index(m->blocks, Block, m->blocks->len - 1);
}

static uint8_t *copy_of(LockstepMemory *m, uint8_t *host, uint64_t size)
{
    Block *b = block_of(m, host, size);
    if (!b)
        b = add_block(m, host, size);
    return b->copy + (host - b->leader);
}

static void add_slot(LockstepMemory *m, uint64_t gpa, uint64_t size, uint8_t *host,
                     GuestSlotFlags flags)
{
    g_ptr_array_add(m->slots, guest_memory_map(m->map, "copy", gpa, size, host, flags));
}

static void find_blocks(void *opaque, const GuestRange *range)
{
    if (range->writable)
        copy_of(opaque, range->host, range->size);
}

static void map_range(void *opaque, const GuestRange *range)
{
    LockstepMemory *m = opaque;
    if (!range->writable) {
        add_slot(m, range->gpa, range->size, range->host, GUEST_SLOT_READ | GUEST_SLOT_ROM);
        return;
    }
    uint8_t *copy = copy_of(m, range->host, range->size);
    add_slot(m, range->gpa, range->size, copy, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    Compared compared = { range->gpa, range->size, range->host, copy };
    if (!range->log_dirty)
        g_array_append_val(m->compared, compared);
}

// Below 1 MiB reads and writes may go to different places (82441FX, PAM registers).
static void map_shadowed(LockstepMemory *m)
{
    for (uint64_t gpa = 0; gpa < 1 << 20; gpa += GUEST_PAGE_SIZE) {
        GuestPage page = guest_memory_page(m->leader, gpa);
        if (page.host_write && page.host_write != page.host_read)
            add_slot(m, gpa, GUEST_PAGE_SIZE, copy_of(m, page.host_write, GUEST_PAGE_SIZE),
                     GUEST_SLOT_WRITE);
    }
}

void lockstep_memory_update(LockstepMemory *m)
{
    unmap_all(m);
    g_array_set_size(m->compared, 0);
    guest_memory_for_each(m->leader, find_blocks, m); // no block moves from here on
    guest_memory_for_each(m->leader, map_range, m);
    map_shadowed(m);
}

void lockstep_memory_copy(LockstepMemory *m)
{
    for (guint i = 0; i < m->blocks->len; i++) {
        Block *b = &g_array_index(m->blocks, Block, i);
        memcpy(b->copy, b->leader, b->size);
    }
}

bool lockstep_memory_equal(LockstepMemory *m, uint64_t *ret_gpa)
{
    for (guint i = 0; i < m->compared->len; i++) {
        Compared *c = &g_array_index(m->compared, Compared, i);
        for (uint64_t at = 0; at < c->size; at += GUEST_PAGE_SIZE) {
            if (!memcmp(c->leader + at, c->copy + at, GUEST_PAGE_SIZE))
                continue;
            while (c->leader[at] == c->copy[at])
                at++;
            *ret_gpa = c->gpa + at;
            return false;
        }
    }
    return true;
}
