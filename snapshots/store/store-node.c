// SPDX-License-Identifier: GPL-2.0-or-later
// The tree's operations. Each copies roots or sets flags in memory, saves a record or two, and
// commits once; none looks at a map. What the running state loses (by goto, by removing a volume)
// becomes a nameless node that is freed like a deleted one.
#include "snapshots/store/store-private.h"

#include <errno.h>

static void bump(Store *store)
{
    store->tree_version++;
    store_mark_dirty(store);
}

int store_finish_change(Store *store, int result)
{
    return result < 0 ? result : store_commit_now(store, false);
}

static bool finish(Store *store, int result, const char *what, GError **error)
{
    result = store_finish_change(store, result);
    return result == 0 || store_set_errno(error, store, what, result);
}

bool store_name_is_valid(const char *name, GError **error)
{
    if (name && *name && strlen(name) <= STORE_MAX_NAME && g_utf8_validate(name, -1, NULL))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "a snapshot's name needs 1 to %u bytes of UTF-8 text", STORE_MAX_NAME);
    return false;
}

static bool note_is_valid(const char *note, GError **error)
{
    if (!note || (strlen(note) <= STORE_MAX_NOTE && g_utf8_validate(note, -1, NULL)))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "a snapshot's note may have at most %u bytes of UTF-8 text", STORE_MAX_NOTE);
    return false;
}

// With the mutex: that the tree may be changed now.
static bool can_change(Store *store, GError **error)
{
    if (!store_can_write(store, error))
        return false;
    if (store->pending) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                    "snapshot '%s' is still being taken: wait until it is done",
                    store->pending->name);
        return false;
    }
    if (store->stamp + 2 < ENTRY_BIRTH_MASK)
        return true;
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                        "this store has seen all the snapshots that it can number: make a full "
                        "clone");
    return false;
}

static StoreRecord *find_node(Store *store, StoreNodeId id, GError **error)
{
    StoreRecord *record = store_record_find(store, id);
    if (!record)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "there is no snapshot %" G_GUINT64_FORMAT ": list the snapshots", id);
    return record;
}

// A record with these slots where current stands, saved. NULL: no room, nothing has changed.
static StoreRecord *add_record(Store *store, const StoreTake *take, uint32_t flags,
                               const StoreSlot *slots, unsigned count)
{
    if (store_space_ensure(store, 2 * store->space.dirty_groups + 48) < 0)
        return NULL;
    store_map_seal(store, TREE_MAP);
    StoreRecord *record = store_record_new(store->next_node);
    record->stamp = store->current->stamp;
    record->flags = flags;
    record->time = take && take->time ? take->time : g_get_real_time();
    record->name = g_strdup(take ? take->name : "");
    record->note = g_strdup(take && take->note ? take->note : "");
    memcpy(record->slots, slots, count * sizeof *slots);
    record->slot_count = count;
    store_record_set_parent(record, store->current->parent);
    store->next_node++;
    if (store_record_save(store, record) < 0) {
        store->next_node--;
        store_record_set_parent(record, NULL);
        store_record_free(record);
        return NULL;
    }
    g_hash_table_insert(store->records, &record->id, record);
    g_ptr_array_add(store->order, record);
    bump(store);
    return record;
}

StoreRecord *store_discard_slots(Store *store, StoreSlot *slots, unsigned count)
{
    StoreRecord *record = add_record(store, NULL, NODE_PURGING, slots, count);
    if (record)
        store_worker_wake(store);
    return record;
}

// --- Take ---

static void move_state_volumes(Store *store)
{
    StoreRecord *current = store->current;
    for (unsigned i = current->slot_count; i-- > 0;) {
        StoreVolumeRecord *volume = store_volume_by_id(store, current->slots[i].volume);
        if (volume && volume->kind == STORE_STATE)
            store_slot_remove(store, current, &current->slots[i]);
    }
}

static bool take(Store *store, const StoreTake *options, uint32_t flags, StoreNodeId *ret_id,
                 GError **error)
{
    if (!store_name_is_valid(options->name, error) || !note_is_valid(options->note, error))
        return false;
    g_mutex_lock(&store->mutex);
    if (!can_change(store, error)) {
        g_mutex_unlock(&store->mutex);
        return false;
    }
    StoreRecord *current = store->current;
    store_data_hold(store);
    StoreRecord *record = add_record(store, options,
                                     flags | (options->automatic ? NODE_AUTOMATIC : 0),
                                     current->slots, current->slot_count);
    if (record) {
        store_record_set_parent(current, record);
        current->stamp = ++store->stamp;
        if (flags & NODE_PENDING) {
            store->pending = record;
            move_state_volumes(store);
        }
        *ret_id = record->id;
    }
    store_data_resume(store);
    g_mutex_unlock(&store->mutex);
    // A guest stands still for a pending one, which no crash would leave there anyway.
    if (record && flags & NODE_PENDING)
        return true;
    return finish(store, record ? 0 : -ENOSPC, "could not take a snapshot", error);
}

