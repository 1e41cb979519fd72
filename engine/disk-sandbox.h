// SPDX-License-Identifier: GPL-2.0-or-later
// The sandbox of lodge-engine --disk: an image that takes over the process that reads it finds the
// folders of its job and nothing else.
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *source; // the image; what it stands on is in its folder
    bool writes;        // the image is changed
    const char *target; // of a new image, or NULL
    const char *store;  // a snapshot store that may stand on those of folders beside its own; NULL
} DiskSandbox;

// For this process, for good, before any image is opened. False and error where the kernel refuses.
bool disk_sandbox_enter(const DiskSandbox *sandbox, GError **error);
