// SPDX-License-Identifier: GPL-2.0-or-later
// The modern register interface of virtio over PCI: common configuration, ISR, device
// configuration and notification areas in one memory BAR, the vendor capabilities that point at
// them, and the window through configuration space. VIRTIO 1.2, sections 4.1.4 and 4.1.5.
#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/devices/virtio/virtio-pci-private.h"

// Areas within the BAR, a page each.
enum {
    AREA_COMMON = 0x0000,
    AREA_ISR = 0x1000,
    AREA_DEVICE = 0x2000,
    AREA_NOTIFY = 0x3000,
    AREA_MSIX = VIRTIO_MSIX_TABLE,
    AREA_SIZE = 0x1000,
    NOTIFY_MULTIPLIER = 4,
};

// struct virtio_pci_common_cfg (4.1.4.3).
enum {
    COMMON_DEVICE_FEATURE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_NUM_QUEUES = 18,
    COMMON_STATUS = 20,
    COMMON_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY_OFF = 30,
    COMMON_QUEUE_DESC = 32,
    COMMON_QUEUE_DRIVER = 40,
    COMMON_QUEUE_DEVICE = 48,
    COMMON_SIZE = 56,
};

// struct virtio_pci_cap (4.1.4).
enum {
    CAP_VENDOR = 0x09,
    CAP_LENGTH = 2,
    CAP_TYPE = 3,
    CAP_BAR = 4,
    CAP_OFFSET = 8,
    CAP_AREA_LENGTH = 12,
    CAP_SIZE = 16,
    CAP_EXTRA = 16, // notify_off_multiplier, or the window's data
    TYPE_COMMON = 1,
    TYPE_NOTIFY = 2,
    TYPE_ISR = 3,
    TYPE_DEVICE = 4,
    TYPE_PCI = 5,
};

static uint8_t add_capability(VirtioPci *t, uint8_t type, unsigned size, uint32_t offset,
                              uint32_t length)
{
    uint8_t at = pci_add_capability(&t->pci, CAP_VENDOR, size);
    uint8_t *cap = t->pci.config + at;
    cap[CAP_LENGTH] = (uint8_t)size;
    cap[CAP_TYPE] = type;
    cap[CAP_BAR] = type == TYPE_PCI ? 0 : VIRTIO_BAR_MODERN;
    le32_write(cap + CAP_OFFSET, offset);
    le32_write(cap + CAP_AREA_LENGTH, length);
    return at;
}

void virtio_modern_add_capabilities(VirtioPci *t)
{
    uint8_t window = add_capability(t, TYPE_PCI, CAP_SIZE + 4, 0, 0);
    t->window_offset = window;
    t->pci.write_mask[window + CAP_BAR] = 0xff;
    memset(t->pci.write_mask + window + CAP_OFFSET, 0xff, 12);
    uint8_t notify = add_capability(t, TYPE_NOTIFY, CAP_SIZE + 4, AREA_NOTIFY, AREA_SIZE);
    le32_write(t->pci.config + notify + CAP_EXTRA, NOTIFY_MULTIPLIER);
    add_capability(t, TYPE_DEVICE, CAP_SIZE, AREA_DEVICE, AREA_SIZE);
    add_capability(t, TYPE_ISR, CAP_SIZE, AREA_ISR, AREA_SIZE);
    add_capability(t, TYPE_COMMON, CAP_SIZE, AREA_COMMON, AREA_SIZE);
}

// The 32 feature bits that `select` names.
static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> select * 32) : 0;
}

