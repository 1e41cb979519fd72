// SPDX-License-Identifier: GPL-2.0-or-later
// The log of a VHDX, [MS-VHDX] 2.3: metadata writes that may not have reached their places. An
// image whose header names a log must not be read without it. We write no VHDX, so the file stays
// as it is: what the log says is laid over everything that is read, in memory.
#include "snapshots/formats/vhdx-private.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define SECTOR        4096u
#define BUDGET        8u // times the log's size: each honest entry is read two or three times
#define ZEROS_MAX     4096u
#define ENTRY_HEAD    64u
#define DESCRIPTOR    32u
#define HEAD_CHECKSUM 4
#define HEAD_LENGTH   8
#define HEAD_TAIL     12
#define HEAD_SEQUENCE 16
#define HEAD_COUNT    24
#define HEAD_GUID     32
#define HEAD_FLUSHED  48
#define HEAD_LAST     56

typedef struct {
    const uint8_t *log; // the whole circular buffer
    uint64_t size;
    const uint8_t *guid;
    uint64_t budget; // bytes that may still be summed: entries may claim to overlap
} Log;

typedef struct {
    uint64_t sequence;
    uint32_t offset, length, tail;
    uint64_t flushed, last; // file sizes
} Entry;

uint32_t vhdx_checksum(const uint8_t *bytes, size_t size, size_t at)
{
    static uint32_t table[256]; // filled once; every thread writes the same
    static gsize filled;
    if (g_once_init_enter(&filled)) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++)
                value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0);
            table[i] = value;
        }
        g_once_init_leave(&filled, 1);
    }
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = i >= at && i < at + 4 ? 0 : bytes[i];
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xff];
    }
    return ~crc;
}

// Bytes of the circular buffer, made one piece.
static void copy_out(const Log *log, uint64_t offset, uint8_t *bytes, size_t size)
{
    size_t first = (size_t)MIN(size, log->size - offset);
    memcpy(bytes, log->log + offset, first);
    memcpy(bytes + first, log->log, size - first);
}

static uint8_t *read_entry(Log *log, uint64_t offset, Entry *ret_entry)
{
    const uint8_t *h = log->log + offset;
    uint32_t length = le32_read(h + HEAD_LENGTH);
    if (memcmp(h, "loge", 4) != 0 || memcmp(h + HEAD_GUID, log->guid, 16) != 0 || length == 0 ||
        length % SECTOR || length > log->size || length > log->budget)
        return NULL;
    log->budget -= length;
    g_autofree uint8_t *bytes = g_malloc(length);
    copy_out(log, offset, bytes, length);
    if (le32_read(bytes + HEAD_CHECKSUM) != vhdx_checksum(bytes, length, HEAD_CHECKSUM))
        return NULL;
    *ret_entry = (Entry){
        .sequence = le64_read(bytes + HEAD_SEQUENCE),
        .offset = (uint32_t)offset,
        .length = length,
        .tail = le32_read(bytes + HEAD_TAIL),
        .flushed = le64_read(bytes + HEAD_FLUSHED),
        .last = le64_read(bytes + HEAD_LAST),
    };
    bool possible =
        ret_entry->tail % SECTOR == 0 && ret_entry->tail < log->size && ret_entry->sequence != 0;
    return possible ? g_steal_pointer(&bytes) : NULL;
}

// 2.3.3: entries that follow one another from `offset` on; complete where the last one's tail is
// the first. ret_next: how far the search goes on.
static GArray *read_sequence(Log *log, uint64_t offset, uint64_t *ret_next)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(Entry));
    uint64_t at = offset, used = 0;
    for (;;) {
        Entry entry;
        g_autofree uint8_t *bytes = read_entry(log, at, &entry);
        const Entry *before =
            entries->len ? &g_array_index(entries, Entry, entries->len - 1) : NULL;
        if (!bytes || (before && entry.sequence != before->sequence + 1) ||
            used + entry.length > log->size)
            break;
        g_array_append_val(entries, entry);
        used += entry.length;
        at = (at + entry.length) % log->size;
    }
    *ret_next = entries->len ? used : SECTOR;
    return g_steal_pointer(&entries);
}

// The active sequence: of all complete ones, that with the highest sequence number. NULL: none.
static GArray *active_sequence(Log *log)
{
    GArray *best = NULL;
    uint64_t best_sequence = 0;
    for (uint64_t offset = 0; offset < log->size;) {
        uint64_t step;
        GArray *entries = read_sequence(log, offset, &step);
        // A sequence may begin before the end of a run: its tail says where. The head decides.
        for (guint head = entries->len; head-- > 0;) {
            const Entry *entry = &g_array_index(entries, Entry, head);
            guint first = 0;
            while (first <= head && g_array_index(entries, Entry, first).offset != entry->tail)
                first++;
            if (first > head || entry->sequence <= best_sequence)
                continue;
            g_clear_pointer(&best, g_array_unref);
            best = g_array_new(FALSE, FALSE, sizeof(Entry));
            g_array_append_vals(best, &g_array_index(entries, Entry, first), head - first + 1);
            best_sequence = entry->sequence;
            break;
        }
        g_array_unref(entries);
        offset += step;
    }
    return best;
}

static void lay_zero(VhdxOverlay *overlay, uint64_t offset, uint64_t length)
{
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, overlay->sectors);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        uint64_t at = *(uint64_t *)key;
        if (at >= offset && at - offset < length)
            g_hash_table_iter_remove(&iter);
    }
    VhdxRange range = { offset, length };
    g_array_append_val(overlay->zeros, range);
}

static void lay_sector(VhdxOverlay *overlay, uint64_t offset, const uint8_t *sector)
{
    g_hash_table_replace(overlay->sectors, g_memdup2(&offset, sizeof offset),
                         g_memdup2(sector, SECTOR));
}

