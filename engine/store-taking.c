// SPDX-License-Identifier: GPL-2.0-or-later
// See store-taking.h. All but the freeze runs on the capture's writer thread, which sleeps during
// the freeze.
//
// `written` marks pages that have come with bytes. What else the image holds when everything has
// come is from the snapshot before, and zero now.
#include "engine/store-taking.h"

#include "engine/base/bytes.h"
#include "engine/store-state.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>

#define PAGE 4096u
#define ZEROS (256u * 1024) // bytes written at once
#define EXTENTS 64

typedef struct {
    BlockDevice *device;
    uint64_t size;     // bytes
    uint64_t *written; // bit a page
} Image;

struct StoreTaking {
    Store *store;
    char *name, *note;
    StoreTake take;
    StoreNodeId id; // pending, then finished; STORE_CURRENT: not frozen yet
    bool switched;  // images are the pending node's
    Image images[MACHINE_MEMORY_BLOCKS];
    GBytes *png;
    uint8_t *old;   // ZEROS bytes
    uint8_t *zeros; // ZEROS bytes
    uint64_t bytes;
};

static bool block_problem(const char *what, int result, GError **error)
{
    if (result == -ENOSPC)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                            "there is no room for the machine's memory; make room, or delete "
                            "snapshots and empty the bin");
    else
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "the machine's memory cannot be %s: %s", what, g_strerror(-result));
    return false;
}

// ---- Images ----

static uint64_t size_in_current(Store *store, const char *name)
{
    g_autoptr(GPtrArray) volumes = store_volume_list(store);
    for (guint i = 0; i < volumes->len; i++) {
        const StoreVolume *volume = volumes->pdata[i];
        if (volume->size && strcmp(volume->name, name) == 0)
            return volume->size;
    }
    return 0;
}

static bool open_image(StoreTaking *taking, MachineMemoryBlock block, StoreNodeId node,
                       GError **error)
{
    Image *image = &taking->images[block];
    image->device = store_volume_open(taking->store, node, store_state_memory[block], NULL, error);
    return image->device != NULL;
}

static bool make_image(StoreTaking *taking, MachineMemoryBlock block, uint64_t size,
                       GError **error)
{
    const char *name = store_state_memory[block];
    Image *image = &taking->images[block];
    uint64_t had = size_in_current(taking->store, name);
    image->size = size;
    g_free(image->written);
    image->written = g_new0(uint64_t, (size / PAGE + 63) / 64);
    if (!had && !store_volume_add(taking->store, name, STORE_STATE, size, NULL, error))
        return false;
    if (had && had != size &&
        !store_volume_resize(taking->store, STORE_CURRENT, name, size, error))
        return false;
    return open_image(taking, block, STORE_CURRENT, error);
}

static void close_images(StoreTaking *taking)
{
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        g_clear_pointer(&taking->images[block].device, block_close);
}

// Behind the freeze: the images have become the pending node's.
static bool follow(StoreTaking *taking, GError **error)
{
    if (taking->switched || taking->id == STORE_CURRENT)
        return true;
    close_images(taking);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        if (!open_image(taking, block, taking->id, error))
            return false;
    }
    taking->switched = true;
    return true;
}

static void mark(Image *image, uint64_t offset, uint64_t size, bool written)
{
    for (uint64_t page = offset / PAGE; page < (offset + size) / PAGE; page++) {
        uint64_t bit = UINT64_C(1) << page % 64;
        image->written[page / 64] = written ? image->written[page / 64] | bit
                                            : image->written[page / 64] & ~bit;
    }
}

static bool is_written(const Image *image, uint64_t page)
{
    return image->written[page / 64] >> page % 64 & 1;
}

static bool write_run(StoreTaking *taking, Image *image, uint64_t offset, const uint8_t *data,
                      uint64_t size, GError **error)
{
    int result = block_write_sync(image->device, offset, data, size);
    taking->bytes += size;
    return result == 0 || block_problem("written", result, error);
}

// What differs from the bytes that are there.
static bool write_changes(StoreTaking *taking, Image *image, uint64_t offset, const uint8_t *data,
                          uint64_t size, GError **error)
{
    int result = block_read_sync(image->device, offset, taking->old, size);
    if (result < 0)
        return block_problem("compared", result, error);
    for (uint64_t at = 0, run = 0; at <= size; at += PAGE) {
        if (at < size && memcmp(data + at, taking->old + at, PAGE) != 0)
            continue;
        if (at > run && !write_run(taking, image, offset + run, data + run, at - run, error))
            return false;
        run = at + PAGE;
    }
    return true;
}

static bool put(StoreTaking *taking, Image *image, uint64_t offset, const uint8_t *data,
                uint64_t size, GError **error)
{
    BlockExtent extent;
    int count = block_extents(image->device, offset, size, &extent, 1);
    if (count < 0)
        return block_problem("written", count, error);
    bool fresh = count == 1 && !extent.allocated && extent.length >= size;
    return fresh ? write_run(taking, image, offset, data, size, error)
                 : write_changes(taking, image, offset, data, size, error);
}

static bool clear_run(StoreTaking *taking, Image *image, uint64_t first, uint64_t count,
                      GError **error)
{
    while (count) {
        uint64_t pages = MIN(count, ZEROS / PAGE);
        int result = block_write_sync(image->device, first * PAGE, taking->zeros, pages * PAGE);
        if (result < 0)
            return block_problem("written", result, error);
        first += pages;
        count -= pages;
    }
    return true;
}

