// SPDX-License-Identifier: GPL-2.0-or-later
// SMBIOS tables (DMTF DSP0134 2.8) as the two files that firmware installs. The 2.x anchor, not
// 3.0's: Windows on a legacy BIOS reads only that one.
#pragma once

#include "engine/firmware/fw-cfg.h"

typedef struct {
    uint8_t uuid[16];   // in the order of the text form
    uint64_t ram_size;  // bytes
    unsigned cpus;
    uint32_t cpu_signature; // CPUID leaf 1 EAX
    uint32_t cpu_features;  // CPUID leaf 1 EDX
    const char *serial; // system serial number; NULL: not specified
} SmbiosConfig;

// Adds etc/smbios/smbios-tables and etc/smbios/smbios-anchor. Machine lock held.
void smbios_add_files(const SmbiosConfig *config, FwCfg *fw_cfg);
