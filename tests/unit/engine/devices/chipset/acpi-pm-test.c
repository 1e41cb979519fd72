// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/acpi-pm.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define DEVFN PCI_DEVFN(1, 3)
#define BASE  0x600

static void plug(ChipRig *rig)
{
    rig_open(rig);
    rig_plug(rig, &acpi_pm_ops, &(AcpiPmConfig){ 0 });
    // As SeaBIOS does it.
    pci_config_write(rig->host.pci, DEVFN, 0x40, 4, BASE | 1);
    pci_config_write(rig->host.pci, DEVFN, 0x80, 1, 1);
    pci_config_write(rig->host.pci, DEVFN, 0x90, 4, (BASE + 0x100) | 1);
    pci_config_write(rig->host.pci, DEVFN, 0xd2, 1, 9);
}

static uint32_t in(ChipRig *rig, uint16_t offset, unsigned size)
{
    return (uint32_t)bus_port_read(rig->host.bus, BASE + offset, size);
}

static void out(ChipRig *rig, uint16_t offset, unsigned size, uint32_t value)
{
    bus_port_write(rig->host.bus, BASE + offset, size, value);
}

static void placement(void)
{
    ChipRig rig;
    plug(&rig);
    g_assert_cmphex(pci_config_read(rig.host.pci, DEVFN, 0, 4), ==, 0x71138086);
    g_assert_cmphex(pci_config_read(rig.host.pci, DEVFN, 0x58, 4) >> 25 & 1, ==, 1); // APMC_EN
    out(&rig, ACPI_PM_EVENT + 2, 2, 0x0121);
    pci_config_write(rig.host.pci, DEVFN, 0x40, 4, 0xb001);
    g_assert_cmphex(in(&rig, ACPI_PM_EVENT + 2, 2), ==, 0xffff);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xb002, 2), ==, 0x0121);
    pci_config_write(rig.host.pci, DEVFN, 0x80, 1, 0);
    g_assert_cmphex(bus_port_read(rig.host.bus, 0xb002, 2), ==, 0xffff);
    rig_close(&rig);
}

static void timer_counts(void)
{
    ChipRig rig;
    plug(&rig);
    uint32_t before = in(&rig, ACPI_PM_TIMER, 4);
    clock_advance(rig.host.clock, NS_PER_SECOND);
    g_assert_cmpuint(in(&rig, ACPI_PM_TIMER, 4) - before, ==, 3579545);
    clock_advance(rig.host.clock, 4 * NS_PER_SECOND);
    g_assert_cmpuint(in(&rig, ACPI_PM_TIMER, 4), ==, 5 * 3579545 - (1 << 24)); // 24 bits
    g_assert_cmphex(in(&rig, ACPI_PM_TIMER + 2, 1), ==, in(&rig, ACPI_PM_TIMER, 4) >> 16);
    rig_close(&rig);
}

static void timer_overflow_sci(void)
{
    ChipRig rig;
    plug(&rig);
    out(&rig, ACPI_PM_CONTROL, 2, 1);
    out(&rig, ACPI_PM_EVENT + 2, 2, 1);
    clock_advance(rig.host.clock, INT64_C(2343000000));
    g_assert_false(rig.irq_level[9]);
    clock_advance(rig.host.clock, 1000000); // bit 23 toggles at 2.3435 s
    g_assert_true(rig.irq_level[9]);
    g_assert_cmphex(in(&rig, ACPI_PM_EVENT, 2), ==, 1);
    out(&rig, ACPI_PM_EVENT, 2, 1);
    g_assert_false(rig.irq_level[9]);
    clock_advance(rig.host.clock, INT64_C(2344000000));
    g_assert_cmpuint(rig.irq_edges[9], ==, 2);
    rig_close(&rig);
}

static void timer_status_without_interrupt(void)
{
    ChipRig rig;
    plug(&rig);
    clock_advance(rig.host.clock, 3 * NS_PER_SECOND);
    g_assert_cmphex(in(&rig, ACPI_PM_EVENT, 2), ==, 1);
    out(&rig, ACPI_PM_EVENT, 2, 1);
    g_assert_cmphex(in(&rig, ACPI_PM_EVENT, 2), ==, 0);
    rig_close(&rig);
}

