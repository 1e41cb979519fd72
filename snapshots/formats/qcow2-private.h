// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the qcow2 driver share. Layout after QEMU's docs/interop/qcow2.txt, whose words
// are used: cluster, L1, L2, refcount table, refcount block.
#pragma once

#include "snapshots/formats/image-cache.h"
#include "snapshots/formats/image-private.h"

// Byte offsets in the header.
#define QCOW2_BACKING_OFFSET   8
#define QCOW2_BACKING_SIZE     16
#define QCOW2_CLUSTER_BITS     20
#define QCOW2_SIZE             24
#define QCOW2_CRYPT            32
#define QCOW2_L1_SIZE          36
#define QCOW2_L1_OFFSET        40
#define QCOW2_REFTABLE         48
#define QCOW2_REFTABLE_COUNT   56
#define QCOW2_SNAPSHOTS        60
#define QCOW2_SNAPSHOTS_OFFSET 64
#define QCOW2_INCOMPATIBLE     72
#define QCOW2_COMPATIBLE       80
#define QCOW2_AUTOCLEAR        88
#define QCOW2_REFCOUNT_ORDER   96
#define QCOW2_HEADER_LENGTH    100
#define QCOW2_COMPRESSION      104

enum { // incompatible features
    QCOW2_DIRTY = 1,
    QCOW2_CORRUPT = 2,
    QCOW2_DATA_FILE = 4,
    QCOW2_COMPRESSION_TYPE = 8,
    QCOW2_EXTENDED_L2 = 16,
    QCOW2_KNOWN = 31,
};

#define QCOW2_AUTOCLEAR_BITMAPS UINT64_C(1)

#define QCOW2_COPIED      (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62)
#define QCOW2_READS_ZERO  UINT64_C(1)
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00)

// Limits, QEMU's: larger ones are damage or an attack.
#define QCOW2_L1_BYTES_MAX       (UINT64_C(32) << 20)
#define QCOW2_REFTABLE_BYTES_MAX (UINT64_C(8) << 20)
#define QCOW2_SNAPSHOTS_MAX      65536u
#define QCOW2_TABLE_PAGE         UINT64_C(16384)

typedef struct {
    uint64_t offset; // in the file
    uint64_t length;
} Qcow2Range;

typedef struct {
    uint64_t l1_offset;
    uint32_t l1_size;
} Qcow2Snapshot;

typedef struct {
    unsigned version, cluster_bits, refcount_order;
    uint64_t cluster_size;
    uint64_t incompatible, compatible, autoclear;
    uint32_t header_length;
    ImagePacking packing;
    bool extended;        // L2 entries of 16 bytes, 32 subclusters
    unsigned entry_bytes; // 8 or 16
    unsigned l2_bits;     // log2 of entries in an L2 table
    unsigned sub_bits;    // log2 of a subcluster's bytes; cluster_bits where there are none
    ImageFile *data_file; // external, or the image's own file

    uint64_t l1_offset;
    uint32_t l1_size;
    uint64_t *l1; // host byte order
    bool l1_dirty;
    ImageCache *l2_cache;

    Qcow2Range bitmaps; // their directory; length 0: none
    uint32_t bitmap_count;
    GArray *snapshots; // of Qcow2Snapshot
    Qcow2Range snapshot_table;

    // Only of writable images and checks.
    uint64_t reftable_offset;
    uint32_t reftable_clusters;
    uint64_t *reftable; // host byte order
    uint64_t reftable_entries;
    bool reftable_dirty;
    ImageCache *ref_cache;
    unsigned refblock_bits; // log2 of entries in a refcount block
    GHashTable *metadata;   // bitmaps of clusters, by cluster >> METADATA_CHUNK_BITS
    uint64_t free_hint;     // free clusters before this index are in `freed`, or found at next open
    GArray *freed;          // of uint64_t, indices; a count may have gone up again
    uint64_t allocated_end; // in the file's bytes; tables need not be written yet
    GArray *pending;        // of Qcow2Range: to be given up once nothing on disk names them
    bool stopped;           // damage was found: nothing is written any more
} Qcow2;

// qcow2-header.c
bool qcow2_read_header(Image *image, ImageScope *scope, GError **error);
int qcow2_write_field32(Image *image, unsigned offset, uint32_t value);
int qcow2_write_field64(Image *image, unsigned offset, uint64_t value);
int qcow2_set_incompatible(Image *image, uint64_t set, uint64_t clear);

// qcow2-map.c
int qcow2_map(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping);
int qcow2_unpack(Image *image, const ImageMapping *mapping, uint8_t *unit);
// Where in the file the bytes of a compressed cluster are, whole sectors.
Qcow2Range qcow2_packed_range(const Qcow2 *q, uint64_t entry);
// The L2 table of an L1 entry is aligned and in the file.
bool qcow2_table_is_good(const Image *image, uint64_t offset);

// qcow2-refcount.c
bool qcow2_load_refcounts(Image *image, GError **error);
uint64_t qcow2_refcount_get(const uint8_t *block, uint64_t index, unsigned order);
void qcow2_refcount_put(uint8_t *block, uint64_t index, unsigned order, uint64_t value);
int qcow2_refcount(Image *image, uint64_t cluster, uint64_t *ret_count);
int qcow2_set_refcount(Image *image, uint64_t cluster, uint64_t count); // its block exists
bool qcow2_has_refblock(const Qcow2 *q, uint64_t cluster);
int qcow2_allocate(Image *image, uint64_t *ret_offset);
int qcow2_allocate_run(Image *image, uint64_t clusters, uint64_t *ret_offset);
void qcow2_free_later(Image *image, uint64_t offset, uint64_t length);
int qcow2_free_pending(Image *image);
void qcow2_metadata_add(Qcow2 *q, uint64_t offset, uint64_t length);
void qcow2_metadata_clear(Qcow2 *q);
bool qcow2_metadata_hit(const Qcow2 *q, uint64_t offset, uint64_t length);
int qcow2_damage(Image *image, const char *what, uint64_t offset); // says so, stops; -EIO

// qcow2-update.c
int qcow2_write(Image *image, uint64_t offset, const uint8_t *bytes, size_t size, size_t *ret_done);
int qcow2_discard(Image *image, uint64_t offset, uint64_t length);
bool qcow2_needs_flush(Image *image);
int qcow2_flush(Image *image);
bool qcow2_resize(Image *image, uint64_t size, GError **error);

// qcow2-check.c
bool qcow2_check(Image *image, bool repair, ImageCheck *check, GError **error);
