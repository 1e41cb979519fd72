// SPDX-License-Identifier: GPL-2.0-or-later
// A short life of a store with everything in it (writes, flushes, live and plain snapshots, goto,
// delete, freeing, blobs), and what must be found of it after it was cut off at any point.
#pragma once

#include "tests/unit/snapshots/store/store-rig.h"

#define SCENARIO_BLOCKS  96u // written ones of each disk, eight apart
#define SCENARIO_SECTORS (SCENARIO_BLOCKS * 8)
#define SCENARIO_DISKS   2u
#define SCENARIO_MEMORY  64u // pages

// The state at a moment: sectors as numbers, 0: zeros.
typedef struct {
    uint32_t sectors[SCENARIO_DISKS][SCENARIO_SECTORS];
    uint32_t memory[SCENARIO_MEMORY];
    bool has_memory;
    uint32_t nvram; // number in the blob, 0: none
} ScenarioState;

typedef struct {
    StoreNodeId id;
    bool in_bin;
    const ScenarioState *state;
} ScenarioNode;

// What is durable since a moment, and what else may be seen until the next one.
typedef struct {
    uint64_t position; // operations of the rig before it
    const ScenarioState *current;
    StoreNodeId at;
    GArray *nodes;    // ScenarioNode
    GHashTable *seen; // (disk, sector, number) written after it
    GHashTable *blobs; // numbers put after it
    bool moved;       // the next moment's current is another state as a whole
} ScenarioMoment;

typedef struct {
    Store *store;
    GRand *rand;
    ScenarioState current;
    GArray *nodes;
    GPtrArray *moments; // ScenarioMoment
    GPtrArray *states;
    uint32_t number;
    uint64_t (*position)(void *opaque);
    void *opaque;
    unsigned failures; // operations that were refused (for want of room)
    bool may_fail;
} Scenario;

void scenario_start(Scenario *s, Store *store, uint32_t seed, uint64_t (*position)(void *opaque),
                    void *opaque);
void scenario_step(Scenario *s);
void scenario_clear(Scenario *s);
// Whether the store is as moment `index` says, or its successor; *ret_why where not.
bool scenario_matches(const Scenario *s, Store *store, unsigned index, char **ret_why);
