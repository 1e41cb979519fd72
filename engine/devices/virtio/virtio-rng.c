// SPDX-License-Identifier: GPL-2.0-or-later
// virtio entropy device, following VIRTIO 1.2, section 5.4: fills the driver's buffers with random
// bytes, at a bounded rate, so that a guest that asks without end costs the host little.
#include "engine/devices/virtio/virtio-rng.h"

#include "engine/devices/virtio/virtio-pci.h"

#include <gio/gio.h>
#include <sys/random.h>

enum {
    QUEUE_SIZE = 64,
    REQUEST_MAX = 4096, // bytes for one buffer; a driver reads how many it got
    PERIODS_PER_SECOND = 10,
    DEFAULT_RATE = 1024 * 1024,
};

typedef struct {
    VirtioPci transport;
    void (*fill)(void *opaque, void *buffer, size_t size);
    void *opaque;
    Clock *clock;
    uint32_t quota; // bytes a period
    // Saved.
    uint32_t left;        // of this period's quota
    int64_t period_start; // virtual time, ns
    Timer *period;        // armed while a request waits for quota
} VirtioRng;

static void host_random(void *opaque, void *buffer, size_t size)
{
    // Up to 256 bytes at once never come short once the host's pool is seeded.
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom((uint8_t *)buffer + done, MIN(size - done, 256), GRND_NONBLOCK);
        if (got <= 0) {
            memset((uint8_t *)buffer + done, 0, size - done);
            return;
        }
        done += (size_t)got;
    }
}

static bool queue_notify(void *device, unsigned index)
{
    VirtioRng *rng = device;
    Virtqueue *queue = &rng->transport.queues[0];
    uint8_t bytes[REQUEST_MAX];
    VirtChain chain;
    bool pushed = false;
    int64_t now = clock_now(rng->clock);
    int64_t period = NS_PER_SECOND / PERIODS_PER_SECOND;
    if (now - rng->period_start >= period || now < rng->period_start) {
        rng->period_start = now;
        rng->left = rng->quota;
    }
    while (rng->left && virtqueue_pop(queue, &chain)) {
        size_t size = MIN(MIN(chain.in_size, REQUEST_MAX), rng->left);
        rng->fill(rng->opaque, bytes, size);
        virtqueue_write(queue, &chain, 0, bytes, size);
        virtqueue_push(queue, chain.head, (uint32_t)size);
        // Even a buffer without room costs something, or an endless ring would be free.
        rng->left -= MIN(rng->left, MAX(size, 16));
        pushed = true;
    }
    if (!rng->left)
        timer_arm(rng->period, rng->period_start + period);
    if (pushed)
        virtio_pci_notify(&rng->transport, 0);
    return false;
}

static void period_expired(void *opaque)
{
    VirtioRng *rng = opaque;
    virtio_pci_resume(&rng->transport, 0);
}

static void driver_reset(void *device)
{
    VirtioRng *rng = device;
    timer_cancel(rng->period);
}

static const VirtioClass class = {
    .name = "virtio-rng",
    .device_id = 4,
    .transitional_id = 0x1005,
    .pci_class = 0x00ff00,
    .reset = driver_reset,
    .queue_notify = queue_notify,
};

static void virtio_rng_destroy(void *device)
{
    VirtioRng *rng = device;
    if (!rng)
        return;
    timer_free(rng->period);
    virtio_pci_clear(&rng->transport);
    g_free(rng);
}

static void *virtio_rng_create(const void *config, const DeviceHost *host, GError **error)
{
    const VirtioRngConfig *c = config;
    static const uint16_t sizes[] = { QUEUE_SIZE };
    VirtioPciConfig pci = { .devfn = c->devfn, .modern_only = c->modern_only, .queue_count = 1,
                            .queue_sizes = sizes };
    VirtioRng *rng = g_new0(VirtioRng, 1);
    if (!virtio_pci_init(&rng->transport, &class, &pci, rng, host, error)) {
        g_free(rng);
        return NULL;
    }
    uint32_t rate = c->bytes_per_second ? c->bytes_per_second : DEFAULT_RATE;
    rng->fill = c->fill ? c->fill : host_random;
    rng->opaque = c->opaque;
    rng->clock = host->clock;
    rng->quota = MAX(rate / PERIODS_PER_SECOND, 64);
    rng->left = rng->quota;
    rng->period = timer_new(host->clock, period_expired, rng);
    return rng;
}

static void virtio_rng_reset(void *device, ResetKind kind)
{
    VirtioRng *rng = device;
    virtio_pci_machine_reset(&rng->transport);
    rng->left = rng->quota;
    rng->period_start = clock_now(rng->clock);
}

static gboolean virtio_rng_post_load(void *object, GError **error)
{
    VirtioRng *rng = object;
    // A quota that is larger or lies in the future ends with the next request.
    rng->left = MIN(rng->left, rng->quota);
    return virtio_pci_post_load(&rng->transport, error);
}

static const StateField virtio_rng_fields[] = {
    VIRTIO_PCI_STATE_FIELDS(VirtioRng, transport, 1),
    VIRTIO_PCI_QUEUE_FIELD(VirtioRng, transport, 0),
    STATE_SCALAR(VirtioRng, left, STATE_U32),
    STATE_SCALAR(VirtioRng, period_start, STATE_U64),
};

static const StateTable virtio_rng_state = {
    "virtio-rng", 1, virtio_rng_fields, G_N_ELEMENTS(virtio_rng_fields), virtio_rng_post_load, NULL,
};

const DeviceOps virtio_rng_ops = {
    .name = "virtio-rng",
    .spec = "VIRTIO 1.2, section 5.4",
    .create = virtio_rng_create,
    .reset = virtio_rng_reset,
    .state = &virtio_rng_state,
    .destroy = virtio_rng_destroy,
};
