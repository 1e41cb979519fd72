// SPDX-License-Identifier: GPL-2.0-or-later
// A serial port of the guest as a SPICE port channel (org.lodge.serial.N). The guest never waits
// for a client: what it sends goes into a bounded history, from which a client that attaches gets
// the newest part first, and a client that reads too slowly loses the oldest bytes.
#include "engine/spice/spice-private.h"

#define HISTORY_MAX (64u * 1024)
#define PENDING_MAX (256u * 1024)

// Keeps the newest `limit` bytes; trims by halves, so that a byte costs little.
static void append_bounded(GByteArray *to, const uint8_t *data, size_t size, size_t limit)
{
    if (size > limit) {
        data += size - limit;
        size = limit;
    }
    if (to->len + size > 2 * limit)
        g_byte_array_remove_range(to, 0, (guint)(to->len + size - limit));
    g_byte_array_append(to, data, (guint)size);
}

static gboolean wake_client(gpointer data)
{
    SpiceSerial *s = data;
    g_mutex_lock(&s->lock);
    s->wake_posted = false;
    g_mutex_unlock(&s->lock);
    spice_server_char_device_wakeup(&s->device);
    return G_SOURCE_REMOVE;
}

// Under the lock.
static void post_wake(SpiceSerial *s)
{
    if (s->wake_posted || !s->listening)
        return;
    s->wake_posted = true;
    lodge_spice_post(s->spice, wake_client, s);
}

// ---- the device's side: machine lock held ----

static size_t backend_write(void *opaque, const uint8_t *data, size_t size)
{
    SpiceSerial *s = opaque;
    g_mutex_lock(&s->lock);
    append_bounded(s->history, data, size, HISTORY_MAX);
    if (s->listening)
        append_bounded(s->pending, data, size, PENDING_MAX);
    post_wake(s);
    g_mutex_unlock(&s->lock);
    return size;
}

static void backend_attach(void *opaque, const CharFrontend *frontend)
{
    SpiceSerial *s = opaque;
    g_mutex_lock(&s->lock);
    s->has_frontend = frontend != NULL;
    if (frontend)
        s->frontend = *frontend;
    g_mutex_unlock(&s->lock);
}

static void backend_room(void *opaque)
{
    SpiceSerial *s = opaque;
    g_mutex_lock(&s->lock);
    post_wake(s); // makes libspice offer again what was not taken
    g_mutex_unlock(&s->lock);
}

// ---- the client's side: spice thread ----

static void device_state(SpiceCharDeviceInstance *device, int connected)
{
    SpiceSerial *s = SPICE_CONTAINEROF(device, SpiceSerial, device);
    if (s->attached == (connected != 0))
        return;
    s->attached = connected;
    g_mutex_lock(&s->lock);
    s->listening = connected;
    g_byte_array_set_size(s->pending, 0);
    if (connected) {
        guint start = s->history->len > HISTORY_MAX ? s->history->len - HISTORY_MAX : 0;
        g_byte_array_append(s->pending, s->history->data + start, s->history->len - start);
        post_wake(s);
    }
    g_mutex_unlock(&s->lock);
    if (connected)
        spice_server_port_event(device, SPICE_PORT_EVENT_OPENED);
}

static int device_write(SpiceCharDeviceInstance *device, const uint8_t *data, int size)
{
    SpiceSerial *s = SPICE_CONTAINEROF(device, SpiceSerial, device);
    size_t taken = 0;
    g_mutex_lock(s->spice->machine_lock);
    // The device attaches and detaches under the machine lock only.
    if (!s->has_frontend) {
        taken = (size_t)MAX(size, 0); // nobody there: the bytes are lost, as on a cut wire
    } else if (size > 0) {
        taken = MIN(s->frontend.can_receive(s->frontend.opaque), (size_t)size);
        if (taken)
            s->frontend.receive(s->frontend.opaque, data, taken);
    }
    g_mutex_unlock(s->spice->machine_lock);
    return (int)taken;
}

static int device_read(SpiceCharDeviceInstance *device, uint8_t *buffer, int size)
{
    SpiceSerial *s = SPICE_CONTAINEROF(device, SpiceSerial, device);
    g_mutex_lock(&s->lock);
    guint count = MIN(s->pending->len, (guint)MAX(size, 0));
    if (count) {
        memcpy(buffer, s->pending->data, count);
        g_byte_array_remove_range(s->pending, 0, count);
    }
    g_mutex_unlock(&s->lock);
    return (int)count;
}

static void device_event(SpiceCharDeviceInstance *device, uint8_t event)
{
}

static const SpiceCharDeviceInterface device_interface = {
    .base = { SPICE_INTERFACE_CHAR_DEVICE, "lodge serial port", SPICE_INTERFACE_CHAR_DEVICE_MAJOR,
              SPICE_INTERFACE_CHAR_DEVICE_MINOR },
    .state = device_state,
    .write = device_write,
    .read = device_read,
    .event = device_event,
};

// Before the spice thread runs: the backend can be given to a device at once.
void lodge_spice_serial_prepare(LodgeSpice *spice, unsigned index)
{
    SpiceSerial *s = &spice->serial[index];
    s->spice = spice;
    g_mutex_init(&s->lock);
    s->history = g_byte_array_new();
    s->pending = g_byte_array_new();
    s->port_name = g_strdup_printf("org.lodge.serial.%u", index);
    s->backend = (CharBackend){ .write = backend_write, .attach = backend_attach,
                                .room = backend_room, .opaque = s };
    s->device.base.sif = &device_interface.base;
    s->device.subtype = "port";
    s->device.portname = s->port_name;
}

bool lodge_spice_serial_open(LodgeSpice *spice, unsigned index)
{
    return spice_server_add_interface(spice->server, &spice->serial[index].device.base) == 0;
}

void lodge_spice_serial_free(LodgeSpice *spice, unsigned index)
{
    SpiceSerial *s = &spice->serial[index];
    g_byte_array_unref(s->history);
    g_byte_array_unref(s->pending);
    g_free(s->port_name);
    g_mutex_clear(&s->lock);
}
