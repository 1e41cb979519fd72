// SPDX-License-Identifier: GPL-2.0-or-later
// The generic accessor over RegisterRow tables. It walks the rows that an access touches, lowest
// first, and calls each hook once a row and access.
#include "engine/bus/register-table.h"

#include "engine/base/guest-log.h"

static const RegisterRow *row_at(const RegisterTable *table, uint64_t offset)
{
    for (size_t i = 0; i < table->count; i++) {
        const RegisterRow *row = &table->rows[i];
        if (offset >= row->offset && offset - row->offset < row->width)
            return row;
    }
    return NULL;
}

static void report_unknown(const RegisterTable *table, uint64_t offset, bool write)
{
    char kind[48];
    g_snprintf(kind, sizeof kind, "register %" G_GINT64_MODIFIER "x", offset);
    guest_log_once(table->device, kind, "%s of a register that is not there",
                   write ? "write" : "read");
}

void register_reset(const RegisterTable *table, uint32_t *values)
{
    for (size_t i = 0; i < table->count; i++)
        values[i] = table->rows[i].reset;
}

uint64_t register_read(const RegisterTable *table, uint32_t *values, void *device, uint64_t offset,
                       unsigned size)
{
    uint64_t result = 0;
    for (unsigned done = 0; done < size && done < 8;) {
        const RegisterRow *row = row_at(table, offset + done);
        if (!row) {
            report_unknown(table, offset + done, false);
            done++;
            continue;
        }
        size_t index = (size_t)(row - table->rows);
        unsigned skip = (unsigned)(offset + done - row->offset);
        if (row->read_hook)
            row->read_hook(device, index);
        uint32_t value = (values[index] & row->read_mask) >> skip * 8;
        for (unsigned i = skip; i < row->width && done < size && done < 8; i++, value >>= 8)
            result |= (uint64_t)(value & 0xff) << done++ * 8;
    }
    return result;
}

void register_write(const RegisterTable *table, uint32_t *values, void *device, uint64_t offset,
                    unsigned size, uint64_t value)
{
    for (unsigned done = 0; done < size && done < 8;) {
        const RegisterRow *row = row_at(table, offset + done);
        if (!row) {
            report_unknown(table, offset + done, true);
            done++;
            continue;
        }
        size_t index = (size_t)(row - table->rows);
        uint32_t written = 0, touched = 0;
        for (unsigned i = (unsigned)(offset + done - row->offset);
             i < row->width && done < size && done < 8; i++, done++) {
            written |= (uint32_t)(value >> done * 8 & 0xff) << i * 8;
            touched |= 0xffu << i * 8;
        }
        uint32_t old = values[index], stored = row->write_mask & touched;
        values[index] = ((old & ~stored) | (written & stored)) & ~(written & row->write_clear_mask);
        if (row->write_hook)
            row->write_hook(device, index, old, written);
    }
}
