// SPDX-License-Identifier: GPL-2.0-or-later
// Split virtqueues, device side, following VIRTIO 1.2, section 2.7. Not here: who notifies whom and
// how (virtio-pci.c), and packed queues, which are not offered.
//
// The rings are shared with CPUs that may be hostile and run at the same time. So each descriptor
// is copied once and judged by its copy; every walk has a bound; an entry that breaks a rule breaks
// the queue (the device then sets DEVICE_NEEDS_RESET), since no later entry can be trusted to mean
// what its driver meant. Addresses are not judged here: guest_memory_read and _write bound them.
#include "engine/devices/virtio/virtqueue.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/base/guest-log.h"

#include <stdatomic.h>

enum {
    DESCRIPTOR_SIZE = 16,
    DESCRIPTOR_NEXT = 1 << 0,
    DESCRIPTOR_WRITE = 1 << 1,
    DESCRIPTOR_INDIRECT = 1 << 2,
    AVAILABLE_NO_INTERRUPT = 1 << 0,
    RING_INDEX = 2,   // offset of idx in both rings
    RING_ENTRIES = 4, // offset of the first entry in both rings
    USED_ENTRY_SIZE = 8,
};

typedef struct {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
} Descriptor;

// Where the walk of one chain stands: in the queue's table or in an indirect one.
typedef struct {
    uint64_t table;
    uint32_t count;
    uint32_t index;
    bool indirect;
} Walk;

void virtqueue_init(Virtqueue *queue, const char *device, GuestMemory *memory, uint16_t max_size,
                    void (*on_broken)(void *opaque), void *opaque)
{
    *queue = (Virtqueue){ .device = device, .memory = memory, .max_size = max_size,
                          .on_broken = on_broken, .opaque = opaque };
    queue->scratch = g_new(VirtSegment, VIRTQUEUE_MAX_CHAIN);
    virtqueue_reset(queue);
}

void virtqueue_clear(Virtqueue *queue)
{
    g_clear_pointer(&queue->scratch, g_free);
}

void virtqueue_reset(Virtqueue *queue)
{
    queue->state = (VirtqueueState){ .size = queue->max_size, .vector = 0xffff };
    queue->event_index = queue->indirect = false;
}

static void break_queue(Virtqueue *queue, const char *kind)
{
    guest_log_once(queue->device, kind, "virtqueue stopped until the driver resets the device");
    queue->state.broken = 1;
    if (queue->on_broken)
        queue->on_broken(queue->opaque);
}

static bool read16(Virtqueue *queue, uint64_t address, uint16_t *ret)
{
    uint8_t bytes[2];
    if (!guest_memory_read(queue->memory, address, bytes, sizeof bytes)) {
        break_queue(queue, "ring outside RAM");
        return false;
    }
    *ret = le16_read(bytes);
    return true;
}

static void write16(Virtqueue *queue, uint64_t address, uint16_t value)
{
    uint8_t bytes[2];
    le16_write(bytes, value);
    if (!guest_memory_write(queue->memory, address, bytes, sizeof bytes))
        break_queue(queue, "ring outside RAM");
}

// Number of chains that wait; 0 also where the queue broke.
static uint16_t chains_offered(Virtqueue *queue)
{
    uint16_t index;
    if (!virtqueue_ready(queue) ||
        !read16(queue, queue->state.available + RING_INDEX, &index))
        return 0;
    uint16_t offered = (uint16_t)(index - queue->state.next_available);
    if (offered > queue->state.size) {
        break_queue(queue, "available index jumped");
        return 0;
    }
    // The entries are read after the index that announced them.
    atomic_thread_fence(memory_order_acquire);
    return offered;
}

bool virtqueue_has_chain(Virtqueue *queue)
{
    if (chains_offered(queue))
        return true;
    if (!virtqueue_ready(queue) || !queue->event_index)
        return false;
    // avail_event says at which entry the driver notifies (2.7.10); a chain that came between the
    // look and this write would not be announced, hence the second look.
    uint64_t event = queue->state.used + RING_ENTRIES + USED_ENTRY_SIZE * queue->state.size;
    write16(queue, event, queue->state.next_available);
    atomic_thread_fence(memory_order_seq_cst);
    return chains_offered(queue) > 0;
}

