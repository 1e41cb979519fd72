// SPDX-License-Identifier: GPL-2.0-or-later
// A bounded queue of bytes inside a device's saved state.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BYTE_QUEUE_SIZE 256

typedef struct {
    uint8_t bytes[BYTE_QUEUE_SIZE];
    uint16_t head, count;
} ByteQueue;

static inline unsigned byte_queue_room(const ByteQueue *queue)
{
    return BYTE_QUEUE_SIZE - queue->count;
}

// Drops the byte where the queue is full.
static inline void byte_queue_push(ByteQueue *queue, uint8_t byte)
{
    if (queue->count < BYTE_QUEUE_SIZE)
        queue->bytes[(queue->head + queue->count++) % BYTE_QUEUE_SIZE] = byte;
}

// 0 where the queue is empty.
static inline uint8_t byte_queue_pop(ByteQueue *queue)
{
    if (!queue->count)
        return 0;
    uint8_t byte = queue->bytes[queue->head];
    queue->head = (uint16_t)((queue->head + 1) % BYTE_QUEUE_SIZE);
    queue->count--;
    return byte;
}

static inline bool byte_queue_valid(const ByteQueue *queue)
{
    return queue->head < BYTE_QUEUE_SIZE && queue->count <= BYTE_QUEUE_SIZE;
}

// Fields for a state table.
#define BYTE_QUEUE_STATE_FIELDS(type, member)                                                      \
    STATE_ARRAY(type, member.bytes, STATE_U8), STATE_SCALAR(type, member.head, STATE_U16),         \
        STATE_SCALAR(type, member.count, STATE_U16)
