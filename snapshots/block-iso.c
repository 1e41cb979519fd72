// SPDX-License-Identifier: GPL-2.0-or-later
// Optical media: a raw file, read-only, in sectors of 2 KiB, that is refused where it is plainly
// not whole. Follows ECMA-119 (ISO 9660), 4th edition: 8.1 volume descriptors, 8.4 the primary
// one; and "El Torito" Bootable CD-ROM Format Specification 1.0 for what firmware starts from.
// Media that are not ISO 9660 (UDF only) pass with the size they have.
#include "snapshots/block-iso.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "snapshots/block-private.h"

#include <gio/gio.h>

#define FIRST_DESCRIPTOR 16u   // sector; 8.1, "System Area" before it
#define DESCRIPTOR_LIMIT 64u   // descriptors looked at before giving up
#define DESCRIPTOR_BOOT 0u
#define DESCRIPTOR_PRIMARY 1u
#define DESCRIPTOR_END 255u
#define SMALLEST_ISO ((FIRST_DESCRIPTOR + 1) * ISO_SECTOR_SIZE)

typedef struct {
    BlockDevice *next;
} Iso;

// Any descriptor of ISO 9660, whatever its type.
static bool is_descriptor(const uint8_t *sector)
{
    return memcmp(sector + 1, "CD001", 5) == 0;
}

static int iso_probe(const uint8_t *head, size_t size, const char *path)
{
    const size_t at = FIRST_DESCRIPTOR * ISO_SECTOR_SIZE;
    if (size < at + ISO_SECTOR_SIZE)
        return 0;
    // Extended area of UDF (ECMA-167, part 2, 9.2)
    return is_descriptor(head + at) || memcmp(head + at + 1, "BEA01", 5) == 0 ? 90 : 0;
}

// The bytes that the primary volume descriptor promises, 0 where the sector is not one.
static uint64_t promised_size(const uint8_t *sector)
{
    if (!is_descriptor(sector) || sector[0] != DESCRIPTOR_PRIMARY)
        return 0;
    uint64_t blocks = le32_read(sector + 80);   // 8.4.8 Volume Space Size
    uint64_t block_bytes = le16_read(sector + 128); // 8.4.12 Logical Block Size
    if (block_bytes != 512 && block_bytes != 1024)
        block_bytes = ISO_SECTOR_SIZE;
    return blocks * block_bytes; // 32 by 16 bits
}

static void *iso_open(BlockDevice *next, const BlockOpen *options, uint64_t *ret_size,
                      GError **error)
{
    uint64_t size = block_size(next);
    if (size < SMALLEST_ISO) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "ISO image '%s' is too small to hold a file system (%" G_GINT64_MODIFIER
                    "u bytes): it is truncated or not an ISO, download it again",
                    block_path(next), size);
        return NULL;
    }
    g_autofree uint8_t *sector = g_malloc(ISO_SECTOR_SIZE);
    int result = block_read_sync(next, FIRST_DESCRIPTOR * ISO_SECTOR_SIZE, sector, ISO_SECTOR_SIZE);
    if (result < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "ISO image '%s' cannot be read: %s", block_path(next), g_strerror(-result));
        return NULL;
    }
    uint64_t promised = promised_size(sector);
    if (promised > size) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "ISO image '%s' is truncated: it should have %" G_GINT64_MODIFIER
                    "u bytes and has %" G_GINT64_MODIFIER "u, download it again",
                    block_path(next), promised, size);
        return NULL;
    }
    Iso *iso = g_new0(Iso, 1);
    iso->next = next;
    *ret_size = size - size % ISO_SECTOR_SIZE;
    return iso;
}

static void iso_submit(void *driver, BlockRequest *request)
{
    Iso *iso = driver;
    block_forward(iso->next, request);
}

static int iso_extents(void *driver, uint64_t offset, uint64_t length, BlockExtent *ret_extents,
                       size_t max)
{
    Iso *iso = driver;
    return block_extents(iso->next, offset, length, ret_extents, max);
}

static void iso_close(void *driver)
{
    g_free(driver);
}

const BlockDriverOps block_iso_ops = {
    .name = "iso",
    .probe = iso_probe,
    .open = iso_open,
    .submit = iso_submit,
    .extents = iso_extents,
    .close = iso_close,
};

// El Torito, 2.1 to 2.3: a validation entry with a checksum of zero, then at least one bootable
// entry among the initial one and those of the sections.
static bool catalogue_boots(const uint8_t *catalogue)
{
    uint16_t sum = 0;
    for (unsigned i = 0; i < 32; i += 2)
        sum = (uint16_t)(sum + le16_read(catalogue + i));
    if (catalogue[0] != 1 || sum != 0 || catalogue[30] != 0x55 || catalogue[31] != 0xaa)
        return false;
    for (unsigned at = 32; at < ISO_SECTOR_SIZE; at += 32) {
        if (catalogue[at] == 0x88)
            return true;
    }
    return false;
}

static bool read_sector(BlockDevice *block, uint64_t sector, uint8_t *buffer, GError **error)
{
    int result = block_read_sync(block, sector * ISO_SECTOR_SIZE, buffer, ISO_SECTOR_SIZE);
    if (result == 0)
        return true;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                "medium '%s' cannot be read: %s", block_path(block), g_strerror(-result));
    return false;
}

bool iso_is_bootable(BlockDevice *block, GError **error)
{
    static const char identifier[] = "EL TORITO SPECIFICATION";
    const char *missing = "has no El Torito boot record";
    uint64_t sectors = block_size(block) / ISO_SECTOR_SIZE;
    g_autofree uint8_t *sector = g_malloc(ISO_SECTOR_SIZE);
    for (uint64_t at = FIRST_DESCRIPTOR; at < FIRST_DESCRIPTOR + DESCRIPTOR_LIMIT && at < sectors;
         at++) {
        if (!read_sector(block, at, sector, error))
            return false;
        // UDF bridges put their own descriptors (BEA01, NSR02, TEA01) among these.
        if (is_descriptor(sector) && sector[0] == DESCRIPTOR_END)
            break;
        if (!is_descriptor(sector) || sector[0] != DESCRIPTOR_BOOT ||
            memcmp(sector + 7, identifier, sizeof identifier - 1) != 0)
            continue;
        uint32_t catalogue = le32_read(sector + 0x47);
        if (catalogue < sectors) {
            if (!read_sector(block, catalogue, sector, error))
                return false;
            if (catalogue_boots(sector))
                return true;
        }
        missing = "has a damaged boot catalogue";
        break;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                "medium '%s' is not bootable: it %s; choose an installation or live ISO",
                block_path(block), missing);
    return false;
}
