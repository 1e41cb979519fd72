// SPDX-License-Identifier: GPL-2.0-or-later
// A stream of bytes behind a serial port or a virtio console port. The device holds a CharBackend
// that the machine fills; the machine holds the CharFrontend that the device registers. Both
// sides: machine lock held.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    // Room in the device for bytes towards the guest, 0 where it is full or closed.
    size_t (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *data, size_t size);
    void *opaque;
} CharFrontend;

typedef struct {
    // Takes what the guest sent; returns how much was taken. Never blocks. What is not taken is
    // offered again after `writable`.
    size_t (*write)(void *opaque, const uint8_t *data, size_t size);
    // The device offers itself (NULL: it goes away). Called once from create.
    void (*attach)(void *opaque, const CharFrontend *frontend);
    // The guest opened or closed its end (virtio console ports). May be NULL.
    void (*open_changed)(void *opaque, bool open);
    // The device has room again after can_receive gave 0. May be NULL.
    void (*room)(void *opaque);
    void *opaque;
} CharBackend;
