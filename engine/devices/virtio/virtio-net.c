// SPDX-License-Identifier: GPL-2.0-or-later
// virtio network device, following VIRTIO 1.2, section 5.1: one pair of queues, a control queue,
// merged receive buffers, and checksum and TCP segmentation offload on transmit. The backend takes
// plain frames, so offload is done here: a guest under emulation runs many times slower than this
// loop, which makes sums and headers cheaper here than there.
#include "engine/devices/virtio/virtio-net.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/bus/net-offload.h"
#include "engine/devices/virtio/virtio-pci.h"

#include <gio/gio.h>
#include <string.h>

enum {
    QUEUE_RECEIVE = 0,
    QUEUE_TRANSMIT = 1,
    QUEUE_CONTROL = 2,
    QUEUES = 3,
    QUEUE_SIZE = 256,
    CONTROL_SIZE = 64,
    MAC_TABLE_MAX = 64,
    MERGE_MAX = 64,      // buffers that one frame is spread over
    HEADER_SEGMENTS = 12 // segments that surely hold the 12 bytes of header
};

// Feature bits (5.1.3).
enum {
    NET_F_CSUM = 0,
    NET_F_GUEST_CSUM = 1,
    NET_F_MAC = 5,
    NET_F_HOST_TSO4 = 11,
    NET_F_HOST_TSO6 = 12,
    NET_F_HOST_ECN = 13,
    NET_F_MRG_RXBUF = 15,
    NET_F_STATUS = 16,
    NET_F_CTRL_VQ = 17,
    NET_F_CTRL_RX = 18,
    NET_F_CTRL_RX_EXTRA = 20,
    NET_F_CTRL_MAC_ADDR = 23,
};

// struct virtio_net_hdr (5.1.6).
enum {
    HEADER_FLAGS = 0,
    HEADER_GSO_TYPE = 1,
    HEADER_GSO_SIZE = 4,
    HEADER_CSUM_START = 6,
    HEADER_CSUM_OFFSET = 8,
    HEADER_BUFFERS = 10,
    HEADER_LEGACY_SIZE = 10,
    HEADER_SIZE = 12,
    FLAG_NEEDS_CSUM = 1,
    FLAG_DATA_VALID = 2,
    GSO_NONE = 0,
    GSO_TCPV4 = 1,
    GSO_TCPV6 = 4,
    GSO_ECN = 0x80,
};

// Configuration space (5.1.4).
enum { CONFIG_MAC = 0, CONFIG_STATUS = 6, CONFIG_SIZE = 8, STATUS_LINK_UP = 1 };

// Control commands (5.1.6.5).
enum {
    CONTROL_RX = 0,
    CONTROL_MAC = 1,
    RX_PROMISC = 0,
    RX_ALLMULTI = 1,
    RX_ALLUNI = 2,
    RX_NOMULTI = 3,
    RX_NOUNI = 4,
    RX_NOBCAST = 5,
    RX_MODES = 6,
    MAC_TABLE_SET = 0,
    MAC_ADDR_SET = 1,
    CONTROL_OK = 0,
    CONTROL_ERROR = 1,
};

typedef struct {
    VirtioPci transport;
    NetBackend backend;
    uint8_t permanent_mac[6];
    bool wants_room; // the backend holds frames for us
    // Saved.
    uint8_t mac[6];
    bool rx_modes[RX_MODES]; // by command
    uint8_t unicast_count;   // of mac_table, unicast first
    uint8_t multicast_count;
    bool unicast_overflow; // more were asked for than there is room: take all
    bool multicast_overflow;
    uint8_t mac_table[MAC_TABLE_MAX * 6];
    // Scratch, one frame each.
    uint8_t *frame;
    uint8_t *segment;
} VirtioNet;

static size_t header_size(const VirtioNet *net)
{
    // 5.1.6.1: num_buffers is there always in the modern interface, else with merged buffers.
    return virtio_pci_has(&net->transport, VIRTIO_F_VERSION_1) ||
                   virtio_pci_has(&net->transport, NET_F_MRG_RXBUF)
               ? HEADER_SIZE
               : HEADER_LEGACY_SIZE;
}

