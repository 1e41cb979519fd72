// SPDX-License-Identifier: GPL-2.0-or-later
// See ram.h. RAM is a sealed memfd, so that it can be handed to another process, which can rely on
// its size.
#include "engine/memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sys/mman.h>
#include <unistd.h>

RamBlock *ram_block_new(const char *name, size_t size, GError **error)
{
    size = (size + 4095) & ~(size_t)4095;
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    void *host = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0) {
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
        host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    if (host == MAP_FAILED) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "no %zu bytes of host memory for '%s': %s", size, name, g_strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    RamBlock *block = g_new0(RamBlock, 1);
    *block = (RamBlock){ .host = host, .size = size, .fd = fd };
    return block;
}

#define TABLE_SPAN ((size_t)2 << 20) // bytes that one page table maps
#define SLICE ((size_t)8 << 20)
#define SLICE_PAUSE_US 500

// Moves what is mapped of the memfd elsewhere, whole page tables at a time, so that mapping over
// the block is quick. Where the kernel cannot do that (before Linux 5.13) nothing has changed.
static void move_aside(RamBlock *block)
{
    size_t size = block->size + TABLE_SPAN;
    uint8_t *room = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return;
    uint8_t *to = room + (((uintptr_t)block->host - (uintptr_t)room) & (TABLE_SPAN - 1));
    if (mremap(block->host, block->size, block->size,
               MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) == MAP_FAILED) {
        munmap(room, size);
        return;
    }
    block->aside = room;
    block->aside_size = size;
}

// Of a memfd whose pages nobody wants any more.
static gpointer give_back(gpointer opaque)
{
    RamBlock *block = opaque;
    // Unmapping keeps others from mapping: little by little, so that they get their turn.
    for (size_t at = 0; block->aside && at < block->aside_size; at += SLICE) {
        munmap((uint8_t *)block->aside + at, MIN(SLICE, block->aside_size - at));
        g_usleep(SLICE_PAUSE_US);
    }
    block->aside = NULL;
    if (fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  (off_t)block->size) < 0)
        g_info("the memory that a state replaced is not given back: %s", g_strerror(errno));
    return NULL;
}

bool ram_block_detach(RamBlock *block, GError **error)
{
    if (!block->giving_back && !block->aside)
        move_aside(block);
    if (mmap(block->host, block->size, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "no %zu bytes of host memory for another state: %s", block->size,
                    g_strerror(errno));
        return false;
    }
    block->foreign = true;
    if (!block->giving_back)
        block->giving_back = g_thread_new("give-back", give_back, block);
    return true;
}

void ram_block_free(RamBlock *block)
{
    if (!block)
        return;
    if (block->giving_back)
        g_thread_join(block->giving_back);
    else if (block->aside)
        munmap(block->aside, block->aside_size);
    munmap(block->host, block->size);
    close(block->fd);
    g_free(block);
}
