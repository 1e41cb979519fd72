// SPDX-License-Identifier: GPL-2.0-or-later
// The floppy controller with one diskette: the input is a list of port accesses and of what the
// DMA channel does.
#include "engine/base/bytes.h"
#include "engine/devices/storage/fdc-82077.h"
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#include <glib/gstdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct {
    Fixture f;
    BlockDevice *disk;
    ByteReader input;
    void (*ready)(void *device);
    void *watcher;
} World;

static size_t transfer(void *opaque, unsigned channel, IsaDmaDirection direction, void *buffer,
                       size_t size, bool *ret_terminal_count)
{
    World *w = opaque;
    size_t moved = MIN(size, byte_reader_u8(&w->input) * 16u);
    memset(buffer, byte_reader_u8(&w->input), direction == ISA_DMA_TO_DEVICE ? moved : 0);
    *ret_terminal_count = moved && byte_reader_u8(&w->input) & 1;
    return moved;
}

static void watch(void *opaque, unsigned channel, void (*ready)(void *device), void *device)
{
    World *w = opaque;
    w->ready = ready;
    w->watcher = device;
}

static World *make_world(void)
{
    World *w = g_new0(World, 1);
    fixture_set_up(&w->f);
    w->disk = fixture_image(&w->f, 1474560, false);
    g_unlink(w->f.paths->pdata[0]);
    return w;
}

static void step(World *w)
{
    static const uint8_t commands[] = { 0xe6, 0x66, 0xc5, 0x45, 0x4d, 0xf6, 0x0f, 0x03 };
    uint8_t kind = byte_reader_u8(&w->input), value = byte_reader_u8(&w->input);
    switch (kind % 8) {
    case 0:
        fixture_out(&w->f, (uint16_t)(0x3f0 + (kind >> 4) % 8), 1, value);
        return;
    case 1:
    case 2:
        fixture_out(&w->f, 0x3f5, 1, value);
        return;
    case 3: // a command whose parameters are small
        fixture_out(&w->f, 0x3f5, 1, commands[value % sizeof commands]);
        for (unsigned i = 0; i < 8; i++)
            fixture_out(&w->f, 0x3f5, 1, byte_reader_u8(&w->input) & 31);
        return;
    case 4:
        for (unsigned i = 0; i < value; i++)
            fixture_in(&w->f, 0x3f5, 1);
        return;
    case 5:
        fixture_wait(&w->f);
        return;
    case 6:
        if (w->ready)
            w->ready(w->watcher);
        return;
    default:
        fixture_in(&w->f, (uint16_t)(0x3f0 + (value & 7)), 1u << (kind >> 6) % 3);
        fixture_out(&w->f, 0x3f7, 1, 0);
        return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static World *w;
    if (!w)
        w = make_world();
    Fdc82077Config config = { .drives = { { true, w->disk } }, .dma = { transfer, watch, w } };
    w->input = byte_reader(data, size);
    void *fdc = fixture_create(&w->f, &fdc_82077_ops, &config);
    while (!w->input.overrun)
        step(w);
    fixture_wait(&w->f);
    fdc_82077_ops.destroy(fdc);
    return 0;
}
