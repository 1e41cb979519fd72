// SPDX-License-Identifier: GPL-2.0-or-later
// The virtio transport over PCI: life cycle, status, queues and interrupts, following VIRTIO 1.2,
// chapters 2, 3 and 4.1. The registers themselves are in virtio-pci-modern.c and
// virtio-pci-legacy.c; what a device does with its queues is in the device.
//
// A driver is "legacy" until it accepts VIRTIO_F_VERSION_1, which only the modern registers offer.
#include "engine/devices/virtio/virtio-pci.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/devices/virtio/virtio-pci-private.h"

#include <gio/gio.h>

#define VIRTIO_VENDOR 0x1af4

bool virtio_pci_live(const VirtioPci *t)
{
    if (t->status & VIRTIO_STATUS_NEEDS_RESET)
        return false;
    // Old drivers use the device before DRIVER_OK and without bus mastering (3.1.2).
    if (!virtio_pci_has(t, VIRTIO_F_VERSION_1))
        return true;
    return (t->status & VIRTIO_STATUS_DRIVER_OK) && pci_bus_master(&t->pci);
}

static void raise_isr(VirtioPci *t, uint8_t bit)
{
    t->isr |= bit;
    pci_set_intx(&t->pci, true);
}

void virtio_pci_notify(VirtioPci *t, unsigned queue)
{
    if (queue >= t->queue_count || !virtqueue_wants_interrupt(&t->queues[queue]))
        return;
    if (!pci_msix_enabled(&t->pci))
        raise_isr(t, VIRTIO_ISR_QUEUE);
    else if (t->queues[queue].state.vector != VIRTIO_NO_VECTOR)
        pci_msi_notify(&t->pci, t->queues[queue].state.vector);
}

static void notify_config(VirtioPci *t)
{
    if (!(t->status & VIRTIO_STATUS_DRIVER_OK))
        return;
    if (!pci_msix_enabled(&t->pci))
        raise_isr(t, VIRTIO_ISR_CONFIG);
    else if (t->config_vector != VIRTIO_NO_VECTOR)
        pci_msi_notify(&t->pci, t->config_vector);
}

void virtio_pci_config_changed(VirtioPci *t)
{
    t->generation++;
    notify_config(t);
}

static void queue_broken(void *opaque)
{
    VirtioPci *t = opaque;
    t->status |= VIRTIO_STATUS_NEEDS_RESET;
    notify_config(t);
}

void virtio_pci_resume(VirtioPci *t, unsigned queue)
{
    t->resume_mask |= 1u << queue;
    timer_arm(t->resume, clock_now(t->clock));
}

void virtio_pci_kick(VirtioPci *t, unsigned queue)
{
    if (queue >= t->queue_count) {
        guest_log_once(t->class->name, "notify", "no queue %u", queue);
        return;
    }
    if (!virtqueue_ready(&t->queues[queue]) || !virtio_pci_live(t))
        return;
    if (t->class->queue_notify(t->device, queue))
        virtio_pci_resume(t, queue);
}

static void kick_all(VirtioPci *t)
{
    for (unsigned i = 0; i < t->queue_count; i++)
        virtio_pci_kick(t, i);
}

static void resume_expired(void *opaque)
{
    VirtioPci *t = opaque;
    uint32_t mask = t->resume_mask;
    t->resume_mask = 0;
    for (unsigned i = 0; i < t->queue_count; i++) {
        if (mask >> i & 1)
            virtio_pci_kick(t, i);
    }
}

static void apply_features(VirtioPci *t)
{
    for (unsigned i = 0; i < t->queue_count; i++) {
        t->queues[i].event_index = virtio_pci_has(t, VIRTIO_F_EVENT_IDX);
        t->queues[i].indirect = virtio_pci_has(t, VIRTIO_F_INDIRECT_DESC);
    }
}

void virtio_pci_set_features(VirtioPci *t, uint64_t features)
{
    if (t->status & VIRTIO_STATUS_FEATURES_OK) {
        guest_log_once(t->class->name, "features", "written after FEATURES_OK");
        return;
    }
    t->driver_features = features;
    apply_features(t);
}

