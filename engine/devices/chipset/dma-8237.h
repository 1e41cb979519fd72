// SPDX-License-Identifier: GPL-2.0-or-later
// The AT's DMA controllers; dma_8237_border is what the floppy controller asks for transfers.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/isa-dma.h"

typedef struct {
    char unused; // both controllers sit at the AT's fixed ports
} Dma8237Config;

extern const DeviceOps dma_8237_ops;

// For the configs of devices with a DREQ line; lives as long as the device.
IsaDma dma_8237_border(void *dma);