static bool clear_unwritten(StoreTaking *taking, Image *image, const BlockExtent *extent,
                            GError **error)
{
    uint64_t end = (extent->offset + extent->length) / PAGE;
    for (uint64_t page = extent->offset / PAGE, run; page < end; page += run) {
        bool written = is_written(image, page);
        run = 1;
        while (page + run < end && is_written(image, page + run) == written)
            run++;
        if (!written && !clear_run(taking, image, page, run, error))
            return false;
    }
    return true;
}

static bool clear_rest(StoreTaking *taking, Image *image, GError **error)
{
    BlockExtent extents[EXTENTS];
    for (uint64_t at = 0; at < image->size;) {
        int count = block_extents(image->device, at, image->size - at, extents, EXTENTS);
        if (count <= 0)
            return block_problem("read", count ? count : -EIO, error);
        for (int i = 0; i < count; i++) {
            if (extents[i].allocated && !clear_unwritten(taking, image, &extents[i], error))
                return false;
            at = extents[i].offset + extents[i].length;
        }
    }
    return true;
}

// ---- The sink ----

static bool sink_begin(void *opaque, const uint64_t sizes[MACHINE_MEMORY_BLOCKS], GError **error)
{
    StoreTaking *taking = opaque;
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        if (!make_image(taking, block, sizes[block], error))
            return false;
    }
    return true;
}

static bool sink_pages(void *opaque, MachineMemoryBlock block, uint64_t offset, const void *data,
                       size_t size, GError **error)
{
    StoreTaking *taking = opaque;
    Image *image = &taking->images[block];
    const uint8_t *bytes = data;
    if (!follow(taking, error))
        return false;
    mark(image, offset, size, data != NULL); // zeros: cleared with the rest
    for (uint64_t at = 0; data && at < size; at += ZEROS) {
        if (!put(taking, image, offset + at, bytes + at, MIN(size - at, ZEROS), error))
            return false;
    }
    return true;
}

static bool sink_settle(void *opaque, GError **error)
{
    return store_commit(((StoreTaking *)opaque)->store, error);
}

static bool put_hot_pages(StoreTaking *taking, const uint32_t *hot, size_t count, GError **error)
{
    g_autofree uint8_t *list = g_malloc(MAX(count, 1) * 4);
    for (size_t i = 0; i < count; i++)
        le32_write(list + 4 * i, hot[i]);
    g_autoptr(GBytes) bytes = g_bytes_new_take(g_steal_pointer(&list), count * 4);
    return store_blob_put(taking->store, taking->id, STORE_HOT_PAGES, bytes, error);
}

static bool sink_commit(void *opaque, GBytes *form, const uint32_t *hot, size_t hot_count,
                        GError **error)
{
    StoreTaking *taking = opaque;
    if (!follow(taking, error))
        return false;
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        if (!clear_rest(taking, &taking->images[block], error))
            return false;
    }
    close_images(taking);
    return (!taking->png || store_blob_put(taking->store, taking->id, STORE_THUMBNAIL,
                                           taking->png, error)) &&
           put_hot_pages(taking, hot, hot_count, error) &&
           store_blob_put(taking->store, taking->id, STORE_DEVICE_STATE, form, error) &&
           store_take_finish(taking->store, taking->id, error);
}

static void sink_discard(void *opaque)
{
    StoreTaking *taking = opaque;
    close_images(taking);
    if (taking->id != STORE_CURRENT)
        store_take_abort(taking->store, taking->id);
    taking->id = STORE_CURRENT;
}

// ---- Public ----

StoreTaking *store_taking_new(Store *store, const StoreTake *take, GBytes *png)
{
    StoreTaking *taking = g_new0(StoreTaking, 1);
    taking->store = store;
    taking->name = g_strdup(take->name);
    taking->note = g_strdup(take->note);
    taking->take = *take;
    taking->take.name = taking->name;
    taking->take.note = taking->note;
    taking->id = STORE_CURRENT;
    taking->png = png ? g_bytes_ref(png) : NULL;
    taking->old = g_malloc(ZEROS);
    taking->zeros = g_malloc0(ZEROS);
    return taking;
}

void store_taking_free(StoreTaking *taking)
{
    if (!taking)
        return;
    close_images(taking);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        g_free(taking->images[block].written);
    g_clear_pointer(&taking->png, g_bytes_unref);
    g_free(taking->name);
    g_free(taking->note);
    g_free(taking->old);
    g_free(taking->zeros);
    g_free(taking);
}

MachineStateSink store_taking_sink(StoreTaking *taking)
{
    return (MachineStateSink){ .begin = sink_begin, .pages = sink_pages, .settle = sink_settle,
                               .commit = sink_commit, .discard = sink_discard, .opaque = taking };
}

bool store_taking_freeze(StoreTaking *taking, GError **error)
{
    return store_take_begin(taking->store, &taking->take, &taking->id, error);
}

StoreNodeId store_taking_id(const StoreTaking *taking)
{
    return taking->id;
}

uint64_t store_taking_written(const StoreTaking *taking)
{
    return taking->bytes;
}
