// SPDX-License-Identifier: GPL-2.0-or-later
// A block of host memory that backs guest memory: RAM, ROM or video RAM, a sealed memfd.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *host; // page-aligned mapping, read-write
    size_t size;   // bytes, a multiple of 4096
    int fd;        // memfd, sealed against resize; owned
    bool foreign;  // something else was mapped over it: fd no longer says where there is data
    GThread *giving_back; // what the memfd held; or NULL
    void *aside;          // until then: where its pages are mapped, with aside_size bytes; or NULL
    size_t aside_size;
} RamBlock;

// size: bytes, rounded up to a page. On failure NULL and error names the size (G_IO_ERROR).
RamBlock *ram_block_new(const char *name, size_t size, GError **error);
void ram_block_free(RamBlock *block);
// Lets go of the memfd: the block is private zeros from now on, at the same address, over which
// others may map what they like. What the memfd held is unmapped and given back in a thread of its
// own, because that takes long. False and error (G_IO_ERROR): nothing has changed.
bool ram_block_detach(RamBlock *block, GError **error);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(RamBlock, ram_block_free)
