// SPDX-License-Identifier: GPL-2.0-or-later
// Ports: a direct table of 65536 region pointers, rebuilt over the affected span on a change.
// MMIO: a sorted array of disjoint spans for a binary search, with the last hit tried first.
#include "engine/bus/bus.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"

struct BusRegion {
    const char *name;
    uint64_t base;
    uint64_t size;
    const BusOps *ops;
    const BusBlockOps *block;
    void *opaque;
    bool *engaged;
    bool port;
    bool enabled;
};

typedef struct {
    uint64_t start;
    uint64_t end; // exclusive
    BusRegion *region;
} MmioSpan;

struct Bus {
    GMutex lock;
    GPtrArray *regions; // bottom to top
    BusRegion *ports[65536];
    GArray *spans; // MmioSpan, sorted, disjoint
    guint last_span;
};

Bus *bus_new(void)
{
    Bus *bus = g_new0(Bus, 1);
    g_mutex_init(&bus->lock);
    bus->regions = g_ptr_array_new_with_free_func(g_free);
    bus->spans = g_array_new(FALSE, FALSE, sizeof(MmioSpan));
    return bus;
}

void bus_free(Bus *bus)
{
    if (!bus)
        return;
    g_ptr_array_unref(bus->regions);
    g_array_unref(bus->spans);
    g_mutex_clear(&bus->lock);
    g_free(bus);
}

GMutex *bus_mutex(Bus *bus)
{
    return &bus->lock;
}

void bus_lock(Bus *bus)
{
    g_mutex_lock(&bus->lock);
}

void bus_unlock(Bus *bus)
{
    g_mutex_unlock(&bus->lock);
}

static void rebuild_ports(Bus *bus, uint64_t base, uint64_t size)
{
    for (uint64_t port = base; port < base + size && port < 65536; port++) {
        bus->ports[port] = NULL;
        for (guint i = bus->regions->len; i-- > 0;) {
            BusRegion *r = bus->regions->pdata[i];
            if (r->port && r->enabled && port >= r->base && port - r->base < r->size) {
                bus->ports[port] = r;
                break;
            }
        }
    }
}

// Cuts [start, end) out of the spans.
static void cut_span(GArray *spans, uint64_t start, uint64_t end)
{
    for (guint i = 0; i < spans->len; i++) {
        MmioSpan *s = &g_array_index(spans, MmioSpan, i);
        if (s->end <= start || s->start >= end)
            continue;
        MmioSpan left = { s->start, start, s->region }, right = { end, s->end, s->region };
        g_array_remove_index(spans, i);
        if (right.start < right.end)
            g_array_insert_val(spans, i, right);
        if (left.start < left.end)
            g_array_insert_val(spans, i++, left);
        i--;
    }
}

static void rebuild_mmio(Bus *bus)
{
    g_array_set_size(bus->spans, 0);
    bus->last_span = 0;
    for (guint i = 0; i < bus->regions->len; i++) {
        BusRegion *r = bus->regions->pdata[i];
        if (r->port || !r->enabled)
            continue;
        MmioSpan span = { r->base, r->base + r->size, r };
        cut_span(bus->spans, span.start, span.end);
        guint at = 0;
        while (at < bus->spans->len && g_array_index(bus->spans, MmioSpan, at).start < span.start)
            at++;
        g_array_insert_val(bus->spans, at, span);
    }
}

static void rebuild(Bus *bus, const BusRegion *region)
{
    if (region->port)
        rebuild_ports(bus, region->base, region->size);
    else
        rebuild_mmio(bus);
}

static BusRegion *add_region(Bus *bus, BusRegion region)
{
    BusRegion *added = g_memdup2(&region, sizeof region);
    g_ptr_array_add(bus->regions, added);
    rebuild(bus, added);
    return added;
}

BusRegion *bus_add_ports(Bus *bus, const char *name, uint16_t base, unsigned size,
                         const BusOps *ops, void *opaque, bool *engaged)
{
    return add_region(bus, (BusRegion){ .name = name, .base = base, .size = size, .ops = ops,
                                        .opaque = opaque, .engaged = engaged, .port = true,
                                        .enabled = true });
}

BusRegion *bus_add_mmio(Bus *bus, const char *name, uint64_t base, uint64_t size,
                        const BusOps *ops, void *opaque, bool *engaged)
{
    return add_region(bus, (BusRegion){ .name = name, .base = base, .size = size, .ops = ops,
                                        .opaque = opaque, .engaged = engaged, .enabled = true });
}

void bus_remove(Bus *bus, BusRegion *region)
{
    guint index;
    if (!region || !g_ptr_array_find(bus->regions, region, &index))
        return;
    BusRegion gone = *region;
    g_ptr_array_remove_index(bus->regions, index);
    rebuild(bus, &gone);
}

void bus_move(Bus *bus, BusRegion *region, uint64_t base, bool enabled)
{
    if (region->base == base && region->enabled == enabled)
        return;
    BusRegion old = *region;
    region->base = base;
    region->enabled = enabled && base + region->size > base;
    if (region->port) {
        rebuild_ports(bus, old.base, old.size);
        rebuild_ports(bus, region->base, region->size);
    } else {
        rebuild_mmio(bus);
    }
}

