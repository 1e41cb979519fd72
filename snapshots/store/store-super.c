// SPDX-License-Identifier: GPL-2.0-or-later
// Superblocks (what the file is, written once, twice) and root records (what a transaction made;
// a ring of sixteen, the newest valid one holds). docs/store-format.md draws both.
#include "snapshots/store/store-private.h"

#include "engine/base/bytes.h"

#include <errno.h>

#define CHECKSUM_AT (STORE_BLOCK - 8)

// Feature bits that this version knows, by what a reader must do about unknown ones.
#define KNOWN_INCOMPATIBLE UINT64_C(0) // refuse to open
#define KNOWN_READ_ONLY    UINT64_C(0) // refuse to write

// Root record.
enum {
    ROOT_TXN = 8,
    ROOT_UUID = 16,
    ROOT_STAMP = 32,
    ROOT_NEXT_NODE = 40,
    ROOT_NEXT_VOLUME = 48,
    ROOT_GROUPS = 52,
    ROOT_PURGE_NODE = 56,
    ROOT_PURGE_CURSOR = 64,
    ROOT_PURGE_SLOT = 72,
    ROOT_SPACE = 80,
    ROOT_NODES = 104,
    ROOT_VOLUMES = 128,
    ROOT_POSITION = 152,
    ROOT_CURRENT_STAMP = 160,
    ROOT_SLOTS = 168,
    ROOT_TRAVELS = 176,
    ROOT_SLOT_TABLE = 256,
};

static void finish_block(uint8_t *block)
{
    le64_write(block + CHECKSUM_AT, store_checksum(block, CHECKSUM_AT));
}

static bool block_is(const Store *store, const uint8_t *block, const char *magic)
{
    return memcmp(block, magic, 8) == 0 &&
           (store->io.unchecked ||
            le64_read(block + CHECKSUM_AT) == store_checksum(block, CHECKSUM_AT));
}

void store_super_write(const Store *store, uint8_t *ret_block)
{
    memset(ret_block, 0, STORE_BLOCK);
    memcpy(ret_block, STORE_SUPER_MAGIC, 8);
    le32_write(ret_block + 8, STORE_VERSION);
    le32_write(ret_block + 12, STORE_BLOCK_BITS);
    memcpy(ret_block + 40, store->uuid, 16);
    le64_write(ret_block + 56, (uint64_t)store->created);
    le32_write(ret_block + 64, STORE_RING);
    le32_write(ret_block + 68, STORE_RING_SLOTS);
    finish_block(ret_block);
}

static bool check_super(Store *store, const uint8_t *block, GError **error)
{
    uint64_t unknown = le64_read(block + 16) & ~KNOWN_INCOMPATIBLE;
    uint64_t unwritable = le64_read(block + 24) & ~KNOWN_READ_ONLY;
    uint32_t version = le32_read(block + 8);
    if (version != STORE_VERSION) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "snapshot store '%s' has format version %u, this Lodge reads version %u: use a "
                    "newer Lodge", store->path, version, STORE_VERSION);
        return false;
    }
    if (unknown || (unwritable && !store->read_only)) {
        uint64_t bits = unknown ? unknown : unwritable;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "snapshot store '%s' uses %s feature bit %d, which this Lodge does not know: "
                    "use a newer Lodge", store->path, unknown ? "incompatible" : "read-only",
                    __builtin_ctzll(bits));
        return false;
    }
    if (le32_read(block + 12) != STORE_BLOCK_BITS || le32_read(block + 64) != STORE_RING ||
        le32_read(block + 68) != STORE_RING_SLOTS) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "snapshot store '%s' has a geometry that version %u does not allow",
                    store->path, STORE_VERSION);
        return false;
    }
    memcpy(store->uuid, block + 40, 16);
    store->created = (int64_t)le64_read(block + 56);
    return true;
}

