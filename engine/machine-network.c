// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's network cards and what is behind them.
#include "engine/machine-private.h"

#include "engine/devices/network/e1000.h"
#include "engine/devices/virtio/virtio-net.h"
#include "engine/firmware/rom-loader.h"
#include "engine/netd/net-nat.h"

#include <string.h>

static const char *setting(const Machine *machine, unsigned network, const char *key)
{
    return config_string_at(machine->config, "network", network, key);
}

// "[ADDRESS:]HOST:GUEST[/udp]", checked by the key table. The address is kept in `strings`.
static NetForward parse_forward(const char *text, GPtrArray *strings)
{
    NetForward forward = { .udp = g_str_has_suffix(text, "/udp") };
    g_autofree char *host = g_strndup(text, (gsize)(strrchr(text, ':') - text));
    forward.guest_port = (uint16_t)g_ascii_strtoull(strrchr(text, ':') + 1, NULL, 10);
    char *port = strrchr(host, ':');
    forward.host_port = (uint16_t)g_ascii_strtoull(port ? port + 1 : host, NULL, 10);
    if (port) {
        bool bracketed = *host == '[';
        g_ptr_array_add(strings, g_strndup(host + bracketed, (gsize)(port - host) - 2 * bracketed));
        forward.host_address = strings->pdata[strings->len - 1];
    }
    return forward;
}

static NetNat *open_nat(Machine *machine, unsigned network, GError **error)
{
    g_autoptr(GPtrArray) strings = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) forwards = g_array_new(FALSE, FALSE, sizeof(NetForward));
    g_auto(GStrv) parts = g_strsplit(setting(machine, network, "forward"), ",", -1);
    for (char **part = parts; *part && **part; part++) {
        NetForward forward = parse_forward(*part, strings);
        g_array_append_val(forwards, forward);
    }
    NetNatConfig config = {
        .forwards = (const NetForward *)forwards->data,
        .forward_count = forwards->len,
    };
    return net_nat_new(&config, bus_mutex(machine->bus), error);
}

bool machine_open_network(Machine *machine, GError **error)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        if (strcmp(setting(machine, i, "mode"), "nat") != 0)
            continue;
        machine->nat[i] = open_nat(machine, i, error);
        if (!machine->nat[i])
            return false;
    }
    return true;
}

// The boot ROM is a help, not a need: without it the card cannot boot from the network.
static const uint8_t *rom_bytes(RomId id, GBytes **ret_rom, size_t *ret_size)
{
    g_autoptr(GError) error = NULL;
    *ret_rom = rom_load(id, &error);
    if (!*ret_rom) {
        g_info("no network boot: %s", error->message);
        *ret_size = 0;
        return NULL;
    }
    return g_bytes_get_data(*ret_rom, ret_size);
}

static bool build_virtio(Machine *machine, unsigned network, GError **error)
{
    g_autoptr(GBytes) rom = NULL;
    VirtioNetConfig config = {
        .devfn = PCI_DEVFN(SLOT_NETWORK + network, 0),
        .backend = *net_nat_backend(machine->nat[network]),
    };
    config.rom = rom_bytes(ROM_NET_VIRTIO, &rom, &config.rom_size);
    config_mac(machine->config, network, config.mac);
    return machine_add_device(machine, &virtio_net_ops, &config, error) != NULL;
}

static bool build_e1000(Machine *machine, unsigned network, GError **error)
{
    g_autoptr(GBytes) rom = NULL;
    E1000Config config = {
        .devfn = PCI_DEVFN(SLOT_NETWORK + network, 0),
        .backend = *net_nat_backend(machine->nat[network]),
    };
    config.rom = rom_bytes(ROM_NET_E1000, &rom, &config.rom_size);
    config_mac(machine->config, network, config.mac);
    return machine_add_device(machine, &e1000_ops, &config, error) != NULL;
}

bool machine_build_network(Machine *machine, GError **error)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++) {
        bool virtio = strcmp(setting(machine, i, "model"), "virtio") == 0;
        if (machine->nat[i] &&
            !(virtio ? build_virtio(machine, i, error) : build_e1000(machine, i, error)))
            return false;
    }
    return true;
}

void machine_close_network(Machine *machine)
{
    for (unsigned i = 0; i < NETWORKS_MAX; i++)
        g_clear_pointer(&machine->nat[i], net_nat_free);
}
