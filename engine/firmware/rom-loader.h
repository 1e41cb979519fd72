// SPDX-License-Identifier: GPL-2.0-or-later
// Finds the firmware images that the distribution's packages install; nothing is vendored.
#pragma once

#include <glib.h>

typedef enum {
    ROM_BIOS,           // SeaBIOS, 256 KiB
    ROM_VGA_STANDARD,   // VGA BIOS for the Bochs VBE adapter
    ROM_NET_E1000,      // iPXE
    ROM_NET_VIRTIO,
    ROM_COUNT
} RomId;

// The image's bytes. Looks in LODGE_FIRMWARE_PATH (a colon-separated list of folders) first, then
// where packages put them. On failure NULL, and error (G_IO_ERROR) says what is missing and which
// package has it.
GBytes *rom_load(RomId id, GError **error);

// The folders that rom_load reads from, NULL-terminated (for the sandbox). Free with g_strfreev.
char **rom_folders(void);
