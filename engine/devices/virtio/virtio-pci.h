// SPDX-License-Identifier: GPL-2.0-or-later
// The PCI transport that every virtio device embeds: identity, capabilities, the common registers
// of the modern and of the legacy interface, queues and interrupts. A device fills a VirtioClass
// and keeps its configuration space up to date in `config`.
//
// All functions: machine lock held.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/pci.h"
#include "engine/devices/virtio/virtqueue.h"

#define VIRTIO_MAX_QUEUES  10
#define VIRTIO_CONFIG_SIZE 64

// Feature bits of the transport (VIRTIO 1.2, chapter 6).
enum {
    VIRTIO_F_INDIRECT_DESC = 28,
    VIRTIO_F_EVENT_IDX = 29,
    VIRTIO_F_VERSION_1 = 32,
};
#define VIRTIO_FEATURE(bit) (UINT64_C(1) << (bit))

// Device status bits (2.1).
enum {
    VIRTIO_STATUS_ACKNOWLEDGE = 1,
    VIRTIO_STATUS_DRIVER = 2,
    VIRTIO_STATUS_DRIVER_OK = 4,
    VIRTIO_STATUS_FEATURES_OK = 8,
    VIRTIO_STATUS_NEEDS_RESET = 64,
    VIRTIO_STATUS_FAILED = 128,
};

typedef struct {
    const char *name;
    uint16_t device_id;       // chapter 5; the modern PCI id is 1040h + this
    uint16_t transitional_id; // PCI device id 1000h..103Fh (4.1.2.1)
    uint32_t pci_class;       // 24 bits
    unsigned config_size;     // bytes of the device configuration space
    // The driver resets the device, or the machine does: forget everything about queues. Requests
    // in flight may finish but must not touch a queue (see virtio_pci_epoch).
    void (*reset)(void *device);
    // Whether I/O that was started before the last reset may still write to guest memory; the
    // driver sees the reset complete only when this is false. NULL: never.
    bool (*busy)(void *device);
    // The driver offered chains. Returns true where it stopped early to let others run; it is then
    // called again soon.
    bool (*queue_notify)(void *device, unsigned queue);
    // The driver writes bytes of the configuration space; the device stores what it takes. NULL:
    // read-only to the driver.
    void (*config_write)(void *device, unsigned offset, unsigned size, const uint8_t *bytes);
    // DRIVER_OK was set. May be NULL.
    void (*driver_ready)(void *device);
} VirtioClass;

typedef struct {
    uint8_t devfn;
    bool modern_only;     // no legacy interface, PCI id 1040h and up
    uint64_t features;    // of the device type; the transport adds its own
    unsigned queue_count;
    const uint16_t *queue_sizes; // powers of two
    const uint8_t *rom;   // option ROM or NULL; copied
    size_t rom_size;
} VirtioPciConfig;

typedef struct VirtioPci {
    PciDevice pci;
    const VirtioClass *class;
    void *device;
    Virtqueue queues[VIRTIO_MAX_QUEUES];
    unsigned queue_count;
    uint64_t offered_features;
    uint8_t *rom;
    Clock *clock;
    Timer *resume;         // calls queue_notify again for the queues in resume_mask
    uint32_t resume_mask;
    uint32_t epoch;
    bool bus_master;       // as last seen, to notice when the driver turns it on
    uint8_t window_offset; // of the pci-cfg capability
    // Saved from here on.
    uint64_t driver_features;
    uint32_t feature_select[2]; // device, driver
    uint16_t config_vector;
    uint16_t queue_select;
    uint8_t status;
    uint8_t quiet_status; // what status reads as while a reset waits for I/O
    uint8_t isr;
    uint8_t generation;
    uint8_t config[VIRTIO_CONFIG_SIZE]; // device configuration space, little-endian
} VirtioPci;

// The address of `transport` must not change until virtio_pci_clear. On failure nothing is left.
bool virtio_pci_init(VirtioPci *transport, const VirtioClass *class, const VirtioPciConfig *config,
                     void *device, const DeviceHost *host, GError **error);
// NULL-safe on a zeroed transport.
void virtio_pci_clear(VirtioPci *transport);
// The machine's reset, warm or cold alike.
void virtio_pci_machine_reset(VirtioPci *transport);

static inline bool virtio_pci_has(const VirtioPci *transport, unsigned feature)
{
    return transport->driver_features >> feature & 1;
}

// Whether the driver is running and the device may use its queues.
bool virtio_pci_live(const VirtioPci *transport);

// Changes whenever what was popped before must not be pushed any more.
static inline uint32_t virtio_pci_epoch(const VirtioPci *transport)
{
    return transport->epoch;
}

// Interrupts the driver for what was pushed, where it wants that. Once per batch.
void virtio_pci_notify(VirtioPci *transport, unsigned queue);
// `config` has changed under the driver: raises the generation and the configuration interrupt.
void virtio_pci_config_changed(VirtioPci *transport);
// Has queue_notify called soon, from a timer.
void virtio_pci_resume(VirtioPci *transport, unsigned queue);

// For the device's StateTable.
gboolean virtio_pci_post_load(VirtioPci *transport, GError **error);

#define VIRTIO_MSIX_VECTORS(queues) ((queues) + 1)
#define VIRTIO_PCI_QUEUE_FIELD(type, member, index)                                                \
    { "queue" #index, STATE_BYTES, offsetof(type, member.queues[index].state),                     \
      sizeof(VirtqueueState) }
#define VIRTIO_PCI_STATE_FIELDS(type, member, queues_used)                                         \
    PCI_STATE_FIELDS(type, member.pci),                                                            \
    PCI_MSIX_STATE_FIELDS(type, member.pci, VIRTIO_MSIX_VECTORS(queues_used)),                     \
    STATE_SCALAR(type, member.driver_features, STATE_U64),                                         \
    STATE_ARRAY(type, member.feature_select, STATE_U32),                                           \
    STATE_SCALAR(type, member.config_vector, STATE_U16),                                           \
    STATE_SCALAR(type, member.queue_select, STATE_U16),                                            \
    STATE_SCALAR(type, member.status, STATE_U8),                                                   \
    STATE_SCALAR(type, member.quiet_status, STATE_U8),                                             \
    STATE_SCALAR(type, member.isr, STATE_U8),                                                      \
    STATE_SCALAR(type, member.generation, STATE_U8),                                               \
    STATE_ARRAY(type, member.config, STATE_U8)
