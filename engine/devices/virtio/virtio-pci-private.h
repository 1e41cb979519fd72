// SPDX-License-Identifier: GPL-2.0-or-later
// Between virtio-pci.c (queues, status, interrupts), virtio-pci-modern.c and virtio-pci-legacy.c
// (the two register interfaces).
#pragma once

#include "engine/devices/virtio/virtio-pci.h"

#define VIRTIO_NO_VECTOR 0xffff

enum {
    VIRTIO_BAR_LEGACY = 0,
    VIRTIO_BAR_MODERN = 1,
    VIRTIO_LEGACY_SIZE = 128,
    VIRTIO_MODERN_SIZE = 0x8000,
    VIRTIO_MSIX_TABLE = 0x4000, // within the modern BAR
    VIRTIO_MSIX_PBA = 0x4800,
    VIRTIO_ISR_QUEUE = 1 << 0,
    VIRTIO_ISR_CONFIG = 1 << 1,
};

extern const BusOps virtio_legacy_ops;
extern const BusOps virtio_modern_ops;

// Adds the vendor capabilities that say where the modern registers are.
void virtio_modern_add_capabilities(VirtioPci *t);
// The pci-cfg window's data register, around a CPU's access to configuration space.
void virtio_modern_window_read(VirtioPci *t, unsigned offset, unsigned size);
void virtio_modern_window_written(VirtioPci *t, unsigned offset, unsigned size);

uint8_t virtio_pci_status(const VirtioPci *t);
void virtio_pci_set_status(VirtioPci *t, uint8_t value, bool legacy);
// Takes what the driver accepts of the offered features into use.
void virtio_pci_set_features(VirtioPci *t, uint64_t features);
uint8_t virtio_pci_read_isr(VirtioPci *t);
void virtio_pci_kick(VirtioPci *t, unsigned queue);
void virtio_pci_set_vector(VirtioPci *t, uint16_t *vector, uint64_t value);
// The selected queue, or NULL where there is none of that number.
Virtqueue *virtio_pci_selected(VirtioPci *t);
void virtio_pci_disable_queue(VirtioPci *t, Virtqueue *queue);
uint64_t virtio_pci_config_get(VirtioPci *t, uint64_t offset, unsigned size);
void virtio_pci_config_put(VirtioPci *t, uint64_t offset, unsigned size, uint64_t value);
