// SPDX-License-Identifier: GPL-2.0-or-later
// Nodes in memory and in their tree on disk: one 4 KiB record each, by id. All records are read
// when the store is opened; a parent's id and stamp are always lower than its children's, which is
// what rules out loops.
#include "snapshots/store/store-private.h"

#include "engine/base/bytes.h"

#include <errno.h>

enum {
    NODE_ID = 8,
    NODE_PARENT = 16,
    NODE_STAMP = 24,
    NODE_TIME = 32,
    NODE_FLAGS = 40,
    NODE_SLOTS = 44,
    NODE_NAME_LENGTH = 48,
    NODE_NOTE_LENGTH = 50,
    NODE_NAME = 64,
    NODE_NOTE = 320,
    NODE_SLOT_TABLE = 1344,
};
G_STATIC_ASSERT(NODE_SLOT_TABLE + STORE_MAX_VOLUMES * STORE_SLOT_BYTES <= STORE_BLOCK);

StoreRecord *store_record_new(StoreNodeId id)
{
    StoreRecord *record = g_new0(StoreRecord, 1);
    record->id = id;
    record->children = g_ptr_array_new();
    record->size_key = UINT64_MAX;
    return record;
}

void store_record_free(StoreRecord *record)
{
    if (!record)
        return;
    g_ptr_array_unref(record->children);
    g_free(record->name);
    g_free(record->note);
    g_free(record);
}

void store_record_set_parent(StoreRecord *record, StoreRecord *parent)
{
    if (record->parent)
        g_ptr_array_remove(record->parent->children, record);
    record->parent = parent;
    if (parent)
        g_ptr_array_add(parent->children, record);
}

StoreRecord *store_record_find(Store *store, StoreNodeId id)
{
    StoreRecord *record = g_hash_table_lookup(store->records, &id);
    if (!record || record->flags & (NODE_PENDING | NODE_PURGING | NODE_GHOST))
        return NULL;
    return record;
}

StoreSlot *store_slot(StoreRecord *record, uint32_t volume)
{
    for (unsigned i = 0; i < record->slot_count; i++) {
        if (record->slots[i].volume == volume)
            return &record->slots[i];
    }
    return NULL;
}

StoreSlot *store_slot_add(StoreRecord *record, uint32_t volume)
{
    if (record->slot_count == STORE_MAX_VOLUMES)
        return NULL;
    StoreSlot *slot = &record->slots[record->slot_count++];
    *slot = (StoreSlot){ .volume = volume, .tree.tree_class = TREE_MAP };
    return slot;
}

// The slots behind it move, and dirty blocks know where their root stands.
void store_slot_remove(Store *store, StoreRecord *record, StoreSlot *slot)
{
    store_map_seal(store, TREE_MAP);
    StoreSlot *end = &record->slots[--record->slot_count];
    memmove(slot, slot + 1, (size_t)(end - slot) * sizeof *slot);
}

int store_record_save(Store *store, StoreRecord *record)
{
    StoreBlock *block;
    int result = store_map_record(store, &store->nodes, record->id, &block);
    if (result < 0)
        return result;
    uint8_t *bytes = block->bytes;
    size_t name = strlen(record->name), note = record->note ? strlen(record->note) : 0;
    memset(bytes, 0, STORE_BLOCK);
    memcpy(bytes, STORE_NODE_MAGIC, 8);
    le64_write(bytes + NODE_ID, record->id);
    le64_write(bytes + NODE_PARENT, record->parent ? record->parent->id : 0);
    le64_write(bytes + NODE_STAMP, record->stamp);
    le64_write(bytes + NODE_TIME, (uint64_t)record->time);
    le32_write(bytes + NODE_FLAGS, record->flags);
    le32_write(bytes + NODE_SLOTS, record->slot_count);
    le16_write(bytes + NODE_NAME_LENGTH, (uint16_t)name);
    le16_write(bytes + NODE_NOTE_LENGTH, (uint16_t)note);
    memcpy(bytes + NODE_NAME, record->name, name);
    if (note)
        memcpy(bytes + NODE_NOTE, record->note, note);
    store_slots_write(record, bytes + NODE_SLOT_TABLE);
    store_mark_dirty(store);
    return 0;
}

int store_record_remove(Store *store, StoreRecord *record)
{
    StoreBlock *block;
    int result = store_map_record(store, &store->nodes, record->id, &block);
    if (result < 0)
        return result;
    memset(block->bytes, 0, STORE_BLOCK);
    store_record_set_parent(record, NULL);
    g_ptr_array_remove(store->order, record);
    g_hash_table_remove(store->records, &record->id);
    store_mark_dirty(store);
    return 0;
}

static char *read_text(const uint8_t *bytes, size_t length, size_t limit)
{
    if (length > limit || !g_utf8_validate((const char *)bytes, (gssize)length, NULL))
        return NULL;
    return g_strndup((const char *)bytes, length);
}

static int load_record(Store *store, uint64_t index, StoreBlock *block)
{
    const uint8_t *bytes = block->bytes;
    if (memcmp(bytes, STORE_NODE_MAGIC, 8) || le64_read(bytes + NODE_ID) != index || index == 0 ||
        index >= store->next_node)
        return -EBADMSG;
    StoreRecord *record = store_record_new(index);
    g_hash_table_insert(store->records, &record->id, record);
    g_ptr_array_add(store->order, record);
    record->stamp = le64_read(bytes + NODE_STAMP);
    record->time = (int64_t)le64_read(bytes + NODE_TIME);
    record->flags = le32_read(bytes + NODE_FLAGS);
    record->name = read_text(bytes + NODE_NAME, le16_read(bytes + NODE_NAME_LENGTH),
                             STORE_MAX_NAME);
    record->note = read_text(bytes + NODE_NOTE, le16_read(bytes + NODE_NOTE_LENGTH),
                             STORE_MAX_NOTE);
    if (!record->name || !record->note || record->flags & ~NODE_KNOWN_FLAGS ||
        record->stamp > store->stamp ||
        !store_slots_read(record, bytes + NODE_SLOT_TABLE, le32_read(bytes + NODE_SLOTS)))
        return -EBADMSG;
    StoreNodeId parent_id = le64_read(bytes + NODE_PARENT);
    if (parent_id == 0)
        return 0;
    StoreRecord *parent = g_hash_table_lookup(store->records, &parent_id);
    if (!parent || parent->stamp >= record->stamp)
        return -EBADMSG;
    store_record_set_parent(record, parent);
    return 0;
}

int store_records_load(Store *store)
{
    return store_map_each_record(store, &store->nodes, load_record);
}