static bool read_block(Store *store, uint64_t phys, uint8_t *block, GError **error)
{
    int result = store->io.ops->read(store->io.io, phys << STORE_BLOCK_BITS, block, STORE_BLOCK);
    return result == 0 || store_set_errno(error, store, "cannot be read", result);
}

bool store_super_read(Store *store, GError **error)
{
    static const uint64_t places[] = { STORE_SUPER_A, STORE_SUPER_B };
    uint8_t block[STORE_BLOCK];
    bool magic = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        if (!read_block(store, places[i], block, error))
            return false;
        if (block_is(store, block, STORE_SUPER_MAGIC))
            return check_super(store, block, error);
        magic |= memcmp(block, STORE_SUPER_MAGIC, 8) == 0;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                magic ? "snapshot store '%s' has lost both its superblocks: restore a copy"
                      : "'%s' is not a snapshot store: give the file %s of a machine's folder",
                store->path, STORE_FILE_NAME);
    return false;
}

static void write_tree(const StoreTree *tree, uint8_t *bytes)
{
    le32_write(bytes, tree->height);
    le64_write(bytes + 8, tree->root.entry);
    le64_write(bytes + 16, tree->root.checksum);
}

static bool read_tree(StoreTree *tree, StoreTreeClass tree_class, const uint8_t *bytes)
{
    tree->height = le32_read(bytes);
    tree->root.entry = le64_read(bytes + 8);
    tree->root.checksum = le64_read(bytes + 16);
    tree->tree_class = (uint8_t)tree_class;
    return tree->height <= STORE_MAX_HEIGHT;
}

void store_slots_write(const StoreRecord *record, uint8_t *ret_bytes)
{
    for (unsigned i = 0; i < record->slot_count; i++) {
        const StoreSlot *slot = &record->slots[i];
        uint8_t *at = ret_bytes + (size_t)i * STORE_SLOT_BYTES;
        le32_write(at, slot->volume);
        le32_write(at + 4, slot->tree.height);
        le64_write(at + 8, slot->size);
        le64_write(at + 16, slot->base_limit);
        le64_write(at + 24, slot->mapped);
        le64_write(at + 32, slot->tree.root.entry);
        le64_write(at + 40, slot->tree.root.checksum);
        le64_write(at + 48, slot->content);
    }
}

bool store_slots_read(StoreRecord *record, const uint8_t *bytes, unsigned count)
{
    if (count > STORE_MAX_VOLUMES)
        return false;
    for (unsigned i = 0; i < count; i++) {
        const uint8_t *at = bytes + (size_t)i * STORE_SLOT_BYTES;
        StoreSlot *slot = &record->slots[i];
        *slot = (StoreSlot){
            .volume = le32_read(at),
            .size = le64_read(at + 8),
            .base_limit = le64_read(at + 16),
            .mapped = le64_read(at + 24),
            .content = le64_read(at + 48),
            .tree = { { le64_read(at + 32), le64_read(at + 40) }, le32_read(at + 4), TREE_MAP },
        };
        if (slot->size > STORE_MAX_SIZE || slot->tree.height > STORE_MAX_HEIGHT ||
            slot->mapped > STORE_MAX_SIZE / STORE_BLOCK ||
            (slot->tree.height == 0 && slot->tree.root.entry))
            return false;
        for (unsigned before = 0; before < i; before++) {
            if (record->slots[before].volume == slot->volume)
                return false;
        }
    }
    record->slot_count = count;
    return true;
}