bool store_take(Store *store, const StoreTake *options, StoreNodeId *ret_id, GError **error)
{
    StoreNodeId id = STORE_CURRENT;
    if (!take(store, options, 0, &id, error))
        return false;
    if (ret_id)
        *ret_id = id;
    return true;
}

bool store_take_begin(Store *store, const StoreTake *options, StoreNodeId *ret_id, GError **error)
{
    return take(store, options, NODE_PENDING, ret_id, error);
}

static bool is_pending(Store *store, StoreNodeId id, GError **error)
{
    if (store->pending && store->pending->id == id)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                "snapshot %" G_GUINT64_FORMAT " is not being taken", id);
    return false;
}

// Gives current the STATE volumes of `from` that it lacks: with the pages, or empty.
static void hand_on(Store *store, const StoreRecord *from, bool with_pages)
{
    for (unsigned i = 0; i < from->slot_count; i++) {
        const StoreSlot *slot = &from->slots[i];
        StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
        if (!volume || volume->kind != STORE_STATE || slot->content ||
            store_slot(store->current, slot->volume))
            continue;
        StoreSlot *copy = store_slot_add(store->current, slot->volume);
        if (copy && with_pages)
            *copy = *slot;
        else if (copy)
            copy->size = slot->size;
    }
}

bool store_take_finish(Store *store, StoreNodeId id, GError **error)
{
    g_mutex_lock(&store->mutex);
    if (!store_can_write(store, error) || !is_pending(store, id, error)) {
        g_mutex_unlock(&store->mutex);
        return false;
    }
    store_data_hold(store);
    StoreRecord *record = store->pending;
    int result = store_space_ensure(store, 2 * store->space.dirty_groups + 48);
    if (result == 0) {
        store_map_seal(store, TREE_MAP);
        record->flags &= ~NODE_PENDING;
        result = store_record_save(store, record);
        if (result < 0)
            record->flags |= NODE_PENDING;
    }
    if (result == 0) {
        hand_on(store, record, true); // the next memory image shares them
        store->pending = NULL;
        bump(store);
    }
    store_data_resume(store);
    g_mutex_unlock(&store->mutex);
    return finish(store, result, "could not finish the snapshot", error);
}

void store_return_state_volumes(Store *store, const StoreRecord *from)
{
    hand_on(store, from, false);
}

void store_take_abort(Store *store, StoreNodeId id)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *record = store->pending;
    if (record && record->id == id) {
        store_data_hold(store);
        store_map_seal(store, TREE_MAP);
        store->pending = NULL;
        record->flags = NODE_PURGING;
        store_return_state_volumes(store, record);
        store_record_save(store, record); // without room for it, the next opening gives it up
        bump(store);
        store_worker_wake(store);
        store_data_resume(store);
    }
    g_mutex_unlock(&store->mutex);
}

// --- Go to ---

StoreNodeId store_position(Store *store)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *parent = store->current->parent;
    while (parent && parent->flags & (NODE_GHOST | NODE_PURGING | NODE_PENDING))
        parent = parent->parent;
    StoreNodeId id = parent ? parent->id : STORE_CURRENT;
    g_mutex_unlock(&store->mutex);
    return id;
}

bool store_goto(Store *store, StoreNodeId id, const StoreTake *keep, StoreNodeId *ret_kept,
                GError **error)
{
    if (keep && (!store_name_is_valid(keep->name, error) || !note_is_valid(keep->note, error)))
        return false;
    g_mutex_lock(&store->mutex);
    StoreRecord *target = can_change(store, error) ? find_node(store, id, error) : NULL;
    if (!target) {
        g_mutex_unlock(&store->mutex);
        return false;
    }
    StoreRecord *current = store->current;
    store_data_hold(store);
    StoreRecord *left = keep ? add_record(store, keep, NODE_IN_BIN, current->slots,
                                          current->slot_count)
                             : store_discard_slots(store, current->slots, current->slot_count);
    if (left) {
        memcpy(current->slots, target->slots, sizeof current->slots);
        current->slot_count = target->slot_count;
        store_record_set_parent(current, target);
        current->stamp = ++store->stamp;
        store->travels++;
        store_devices_resize(store);
        if (keep && ret_kept)
            *ret_kept = left->id;
    }
    store_data_resume(store);
    g_mutex_unlock(&store->mutex);
    return finish(store, left ? 0 : -ENOSPC, "could not go to the snapshot", error);
}

bool store_is_changed(Store *store)
{
    bool changed = false;
    g_mutex_lock(&store->mutex);
    StoreRecord *current = store->current;
    for (unsigned i = 0; i < current->slot_count && !changed; i++) {
        const StoreSlot *slot = &current->slots[i];
        const StoreVolumeRecord *volume = store_volume_by_id(store, slot->volume);
        if (volume && volume->kind == STORE_STATE) // of a moment that has a node, or of none
            continue;
        const StoreSlot *old = current->parent ? store_slot(current->parent, slot->volume) : NULL;
        changed = old ? old->tree.root.entry != slot->tree.root.entry || old->size != slot->size
                      : slot->mapped > 0;
    }
    g_mutex_unlock(&store->mutex);
    return changed;
}

