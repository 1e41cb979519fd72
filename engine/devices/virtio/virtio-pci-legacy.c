// SPDX-License-Identifier: GPL-2.0-or-later
// The legacy register interface of virtio over PCI, in BAR 0 of a transitional device, for drivers
// older than VIRTIO 1.0. VIRTIO 1.2, sections 4.1.4.10 and 2.7.2 (queue layout).
#include "engine/devices/virtio/virtio-pci-private.h"

enum {
    LEGACY_DEVICE_FEATURES = 0,
    LEGACY_DRIVER_FEATURES = 4,
    LEGACY_QUEUE_PAGE = 8,
    LEGACY_QUEUE_SIZE = 12,
    LEGACY_QUEUE_SELECT = 14,
    LEGACY_QUEUE_NOTIFY = 16,
    LEGACY_STATUS = 18,
    LEGACY_ISR = 19,
    LEGACY_CONFIG_VECTOR = 20, // these two only while MSI-X is enabled
    LEGACY_QUEUE_VECTOR = 22,
    LEGACY_PAGE_BITS = 12,
};

// Where the device configuration begins (4.1.4.10).
static unsigned config_offset(const VirtioPci *t)
{
    return pci_msix_enabled(&t->pci) ? 24 : 20;
}

static uint64_t legacy_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci *t = opaque;
    Virtqueue *queue = virtio_pci_selected(t);
    if (offset >= config_offset(t))
        return virtio_pci_config_get(t, offset - config_offset(t), size);
    switch (offset) {
    case LEGACY_DEVICE_FEATURES:
        return (uint32_t)t->offered_features;
    case LEGACY_DRIVER_FEATURES:
        return (uint32_t)t->driver_features;
    case LEGACY_QUEUE_PAGE:
        return queue && queue->state.enabled ? queue->state.descriptors >> LEGACY_PAGE_BITS : 0;
    case LEGACY_QUEUE_SIZE:
        return queue ? queue->state.size : 0;
    case LEGACY_QUEUE_SELECT:
        return t->queue_select;
    case LEGACY_STATUS:
        return virtio_pci_status(t);
    case LEGACY_ISR:
        return virtio_pci_read_isr(t);
    case LEGACY_CONFIG_VECTOR:
        return t->config_vector;
    case LEGACY_QUEUE_VECTOR:
        return queue ? queue->state.vector : VIRTIO_NO_VECTOR;
    default:
        return 0;
    }
}

// One block of pages holds all three areas; the used ring begins on a page (2.7.2).
static void set_queue_page(VirtioPci *t, Virtqueue *queue, uint32_t page)
{
    virtio_pci_disable_queue(t, queue);
    if (!page)
        return;
    VirtqueueState *s = &queue->state;
    s->descriptors = (uint64_t)page << LEGACY_PAGE_BITS;
    s->available = s->descriptors + 16 * (uint64_t)s->size;
    uint64_t end = s->available + 4 + 2 * (uint64_t)s->size + 2;
    s->used = (end + GUEST_PAGE_SIZE - 1) & ~(uint64_t)(GUEST_PAGE_SIZE - 1);
    s->enabled = 1;
}

static void legacy_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VirtioPci *t = opaque;
    Virtqueue *queue = virtio_pci_selected(t);
    if (offset >= config_offset(t)) {
        virtio_pci_config_put(t, offset - config_offset(t), size, value);
        return;
    }
    switch (offset) {
    case LEGACY_DRIVER_FEATURES:
        // What is not offered is not accepted; there is no FEATURES_OK to refuse it with.
        if (size == 4)
            virtio_pci_set_features(t, (uint32_t)value & t->offered_features);
        break;
    case LEGACY_QUEUE_PAGE:
        if (queue && size == 4)
            set_queue_page(t, queue, (uint32_t)value);
        break;
    case LEGACY_QUEUE_SELECT:
        t->queue_select = (uint16_t)value;
        break;
    case LEGACY_QUEUE_NOTIFY:
        virtio_pci_kick(t, (uint16_t)value);
        break;
    case LEGACY_STATUS:
        virtio_pci_set_status(t, (uint8_t)value, true);
        break;
    case LEGACY_CONFIG_VECTOR:
        virtio_pci_set_vector(t, &t->config_vector, (uint16_t)value);
        break;
    case LEGACY_QUEUE_VECTOR:
        if (queue)
            virtio_pci_set_vector(t, &queue->state.vector, (uint16_t)value);
        break;
    default:
        break;
    }
}

const BusOps virtio_legacy_ops = { legacy_read, legacy_write, 4 };
