// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/uart-16550.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

#define PORT 0x3f8

typedef struct {
    GString *sent;
    bool full;
    unsigned rooms;
    CharFrontend frontend;
} Terminal;

static size_t terminal_write(void *opaque, const uint8_t *data, size_t size)
{
    Terminal *t = opaque;
    if (t->full)
        return 0;
    g_string_append_len(t->sent, (const char *)data, (gssize)size);
    return size;
}

static void terminal_attach(void *opaque, const CharFrontend *frontend)
{
    ((Terminal *)opaque)->frontend = frontend ? *frontend : (CharFrontend){ 0 };
}

static void terminal_room(void *opaque)
{
    ((Terminal *)opaque)->rooms++;
}

typedef struct {
    ChipRig rig;
    Terminal terminal;
    CharBackend backend;
} Line;

static void plug(Line *line)
{
    rig_open(&line->rig);
    line->terminal = (Terminal){ .sent = g_string_new("") };
    line->backend = (CharBackend){ .write = terminal_write, .attach = terminal_attach,
                                   .room = terminal_room, .opaque = &line->terminal };
    rig_plug(&line->rig, &uart_16550_ops,
             &(Uart16550Config){ .port = PORT, .irq = 4, .backend = &line->backend });
    outb(&line->rig, PORT + 4, 0x0b); // DTR, RTS, OUT2
}

static void unplug(Line *line)
{
    rig_close(&line->rig);
    g_assert_null(line->terminal.frontend.receive);
    g_string_free(line->terminal.sent, TRUE);
}

static void type(Line *line, const char *text)
{
    CharFrontend *f = &line->terminal.frontend;
    while (*text && f->can_receive(f->opaque))
        f->receive(f->opaque, (const uint8_t *)text++, 1);
}

static void transmit(void)
{
    Line line;
    plug(&line);
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0x60);
    outb(&line.rig, PORT, 'h');
    outb(&line.rig, PORT, 'i');
    g_assert_cmpstr(line.terminal.sent->str, ==, "hi");
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0x60);
    unplug(&line);
}

static void transmit_interrupt(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 1, 2);
    g_assert_true(line.rig.irq_level[4]);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x02);
    g_assert_false(line.rig.irq_level[4]); // reading IIR takes it
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x01);
    outb(&line.rig, PORT, 'x');
    g_assert_true(line.rig.irq_level[4]);
    unplug(&line);
}

static void out2_gates(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 4, 0x03);
    outb(&line.rig, PORT + 1, 2);
    g_assert_false(line.rig.irq_level[4]);
    outb(&line.rig, PORT + 4, 0x0b);
    g_assert_true(line.rig.irq_level[4]);
    unplug(&line);
}

static void slow_backend(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 2, 1);
    line.terminal.full = true;
    for (unsigned i = 0; i < 20; i++) // four more than the FIFO holds
        outb(&line.rig, PORT, (uint8_t)('a' + i));
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0);
    line.terminal.full = false;
    clock_advance(line.rig.host.clock, 10000000);
    g_assert_cmpstr(line.terminal.sent->str, ==, "abcdefghijklmnop");
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0x60);
    unplug(&line);
}

static void dead_backend(void)
{
    Line line;
    plug(&line);
    line.terminal.full = true;
    outb(&line.rig, PORT, 'x');
    clock_advance(line.rig.host.clock, 2 * NS_PER_SECOND);
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0x60); // lost, but the guest goes on
    line.terminal.full = false;
    outb(&line.rig, PORT, 'y');
    g_assert_cmpstr(line.terminal.sent->str, ==, "y");
    unplug(&line);
}

static void receive_fifo_trigger(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 2, 0x81); // FIFOs, trigger at 8
    outb(&line.rig, PORT + 1, 1);
    type(&line, "1234567");
    g_assert_false(line.rig.irq_level[4]);
    type(&line, "8");
    g_assert_true(line.rig.irq_level[4]);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0xc4);
    g_assert_cmpint(inb(&line.rig, PORT), ==, '1');
    g_assert_false(line.rig.irq_level[4]); // below the trigger again
    g_assert_cmphex(inb(&line.rig, PORT + 5) & 1, ==, 1);
    unplug(&line);
}

static void receive_timeout(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 3, 0x83); // 8N1, DLAB
    outb(&line.rig, PORT, 1);        // 115200 baud
    outb(&line.rig, PORT + 1, 0);
    outb(&line.rig, PORT + 3, 0x03);
    outb(&line.rig, PORT + 2, 0xc1);
    outb(&line.rig, PORT + 1, 1);
    type(&line, "abc");
    clock_advance(line.rig.host.clock, 340000);
    g_assert_false(line.rig.irq_level[4]);
    clock_advance(line.rig.host.clock, 20000); // four characters are 347 us
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0xcc);
    g_assert_cmpint(inb(&line.rig, PORT), ==, 'a');
    g_assert_false(line.rig.irq_level[4]);
    unplug(&line);
}