static bool in_table(const VirtioNet *net, const uint8_t *mac, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        if (!memcmp(net->mac_table + i * 6, mac, 6))
            return true;
    }
    return false;
}

// The receive filter (5.1.6.5.1). A driver that never set one gets what is for its address.
static bool wanted(const VirtioNet *net, const uint8_t *to)
{
    static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
    if (net->rx_modes[RX_PROMISC] || !virtio_pci_has(&net->transport, NET_F_CTRL_RX))
        return true;
    if (!memcmp(to, broadcast, 6))
        return !net->rx_modes[RX_NOBCAST];
    if (to[0] & 1)
        return !net->rx_modes[RX_NOMULTI] &&
               (net->rx_modes[RX_ALLMULTI] || net->multicast_overflow ||
                in_table(net, to, net->unicast_count, net->multicast_count));
    return !net->rx_modes[RX_NOUNI] &&
           (!memcmp(to, net->mac, 6) || net->rx_modes[RX_ALLUNI] || net->unicast_overflow ||
            in_table(net, to, 0, net->unicast_count));
}

static bool can_receive(void *opaque)
{
    VirtioNet *net = opaque;
    bool can = virtio_pci_live(&net->transport) &&
               virtqueue_has_chain(&net->transport.queues[QUEUE_RECEIVE]);
    net->wants_room = !can;
    return can;
}

// Spreads header and frame over one chain, or more where buffers are merged. Returns how many
// chains were filled, 0 where the driver offers too few.
static unsigned fill_chains(VirtioNet *net, uint8_t *header, size_t header_length,
                            const uint8_t *frame, size_t size)
{
    Virtqueue *queue = &net->transport.queues[QUEUE_RECEIVE];
    bool merge = virtio_pci_has(&net->transport, NET_F_MRG_RXBUF);
    VirtSegment head[HEADER_SEGMENTS];
    unsigned head_count = 0, chains = 0;
    size_t done = 0;
    while (done < size || !chains) {
        VirtChain chain;
        if (chains == (merge ? MERGE_MAX : 1) || !virtqueue_pop(queue, &chain)) {
            virtqueue_unpop(queue, chains);
            return 0;
        }
        size_t skip = chains ? 0 : header_length;
        if (chain.in_size <= skip) {
            guest_log_once(virtio_net_ops.name, "receive-buffer", "no room for a header");
            virtqueue_unpop(queue, chains + 1);
            return 0;
        }
        if (!chains) {
            head_count = MIN(chain.in_count, HEADER_SEGMENTS);
            memcpy(head, chain.segments + chain.out_count, head_count * sizeof head[0]);
        }
        size_t piece = virtqueue_write(queue, &chain, skip, frame + done, size - done);
        virtqueue_fill(queue, chains, chain.head, (uint32_t)(skip + piece));
        done += piece;
        chains++;
    }
    le16_write(header + HEADER_BUFFERS, (uint16_t)chains);
    virt_segments_write(queue->memory, head, head_count, 0, header, header_length);
    return chains;
}

static void receive(void *opaque, const uint8_t *frame, size_t size)
{
    VirtioNet *net = opaque;
    uint8_t header[HEADER_SIZE] = { 0 };
    if (!virtio_pci_live(&net->transport) || size < 14 || size > NET_FRAME_MAX ||
        !wanted(net, frame))
        return;
    if (virtio_pci_has(&net->transport, NET_F_GUEST_CSUM) && net_checksum_valid(frame, size))
        header[HEADER_FLAGS] = FLAG_DATA_VALID;
    unsigned chains = fill_chains(net, header, header_size(net), frame, size);
    if (!chains)
        return; // a full ring or a frame that does not fit: dropped, as on a wire
    virtqueue_publish(&net->transport.queues[QUEUE_RECEIVE], chains);
    virtio_pci_notify(&net->transport, QUEUE_RECEIVE);
}

