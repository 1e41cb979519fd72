// SPDX-License-Identifier: GPL-2.0-or-later
// What differs between two snapshots of a machine: ranges of its disks, which its store's service
// tells, and files, which a process of its own reads in a sandbox (lodge-engine --disk).
#pragma once

#include <gio/gio.h>
#include <stdbool.h>

// More than this is not read of what that process tells; about 200,000 files.
#define SNAPSHOTS_COMPARE_MAX (16u << 20)

// Of ret_blocks: by disk, offset and length in bytes of the ranges that differ.
#define SNAPSHOTS_BLOCKS_TYPE G_VARIANT_TYPE("a{sa(tt)}")
// Of ret_files: as engine/disk-files.h describes it.
#define SNAPSHOTS_FILES_TYPE G_VARIANT_TYPE("a(sasa(usasa(ybss)))")

// Blocking. to: 0 for what is now, of which a snapshot is taken that lasts as long where there are
// changes. Both results are the caller's, in normal form, and empty where nothing differs.
// Cancelled, it puts everything back as it was and returns with the error.
bool snapshots_compare(const char *folder, guint64 from, guint64 to, GCancellable *cancellable,
                       GVariant **ret_blocks, GVariant **ret_files, GError **error);
