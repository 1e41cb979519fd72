// SPDX-License-Identifier: GPL-2.0-or-later
// A store in a folder of its own, and what tests of its interface do with one. All of it fails the
// test where something goes wrong.
#pragma once

#include "tests/unit/snapshots/store/store-rig.h"

#define MIB (1024u * 1024u)

typedef struct {
    char *folder, *path;
    Store *store;
    uint8_t buffer[64 * 1024];
} Fixture;

// A store with one empty disk, disk0 of 64 MiB.
void set_up(Fixture *f, gconstpointer data);
void tear_down(Fixture *f, gconstpointer data);
void reopen(Fixture *f);
Store *open_store(const char *path);
// Bytes of one value, to what runs and from a node.
void write_at(Store *store, const char *volume, uint64_t offset, uint8_t byte, uint32_t size);
void expect_at(Store *store, StoreNodeId node, const char *volume, uint64_t offset,
               uint8_t byte, uint32_t size);
StoreNodeId take(Store *store, const char *name);
void check(Store *store); // finds nothing wrong
uint64_t host_bytes(const char *path); // that a file takes on its file system

#define TEST(name, function)                                                                       \
    g_test_add("/store/" name, Fixture, NULL, set_up, function, tear_down)