// The whole structure as the driver would read it now.
static void compose_common(VirtioPci *t, uint8_t *image)
{
    Virtqueue *queue = virtio_pci_selected(t);
    memset(image, 0, COMMON_SIZE);
    le32_write(image + COMMON_DEVICE_FEATURE_SELECT, t->feature_select[0]);
    le32_write(image + COMMON_DEVICE_FEATURE,
               feature_word(t->offered_features, t->feature_select[0]));
    le32_write(image + COMMON_DRIVER_FEATURE_SELECT, t->feature_select[1]);
    le32_write(image + COMMON_DRIVER_FEATURE,
               feature_word(t->driver_features, t->feature_select[1]));
    le16_write(image + COMMON_CONFIG_VECTOR, t->config_vector);
    le16_write(image + COMMON_NUM_QUEUES, (uint16_t)t->queue_count);
    image[COMMON_STATUS] = virtio_pci_status(t);
    image[COMMON_GENERATION] = t->generation;
    le16_write(image + COMMON_QUEUE_SELECT, t->queue_select);
    if (!queue)
        return; // size 0: there is no such queue
    le16_write(image + COMMON_QUEUE_SIZE, queue->state.size);
    le16_write(image + COMMON_QUEUE_VECTOR, queue->state.vector);
    le16_write(image + COMMON_QUEUE_ENABLE, queue->state.enabled);
    le16_write(image + COMMON_QUEUE_NOTIFY_OFF, t->queue_select);
    le64_write(image + COMMON_QUEUE_DESC, queue->state.descriptors);
    le64_write(image + COMMON_QUEUE_DRIVER, queue->state.available);
    le64_write(image + COMMON_QUEUE_DEVICE, queue->state.used);
}

static uint64_t common_read(VirtioPci *t, uint64_t offset, unsigned size)
{
    uint8_t image[COMMON_SIZE + 8] = { 0 };
    if (offset >= COMMON_SIZE)
        return 0;
    compose_common(t, image);
    uint64_t value = le64_read(image + offset);
    return size < 8 ? value & ((UINT64_C(1) << size * 8) - 1) : value;
}

static void write_driver_feature(VirtioPci *t, uint32_t value)
{
    uint32_t select = t->feature_select[1];
    if (select > 1) {
        if (value)
            guest_log_once(t->class->name, "feature-word", "bits of word %u accepted", select);
        return;
    }
    uint64_t keep = t->driver_features & ~((uint64_t)UINT32_MAX << select * 32);
    virtio_pci_set_features(t, keep | (uint64_t)value << select * 32);
}

// A half of one of the queue's three addresses.
static void write_address(Virtqueue *queue, uint64_t offset, uint32_t value)
{
    uint64_t *address = offset < COMMON_QUEUE_DRIVER   ? &queue->state.descriptors
                        : offset < COMMON_QUEUE_DEVICE ? &queue->state.available
                                                       : &queue->state.used;
    unsigned shift = offset & 4 ? 32 : 0;
    *address = (*address & ~((uint64_t)UINT32_MAX << shift)) | (uint64_t)value << shift;
}

static void write_queue(VirtioPci *t, Virtqueue *queue, uint64_t offset, uint32_t value)
{
    if (offset == COMMON_QUEUE_VECTOR) {
        virtio_pci_set_vector(t, &queue->state.vector, value);
        return;
    }
    if (queue->state.enabled) {
        guest_log_once(t->class->name, "queue-enabled", "register %u written while enabled",
                       (unsigned)offset);
        return;
    }
    if (offset == COMMON_QUEUE_SIZE) {
        if (value && value <= queue->max_size && !(value & (value - 1)))
            queue->state.size = (uint16_t)value;
        else
            guest_log_once(t->class->name, "queue-size", "%u of at most %u", value,
                           queue->max_size);
    } else if (offset == COMMON_QUEUE_ENABLE) {
        queue->state.enabled = value == 1;
    } else if (offset >= COMMON_QUEUE_DESC) {
        write_address(queue, offset, value);
    }
}

// Width that the driver must use at `offset` (4.1.3.1); 0 where no field begins.
static unsigned common_width(uint64_t offset)
{
    switch (offset) {
    case COMMON_STATUS:
    case COMMON_GENERATION:
        return 1;
    case COMMON_CONFIG_VECTOR:
    case COMMON_NUM_QUEUES:
    case COMMON_QUEUE_SELECT:
    case COMMON_QUEUE_SIZE:
    case COMMON_QUEUE_VECTOR:
    case COMMON_QUEUE_ENABLE:
    case COMMON_QUEUE_NOTIFY_OFF:
        return 2;
    default:
        return offset % 4 == 0 && offset < COMMON_SIZE ? 4 : 0;
    }
}