static void backpressure(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 2, 1);
    type(&line, "0123456789abcdefXYZ");
    CharFrontend *f = &line.terminal.frontend;
    g_assert_cmpuint(f->can_receive(f->opaque), ==, 0);
    unsigned rooms = line.terminal.rooms;
    for (unsigned i = 0; i < 16; i++)
        g_assert_cmpint(inb(&line.rig, PORT), ==, "0123456789abcdef"[i]);
    g_assert_cmpuint(line.terminal.rooms, >, rooms);
    g_assert_cmphex(inb(&line.rig, PORT + 5) & 3, ==, 0);
    unplug(&line);
}

static void overrun_in_loopback(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 4, 0x1b);
    outb(&line.rig, PORT, 'a');
    outb(&line.rig, PORT, 'b');
    g_assert_cmphex(inb(&line.rig, PORT + 5) & 3, ==, 3);
    g_assert_cmphex(inb(&line.rig, PORT + 5) & 2, ==, 0);
    g_assert_cmpint(inb(&line.rig, PORT), ==, 'b'); // without FIFOs the newer one stays
    g_assert_cmpuint(line.terminal.sent->len, ==, 0);
    unplug(&line);
}

static void loopback_modem_lines(void)
{
    Line line;
    plug(&line);
    g_assert_cmphex(inb(&line.rig, PORT + 6), ==, 0xb0);
    outb(&line.rig, PORT + 4, 0x1a); // RTS and OUT2: CTS and DCD
    g_assert_cmphex(inb(&line.rig, PORT + 6) & 0xf0, ==, 0x90);
    outb(&line.rig, PORT + 4, 0x10);
    g_assert_cmphex(inb(&line.rig, PORT + 6), ==, 0x09); // both have changed
    outb(&line.rig, PORT + 4, 0x14);
    g_assert_cmphex(inb(&line.rig, PORT + 6), ==, 0x40); // RI: only its end counts
    outb(&line.rig, PORT + 4, 0x10);
    g_assert_cmphex(inb(&line.rig, PORT + 6), ==, 0x04);
    unplug(&line);
}

static void priorities(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 4, 0x1b);
    outb(&line.rig, PORT + 1, 0x0f);
    inb(&line.rig, PORT + 6);
    outb(&line.rig, PORT, 'a');
    outb(&line.rig, PORT, 'b'); // overrun, data, transmitter empty
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x06);
    inb(&line.rig, PORT + 5);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x04);
    inb(&line.rig, PORT);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x02);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x01);
    outb(&line.rig, PORT + 4, 0x1a); // DTR falls: DSR changes
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0x00);
    unplug(&line);
}

static void divisor_and_scratch(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 7, 0xa5);
    outb(&line.rig, PORT + 3, 0x80);
    outb(&line.rig, PORT, 0x34);
    outb(&line.rig, PORT + 1, 0x12);
    g_assert_cmphex(inb(&line.rig, PORT), ==, 0x34);
    g_assert_cmphex(inb(&line.rig, PORT + 1), ==, 0x12);
    outb(&line.rig, PORT + 3, 0);
    g_assert_cmphex(inb(&line.rig, PORT + 1), ==, 0);
    g_assert_cmphex(inb(&line.rig, PORT + 7), ==, 0xa5);
    g_assert_cmpuint(line.terminal.sent->len, ==, 0);
    unplug(&line);
}

static void fcr_clears(void)
{
    Line line;
    plug(&line);
    outb(&line.rig, PORT + 2, 1);
    type(&line, "abc");
    outb(&line.rig, PORT + 2, 3);
    g_assert_cmphex(inb(&line.rig, PORT + 5), ==, 0x60);
    g_assert_cmphex(inb(&line.rig, PORT + 2), ==, 0xc1);
    unplug(&line);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/uart-16550/transmit", transmit);
    g_test_add_func("/uart-16550/transmit-interrupt", transmit_interrupt);
    g_test_add_func("/uart-16550/out2-gates", out2_gates);
    g_test_add_func("/uart-16550/backend/slow", slow_backend);
    g_test_add_func("/uart-16550/backend/dead", dead_backend);
    g_test_add_func("/uart-16550/receive/trigger", receive_fifo_trigger);
    g_test_add_func("/uart-16550/receive/timeout", receive_timeout);
    g_test_add_func("/uart-16550/receive/backpressure", backpressure);
    g_test_add_func("/uart-16550/loopback/overrun", overrun_in_loopback);
    g_test_add_func("/uart-16550/loopback/modem-lines", loopback_modem_lines);
    g_test_add_func("/uart-16550/priorities", priorities);
    g_test_add_func("/uart-16550/divisor", divisor_and_scratch);
    g_test_add_func("/uart-16550/fcr", fcr_clears);
    return g_test_run();
}
