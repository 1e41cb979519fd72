// SPDX-License-Identifier: GPL-2.0-or-later
// A store that begins as a node of another one. It is made under another name beside its place and
// renamed when it is whole, so that an interrupted clone leaves nothing that looks like a store.
#include "snapshots/store/store-private.h"

#include <errno.h>
#include <unistd.h>

#define COPY_BYTES (1024u * 1024u)

typedef struct {
    Store *from, *to;
    StoreNodeId id;
    const StoreTake *first; // a branch: with the state, of which this node is taken; or NULL
    StoreProgress progress;
    void *opaque;
    GCancellable *cancellable;
    uint64_t done, total; // bytes
    uint8_t *buffer;
} Clone;

// What to write so that `folder`/result is `path`.
static char *relative_path(const char *folder, const char *path)
{
    size_t common = 0, at = 0;
    while (folder[at] && folder[at] == path[at]) {
        at++;
        if (path[at - 1] == '/')
            common = at;
    }
    if (!folder[at] && path[at] == '/')
        common = at + 1;
    GString *result = g_string_new(NULL);
    for (const char *rest = strlen(folder) >= common ? folder + common : ""; *rest;) {
        const char *slash = strchr(rest, '/');
        g_string_append(result, "../");
        rest = slash ? slash + 1 : "";
    }
    g_string_append(result, path + common);
    return g_string_free(result, FALSE);
}

// The node's volumes of the kinds that a clone has. Array of StoreVolume as the node has them.
static GPtrArray *volumes_of(Store *store, StoreNodeId id, bool with_state, GError **error)
{
    GPtrArray *all = store_volume_list(store);
    g_mutex_lock(&store->mutex);
    StoreRecord *record = store_record_find(store, id);
    for (unsigned i = all->len; i-- > 0 && record;) {
        StoreVolume *volume = all->pdata[i];
        const StoreSlot *slot = store_slot_named(store, record, volume->name);
        if ((volume->kind == STORE_STATE && !with_state) || !slot || volume->kind !=
            store_volume_by_id(store, slot->volume)->kind)
            g_ptr_array_remove_index(all, i);
        else
            volume->size = slot->size;
    }
    g_mutex_unlock(&store->mutex);
    if (record)
        return all;
    g_ptr_array_unref(all);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                "there is no snapshot %" G_GUINT64_FORMAT ": list the snapshots", id);
    return NULL;
}

static bool copy_record(Clone *c, const char *name, GError **error)
{
    g_autoptr(GError) trouble = NULL;
    g_autoptr(GBytes) bytes = store_blob_get(c->from, c->id, name, &trouble);
    if (!bytes && g_error_matches(trouble, G_IO_ERROR, G_IO_ERROR_NOT_FOUND))
        return true;
    if (!bytes) {
        g_propagate_error(error, g_steal_pointer(&trouble));
        return false;
    }
    return store_volume_add(c->to, name, STORE_RECORD, 0, NULL, error) &&
           store_blob_put(c->to, STORE_CURRENT, name, bytes, error);
}

static bool link_volume(Clone *c, const StoreVolume *volume, const char *base_path, GError **error)
{
    StoreBase base = { .path = (char *)base_path, .driver = (char *)"store", .node = c->id,
                       .volume = volume->name };
    return store_volume_add(c->to, volume->name, volume->kind, volume->size, &base, error);
}

// Memory, which is linked, or a blob, which is copied.
static bool pass_on_state(Clone *c, const StoreVolume *volume, const char *base_path,
                          GError **error)
{
    g_mutex_lock(&c->from->mutex);
    const StoreSlot *slot = store_slot_named(c->from, store_record_find(c->from, c->id),
                                             volume->name);
    bool is_blob = slot && slot->content;
    g_mutex_unlock(&c->from->mutex);
    if (!is_blob)
        return volume->size == 0 || link_volume(c, volume, base_path, error);
    g_autoptr(GBytes) bytes = store_blob_get(c->from, c->id, volume->name, error);
    return bytes && store_blob_put(c->to, STORE_CURRENT, volume->name, bytes, error);
}

static bool copy_extent(Clone *c, BlockDevice *from, BlockDevice *to, const BlockExtent *extent,
                        GError **error)
{
    for (uint64_t at = 0; at < extent->length;) {
        uint64_t offset = extent->offset + at, length = MIN(extent->length - at, COPY_BYTES);
        if (g_cancellable_set_error_if_cancelled(c->cancellable, error))
            return false;
        int result = block_read_sync(from, offset, c->buffer, length);
        if (result < 0)
            return store_set_errno(error, c->from, "cannot be read", result);
        result = block_write_sync(to, offset, c->buffer, length);
        if (result < 0)
            return store_set_errno(error, c->to, "cannot be written", result);
        at += length;
        c->done += length;
        if (c->progress)
            c->progress(c->done, MAX(c->done, c->total), c->opaque);
    }
    return true;
}