static void link_changed(void *opaque, bool up)
{
    VirtioNet *net = opaque;
    uint16_t status = up ? STATUS_LINK_UP : 0;
    if (le16_read(net->transport.config + CONFIG_STATUS) == status)
        return;
    le16_write(net->transport.config + CONFIG_STATUS, status);
    if (virtio_pci_has(&net->transport, NET_F_STATUS))
        virtio_pci_config_changed(&net->transport);
}

static void send_frame(void *opaque, const uint8_t *frame, size_t size)
{
    VirtioNet *net = opaque;
    if (net->backend.send)
        net->backend.send(net->backend.opaque, frame, size);
}

// Sends one frame that lies in net->frame, with what its header asks for.
static void transmit_frame(VirtioNet *net, const uint8_t *header, size_t size)
{
    uint8_t gso = header[HEADER_GSO_TYPE] & (uint8_t)~GSO_ECN;
    NetTcpLayout layout;
    if (gso != GSO_NONE) {
        if ((gso != GSO_TCPV4 && gso != GSO_TCPV6) ||
            !net_tcp_layout(net->frame, size, &layout) ||
            !net_segment_tcp(net->frame, size, &layout, le16_read(header + HEADER_GSO_SIZE),
                             net->segment, send_frame, net))
            guest_log_once(virtio_net_ops.name, "segmentation", "type %u, %zu bytes", gso, size);
        return;
    }
    if (header[HEADER_FLAGS] & FLAG_NEEDS_CSUM) {
        size_t start = le16_read(header + HEADER_CSUM_START);
        size_t offset = le16_read(header + HEADER_CSUM_OFFSET);
        // The driver left the pseudo header's sum in the field (5.1.6.2). UDP's field is at 6.
        if (!net_checksum_insert(net->frame, size, start, size, start + offset, offset == 6)) {
            guest_log_once(virtio_net_ops.name, "checksum", "start %zu, offset %zu of %zu", start,
                           offset, size);
            return;
        }
    }
    send_frame(net, net->frame, size);
}

static bool transmit(VirtioNet *net)
{
    Virtqueue *queue = &net->transport.queues[QUEUE_TRANSMIT];
    VirtChain chain;
    unsigned handled = 0;
    while (handled < QUEUE_SIZE && virtqueue_pop(queue, &chain)) {
        uint8_t header[HEADER_SIZE] = { 0 };
        size_t header_length = header_size(net);
        uint64_t size = chain.out_size - header_length;
        if (chain.out_size < header_length + 14 || size > NET_FRAME_MAX) {
            guest_log_once(virtio_net_ops.name, "transmit-size", "%" G_GUINT64_FORMAT " bytes",
                           chain.out_size);
        } else {
            virtqueue_read(queue, &chain, 0, header, header_length);
            virtqueue_read(queue, &chain, header_length, net->frame, size);
            transmit_frame(net, header, size);
        }
        virtqueue_push(queue, chain.head, 0);
        handled++;
    }
    if (handled)
        virtio_pci_notify(&net->transport, QUEUE_TRANSMIT);
    return handled == QUEUE_SIZE;
}

static void set_mac(VirtioNet *net, const uint8_t *mac)
{
    memcpy(net->mac, mac, 6);
    memcpy(net->transport.config + CONFIG_MAC, mac, 6);
}

// Reads one counted list of addresses; returns how many were kept, or -1 where it is cut short.
static int read_macs(VirtioNet *net, const VirtChain *chain, uint64_t *offset, unsigned first,
                     bool *ret_overflow)
{
    Virtqueue *queue = &net->transport.queues[QUEUE_CONTROL];
    uint8_t bytes[4];
    if (virtqueue_read(queue, chain, *offset, bytes, 4) < 4)
        return -1;
    uint64_t count = le32_read(bytes);
    *offset += 4;
    if (*offset + count * 6 > chain->out_size)
        return -1;
    unsigned room = MAC_TABLE_MAX - first;
    unsigned kept = count > room ? 0 : (unsigned)count;
    virtqueue_read(queue, chain, *offset, net->mac_table + first * 6, kept * 6);
    *ret_overflow = count > room;
    *offset += count * 6;
    return (int)kept;
}