static BusRegion *find_mmio(Bus *bus, uint64_t address)
{
    guint low = 0, high = bus->spans->len;
    if (bus->last_span < high) {
        MmioSpan *last = &g_array_index(bus->spans, MmioSpan, bus->last_span);
        if (address >= last->start && address < last->end)
            return last->region;
    }
    while (low < high) {
        guint middle = (low + high) / 2;
        MmioSpan *span = &g_array_index(bus->spans, MmioSpan, middle);
        if (address < span->start) {
            high = middle;
        } else if (address >= span->end) {
            low = middle + 1;
        } else {
            bus->last_span = middle;
            return span->region;
        }
    }
    return NULL;
}

static uint64_t all_ones(unsigned size)
{
    return size == 8 ? UINT64_MAX : (UINT64_C(1) << size * 8) - 1;
}

// True where the region may be entered; the caller clears *engaged afterwards.
static bool engage(BusRegion *region)
{
    if (!region->engaged)
        return true;
    if (*region->engaged) {
        guest_log_once(region->name, "re-entry", "the device's DMA reached its own registers");
        return false;
    }
    *region->engaged = true;
    return true;
}

static void disengage(BusRegion *region)
{
    if (region->engaged)
        *region->engaged = false;
}

static void report_unclaimed(bool port, uint64_t address, bool write)
{
    char kind[40];
    g_snprintf(kind, sizeof kind, "%s %" G_GINT64_MODIFIER "x", port ? "port" : "mmio",
               port ? address : address & ~UINT64_C(0xfff));
    guest_log_once("bus", kind, "unclaimed %s", write ? "write" : "read");
}

static BusRegion *find(Bus *bus, bool port, uint64_t address)
{
    if (port)
        return address < 65536 ? bus->ports[address] : NULL;
    return find_mmio(bus, address);
}

// The piece of an access at `address` that its region takes at once.
static unsigned piece_size(BusRegion *region, uint64_t address, unsigned size)
{
    unsigned widest = region && region->ops->max_access ? region->ops->max_access : 4;
    if (!region)
        widest = 1;
    unsigned piece = MIN(size, widest);
    while (region && piece > 1 && address - region->base + piece > region->size)
        piece /= 2;
    return piece;
}

static uint64_t access_read(Bus *bus, bool port, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    for (unsigned done = 0; done < size;) {
        uint64_t at = port ? (uint16_t)(address + done) : address + done;
        BusRegion *region = find(bus, port, at);
        unsigned piece = piece_size(region, at, size - done);
        uint64_t part = all_ones(piece);
        if (!region) {
            report_unclaimed(port, at, false);
        } else if (engage(region)) {
            if (region->ops->read)
                part = region->ops->read(region->opaque, at - region->base, piece) & part;
            disengage(region);
        }
        value |= part << done * 8;
        done += piece;
    }
    return value;
}

static void access_write(Bus *bus, bool port, uint64_t address, unsigned size, uint64_t value)
{
    for (unsigned done = 0; done < size;) {
        uint64_t at = port ? (uint16_t)(address + done) : address + done;
        BusRegion *region = find(bus, port, at);
        unsigned piece = piece_size(region, at, size - done);
        if (!region) {
            report_unclaimed(port, at, true);
        } else if (engage(region)) {
            if (region->ops->write)
                region->ops->write(region->opaque, at - region->base, piece,
                                   value >> done * 8 & all_ones(piece));
            disengage(region);
        }
        done += piece;
    }
}

uint64_t bus_port_read(Bus *bus, uint16_t port, unsigned size)
{
    return access_read(bus, true, port, size);
}

void bus_port_write(Bus *bus, uint16_t port, unsigned size, uint64_t value)
{
    access_write(bus, true, port, size, value);
}

uint64_t bus_mmio_read(Bus *bus, uint64_t address, unsigned size)
{
    return access_read(bus, false, address, size);
}

void bus_mmio_write(Bus *bus, uint64_t address, unsigned size, uint64_t value)
{
    access_write(bus, false, address, size, value);
}

void bus_set_block_io(BusRegion *region, const BusBlockOps *ops)
{
    region->block = ops;
}

void bus_port_read_block(Bus *bus, uint16_t port, unsigned size, uint32_t count, void *data)
{
    BusRegion *region = bus->ports[port];
    if (region && region->block && region->block->read && engage(region)) {
        region->block->read(region->opaque, port - region->base, size, count, data);
        disengage(region);
        return;
    }
    uint8_t *out = data;
    for (uint32_t i = 0; i < count; i++, out += size) {
        uint8_t bytes[8];
        le64_write(bytes, bus_port_read(bus, port, size));
        memcpy(out, bytes, size);
    }
}

void bus_port_write_block(Bus *bus, uint16_t port, unsigned size, uint32_t count, const void *data)
{
    BusRegion *region = bus->ports[port];
    if (region && region->block && region->block->write && engage(region)) {
        region->block->write(region->opaque, port - region->base, size, count, data);
        disengage(region);
        return;
    }
    const uint8_t *from = data;
    for (uint32_t i = 0; i < count; i++, from += size) {
        uint8_t bytes[8] = { 0 };
        memcpy(bytes, from, size);
        bus_port_write(bus, port, size, le64_read(bytes));
    }
}

void bus_for_each(Bus *bus, void (*visit)(void *opaque, const BusRange *range), void *opaque)
{
    BusRegion *last = NULL;
    for (unsigned port = 0; port < 65536; port++) {
        BusRegion *r = bus->ports[port];
        if (r && r != last)
            visit(opaque, &(BusRange){ r->name, r->base, r->size, true });
        last = r;
    }
    for (guint i = 0; i < bus->spans->len; i++) {
        MmioSpan *s = &g_array_index(bus->spans, MmioSpan, i);
        visit(opaque, &(BusRange){ s->region->name, s->start, s->end - s->start, false });
    }
}
