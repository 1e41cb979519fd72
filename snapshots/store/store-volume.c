// SPDX-License-Identifier: GPL-2.0-or-later
// Volumes: their records (name, kind, base image; one 4 KiB block each, by id), and adding,
// removing and resizing them in the running state.
#include "snapshots/store/store-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <stdlib.h>

enum {
    VOLUME_ID = 8,
    VOLUME_KIND = 12,
    VOLUME_NAME = 16,
    VOLUME_BASE_NODE = 56,
    VOLUME_BASE_VOLUME = 64,
    VOLUME_BASE_DRIVER = 96,
    VOLUME_BASE_PATH = 128,
    VOLUME_END = 128 + 1024,
};
#define NAME_FIELD 32u
#define PATH_FIELD 1024u

StoreBase *store_base_copy(const StoreBase *base)
{
    if (!base)
        return NULL;
    StoreBase *copy = g_new0(StoreBase, 1);
    copy->path = g_strdup(base->path);
    copy->driver = g_strdup(base->driver);
    copy->node = base->node;
    copy->volume = g_strdup(base->volume);
    return copy;
}

void store_base_free(StoreBase *base)
{
    if (!base)
        return;
    g_free(base->path);
    g_free(base->driver);
    g_free(base->volume);
    g_free(base);
}

void store_volume_record_free(StoreVolumeRecord *volume)
{
    if (!volume)
        return;
    block_close(volume->base_device);
    store_base_free(volume->base);
    g_free(volume->name);
    g_free(volume);
}

StoreVolumeRecord *store_volume_find(Store *store, const char *name)
{
    for (unsigned i = store->volume_records->len; i-- > 0;) {
        StoreVolumeRecord *volume = store->volume_records->pdata[i];
        if (g_str_equal(volume->name, name))
            return volume;
    }
    return NULL;
}

StoreVolumeRecord *store_volume_by_id(Store *store, uint32_t id)
{
    for (unsigned i = 0; i < store->volume_records->len; i++) {
        StoreVolumeRecord *volume = store->volume_records->pdata[i];
        if (volume->id == id)
            return volume;
    }
    return NULL;
}

StoreSlot *store_slot_named(Store *store, StoreRecord *record, const char *name)
{
    for (unsigned i = 0; i < record->slot_count; i++) {
        StoreVolumeRecord *volume = store_volume_by_id(store, record->slots[i].volume);
        if (volume && g_str_equal(volume->name, name))
            return &record->slots[i];
    }
    return NULL;
}

// --- Records ---

static void write_text(uint8_t *to, const char *text, size_t field)
{
    if (text)
        memcpy(to, text, MIN(strlen(text), field - 1));
}

int store_volume_save(Store *store, StoreVolumeRecord *volume)
{
    StoreBlock *block;
    int result = store_map_record(store, &store->volumes, volume->id, &block);
    if (result < 0)
        return result;
    uint8_t *bytes = block->bytes;
    memset(bytes, 0, STORE_BLOCK);
    memcpy(bytes, STORE_VOLUME_MAGIC, 8);
    le32_write(bytes + VOLUME_ID, volume->id);
    le32_write(bytes + VOLUME_KIND, volume->kind);
    write_text(bytes + VOLUME_NAME, volume->name, NAME_FIELD);
    if (volume->base) {
        le64_write(bytes + VOLUME_BASE_NODE, volume->base->node);
        write_text(bytes + VOLUME_BASE_VOLUME, volume->base->volume, NAME_FIELD);
        write_text(bytes + VOLUME_BASE_DRIVER, volume->base->driver, NAME_FIELD);
        write_text(bytes + VOLUME_BASE_PATH, volume->base->path, PATH_FIELD);
    }
    store_mark_dirty(store);
    return 0;
}

static char *read_text(const uint8_t *bytes, size_t field)
{
    size_t length = strnlen((const char *)bytes, field);
    if (length == field || !g_utf8_validate((const char *)bytes, (gssize)length, NULL))
        return NULL;
    return g_strndup((const char *)bytes, length);
}

static bool name_is_valid(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= STORE_MAX_VOLUME_NAME &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == length;
}

