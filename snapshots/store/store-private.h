// SPDX-License-Identifier: GPL-2.0-or-later
// What the store's files share. Stays in this folder (and its tests).
//
// Locks: Store.commit_lock before Store.mutex. commit_lock is held by whoever writes a transaction
// to the file; mutex guards everything in memory and is never held across a sync. Functions whose
// comment does not say otherwise want the mutex held.
//
// A transaction collects changes in memory and is closed by store_commit: map blocks that it
// changed get new places (never the old ones), the space map follows, and one root record names
// them all. `txn` numbers the open one; what a closed one freed is used again once it is durable
// and no request that began before its end is in flight.
#pragma once

#include "snapshots/store/store-format.h"
#include "snapshots/store/store-io.h"
#include "snapshots/store/store.h"

#include <errno.h>
#include <string.h>

typedef enum { TREE_MAP, TREE_NODES, TREE_VOLUMES, TREE_SPACE } StoreTreeClass;

// A metadata block in memory.
typedef struct StoreBlock {
    struct StoreBlock *next; // in its bucket of StoreCache
    uint64_t phys;           // its place in the file
    uint8_t level;
    uint8_t tree_class;
    bool recent; // used since it was looked at for eviction
    bool dirty;  // the open transaction will write it
    bool sealed; // dirty, but shared already: not to be changed
    bool plain;
    uint64_t txn;  // the transaction that writes it; 0: was read
    GList link;    // in StoreCache.clean or .dirty
    // While dirty: where its checksum belongs.
    struct StoreBlock *parent;
    unsigned index;
    StorePointer *root; // where parent is NULL
    union {
        uint64_t leaf[STORE_LEAF_ENTRIES];
        StorePointer node[STORE_NODE_ENTRIES];
        uint8_t bytes[STORE_BLOCK];
    };
} StoreBlock;

// The way to a leaf that was found lately, so that the next look need not go down from the root. It
// holds as long as no block came or went (StoreCache.version).
typedef struct {
    uint64_t version;
    uint64_t root; // entry
    uint64_t number; // of the leaf
    StoreBlock *leaf; // or NULL:
    uint64_t run;     // the entry that stands for all of it
    // Of a leaf that is looked at often: which of its entries are those of a run, `run` + index.
    // Most are where few blocks were written since; the leaf, of 4 KiB, need not come into a
    // processor's cache for them. Known after STORE_HINT_LOOKS, again after each change.
    uint64_t looks;
    uint64_t in_run[STORE_LEAF_ENTRIES / 64];
} StoreHint;
#define STORE_HINT_LOOKS 64u
#define STORE_HINTS 1024u

typedef struct {
    uint64_t version;
    StoreHint *hints;
    StoreBlock **buckets; // by phys
    GQueue clean, dirty;
    GPtrArray *arenas;    // large pages that blocks are taken from
    StoreBlock *unused;   // of them, linked through `next`
    unsigned plain;       // blocks that came from malloc
    unsigned limit; // blocks kept beyond the dirty ones
} StoreCache;

// A persistent map. height: levels, 0 for an empty one.
typedef struct {
    StorePointer root;
    uint32_t height;
    uint8_t tree_class;
} StoreTree;

// What one volume is in one node.
typedef struct {
    uint32_t volume;     // id
    uint64_t size;       // bytes
    uint64_t base_limit; // bytes below which holes show the base image
    uint64_t mapped;     // blocks of data
    uint64_t content;    // blobs: xxh3 of the bytes
    StoreTree tree;
} StoreSlot;

// A node, or the running state (id STORE_CURRENT).
typedef struct StoreRecord {
    StoreNodeId id;
    struct StoreRecord *parent; // NULL: none
    GPtrArray *children;        // StoreRecord, the running state among them
    uint64_t stamp;             // the birth of what it wrote itself
    uint32_t flags;
    int64_t time;
    char *name, *note;
    StoreSlot slots[STORE_MAX_VOLUMES];
    unsigned slot_count;
    unsigned open_devices;
    uint64_t size_key; // of the cached size below
    StoreSize size;
} StoreRecord;

