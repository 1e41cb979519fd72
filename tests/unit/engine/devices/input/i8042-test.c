// SPDX-License-Identifier: GPL-2.0-or-later
// The keyboard controller with its two devices, as a guest drives them.
#include "engine/devices/input/i8042.h"
#include "engine/devices/input/ps2-keyboard.h"
#include "engine/devices/input/ps2-mouse.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

typedef struct {
    ChipRig rig;
    InputRouter *router;
    void *keyboard, *mouse;
    bool a20;
    unsigned leds;
} Board;

static void set_a20(void *opaque, unsigned line, bool level)
{
    ((Board *)opaque)->a20 = level;
}

static void on_leds(void *opaque, unsigned leds)
{
    ((Board *)opaque)->leds = leds;
}

static void plug(Board *board)
{
    *board = (Board){ .router = input_router_new() };
    rig_open(&board->rig);
    const DeviceHost *host = &board->rig.host;
    input_on_leds(board->router, on_leds, board);
    board->keyboard = ps2_keyboard_ops.create(&(Ps2KeyboardConfig){ board->router }, host, NULL);
    board->mouse = ps2_mouse_ops.create(&(Ps2MouseConfig){ board->router }, host, NULL);
    ps2_keyboard_ops.reset(board->keyboard, RESET_COLD);
    ps2_mouse_ops.reset(board->mouse, RESET_COLD);
    rig_plug(&board->rig, &i8042_ops,
             &(I8042Config){ .keyboard = ps2_keyboard_port(board->keyboard),
                             .mouse = ps2_mouse_port(board->mouse),
                             .a20 = { set_a20, board, 0 } });
}

static void unplug(Board *board)
{
    rig_close(&board->rig);
    ps2_keyboard_ops.destroy(board->keyboard);
    ps2_mouse_ops.destroy(board->mouse);
    input_router_free(board->router);
}

static uint8_t status(Board *board)
{
    return inb(&board->rig, 0x64);
}

static void command(Board *board, uint8_t byte)
{
    outb(&board->rig, 0x64, byte);
}

static void data(Board *board, uint8_t byte)
{
    outb(&board->rig, 0x60, byte);
}

static void to_mouse(Board *board, uint8_t byte)
{
    command(board, 0xd4);
    data(board, byte);
}

// The bytes that come next, all from one source, and nothing after them.
static void assert_bytes(Board *board, bool aux, const uint8_t *want, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_assert_cmphex(status(board) & 0x21, ==, aux ? 0x21 : 0x01);
        g_assert_cmphex(inb(&board->rig, 0x60), ==, want[i]);
    }
    g_assert_cmphex(status(board) & 1, ==, 0);
}

#define KEYBOARD(board, ...)                                                                       \
    assert_bytes(board, false, (const uint8_t[]){ __VA_ARGS__ },                                   \
                 sizeof((const uint8_t[]){ __VA_ARGS__ }))
