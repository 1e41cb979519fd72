// SPDX-License-Identifier: GPL-2.0-or-later
// The snapshot store: one file in a machine's folder ("snapshots.store") that holds the machine's
// disks, memory images, device state and small blobs in a tree of snapshots. The on-disk format is
// docs/store-format.md.
//
// The running state ("current", STORE_CURRENT) is what the guest writes; nodes are frozen copies
// of it. take, goto and delete copy or drop roots and cost the same at any disk size; what only a
// deleted node had is freed by a worker thread behind it, in small slices that survive a crash.
//
// Volumes hold bytes. Three kinds:
//   STORE_DISK     a guest's disk; opened as a BlockDevice, lives in every node.
//   STORE_RECORD   a small persistent blob (NVRAM, TPM): read and replaced whole, lives in every
//                  node like a disk.
//   STORE_STATE    belongs to one moment of a running machine (RAM image "memory", "device-state",
//                  "hot-pages", "thumbnail"): a BlockDevice or a blob, as its user likes. A current
//                  that holds "device-state" is a suspended machine; remove it on resume.
//
// Snapshot of a stopped or suspended machine: store_take. Of a running one:
//   guest paused:  store_take_begin   disks and records are frozen; the STATE volumes move into the
//                                     pending node, which may write them (only them)
//                  store_blob_put(pending, "device-state")
//   guest runs:    store_volume_open(pending, "memory") and write it; pages that the parent has
//                  need no write, pages of zeros take no room (writing zeros frees)
//                  store_take_finish, or store_take_abort
// Only finish makes the node visible, and the whole durable; a crash before leaves no half snapshot
// (and, as an abort does, an empty "memory"). After it, current's "memory" is the finished node's,
// so that the next one shares its pages.
//
// Threads: every function may be called from any thread, without the machine lock, and may block
// for disk I/O; none may be called from a completion. Functions that change the tree (take, goto,
// delete, resize, ...) are durable when they return true. A guest's FLUSH makes everything durable
// that was complete before it.
#pragma once

#include "snapshots/block.h"

#include <gio/gio.h>

typedef struct Store Store;
typedef uint64_t StoreNodeId;

#define STORE_FILE_NAME    "snapshots.store"
#define STORE_DEVICE_STATE "device-state"
#define STORE_HOT_PAGES    "hot-pages"
#define STORE_THUMBNAIL    "thumbnail"
#define STORE_CURRENT      ((StoreNodeId)0) // as an id: the running state; as a parent: none
#define STORE_MAX_VOLUMES  32
#define STORE_MAX_SIZE     (UINT64_C(64) << 40) // bytes of one volume
#define STORE_MAX_VOLUME_NAME 31u               // bytes, [a-z0-9._-]
#define STORE_MAX_NAME     255u                 // bytes of UTF-8: a node's name
#define STORE_MAX_NOTE     1023u                // bytes of UTF-8; longer text is a blob
#define STORE_MAX_BLOB     (UINT64_C(1) << 30)  // bytes; larger things are written as volumes

typedef enum { STORE_DISK, STORE_RECORD, STORE_STATE } StoreVolumeKind;

// What a volume shows where it has no data of its own. Paths are relative to the store's folder
// unless absolute. Read-only, never written; it must not change while the store refers to it. An
// image must lie in the store's folder and another store in a folder beside that one, or they are
// refused (PERMISSION_DENIED) where StoreOpen.open_base does not open them.
typedef struct {
    char *path;       // an image file, or another store
    char *driver;     // "raw", "qcow2", ...: as BlockOpen.driver; "store" for a node of a store
    StoreNodeId node; // driver "store": which node
    char *volume;     // driver "store": which of its volumes
} StoreBase;

typedef struct {
    char *name;
    StoreVolumeKind kind;
    uint64_t size;      // bytes in current; 0: current has none (STATE, RECORD)
    StoreBase *base;    // or NULL
} StoreVolume;

typedef struct {
    StoreNodeId id;
    StoreNodeId parent; // nearest ancestor that is not deleted for good; STORE_CURRENT: none
    char *name;
    char *note;
    int64_t time;       // microseconds since 1970, UTC
    bool is_protected;  // delete refuses; linked clones set this
    bool in_bin;        // deleted, can be brought back until its space is needed
    bool automatic;     // taken by interval; StoreTake.automatic
    bool has_memory;    // holds "device-state": going to it resumes a running machine
} StoreNode;

typedef struct {
    const char *path;
    bool read_only;     // shared: many readers of a store that an engine may be writing. Only
                        // nodes that are protected stay as they are meanwhile
    BlockIoKind io;
    // Opens a base that a person named, wherever it is. NULL: block_open or store_open, read-only,
    // of what lies where StoreBase says. Owned by the store afterwards.
    BlockDevice *(*open_base)(const StoreBase *base, const char *path, void *opaque,
                              GError **error);
    void *opaque;
    // Bytes that disks leave to the other volumes when there is no more room, so that a machine
    // that stands still for want of it can be saved; held while the store is open for writing.
    uint64_t reserve;
    unsigned depth; // stores that stand on this one in a chain of linked clones; 0
} StoreOpen;

