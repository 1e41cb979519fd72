// SPDX-License-Identifier: GPL-2.0-or-later
// virtio console device, following VIRTIO 1.2, section 5.3: several ports with names, each a pair
// of queues, announced over a pair of control queues. No window size (a byte stream has none).
//
// What the driver still has to be told is kept as bits for each port, not as a list of messages,
// so that neither a driver that never reads nor one that asks without end makes anything grow.
#include "engine/devices/virtio/virtio-console.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/devices/virtio/virtio-pci.h"

#include <gio/gio.h>

enum {
    PORTS = VIRTIO_CONSOLE_PORTS_MAX,
    QUEUES = PORTS * 2 + 2,
    QUEUE_SIZE = 64,
    QUEUE_CONTROL_RECEIVE = 2, // towards the driver
    QUEUE_CONTROL_TRANSMIT = 3,
    CHUNK = 4096,
    NAME_MAX_SIZE = 64,
    RETRY_NS = 10 * 1000 * 1000, // how often a backend that is full is offered bytes again
};

enum { CONSOLE_F_MULTIPORT = 1, CONSOLE_F_EMERG_WRITE = 2 };

// Configuration space (5.3.4).
enum { CONFIG_MAX_PORTS = 4, CONFIG_EMERG_WRITE = 8, CONFIG_SIZE = 12 };

// Control messages (5.3.6.2): id, event, value.
enum {
    CONTROL_SIZE = 8,
    EVENT_DEVICE_READY = 0,
    EVENT_DEVICE_ADD = 1,
    EVENT_PORT_READY = 3,
    EVENT_CONSOLE_PORT = 4,
    EVENT_PORT_OPEN = 6,
    EVENT_PORT_NAME = 7,
};

// What the driver has to be told of a port, in the order in which it is.
enum { TELL_ADD = 1 << 0, TELL_CONSOLE = 1 << 1, TELL_NAME = 1 << 2, TELL_OPEN = 1 << 3 };

typedef struct VirtioConsole VirtioConsole;

typedef struct {
    VirtioConsole *console;
    unsigned id;
    char *name;
    const CharBackend *backend;
    bool wants_room; // the backend holds bytes for us
    bool stalled;    // the backend did not take everything
} Port;

struct VirtioConsole {
    VirtioPci transport;
    Port ports[PORTS];
    unsigned port_count;
    unsigned console_mask;
    Clock *clock;
    Timer *retry;
    // Saved, one element a port.
    uint8_t tell[PORTS];
    bool guest_open[PORTS];
    uint32_t transmit_offset[PORTS]; // bytes of the next chain that the backend has taken
};

static unsigned receive_queue(unsigned port)
{
    return port ? port * 2 + 2 : 0;
}

// 5.3.2: queues 0 and 1 are port 0, 2 and 3 control, then pairs for the other ports.
static unsigned port_of_queue(unsigned queue)
{
    return queue < 2 ? 0 : queue / 2 - 1;
}

static bool multiport(const VirtioConsole *console)
{
    return virtio_pci_has(&console->transport, CONSOLE_F_MULTIPORT);
}

// Port 0 without the multiport feature is always open.
static bool port_open(const Port *port)
{
    return port->console->guest_open[port->id] || !multiport(port->console);
}

static size_t can_receive(void *opaque)
{
    Port *port = opaque;
    VirtioConsole *console = port->console;
    bool can = virtio_pci_live(&console->transport) && port_open(port) &&
               virtqueue_has_chain(&console->transport.queues[receive_queue(port->id)]);
    port->wants_room = !can;
    return can ? CHUNK : 0;
}

