// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's serial ports and who listens at them.
#include "engine/machine-private.h"

#include "engine/devices/chipset/uart-16550.h"
#include "engine/devices/virtio/virtio-console.h"
#include "engine/spice/lodge-spice.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>

static const struct {
    uint16_t port;
    unsigned irq;
} uarts[MACHINE_SERIAL_UARTS] = { { 0x3f8, 4 }, { 0x2f8, 3 } };

bool machine_open_serial(Machine *machine, GError **error)
{
    if (config_boolean(machine->config, "board.virtio-console"))
        machine->serial[MACHINE_SERIAL_UARTS] = char_tee_new();
    for (unsigned i = 0; i < MACHINE_SERIAL_UARTS; i++) {
        const char *mode = config_string_at(machine->config, "serial", i, "mode");
        if (strcmp(mode, "none") == 0)
            continue;
        machine->serial[i] = char_tee_new();
        if (strcmp(mode, "file") != 0)
            continue;
        g_autofree char *path = config_resolve_path(
            machine->folder, config_string_at(machine->config, "serial", i, "path"));
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (fd < 0) {
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
                        "%s cannot be written for serial port %u: %s; choose another file", path, i,
                        g_strerror(errno));
            return false;
        }
        CharStreamConfig config = { .input = -1, .output = fd,
                                    .machine_lock = bus_mutex(machine->bus) };
        machine->serial_file[i] = char_stream_new(&config);
    }
    return true;
}

static bool build_virtio_console(Machine *machine, GError **error)
{
    VirtioConsoleConfig config = {
        .devfn = PCI_DEVFN(SLOT_CONSOLE, 0),
        .ports = { { .backend = char_tee_backend(machine->serial[MACHINE_SERIAL_UARTS]) } },
        .port_count = 1,
        .console_mask = 1,
    };
    return machine_add_device(machine, &virtio_console_ops, &config, error) != NULL;
}

bool machine_build_serial(Machine *machine, GError **error)
{
    for (unsigned i = 0; machine->spice && i < MACHINE_SERIAL_MAX; i++)
        if (machine->serial[i])
            char_tee_add(machine->serial[i], lodge_spice_serial(machine->spice, i), false);
    for (unsigned i = 0; i < MACHINE_SERIAL_UARTS; i++) {
        if (!machine->serial[i])
            continue;
        if (machine->serial_file[i])
            char_tee_add(machine->serial[i], char_stream_backend(machine->serial_file[i]), false);
        Uart16550Config config = {
            .port = uarts[i].port,
            .irq = uarts[i].irq,
            .backend = char_tee_backend(machine->serial[i]),
        };
        if (!machine_add_device(machine, &uart_16550_ops, &config, error))
            return false;
    }
    return !machine->serial[MACHINE_SERIAL_UARTS] || build_virtio_console(machine, error);
}

void machine_close_serial(Machine *machine)
{
    for (unsigned i = 0; i < MACHINE_SERIAL_MAX; i++) {
        g_clear_pointer(&machine->serial_file[i], char_stream_free);
        g_clear_pointer(&machine->serial[i], char_tee_free);
    }
}

uint32_t machine_serial_ports(const Machine *machine)
{
    uint32_t mask = 0;
    for (unsigned i = 0; i < MACHINE_SERIAL_MAX; i++)
        mask |= machine->serial[i] ? 1u << i : 0;
    return mask;
}

bool machine_add_serial(Machine *machine, unsigned port, const CharBackend *listener, bool replay)
{
    if (port >= MACHINE_SERIAL_MAX || !machine->serial[port])
        return false;
    bus_lock(machine->bus);
    char_tee_add(machine->serial[port], listener, replay);
    bus_unlock(machine->bus);
    return true;
}

void machine_remove_serial(Machine *machine, unsigned port, const CharBackend *listener)
{
    if (port >= MACHINE_SERIAL_MAX || !machine->serial[port])
        return;
    bus_lock(machine->bus);
    char_tee_remove(machine->serial[port], listener->opaque);
    bus_unlock(machine->bus);
}