static int load_volume(Store *store, uint64_t index, StoreBlock *block)
{
    const uint8_t *bytes = block->bytes;
    uint32_t kind = le32_read(bytes + VOLUME_KIND);
    if (memcmp(bytes, STORE_VOLUME_MAGIC, 8) || le32_read(bytes + VOLUME_ID) != index ||
        index >= store->next_volume || kind > STORE_STATE)
        return -EBADMSG;
    StoreVolumeRecord *volume = g_new0(StoreVolumeRecord, 1);
    g_ptr_array_add(store->volume_records, volume);
    volume->id = (uint32_t)index;
    volume->kind = (StoreVolumeKind)kind;
    volume->name = read_text(bytes + VOLUME_NAME, NAME_FIELD);
    if (!volume->name || !name_is_valid(volume->name))
        return -EBADMSG;
    if (bytes[VOLUME_BASE_PATH] == 0)
        return 0;
    volume->base = g_new0(StoreBase, 1);
    volume->base->node = le64_read(bytes + VOLUME_BASE_NODE);
    volume->base->volume = read_text(bytes + VOLUME_BASE_VOLUME, NAME_FIELD);
    volume->base->driver = read_text(bytes + VOLUME_BASE_DRIVER, NAME_FIELD);
    volume->base->path = read_text(bytes + VOLUME_BASE_PATH, PATH_FIELD);
    return volume->base->volume && volume->base->driver && volume->base->path ? 0 : -EBADMSG;
}

int store_volumes_load(Store *store)
{
    return store_map_each_record(store, &store->volumes, load_volume);
}

// --- Bases ---

// Who made the file may have written any path into it: an image must lie in the store's folder,
// another store in a folder beside it, links followed. Returns the path without links.
static char *confine(const char *folder, const char *path, bool is_store, GError **error)
{
    g_autofree char *around = is_store ? g_path_get_dirname(folder) : g_strdup(folder);
    g_autofree char *root = realpath(around, NULL);
    g_autofree char *real = realpath(path, NULL);
    if (!root || !real) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                    "'%s' cannot be opened: %s", path, g_strerror(errno));
        return NULL;
    }
    size_t length = strlen(root);
    if (g_str_has_prefix(real, root) && (real[length] == '/' || root[length - 1] == '/'))
        return g_steal_pointer(&real);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                is_store ? "'%s' is not in '%s': move the two machines beside one another, or make "
                           "a full clone"
                         : "'%s' is not in '%s': move the image there, or import it", path, root);
    return NULL;
}

static BlockDevice *open_base(Store *store, const StoreBase *base, GError **error)
{
    bool is_store = g_strcmp0(base->driver, "store") == 0;
    g_autofree char *own = g_canonicalize_filename(store->path, NULL);
    g_autofree char *folder = g_path_get_dirname(own);
    g_autofree char *named = g_canonicalize_filename(base->path, folder);
    if (store->options.open_base)
        return store->options.open_base(base, named, store->options.opaque, error);
    g_autofree char *path = confine(folder, named, is_store, error);
    if (!path)
        return NULL;
    if (is_store)
        return store_open_node_device(path, base, store->options.depth, error);
    BlockOpen options = { .path = path, .fd = -1, .read_only = true, .io = store->options.io,
                          .driver = base->driver && *base->driver ? base->driver : NULL };
    return block_open(&options, error);
}

bool store_volumes_open_bases(Store *store, GError **error)
{
    for (unsigned i = 0; i < store->volume_records->len; i++) {
        StoreVolumeRecord *volume = store->volume_records->pdata[i];
        if (!volume->base || volume->base_device)
            continue;
        volume->base_device = open_base(store, volume->base, error);
        if (!volume->base_device) {
            g_prefix_error(error, "volume '%s' of snapshot store '%s' has a base that cannot be "
                           "opened: ", volume->name, store->path);
            return false;
        }
    }
    return true;
}

// --- Changes of the running state ---

static bool check_size(uint64_t size, StoreVolumeKind kind, GError **error)
{
    if (size <= STORE_MAX_SIZE && (kind != STORE_DISK || (size && size % 512 == 0)))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "a disk of %" G_GUINT64_FORMAT " bytes cannot be: use a multiple of 512, at least "
                "512 and at most 64 TiB", size);
    return false;
}