static void receive(void *opaque, const uint8_t *data, size_t size)
{
    Port *port = opaque;
    VirtioConsole *console = port->console;
    unsigned index = receive_queue(port->id);
    Virtqueue *queue = &console->transport.queues[index];
    VirtChain chain;
    size_t done = 0;
    if (!virtio_pci_live(&console->transport))
        return;
    // One byte a buffer at least, so a chain without room is given back empty and ends the loop.
    while (done < size && virtqueue_pop(queue, &chain)) {
        size_t piece = virtqueue_write(queue, &chain, 0, data + done, size - done);
        virtqueue_push(queue, chain.head, (uint32_t)piece);
        done += piece;
        if (!piece)
            break;
    }
    if (done < size)
        guest_log_once(virtio_console_ops.name, "receive", "%zu bytes had no room", size - done);
    virtio_pci_notify(&console->transport, index);
}

static void offer_room(Port *port)
{
    if (port->wants_room && port->backend && port->backend->room && can_receive(port))
        port->backend->room(port->backend->opaque);
}

// Sends what a port's driver has written. Returns true where it stopped early.
static bool transmit(VirtioConsole *console, Port *port)
{
    unsigned index = receive_queue(port->id) + 1;
    Virtqueue *queue = &console->transport.queues[index];
    uint32_t *offset = &console->transmit_offset[port->id];
    uint8_t bytes[CHUNK];
    VirtChain chain;
    unsigned handled = 0;
    port->stalled = false;
    while (handled < QUEUE_SIZE && virtqueue_pop(queue, &chain)) {
        size_t size = virtqueue_read(queue, &chain, *offset, bytes, sizeof bytes);
        size_t taken = size;
        if (size && port->backend)
            taken = port->backend->write(port->backend->opaque, bytes, size);
        handled++;
        // A chain is as long as a guest makes it; the offset stays within 32 bits.
        if (*offset + (uint64_t)taken < chain.out_size && *offset < UINT32_MAX - CHUNK) {
            *offset += (uint32_t)taken;
            virtqueue_unpop(queue, 1);
            if (taken == size)
                continue;
            port->stalled = true;
            timer_arm(console->retry, clock_now(console->clock) + RETRY_NS);
            break;
        }
        *offset = 0;
        virtqueue_push(queue, chain.head, 0);
    }
    virtio_pci_notify(&console->transport, index);
    return handled == QUEUE_SIZE;
}

static void retry_expired(void *opaque)
{
    VirtioConsole *console = opaque;
    for (unsigned i = 0; i < console->port_count; i++) {
        if (console->ports[i].stalled)
            virtio_pci_resume(&console->transport, receive_queue(i) + 1);
    }
}

// Puts one control message into the driver's next buffer. False where it offers none.
static bool send_control(VirtioConsole *console, unsigned id, uint16_t event, uint16_t value,
                         const char *text)
{
    Virtqueue *queue = &console->transport.queues[QUEUE_CONTROL_RECEIVE];
    uint8_t message[CONTROL_SIZE + NAME_MAX_SIZE];
    VirtChain chain;
    size_t size = CONTROL_SIZE;
    if (!virtqueue_pop(queue, &chain))
        return false;
    le32_write(message, id);
    le16_write(message + 4, event);
    le16_write(message + 6, value);
    if (text) {
        // The name goes without its terminator (5.3.6.2).
        size_t length = MIN(strlen(text), NAME_MAX_SIZE);
        memcpy(message + CONTROL_SIZE, text, length);
        size += length;
    }
    size = virtqueue_write(queue, &chain, 0, message, size);
    virtqueue_push(queue, chain.head, (uint32_t)size);
    return true;
}

static bool tell_one(VirtioConsole *console, unsigned id, uint8_t what)
{
    switch (what) {
    case TELL_ADD:
        return send_control(console, id, EVENT_DEVICE_ADD, 1, NULL);
    case TELL_CONSOLE:
        return send_control(console, id, EVENT_CONSOLE_PORT, 1, NULL);
    case TELL_NAME:
        return send_control(console, id, EVENT_PORT_NAME, 1, console->ports[id].name);
    default:
        return send_control(console, id, EVENT_PORT_OPEN, 1, NULL);
    }
}