static void smi_command_enables(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0xb2, ACPI_PM_ENABLE);
    g_assert_cmphex(in(&rig, ACPI_PM_CONTROL, 2), ==, 1);
    outb(&rig, 0xb2, ACPI_PM_DISABLE);
    g_assert_cmphex(in(&rig, ACPI_PM_CONTROL, 2), ==, 0);
    outb(&rig, 0xb3, 0x5a);
    g_assert_cmphex(inb(&rig, 0xb3), ==, 0x5a);
    g_assert_cmphex(inb(&rig, 0xb2), ==, ACPI_PM_DISABLE);
    rig_close(&rig);
}

static void power_button(void)
{
    ChipRig rig;
    plug(&rig);
    acpi_pm_power_button(rig.chip);
    g_assert_false(rig.irq_level[9]);
    outb(&rig, 0xb2, ACPI_PM_ENABLE);
    out(&rig, ACPI_PM_EVENT + 2, 2, 0x100);
    g_assert_true(rig.irq_level[9]);
    out(&rig, ACPI_PM_EVENT + 1, 1, 0x01); // by bytes
    g_assert_false(rig.irq_level[9]);
    rig_close(&rig);
}

static void sleep_types(void)
{
    ChipRig rig;
    plug(&rig);
    out(&rig, ACPI_PM_CONTROL, 2, 1 << 10); // no SLP_EN
    g_assert_cmpuint(rig.sleeps + rig.power_offs, ==, 0);
    out(&rig, ACPI_PM_CONTROL, 2, 1 << 13 | ACPI_PM_SLEEP_S3 << 10);
    g_assert_cmpuint(rig.sleeps, ==, 1);
    out(&rig, ACPI_PM_CONTROL, 2, 1 << 13 | ACPI_PM_SLEEP_S5 << 10);
    g_assert_cmpuint(rig.power_offs, ==, 1);
    out(&rig, ACPI_PM_CONTROL, 2, 1 << 13 | 7 << 10);
    g_assert_cmpuint(rig.sleeps + rig.power_offs, ==, 2);
    g_assert_cmphex(in(&rig, ACPI_PM_CONTROL, 2) & 0x2000, ==, 0); // write-only
    acpi_pm_wake(rig.chip, true);
    g_assert_cmphex(in(&rig, ACPI_PM_EVENT, 2) & 0x8100, ==, 0x8100);
    rig_close(&rig);
}

static void general_events(void)
{
    ChipRig rig;
    plug(&rig);
    outb(&rig, 0xb2, ACPI_PM_ENABLE);
    out(&rig, ACPI_PM_GPE0 + 2, 2, 0x0004);
    acpi_pm_general_event(rig.chip, 3);
    g_assert_false(rig.irq_level[9]);
    acpi_pm_general_event(rig.chip, 2);
    g_assert_true(rig.irq_level[9]);
    g_assert_cmphex(in(&rig, ACPI_PM_GPE0, 4), ==, 0x0004000c);
    out(&rig, ACPI_PM_GPE0, 2, 0x0004);
    g_assert_false(rig.irq_level[9]);
    rig_close(&rig);
}

static void smbus_ends_in_error(void)
{
    ChipRig rig;
    plug(&rig);
    g_assert_cmphex(in(&rig, 0x100, 1), ==, 0);
    out(&rig, 0x104, 1, 0xa0);
    out(&rig, 0x102, 1, 0x48); // start, byte data
    g_assert_cmphex(in(&rig, 0x100, 1), ==, 0x06); // done, nobody answered; not busy
    g_assert_cmphex(in(&rig, 0x102, 1) & 0x40, ==, 0);
    out(&rig, 0x100, 1, 0x06);
    g_assert_cmphex(in(&rig, 0x100, 1), ==, 0);
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi-pm/placement", placement);
    g_test_add_func("/acpi-pm/timer/counts", timer_counts);
    g_test_add_func("/acpi-pm/timer/sci", timer_overflow_sci);
    g_test_add_func("/acpi-pm/timer/status", timer_status_without_interrupt);
    g_test_add_func("/acpi-pm/smi-command", smi_command_enables);
    g_test_add_func("/acpi-pm/power-button", power_button);
    g_test_add_func("/acpi-pm/sleep", sleep_types);
    g_test_add_func("/acpi-pm/general-events", general_events);
    g_test_add_func("/acpi-pm/smbus", smbus_ends_in_error);
    return g_test_run();
}
