// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/isa-piix3.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define DEVFN PCI_DEVFN(1, 0)

typedef struct {
    ChipRig rig;
    bool a20;
    unsigned a20_changes;
    GString *log;
} Board;

static void on_a20(void *opaque, bool on)
{
    Board *board = opaque;
    board->a20 = on;
    board->a20_changes++;
}

static void on_line(void *opaque, const char *line)
{
    g_string_append_printf(((Board *)opaque)->log, "[%s]", line);
}

static size_t on_byte(void *opaque, const uint8_t *data, size_t size)
{
    g_string_append_len(opaque, (const char *)data, (gssize)size);
    return size;
}

static void plug(Board *board)
{
    *board = (Board){ .log = g_string_new("") };
    rig_open(&board->rig);
    rig_plug(&board->rig, &isa_piix3_ops,
             &(IsaPiix3Config){ .a20_changed = on_a20, .a20_opaque = board,
                                .debug_line = on_line, .debug_opaque = board });
}

static void unplug(Board *board)
{
    rig_close(&board->rig);
    g_string_free(board->log, TRUE);
}

static void pirq_routing(void)
{
    Board board;
    plug(&board);
    PciBus *pci = board.rig.host.pci;
    PciDevice card[2];
    PciConfig config = { .name = "card", .devfn = PCI_DEVFN(3, 0), .interrupt_pin = 1 };
    g_assert_true(pci_add(pci, &card[0], &config, NULL, NULL)); // INTA# of slot 3: PIRQC
    config.devfn = PCI_DEVFN(4, 0);
    g_assert_true(pci_add(pci, &card[1], &config, NULL, NULL)); // PIRQD
    pci_set_intx(&card[0], true);
    g_assert_false(board.rig.irq_level[10]); // off after reset
    pci_config_write(pci, DEVFN, 0x62, 1, 10);
    g_assert_true(board.rig.irq_level[10]);
    pci_config_write(pci, DEVFN, 0x63, 1, 10); // shared
    pci_set_intx(&card[1], true);
    pci_set_intx(&card[0], false);
    g_assert_true(board.rig.irq_level[10]);
    pci_config_write(pci, DEVFN, 0x63, 1, 11); // moved while active
    g_assert_false(board.rig.irq_level[10]);
    g_assert_true(board.rig.irq_level[11]);
    pci_config_write(pci, DEVFN, 0x63, 1, 0x8b);
    g_assert_false(board.rig.irq_level[11]);
    pci_config_write(pci, DEVFN, 0x63, 1, 8); // no such route
    g_assert_false(board.rig.irq_level[8]);
    pci_remove(&card[0]);
    pci_remove(&card[1]);
    unplug(&board);
}

static void a20(void)
{
    Board board;
    plug(&board);
    g_assert_true(board.a20);
    IrqLine keyboard = isa_piix3_a20_line(board.rig.chip);
    irq_set(&keyboard, false);
    g_assert_false(board.a20);
    outb(&board.rig, 0x92, 2);
    g_assert_true(board.a20);
    irq_set(&keyboard, true);
    g_assert_cmpuint(board.a20_changes, ==, 3);
    outb(&board.rig, 0x92, 0);
    g_assert_true(board.a20);
    g_assert_cmphex(inb(&board.rig, 0x92), ==, 0);
    unplug(&board);
}

static void resets(void)
{
    Board board;
    plug(&board);
    outb(&board.rig, 0x92, 1);
    g_assert_cmpuint(board.rig.resets, ==, 1);
    outb(&board.rig, 0x92, 1); // no rise
    g_assert_cmpuint(board.rig.resets, ==, 1);
    outb(&board.rig, 0xcf9, 0x02);
    g_assert_cmphex(inb(&board.rig, 0xcf9), ==, 0x02);
    outb(&board.rig, 0xcf9, 0x06);
    g_assert_cmpuint(board.rig.resets, ==, 2);
    // Within CF8h's doubleword, but not its register.
    bus_port_write(board.rig.host.bus, 0xcf8, 4, 0x80000600);
    g_assert_cmpuint(board.rig.resets, ==, 2);
    unplug(&board);
}

static void debug_lines(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(inb(&board.rig, 0x402), ==, 0xe9);
    for (const char *c = "Hello\r\n\nworld\n..."; *c; c++)
        outb(&board.rig, 0x402, (uint8_t)*c);
    g_assert_cmpstr(board.log->str, ==, "[Hello][][world]");
    g_string_truncate(board.log, 0);
    for (unsigned i = 0; i < 1000; i++)
        outb(&board.rig, 0x402, 'x');
    g_assert_cmpuint(board.log->len, >=, 3 * 255); // no endless line
    unplug(&board);
}

static void debug_console(void)
{
    ChipRig rig;
    g_autoptr(GString) text = g_string_new("");
    CharBackend backend = { .write = on_byte, .opaque = text };
    rig_open(&rig);
    rig_plug(&rig, &isa_piix3_ops, &(IsaPiix3Config){ .debug_console = &backend });
    outb(&rig, 0x402, 'o');
    outb(&rig, 0x402, 'k');
    g_assert_cmpstr(text->str, ==, "ok");
    rig_close(&rig);
}

static void port_80(void)
{
    Board board;
    plug(&board);
    outb(&board.rig, 0x80, 0x42);
    g_assert_cmphex(inb(&board.rig, 0x80), ==, 0x42);
    unplug(&board);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/isa-piix3/pirq", pirq_routing);
    g_test_add_func("/isa-piix3/a20", a20);
    g_test_add_func("/isa-piix3/resets", resets);
    g_test_add_func("/isa-piix3/debug/lines", debug_lines);
    g_test_add_func("/isa-piix3/debug/console", debug_console);
    g_test_add_func("/isa-piix3/port-80", port_80);
    return g_test_run();
}
