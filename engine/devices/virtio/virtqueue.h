// SPDX-License-Identifier: GPL-2.0-or-later
// A split virtqueue as its device sees it: takes chains that the driver offered, gives them back as
// used, and says when the driver wants an interrupt. All functions: machine lock held; the driver's
// CPUs may write the rings at the same time.
#pragma once

#include "engine/memory/guest-memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Descriptors in one chain, direct and indirect together. A driver's limit is the queue size
// (VIRTIO 1.2, 2.7.5.3.1); old drivers pass it with indirect tables, so ours is higher.
#define VIRTQUEUE_MAX_CHAIN 1024
#define VIRTQUEUE_MAX_SIZE  1024 // entries of a queue

typedef struct {
    uint64_t address; // guest-physical; address + length does not wrap
    uint32_t length;  // never 0
} VirtSegment;

// One chain, copied once from guest memory. The segments live in the queue's scratch space until
// its next pop.
typedef struct {
    uint16_t head;
    unsigned out_count;          // segments that the device reads; they come first
    unsigned in_count;           // segments that the device writes
    uint64_t out_size, in_size;  // bytes
    const VirtSegment *segments; // out_count + in_count of them
} VirtChain;

// What is saved of a queue, in this layout (little-endian hosts only).
typedef struct {
    uint64_t descriptors; // guest-physical addresses of the three areas
    uint64_t available;
    uint64_t used;
    uint16_t size;           // entries, a power of two
    uint16_t vector;         // MSI-X, FFFFh for none
    uint16_t next_available; // index of the entry that is taken next
    uint16_t used_index;
    uint16_t signalled_used; // used_index when the driver was last interrupted
    uint8_t signalled_valid;
    uint8_t enabled;
    uint8_t broken; // the driver broke a ring rule; nothing is taken until a reset
    uint8_t reserved[3];
} VirtqueueState;
_Static_assert(sizeof(VirtqueueState) == 40, "saved as bytes");

typedef struct {
    VirtqueueState state;
    const char *device; // for the log
    GuestMemory *memory;
    uint16_t max_size;
    bool event_index; // VIRTIO_F_EVENT_IDX was negotiated
    bool indirect;    // VIRTIO_F_INDIRECT_DESC was negotiated
    void (*on_broken)(void *opaque);
    void *opaque;
    VirtSegment *scratch;
} Virtqueue;

// max_size: a power of two up to VIRTQUEUE_MAX_SIZE. on_broken: called once when the driver broke
// a ring rule. device: a constant string.
void virtqueue_init(Virtqueue *queue, const char *device, GuestMemory *memory, uint16_t max_size,
                    void (*on_broken)(void *opaque), void *opaque);
void virtqueue_clear(Virtqueue *queue);
// Back to size max_size, disabled, at index 0.
void virtqueue_reset(Virtqueue *queue);

// Whether the queue is enabled and sound.
static inline bool virtqueue_ready(const Virtqueue *queue)
{
    return queue->state.enabled && !queue->state.broken;
}

// Whether the driver offers a chain. Where it does not, the driver is asked to notify at the next
// one. Reading the ring may break the queue.
bool virtqueue_has_chain(Virtqueue *queue);
// Takes the next chain. False where none is offered (the driver will notify) or the queue broke.
bool virtqueue_pop(Virtqueue *queue, VirtChain *ret);
// Takes back the last `count` pops, nothing of which was pushed.
void virtqueue_unpop(Virtqueue *queue, unsigned count);

// Gives a chain back; `written` bytes of its in segments were filled. Ignored where the queue is no
// longer ready.
void virtqueue_push(Virtqueue *queue, uint16_t head, uint32_t written);
// The same in two steps: entries at `ahead` = 0, 1, ... become visible together.
void virtqueue_fill(Virtqueue *queue, unsigned ahead, uint16_t head, uint32_t written);
void virtqueue_publish(Virtqueue *queue, unsigned count);
// Whether what was pushed since the last call deserves an interrupt. Call it once per batch.
bool virtqueue_wants_interrupt(Virtqueue *queue);

// Copies from the out segments, or into the in segments, starting `offset` bytes into them. Return
// how many bytes there were room for. What lies outside RAM reads as FFh, writes are dropped.
size_t virtqueue_read(Virtqueue *queue, const VirtChain *chain, uint64_t offset, void *buffer,
                      size_t size);
size_t virtqueue_write(Virtqueue *queue, const VirtChain *chain, uint64_t offset,
                       const void *buffer, size_t size);
// The same over an array of segments that the caller copied.
size_t virt_segments_read(GuestMemory *memory, const VirtSegment *segments, unsigned count,
                          uint64_t offset, void *buffer, size_t size);
size_t virt_segments_write(GuestMemory *memory, const VirtSegment *segments, unsigned count,
                           uint64_t offset, const void *buffer, size_t size);
