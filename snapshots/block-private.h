// SPDX-License-Identifier: GPL-2.0-or-later
// What drivers and I/O engines share with block.c. Stays in this folder.
#pragma once

#include "snapshots/block.h"

// A finished request. result: 0 or a negative errno.
typedef struct {
    BlockRequest *request;
    int result;
} BlockCompletion;

// A device that no file opening leads to, over a driver that it owns.
BlockDevice *block_new(const BlockDriverOps *ops, void *driver, uint64_t size, const char *path,
                       bool read_only, GMutex *lock);
void block_set_size(BlockDevice *block, uint64_t size); // no request in flight beyond it

// Delivers finished requests to their submitters, taking each device's lock once per run of
// neighbours. I/O threads only; no lock held. A request without a device is a driver's own: its
// submitter alone is told.
void block_complete(const BlockCompletion *completions, size_t count);

// Hands a request to the layer below unchanged; it stays a request of the upper device.
void block_forward(BlockDevice *next, BlockRequest *request);

// The same as block_io_name for a driver's own file, and completion of a request that never
// reaches a file.
void block_post(BlockDevice *block, BlockRequest *request, int result);

// Opens the file an image lives in, checks its kind and locks it. ret_size: bytes. Returns the
// descriptor, or -1 and error.
int block_file_open(const BlockOpen *options, uint64_t *ret_size, GError **error);

extern const BlockDriverOps block_raw_ops;
extern const BlockDriverOps block_iso_ops;
// snapshots/formats/image-block.c
extern const BlockDriverOps block_qcow2_ops, block_vmdk_ops, block_vdi_ops, block_vhd_ops,
    block_vhdx_ops;

// The engine of a raw device.
const char *block_raw_io_name(void *driver);
int block_raw_descriptor(void *driver);

// What block_new was given, where the device is one of these ops'; else NULL.
void *block_driver(const BlockDevice *block, const BlockDriverOps *ops);

// The descriptor of a raw device, which stays its own.
int block_raw_fd(const BlockDevice *raw);