// Tells the driver what it has buffers for.
static void tell(VirtioConsole *console)
{
    for (unsigned id = 0; id < console->port_count; id++) {
        for (uint8_t what = TELL_ADD; what <= TELL_OPEN; what = (uint8_t)(what << 1)) {
            if (!(console->tell[id] & what))
                continue;
            if (!tell_one(console, id, what))
                goto out;
            console->tell[id] &= (uint8_t)~what;
        }
    }
out:
    virtio_pci_notify(&console->transport, QUEUE_CONTROL_RECEIVE);
}

static void port_ready(VirtioConsole *console, unsigned id)
{
    if (console->console_mask >> id & 1)
        console->tell[id] |= TELL_CONSOLE;
    if (console->ports[id].name)
        console->tell[id] |= TELL_NAME;
    console->tell[id] |= TELL_OPEN;
}

static void set_guest_open(VirtioConsole *console, unsigned id, bool open)
{
    Port *port = &console->ports[id];
    if (console->guest_open[id] == open)
        return;
    console->guest_open[id] = open;
    if (port->backend && port->backend->open_changed)
        port->backend->open_changed(port->backend->opaque, open);
    offer_room(port);
}

static void handle_control(VirtioConsole *console, const uint8_t *message)
{
    uint32_t id = le32_read(message);
    uint16_t event = le16_read(message + 4), value = le16_read(message + 6);
    if (event == EVENT_DEVICE_READY) {
        for (unsigned i = 0; value == 1 && i < console->port_count; i++)
            console->tell[i] |= TELL_ADD;
        return;
    }
    if (id >= console->port_count) {
        guest_log_once(virtio_console_ops.name, "port", "no port %u", id);
        return;
    }
    if (event == EVENT_PORT_READY && value == 1)
        port_ready(console, id);
    else if (event == EVENT_PORT_OPEN)
        set_guest_open(console, id, value == 1);
}

static bool control(VirtioConsole *console)
{
    Virtqueue *queue = &console->transport.queues[QUEUE_CONTROL_TRANSMIT];
    uint8_t message[CONTROL_SIZE];
    VirtChain chain;
    unsigned handled = 0;
    while (handled < QUEUE_SIZE && virtqueue_pop(queue, &chain)) {
        if (virtqueue_read(queue, &chain, 0, message, sizeof message) == sizeof message)
            handle_control(console, message);
        virtqueue_push(queue, chain.head, 0);
        handled++;
    }
    virtio_pci_notify(&console->transport, QUEUE_CONTROL_TRANSMIT);
    tell(console);
    return handled == QUEUE_SIZE;
}

static bool queue_notify(void *device, unsigned queue)
{
    VirtioConsole *console = device;
    if (queue == QUEUE_CONTROL_RECEIVE) {
        tell(console);
        return false;
    }
    if (queue == QUEUE_CONTROL_TRANSMIT)
        return control(console);
    unsigned id = port_of_queue(queue);
    if (id >= console->port_count)
        return false;
    if (queue & 1)
        return transmit(console, &console->ports[id]);
    offer_room(&console->ports[id]);
    return false;
}

static void driver_reset(void *device)
{
    VirtioConsole *console = device;
    timer_cancel(console->retry);
    for (unsigned i = 0; i < PORTS; i++) {
        if (i < console->port_count)
            set_guest_open(console, i, false);
        console->tell[i] = 0;
        console->transmit_offset[i] = 0;
        console->ports[i].stalled = false;
    }
}

// One character to the console, for a driver that has no queues yet (5.3.4).
static void config_write(void *device, unsigned offset, unsigned size, const uint8_t *bytes)
{
    VirtioConsole *console = device;
    const CharBackend *backend = console->ports[0].backend;
    if (offset == CONFIG_EMERG_WRITE && backend)
        backend->write(backend->opaque, bytes, 1);
}

static const VirtioClass class = {
    .name = "virtio-console",
    .device_id = 3,
    .transitional_id = 0x1003,
    .pci_class = 0x078000,
    .config_size = CONFIG_SIZE,
    .reset = driver_reset,
    .queue_notify = queue_notify,
    .config_write = config_write,
};