static void reset_transport(VirtioPci *t)
{
    t->epoch++;
    t->class->reset(t->device);
    t->quiet_status = t->status;
    t->status = 0;
    t->isr = 0;
    t->driver_features = 0;
    t->feature_select[0] = t->feature_select[1] = 0;
    t->config_vector = VIRTIO_NO_VECTOR;
    t->queue_select = 0;
    t->resume_mask = 0;
    timer_cancel(t->resume);
    for (unsigned i = 0; i < t->queue_count; i++)
        virtqueue_reset(&t->queues[i]);
    pci_set_intx(&t->pci, false);
}

uint8_t virtio_pci_status(const VirtioPci *t)
{
    // 2.4.1: the device reads as not yet reset while old requests can still write to memory.
    if (!t->status && t->quiet_status && t->class->busy && t->class->busy(t->device))
        return t->quiet_status;
    return t->status;
}

void virtio_pci_set_status(VirtioPci *t, uint8_t value, bool legacy)
{
    if (!value) {
        reset_transport(t);
        return;
    }
    uint8_t risen = value & ~t->status;
    // The old interface has no refusal: what was not offered counts as not taken.
    if (legacy) {
        t->driver_features &= t->offered_features;
        apply_features(t);
    }
    if (!legacy && (risen & VIRTIO_STATUS_FEATURES_OK) &&
        ((t->driver_features & ~t->offered_features) ||
         !virtio_pci_has(t, VIRTIO_F_VERSION_1))) {
        guest_log_once(t->class->name, "features-refused", "%#" G_GINT64_MODIFIER "x",
                       t->driver_features);
        value &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    }
    t->status = value | (t->status & VIRTIO_STATUS_NEEDS_RESET);
    if (risen & value & VIRTIO_STATUS_DRIVER_OK) {
        if (t->class->driver_ready)
            t->class->driver_ready(t->device);
        kick_all(t);
    }
}

uint8_t virtio_pci_read_isr(VirtioPci *t)
{
    uint8_t isr = t->isr;
    t->isr = 0;
    pci_set_intx(&t->pci, false);
    return isr;
}

void virtio_pci_set_vector(VirtioPci *t, uint16_t *vector, uint64_t value)
{
    *vector = value < t->pci.msix_vectors ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

Virtqueue *virtio_pci_selected(VirtioPci *t)
{
    return t->queue_select < t->queue_count ? &t->queues[t->queue_select] : NULL;
}

void virtio_pci_disable_queue(VirtioPci *t, Virtqueue *queue)
{
    uint16_t vector = queue->state.vector;
    virtqueue_reset(queue);
    queue->state.vector = vector;
    apply_features(t);
    t->epoch++;
}

uint64_t virtio_pci_config_get(VirtioPci *t, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size && offset + i < t->class->config_size; i++)
        value |= (uint64_t)t->config[offset + i] << i * 8;
    return value;
}

void virtio_pci_config_put(VirtioPci *t, uint64_t offset, unsigned size, uint64_t value)
{
    uint8_t bytes[8];
    le64_write(bytes, value);
    if (t->class->config_write && offset + size <= t->class->config_size)
        t->class->config_write(t->device, (unsigned)offset, size, bytes);
}

static void config_space_read(void *device, unsigned offset, unsigned size)
{
    virtio_modern_window_read(device, offset, size);
}

static void config_space_written(void *device, unsigned offset, unsigned size)
{
    VirtioPci *t = device;
    virtio_modern_window_written(t, offset, size);
    // Notifications that came while the device could not master the bus are made up for.
    bool master = pci_bus_master(&t->pci);
    if (master && !t->bus_master)
        kick_all(t);
    t->bus_master = master;
}

// A ROM BAR is a power of two of pages; the image is padded with FFh, as an EPROM would be.
static bool load_rom(VirtioPci *t, const VirtioPciConfig *config, PciBarConfig *bar, GError **error)
{
    if (!config->rom || !config->rom_size)
        return true;
    if (config->rom_size > 16 * 1024 * 1024) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s: an option ROM of %zu bytes is too large (at most 16 MiB)",
                    t->class->name, config->rom_size);
        return false;
    }
    uint32_t size = GUEST_PAGE_SIZE;
    while (size < config->rom_size)
        size *= 2;
    t->rom = g_aligned_alloc(1, size, GUEST_PAGE_SIZE);
    memset(t->rom, 0xff, size);
    memcpy(t->rom, config->rom, config->rom_size);
    *bar = (PciBarConfig){ .kind = PCI_BAR_ROM, .size = size, .host = t->rom };
    return true;
}

