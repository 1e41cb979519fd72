// SPDX-License-Identifier: GPL-2.0-or-later
// Saved state as data: each device lists its fields beside its struct, and this file writes and
// reads them. A record carries the table's name and version and each field's name and size, so
// that a reader refuses what it does not know instead of guessing.
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    STATE_U8,
    STATE_U16,
    STATE_U32,
    STATE_U64,
    STATE_BOOL,
    STATE_BYTES,   // `count` raw bytes
    STATE_POINTED, // the member is a uint8_t *, `count` bytes long
} StateKind;

typedef struct {
    const char *name;
    StateKind kind;
    size_t offset;
    size_t count; // elements of the kind's type; 1 for a scalar
} StateField;

typedef struct {
    const char *name;
    uint32_t version;
    const StateField *fields;
    size_t field_count;
    // Rejects impossible values and rebuilds what is derived (timers, irq levels). May be NULL.
    gboolean (*post_load)(void *object, GError **error);
    // Brings fields up to date before they are saved (a counter that runs with the clock). May be
    // NULL.
    void (*pre_save)(void *object);
} StateTable;

#define STATE_SCALAR(type, member, kind) { #member, kind, offsetof(type, member), 1 }
#define STATE_ARRAY(type, member, kind)                                                            \
    { #member, kind, offsetof(type, member),                                                       \
      sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0]) }
#define STATE_POINTED_BYTES(type, member, bytes)                                                   \
    { #member, STATE_POINTED, offsetof(type, member), bytes }

// The object's state as one record. Never fails.
GBytes *state_save(const StateTable *table, void *object);

// Fills the object from a record. On failure the object holds a mix and must be reset; error
// (G_IO_ERROR_INVALID_DATA) names the table and the field.
gboolean state_load(const StateTable *table, void *object, GBytes *record, GError **error);
