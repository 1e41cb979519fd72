// SPDX-License-Identifier: GPL-2.0-or-later
// See store-state.h. Memory is mapped from the node that current stands on, because a finished
// node's blocks never change: that is sound where the node has the very state that current has,
// which its form tells (it holds the time to the nanosecond). Where the node is gone, or what the
// store gives cannot be mapped, bytes are read. Small pieces are read as well: a process may have
// some 65,000 mappings.
#include "engine/store-state.h"

#include "engine/hot-pages.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u
#define MAP_LEAST (64u * 1024) // bytes; smaller pieces are read
#define MAPS_MAX 16384u
#define READ_MAX (1024u * 1024) // bytes at once through the store

const char *const store_state_memory[MACHINE_MEMORY_BLOCKS] = {
    [MACHINE_MEMORY_RAM] = "memory",
    [MACHINE_MEMORY_VIDEO] = "video-memory",
};

struct StoreState {
    Store *store;
    StoreNodeId node; // that is read
    GBytes *form;
    BlockDevice *device[MACHINE_MEMORY_BLOCKS]; // open as long as it is mapped
    uint64_t size[MACHINE_MEMORY_BLOCKS];
    HotPages *hot;
    MachineStateSource source;
};

// The blob, or NULL; where there is none no error is set.
static GBytes *get_blob(Store *store, StoreNodeId node, const char *name, GError **error)
{
    g_autoptr(GError) problem = NULL;
    GBytes *bytes = store_blob_get(store, node, name, &problem);
    if (!bytes && !g_error_matches(problem, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
        g_propagate_error(error, g_steal_pointer(&problem));
    return bytes;
}

static StoreNodeId node_to_read(Store *store, GBytes *form)
{
    StoreNodeId node = store_position(store);
    g_autoptr(GBytes) same = node ? get_blob(store, node, STORE_DEVICE_STATE, NULL) : NULL;
    return same && g_bytes_equal(same, form) ? node : STORE_CURRENT;
}

// ---- The source ----

static GBytes *source_form(void *opaque, GError **error)
{
    return g_bytes_ref(((StoreState *)opaque)->form);
}

static uint64_t source_memory_size(void *opaque, MachineMemoryBlock block)
{
    return ((StoreState *)opaque)->size[block];
}

static bool cannot_read(StoreState *state, int code, GError **error)
{
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                "the snapshot's memory cannot be read: %s", g_strerror(code));
    return false;
}

static bool read_file(int fd, uint8_t *host, uint64_t length, uint64_t at)
{
    while (length) {
        ssize_t n = pread(fd, host, length, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        host += n;
        at += (uint64_t)n;
        length -= (uint64_t)n;
    }
    return true;
}

static int read_device(BlockDevice *device, uint8_t *host, uint64_t offset, uint64_t length)
{
    int result = 0;
    while (length && result == 0) {
        uint64_t count = MIN(length, READ_MAX);
        result = block_read_sync(device, offset, host, count);
        host += count;
        offset += count;
        length -= count;
    }
    return result;
}

static bool place_fits(const StorePlace *place)
{
    off_t end = lseek(place->fd, 0, SEEK_END); // a mapping beyond it would be death
    return end >= 0 && place->at + place->length <= (uint64_t)end;
}

static bool can_be_mapped(const StorePlace *place)
{
    return place->fd >= 0 && place->length >= MAP_LEAST && place->offset % PAGE == 0 &&
           place->length % PAGE == 0 && place->at % PAGE == 0;
}

static bool fill_place(StoreState *state, BlockDevice *device, const StorePlace *place,
                       uint8_t *host, bool map, GError **error)
{
    uint8_t *to = host + place->offset;
    if (place->fd < 0) {
        int result = read_device(device, to, place->offset, place->length);
        return result == 0 || cannot_read(state, -result, error);
    }
    if (!place_fits(place))
        return cannot_read(state, EIO, error);
    bool done = map ? mmap(to, place->length, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, place->fd,
                           (off_t)place->at) != MAP_FAILED
                    : read_file(place->fd, to, place->length, place->at);
    return done || cannot_read(state, errno, error);
}

static bool source_memory(void *opaque, MachineMemoryBlock block, uint8_t *host, uint64_t size,
                          bool replace, GError **error)
{
    StoreState *state = opaque;
    g_return_val_if_fail(size == state->size[block], false);
    BlockDevice *device = state->device[block];
    g_autoptr(GArray) places = store_volume_places(device, error);
    if (!places)
        return false;
    if (!replace)
        memset(host, 0, size);
    unsigned maps = 0;
    for (guint i = 0; i < places->len; i++) {
        const StorePlace *place = &g_array_index(places, StorePlace, i);
        bool map = replace && maps < MAPS_MAX && can_be_mapped(place);
        if (!fill_place(state, device, place, host, map, error))
            return false;
        maps += map;
    }
    // Current's own device is wanted by whoever takes the next snapshot, and nothing of current was
    // mapped.
    if (state->node == STORE_CURRENT || !replace)
        block_close(g_steal_pointer(&state->device[block]));
    return true;
}

static void source_filled(void *opaque, const uint8_t *ram)
{
    StoreState *state = opaque;
    g_autoptr(GBytes) list = get_blob(state->store, state->node, STORE_HOT_PAGES, NULL);
    if (list && !state->hot)
        state->hot = hot_pages_start(ram, state->size[MACHINE_MEMORY_RAM] / PAGE, list);
}

static bool source_consume(void *opaque, GError **error)
{
    if (store_remove_state(((StoreState *)opaque)->store, error))
        return true;
    g_prefix_error(error, "the machine does not go on, so that its state is not used twice: ");
    return false;
}

// ---- Life ----

StoreState *store_state_open(Store *store, GError **error)
{
    g_autoptr(GBytes) form = get_blob(store, STORE_CURRENT, STORE_DEVICE_STATE, error);
    if (!form)
        return NULL;
    g_autoptr(StoreState) state = g_new0(StoreState, 1);
    state->store = store;
    state->node = node_to_read(store, form);
    state->form = g_steal_pointer(&form);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        state->device[block] = store_volume_open(store, state->node, store_state_memory[block],
                                                 NULL, error);
        if (!state->device[block])
            return NULL;
        state->size[block] = block_size(state->device[block]);
    }
    state->source = (MachineStateSource){ source_form, source_memory_size, source_memory,
                                          source_filled, source_consume, state, true };
    return g_steal_pointer(&state);
}

void store_state_close(StoreState *state)
{
    if (!state)
        return;
    hot_pages_stop(state->hot);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        block_close(state->device[block]);
    g_clear_pointer(&state->form, g_bytes_unref);
    g_free(state);
}

const MachineStateSource *store_state_source(StoreState *state)
{
    return &state->source;
}
