// SPDX-License-Identifier: GPL-2.0-or-later
// Optical media: a valid small image with the input written over it, opened, asked whether it
// boots, and read at its edges.
#include "engine/base/bytes.h"
#include "snapshots/block-iso.h"

#include <sys/mman.h>
#include <unistd.h>

#define SECTORS 24u
#define BYTES   (SECTORS * ISO_SECTOR_SIZE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_image(uint8_t *image)
{
    uint8_t *sector = image + 16 * ISO_SECTOR_SIZE;
    memcpy(sector, "\1CD001\1", 7);
    le32_write(sector + 80, SECTORS);
    le16_write(sector + 128, ISO_SECTOR_SIZE);
    sector += ISO_SECTOR_SIZE;
    memcpy(sector, "\0CD001\1EL TORITO SPECIFICATION", 30);
    le32_write(sector + 0x47, 20);
    memcpy(sector + ISO_SECTOR_SIZE, "\377CD001\1", 7);
    memcpy(image + 20 * ISO_SECTOR_SIZE, "\1", 1);
    image[20 * ISO_SECTOR_SIZE + 28] = 0xaa;
    image[20 * ISO_SECTOR_SIZE + 29] = 0x55;
    image[20 * ISO_SECTOR_SIZE + 30] = 0x55;
    image[20 * ISO_SECTOR_SIZE + 31] = 0xaa;
    image[20 * ISO_SECTOR_SIZE + 32] = 0x88;
}

// The input: 2 bytes of how much is cut off the end, then (sector, offset, byte) edits.
static size_t edit_image(uint8_t *image, const uint8_t *data, size_t size)
{
    size_t cut = size >= 2 ? le16_read(data) : 0;
    for (size_t i = 2; i + 4 <= size; i += 4) {
        size_t sector = 16 + data[i] % 8u, offset = le16_read(data + i + 1) % ISO_SECTOR_SIZE;
        image[sector * ISO_SECTOR_SIZE + offset] = data[i + 3];
    }
    return BYTES - cut % BYTES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[BYTES];
    memset(image, 0, sizeof image);
    make_image(image);
    size_t bytes = edit_image(image, data, size);
    int fd = memfd_create("iso", MFD_CLOEXEC);
    if (fd < 0 || write(fd, image, bytes) != (ssize_t)bytes)
        return 0;
    BlockOpen options = { .fd = fd, .read_only = true, .driver = bytes & 1 ? "iso" : NULL,
                          .io = BLOCK_IO_URING };
    BlockDevice *block = block_open(&options, NULL);
    if (!block)
        return 0;
    uint8_t sector[ISO_SECTOR_SIZE];
    BlockExtent extents[4];
    iso_is_bootable(block, NULL);
    if (block_size(block) >= sizeof sector)
        block_read_sync(block, block_size(block) - sizeof sector, sector, sizeof sector);
    block_extents(block, 0, block_size(block), extents, G_N_ELEMENTS(extents));
    block_close(block);
    return 0;
}
