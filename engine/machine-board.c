// SPDX-License-Identifier: GPL-2.0-or-later
// The chips of board classic-1 and the wires between them (engine/devices/chipset/README.md has the
// diagram): i440FX, PIIX3, PIIX4's power management, the interrupt controllers, timers, CMOS.
#include "engine/machine-private.h"

#include "engine/devices/chipset/acpi-pm.h"
#include "engine/devices/chipset/dma-8237.h"
#include "engine/devices/chipset/host-i440fx.h"
#include "engine/devices/chipset/hpet.h"
#include "engine/devices/chipset/ioapic-82093.h"
#include "engine/devices/chipset/isa-piix3.h"
#include "engine/devices/chipset/lapic.h"
#include "engine/devices/chipset/pic-8259.h"
#include "engine/devices/chipset/pit-8254.h"
#include "engine/devices/chipset/rtc-mc146818.h"
#include "engine/devices/input/i8042.h"
#include "engine/devices/input/ps2-keyboard.h"
#include "engine/devices/input/ps2-mouse.h"
#include "engine/devices/input/vmware-backdoor.h"
#include "engine/devices/storage/fdc-82077.h"
#include "engine/devices/virtio/virtio-rng.h"
#include "engine/firmware/rom-loader.h"

#include <string.h>

#define IOAPIC_BASE 0xfec00000u
#define HPET_BASE 0xfed00000u

static void a20_changed(void *opaque, bool on)
{
    Machine *machine = opaque;
    vcpu_set_a20(machine->vcpus, on);
}

static void firmware_line(void *opaque, const char *line)
{
    Machine *machine = opaque;
    if (machine->options.firmware_line)
        machine->options.firmware_line(machine->options.opaque, line);
}

static bool tick_waits(void *opaque)
{
    Machine *machine = opaque;
    return pic_8259_waits(machine->pic, 0);
}

static bool load_bios(Machine *machine, GError **error)
{
    g_autoptr(GBytes) rom = rom_load(ROM_BIOS, error);
    if (!rom)
        return false;
    machine->bios = ram_block_new("bios", g_bytes_get_size(rom), error);
    if (!machine->bios)
        return false;
    memcpy(machine->bios->host, g_bytes_get_data(rom, NULL), g_bytes_get_size(rom));
    return true;
}

// The local APICs first: the message path and the CPUs' wires start there.
static bool build_interrupts(Machine *machine, GError **error)
{
    LapicConfig lapic = {
        .cpus = machine->cpus,
        .x2apic = cpuid_model_has(&machine->cpuid, CPU_FEATURE_X2APIC),
        .tsc_deadline = cpuid_model_has(&machine->cpuid, CPU_FEATURE_TSC_DEADLINE),
        .wires = vcpu_set_wires(machine->vcpus),
    };
    machine->lapic = machine_add_device(machine, &lapic_ops, &lapic, error);
    if (!machine->lapic)
        return false;
    vcpu_set_connect_apic(machine->vcpus, lapic_border(machine->lapic));
    machine->host.msi = lapic_msi_sink(machine->lapic);
    for (unsigned irq = 0; irq < 16; irq++)
        machine->host.isa_irq[irq] = isa_irq_line(&machine->isa, irq);

    Pic8259Config pic = { .interrupt = lapic_pic_line(machine->lapic) };
    Ioapic82093Config ioapic = { .base = IOAPIC_BASE, .id = 0 };
    machine->pic = machine_add_device(machine, &pic_8259_ops, &pic, error);
    machine->ioapic =
        machine->pic ? machine_add_device(machine, &ioapic_82093_ops, &ioapic, error) : NULL;
    if (!machine->ioapic)
        return false;
    lapic_connect_pic(machine->lapic, pic_8259_acknowledge, machine->pic);
    lapic_connect_ioapic(machine->lapic, ioapic_82093_eoi, machine->ioapic);
    isa_irq_wires_init(&machine->isa, pic_8259_line, machine->pic, ioapic_82093_line,
                       machine->ioapic);
    return true;
}

static bool build_bridges(Machine *machine, GError **error)
{
    machine->pci = pci_bus_new(&machine->host, (IrqLine){ 0 });
    machine->host.pci = machine->pci;
    HostI440fxConfig host = {
        .ram = machine->ram->host,
        .ram_size = machine->ram->size,
        .bios = machine->bios->host,
        .bios_size = machine->bios->size,
    };
    IsaPiix3Config isa = {
        .a20_changed = a20_changed,
        .a20_opaque = machine,
        .debug_line = firmware_line,
        .debug_opaque = machine,
    };
    AcpiPmConfig pm = { 0 };
    if (!machine_add_device(machine, &host_i440fx_ops, &host, error))
        return false;
    machine->piix3 = machine_add_device(machine, &isa_piix3_ops, &isa, error);
    if (!machine->piix3)
        return false;
    machine->pm = machine_add_device(machine, &acpi_pm_ops, &pm, error);
    return machine->pm != NULL;
}

// Seconds that the guest's clock shows at virtual time 0: the host's UTC, which Linux expects and
// Windows can be told to.
static int64_t start_time(void)
{
    return clock_wall() / G_USEC_PER_SEC;
}

