// SPDX-License-Identifier: GPL-2.0-or-later
// A store's life: made, opened (which undoes what a crash left half done), closed.
#include "snapshots/store/store-private.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MAX_DEPTH 32u // linked clones of linked clones

bool store_set_errno(GError **error, Store *store, const char *what, int result)
{
    const char *reason = g_strerror(-result);
    GIOErrorEnum code = g_io_error_from_errno(-result);
    if (result == -EBADMSG) {
        reason = "it is damaged; run a check, or restore a copy";
        code = G_IO_ERROR_INVALID_DATA;
    } else if (result == -ENOSPC) {
        reason = "its file system is full; free some space, or empty the bin";
    }
    g_set_error(error, G_IO_ERROR, code, "snapshot store '%s': %s: %s", store->path, what, reason);
    return false;
}

bool store_can_write(Store *store, GError **error)
{
    if (store->read_only) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY,
                    "snapshot store '%s' was opened to be read only", store->path);
        return false;
    }
    return !store->error || store_set_errno(error, store, "could not be written before",
                                            store->error);
}

static void free_record(gpointer data)
{
    store_record_free(data);
}

static void free_volume(gpointer data)
{
    store_volume_record_free(data);
}

static Store *new_store(StoreIo io, const StoreOpen *options)
{
    Store *store = g_new0(Store, 1);
    store->io = io;
    store->options = *options;
    store->path = g_strdup(options->path);
    store->read_only = options->read_only;
    g_mutex_init(&store->commit_lock);
    g_mutex_init(&store->mutex);
    g_cond_init(&store->changed);
    g_cond_init(&store->work);
    g_queue_init(&store->unwritten);
    g_queue_init(&store->waiting);
    g_queue_init(&store->flushes);
    g_queue_init(&store->jobs);
    store_cache_init(&store->cache);
    store_space_init(&store->space);
    store->current = store_record_new(STORE_CURRENT);
    store->current->name = g_strdup("");
    store->current->note = g_strdup("");
    store->records = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_record);
    store->order = g_ptr_array_new();
    store->volume_records = g_ptr_array_new_with_free_func(free_volume);
    store->allocating = g_hash_table_new(g_direct_hash, g_direct_equal);
    store->devices = g_ptr_array_new();
    store->nodes.tree_class = TREE_NODES;
    store->volumes.tree_class = TREE_VOLUMES;
    store->space_tree.tree_class = TREE_SPACE;
    return store;
}

static void free_store(Store *store)
{
    // First: a thread of its may have yet to tell those who waited for the last request.
    store->io.ops->close(store->io.io);
    store_commit_give_up(store);
    if (store->reserve)
        g_array_unref(store->reserve);
    g_ptr_array_unref(store->devices);
    g_hash_table_unref(store->allocating);
    g_ptr_array_unref(store->volume_records);
    g_ptr_array_unref(store->order);
    g_hash_table_unref(store->records);
    store_record_free(store->current);
    store_space_clear(&store->space);
    store_cache_clear(&store->cache);
    g_mutex_clear(&store->commit_lock);
    g_mutex_clear(&store->mutex);
    g_cond_clear(&store->changed);
    g_cond_clear(&store->work);
    g_free(store->path);
    g_free(store);
}

static void make_uuid(uint8_t *uuid)
{
    for (unsigned i = 0; i < 16; i += 4) {
        guint32 random = g_random_int();
        memcpy(uuid + i, &random, 4);
    }
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}

static void borrowed_close(void *io)
{
}

