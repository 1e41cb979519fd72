// SPDX-License-Identifier: GPL-2.0-or-later
// Every device there is, in one readable list: tests (save, load, save), fuzz targets and
// `lodge-engine --list-devices` walk it.
#pragma once

#include "engine/bus/device.h"

typedef struct {
    const DeviceOps *ops;
    const void *sample_config; // a config that create accepts in a machine without backends
} DeviceRow;

extern const DeviceRow device_table[];
extern const size_t device_table_size;
