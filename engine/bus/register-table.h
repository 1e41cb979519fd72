// SPDX-License-Identifier: GPL-2.0-or-later
// Registers as data. A device that is a set of registers lists them as rows in the datasheet's
// order; the generic accessor below applies masks and calls hooks. Registers up to 4 bytes wide
// live in the device's own uint32_t array, one element a row.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t offset;
    uint8_t width; // bytes: 1, 2, 4
    const char *name;
    uint32_t reset;
    uint32_t read_mask;        // bits that can be read; others read as 0
    uint32_t write_mask;       // bits that a write stores
    uint32_t write_clear_mask; // bits that writing 1 clears
    // Before a read: may refresh values[row]. After a write: values[row] is the new value, `old`
    // the one before, `written` the bits as the guest put them (0 in bytes it left out). Either may
    // be NULL.
    void (*read_hook)(void *device, size_t row);
    void (*write_hook)(void *device, size_t row, uint32_t old, uint32_t written);
    const char *section; // of the datasheet
} RegisterRow;

typedef struct {
    const char *device; // name for the log
    const RegisterRow *rows;
    size_t count;
} RegisterTable;

void register_reset(const RegisterTable *table, uint32_t *values);
// An access may cover several rows or part of one. Unknown offsets read 0, drop writes and are
// reported once.
uint64_t register_read(const RegisterTable *table, uint32_t *values, void *device, uint64_t offset,
                       unsigned size);
void register_write(const RegisterTable *table, uint32_t *values, void *device, uint64_t offset,
                    unsigned size, uint64_t value);