static uint8_t set_mac_table(VirtioNet *net, const VirtChain *chain)
{
    uint64_t offset = 2;
    bool unicast_overflow, multicast_overflow;
    int unicast = read_macs(net, chain, &offset, 0, &unicast_overflow);
    net->unicast_count = net->multicast_count = 0;
    if (unicast < 0)
        return CONTROL_ERROR;
    int multicast = read_macs(net, chain, &offset, (unsigned)unicast, &multicast_overflow);
    if (multicast < 0)
        return CONTROL_ERROR;
    net->unicast_count = (uint8_t)unicast;
    net->multicast_count = (uint8_t)multicast;
    net->unicast_overflow = unicast_overflow;
    net->multicast_overflow = multicast_overflow;
    return CONTROL_OK;
}

static uint8_t control_command(VirtioNet *net, const VirtChain *chain)
{
    Virtqueue *queue = &net->transport.queues[QUEUE_CONTROL];
    uint8_t command[2], mac[6], on;
    if (virtqueue_read(queue, chain, 0, command, 2) < 2)
        return CONTROL_ERROR;
    if (command[0] == CONTROL_RX && command[1] < RX_MODES &&
        virtqueue_read(queue, chain, 2, &on, 1) == 1) {
        net->rx_modes[command[1]] = on != 0;
        return CONTROL_OK;
    }
    if (command[0] == CONTROL_MAC && command[1] == MAC_TABLE_SET)
        return set_mac_table(net, chain);
    if (command[0] == CONTROL_MAC && command[1] == MAC_ADDR_SET &&
        virtqueue_read(queue, chain, 2, mac, 6) == 6) {
        set_mac(net, mac);
        return CONTROL_OK;
    }
    return CONTROL_ERROR;
}

static bool control(VirtioNet *net)
{
    Virtqueue *queue = &net->transport.queues[QUEUE_CONTROL];
    VirtChain chain;
    unsigned handled = 0;
    while (handled < CONTROL_SIZE && virtqueue_pop(queue, &chain)) {
        uint8_t ack = control_command(net, &chain);
        uint32_t written = (uint32_t)virtqueue_write(queue, &chain, 0, &ack, 1);
        virtqueue_push(queue, chain.head, written);
        handled++;
    }
    if (handled)
        virtio_pci_notify(&net->transport, QUEUE_CONTROL);
    return handled == CONTROL_SIZE;
}

static bool queue_notify(void *device, unsigned queue)
{
    VirtioNet *net = device;
    if (queue == QUEUE_TRANSMIT)
        return transmit(net);
    if (queue == QUEUE_CONTROL)
        return control(net);
    if (net->wants_room) {
        net->wants_room = false;
        if (net->backend.room)
            net->backend.room(net->backend.opaque);
    }
    return false;
}

static void driver_reset(void *device)
{
    VirtioNet *net = device;
    set_mac(net, net->permanent_mac);
    memset(net->rx_modes, 0, sizeof net->rx_modes);
    net->unicast_count = net->multicast_count = 0;
    net->unicast_overflow = net->multicast_overflow = false;
    memset(net->mac_table, 0, sizeof net->mac_table);
}

// Only a legacy driver sets its address here, byte by byte (5.1.4).
static void config_write(void *device, unsigned offset, unsigned size, const uint8_t *bytes)
{
    VirtioNet *net = device;
    if (virtio_pci_has(&net->transport, VIRTIO_F_VERSION_1) || offset + size > CONFIG_MAC + 6)
        return;
    memcpy(net->mac + offset, bytes, size);
    memcpy(net->transport.config + offset, bytes, size);
}

static const VirtioClass class = {
    .name = "virtio-net",
    .device_id = 1,
    .transitional_id = 0x1000,
    .pci_class = 0x020000,
    .config_size = CONFIG_SIZE,
    .reset = driver_reset,
    .queue_notify = queue_notify,
    .config_write = config_write,
};

static void virtio_net_destroy(void *device)
{
    VirtioNet *net = device;
    if (!net)
        return;
    if (net->backend.attach)
        net->backend.attach(net->backend.opaque, NULL);
    virtio_pci_clear(&net->transport);
    g_free(net->frame);
    g_free(net->segment);
    g_free(net);
}

