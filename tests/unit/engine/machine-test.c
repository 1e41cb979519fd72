// SPDX-License-Identifier: GPL-2.0-or-later
// A whole machine with stock firmware and a boot sector of a few bytes, under the interpreter.
#include "engine/lifecycle.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

#define FLOPPY_SIZE (1440 * 1024)

typedef struct {
    char *folder, *floppy;
    Config *config;
    Lifecycle *lifecycle;
    GString *states; // "running off"
    GMainLoop *loop;
} Box;

static void changed(void *opaque, LifecycleState state, const char *reason)
{
    Box *box = opaque;
    g_string_append_printf(box->states, "%s ", lifecycle_state_name(state));
    if (state == LIFECYCLE_OFF || state == LIFECYCLE_CRASHED)
        g_main_loop_quit(box->loop);
}

static void firmware_line(void *opaque, const char *line)
{
    // Any thread. The lifecycle has replaced opaque by itself.
}

static void set_up(Box *box, gconstpointer unused)
{
    box->folder = g_dir_make_tmp("lodge-machine-XXXXXX", NULL);
    box->floppy = g_build_filename(box->folder, "floppy.img", NULL);
    box->config = config_new();
    box->states = g_string_new(NULL);
    box->loop = g_main_loop_new(NULL, FALSE);
    config_set(box->config, "machine.uuid", "7c9e6679-7425-40de-944b-e07fc1f90ae7", NULL);
    config_set(box->config, "memory.size", "32M", NULL);
    config_set(box->config, "cpu.engine", "interpreter", NULL);
    config_set(box->config, "network0.mode", "none", NULL);
    config_set(box->config, "boot.order", "floppy", NULL);
    config_set(box->config, "floppy0.path", "floppy.img", NULL);
}

static void tear_down(Box *box, gconstpointer unused)
{
    lifecycle_free(box->lifecycle);
    g_main_loop_unref(box->loop);
    g_string_free(box->states, TRUE);
    config_free(box->config);
    g_unlink(box->floppy);
    g_rmdir(box->folder);
    g_free(box->floppy);
    g_free(box->folder);
}

static void insert(Box *box, const void *code, size_t size)
{
    g_autofree char *image = g_malloc0(FLOPPY_SIZE);
    memcpy(image, code, size);
    memcpy(image + 510, "\x55\xaa", 2);
    g_assert_true(g_file_set_contents(box->floppy, image, FLOPPY_SIZE, NULL));
}

static void build(Box *box)
{
    LifecycleConfig config = {
        .machine = { .config = box->config, .folder = box->folder, .debug_exit_port = 0x501,
                     .firmware_line = firmware_line },
        .changed = changed,
        .opaque = box,
    };
    GError *error = NULL;
    box->lifecycle = lifecycle_new(&config, &error);
    g_assert_no_error(error);
    g_assert_cmpint(lifecycle_state(box->lifecycle), ==, LIFECYCLE_STARTING);
}

static void debug_exit(Box *box, gconstpointer unused)
{
    // mov dx, 501h; mov al, 21h; out dx, al; hlt
    insert(box, "\xba\x01\x05\xb0\x21\xee\xf4", 7);
    build(box);
    g_assert_true(lifecycle_start(box->lifecycle, NULL));
    g_main_loop_run(box->loop);
    g_assert_cmpstr(box->states->str, ==, "running off ");
    g_assert_cmpint(lifecycle_end(box->lifecycle), ==, LIFECYCLE_DEBUG_EXIT);
    g_assert_cmphex(lifecycle_debug_value(box->lifecycle), ==, 0x21);
}

static void power_off(Box *box, gconstpointer unused)
{
    // mov dx, 604h; mov ax, 2000h; out dx, ax; hlt
    insert(box, "\xba\x04\x06\xb8\x00\x20\xef\xf4", 8);
    build(box);
    g_assert_true(lifecycle_start(box->lifecycle, NULL));
    g_main_loop_run(box->loop);
    g_assert_cmpint(lifecycle_end(box->lifecycle), ==, LIFECYCLE_GUEST_POWERED_OFF);
}

// Each way out of a running system and back: the boot sector counts its starts in CMOS byte 50h
// and takes the next way each time; after the last one it writes the count to the debug-exit port.
static void reset_paths(Box *box, gconstpointer unused)
{
    static const uint8_t code[] = {
        0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71, // mov al, 50h; out 70h, al; in al, 71h
        0xfe, 0xc0, 0x88, 0xc3,             // inc al; mov bl, al
        0xb0, 0x50, 0xe6, 0x70, 0x88, 0xd8, 0xe6, 0x71, // store bl
        0x80, 0xfb, 0x01, 0x74, 0x11,       // cmp bl, 1; je keyboard
        0x80, 0xfb, 0x02, 0x74, 0x10,       // cmp bl, 2; je cf9
        0x80, 0xfb, 0x03, 0x74, 0x11,       // cmp bl, 3; je port92
        0xba, 0x01, 0x05, 0x88, 0xd8, 0xee, // debug exit with bl
        0xf4,                               // hlt
        0xfa, 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe, // keyboard: cli; out 64h, FEh; jmp $
        0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xeb, 0xfe, // cf9: out CF9h, 6; jmp $
        0xb0, 0x01, 0xe6, 0x92, 0xeb, 0xfe, // port92: out 92h, 1; jmp $
    };
    uint8_t fixed[sizeof(code)];
    memcpy(fixed, code, sizeof(code));
    const unsigned keyboard = 40, cf9 = keyboard + 7, port92 = cf9 + 8;
    fixed[22] = (uint8_t)(keyboard - 23);
    fixed[27] = (uint8_t)(cf9 - 28);
    fixed[32] = (uint8_t)(port92 - 33);
    insert(box, fixed, sizeof(fixed));
    build(box);
    g_assert_true(lifecycle_start(box->lifecycle, NULL));
    g_main_loop_run(box->loop);
    g_assert_cmpint(lifecycle_end(box->lifecycle), ==, LIFECYCLE_DEBUG_EXIT);
    g_assert_cmpuint(lifecycle_debug_value(box->lifecycle), ==, 4);
}

