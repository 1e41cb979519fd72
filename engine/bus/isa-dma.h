// SPDX-License-Identifier: GPL-2.0-or-later
// The border between a device with a DREQ/DACK pair (floppy, sound, parallel port) and the DMA
// controller. dma-8237 fills an IsaDma; a device gets it in its config and never sees the chip.
// Machine lock held throughout.
//
// A device that wants to move bytes calls `transfer`. It gets back fewer than it asked for when
// the channel's count runs out (terminal count) or when the channel is masked, disabled or set to
// the other direction; in the latter case it sets a watch and tries again once it is called.
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    ISA_DMA_TO_MEMORY, // "write transfer" in the 8237A data sheet
    ISA_DMA_TO_DEVICE, // "read transfer"
} IsaDmaDirection;

typedef struct {
    // Moves up to `size` bytes (even for channels 5 to 7) between `buffer` and guest memory and
    // returns how many were moved. *ret_terminal_count becomes true where the last of them ended
    // the channel's count (with auto-initialise the channel is then ready again), else false. A
    // channel in verify mode counts and leaves both sides untouched (a TO_DEVICE buffer keeps what
    // the device put there).
    size_t (*transfer)(void *opaque, unsigned channel, IsaDmaDirection direction, void *buffer,
                       size_t size, bool *ret_terminal_count);
    // Calls ready(device) once when a CPU next makes the channel able to transfer (unmask, mode or
    // command written). Replaces an earlier watch of that channel; ready = NULL removes it. ready
    // may call transfer and watch.
    void (*watch)(void *opaque, unsigned channel, void (*ready)(void *device), void *device);
    void *opaque;
} IsaDma;