// CMOS byte 10h.
static uint8_t floppy_types(const Machine *machine)
{
    uint8_t types = 0;
    for (unsigned i = 0; i < FLOPPIES_MAX; i++) {
        if (machine->floppies[i])
            types |= (uint8_t)(fdc_drive_type(block_size(machine->floppies[i])) << (i ? 0 : 4));
    }
    return types;
}

static uint8_t rtc_boot_device(const char *name)
{
    static const struct {
        const char *name;
        uint8_t code;
    } codes[] = { { "floppy", RTC_BOOT_FLOPPY },
                  { "disk", RTC_BOOT_DISK },
                  { "cdrom", RTC_BOOT_CD },
                  { "network", RTC_BOOT_NET } };
    for (size_t i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (strcmp(name, codes[i].name) == 0)
            return codes[i].code;
    }
    return RTC_BOOT_NONE;
}

static bool build_timers(Machine *machine, GError **error)
{
    void *hpet = NULL;
    if (config_boolean(machine->config, "board.hpet")) {
        HpetConfig config = {
            .base = HPET_BASE,
            .pins = ioapic_82093_line(machine->ioapic, 0),
            .irq0 = machine->host.isa_irq[0],
            .irq8 = machine->host.isa_irq[8],
            .tick_waits = tick_waits,
            .tick_opaque = machine,
        };
        hpet = machine_add_device(machine, &hpet_ops, &config, error);
        if (!hpet)
            return false;
    }
    Dma8237Config dma = { 0 };
    Pit8254Config pit = {
        .irq = hpet ? hpet_legacy_input(hpet, 0) : machine->host.isa_irq[0],
        .tick_waits = tick_waits,
        .tick_opaque = machine,
    };
    RtcMc146818Config rtc = {
        .irq = hpet ? hpet_legacy_input(hpet, 1) : machine->host.isa_irq[8],
        .start_time = start_time(),
        .ram_below_4g = host_i440fx_ram_below_4g(machine->ram->size),
        .ram_above_4g = host_i440fx_ram_above_4g(machine->ram->size),
        .cpus = machine->cpus,
        .floppy_types = floppy_types(machine),
    };
    g_auto(GStrv) order = g_strsplit(config_string(machine->config, "boot.order"), ",", -1);
    for (unsigned i = 0; i < G_N_ELEMENTS(rtc.boot_order) && order[i]; i++)
        rtc.boot_order[i] = rtc_boot_device(order[i]);
    if (!machine_add_device(machine, &pit_8254_ops, &pit, error))
        return false;
    machine->rtc = machine_add_device(machine, &rtc_mc146818_ops, &rtc, error);
    machine->dma = machine->rtc ? machine_add_device(machine, &dma_8237_ops, &dma, error) : NULL;
    return machine->dma != NULL;
}

static bool build_input(Machine *machine, GError **error)
{
    Ps2KeyboardConfig keyboard_config = { machine->input };
    Ps2MouseConfig mouse_config = { machine->input };
    void *keyboard = machine_add_device(machine, &ps2_keyboard_ops, &keyboard_config, error);
    void *mouse =
        keyboard ? machine_add_device(machine, &ps2_mouse_ops, &mouse_config, error) : NULL;
    if (!mouse)
        return false;
    I8042Config i8042 = {
        .keyboard = ps2_keyboard_port(keyboard),
        .mouse = ps2_mouse_port(mouse),
        .a20 = isa_piix3_a20_line(machine->piix3),
    };
    if (!machine_add_device(machine, &i8042_ops, &i8042, error))
        return false;
    if (!config_boolean(machine->config, "board.absolute-pointer"))
        return true;
    VmwareBackdoorConfig backdoor = {
        .router = machine->input,
        .wake = ps2_mouse_wake,
        .wake_opaque = mouse,
        .start_time = start_time(),
    };
    machine->backdoor = machine_add_device(machine, &vmware_backdoor_ops, &backdoor, error);
    return machine->backdoor != NULL;
}

static bool build_rng(Machine *machine, GError **error)
{
    VirtioRngConfig config = { .devfn = PCI_DEVFN(SLOT_RNG, 0) };
    return !config_boolean(machine->config, "board.rng") ||
           machine_add_device(machine, &virtio_rng_ops, &config, error);
}

// The debug-exit port: a write ends the run with a status (as QEMU's isa-debug-exit, which test
// guests know).

static uint64_t debug_exit_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void debug_exit_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    machine_post(opaque, MACHINE_DEBUG_EXIT, (uint32_t)value, NULL);
}

static const BusOps debug_exit_ops = { debug_exit_read, debug_exit_write, 4 };

bool machine_build_board(Machine *machine, GError **error)
{
    if (!load_bios(machine, error) || !build_interrupts(machine, error) ||
        !build_bridges(machine, error) || !build_timers(machine, error) ||
        !build_input(machine, error) || !build_rng(machine, error) ||
        !machine_build_generation(machine, error))
        return false;
    if (machine->options.debug_exit_port >= 0)
        bus_add_ports(machine->bus, "debug-exit", (uint16_t)machine->options.debug_exit_port, 4,
                      &debug_exit_ops, machine, &machine->debug_exit_engaged);
    return true;
}

void machine_power_button(Machine *machine)
{
    bus_lock(machine->bus);
    acpi_pm_power_button(machine->pm);
    bus_unlock(machine->bus);
}