#define MOUSE(board, ...)                                                                          \
    assert_bytes(board, true, (const uint8_t[]){ __VA_ARGS__ },                                    \
                 sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void self_tests(void)
{
    Board board;
    plug(&board);
    g_assert_cmphex(status(&board), ==, 0x10);
    command(&board, 0xaa);
    KEYBOARD(&board, 0x55);
    g_assert_cmphex(status(&board) & 4, ==, 4);
    command(&board, 0xab);
    KEYBOARD(&board, 0x00);
    command(&board, 0xa9);
    KEYBOARD(&board, 0x00);
    command(&board, 0xc0);
    KEYBOARD(&board, 0x80);
    unplug(&board);
}

static void command_byte(void)
{
    Board board;
    plug(&board);
    command(&board, 0x60);
    g_assert_cmphex(status(&board) & 8, ==, 8);
    data(&board, 0x65);
    g_assert_cmphex(status(&board) & 8, ==, 0);
    command(&board, 0x20);
    KEYBOARD(&board, 0x65);
    command(&board, 0xad);
    command(&board, 0xa7);
    command(&board, 0x20);
    KEYBOARD(&board, 0x75);
    command(&board, 0xae);
    command(&board, 0xa8);
    command(&board, 0x20);
    KEYBOARD(&board, 0x45);
    command(&board, 0x71); // RAM byte 11h
    data(&board, 0x99);
    command(&board, 0x31);
    KEYBOARD(&board, 0x99);
    unplug(&board);
}

static void a20_gate(void)
{
    Board board;
    plug(&board);
    g_assert_true(board.a20);
    command(&board, 0xd1);
    data(&board, 0xdd);
    g_assert_false(board.a20);
    command(&board, 0xd0);
    KEYBOARD(&board, 0xcd);
    command(&board, 0xd1);
    data(&board, 0xdf);
    g_assert_true(board.a20);
    command(&board, 0xdd);
    g_assert_false(board.a20);
    command(&board, 0xdf);
    g_assert_true(board.a20);
    g_assert_cmpuint(board.rig.resets, ==, 0);
    unplug(&board);
}

static void reset_pulse(void)
{
    Board board;
    plug(&board);
    command(&board, 0xff); // no line pulsed
    g_assert_cmpuint(board.rig.resets, ==, 0);
    command(&board, 0xfe);
    g_assert_cmpuint(board.rig.resets, ==, 1);
    command(&board, 0xd1);
    data(&board, 0xde);
    g_assert_cmpuint(board.rig.resets, ==, 2);
    unplug(&board);
}

static void translated_keys(void)
{
    Board board;
    plug(&board);
    input_key(board.router, 0x1e, true);
    input_key(board.router, 0x1e, false);
    KEYBOARD(&board, 0x1e, 0x9e);
    input_key(board.router, 0xe048, true);
    input_key(board.router, 0xe048, false);
    KEYBOARD(&board, 0xe0, 0x48, 0xe0, 0xc8);
    // Every key comes out as it went in.
    for (uint16_t code = 1; code <= 0x58; code++) {
        if (code == 0x54 || code == 0x55)
            continue;
        input_key(board.router, code, true);
        KEYBOARD(&board, (uint8_t)code);
        input_key(board.router, code, false);
        KEYBOARD(&board, (uint8_t)(code | 0x80));
    }
    unplug(&board);
}

static void untranslated_keys(void)
{
    Board board;
    plug(&board);
    command(&board, 0x60);
    data(&board, 0x00);
    input_key(board.router, 0x1e, true);
    input_key(board.router, 0x1e, false);
    input_key(board.router, 0x41, true); // F7
    KEYBOARD(&board, 0x1c, 0xf0, 0x1c, 0x83);
    data(&board, 0xf0);
    data(&board, 3);
    KEYBOARD(&board, 0xfa, 0xfa);
    input_key(board.router, 0xe048, true);
    input_key(board.router, 0xe048, false);
    KEYBOARD(&board, 0x63, 0xf0, 0x63);
    data(&board, 0xf0);
    data(&board, 1);
    KEYBOARD(&board, 0xfa, 0xfa);
    input_key(board.router, 0xe01d, true);
    input_key(board.router, 0xe01d, false);
    KEYBOARD(&board, 0xe0, 0x1d, 0xe0, 0x9d);
    data(&board, 0xf0);
    data(&board, 0);
    KEYBOARD(&board, 0xfa, 0xfa, 0x01);
    unplug(&board);
}

static void pause_and_print_screen(void)
{
    Board board;
    plug(&board);
    input_key(board.router, 0xe11d, true);
    input_key(board.router, 0xe11d, false);
    KEYBOARD(&board, 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
    input_key(board.router, 0xe037, true);
    input_key(board.router, 0xe037, false);
    KEYBOARD(&board, 0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
    input_key(board.router, 0x38, true);
    input_key(board.router, 0xe037, true);
    KEYBOARD(&board, 0x38, 0x54);
    unplug(&board);
}

static void keyboard_commands(void)
{
    Board board;
    plug(&board);
    data(&board, 0xff);
    KEYBOARD(&board, 0xfa, 0xaa);
    data(&board, 0xf2);
    KEYBOARD(&board, 0xfa, 0xab, 0x41); // 83h, translated
    data(&board, 0xee);
    KEYBOARD(&board, 0xee);
    data(&board, 0xed);
    KEYBOARD(&board, 0xfa);
    data(&board, 0x06);
    KEYBOARD(&board, 0xfa);
    g_assert_cmpuint(board.leds, ==, 6);
    data(&board, 0xf3);
    data(&board, 0x20);
    KEYBOARD(&board, 0xfa, 0xfa);
    data(&board, 0xf5);
    KEYBOARD(&board, 0xfa);
    input_key(board.router, 0x1e, true); // not scanning
    g_assert_cmphex(status(&board) & 1, ==, 0);
    data(&board, 0xf4);
    KEYBOARD(&board, 0xfa);
    data(&board, 0xe5);
    KEYBOARD(&board, 0xfe);
    unplug(&board);
}

static void interrupt_per_byte(void)
{
    Board board;
    plug(&board);
    input_key(board.router, 0xe048, true);
    g_assert_cmpuint(board.rig.irq_edges[1], ==, 1);
    inb(&board.rig, 0x60);
    g_assert_cmpuint(board.rig.irq_edges[1], ==, 2);
    g_assert_true(board.rig.irq_level[1]);
    inb(&board.rig, 0x60);
    g_assert_false(board.rig.irq_level[1]);
    command(&board, 0x60);
    data(&board, 0x44);
    input_key(board.router, 0x1e, true);
    g_assert_cmpuint(board.rig.irq_edges[1], ==, 2);
    unplug(&board);
}

static void disabled_keyboard_waits(void)
{
    Board board;
    plug(&board);
    command(&board, 0xad);
    input_key(board.router, 0x1e, true);
    g_assert_cmphex(status(&board) & 1, ==, 0);
    command(&board, 0xae);
    KEYBOARD(&board, 0x1e);
    unplug(&board);
}

static void keyboard_queue_is_bounded(void)
{
    Board board;
    plug(&board);
    command(&board, 0xad);
    input_key(board.router, 0x2a, true);
    for (unsigned i = 0; i < 10000; i++)
        input_key(board.router, 0x1e, true);
    input_key(board.router, 0x2a, false); // a release finds room all the same
    command(&board, 0xae);
    unsigned count = 0;
    uint8_t last = 0;
    while (status(&board) & 1) {
        last = inb(&board.rig, 0x60);
        count++;
    }
    g_assert_cmpuint(count, <=, 256);
    g_assert_cmphex(last, ==, 0xaa);
    unplug(&board);
}

static void mouse_commands(void)
{
    Board board;
    plug(&board);
    to_mouse(&board, 0xff);
    MOUSE(&board, 0xfa, 0xaa, 0x00);
    to_mouse(&board, 0xf2);
    MOUSE(&board, 0xfa, 0x00);
    to_mouse(&board, 0xe9);
    MOUSE(&board, 0xfa, 0x00, 0x02, 100);
    to_mouse(&board, 0xe8);
    MOUSE(&board, 0xfa);
    to_mouse(&board, 3);
    MOUSE(&board, 0xfa);
    to_mouse(&board, 0xe7);
    MOUSE(&board, 0xfa);
    to_mouse(&board, 0xe9);
    MOUSE(&board, 0xfa, 0x10, 0x03, 100);
    to_mouse(&board, 0xee);
    MOUSE(&board, 0xfa);
    to_mouse(&board, 0x42); // wrapped
    MOUSE(&board, 0x42);
    to_mouse(&board, 0xec);
    MOUSE(&board, 0xfa);
    to_mouse(&board, 0xaa);
    MOUSE(&board, 0xfe);
    unplug(&board);
}

static void knock(Board *board, uint8_t a, uint8_t b, uint8_t c)
{
    const uint8_t rates[3] = { a, b, c };
    for (unsigned i = 0; i < 3; i++) {
        to_mouse(board, 0xf3);
        MOUSE(board, 0xfa);
        to_mouse(board, rates[i]);
        MOUSE(board, 0xfa);
    }
}

static void mouse_packets(void)
{
    Board board;
    plug(&board);
    input_pointer_relative(board.router, 5, 5, 0, 0); // not enabled
    g_assert_cmphex(status(&board) & 1, ==, 0);
    to_mouse(&board, 0xf4);
    MOUSE(&board, 0xfa);
    input_pointer_relative(board.router, 5, 3, 0, INPUT_LEFT); // down is negative
    MOUSE(&board, 0x29, 5, 0xfd);
    input_pointer_relative(board.router, -300, 0, 0, 0); // two packets
    MOUSE(&board, 0x18, 0x01, 0, 0x18, 0xd3, 0);
    g_assert_cmpuint(board.rig.irq_edges[12], >=, 9);
    unplug(&board);
}

static void mouse_wheel_and_explorer(void)
{
    Board board;
    plug(&board);
    knock(&board, 200, 100, 80);
    to_mouse(&board, 0xf2);
    MOUSE(&board, 0xfa, 0x03);
    to_mouse(&board, 0xf4);
    MOUSE(&board, 0xfa);
    input_pointer_relative(board.router, 0, 0, 1, 0); // up
    MOUSE(&board, 0x08, 0, 0, 0xff);
    knock(&board, 200, 200, 80);
    to_mouse(&board, 0xf2);
    MOUSE(&board, 0xfa, 0x04);
    input_pointer_relative(board.router, 0, 0, -2, INPUT_SIDE);
    MOUSE(&board, 0x08, 0, 0, 0x12);
    unplug(&board);
}

static void mouse_remote_mode(void)
{
    Board board;
    plug(&board);
    to_mouse(&board, 0xf0);
    MOUSE(&board, 0xfa);
    input_pointer_relative(board.router, 7, 0, 0, 0);
    g_assert_cmphex(status(&board) & 1, ==, 0);
    to_mouse(&board, 0xeb);
    MOUSE(&board, 0xfa, 0x08, 7, 0);
    unplug(&board);
}

static void mouse_motion_adds_up(void)
{
    Board board;
    plug(&board);
    to_mouse(&board, 0xf4);
    MOUSE(&board, 0xfa);
    for (unsigned i = 0; i < 100; i++)
        input_pointer_relative(board.router, 2, 0, 0, 0);
    int x = 0;
    unsigned bytes = 0;
    for (; status(&board) & 1; bytes++) {
        uint8_t byte = inb(&board.rig, 0x60);
        x += bytes % 3 == 1 ? byte : 0;
    }
    g_assert_cmpint(x, ==, 200);
    g_assert_cmpuint(bytes, <, 60);
    unplug(&board);
}

static void mouse_wake(void)
{
    Board board;
    plug(&board);
    ps2_mouse_wake(board.mouse);
    g_assert_cmphex(status(&board) & 1, ==, 0);
    to_mouse(&board, 0xf4);
    MOUSE(&board, 0xfa);
    ps2_mouse_wake(board.mouse);
    MOUSE(&board, 0x08, 0, 0);
    unplug(&board);
}

static void loopback_buffers(void)
{
    Board board;
    plug(&board);
    command(&board, 0xd2);
    data(&board, 0x77);
    KEYBOARD(&board, 0x77);
    command(&board, 0xd3);
    data(&board, 0x88);
    MOUSE(&board, 0x88);
    unplug(&board);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/self-tests", self_tests);
    g_test_add_func("/i8042/command-byte", command_byte);
    g_test_add_func("/i8042/a20", a20_gate);
    g_test_add_func("/i8042/reset-pulse", reset_pulse);
    g_test_add_func("/i8042/interrupt-per-byte", interrupt_per_byte);
    g_test_add_func("/i8042/disabled-keyboard", disabled_keyboard_waits);
    g_test_add_func("/i8042/loopback-buffers", loopback_buffers);
    g_test_add_func("/ps2-keyboard/set-1", translated_keys);
    g_test_add_func("/ps2-keyboard/sets", untranslated_keys);
    g_test_add_func("/ps2-keyboard/pause-and-print-screen", pause_and_print_screen);
    g_test_add_func("/ps2-keyboard/commands", keyboard_commands);
    g_test_add_func("/ps2-keyboard/bounded", keyboard_queue_is_bounded);
    g_test_add_func("/ps2-mouse/commands", mouse_commands);
    g_test_add_func("/ps2-mouse/packets", mouse_packets);
    g_test_add_func("/ps2-mouse/wheel-and-explorer", mouse_wheel_and_explorer);
    g_test_add_func("/ps2-mouse/remote", mouse_remote_mode);
    g_test_add_func("/ps2-mouse/adds-up", mouse_motion_adds_up);
    g_test_add_func("/ps2-mouse/wake", mouse_wake);
    return g_test_run();
}
