// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshot store's file: a small store in the midst of freeing a node, the input written over
// its metadata (checksums are not looked at, so that edits get in), opened, checked, read, written,
// snapshotted, freed and closed. The input: how many edits, then
// (metadata block, offset, byte) ones.
#include "engine/base/bytes.h"
#include "tests/unit/snapshots/store/store-rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DISK (6u * 1024 * 1024)

static int transfer(Store *store, StoreRecord *record, BlockOperation operation, uint64_t offset,
                    uint64_t size)
{
    static uint8_t buffer[65536];
    if (record->slot_count == 0)
        return -1;
    StoreDevice device = { store, record, record->slots[0].volume, record == store->current };
    return store_data_sync(&device, operation, offset, buffer, size);
}

static void make_store(Rig *rig)
{
    StoreIo io = rig_io(rig);
    StoreNodeId a, b;
    bool more;
    store_format_io(&io);
    Store *store = rig_open(rig);
    store_volume_add(store, "disk0", STORE_DISK, DISK, NULL, NULL);
    for (uint64_t at = 0; at < DISK; at += 65536)
        transfer(store, store->current, BLOCK_WRITE, at, 65536);
    store_take(store, &(StoreTake){ .name = "a", .note = "n" }, &a, NULL);
    for (uint64_t at = 0; at < DISK; at += 32768)
        transfer(store, store->current, BLOCK_WRITE, at, 4096);
    g_autoptr(GBytes) blob = g_bytes_new_static("state", 5);
    store_blob_put(store, STORE_CURRENT, "device-state", blob, NULL);
    store_take(store, &(StoreTake){ .name = "b" }, &b, NULL);
    transfer(store, store->current, BLOCK_DISCARD, 0, DISK / 3);
    store_goto(store, a, NULL, NULL, NULL);
    transfer(store, store->current, BLOCK_WRITE, 8192, 512);
    store_delete(store, b, NULL);
    store_purge(store, b, NULL);
    g_mutex_lock(&store->mutex);
    store_purge_slice(store, &more);
    g_mutex_unlock(&store->mutex);
    store_close(store);
}

// Metadata is in the clusters that the space map says; the input counts their blocks.
static uint64_t find_metadata(const Rig *rig, uint64_t *ret_blocks, size_t max)
{
    Store *store = rig_open((Rig *)rig);
    uint64_t count = 0;
    ret_blocks[count++] = STORE_RING + store->durable % STORE_RING_SLOTS;
    for (uint64_t block = STORE_FIXED_CLUSTERS * STORE_CLUSTER_BLOCKS;
         block * STORE_BLOCK < rig->size && count < max; block++) {
        if (store_space_is_meta(store, block) && store_space_used(store, block))
            ret_blocks[count++] = block;
    }
    store_close(store);
    return count;
}

static void use(Store *store)
{
    g_auto(StoreReport) report = { 0 };
    StoreNodeId id = 0;
    StoreSize own;
    store_check(store, false, &report, NULL);
    transfer(store, store->current, BLOCK_READ, 0, 65536);
    transfer(store, store->current, BLOCK_WRITE, 16384, 12288);
    transfer(store, store->current, BLOCK_DISCARD, 1 << 20, 1 << 20);
    g_autoptr(GPtrArray) nodes = store_node_list(store);
    for (unsigned i = 0; i < MIN(nodes->len, 8); i++) {
        const StoreNode *node = nodes->pdata[i];
        StoreRecord *record = store_record_find(store, node->id);
        g_autoptr(GBytes) blob = store_blob_get(store, node->id, "device-state", NULL);
        StoreDiff diff = { .from = node->id, .to = STORE_CURRENT, .volume = "disk0" };
        g_autoptr(GArray) ranges = store_diff(store, &diff, NULL);
        transfer(store, record, BLOCK_READ, DISK / 2, 65536);
        store_node_size(store, node->id, &own, NULL);
    }
    store_take(store, &(StoreTake){ .name = "c" }, &id, NULL);
    if (nodes->len)
        store_goto(store, ((StoreNode *)nodes->pdata[0])->id, NULL, NULL, NULL);
    store_delete(store, id, NULL);
    store_purge(store, STORE_CURRENT, NULL);
    store_purge_wait(store, NULL, NULL);
}

static BlockDevice *no_base(const StoreBase *base, const char *path, void *opaque, GError **error)
{
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "there is no base here");
    return NULL;
}

static void say_nothing(const char *domain, GLogLevelFlags level, const char *message,
                        void *opaque)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Rig *rig;
    static uint64_t blocks[512], count;
    if (!rig) {
        rig = rig_new(UINT64_C(1) << 30);
        make_store(rig);
        count = find_metadata(rig, blocks, G_N_ELEMENTS(blocks));
        g_log_set_default_handler(say_nothing, NULL); // damage is warned of
    }
    rig_try(rig);
    uint64_t old_size = rig->size;
    size_t edits = size ? 1 + data[0] % 6 : 0;
    for (size_t at = 1; at + 4 <= MIN(size, 1 + 4 * edits); at += 4) {
        uint64_t block = blocks[data[at] % count];
        RigOperation edit = { RIG_WRITE, block * STORE_BLOCK + le16_read(data + at + 1) % 4096, 1,
                              (uint8_t *)(uintptr_t)data + at + 3 };
        rig_apply(rig, &edit, 0, 1);
    }
    StoreIo io = rig_io(rig);
    io.unchecked = true;
    StoreOpen options = { .path = "fuzz", .open_base = no_base };
    Store *store = store_open_io(io, &options, NULL);
    if (store) {
        use(store);
        store_close(store);
    }
    rig_roll_back(rig);
    rig->size = old_size;
    return 0;
}
