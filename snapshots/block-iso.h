// SPDX-License-Identifier: GPL-2.0-or-later
// What can be asked of a medium beyond its bytes.
#pragma once

#include "snapshots/block.h"

#define ISO_SECTOR_SIZE 2048u

// Whether firmware can start from this medium as a CD-ROM: an El Torito boot record with a valid
// catalogue that has a bootable entry. Where not, false and error, which says what is missing
// (G_IO_ERROR_NOT_SUPPORTED) or that the medium cannot be read. Machine lock not held.
bool iso_is_bootable(BlockDevice *block, GError **error);