void store_root_write(Store *store, uint8_t *ret_block)
{
    const StoreRecord *current = store->current;
    memset(ret_block, 0, STORE_BLOCK);
    memcpy(ret_block, STORE_ROOT_MAGIC, 8);
    le64_write(ret_block + ROOT_TXN, store->txn);
    memcpy(ret_block + ROOT_UUID, store->uuid, 16);
    le64_write(ret_block + ROOT_STAMP, store->stamp);
    le64_write(ret_block + ROOT_NEXT_NODE, store->next_node);
    le32_write(ret_block + ROOT_NEXT_VOLUME, store->next_volume);
    le32_write(ret_block + ROOT_GROUPS, store->group_count);
    le64_write(ret_block + ROOT_PURGE_NODE, store->purge.record ? store->purge.record->id : 0);
    le64_write(ret_block + ROOT_PURGE_CURSOR, store->purge.cursor);
    le32_write(ret_block + ROOT_PURGE_SLOT, store->purge.slot);
    write_tree(&store->space_tree, ret_block + ROOT_SPACE);
    write_tree(&store->nodes, ret_block + ROOT_NODES);
    write_tree(&store->volumes, ret_block + ROOT_VOLUMES);
    le64_write(ret_block + ROOT_POSITION, current->parent ? current->parent->id : 0);
    le64_write(ret_block + ROOT_CURRENT_STAMP, current->stamp);
    le32_write(ret_block + ROOT_SLOTS, current->slot_count);
    le64_write(ret_block + ROOT_TRAVELS, store->travels);
    store_slots_write(current, ret_block + ROOT_SLOT_TABLE);
    finish_block(ret_block);
}

static bool parse_root(Store *store, const uint8_t *block, StoreNodeId *ret_position)
{
    store->txn = le64_read(block + ROOT_TXN) + 1;
    store->durable = store->txn - 1;
    store->stamp = le64_read(block + ROOT_STAMP);
    store->next_node = le64_read(block + ROOT_NEXT_NODE);
    store->next_volume = le32_read(block + ROOT_NEXT_VOLUME);
    store->group_count = le32_read(block + ROOT_GROUPS);
    store->purge_node = le64_read(block + ROOT_PURGE_NODE);
    store->purge.cursor = le64_read(block + ROOT_PURGE_CURSOR);
    store->purge.slot = le32_read(block + ROOT_PURGE_SLOT);
    store->current->stamp = le64_read(block + ROOT_CURRENT_STAMP);
    store->travels = le64_read(block + ROOT_TRAVELS);
    *ret_position = le64_read(block + ROOT_POSITION);
    // A group stands for 112 MiB of the file, but for the last one a hole may be all there is.
    uint64_t file_groups = store->io.ops->size(store->io.io) /
                               ((uint64_t)STORE_GROUP_CLUSTERS * STORE_CLUSTER_BLOCKS *
                                STORE_BLOCK) + 1024;
    return store->stamp < ENTRY_BIRTH_MASK && store->current->stamp <= store->stamp &&
           store->group_count >= 1 && store->group_count <= file_groups &&
           store->purge.slot <= STORE_MAX_VOLUMES &&
           read_tree(&store->space_tree, TREE_SPACE, block + ROOT_SPACE) &&
           read_tree(&store->nodes, TREE_NODES, block + ROOT_NODES) &&
           read_tree(&store->volumes, TREE_VOLUMES, block + ROOT_VOLUMES) &&
           store_slots_read(store->current, block + ROOT_SLOT_TABLE, le32_read(block + ROOT_SLOTS));
}

bool store_root_read(Store *store, StoreNodeId *ret_position, GError **error)
{
    uint8_t block[STORE_BLOCK], newest[STORE_BLOCK];
    uint64_t txn = 0;
    for (unsigned i = 0; i < STORE_RING_SLOTS; i++) {
        if (!read_block(store, STORE_RING + i, block, error))
            return false;
        if (!block_is(store, block, STORE_ROOT_MAGIC) ||
            memcmp(block + ROOT_UUID, store->uuid, 16) ||
            le64_read(block + ROOT_TXN) % STORE_RING_SLOTS != i ||
            le64_read(block + ROOT_TXN) <= txn)
            continue;
        txn = le64_read(block + ROOT_TXN);
        memcpy(newest, block, sizeof newest);
    }
    if (txn && txn < UINT64_MAX / 2 && parse_root(store, newest, ret_position))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "snapshot store '%s' has no valid root record: restore a copy", store->path);
    return false;
}