typedef struct {
    uint32_t id;
    StoreVolumeKind kind;
    char *name;
    StoreBase *base;
    BlockDevice *base_device; // opened with the store, or NULL
    bool dirty;
} StoreVolumeRecord;

// A 112 MiB piece of the file. busy: used, or not to be given out yet.
typedef struct {
    uint16_t used[STORE_GROUP_CLUSTERS];
    uint16_t busy[STORE_GROUP_CLUSTERS];
    uint64_t meta[STORE_GROUP_CLUSTERS / 64];
    unsigned free_clusters; // data or nothing, none busy
    unsigned run_hint;      // no run of free clusters is longer than this
    unsigned scan_from;     // no free cluster is before this
    bool dirty;
    bool relocated; // by the commit under way
} StoreGroup;

typedef struct {
    uint64_t phys; // first block
    uint64_t count;
    uint64_t txn; // that freed it
    bool punch;
} StoreFree;

typedef struct {
    GPtrArray *groups; // StoreGroup
    GArray *partial;   // uint64_t: metadata clusters that may have free blocks
    uint64_t meta_cluster; // the one being filled, 0 for none
    uint64_t meta_free;    // blocks that metadata can have at once
    uint64_t meta_used, data_used; // blocks
    uint64_t frontier;     // next data block to try for scattered writes
    uint64_t partial_from; // data cluster from which a partly free one is looked for
    unsigned search_from;  // no group before this has a free cluster
    unsigned max_groups;
    bool loaded;
    unsigned dirty_groups;
    GArray *frees;         // StoreFree, by txn
    GHashTable *reservations; // key -> StoreReservation
    GQueue reservation_order;
} StoreSpace;

typedef struct {
    StoreRecord *record; // being freed, or NULL
    unsigned slot;
    uint64_t cursor; // blocks of the volume below this are done
} StorePurge;

// A closed transaction on its way to the file.
typedef struct {
    uint64_t txn;
    GPtrArray *blocks; // StoreWrite
    uint8_t root[STORE_BLOCK];
    uint64_t root_phys;
} StoreTransaction;

#define STORE_TXN_SLOTS 8u // transactions whose requests may be in flight at once

struct Store {
    StoreIo io;
    char *path;
    bool read_only;
    StoreOpen options;
    uint8_t uuid[16];
    int64_t created;

    GMutex commit_lock;
    GQueue unwritten; // StoreTransaction, guarded by commit_lock

    GMutex mutex;
    GCond changed;     // requests completed, a transaction became durable, the worker has news
    int error;         // -errno after which nothing is written any more
    bool full;
    uint64_t txn;      // open
    uint64_t durable;  // the last one in the file for good
    bool dirty;        // the open one has something to write
    uint64_t stamp;    // the highest given out
    uint64_t travels;  // how often current went to a node
    StoreNodeId next_node;
    uint32_t next_volume;
    StoreTree nodes, volumes, space_tree;
    unsigned group_count; // of the last root record
    StoreCache cache;
    StoreSpace space;

    StoreRecord *current;
    StoreRecord *pending; // or NULL
    GHashTable *records;  // &id -> StoreRecord, all but current
    GPtrArray *order;     // the same by id
    GPtrArray *volume_records; // StoreVolumeRecord
    GArray *reserve; // store-reserve.c; or NULL
    StorePurge purge;
    StoreNodeId purge_node; // as read from the root record
    uint64_t tree_version; // changes with what sizes depend on

    // Requests (store-data.c).
    unsigned hold;         // writes wait while > 0
    // Raised with the mutex, lowered without; who waits for a zero raises `waiters` first.
    gint writes_in_flight;
    gint in_flight[STORE_TXN_SLOTS];
    gint waiters;
    GQueue waiting;        // StoreRequest
    GQueue flushes;        // StoreRequest
    bool flush_queued, commit_queued; // the worker knows
    GHashTable *allocating; // keys of blocks whose new places are being written
    GPtrArray *devices;    // StoreDevice