bool virtio_pci_init(VirtioPci *t, const VirtioClass *class, const VirtioPciConfig *config,
                     void *device, const DeviceHost *host, GError **error)
{
    g_return_val_if_fail(host->pci && config->queue_count <= VIRTIO_MAX_QUEUES, false);
    bool legacy = !config->modern_only;
    PciConfig pci = {
        .name = class->name,
        .devfn = config->devfn,
        .vendor = VIRTIO_VENDOR,
        .device = legacy ? class->transitional_id : (uint16_t)(0x1040 + class->device_id),
        .revision = legacy ? 0 : 1, // 4.1.2.1
        .subsystem_vendor = VIRTIO_VENDOR,
        // An old driver reads the device type here (4.1.2.3).
        .subsystem = legacy ? class->device_id : 0x1100,
        .class_code = class->pci_class,
        .interrupt_pin = 1,
    };
    pci.bars[VIRTIO_BAR_MODERN] = (PciBarConfig){ .kind = PCI_BAR_MMIO, .size = VIRTIO_MODERN_SIZE,
                                                  .ops = &virtio_modern_ops };
    if (legacy)
        pci.bars[VIRTIO_BAR_LEGACY] = (PciBarConfig){ .kind = PCI_BAR_PORTS,
                                                      .size = VIRTIO_LEGACY_SIZE,
                                                      .ops = &virtio_legacy_ops };
    t->class = class;
    if (!load_rom(t, config, &pci.bars[6], error))
        return false;
    if (!pci_add(host->pci, &t->pci, &pci, t, error)) {
        g_clear_pointer(&t->rom, g_aligned_free);
        t->pci.bus = NULL;
        return false;
    }
    t->pci.config_read = config_space_read;
    t->pci.config_written = config_space_written;
    t->device = device;
    t->clock = host->clock;
    t->resume = timer_new(host->clock, resume_expired, t);
    t->offered_features = config->features | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
                          VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    t->queue_count = config->queue_count;
    for (unsigned i = 0; i < t->queue_count; i++)
        virtqueue_init(&t->queues[i], class->name, host->memory, config->queue_sizes[i],
                       queue_broken, t);
    pci_add_msix(&t->pci, VIRTIO_MSIX_VECTORS(t->queue_count), VIRTIO_BAR_MODERN,
                 VIRTIO_MSIX_TABLE, VIRTIO_MSIX_PBA);
    virtio_modern_add_capabilities(t);
    t->config_vector = VIRTIO_NO_VECTOR;
    return true;
}

void virtio_pci_clear(VirtioPci *t)
{
    if (!t->pci.bus)
        return;
    pci_remove(&t->pci);
    timer_free(t->resume);
    for (unsigned i = 0; i < t->queue_count; i++)
        virtqueue_clear(&t->queues[i]);
    g_clear_pointer(&t->rom, g_aligned_free);
    t->pci.bus = NULL;
}

void virtio_pci_machine_reset(VirtioPci *t)
{
    reset_transport(t);
    t->quiet_status = 0;
    t->generation = 0;
    pci_reset(&t->pci);
    t->bus_master = false;
    uint8_t *window = t->pci.config + t->window_offset;
    window[4] = 0;
    memset(window + 8, 0, 12);
}

gboolean virtio_pci_post_load(VirtioPci *t, GError **error)
{
    for (unsigned i = 0; i < t->queue_count; i++) {
        VirtqueueState *s = &t->queues[i].state;
        bool power_of_two = s->size && !(s->size & (s->size - 1));
        if (!power_of_two || s->size > t->queues[i].max_size ||
            (s->vector != VIRTIO_NO_VECTOR && s->vector >= t->pci.msix_vectors)) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "%s: queue %u of size %u with vector %u is impossible", t->class->name, i,
                        s->size, s->vector);
            return FALSE;
        }
    }
    // A driver may write what it likes until FEATURES_OK.
    if (((t->status & VIRTIO_STATUS_FEATURES_OK) &&
         (t->driver_features & ~t->offered_features)) ||
        (t->config_vector != VIRTIO_NO_VECTOR && t->config_vector >= t->pci.msix_vectors)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "%s: saved features or vector are not offered here", t->class->name);
        return FALSE;
    }
    t->bus_master = pci_bus_master(&t->pci);
    apply_features(t);
    pci_restore(&t->pci);
    // A notification may have been on its way when the state was saved.
    for (unsigned i = 0; i < t->queue_count; i++)
        virtio_pci_resume(t, i);
    return TRUE;
}