// Creates an empty store (no volumes, current is at no node). Refuses an existing file; leaves
// nothing behind on failure.
bool store_create(const char *path, GError **error);

// Opens and locks. After a crash the store is as of the last commit, and a half-taken snapshot is
// gone. Errors (G_IO_ERROR): not found, busy, not a store, newer version or unknown feature
// (NOT_SUPPORTED, naming it), damaged (INVALID_DATA).
Store *store_open(const StoreOpen *options, GError **error);

// Commits, closes. Every BlockDevice of it is closed. A pending node is given up. NULL is allowed.
void store_close(Store *store);

// True where current differs from the node it stands on, as far as is known without reading.
bool store_is_changed(Store *store);

// Adds a volume to current. size: bytes, a multiple of 512, up to STORE_MAX_SIZE; may be 0 for
// RECORD and STATE. base may be NULL.
bool store_volume_add(Store *store, const char *name, StoreVolumeKind kind, uint64_t size,
                      const StoreBase *base, GError **error);
// Removes it from current; nodes keep theirs.
bool store_volume_remove(Store *store, const char *name, GError **error);
// Another name, in every node that has it. The new one must not be taken in current.
bool store_volume_rename(Store *store, const char *name, const char *new_name, GError **error);
// Every volume that the store knows. Elements StoreVolume, freed with the array.
GPtrArray *store_volume_list(Store *store);
// Grows or shrinks current's (or, for STATE, a pending node's) volume; shrinking drops what is
// beyond. An open BlockDevice follows.
bool store_volume_resize(Store *store, StoreNodeId node, const char *name, uint64_t size,
                         GError **error);

// A volume as a BlockDevice: current read-write (one opening at a time), a pending node's STATE
// volumes read-write, any other node read-only. lock as in BlockOpen. The device of current stays
// open across take (any time) and goto, resize (no requests in flight, no data cached above).
BlockDevice *store_volume_open(Store *store, StoreNodeId node, const char *name, GMutex *lock,
                               GError **error);

// Where a volume's bytes are. What no place covers is zeros.
typedef struct {
    uint64_t offset; // bytes of the volume
    uint64_t length;
    int fd;          // of a file that may be mapped for reading, the store's own; -1: the bytes may
                     // change or move, and have to be read
    uint64_t at;     // byte of that file
} StorePlace;
// Places of an open volume, ascending, joined. Those with a descriptor hold as long as the device
// is open: it is a finished node's (or a clone's, of its base), whose bytes never change, and which
// is not freed until then, deleted or not. Array of StorePlace; NULL and error.
GArray *store_volume_places(BlockDevice *block, GError **error);

// Replaces a RECORD or STATE volume's bytes, adding the volume (as STATE) where the store has
// none of that name; NULL data removes it from this node. node: STORE_CURRENT or a pending one.
// Durable with the next commit: store_commit, a guest's FLUSH, or what changes the tree.
bool store_blob_put(Store *store, StoreNodeId node, const char *name, GBytes *data, GError **error);
// The bytes, verified; NULL and G_IO_ERROR_NOT_FOUND where the node has none.
GBytes *store_blob_get(Store *store, StoreNodeId node, const char *name, GError **error);

// Whether current holds "device-state"; and that takes it from current, with what belongs to it but
// the memory, durably.
bool store_has_state(Store *store);
bool store_remove_state(Store *store, GError **error);

bool store_commit(Store *store, GError **error);

// Gives the reserve (StoreOpen.reserve) back to the file system, for good: something else that
// saves the machine needs the room.
void store_reserve_release(Store *store);

typedef struct {
    const char *name; // 1 .. STORE_MAX_NAME bytes of UTF-8
    const char *note; // or NULL
    bool automatic;
    int64_t time;     // as StoreNode.time
} StoreTake;

// Writes complete before the call are in the node; those in flight are waited for.
bool store_take(Store *store, const StoreTake *take, StoreNodeId *ret_id, GError **error);
bool store_take_begin(Store *store, const StoreTake *take, StoreNodeId *ret_id, GError **error);
bool store_take_finish(Store *store, StoreNodeId id, GError **error);
void store_take_abort(Store *store, StoreNodeId id);

// Where current stands: the node it was taken as or gone to last; STORE_CURRENT before the first.
StoreNodeId store_position(Store *store);
// Makes current a copy of the node. What current had beyond its own node is dropped, or, with
// keep, becomes a node of that name in the bin first, so that going there can be undone
// (*ret_kept, may be NULL). No requests in flight on current's devices.
bool store_goto(Store *store, StoreNodeId id, const StoreTake *keep, StoreNodeId *ret_kept,
                GError **error);

// Into the bin and out of it. Every node may be deleted: leaf, inner, the root, the one current
// stands on; its children stay what they are. Protected nodes are refused.
bool store_delete(Store *store, StoreNodeId id, GError **error);
bool store_undelete(Store *store, StoreNodeId id, GError **error);
// Starts to free one binned node (STORE_CURRENT: all); it cannot be brought back from then on. One
// that has open devices is freed when they are closed.
bool store_purge(Store *store, StoreNodeId id, GError **error);
// Waits until nothing is left to free. False where a cancel or an error came first.
bool store_purge_wait(Store *store, GCancellable *cancellable, GError **error);