static bool read_descriptor(Virtqueue *queue, const Walk *walk, Descriptor *ret)
{
    uint8_t bytes[DESCRIPTOR_SIZE];
    uint64_t address;
    if (!checked_add(walk->table, (uint64_t)walk->index * DESCRIPTOR_SIZE, &address) ||
        !guest_memory_read(queue->memory, address, bytes, sizeof bytes)) {
        break_queue(queue, "descriptor outside RAM");
        return false;
    }
    *ret = (Descriptor){ le64_read(bytes), le32_read(bytes + 8), le16_read(bytes + 12),
                         le16_read(bytes + 14) };
    return true;
}

// Points the walk at the indirect table that `d` names (2.7.5.3).
static bool enter_indirect(Virtqueue *queue, Walk *walk, const Descriptor *d)
{
    if (!queue->indirect || walk->indirect || (d->flags & DESCRIPTOR_NEXT) || !d->length ||
        d->length % DESCRIPTOR_SIZE) {
        break_queue(queue, "impossible indirect descriptor");
        return false;
    }
    *walk = (Walk){ d->address, d->length / DESCRIPTOR_SIZE, 0, true };
    return true;
}

static bool add_segment(Virtqueue *queue, VirtChain *chain, const Descriptor *d)
{
    uint64_t end;
    bool in = d->flags & DESCRIPTOR_WRITE;
    if (!checked_add(d->address, d->length, &end)) {
        break_queue(queue, "buffer wraps the address space");
        return false;
    }
    if (!in && chain->in_count) {
        // 2.7.4.2: device-readable descriptors come before device-writable ones.
        break_queue(queue, "readable buffer after a writable one");
        return false;
    }
    if (!d->length)
        return true;
    queue->scratch[chain->out_count + chain->in_count] = (VirtSegment){ d->address, d->length };
    if (in) {
        chain->in_count++;
        chain->in_size += d->length;
    } else {
        chain->out_count++;
        chain->out_size += d->length;
    }
    return true;
}

static bool walk_chain(Virtqueue *queue, VirtChain *chain)
{
    Walk walk = { queue->state.descriptors, queue->state.size, chain->head, false };
    for (unsigned steps = 0; steps < VIRTQUEUE_MAX_CHAIN; steps++) {
        Descriptor d;
        if (!read_descriptor(queue, &walk, &d))
            return false;
        if (d.flags & DESCRIPTOR_INDIRECT) {
            if (!enter_indirect(queue, &walk, &d))
                return false;
            continue;
        }
        if (!add_segment(queue, chain, &d))
            return false;
        if (!(d.flags & DESCRIPTOR_NEXT))
            return true;
        if (d.next >= walk.count) {
            break_queue(queue, "next descriptor outside the table");
            return false;
        }
        walk.index = d.next;
    }
    break_queue(queue, "descriptor chain too long or a loop");
    return false;
}

bool virtqueue_pop(Virtqueue *queue, VirtChain *ret)
{
    if (!virtqueue_has_chain(queue))
        return false;
    VirtqueueState *s = &queue->state;
    VirtChain chain = { .segments = queue->scratch };
    uint64_t entry = s->available + RING_ENTRIES + 2 * (uint64_t)(s->next_available % s->size);
    if (!read16(queue, entry, &chain.head))
        return false;
    if (chain.head >= s->size) {
        break_queue(queue, "head outside the table");
        return false;
    }
    if (!walk_chain(queue, &chain))
        return false;
    s->next_available++;
    *ret = chain;
    return true;
}

void virtqueue_unpop(Virtqueue *queue, unsigned count)
{
    queue->state.next_available = (uint16_t)(queue->state.next_available - count);
}

