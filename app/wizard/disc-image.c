// SPDX-License-Identifier: GPL-2.0-or-later
// See disc-image.h. Follows ECMA-119 (ISO 9660), 4th edition: 8.1 volume descriptors, 8.4 the
// primary one, 9.1 directory records; names of Rock Ridge (IEEE P1282, "NM") where there are any.
// Every length comes from the file and is checked before use; nothing is followed without a bound.
#include "app/wizard/disc-image.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <string.h>
#include <unistd.h>

#define SECTOR 2048u
#define FIRST_DESCRIPTOR 16u
#define DESCRIPTORS_MAX 64u
#define FOLDER_MAX (256u * 1024) // bytes of a directory that are looked at
#define LINE_MAX_BYTES 200u

struct DiscImage {
    int fd;
    uint64_t size;
    uint8_t primary[SECTOR];
    bool bootable;
    char *volume, *publisher, *application;
};

typedef struct {
    uint64_t offset;
    uint32_t size;
    bool folder;
} Entry;

static bool read_at(const DiscImage *disc, uint64_t offset, void *buffer, size_t size)
{
    return range_within(offset, size, disc->size) &&
           pread(disc->fd, buffer, size, (off_t)offset) == (ssize_t)size;
}

// A descriptor's text field: padded with spaces, meant to be ASCII.
static char *field(const uint8_t *at, size_t size)
{
    g_autofree char *text = g_strndup((const char *)at, size);
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    return g_strdup(g_strstrip(valid));
}

DiscImage *disc_image_open(int fd, uint64_t size, GError **error)
{
    g_autoptr(DiscImage) disc = g_new0(DiscImage, 1);
    disc->fd = fd;
    disc->size = size;
    bool found = false;
    uint8_t sector[SECTOR];
    for (unsigned i = 0; i < DESCRIPTORS_MAX; i++) {
        if (!read_at(disc, (uint64_t)(FIRST_DESCRIPTOR + i) * SECTOR, sector, SECTOR))
            break;
        // Bridges to UDF have BEA01, NSR02 and TEA01 among these.
        if (memcmp(sector + 1, "CD001", 5) != 0)
            continue;
        if (sector[0] == 255)
            break;
        if (sector[0] == 0 && memcmp(sector + 7, "EL TORITO SPECIFICATION", 23) == 0)
            disc->bootable = true;
        if (sector[0] == 1 && !found) {
            found = true;
            memcpy(disc->primary, sector, SECTOR);
        }
    }
    if (!found) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "no ISO 9660 image");
        return NULL;
    }
    disc->volume = field(disc->primary + 40, 32);
    disc->publisher = field(disc->primary + 318, 128);
    disc->application = field(disc->primary + 574, 128);
    return g_steal_pointer(&disc);
}

void disc_image_free(DiscImage *disc)
{
    if (!disc)
        return;
    g_free(disc->volume);
    g_free(disc->publisher);
    g_free(disc->application);
    g_free(disc);
}

const char *disc_image_volume(const DiscImage *disc)
{
    return disc->volume;
}

const char *disc_image_publisher(const DiscImage *disc)
{
    return disc->publisher;
}

const char *disc_image_application(const DiscImage *disc)
{
    return disc->application;
}

bool disc_image_is_bootable(const DiscImage *disc)
{
    return disc->bootable;
}

uint64_t disc_image_promised_size(const DiscImage *disc)
{
    uint64_t block = le16_read(disc->primary + 128); // 8.4.12 Logical Block Size
    if (block != 512 && block != 1024)
        block = SECTOR;
    return le32_read(disc->primary + 80) * block; // 8.4.8 Volume Space Size
}

// The name in a record's system use area; false where it has none. record: all of it.
static bool rock_ridge_name(const uint8_t *record, unsigned size, char *ret_name, size_t room)
{
    unsigned at = 33u + record[32];
    at += at & 1; // 9.1.12: a padding byte keeps the length even
    size_t used = 0;
    while (at + 5 <= size) {
        unsigned length = record[at + 2];
        if (length < 5 || length > size - at)
            break;
        if (record[at] == 'N' && record[at + 1] == 'M') {
            size_t part = MIN(length - 5u, room - 1 - used);
            memcpy(ret_name + used, record + at + 5, part);
            used += part;
        }
        at += length;
    }
    ret_name[used] = 0;
    return used > 0;
}

// The ISO 9660 name, without version (";1") and trailing dot.
static void plain_name(const uint8_t *record, char *ret_name)
{
    unsigned length = record[32];
    memcpy(ret_name, record + 33, length);
    ret_name[length] = 0;
    char *version = strchr(ret_name, ';');
    if (version)
        *version = 0;
    length = (unsigned)strlen(ret_name);
    if (length > 0 && ret_name[length - 1] == '.')
        ret_name[length - 1] = 0;
}

static bool is_named(const uint8_t *record, unsigned size, const char *wanted)
{
    char name[256];
    if (rock_ridge_name(record, size, name, sizeof name) && g_ascii_strcasecmp(name, wanted) == 0)
        return true;
    plain_name(record, name);
    return g_ascii_strcasecmp(name, wanted) == 0;
}

static bool look_in(const DiscImage *disc, const Entry *folder, const char *name, Entry *ret_entry)
{
    uint8_t sector[SECTOR];
    uint32_t end = MIN(folder->size, FOLDER_MAX);
    for (uint32_t start = 0; start < end; start += SECTOR) {
        if (!read_at(disc, folder->offset + start, sector, SECTOR))
            return false;
        // No record crosses a sector; a length of zero ends the sector.
        for (unsigned at = 0; at + 34 <= SECTOR && sector[at];) {
            const uint8_t *record = sector + at;
            unsigned size = record[0];
            if (size < 34 || size > SECTOR - at || 33u + record[32] > size)
                return false;
            if (is_named(record, size, name)) {
                *ret_entry = (Entry){ (uint64_t)le32_read(record + 2) * SECTOR,
                                      le32_read(record + 10), record[25] & 2 };
                return true;
            }
            at += size;
        }
    }
    return false;
}

static bool find(const DiscImage *disc, const char *path, Entry *ret_entry)
{
    const uint8_t *root = disc->primary + 156; // 8.4.18
    Entry entry = { (uint64_t)le32_read(root + 2) * SECTOR, le32_read(root + 10), true };
    g_auto(GStrv) parts = g_strsplit(path, "/", -1);
    for (char **part = parts; *part; part++) {
        if (!entry.folder || !look_in(disc, &entry, *part, &entry))
            return false;
    }
    *ret_entry = entry;
    return true;
}

bool disc_image_has(const DiscImage *disc, const char *path)
{
    Entry entry;
    return find(disc, path, &entry);
}

char *disc_image_first_line(const DiscImage *disc, const char *path)
{
    Entry entry;
    if (!find(disc, path, &entry) || entry.folder)
        return NULL;
    char line[LINE_MAX_BYTES + 1] = { 0 };
    if (!read_at(disc, entry.offset, line, MIN(entry.size, LINE_MAX_BYTES)))
        return NULL;
    line[strcspn(line, "\r\n")] = 0;
    return field((const uint8_t *)line, strlen(line));
}