static void triple_fault_resets(Box *box, gconstpointer unused)
{
    // The first time: an empty IDT and INT3. The second time: debug exit.
    static const uint8_t code[] = {
        0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71, 0x84, 0xc0, 0x75, 0x11, // second? jne done
        0xb0, 0x50, 0xe6, 0x70, 0xb0, 0x01, 0xe6, 0x71,             // CMOS 50h = 1
        0x31, 0xc0, 0x8e, 0xd8,                                     // xor ax, ax; mov ds, ax
        0x0f, 0x01, 0x1e, 0x40, 0x7c,                               // lidt [7c40h]: zeros
        0xba, 0x01, 0x05, 0xb0, 0x07,                               // (27) done:
    };
    uint8_t sector[0x50] = { 0 };
    memcpy(sector, code, 27);
    sector[9] = 30 - 10;
    memcpy(sector + 27, "\xcc\xeb\xfe", 3);                 // int3; jmp $
    memcpy(sector + 30, "\xba\x01\x05\xb0\x07\xee\xf4", 7); // debug exit 7
    insert(box, sector, sizeof(sector));
    build(box);
    g_assert_true(lifecycle_start(box->lifecycle, NULL));
    g_main_loop_run(box->loop);
    g_assert_cmpuint(lifecycle_debug_value(box->lifecycle), ==, 7);
}

static void transitions(Box *box, gconstpointer unused)
{
    insert(box, "\xeb\xfe", 2);
    build(box);
    Lifecycle *l = box->lifecycle;
    GError *error = NULL;
    g_assert_false(lifecycle_pause(l, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    g_assert_nonnull(strstr(error->message, "starting"));
    g_clear_error(&error);
    g_assert_false(lifecycle_reset(l, NULL));
    g_assert_true(lifecycle_start(l, NULL));
    g_assert_false(lifecycle_start(l, NULL));
    g_assert_false(lifecycle_resume(l, NULL));
    g_assert_true(lifecycle_pause(l, NULL));
    g_assert_false(machine_is_running(lifecycle_machine(l)));
    g_assert_true(lifecycle_reset(l, NULL)); // a paused machine stays paused
    g_assert_cmpint(lifecycle_state(l), ==, LIFECYCLE_PAUSED);
    g_assert_true(lifecycle_resume(l, NULL));
    g_assert_true(lifecycle_stop(l, false, NULL));
    g_assert_cmpint(lifecycle_state(l), ==, LIFECYCLE_STOPPING);
    g_assert_true(lifecycle_stop(l, true, NULL));
    g_assert_cmpint(lifecycle_state(l), ==, LIFECYCLE_OFF);
    g_assert_false(lifecycle_stop(l, true, NULL));
    g_assert_cmpint(lifecycle_end(l), ==, LIFECYCLE_STOPPED);
}

static void missing_floppy(Box *box, gconstpointer unused)
{
    LifecycleConfig config = {
        .machine = { .config = box->config, .folder = box->folder, .debug_exit_port = -1 },
    };
    g_autoptr(GError) error = NULL;
    g_assert_null(lifecycle_new(&config, &error));
    g_assert_nonnull(strstr(error->message, box->floppy));
}

// Building and freeing leaves no descriptor behind.
static void no_leaks(Box *box, gconstpointer unused)
{
    insert(box, "\xeb\xfe", 2);
    unsigned counts[3];
    for (int round = 0; round < 3; round++) {
        build(box);
        g_assert_true(lifecycle_start(box->lifecycle, NULL));
        g_clear_pointer(&box->lifecycle, lifecycle_free);
        g_autoptr(GDir) dir = g_dir_open("/proc/self/fd", 0, NULL);
        counts[round] = 0;
        while (g_dir_read_name(dir))
            counts[round]++;
    }
    g_assert_cmpuint(counts[1], ==, counts[2]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Box, NULL, set_up, function, tear_down)
    ADD("/machine/debug-exit", debug_exit);
    ADD("/machine/power-off", power_off);
    ADD("/machine/reset-paths", reset_paths);
    ADD("/machine/triple-fault-resets", triple_fault_resets);
    ADD("/machine/transitions", transitions);
    ADD("/machine/missing-floppy", missing_floppy);
    ADD("/machine/no-leaks", no_leaks);
    return g_test_run();
}
