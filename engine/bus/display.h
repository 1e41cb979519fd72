// SPDX-License-Identifier: GPL-2.0-or-later
// The border between a display device and whoever shows it: the SPICE display, or a recorder in
// tests. The device renders into a framebuffer that the sink can read at any time; the sink never
// calls a device except through DisplaySource. Machine lock held on calls into the device; sinks
// must not block and may be called from a vCPU or timer thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Pixels are 32-bit XRGB8888, little-endian; the X byte is undefined.
typedef struct {
    uint32_t width;  // pixels, 1..8192
    uint32_t height; // pixels, 1..8192
    uint32_t stride; // bytes
    int fd;          // sealed memfd that holds the pixels, or -1; stays the device's
    uint64_t offset; // of the first pixel within fd
    uint8_t *pixels; // the same memory, mapped; lives until the next mode_set
} DisplayMode;

typedef struct {
    // A new mode or buffer. All is dirty. The old pixels may go away when this returns.
    void (*mode_set)(void *opaque, const DisplayMode *mode);
    void (*update)(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height);
    // A hardware cursor: RGBA, straight alpha, width*4 stride; NULL hides it. May be NULL.
    void (*cursor_define)(void *opaque, uint32_t width, uint32_t height, uint32_t hot_x,
                          uint32_t hot_y, const uint8_t *rgba);
    void (*cursor_move)(void *opaque, int32_t x, int32_t y);
    void *opaque;
} DisplaySink;

// What the sink may ask of the device.
typedef struct {
    // Renders what changed since the last call and reports it by update. Called at the refresh
    // rate while somebody looks. Machine lock held.
    void (*refresh)(void *device);
    // Somebody wants this size (EDID, later agent). 0 x 0: no wish. May be NULL.
    void (*size_hint)(void *device, uint32_t width, uint32_t height);
    void *device;
} DisplaySource;