void virtqueue_fill(Virtqueue *queue, unsigned ahead, uint16_t head, uint32_t written)
{
    if (!virtqueue_ready(queue))
        return;
    VirtqueueState *s = &queue->state;
    uint8_t bytes[USED_ENTRY_SIZE];
    uint64_t slot = (uint16_t)(s->used_index + ahead) % s->size;
    le32_write(bytes, head);
    le32_write(bytes + 4, written);
    if (!guest_memory_write(queue->memory, s->used + RING_ENTRIES + slot * USED_ENTRY_SIZE, bytes,
                            sizeof bytes))
        break_queue(queue, "ring outside RAM");
}

void virtqueue_publish(Virtqueue *queue, unsigned count)
{
    if (!virtqueue_ready(queue))
        return;
    VirtqueueState *s = &queue->state;
    uint16_t before = s->used_index;
    // A driver that sees the index must see the entries and the data.
    atomic_thread_fence(memory_order_release);
    s->used_index = (uint16_t)(before + count);
    // Once more than a lap behind, signalled_used says nothing about what the driver has seen.
    if ((uint16_t)(s->used_index - s->signalled_used) < (uint16_t)(s->used_index - before))
        s->signalled_valid = 0;
    write16(queue, s->used + RING_INDEX, s->used_index);
}

void virtqueue_push(Virtqueue *queue, uint16_t head, uint32_t written)
{
    virtqueue_fill(queue, 0, head, written);
    virtqueue_publish(queue, 1);
}

bool virtqueue_wants_interrupt(Virtqueue *queue)
{
    if (!virtqueue_ready(queue))
        return false;
    VirtqueueState *s = &queue->state;
    uint16_t word;
    // The used index must be visible before the driver's wish is read (2.7.7.2).
    atomic_thread_fence(memory_order_seq_cst);
    if (!queue->event_index)
        return read16(queue, s->available, &word) && !(word & AVAILABLE_NO_INTERRUPT);
    uint64_t used_event = s->available + RING_ENTRIES + 2 * (uint64_t)s->size;
    if (!read16(queue, used_event, &word))
        return false;
    uint16_t old = s->signalled_used;
    bool valid = s->signalled_valid;
    s->signalled_used = s->used_index;
    s->signalled_valid = 1;
    // 2.7.10: an interrupt is due where `word` lies in [old, used_index).
    return !valid ||
           (uint16_t)(s->used_index - word - 1) < (uint16_t)(s->used_index - old);
}

size_t virt_segments_read(GuestMemory *memory, const VirtSegment *segments, unsigned count,
                          uint64_t offset, void *buffer, size_t size)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < size; i++) {
        if (offset >= segments[i].length) {
            offset -= segments[i].length;
            continue;
        }
        size_t piece = MIN(size - done, segments[i].length - offset);
        guest_memory_read(memory, segments[i].address + offset, (uint8_t *)buffer + done, piece);
        done += piece;
        offset = 0;
    }
    return done;
}

size_t virt_segments_write(GuestMemory *memory, const VirtSegment *segments, unsigned count,
                           uint64_t offset, const void *buffer, size_t size)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < size; i++) {
        if (offset >= segments[i].length) {
            offset -= segments[i].length;
            continue;
        }
        size_t piece = MIN(size - done, segments[i].length - offset);
        guest_memory_write(memory, segments[i].address + offset, (const uint8_t *)buffer + done,
                           piece);
        done += piece;
        offset = 0;
    }
    return done;
}

size_t virtqueue_read(Virtqueue *queue, const VirtChain *chain, uint64_t offset, void *buffer,
                      size_t size)
{
    return virt_segments_read(queue->memory, chain->segments, chain->out_count, offset, buffer,
                              size);
}

size_t virtqueue_write(Virtqueue *queue, const VirtChain *chain, uint64_t offset,
                       const void *buffer, size_t size)
{
    return virt_segments_write(queue->memory, chain->segments + chain->out_count, chain->in_count,
                               offset, buffer, size);
}