int store_format_io(StoreIo *io)
{
    StoreIoOps ops = *io->ops;
    uint8_t super[STORE_BLOCK], ring[STORE_RING_SLOTS * STORE_BLOCK] = { 0 };
    StoreOpen options = { .path = "new store" };
    ops.close = borrowed_close;
    Store *store = new_store((StoreIo){ .ops = &ops, .io = io->io }, &options);
    make_uuid(store->uuid);
    store->created = g_get_real_time();
    store->txn = 1;
    store->stamp = store->current->stamp = 1;
    store->next_node = 1;
    store->next_volume = 1;
    store_super_write(store, super);
    int result = store_space_load(store);
    if (result == 0) // a commit must find the ring's room when there is no other
        result = io->ops->write(io->io, STORE_RING << STORE_BLOCK_BITS, ring, sizeof ring);
    if (result == 0)
        result = io->ops->write(io->io, STORE_SUPER_A << STORE_BLOCK_BITS, super, sizeof super);
    if (result == 0)
        result = io->ops->write(io->io, STORE_SUPER_B << STORE_BLOCK_BITS, super, sizeof super);
    if (result == 0) {
        store_space_touch_first(store);
        store_mark_dirty(store);
        result = store_commit_now(store, false);
    }
    free_store(store);
    return result;
}

static bool set_create_error(GError **error, const char *path, int code)
{
    const char *reason = code == EEXIST ? "it exists already; choose another name"
                         : code == ENOENT ? "its folder does not exist" : g_strerror(code);
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                "snapshot store '%s' cannot be created: %s", path, reason);
    return false;
}

bool store_create(const char *path, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s.new", path);
    StoreIo io;
    if (g_file_test(path, G_FILE_TEST_EXISTS))
        return set_create_error(error, path, EEXIST);
    unlink(temporary); // of a creation that was cut off
    int fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return set_create_error(error, path, errno);
    close(fd);
    if (!store_io_open_file(&io, temporary, false, BLOCK_IO_THREADS, error)) {
        unlink(temporary);
        return false;
    }
    io.threaded = false;
    int result = store_format_io(&io);
    io.ops->close(io.io);
    if (result == 0)
        result = store_io_rename(temporary, path);
    if (result == 0)
        return true;
    unlink(temporary);
    return set_create_error(error, path, -result);
}

// A node whose taking was cut off is given up; freeing goes on where it was.
static int undo_half_done(Store *store)
{
    for (unsigned i = 0; i < store->order->len; i++) {
        StoreRecord *record = store->order->pdata[i];
        if (!(record->flags & NODE_PENDING))
            continue;
        record->flags = NODE_PURGING;
        store_return_state_volumes(store, record);
        int result = store->read_only ? 0 : store_record_save(store, record);
        if (result < 0)
            return result;
    }
    return 0;
}

static int link_current(Store *store, StoreNodeId position)
{
    StoreRecord *parent = g_hash_table_lookup(store->records, &position);
    if (position && (!parent || parent->stamp >= store->current->stamp))
        return -EBADMSG;
    store_record_set_parent(store->current, parent);
    if (!store->purge_node)
        return 0;
    store->purge.record = g_hash_table_lookup(store->records, &store->purge_node);
    return store->purge.record && store->purge.record->flags & NODE_PURGING ? 0 : -EBADMSG;
}

static int load(Store *store, StoreNodeId position)
{
    // A reader has no use for the space map, which a writer changes with each commit.
    int result = store->read_only ? 0 : store_space_load(store);
    if (result == 0)
        result = store_volumes_load(store);
    if (result == 0)
        result = store_records_load(store);
    if (result == 0)
        result = link_current(store, position);
    return result == 0 ? undo_half_done(store) : result;
}

Store *store_open_io(StoreIo io, const StoreOpen *options, GError **error)
{
    Store *store = new_store(io, options);
    StoreNodeId position;
    if (options->depth > MAX_DEPTH) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_TOO_MANY_LINKS,
                    "snapshot store '%s' stands below more than %u linked clones: make a full "
                    "clone", store->path, MAX_DEPTH);
        free_store(store);
        return NULL;
    }
    bool ok = store_super_read(store, error) && store_root_read(store, &position, error);
    int result = ok ? load(store, position) : 0;
    if (result < 0)
        ok = store_set_errno(error, store, "cannot be opened", result);
    if (!ok || !store_volumes_open_bases(store, error)) {
        free_store(store);
        return NULL;
    }
    store_reserve_fill(store);
    if (io.threaded && !store->read_only)
        store_worker_start(store);
    return store;
}

