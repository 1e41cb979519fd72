// SPDX-License-Identifier: GPL-2.0-or-later
// The only owner of executable memory in the engine: an append-only arena in a memfd that is mapped
// twice, once writable and once executable, never both (W^X). The size is fixed at creation.
#pragma once

#include <glib.h>

#include <stddef.h>
#include <stdint.h>

typedef struct BtCodeMemory BtCodeMemory;

BtCodeMemory *bt_code_memory_new(size_t size, GError **error);
void bt_code_memory_free(BtCodeMemory *memory); // NULL is allowed

// Appends position-independent code, 16-byte aligned, or finds the same bytes again; the address
// to call, or NULL where the arena is full. Valid until the next reset.
void *bt_code_memory_add(BtCodeMemory *memory, const uint8_t *code, size_t length);

// The two views of the arena, for who lays out all of it by itself and never calls
// bt_code_memory_add. Same bytes; code is written through `writable` and runs in `executable`.
typedef struct {
    uint8_t *writable;
    const uint8_t *executable;
    size_t size;
} BtCodeViews;
BtCodeViews bt_code_memory_views(const BtCodeMemory *memory);

// Forgets everything: no pointer into the arena may be used again.
void bt_code_memory_reset(BtCodeMemory *memory);