    // Worker (store-worker.c).
    GThread *worker;
    GQueue jobs; // StoreJob
    GCond work;
    bool purge_failed;
    bool closing;
};

// --- store-cache.c ---
void store_cache_init(StoreCache *cache);
void store_cache_clear(StoreCache *cache);
// The block, read and verified where it is not in memory. -EAGAIN: it is not, and `cached_only`.
// -EBADMSG: its checksum is wrong. Valid until store_cache_trim.
int store_cache_get(Store *store, StorePointer pointer, unsigned level, StoreTreeClass tree_class,
                    bool cached_only, StoreBlock **ret_block);
StoreBlock *store_cache_new(Store *store, uint64_t phys, unsigned level, StoreTreeClass tree_class);
// Forgets a block whose place was freed.
void store_cache_drop(Store *store, uint64_t phys);
void store_cache_clean(Store *store, StoreBlock *block); // the open transaction was closed
void store_cache_trim(Store *store);
uint64_t store_checksum(const void *data, size_t size);

// --- store-map.c ---
// Index of a vblock in a block of `level`.
static inline unsigned store_index(uint64_t vblock, unsigned level)
{
    if (level == 0)
        return vblock & (STORE_LEAF_ENTRIES - 1);
    return vblock >> (STORE_LEAF_BITS + STORE_NODE_BITS * (level - 1)) & (STORE_NODE_ENTRIES - 1);
}
unsigned store_height_for(uint64_t vblocks);
// The entry that stands for vblock at `level` (entries of a leaf: 0), expanded where a run or a
// zero stands above it. 0 or -errno.
int store_map_entry(Store *store, const StoreTree *tree, unsigned level, uint64_t vblock,
                    bool cached_only, uint64_t *ret_entry);
// The reference at `level` (1: a leaf's; up to tree->height: the root's) over vblock.
int store_map_pointer(Store *store, const StoreTree *tree, unsigned level, uint64_t vblock,
                      StorePointer *ret_pointer);
// Entries from vblock on that are of one kind: the first one, and where they end (at most at
// `end`). 0 or -errno.
int store_map_run(Store *store, const StoreTree *tree, uint64_t vblock, uint64_t end,
                  uint64_t *ret_first, uint64_t *ret_end);
// The leaf over vblock (entries may be changed until the next call), its path copied as
// needed. owner, slot: whose tree it is. -ENOSPC, -errno.
int store_map_modify(Store *store, StoreRecord *owner, StoreSlot *slot, StoreTree *tree,
                     uint64_t vblock, StoreBlock **ret_leaf);
// One record of the tree of nodes, volumes or the space map, to be overwritten.
int store_map_record(Store *store, StoreTree *tree, uint64_t index, StoreBlock **ret_block);
int store_map_read_record(Store *store, const StoreTree *tree, uint64_t index,
                          StoreBlock **ret_block);
// Calls back for each record of a tree, by index. Stops at the first error, and returns it.
int store_map_each_record(Store *store, const StoreTree *tree,
                          int (*visit)(Store *store, uint64_t index, StoreBlock *block));
// Drops [first, first + count): own data is freed. zero: leaves zeros over a base, not holes.
int store_map_clear(Store *store, StoreRecord *owner, StoreSlot *slot, uint64_t first,
                    uint64_t count, bool zero);
// Checksums of what the open transaction changed in trees of this class. With freeze, what has
// been sealed is not changed in place any more.
void store_map_seal(Store *store, StoreTreeClass tree_class);

// --- store-space.c ---
void store_space_init(StoreSpace *space);
void store_space_clear(StoreSpace *space);
int store_space_load(Store *store);
// Makes sure that metadata can have `blocks` more. 0 or -ENOSPC.
int store_space_ensure(Store *store, uint64_t blocks);
int store_space_new_meta(Store *store, uint64_t *ret_phys);
void store_space_free_meta(Store *store, uint64_t phys);
// A run of up to `want` blocks for vblock of a volume; busy, not used yet. hint: where it would
// like to be, or 0. fresh: nothing of its 2 MiB has been written. 0 or -ENOSPC.
int store_space_new_data(Store *store, uint32_t volume, uint64_t vblock, uint64_t want,
                         uint64_t hint, bool fresh, uint64_t *ret_phys, uint64_t *ret_count);