static void *virtio_net_create(const void *config, const DeviceHost *host, GError **error)
{
    const VirtioNetConfig *c = config;
    static const uint16_t sizes[] = { QUEUE_SIZE, QUEUE_SIZE, CONTROL_SIZE };
    static const uint8_t features[] = { NET_F_CSUM, NET_F_GUEST_CSUM, NET_F_MAC, NET_F_HOST_TSO4,
                                        NET_F_HOST_TSO6, NET_F_HOST_ECN, NET_F_MRG_RXBUF,
                                        NET_F_STATUS, NET_F_CTRL_VQ, NET_F_CTRL_RX,
                                        NET_F_CTRL_RX_EXTRA, NET_F_CTRL_MAC_ADDR };
    VirtioPciConfig pci = { .devfn = c->devfn, .modern_only = c->modern_only,
                            .queue_count = QUEUES, .queue_sizes = sizes, .rom = c->rom,
                            .rom_size = c->rom_size };
    for (size_t i = 0; i < G_N_ELEMENTS(features); i++)
        pci.features |= VIRTIO_FEATURE(features[i]);
    VirtioNet *net = g_new0(VirtioNet, 1);
    if (!virtio_pci_init(&net->transport, &class, &pci, net, host, error)) {
        g_free(net);
        return NULL;
    }
    net->frame = g_malloc(NET_FRAME_MAX);
    net->segment = g_malloc(NET_FRAME_MAX);
    net->backend = c->backend;
    memcpy(net->permanent_mac, c->mac, 6);
    set_mac(net, c->mac);
    le16_write(net->transport.config + CONFIG_STATUS, c->backend.send ? STATUS_LINK_UP : 0);
    NetFrontend frontend = { can_receive, receive, link_changed, net };
    if (c->backend.attach)
        c->backend.attach(c->backend.opaque, &frontend);
    return net;
}

static void virtio_net_reset(void *device, ResetKind kind)
{
    VirtioNet *net = device;
    virtio_pci_machine_reset(&net->transport);
}

static gboolean virtio_net_post_load(void *object, GError **error)
{
    VirtioNet *net = object;
    if (net->unicast_count + net->multicast_count > MAC_TABLE_MAX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "virtio-net: a filter of %u addresses is more than %u",
                    net->unicast_count + net->multicast_count, MAC_TABLE_MAX);
        return FALSE;
    }
    net->wants_room = true;
    return virtio_pci_post_load(&net->transport, error);
}

static const StateField virtio_net_fields[] = {
    VIRTIO_PCI_STATE_FIELDS(VirtioNet, transport, QUEUES),
    VIRTIO_PCI_QUEUE_FIELD(VirtioNet, transport, 0),
    VIRTIO_PCI_QUEUE_FIELD(VirtioNet, transport, 1),
    VIRTIO_PCI_QUEUE_FIELD(VirtioNet, transport, 2),
    STATE_ARRAY(VirtioNet, mac, STATE_U8),
    STATE_ARRAY(VirtioNet, rx_modes, STATE_BOOL),
    STATE_SCALAR(VirtioNet, unicast_count, STATE_U8),
    STATE_SCALAR(VirtioNet, multicast_count, STATE_U8),
    STATE_SCALAR(VirtioNet, unicast_overflow, STATE_BOOL),
    STATE_SCALAR(VirtioNet, multicast_overflow, STATE_BOOL),
    STATE_ARRAY(VirtioNet, mac_table, STATE_U8),
};

static const StateTable virtio_net_state = {
    "virtio-net", 1, virtio_net_fields, G_N_ELEMENTS(virtio_net_fields), virtio_net_post_load, NULL,
};

const DeviceOps virtio_net_ops = {
    .name = "virtio-net",
    .spec = "VIRTIO 1.2, section 5.1",
    .create = virtio_net_create,
    .reset = virtio_net_reset,
    .state = &virtio_net_state,
    .destroy = virtio_net_destroy,
};
