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

// Of a memfd that nobody maps any more.
static gpointer give_back(gpointer opaque)
{
    RamBlock *block = opaque;
    if (fallocate(block->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                  (off_t)block->size) < 0)
        g_info("the memory that a state replaced is not given back: %s", g_strerror(errno));
    return NULL;
}

bool ram_block_detach(RamBlock *block, GError **error)
{
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
    munmap(block->host, block->size);
    close(block->fd);
    g_free(block);
}