// A reader beside a writer may see a root whose records are being replaced: the next one holds.
static Store *open_reader(const StoreOpen *options, GError **error)
{
    for (unsigned tries = 0;; tries++) {
        StoreIo io;
        g_autoptr(GError) trouble = NULL;
        if (!store_io_open_file(&io, options->path, true, options->io, error))
            return NULL;
        Store *store = store_open_io(io, options, &trouble);
        if (store)
            return store;
        if (tries == 50 || !g_error_matches(trouble, G_IO_ERROR, G_IO_ERROR_INVALID_DATA)) {
            g_propagate_error(error, g_steal_pointer(&trouble));
            return NULL;
        }
        g_usleep(tries * 1000);
    }
}

Store *store_open(const StoreOpen *options, GError **error)
{
    StoreIo io;
    if (options->read_only)
        return open_reader(options, error);
    if (!store_io_open_file(&io, options->path, false, options->io, error))
        return NULL;
    return store_open_io(io, options, error);
}

void store_close(Store *store)
{
    if (!store)
        return;
    if (store->pending)
        store_take_abort(store, store->pending->id);
    store_worker_stop(store);
    if (!store->read_only) {
        g_mutex_lock(&store->mutex);
        store->closing = true;
        store_reserve_drop(store);
        g_mutex_unlock(&store->mutex);
        store_commit_now(store, false);
    }
    free_store(store);
}

bool store_commit(Store *store, GError **error)
{
    int result = store_commit_now(store, true);
    return result == 0 || store_set_errno(error, store, "could not be committed", result);
}

bool store_purge_wait(Store *store, GCancellable *cancellable, GError **error)
{
    if (!store->worker) {
        int result = store_purge_all(store);
        return result == 0 || store_set_errno(error, store, "could not free space", result);
    }
    bool ok = true;
    g_mutex_lock(&store->mutex);
    while (ok && store_has_purge(store)) {
        if (store->error || store->purge_failed)
            ok = store_set_errno(error, store, "could not free space",
                                 store->error ? store->error : -EBADMSG);
        else if (cancellable && g_cancellable_is_cancelled(cancellable))
            ok = !g_cancellable_set_error_if_cancelled(cancellable, error);
        else
            g_cond_wait_until(&store->changed, &store->mutex,
                              g_get_monotonic_time() + 100 * G_TIME_SPAN_MILLISECOND);
    }
    g_mutex_unlock(&store->mutex);
    return ok;
}

void store_info(Store *store, StoreInfo *ret_info)
{
    const uint8_t *u = store->uuid;
    StoreInfo info = { .file_size = store->io.ops->size(store->io.io) };
    g_mutex_lock(&store->mutex);
    if (!store->space.loaded)
        store_space_load(store); // without it the figures are 0
    g_snprintf(info.uuid, sizeof info.uuid,
               "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1],
               u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14],
               u[15]);
    info.data_bytes = store->space.data_used * STORE_BLOCK;
    info.metadata_bytes = store->space.meta_used * STORE_BLOCK;
    info.commits = store->durable;
    info.travels = store->travels;
    info.full = store->full;
    info.reserve_bytes = store_reserve_left(store) * STORE_BLOCK;
    for (unsigned i = 0; i < store->order->len; i++) {
        const StoreRecord *record = store->order->pdata[i];
        info.freeing_nodes += (record->flags & NODE_PURGING) != 0;
        if (record->flags & NODE_IN_BIN && record->size_key != UINT64_MAX)
            info.bin_bytes += record->size.own;
    }
    g_mutex_unlock(&store->mutex);
    *ret_info = info;
}