StoreVolumeRecord *store_volume_record_add(Store *store, const char *name, StoreVolumeKind kind,
                                           const StoreBase *base, int *ret_result)
{
    StoreVolumeRecord *volume = g_new0(StoreVolumeRecord, 1);
    volume->id = store->next_volume;
    volume->kind = kind;
    volume->name = g_strdup(name);
    volume->base = store_base_copy(base);
    *ret_result = store_volume_save(store, volume);
    if (*ret_result < 0) {
        store_volume_record_free(volume);
        return NULL;
    }
    store->next_volume++;
    g_ptr_array_add(store->volume_records, volume);
    return volume;
}

static bool check_name(const char *name, GError **error)
{
    if (name_is_valid(name))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "'%s' cannot be a volume's name: use 1 to %u of a-z 0-9 . _ -", name,
                STORE_MAX_VOLUME_NAME);
    return false;
}

static bool set_exists(GError **error, const char *name)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                "volume '%s' exists already: choose another name", name);
    return false;
}

static bool check_new(Store *store, const char *name, StoreVolumeKind kind, uint64_t size,
                      const StoreBase *base, GError **error)
{
    if (!check_name(name, error))
        return false;
    if (base && (!base->path || !*base->path || strlen(base->path) >= PATH_FIELD)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "the base of volume '%s' needs a path of 1 to %u bytes", name, PATH_FIELD - 1);
        return false;
    }
    return check_size(size, kind, error);
}

// A record that nodes know already: a memory image that current lost, by going to where there was
// none, is the same volume when it comes again.
static StoreVolumeRecord *known_volume(Store *store, const char *name, StoreVolumeKind kind)
{
    StoreVolumeRecord *volume = kind == STORE_STATE ? store_volume_find(store, name) : NULL;
    return volume && volume->kind == kind && !volume->base ? volume : NULL;
}

bool store_volume_add(Store *store, const char *name, StoreVolumeKind kind, uint64_t size,
                      const StoreBase *base, GError **error)
{
    BlockDevice *device = NULL;
    if (!check_new(store, name, kind, size, base, error))
        return false;
    if (base && !(device = open_base(store, base, error)))
        return false;
    g_mutex_lock(&store->mutex);
    bool ok = store_can_write(store, error);
    if (ok && store_slot_named(store, store->current, name))
        ok = set_exists(error, name);
    if (ok && store->current->slot_count == STORE_MAX_VOLUMES) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                    "a store holds at most %u volumes: remove one", STORE_MAX_VOLUMES);
        ok = false;
    }
    int result = 0;
    StoreVolumeRecord *volume = ok && !base ? known_volume(store, name, kind) : NULL;
    if (ok && !volume)
        volume = store_volume_record_add(store, name, kind, base, &result);
    if (volume) {
        StoreSlot *slot = store_slot_add(store->current, volume->id);
        if (device)
            volume->base_device = g_steal_pointer(&device);
        store_mark_dirty(store);
        slot->size = size;
        slot->base_limit = volume->base_device ? MIN(size, block_size(volume->base_device)) : 0;
    }
    g_mutex_unlock(&store->mutex);
    block_close(device);
    if (!ok)
        return false;
    result = store_finish_change(store, result);
    return result == 0 || store_set_errno(error, store, "could not add a volume", result);
}

static bool set_missing(GError **error, const char *name)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                "there is no volume '%s' here: list the volumes", name);
    return false;
}

bool store_volume_remove(Store *store, const char *name, GError **error)
{
    g_mutex_lock(&store->mutex);
    bool ok = store_can_write(store, error);
    StoreSlot *slot = ok ? store_slot_named(store, store->current, name) : NULL;
    int result = 0;
    if (ok && !slot) {
        ok = set_missing(error, name);
    } else if (ok && store_has_device(store, store->current, slot->volume)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "volume '%s' is in use: stop the machine first", name);
        ok = false;
    } else if (ok) {
        store_map_seal(store, TREE_MAP);
        result = store_discard_slots(store, slot, 1) ? 0 : -ENOSPC;
        if (result == 0)
            store_slot_remove(store, store->current, slot);
    }
    g_mutex_unlock(&store->mutex);
    if (!ok)
        return false;
    result = store_finish_change(store, result);
    return result == 0 || store_set_errno(error, store, "could not remove a volume", result);
}

