// SPDX-License-Identifier: GPL-2.0-or-later
// A store's file in memory, below the store: it counts, records and fails what the store does, and
// can make the file as a power cut would have left it.
#pragma once

#include "snapshots/store/store-private.h"

typedef enum { RIG_WRITE, RIG_SYNC, RIG_PUNCH, RIG_ALLOCATE } RigKind;

typedef struct {
    RigKind kind;
    uint64_t offset, length;
    uint8_t *bytes; // of a write
} RigOperation;

typedef struct {
    uint8_t *image;
    uint64_t limit;  // bytes of address space
    uint64_t size;   // bytes that the file has
    GArray *log;     // RigOperation, or NULL: not recorded
    GArray *journal; // RigOperation: old bytes of what was written since, or NULL
    uint64_t reads, writes, syncs, punches, allocations;
    uint64_t fail_at; // of writes, syncs, punches and allocations together: 0 never
    int fail_with;    // errno
    bool fail_on;     // goes on failing
    void (*before)(void *opaque, uint64_t operation); // before each of them
    void *opaque;
} Rig;

Rig *rig_new(uint64_t limit);
void rig_free(Rig *rig);
StoreIo rig_io(Rig *rig);
void rig_record(Rig *rig); // from here on
uint64_t rig_operations(const Rig *rig);
// Does a part of one recorded operation to another rig.
void rig_apply(Rig *rig, const RigOperation *operation, uint64_t from, uint64_t length);
// From here to rig_roll_back nothing counts.
void rig_try(Rig *rig);
void rig_roll_back(Rig *rig);
Store *rig_open(Rig *rig); // fails the test where it cannot be opened