static bool copy_bytes(Clone *c, BlockDevice *from, BlockDevice *to, GError **error)
{
    BlockExtent extents[64];
    uint64_t size = block_size(from);
    for (uint64_t at = 0; at < size;) {
        int count = block_extents(from, at, size - at, extents, G_N_ELEMENTS(extents));
        if (count <= 0)
            return store_set_errno(error, c->from, "cannot be read", count ? count : -EIO);
        for (int i = 0; i < count; i++) {
            if (extents[i].allocated && !copy_extent(c, from, to, &extents[i], error))
                return false;
            at = extents[i].offset + extents[i].length;
        }
    }
    return true;
}

static bool copy_disk(Clone *c, const StoreVolume *volume, GError **error)
{
    if (!store_volume_add(c->to, volume->name, STORE_DISK, volume->size, NULL, error))
        return false;
    BlockDevice *from = store_volume_open(c->from, c->id, volume->name, NULL, error);
    BlockDevice *to = from ? store_volume_open(c->to, STORE_CURRENT, volume->name, NULL, error)
                           : NULL;
    bool ok = to && copy_bytes(c, from, to, error);
    block_close(to);
    block_close(from);
    return ok;
}

static bool fill(Clone *c, const GPtrArray *volumes, const char *base_path, GError **error)
{
    for (unsigned i = 0; i < volumes->len; i++) {
        const StoreVolume *volume = volumes->pdata[i];
        bool ok = volume->kind == STORE_RECORD ? copy_record(c, volume->name, error)
                  : volume->kind == STORE_STATE ? pass_on_state(c, volume, base_path, error)
                  : base_path ? link_volume(c, volume, base_path, error)
                              : copy_disk(c, volume, error);
        if (!ok)
            return false;
    }
    StoreNodeId id;
    return c->first ? store_take(c->to, c->first, &id, error) : store_commit(c->to, error);
}

static bool publish(const char *from, const char *path, GError **error)
{
    int result = store_io_rename(from, path);
    if (result == 0)
        return true;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                "snapshot store '%s' cannot be created: %s", path, g_strerror(-result));
    return false;
}

static bool make(Clone *c, const char *path, bool linked, GError **error)
{
    g_autofree char *full = g_canonicalize_filename(path, NULL);
    g_autofree char *folder = g_path_get_dirname(full);
    g_autofree char *own = g_canonicalize_filename(c->from->path, NULL);
    g_autofree char *base_path = linked ? relative_path(folder, own) : NULL;
    g_autofree char *temporary = g_strdup_printf("%s.clone", full);
    g_autoptr(GPtrArray) volumes = volumes_of(c->from, c->id, c->first, error);
    StoreOpen options = { .path = temporary };
    if (!volumes)
        return false;
    if (g_file_test(full, G_FILE_TEST_EXISTS)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                    "'%s' exists already: choose another name", path);
        return false;
    }
    for (unsigned i = 0; i < volumes->len; i++)
        c->total += ((StoreVolume *)volumes->pdata[i])->size;
    unlink(temporary); // of a clone that was cut off
    if (!store_create(temporary, error))
        return false;
    c->to = store_open(&options, error);
    bool ok = c->to && fill(c, volumes, base_path, error);
    store_close(c->to);
    ok = ok && publish(temporary, full, error);
    if (!ok)
        unlink(temporary);
    return ok;
}

// Current has no fixed bytes: a node is taken of it.
static bool settle_id(Store *store, StoreNodeId *id, GError **error)
{
    StoreTake take = { .name = "For a clone", .automatic = true };
    return *id != STORE_CURRENT || store_take(store, &take, id, error);
}

bool store_clone_linked(Store *store, StoreNodeId id, const char *path, GError **error)
{
    Clone c = { .from = store };
    if (!settle_id(store, &id, error) || !store_set_protected(store, id, true, error))
        return false;
    c.id = id;
    return make(&c, path, true, error);
}

bool store_branch(Store *store, StoreNodeId id, const StoreTake *first, const char *path,
                  GError **error)
{
    Clone c = { .from = store, .id = id, .first = first };
    g_autoptr(StoreNode) node = store_node_get(store, id, error);
    if (!node)
        return false;
    if (node->is_protected && node->has_memory)
        return make(&c, path, true, error);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "snapshot '%s' is %s: a branch goes on from one with memory that is protected",
                node->name, node->has_memory ? "not protected" : "without memory");
    return false;
}

bool store_clone_full(Store *store, StoreNodeId id, const char *path, StoreProgress progress,
                      void *opaque, GCancellable *cancellable, GError **error)
{
    Clone c = { .from = store, .progress = progress, .opaque = opaque,
                .cancellable = cancellable };
    if (!settle_id(store, &id, error))
        return false;
    c.id = id;
    c.buffer = g_malloc(COPY_BYTES);
    bool ok = make(&c, path, false, error);
    g_free(c.buffer);
    return ok;
}