static void common_write(VirtioPci *t, uint64_t offset, unsigned size, uint64_t value)
{
    if (common_width(offset) != size) {
        guest_log_once(t->class->name, "common-width", "%u bytes at %#x", size, (unsigned)offset);
        return;
    }
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        t->feature_select[0] = (uint32_t)value;
        return;
    case COMMON_DRIVER_FEATURE_SELECT:
        t->feature_select[1] = (uint32_t)value;
        return;
    case COMMON_DRIVER_FEATURE:
        write_driver_feature(t, (uint32_t)value);
        return;
    case COMMON_CONFIG_VECTOR:
        virtio_pci_set_vector(t, &t->config_vector, value);
        return;
    case COMMON_STATUS:
        virtio_pci_set_status(t, (uint8_t)value, false);
        return;
    case COMMON_QUEUE_SELECT:
        t->queue_select = (uint16_t)value;
        return;
    case COMMON_DEVICE_FEATURE:
    case COMMON_NUM_QUEUES:
    case COMMON_GENERATION:
    case COMMON_QUEUE_NOTIFY_OFF:
        return; // read-only
    default:
        break;
    }
    Virtqueue *queue = virtio_pci_selected(t);
    if (queue)
        write_queue(t, queue, offset, (uint32_t)value);
}

static uint64_t modern_read(void *opaque, uint64_t offset, unsigned size)
{
    VirtioPci *t = opaque;
    uint64_t within = offset & (AREA_SIZE - 1);
    switch (offset - within) {
    case AREA_COMMON:
        return common_read(t, within, size);
    case AREA_ISR:
        return within == 0 ? virtio_pci_read_isr(t) : 0;
    case AREA_DEVICE:
        return virtio_pci_config_get(t, within, size);
    case AREA_MSIX:
        return pci_msix_read(&t->pci, (uint32_t)offset, size);
    default:
        return 0;
    }
}

static void modern_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    VirtioPci *t = opaque;
    uint64_t within = offset & (AREA_SIZE - 1);
    switch (offset - within) {
    case AREA_COMMON:
        common_write(t, within, size, value);
        break;
    case AREA_DEVICE:
        virtio_pci_config_put(t, within, size, value);
        break;
    case AREA_NOTIFY:
        virtio_pci_kick(t, (unsigned)(within / NOTIFY_MULTIPLIER));
        break;
    case AREA_MSIX:
        pci_msix_write(&t->pci, (uint32_t)offset, size, value);
        break;
    default:
        break;
    }
}

const BusOps virtio_modern_ops = { modern_read, modern_write, 4 };

// Whether an access to configuration space touches the window's data, and the window is set to
// something it can show (4.1.4.9).
static bool window_hit(VirtioPci *t, unsigned offset, unsigned size, uint32_t *ret_offset,
                       uint32_t *ret_size)
{
    unsigned data = t->window_offset + CAP_EXTRA;
    const uint8_t *cap = t->pci.config + t->window_offset;
    if (!t->window_offset || offset >= data + 4 || offset + size <= data)
        return false;
    *ret_offset = le32_read(cap + CAP_OFFSET);
    *ret_size = le32_read(cap + CAP_AREA_LENGTH);
    return cap[CAP_BAR] == VIRTIO_BAR_MODERN &&
           (*ret_size == 1 || *ret_size == 2 || *ret_size == 4) &&
           *ret_offset < VIRTIO_MODERN_SIZE && *ret_offset % *ret_size == 0;
}

void virtio_modern_window_read(VirtioPci *t, unsigned offset, unsigned size)
{
    uint32_t at, width;
    if (window_hit(t, offset, size, &at, &width))
        le32_write(t->pci.config + t->window_offset + CAP_EXTRA,
                   (uint32_t)modern_read(t, at, width));
}

void virtio_modern_window_written(VirtioPci *t, unsigned offset, unsigned size)
{
    uint32_t at, width;
    if (!window_hit(t, offset, size, &at, &width))
        return;
    uint32_t value = le32_read(t->pci.config + t->window_offset + CAP_EXTRA);
    if (width < 4)
        value &= (1u << width * 8) - 1;
    modern_write(t, at, width, value);
}