bool store_rename(Store *store, StoreNodeId id, const char *name, GError **error);
bool store_set_note(Store *store, StoreNodeId id, const char *note, GError **error);
bool store_set_protected(Store *store, StoreNodeId id, bool is_protected, GError **error);

// All nodes but pending ones and those being freed, by id (the order in which they were taken).
// Elements StoreNode, freed with the array.
GPtrArray *store_node_list(Store *store);
StoreNode *store_node_get(Store *store, StoreNodeId id, GError **error);
void store_node_free(StoreNode *node);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StoreNode, store_node_free)

// Bytes in the store's file. own: what deleting this node alone would free; shared: what it shows
// and others have too.
typedef struct {
    uint64_t own;
    uint64_t shared;
} StoreSize;
// Reads maps, not data; cached until the tree changes. id may be STORE_CURRENT.
bool store_node_size(Store *store, StoreNodeId id, StoreSize *ret_size, GError **error);

// What an operation would cost before it is done. Bytes.
typedef struct {
    uint64_t needs;    // room taken at once
    uint64_t frees;    // room given back, once freeing is done (delete: once the bin is emptied)
    uint64_t discards; // goto: bytes of current that no node holds
} StoreForecast;
bool store_forecast_take(Store *store, uint64_t memory_bytes, StoreForecast *ret, GError **error);
bool store_forecast_goto(Store *store, StoreNodeId id, StoreForecast *ret, GError **error);
bool store_forecast_delete(Store *store, StoreNodeId id, StoreForecast *ret, GError **error);

typedef struct {
    char uuid[37];
    uint64_t file_size;      // bytes, apparent
    uint64_t data_bytes;     // in use by volumes
    uint64_t metadata_bytes; // in use by maps and records
    uint64_t bin_bytes;      // what emptying the bin would free, 0 while not known
    uint64_t freeing_nodes;  // nodes whose space is being freed
    uint64_t commits;
    uint64_t travels;        // how often current went to a node
    bool full;               // writes are refused for want of room
    uint64_t reserve_bytes;  // what is left of StoreOpen.reserve
} StoreInfo;
void store_info(Store *store, StoreInfo *ret_info);

typedef struct {
    uint64_t offset; // bytes
    uint64_t length;
} StoreRange;
// done and total in bytes.
typedef void (*StoreProgress)(uint64_t done, uint64_t total, void *opaque);

typedef struct {
    StoreNodeId from, to; // either may be STORE_CURRENT
    const char *volume;
    StoreProgress progress;    // of the volume, now and then; may be NULL
    void *opaque;              // the progress's
    GCancellable *cancellable; // may be NULL
} StoreDiff;
// Ranges of a volume that differ between two nodes, ascending, joined. By map, not by content: a
// block rewritten with the same bytes is different. Array of StoreRange.
GArray *store_diff(Store *store, const StoreDiff *diff, GError **error);

// A new store at `path` whose disks and records begin as that node's (STORE_CURRENT: a node is
// taken for it first); STATE volumes are not in it, so that it starts as after a power cut.
// Linked: a few hundred KiB that read through to this store; the node becomes protected. Full: a
// copy of everything the node shows. A base image of this store is passed on by a linked clone's
// own reading through it, and copied by a full one. On failure or cancel nothing is left at
// `path`.
bool store_clone_linked(Store *store, StoreNodeId id, const char *path, GError **error);
bool store_clone_full(Store *store, StoreNodeId id, const char *path, StoreProgress progress,
                      void *opaque, GCancellable *cancellable, GError **error);
// A linked clone that goes on from where the node, which has memory, was taken: its current, and a
// first node of it, have the state too, of which memory is shared. Also of a store that was opened
// to read while an engine has it; the node is protected already.
bool store_branch(Store *store, StoreNodeId id, const StoreTake *first, const char *path,
                  GError **error);

typedef struct {
    uint64_t nodes;
    uint64_t map_blocks;
    uint64_t data_blocks;    // of 4 KiB
    uint64_t leaked_blocks;  // marked used, nobody refers to them: repaired by freeing
    uint64_t missing_blocks; // referred to, but marked free: repaired by marking
    uint64_t wrong_class;    // data among metadata: not repairable
    uint64_t shared_blocks;  // two places that must not share refer to one block: not repairable
    uint64_t bad_blocks;     // checksum or content wrong: not repairable
    uint64_t repaired;
    GPtrArray *messages;     // char *, one sentence each, at most 100
} StoreReport;
// Verifies everything that hangs on the last commit of an open store. repair needs one opened
// read-write without open devices. True where it could be looked at; problems are in the report.
bool store_check(Store *store, bool repair, StoreReport *ret_report, GError **error);
uint64_t store_report_problems(const StoreReport *report);
void store_report_clear(StoreReport *report);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(StoreReport, store_report_clear)
