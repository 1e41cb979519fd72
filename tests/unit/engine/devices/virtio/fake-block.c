// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/engine/devices/virtio/fake-block.h"

#include <errno.h>
#include <string.h>

uint64_t block_size(const BlockDevice *block)
{
    return FAKE_DISK_SIZE;
}

bool block_read_only(const BlockDevice *block)
{
    return block->read_only;
}

void block_submit(BlockDevice *block, BlockRequest *request)
{
    g_queue_push_tail(&block->pending, request);
}

// Moves the request's bytes; what lies outside the disk is an error.
static int transfer(BlockDevice *block, BlockRequest *r)
{
    if (r->offset > FAKE_DISK_SIZE || r->length > FAKE_DISK_SIZE - r->offset)
        return -EINVAL;
    uint64_t at = r->offset;
    for (int i = 0; i < r->iov_count; i++) {
        g_assert_cmpuint(at + r->iov[i].iov_len, <=, r->offset + r->length);
        if (r->operation == BLOCK_READ)
            memcpy(r->iov[i].iov_base, block->data + at, r->iov[i].iov_len);
        else
            memcpy(block->data + at, r->iov[i].iov_base, r->iov[i].iov_len);
        at += r->iov[i].iov_len;
    }
    g_assert_cmpuint(at, ==, r->offset + r->length);
    return 0;
}

bool fake_block_complete(BlockDevice *block)
{
    BlockRequest *r = g_queue_pop_head(&block->pending);
    int result = -block->fail;
    if (!r)
        return false;
    if (r->operation == BLOCK_FLUSH) {
        block->flushes++;
    } else if (r->operation == BLOCK_DISCARD) {
        block->discards++;
        memset(block->data + r->offset, 0, r->length);
    } else if (r->operation == BLOCK_WRITE_ZEROES) {
        block->zeroings++;
        if (block->cannot_zero)
            result = -EOPNOTSUPP;
        else
            memset(block->data + r->offset, 0, r->length);
    } else if (!result) {
        result = transfer(block, r);
    }
    r->complete(r, result);
    return true;
}

void fake_block_complete_all(BlockDevice *block)
{
    while (fake_block_complete(block))
        ;
}
