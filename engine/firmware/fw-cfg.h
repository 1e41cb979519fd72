// SPDX-License-Identifier: GPL-2.0-or-later
// The firmware configuration device: named byte strings that firmware reads through ports 510h,
// 511h and a DMA command at 514h. See fw-cfg.c. All functions: machine lock held.
#pragma once

#include "engine/bus/device.h"

typedef struct FwCfg FwCfg;

// Keys with a fixed number. Files get numbers from 20h in the order in which they are added.
typedef enum {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,
    FW_CFG_RAM_SIZE = 0x03,
    FW_CFG_NO_GRAPHIC = 0x04,
    FW_CFG_CPU_COUNT = 0x05,
    FW_CFG_MACHINE_ID = 0x06,
    FW_CFG_KERNEL_ADDRESS = 0x07,
    FW_CFG_KERNEL_SIZE = 0x08,
    FW_CFG_KERNEL_COMMAND_LINE = 0x09,
    FW_CFG_INITRD_ADDRESS = 0x0a,
    FW_CFG_INITRD_SIZE = 0x0b,
    FW_CFG_BOOT_DEVICE = 0x0c,
    FW_CFG_NUMA = 0x0d,
    FW_CFG_BOOT_MENU = 0x0e,
    FW_CFG_MAX_CPUS = 0x0f,
    FW_CFG_KERNEL_ENTRY = 0x10,
    FW_CFG_KERNEL_DATA = 0x11,
    FW_CFG_INITRD_DATA = 0x12,
    FW_CFG_COMMAND_LINE_ADDRESS = 0x13,
    FW_CFG_COMMAND_LINE_SIZE = 0x14,
    FW_CFG_COMMAND_LINE_DATA = 0x15,
    FW_CFG_SETUP_ADDRESS = 0x16,
    FW_CFG_SETUP_SIZE = 0x17,
    FW_CFG_SETUP_DATA = 0x18,
    FW_CFG_FILE_DIRECTORY = 0x19,
    FW_CFG_FILE_FIRST = 0x20,
    FW_CFG_ACPI_TABLES = 0x8000,
    FW_CFG_SMBIOS_ENTRIES = 0x8001,
    FW_CFG_IRQ0_OVERRIDE = 0x8002,
    FW_CFG_E820_TABLE = 0x8003,
    FW_CFG_HPET = 0x8004,
} FwCfgKey;

#define FW_CFG_FILE_NAME_SIZE 56 // with its terminating zero
#define FW_CFG_FILES_MAX 0x60

typedef struct {
    uint8_t uuid[16]; // of the machine, in the order of the text form
    uint64_t ram_size;
    unsigned cpus;
    bool hpet; // an HPET answers at FED00000h
} FwCfgConfig;

extern const DeviceOps fw_cfg_ops;

// Sets what a numbered key gives, copying the bytes.
void fw_cfg_add_bytes(FwCfg *fw_cfg, FwCfgKey key, const void *data, size_t size);
void fw_cfg_add_u16(FwCfg *fw_cfg, FwCfgKey key, uint16_t value);
void fw_cfg_add_u32(FwCfg *fw_cfg, FwCfgKey key, uint32_t value);

// Adds a file, or replaces the contents of the one of that name. name: at most 55 characters.
void fw_cfg_add_file(FwCfg *fw_cfg, const char *name, const void *data, size_t size);

// Adds a file whose contents are made anew at every machine reset, by calling `produce`, which
// returns a new reference. Between two resets firmware sees one size and one content.
void fw_cfg_add_callback(FwCfg *fw_cfg, const char *name, GBytes *(*produce)(void *opaque),
                         void *opaque);

// The present contents of a file (no reference), or NULL.
GBytes *fw_cfg_find_file(FwCfg *fw_cfg, const char *name);
