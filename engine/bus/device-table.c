// SPDX-License-Identifier: GPL-2.0-or-later
// Every device, in the order in which a board creates them. A sample config is for a machine with
// nothing behind its devices: no disks, no network, nobody who looks or types.
#include "engine/bus/device-table.h"

#include "engine/bus/pci.h"
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
#include "engine/devices/chipset/uart-16550.h"
#include "engine/devices/chipset/vm-generation.h"
#include "engine/devices/display/vga.h"
#include "engine/devices/input/i8042.h"
#include "engine/devices/input/ps2-keyboard.h"
#include "engine/devices/input/ps2-mouse.h"
#include "engine/devices/input/vmware-backdoor.h"
#include "engine/devices/storage/fdc-82077.h"
#include "engine/devices/network/e1000.h"
#include "engine/devices/storage/ide-piix3.h"
#include "engine/devices/virtio/virtio-blk.h"
#include "engine/devices/virtio/virtio-console.h"
#include "engine/devices/virtio/virtio-net.h"
#include "engine/devices/virtio/virtio-rng.h"

#define SAMPLE_RAM  0x200000
#define SAMPLE_BIOS 0x20000

// The host bridge maps memory that the machine owns; the sample machine owns this.
static uint8_t sample_memory[SAMPLE_RAM + SAMPLE_BIOS] __attribute__((aligned(4096)));

#define SAMPLE(type, ...) (&(const type){ __VA_ARGS__ })

const DeviceRow device_table[] = {
    { &lapic_ops, SAMPLE(LapicConfig, .cpus = 3, .x2apic = true, .tsc_deadline = true) },
    { &pic_8259_ops, SAMPLE(Pic8259Config, { 0 }) },
    { &ioapic_82093_ops, SAMPLE(Ioapic82093Config, .base = 0xfec00000) },
    { &host_i440fx_ops, SAMPLE(HostI440fxConfig, .ram = sample_memory, .ram_size = SAMPLE_RAM,
                               .bios = sample_memory + SAMPLE_RAM, .bios_size = SAMPLE_BIOS) },
    { &isa_piix3_ops, SAMPLE(IsaPiix3Config, NULL) },
    { &acpi_pm_ops, SAMPLE(AcpiPmConfig, 0) },
    { &hpet_ops, SAMPLE(HpetConfig, .base = 0xfed00000) },
    { &pit_8254_ops, SAMPLE(Pit8254Config, { 0 }) },
    { &rtc_mc146818_ops, SAMPLE(RtcMc146818Config, .start_time = 1700000000, .cpus = 1) },
    { &dma_8237_ops, SAMPLE(Dma8237Config, 0) },
    { &uart_16550_ops, SAMPLE(Uart16550Config, .port = 0x3f8, .irq = 4) },
    { &vm_generation_ops, SAMPLE(VmGenerationConfig, .address = VM_GENERATION_ADDRESS) },
    { &ps2_keyboard_ops, SAMPLE(Ps2KeyboardConfig, NULL) },
    { &ps2_mouse_ops, SAMPLE(Ps2MouseConfig, NULL) },
    { &i8042_ops, SAMPLE(I8042Config, { 0 }) },
    { &vmware_backdoor_ops, SAMPLE(VmwareBackdoorConfig, NULL) },
    { &fdc_82077_ops, SAMPLE(Fdc82077Config, .drives = { { .present = true } }) },
    { &ide_piix3_ops, SAMPLE(IdePiix3Config, .devfn = PCI_DEVFN(1, 1),
                             .drives = { [1] = { { .kind = IDE_CDROM } } }) },
    { &vga_ops, SAMPLE(VgaConfig, .vram_size = 1 << 20, .devfn = PCI_DEVFN(2, 0)) },
    { &virtio_blk_ops, SAMPLE(VirtioBlkConfig, .devfn = PCI_DEVFN(3, 0)) },
    { &virtio_net_ops, SAMPLE(VirtioNetConfig, .devfn = PCI_DEVFN(4, 0)) },
    { &e1000_ops, SAMPLE(E1000Config, .devfn = PCI_DEVFN(5, 0), .mac = { 2, 0, 0, 0, 0, 2 }) },
    { &virtio_rng_ops, SAMPLE(VirtioRngConfig, .devfn = PCI_DEVFN(5, 0)) },
    { &virtio_console_ops, SAMPLE(VirtioConsoleConfig, .devfn = PCI_DEVFN(5, 0), .port_count = 2,
                                  .ports = { { 0 }, { .name = "org.lodge.sample" } },
                                  .console_mask = 1) },
};

const size_t device_table_size = G_N_ELEMENTS(device_table);
