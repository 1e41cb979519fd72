// SPDX-License-Identifier: GPL-2.0-or-later
// Between an image file and a disk in a machine's snapshot store, for lodgectl disk import and
// export. Neither leaves anything half-made behind, whatever ends it.
#pragma once

#include "snapshots/formats/image-writer.h"
#include "snapshots/store/store.h"

// done, total: bytes of the disk. False cancels (G_IO_ERROR_CANCELLED).
typedef bool (*DiskVolumeProgress)(void *opaque, uint64_t done, uint64_t total);

// Copies a node's volume into a new image; create->size is set to the volume's. The store may be in
// use by an engine, as long as the node is protected.
bool disk_volume_export(const char *store, const char *volume, StoreNodeId node,
                        ImageCreate *create, DiskVolumeProgress progress, void *opaque,
                        GError **error);

// Copies an image into a new volume of the store, which is made where there is none. The volume has
// its name only when it is whole. Waits some seconds for a store that is in use.
bool disk_volume_import(Image *image, const char *store, const char *volume,
                        DiskVolumeProgress progress, void *opaque, GError **error);