// 2.3.1.3: the first 8 and the last 4 bytes of a sector travel in its descriptor.
static bool lay_data(VhdxOverlay *overlay, const uint8_t *descriptor, const uint8_t *data,
                     uint64_t sequence)
{
    uint8_t sector[SECTOR];
    uint64_t offset = le64_read(descriptor + 16);
    if (memcmp(data, "data", 4) != 0 || offset % SECTOR ||
        le32_read(data + 4) != (uint32_t)(sequence >> 32) ||
        le32_read(data + SECTOR - 4) != (uint32_t)sequence)
        return false;
    memcpy(sector, descriptor + 8, 8);
    memcpy(sector + 8, data + 8, SECTOR - 12);
    memcpy(sector + SECTOR - 4, descriptor + 4, 4);
    lay_sector(overlay, offset, sector);
    return true;
}

static bool lay_entry(VhdxOverlay *overlay, const Entry *entry, const uint8_t *bytes)
{
    uint32_t count = le32_read(bytes + HEAD_COUNT);
    uint64_t head = ENTRY_HEAD + (uint64_t)count * DESCRIPTOR;
    uint64_t data = (head + SECTOR - 1) & ~(uint64_t)(SECTOR - 1);
    if (data > entry->length)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *descriptor = bytes + ENTRY_HEAD + (uint64_t)i * DESCRIPTOR;
        if (le64_read(descriptor + 24) != entry->sequence)
            return false;
        if (memcmp(descriptor, "zero", 4) == 0) {
            uint64_t length = le64_read(descriptor + 8), offset = le64_read(descriptor + 16), end;
            if (length % SECTOR || offset % SECTOR || !checked_add(offset, length, &end) ||
                overlay->zeros->len >= ZEROS_MAX)
                return false;
            lay_zero(overlay, offset, length);
        } else if (memcmp(descriptor, "desc", 4) == 0 && data + SECTOR <= entry->length) {
            if (!lay_data(overlay, descriptor, bytes + data, entry->sequence))
                return false;
            data += SECTOR;
        } else {
            return false;
        }
    }
    overlay->file_size = MAX(overlay->file_size, entry->last);
    return true;
}

// ImageFile.patch. Zero ranges lie under the sectors: lay_zero has removed those it came after.
static void patch(void *opaque, uint64_t offset, uint8_t *bytes, size_t size)
{
    const VhdxOverlay *overlay = opaque;
    uint64_t end = offset + size;
    for (guint i = 0; i < overlay->zeros->len; i++) {
        VhdxRange range = g_array_index(overlay->zeros, VhdxRange, i);
        uint64_t from = MAX(range.offset, offset), to = MIN(range.offset + range.length, end);
        if (from < to)
            memset(bytes + (from - offset), 0, (size_t)(to - from));
    }
    for (uint64_t at = offset & ~(uint64_t)(SECTOR - 1); at < end; at += SECTOR) {
        const uint8_t *sector = g_hash_table_lookup(overlay->sectors, &at);
        uint64_t from = MAX(at, offset), to = MIN(at + SECTOR, end);
        if (sector)
            memcpy(bytes + (from - offset), sector + (from - at), (size_t)(to - from));
    }
}

void vhdx_overlay_free(VhdxOverlay *overlay)
{
    if (!overlay)
        return;
    g_hash_table_unref(overlay->sectors);
    g_array_unref(overlay->zeros);
    g_free(overlay);
}

static bool lay_sequence(Image *image, Log *log, const GArray *entries, VhdxOverlay *overlay,
                         GError **error)
{
    for (guint i = 0; i < entries->len; i++) {
        Entry entry;
        g_autofree uint8_t *bytes =
            read_entry(log, g_array_index(entries, Entry, i).offset, &entry);
        if (bytes && lay_entry(overlay, &entry, bytes))
            continue;
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is a damaged VHDX image: its log cannot be replayed; open it once in Hyper-V "
                    "or restore it from a copy");
        return false;
    }
    const Entry *head = &g_array_index(entries, Entry, entries->len - 1);
    if (image_file_size(image->file) >= head->flushed)
        return true;
    image_error(image, G_IO_ERROR_INVALID_DATA, error,
                "is truncated: it has %" G_GUINT64_FORMAT
                " bytes and should have %" G_GUINT64_FORMAT ", copy it again",
                image_file_size(image->file), head->flushed);
    return false;
}

bool vhdx_log_replay(Image *image, VhdxRange range, const uint8_t *guid, VhdxOverlay **ret_overlay,
                     GError **error)
{
    g_autofree uint8_t *bytes = g_malloc((size_t)range.length);
    int result = image_file_read(image->file, range.offset, bytes, (size_t)range.length);
    if (result < 0) {
        image_error_errno(image, result, "read", error);
        return false;
    }
    Log log = { bytes, range.length, guid, range.length * BUDGET };
    g_autoptr(GArray) entries = active_sequence(&log);
    *ret_overlay = NULL;
    if (!entries) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is a damaged VHDX image: it was not closed and its log is not valid; open it "
                    "once in Hyper-V or restore it from a copy");
        return false;
    }
    VhdxOverlay *overlay = g_new0(VhdxOverlay, 1);
    overlay->sectors = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    overlay->zeros = g_array_new(FALSE, FALSE, sizeof(VhdxRange));
    if (!lay_sequence(image, &log, entries, overlay, error)) {
        vhdx_overlay_free(overlay);
        return false;
    }
    image->file->patch = patch;
    image->file->patch_opaque = overlay;
    if (overlay->file_size > image->file->size)
        image->file->size = overlay->file_size; // reads as zero behind what is there
    *ret_overlay = overlay;
    return true;
}