// Busy blocks become used (a map refers to them), or free again.
void store_space_use(Store *store, uint64_t phys, uint64_t count);
void store_space_give_back(Store *store, uint64_t phys, uint64_t count);
// Used blocks that no map refers to any more.
void store_space_free(Store *store, uint64_t phys, uint64_t count);
// Whether data was freed that is not given out again yet.
bool store_space_has_freed(const Store *store);
bool store_space_is_data(const Store *store, uint64_t phys, uint64_t count);
bool store_space_is_meta(const Store *store, uint64_t phys);
// Writes what changed into blocks of the space tree. 0 or -errno.
int store_space_store(Store *store);
// Gives out again what durable transactions freed. Called without the mutex.
void store_space_release(Store *store);
// A run of whole free clusters that the file system has set aside; busy. 0 or -errno.
int store_space_promise(Store *store, uint64_t blocks, uint64_t *ret_phys);
void store_space_touch_first(Store *store); // a new store's fixed places are to be written
// For checks and sizes.
bool store_space_used(const Store *store, uint64_t phys);
void store_space_set_used(Store *store, uint64_t phys, bool used);

// --- store-reserve.c ---
void store_reserve_fill(Store *store); // what is missing of it, as far as there is room
void store_reserve_drop(Store *store); // given back to the file system
uint64_t store_reserve_left(const Store *store); // blocks
// Whether there is some left, and the volume may have it.
bool store_reserve_is_for(Store *store, uint32_t volume);
// A run of up to `want` blocks, busy. 0 or -ENOSPC.
int store_reserve_take(Store *store, uint64_t want, uint64_t *ret_phys, uint64_t *ret_count);

// --- store-super.c ---
bool store_super_read(Store *store, GError **error);
void store_super_write(const Store *store, uint8_t *ret_block);
// The newest root record: trees, stamps and what current is; *ret_position is its parent's id.
bool store_root_read(Store *store, StoreNodeId *ret_position, GError **error);
void store_root_write(Store *store, uint8_t *ret_block);
void store_slots_write(const StoreRecord *record, uint8_t *ret_bytes);
bool store_slots_read(StoreRecord *record, const uint8_t *bytes, unsigned count);

// --- store-record.c ---
StoreRecord *store_record_new(StoreNodeId id);
void store_record_free(StoreRecord *record);
int store_records_load(Store *store); // with their parents; -EBADMSG where they make no sense
int store_record_save(Store *store, StoreRecord *record); // dirty in the open transaction
int store_record_remove(Store *store, StoreRecord *record);
void store_record_set_parent(StoreRecord *record, StoreRecord *parent);
StoreRecord *store_record_find(Store *store, StoreNodeId id); // NULL: none that can be seen
StoreSlot *store_slot(StoreRecord *record, uint32_t volume); // or NULL
StoreSlot *store_slot_add(StoreRecord *record, uint32_t volume);
void store_slot_remove(Store *store, StoreRecord *record, StoreSlot *slot);

// --- store-volume.c ---
int store_volumes_load(Store *store);
bool store_volumes_open_bases(Store *store, GError **error);
int store_volume_save(Store *store, StoreVolumeRecord *volume);
StoreVolumeRecord *store_volume_find(Store *store, const char *name);
StoreVolumeRecord *store_volume_by_id(Store *store, uint32_t id);
void store_volume_record_free(StoreVolumeRecord *volume);
StoreBase *store_base_copy(const StoreBase *base);
void store_base_free(StoreBase *base);
StoreSlot *store_slot_named(Store *store, StoreRecord *record, const char *name); // or NULL
// A new record, saved; NULL and *ret_result where it could not be.
StoreVolumeRecord *store_volume_record_add(Store *store, const char *name, StoreVolumeKind kind,
                                           const StoreBase *base, int *ret_result);

