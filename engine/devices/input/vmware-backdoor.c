// SPDX-License-Identifier: GPL-2.0-or-later
// The absolute pointer of the VMware backdoor, for guests whose PS/2 driver knows it: version,
// time and the pointer commands, nothing else. Follows the command numbers in open-vm-tools'
// backdoor_def.h and vmmouse's protocol as the Linux and X.org drivers speak it.
#include "engine/devices/input/vmware-backdoor.h"

#include <gio/gio.h>

#define MAGIC       0x564d5868u
#define QUEUE_WORDS 1024
#define PACKET      4 // words: flags and buttons, x, y, wheel

enum { GET_VERSION = 10, GET_TIME = 23, POINTER_DATA = 39, POINTER_STATUS = 40,
       POINTER_COMMAND = 41 };

enum { COMMAND_READ_ID = 0x45414552, COMMAND_DISABLE = 0x000000f5, COMMAND_RELATIVE = 0x4c455252,
       COMMAND_ABSOLUTE = 0x53424152 };

#define POINTER_ID     0x3442554au
#define STATUS_ERROR   0xffff0000u
#define BUTTON_LEFT    0x20
#define BUTTON_RIGHT   0x10
#define BUTTON_MIDDLE  0x08

enum { EAX, EBX, ECX, EDX };

typedef struct {
    DeviceHost host;
    VmwareBackdoorConfig config;
    BusRegion *region;
    bool engaged;
    bool enabled;  // the guest has read the ID
    bool absolute; // and asked for absolute packets
    uint32_t queue[QUEUE_WORDS];
    uint32_t head, count;
} Backdoor;

static void push(Backdoor *b, uint32_t word)
{
    b->queue[(b->head + b->count) % QUEUE_WORDS] = word;
    b->count++;
}

static uint32_t pop(Backdoor *b)
{
    uint32_t word = b->queue[b->head];
    b->head = (b->head + 1) % QUEUE_WORDS;
    b->count--;
    return word;
}

static bool listens(void *opaque)
{
    const Backdoor *b = opaque;
    return b->enabled && b->absolute;
}

static void take_position(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons)
{
    Backdoor *b = opaque;
    if (b->count + PACKET > QUEUE_WORDS)
        return; // the guest has stopped reading
    push(b, (buttons & INPUT_LEFT ? BUTTON_LEFT : 0) | (buttons & INPUT_RIGHT ? BUTTON_RIGHT : 0) |
                (buttons & INPUT_MIDDLE ? BUTTON_MIDDLE : 0));
    push(b, x);
    push(b, y);
    push(b, (uint32_t)-CLAMP(wheel, -127, 127));
    if (b->config.wake)
        b->config.wake(b->config.wake_opaque);
}

static void pointer_command(Backdoor *b, uint32_t command)
{
    switch (command) {
    case COMMAND_READ_ID:
        b->head = b->count = 0;
        b->enabled = true;
        push(b, POINTER_ID);
        break;
    case COMMAND_DISABLE:
        b->enabled = b->absolute = false;
        b->head = b->count = 0;
        break;
    case COMMAND_RELATIVE:
        b->absolute = false;
        break;
    case COMMAND_ABSOLUTE:
        b->absolute = true;
        break;
    default:
        break;
    }
}

// EBX: how many words, at most four; they come in EAX, EBX, ECX, EDX.
static void pointer_data(Backdoor *b, uint32_t regs[6])
{
    uint32_t words = regs[EBX];
    if (words > PACKET || words > b->count || !b->enabled) {
        // Out of step: the driver resets the pointer when it sees an error status.
        b->enabled = false;
        regs[EAX] = STATUS_ERROR;
        return;
    }
    for (uint32_t i = 0; i < words; i++)
        regs[i] = pop(b);
}

static void get_time(const Backdoor *b, uint32_t regs[6])
{
    int64_t now = clock_now(b->host.clock);
    regs[EAX] = (uint32_t)(b->config.start_time + now / NS_PER_SECOND);
    regs[EBX] = (uint32_t)(now % NS_PER_SECOND / 1000);
    regs[ECX] = 1000000; // most that the clock may lag, microseconds
    regs[EDX] = 0;       // minutes west of UTC
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
}

static const BusOps ports = { port_read, port_write, 4 };

static void *backdoor_create(const void *config, const DeviceHost *host, GError **error)
{
    Backdoor *b = g_new0(Backdoor, 1);
    b->host = *host;
    b->config = *(const VmwareBackdoorConfig *)config;
    b->region = bus_add_ports(host->bus, vmware_backdoor_ops.name, VMWARE_BACKDOOR_PORT, 4, &ports,
                              b, &b->engaged);
    if (b->config.router)
        input_router_add(b->config.router, &(InputHandler){ .pointer_absolute = take_position,
                                                            .active = listens, .opaque = b });
    return b;
}

static void backdoor_reset(void *device, ResetKind kind)
{
    Backdoor *b = device;
    pointer_command(b, COMMAND_DISABLE);
    memset(b->queue, 0, sizeof b->queue);
}

static gboolean backdoor_post_load(void *device, GError **error)
{
    Backdoor *b = device;
    if (b->head < QUEUE_WORDS && b->count <= QUEUE_WORDS)
        return TRUE;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "saved state of 'vmware-backdoor': the queue is impossible");
    return FALSE;
}

static void backdoor_destroy(void *device)
{
    Backdoor *b = device;
    if (!b)
        return;
    if (b->config.router)
        input_router_remove(b->config.router, b);
    bus_remove(b->host.bus, b->region);
    g_free(b);
}

static const StateField backdoor_fields[] = {
    STATE_SCALAR(Backdoor, enabled, STATE_BOOL),
    STATE_SCALAR(Backdoor, absolute, STATE_BOOL),
    STATE_ARRAY(Backdoor, queue, STATE_U32),
    STATE_SCALAR(Backdoor, head, STATE_U32),
    STATE_SCALAR(Backdoor, count, STATE_U32),
};

static const StateTable backdoor_state = {
    .name = "vmware-backdoor",
    .version = 1,
    .fields = backdoor_fields,
    .field_count = G_N_ELEMENTS(backdoor_fields),
    .post_load = backdoor_post_load,
};

const DeviceOps vmware_backdoor_ops = {
    .name = "vmware-backdoor",
    .spec = "open-vm-tools backdoor_def.h; vmmouse protocol",
    .create = backdoor_create,
    .reset = backdoor_reset,
    .state = &backdoor_state,
    .destroy = backdoor_destroy,
};

bool vmware_backdoor_in(void *device, uint32_t regs[6])
{
    Backdoor *b = device;
    if (regs[EAX] != MAGIC)
        return false;
    switch (regs[ECX] & 0xffff) {
    case GET_VERSION:
        regs[EAX] = 6;
        regs[EBX] = MAGIC;
        regs[ECX] = 2;
        break;
    case GET_TIME:
        get_time(b, regs);
        break;
    case POINTER_DATA:
        pointer_data(b, regs);
        break;
    case POINTER_STATUS:
        regs[EAX] = b->enabled ? b->count : STATUS_ERROR;
        break;
    case POINTER_COMMAND:
        pointer_command(b, regs[EBX]);
        break;
    default:
        regs[EAX] = UINT32_MAX;
        break;
    }
    return true;
}

void vmware_backdoor_set_time(void *device, int64_t seconds)
{
    Backdoor *b = device;
    b->config.start_time = seconds - clock_now(b->host.clock) / NS_PER_SECOND;
}