static void virtio_console_destroy(void *device)
{
    VirtioConsole *console = device;
    if (!console)
        return;
    for (unsigned i = 0; i < console->port_count; i++) {
        const CharBackend *backend = console->ports[i].backend;
        if (backend && backend->attach)
            backend->attach(backend->opaque, NULL);
        g_free(console->ports[i].name);
    }
    timer_free(console->retry);
    virtio_pci_clear(&console->transport);
    g_free(console);
}

static void attach_ports(VirtioConsole *console, const VirtioConsoleConfig *c)
{
    for (unsigned i = 0; i < PORTS; i++)
        console->ports[i] = (Port){ .console = console, .id = i };
    for (unsigned i = 0; i < console->port_count; i++) {
        Port *port = &console->ports[i];
        CharFrontend frontend = { can_receive, receive, port };
        port->name = g_strdup(c->ports[i].name);
        port->backend = c->ports[i].backend;
        if (port->backend && port->backend->attach)
            port->backend->attach(port->backend->opaque, &frontend);
    }
}

static void *virtio_console_create(const void *config, const DeviceHost *host, GError **error)
{
    const VirtioConsoleConfig *c = config;
    uint16_t sizes[QUEUES];
    for (unsigned i = 0; i < QUEUES; i++)
        sizes[i] = QUEUE_SIZE;
    VirtioPciConfig pci = { .devfn = c->devfn, .modern_only = c->modern_only,
                            .features = VIRTIO_FEATURE(CONSOLE_F_MULTIPORT) |
                                        VIRTIO_FEATURE(CONSOLE_F_EMERG_WRITE),
                            .queue_count = QUEUES, .queue_sizes = sizes };
    if (c->port_count < 1 || c->port_count > PORTS) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a virtio console has 1 to %u ports, not %u", PORTS, c->port_count);
        return NULL;
    }
    VirtioConsole *console = g_new0(VirtioConsole, 1);
    if (!virtio_pci_init(&console->transport, &class, &pci, console, host, error)) {
        g_free(console);
        return NULL;
    }
    console->port_count = c->port_count;
    console->console_mask = c->console_mask;
    console->clock = host->clock;
    console->retry = timer_new(host->clock, retry_expired, console);
    le32_write(console->transport.config + CONFIG_MAX_PORTS, PORTS);
    attach_ports(console, c);
    return console;
}

static void virtio_console_reset(void *device, ResetKind kind)
{
    VirtioConsole *console = device;
    virtio_pci_machine_reset(&console->transport);
}

static gboolean virtio_console_post_load(void *object, GError **error)
{
    VirtioConsole *console = object;
    for (unsigned i = 0; i < PORTS; i++) {
        bool unused = i >= console->port_count;
        if ((console->tell[i] & ~(TELL_ADD | TELL_CONSOLE | TELL_NAME | TELL_OPEN)) ||
            (unused && (console->tell[i] || console->guest_open[i]))) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "virtio-console: port %u is in an impossible state", i);
            return FALSE;
        }
        console->ports[i].wants_room = true;
    }
    return virtio_pci_post_load(&console->transport, error);
}

static const StateField virtio_console_fields[] = {
    VIRTIO_PCI_STATE_FIELDS(VirtioConsole, transport, QUEUES),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 0),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 1),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 2),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 3),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 4),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 5),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 6),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 7),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 8),
    VIRTIO_PCI_QUEUE_FIELD(VirtioConsole, transport, 9),
    STATE_ARRAY(VirtioConsole, tell, STATE_U8),
    STATE_ARRAY(VirtioConsole, guest_open, STATE_BOOL),
    STATE_ARRAY(VirtioConsole, transmit_offset, STATE_U32),
};

static const StateTable virtio_console_state = {
    "virtio-console", 1, virtio_console_fields, G_N_ELEMENTS(virtio_console_fields),
    virtio_console_post_load, NULL,
};

const DeviceOps virtio_console_ops = {
    .name = "virtio-console",
    .spec = "VIRTIO 1.2, section 5.3",
    .create = virtio_console_create,
    .reset = virtio_console_reset,
    .state = &virtio_console_state,
    .destroy = virtio_console_destroy,
};