// --- store-share.c ---
// Whether `owner` alone refers to what this entry of its volume points to. Trouble: false.
bool store_is_own(Store *store, StoreRecord *owner, const StoreSlot *slot, unsigned level,
                  uint64_t vblock, uint64_t entry);
// Other records that may share with this one, seen through those that are gone. Array of
// StoreRecord. gone_too: those being freed count as gone.
GPtrArray *store_neighbours(Store *store, StoreRecord *record, bool gone_too);

// --- store-walk.c ---
// One slice of freeing; *ret_more: there is more to do. 0 or -errno.
int store_purge_slice(Store *store, bool *ret_more);
// Bytes that only this record has, and how many of them are data. The mutex is let go between
// slices.
int store_walk_own(Store *store, StoreRecord *record, uint64_t *ret_bytes, uint64_t *ret_data);

// --- store-commit.c ---
// Closes the open transaction and makes it durable, with everything before it. Without the mutex.
// sync: where there was nothing to commit, what was written in place is synced all the same.
int store_commit_now(Store *store, bool sync);
// The open transaction has something to write. With the mutex.
void store_mark_dirty(Store *store);
void store_commit_give_up(Store *store); // what could not be written is forgotten

// --- store-data.c: requests ---
// A volume of a record, as requests see it.
typedef struct StoreDevice {
    Store *store;
    StoreRecord *record;
    uint32_t volume;
    bool writable;
    BlockDevice *block; // or NULL in tests
    // Told once a request, without the mutex; where requests complete on threads, never from
    // within store_data_submit.
    void (*done)(BlockRequest *request, int result);
} StoreDevice;

typedef struct {
    uint64_t vblock;
    uint64_t phys; // 0: the blocks become holes or zeros
    uint64_t count;
} StorePlacement;

// A transfer to or from the file or a base image.
typedef struct {
    BlockRequest block;
    struct StoreRequest *owner;
    BlockDevice *base;
    struct iovec *iov; // where `one` does not do
    struct iovec one;
} StorePart;

// What is submitted together. Most requests have one part.
typedef struct {
    StorePart first;
    GPtrArray *more; // StorePart, or NULL
    unsigned count;
} StoreStep;

typedef struct StoreRequest {
    GList link; // in Store.waiting
    StoreDevice *device;
    BlockRequest *request;
    uint64_t txn;   // it began in
    bool may_block; // on the worker: maps may be read from the file
    bool counted, counted_write;
    bool from_reserve; // its new places are to be there
    bool committed;    // for want of room, before it was tried again
    int result;
    unsigned pending;
    void (*next_step)(struct StoreRequest *s);
    // The bytes as they go to the file: the request's own, perhaps with a whole block at each end.
    struct iovec *content;
    int content_count;
    uint64_t content_start; // byte of the volume
    uint8_t *head, *tail;   // those blocks
    StoreStep steps[2];
    unsigned step;          // that parts are added to
    GArray *placements;     // StorePlacement
} StoreRequest;

void store_data_submit(StoreDevice *device, BlockRequest *request);
// A request that store_data_submit handed to the file as it was (driver_tag) is through. False: it
// found no room, and goes on from here.
bool store_data_passed(StoreDevice *device, BlockRequest *request, int result);
// Writes in flight complete, new ones wait until store_data_resume. With the mutex (let go while
// waiting).
void store_data_hold(Store *store);
// Waits until a count of requests in flight is zero. With the mutex, let go meanwhile.
void store_data_settle(Store *store, const gint *count);
void store_data_resume(Store *store); // with the mutex; let go meanwhile
// Synchronous, for blobs and clones. Without the mutex. 0 or -errno.
int store_data_sync(StoreDevice *device, BlockOperation operation, uint64_t offset, void *buffer,
                    uint64_t size);
