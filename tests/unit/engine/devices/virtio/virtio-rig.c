// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/unit/engine/devices/virtio/virtio-rig.h"

#include "engine/base/bytes.h"

#define MODERN_BASE 0xfe000000u
#define LEGACY_BASE 0xc000u

static void set_pirq(void *opaque, unsigned line, bool level)
{
    ((Rig *)opaque)->pirq[line] = level;
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    Rig *rig = opaque;
    rig->msi_count++;
    rig->msi_last = data;
}

void rig_init(Rig *rig)
{
    *rig = (Rig){ 0 };
    rig->bus = bus_new();
    rig->memory = guest_memory_new(UINT64_C(1) << 40);
    rig->clock = clock_new_manual();
    rig->ram = g_aligned_alloc0(1, RIG_RAM_SIZE, GUEST_PAGE_SIZE);
    guest_memory_map(rig->memory, "ram", 0, RIG_RAM_SIZE, rig->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    rig->host = (DeviceHost){ .bus = rig->bus, .memory = rig->memory, .clock = rig->clock,
                              .msi = { send_msi, rig } };
    rig->host.pci = rig->pci = pci_bus_new(&rig->host, (IrqLine){ set_pirq, rig, 0 });
}

void rig_clear(Rig *rig)
{
    if (rig->ops)
        rig->ops->destroy(rig->device);
    pci_bus_free(rig->pci);
    clock_free(rig->clock);
    guest_memory_free(rig->memory);
    bus_free(rig->bus);
    g_aligned_free(rig->ram);
}

void rig_add(Rig *rig, const DeviceOps *ops, const void *config)
{
    g_autoptr(GError) error = NULL;
    rig->ops = ops;
    rig->device = ops->create(config, &rig->host, &error);
    g_assert_no_error(error);
    ops->reset(rig->device, RESET_COLD);
}

uint32_t rig_pci_read(Rig *rig, unsigned offset, unsigned size)
{
    return pci_config_read(rig->pci, RIG_DEVFN, offset, size);
}

void rig_pci_write(Rig *rig, unsigned offset, unsigned size, uint32_t value)
{
    pci_config_write(rig->pci, RIG_DEVFN, offset, size, value);
}

uint64_t rig_read(Rig *rig, uint64_t address, unsigned size)
{
    return bus_mmio_read(rig->bus, address, size);
}

void rig_write(Rig *rig, uint64_t address, unsigned size, uint64_t value)
{
    bus_mmio_write(rig->bus, address, size, value);
}

static void assign_bars(Rig *rig)
{
    for (unsigned bar = 0; bar < 6; bar++) {
        unsigned at = 0x10 + bar * 4;
        rig_pci_write(rig, at, 4, 0xffffffff);
        uint32_t sizing = rig_pci_read(rig, at, 4);
        if (!sizing)
            continue;
        if (sizing & 1) {
            rig->ports = LEGACY_BASE;
            rig_pci_write(rig, at, 4, LEGACY_BASE);
        } else {
            rig_pci_write(rig, at, 4, MODERN_BASE + bar * 0x100000);
        }
    }
    rig_pci_write(rig, 4, 2, 7);
}

void rig_probe(Rig *rig)
{
    assign_bars(rig);
    for (unsigned at = rig_pci_read(rig, 0x34, 1); at; at = rig_pci_read(rig, at + 1, 1)) {
        if (rig_pci_read(rig, at, 1) != 0x09)
            continue;
        unsigned bar = rig_pci_read(rig, at + 4, 1);
        uint64_t address = (rig_pci_read(rig, 0x10 + bar * 4, 4) & ~15u) +
                           rig_pci_read(rig, at + 8, 4);
        switch (rig_pci_read(rig, at + 3, 1)) {
        case 1:
            rig->common = address;
            break;
        case 2:
            rig->notify = address;
            rig->notify_multiplier = rig_pci_read(rig, at + 16, 4);
            break;
        case 3:
            rig->isr = address;
            break;
        case 4:
            rig->config = address;
            break;
        default:
            break;
        }
    }
    g_assert_true(rig->common && rig->notify && rig->isr && rig->config);
}

uint64_t rig_offered(Rig *rig)
{
    rig_write(rig, rig->common, 4, 0);
    uint64_t features = rig_read(rig, rig->common + 4, 4);
    rig_write(rig, rig->common, 4, 1);
    return features | rig_read(rig, rig->common + 4, 4) << 32;
}

void rig_negotiate(Rig *rig, uint64_t features)
{
    features |= UINT64_C(1) << 32;
    rig_write(rig, rig->common + 20, 1, 0);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 0);
    rig_write(rig, rig->common + 20, 1, 1);
    rig_write(rig, rig->common + 20, 1, 3);
    g_assert_cmphex(features & ~rig_offered(rig), ==, 0);
    for (unsigned word = 0; word < 2; word++) {
        rig_write(rig, rig->common + 8, 4, word);
        rig_write(rig, rig->common + 12, 4, (uint32_t)(features >> word * 32));
    }
    rig_write(rig, rig->common + 20, 1, 11);
    g_assert_cmpuint(rig_read(rig, rig->common + 20, 1), ==, 11);
}