// --- Flags and texts ---

// Sets and clears flags of a node that has all of `wanted`; without the mutex.
static bool change_flags(Store *store, StoreNodeId id, uint32_t set, uint32_t clear,
                         bool (*allowed)(const StoreRecord *record, GError **error), GError **error)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *record = store_can_write(store, error) ? find_node(store, id, error) : NULL;
    bool ok = record && (!allowed || allowed(record, error));
    int result = 0;
    if (ok) {
        uint32_t old = record->flags;
        record->flags = (old & ~clear) | set;
        result = store_record_save(store, record);
        if (result < 0)
            record->flags = old;
        store_worker_wake(store);
        bump(store);
    }
    g_mutex_unlock(&store->mutex);
    return ok && finish(store, result, "could not change the snapshot", error);
}

static bool may_delete(const StoreRecord *record, GError **error)
{
    if (!(record->flags & NODE_PROTECTED))
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                "snapshot '%s' is protected: take the protection away first (clones may read "
                "from it)", record->name);
    return false;
}

bool store_delete(Store *store, StoreNodeId id, GError **error)
{
    return change_flags(store, id, NODE_IN_BIN, 0, may_delete, error);
}

bool store_undelete(Store *store, StoreNodeId id, GError **error)
{
    return change_flags(store, id, 0, NODE_IN_BIN, NULL, error);
}

bool store_set_protected(Store *store, StoreNodeId id, bool is_protected, GError **error)
{
    return change_flags(store, id, is_protected ? NODE_PROTECTED : 0, NODE_PROTECTED, NULL, error);
}

bool store_purge(Store *store, StoreNodeId id, GError **error)
{
    if (id != STORE_CURRENT)
        return change_flags(store, id, NODE_PURGING, NODE_IN_BIN, may_delete, error);
    g_autoptr(GPtrArray) nodes = store_node_list(store);
    bool ok = true;
    for (unsigned i = 0; i < nodes->len && ok; i++) {
        const StoreNode *node = nodes->pdata[i];
        if (node->in_bin && !node->is_protected)
            ok = change_flags(store, node->id, NODE_PURGING, NODE_IN_BIN, may_delete, error);
    }
    return ok;
}

static bool set_text(Store *store, StoreNodeId id, const char *name, const char *note,
                     GError **error)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *record = store_can_write(store, error) ? find_node(store, id, error) : NULL;
    int result = 0;
    if (record) {
        char **text = name ? &record->name : &record->note;
        g_autofree char *old = *text;
        *text = g_strdup(name ? name : note);
        result = store_record_save(store, record);
        if (result < 0) {
            g_free(*text);
            *text = g_steal_pointer(&old);
        }
    }
    g_mutex_unlock(&store->mutex);
    return record && finish(store, result, "could not change the snapshot", error);
}

bool store_rename(Store *store, StoreNodeId id, const char *name, GError **error)
{
    return store_name_is_valid(name, error) && set_text(store, id, name, NULL, error);
}

bool store_set_note(Store *store, StoreNodeId id, const char *note, GError **error)
{
    return note_is_valid(note, error) && set_text(store, id, NULL, note ? note : "", error);
}

// --- Lists ---

void store_node_free(StoreNode *node)
{
    if (!node)
        return;
    g_free(node->name);
    g_free(node->note);
    g_free(node);
}

static void free_listed(gpointer data)
{
    store_node_free(data);
}

static StoreNode *describe(Store *store, StoreRecord *record)
{
    StoreNode *node = g_new0(StoreNode, 1);
    StoreRecord *parent = record->parent;
    while (parent && parent->flags & (NODE_GHOST | NODE_PURGING))
        parent = parent->parent;
    node->id = record->id;
    node->parent = parent ? parent->id : STORE_CURRENT;
    node->name = g_strdup(record->name);
    node->note = g_strdup(record->note);
    node->time = record->time;
    node->is_protected = record->flags & NODE_PROTECTED;
    node->in_bin = record->flags & NODE_IN_BIN;
    node->automatic = record->flags & NODE_AUTOMATIC;
    const StoreSlot *state = store_slot_named(store, record, "device-state");
    node->has_memory = state && state->size;
    return node;
}

GPtrArray *store_node_list(Store *store)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(free_listed);
    g_mutex_lock(&store->mutex);
    for (unsigned i = 0; i < store->order->len; i++) {
        StoreRecord *record = store->order->pdata[i];
        if (!(record->flags & (NODE_PENDING | NODE_PURGING | NODE_GHOST)))
            g_ptr_array_add(list, describe(store, record));
    }
    g_mutex_unlock(&store->mutex);
    return list;
}

StoreNode *store_node_get(Store *store, StoreNodeId id, GError **error)
{
    g_mutex_lock(&store->mutex);
    StoreRecord *record = find_node(store, id, error);
    StoreNode *node = record ? describe(store, record) : NULL;
    g_mutex_unlock(&store->mutex);
    return node;
}
