// SPDX-License-Identifier: GPL-2.0-or-later
// An IDE function with one disk, whose byte N is fixture_byte(N), and what a driver does with its
// registers. The bus is locked between set up and tear down.
#pragma once

#include "engine/devices/storage/ide-piix3.h"
#include "snapshots/store/store.h"
#include "tests/unit/engine/devices/storage/storage-fixture.h"

#define IDE_RIG_SECTORS 4096u
#define IDE_RIG_MASTER  0xc000 // BAR 4
#define IDE_RIG_DEVFN   PCI_DEVFN(1, 1)

#define IDE_BSY  0x80
#define IDE_DRDY 0x40
#define IDE_DRQ  0x08
#define IDE_ERR  0x01

typedef struct {
    Fixture f;
    BlockDevice *disk;
    void *ide;
    Store *store; // that the disk is in, or NULL
} IdeRig;

void ide_rig_set_up(IdeRig *r);
// The disk is in a snapshot store, else a raw image.
void ide_rig_set_up_with(IdeRig *r, bool in_store);
void ide_rig_tear_down(IdeRig *r);

// Bytes that the disk's file takes on the host, once all is settled.
uint64_t ide_rig_room(IdeRig *r);
// What is on the disk, past the device. offset and size in bytes.
void ide_rig_read_back(IdeRig *r, uint64_t offset, uint8_t *data, size_t size);
// The data are the disk's first ones from that sector on.
void ide_rig_assert_sector(const uint8_t *data, uint64_t sector, uint64_t count);

// The registers of the primary channel's first drive.
uint8_t ide_rig_status(IdeRig *r);
void ide_rig_task(IdeRig *r, uint8_t count, uint32_t lba);
void ide_rig_command(IdeRig *r, uint8_t code);
void ide_rig_read_block(IdeRig *r, void *data, uint32_t bytes);
// The bus master's status.
uint32_t ide_rig_master_status(IdeRig *r);
