// SPDX-License-Identifier: GPL-2.0-or-later
// What stands on disk, in numbers: docs/store-format.md explains it. Everything is little-endian.
// Map blocks are read in place through the accessors below; records go through engine/base/bytes.h
// in store-super.c and store-record.c.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define STORE_SUPER_MAGIC "LodgeStr"
#define STORE_ROOT_MAGIC  "LodgRoot"
#define STORE_NODE_MAGIC  "LodgNode"
#define STORE_VOLUME_MAGIC "LodgVolu"
#define STORE_VERSION     1u

#define STORE_BLOCK_BITS     12u
#define STORE_BLOCK          4096u // bytes; the unit of mapping, sharing and metadata
#define STORE_CLUSTER_BLOCKS 16u   // 64 KiB; holds either data or metadata, never both
#define STORE_LEAF_BITS      9u
#define STORE_LEAF_ENTRIES   512u  // of 8 bytes, one for each 4 KiB: 2 MiB a leaf
#define STORE_NODE_BITS      8u
#define STORE_NODE_ENTRIES   256u  // of 16 bytes
#define STORE_GROUP_CLUSTERS 1792u // 112 MiB a block of the space map
#define STORE_MAX_HEIGHT     5u    // 2 MiB, 512 MiB, 128 GiB, 32 TiB, 8 PiB

// Fixed places, in blocks. Clusters 0 to 2 belong to no volume.
#define STORE_SUPER_A    0u
#define STORE_RING       16u
#define STORE_RING_SLOTS 16u
#define STORE_SUPER_B    32u
#define STORE_FIXED_CLUSTERS 3u

// An entry: bits 0-35 block in the file, 36-61 birth (the stamp of the running state that wrote
// it), 62-63 kind.
typedef enum {
    ENTRY_HOLE, // nothing: zeros, or the base image
    ENTRY_DATA, // leaf: one block; level 1: a run of 512 blocks, all of one birth
    ENTRY_ZERO, // zeros, also over a base image; any level
    ENTRY_NODE, // levels above the leaf: a map block
} EntryKind;

#define ENTRY_BLOCK_BITS 36u
#define ENTRY_BLOCK_MASK ((UINT64_C(1) << ENTRY_BLOCK_BITS) - 1)
#define ENTRY_BIRTH_MASK ((UINT64_C(1) << 26) - 1)

static inline uint64_t entry_make(EntryKind kind, uint64_t birth, uint64_t block)
{
    return (uint64_t)kind << 62 | birth << ENTRY_BLOCK_BITS | block;
}

static inline EntryKind entry_kind(uint64_t entry)
{
    return (EntryKind)(entry >> 62);
}

static inline uint64_t entry_birth(uint64_t entry)
{
    return entry >> ENTRY_BLOCK_BITS & ENTRY_BIRTH_MASK;
}

static inline uint64_t entry_block(uint64_t entry)
{
    return entry & ENTRY_BLOCK_MASK;
}

// A reference to a metadata block: its entry and the xxh3 (64 bits) of its 4096 bytes. Above the
// leaves every table element is one; in memory they are in host order.
typedef struct {
    uint64_t entry;
    uint64_t checksum;
} StorePointer;

G_STATIC_ASSERT(sizeof(StorePointer) == 16);
G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN); // map blocks are used as they stand on disk

// 4 KiB blocks that one entry at `level` stands for (level 0: an entry of a leaf).
static inline uint64_t store_span(unsigned level)
{
    return level == 0 ? 1 : UINT64_C(1) << (STORE_LEAF_BITS + STORE_NODE_BITS * (level - 1));
}

// Flags of a node record.
#define NODE_PROTECTED 1u
#define NODE_IN_BIN    2u
#define NODE_PENDING   4u
#define NODE_PURGING   8u  // its blocks are being freed
#define NODE_GHOST     16u // freed; kept because two or more nodes descend from it
#define NODE_AUTOMATIC 32u
#define NODE_KNOWN_FLAGS 63u

#define STORE_SLOT_BYTES 64u