void rig_driver_ok(Rig *rig)
{
    rig_write(rig, rig->common + 20, 1, 15);
}

void rig_ring_start(Rig *rig, RigRing *ring, unsigned queue, uint64_t address)
{
    rig_write(rig, rig->common + 22, 2, queue);
    uint16_t size = (uint16_t)rig_read(rig, rig->common + 24, 2);
    g_assert_cmpuint(size, >, 0);
    *ring = (RigRing){ .rig = rig, .queue = queue, .size = size, .descriptors = address,
                       .available = address + 0x8000, .used = address + 0xc000 };
    memset(rig->ram + address, 0, 0x10000);
    rig_write(rig, rig->common + 32, 8, ring->descriptors);
    rig_write(rig, rig->common + 40, 8, ring->available);
    rig_write(rig, rig->common + 48, 8, ring->used);
    rig_write(rig, rig->common + 28, 2, 1);
    g_assert_cmpuint(rig_read(rig, rig->common + 28, 2), ==, 1);
}

void rig_ring_start_legacy(Rig *rig, RigRing *ring, unsigned queue, uint64_t address)
{
    bus_port_write(rig->bus, rig->ports + 14, 2, queue);
    uint16_t size = (uint16_t)bus_port_read(rig->bus, rig->ports + 12, 2);
    g_assert_cmpuint(size, >, 0);
    uint64_t available = address + size * 16u;
    uint64_t used = (available + 6 + size * 2u + 4095) & ~UINT64_C(4095);
    *ring = (RigRing){ .rig = rig, .queue = queue, .size = size, .descriptors = address,
                       .available = available, .used = used };
    memset(rig->ram + address, 0, used + 4096 - address);
    bus_port_write(rig->bus, rig->ports + 8, 4, address >> 12);
}

void rig_descriptor(Rig *rig, uint64_t table, unsigned index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next)
{
    uint8_t *d = rig->ram + table + index * 16u;
    le64_write(d, address);
    le32_write(d + 8, length);
    le16_write(d + 12, flags);
    le16_write(d + 14, next);
}

uint16_t rig_ring_add(RigRing *ring, const RigBuffer *buffers, unsigned out, unsigned in)
{
    Rig *rig = ring->rig;
    uint16_t head = ring->next_descriptor % ring->size;
    for (unsigned i = 0; i < out + in; i++) {
        uint16_t index = ring->next_descriptor++ % ring->size;
        bool last = i + 1 == out + in;
        rig_descriptor(rig, ring->descriptors, index, buffers[i].address, buffers[i].length,
                       (uint16_t)((last ? 0 : 1) | (i >= out ? 2 : 0)),
                       last ? 0 : ring->next_descriptor % ring->size);
    }
    uint8_t *available = rig->ram + ring->available;
    le16_write(available + 4 + 2 * (ring->available_index % ring->size), head);
    le16_write(available + 2, ++ring->available_index);
    return head;
}

void rig_ring_kick(RigRing *ring)
{
    Rig *rig = ring->rig;
    if (rig_read(rig, rig->common + 20, 1) & 8)
        rig_write(rig, rig->notify + ring->queue * rig->notify_multiplier, 2, ring->queue);
    else
        bus_port_write(rig->bus, rig->ports + 16, 2, ring->queue);
}

bool rig_ring_used(RigRing *ring, uint32_t *ret_head, uint32_t *ret_written)
{
    const uint8_t *used = ring->rig->ram + ring->used;
    if (le16_read(used + 2) == ring->used_seen)
        return false;
    const uint8_t *entry = used + 4 + 8 * (ring->used_seen++ % ring->size);
    *ret_head = le32_read(entry);
    *ret_written = le32_read(entry + 4);
    return true;
}

bool rig_intx(const Rig *rig)
{
    return rig->pirq[0] || rig->pirq[1] || rig->pirq[2] || rig->pirq[3];
}