// Limits of a file's length and of a user's share of the disk are lack of room, too.
static inline bool store_is_no_room(int result)
{
    return result == -ENOSPC || result == -EFBIG || result == -EDQUOT;
}
// For store-write.c. Without the mutex but where said.
void store_request_free(StoreRequest *s);
void store_request_finish(StoreRequest *s, int result); // tells the device
void store_request_begin(StoreRequest *s, bool write);  // with the mutex
void store_request_reset(StoreRequest *s);              // with the mutex: as before its begin
void store_request_defer(StoreRequest *s);              // with the mutex: tried again later
void store_request_to_worker(StoreRequest *s);          // maps must be read first
// A transfer of [start, start + length) of the volume: from or to the file at `file_offset`, or a
// base image.
void store_request_add(StoreRequest *s, BlockOperation operation, BlockDevice *base,
                       uint64_t file_offset, uint64_t start, uint64_t length);
// The old bytes of one block into a buffer, as a part (or at once, where they are zeros).
void store_request_add_block(StoreRequest *s, uint64_t entry, uint64_t vblock, BlockDevice *base,
                             uint64_t base_limit, uint8_t *buffer);
void store_request_add_flush(StoreRequest *s);
// Submits a step's parts; then next_step, on whatever thread the last one completes.
void store_request_go(StoreRequest *s, unsigned step, void (*next_step)(StoreRequest *s));
void store_request_drop_parts(StoreRequest *s);
void store_retry_waiting(Store *store);
// The base image under a slot and the bytes of it that show, or NULL.
BlockDevice *store_slot_base(Store *store, const StoreSlot *slot, uint64_t *ret_limit);

// --- store-write.c ---
void store_write(StoreRequest *s);
// Whether blocks of data that lie in a row can be written where they are, with nothing to note.
// entries: of `count` blocks from `first` on. With the mutex.
bool store_write_is_plain(StoreDevice *device, const StoreSlot *slot, uint64_t first,
                          const uint64_t *entries, unsigned count);
void store_discard(StoreRequest *s);
void store_flush(StoreRequest *s);
#define STORE_DIRTY_LIMIT 2048u // map blocks in the open transaction that make it be closed
#define STORE_RESERVE 128u // blocks of metadata that a guest's writes leave for people's commands

// --- store-worker.c ---
typedef struct StoreJob {
    void (*run)(Store *store, void *data);
    void *data;
} StoreJob;
void store_worker_start(Store *store);
void store_worker_stop(Store *store);
// Frees everything that waits for it, here and now; for stores without a worker. 0 or -errno.
int store_purge_all(Store *store);
// Runs `run` on the worker, or at once where there is none. Without the mutex.
void store_worker_push(Store *store, void (*run)(Store *store, void *data), void *data);
bool store_has_purge(const Store *store); // with the mutex
void store_worker_wake(Store *store); // with the mutex: there may be something to free

// --- store-node.c ---
StoreRecord *store_discard_slots(Store *store, StoreSlot *slots, unsigned count);
int store_finish_change(Store *store, int result);
bool store_name_is_valid(const char *name, GError **error);
// Current has the volumes again, empty, that a node had which is given up.
void store_return_state_volumes(Store *store, const StoreRecord *from);

// --- store-block.c ---
// A node's volume of another store, read-only; that store is closed with the device. depth: how
// many stores stand above it.
BlockDevice *store_open_node_device(const char *path, const StoreBase *base, unsigned depth,
                                    GError **error);
// An open device of current follows its volume's new size; one of a volume that is gone has none.
void store_devices_resize(Store *store);
// The store's own part of a volume's device, NULL where it is none.
StoreDevice *store_device_of(BlockDevice *block);
bool store_has_device(Store *store, StoreRecord *record, uint32_t volume);

// --- store-place.c ---
// store_volume_places of a device. *ret_result: 0 or -errno.
GArray *store_places(StoreDevice *device, int *ret_result);

// --- store.c ---
Store *store_open_io(StoreIo io, const StoreOpen *options, GError **error); // takes io over
int store_format_io(StoreIo *io); // an empty store; 0 or -errno
bool store_set_errno(GError **error, Store *store, const char *what, int result);
bool store_can_write(Store *store, GError **error); // with the mutex