bool store_volume_rename(Store *store, const char *name, const char *new_name, GError **error)
{
    int result = 0;
    if (!check_name(new_name, error))
        return false;
    g_mutex_lock(&store->mutex);
    bool ok = store_can_write(store, error);
    StoreSlot *slot = ok ? store_slot_named(store, store->current, name) : NULL;
    if (ok && !slot) {
        ok = set_missing(error, name);
    } else if (ok && store_slot_named(store, store->current, new_name)) {
        ok = set_exists(error, new_name);
    } else if (ok) {
        StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
        g_autofree char *old = g_steal_pointer(&volume->name);
        volume->name = g_strdup(new_name);
        result = store_volume_save(store, volume);
        if (result < 0) {
            g_free(volume->name);
            volume->name = g_steal_pointer(&old);
        }
    }
    g_mutex_unlock(&store->mutex);
    if (!ok)
        return false;
    result = store_finish_change(store, result);
    return result == 0 || store_set_errno(error, store, "could not rename a volume", result);
}

static void free_listed(gpointer data)
{
    StoreVolume *volume = data;
    g_free(volume->name);
    store_base_free(volume->base);
    g_free(volume);
}

GPtrArray *store_volume_list(Store *store)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(free_listed);
    g_mutex_lock(&store->mutex);
    for (unsigned i = 0; i < store->volume_records->len; i++) {
        StoreVolumeRecord *record = store->volume_records->pdata[i];
        const StoreSlot *slot = store_slot(store->current, record->id);
        if (store_volume_find(store, record->name) != record)
            continue; // removed, and added anew since
        StoreVolume *volume = g_new0(StoreVolume, 1);
        volume->name = g_strdup(record->name);
        volume->kind = record->kind;
        volume->size = slot ? slot->size : 0;
        volume->base = store_base_copy(record->base);
        g_ptr_array_add(list, volume);
    }
    g_mutex_unlock(&store->mutex);
    return list;
}

// --- Resizing ---

// What remains of the last block beyond the new end must not come back when the volume grows.
static int zero_tail(Store *store, StoreRecord *record, uint32_t volume, uint64_t size)
{
    uint8_t zeros[STORE_BLOCK] = { 0 };
    StoreDevice device = { .store = store, .record = record, .volume = volume, .writable = true };
    const StoreSlot *slot = store_slot(record, volume);
    uint64_t length = MIN((size + STORE_BLOCK - 1) & ~(uint64_t)(STORE_BLOCK - 1), slot->size) -
                      size;
    return length ? store_data_sync(&device, BLOCK_WRITE, size, zeros, length) : 0;
}

static int set_size(Store *store, StoreRecord *record, StoreSlot *slot, uint64_t size)
{
    int result = 0;
    uint64_t keep = (size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    uint64_t had = (slot->size + STORE_BLOCK - 1) >> STORE_BLOCK_BITS;
    if (size < slot->size) {
        for (uint64_t at = keep; at < had && result == 0;) {
            uint64_t count = MIN(had - at, 65536);
            result = store_space_ensure(store, 2 * store->space.dirty_groups + 64);
            if (result == 0)
                result = store_map_clear(store, record, slot, at, count, false);
            at += count;
        }
        slot->base_limit = MIN(slot->base_limit, size);
    }
    if (result == 0)
        slot->size = size;
    store_mark_dirty(store);
    return result;
}

bool store_volume_resize(Store *store, StoreNodeId node, const char *name, uint64_t size,
                         GError **error)
{
    g_mutex_lock(&store->mutex);
    bool ok = store_can_write(store, error);
    StoreRecord *record = node == STORE_CURRENT ? store->current
                          : store->pending && store->pending->id == node ? store->pending : NULL;
    StoreSlot *slot = ok && record ? store_slot_named(store, record, name) : NULL;
    StoreVolumeRecord *volume = slot ? store_volume_by_id(store, slot->volume) : NULL;
    if (ok && (!slot || (record == store->pending && volume->kind != STORE_STATE)))
        ok = set_missing(error, name);
    bool shrinks = slot && size < slot->size;
    g_mutex_unlock(&store->mutex);
    if (!ok || !check_size(size, volume->kind, error))
        return false;
    int result = shrinks ? zero_tail(store, record, volume->id, size) : 0;
    g_mutex_lock(&store->mutex);
    if (result == 0) {
        store_data_hold(store);
        result = set_size(store, record, store_slot(record, volume->id), size);
        store_devices_resize(store);
        store_data_resume(store);
    }
    g_mutex_unlock(&store->mutex);
    result = store_finish_change(store, result);
    return result == 0 || store_set_errno(error, store, "could not resize a volume", result);
}
