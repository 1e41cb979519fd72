// SPDX-License-Identifier: GPL-2.0-or-later
// engine/spice: a server with a made-up display device, router and UART, and a real client over a
// real socket. The wait limits are generous; nothing is asserted about how fast anything is.
#include "engine/spice/lodge-spice.h"
#include "tests/e2e/headless-client.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 15000

// A display device whose picture the test draws.
typedef struct {
    const DisplaySink *sink;
    DisplayMode mode;
    size_t size;
    bool announce;      // a new mode is to be told at the next refresh
    uint32_t seed;      // of the picture drawn
    uint32_t x, y, width, height; // changed and not yet told; width 0: nothing
    unsigned refreshes;
    uint32_t hint_width, hint_height;
} FakeDevice;

typedef struct {
    char *folder;
    char *draw_path;
    char *scanout_path;
    GMutex lock;
    FakeDevice device;
    InputRouter *router;
    LodgeSpice *spice;
    GString *events; // what the router passed on
    bool absolute;
    GByteArray *uart; // what reached the guest
    size_t uart_room;
} Fixture;

static uint32_t pattern(uint32_t seed, uint32_t x, uint32_t y)
{
    return (x * 2654435761u ^ y * 40503u ^ seed * 77777u) & 0xffffff;
}

// Lock held.
static void draw(FakeDevice *d, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    for (uint32_t row = y; row < y + height; row++)
        for (uint32_t column = x; column < x + width; column++)
            ((uint32_t *)(void *)(d->mode.pixels + row * d->mode.stride))[column] =
                pattern(d->seed, column, row) | 0xab000000;
    d->x = x;
    d->y = y;
    d->width = width;
    d->height = height;
}

// Lock held. stride_pixels >= width. shared: in a memfd.
static void set_mode(FakeDevice *d, uint32_t width, uint32_t height, uint32_t stride_pixels,
                     bool shared, uint32_t seed)
{
    d->size = (size_t)stride_pixels * 4 * height;
    int fd = memfd_create("fake", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    g_assert_cmpint(ftruncate(fd, (off_t)d->size), ==, 0);
    g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), ==, 0);
    uint8_t *pixels = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    g_assert_true(pixels != MAP_FAILED);
    if (!shared) {
        close(fd);
        fd = -1;
    }
    // The old memory stays mapped and open: a real device's would, until mode_set returns.
    d->mode = (DisplayMode){ width, height, stride_pixels * 4, fd, 0, pixels };
    d->announce = true;
    d->seed = seed;
    draw(d, 0, 0, width, height);
}

static void fake_refresh(void *device)
{
    FakeDevice *d = device;
    d->refreshes++;
    if (d->announce)
        d->sink->mode_set(d->sink->opaque, &d->mode);
    else if (d->width)
        d->sink->update(d->sink->opaque, d->x, d->y, d->width, d->height);
    d->announce = false;
    d->width = 0;
}

static void fake_size_hint(void *device, uint32_t width, uint32_t height)
{
    FakeDevice *d = device;
    d->hint_width = width;
    d->hint_height = height;
}

static void got_key(void *opaque, uint16_t scancode, bool down)
{
    g_string_append_printf(((Fixture *)opaque)->events, "%s%x ", down ? "" : "-", scancode);
}

static void got_relative(void *opaque, int dx, int dy, int wheel, unsigned buttons)
{
    g_string_append_printf(((Fixture *)opaque)->events, "r%d,%d,%d,%u ", dx, dy, wheel, buttons);
}

static void got_absolute(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons)
{
    g_string_append_printf(((Fixture *)opaque)->events, "a%u,%u,%d,%u ", x, y, wheel, buttons);
}

static bool is_active(void *opaque)
{
    return ((Fixture *)opaque)->absolute;
}

static size_t uart_can_receive(void *opaque)
{
    return ((Fixture *)opaque)->uart_room;
}

static void uart_receive(void *opaque, const uint8_t *data, size_t size)
{
    Fixture *f = opaque;
    g_byte_array_append(f->uart, data, (guint)size);
    f->uart_room -= size;
}

static void open_fixture(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->folder = g_dir_make_tmp("lodge-spice-XXXXXX", &error);
    g_assert_no_error(error);
    f->draw_path = g_build_filename(f->folder, "spice.sock", NULL);
    f->scanout_path = g_build_filename(f->folder, "scanout.sock", NULL);
    g_mutex_init(&f->lock);
    f->events = g_string_new(NULL);
    f->uart = g_byte_array_new();
    f->uart_room = 1 << 20;
    f->absolute = true;
    f->router = input_router_new();
    InputHandler handler = { got_key, got_relative, got_absolute, is_active, f };
    input_router_add(f->router, &handler);
    LodgeSpiceConfig config = { .name = "test", .socket_path = f->draw_path,
                                .scanout_path = f->scanout_path, .machine_lock = &f->lock,
                                .input = f->router, .serial_mask = 1 };
    f->spice = lodge_spice_new(&config, &error);
    g_assert_no_error(error);
    f->device.sink = lodge_spice_display_sink(f->spice);
    set_mode(&f->device, 640, 480, 640, true, 1);
    DisplaySource source = { fake_refresh, fake_size_hint, &f->device };
    lodge_spice_set_display_source(f->spice, &source);
    CharFrontend frontend = { uart_can_receive, uart_receive, f };
    const CharBackend *backend = lodge_spice_serial(f->spice, 0);
    g_mutex_lock(&f->lock);
    backend->attach(backend->opaque, &frontend);
    g_mutex_unlock(&f->lock);
}

static void close_fixture(Fixture *f, gconstpointer data)
{
    lodge_spice_free(f->spice);
    g_assert_false(g_file_test(f->draw_path, G_FILE_TEST_EXISTS));
    input_router_free(f->router);
    g_string_free(f->events, TRUE);
    g_byte_array_unref(f->uart);
    g_rmdir(f->folder);
    g_free(f->draw_path);
    g_free(f->scanout_path);
    g_free(f->folder);
    g_mutex_clear(&f->lock);
}

// Whether the client sees exactly the device's picture.
static bool same_picture(HeadlessClient *client, void *data)
{
    Fixture *f = data;
    uint32_t width, height, stride;
    const uint8_t *pixels = headless_client_pixels(client, &width, &height, &stride);
    const DisplayMode *mode = &f->device.mode;
    if (!pixels || width != mode->width || height != mode->height)
        return false;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++) {
            uint32_t seen = ((const uint32_t *)(const void *)(pixels + y * stride))[x];
            uint32_t shown = ((const uint32_t *)(const void *)(mode->pixels + y * mode->stride))[x];
            if ((seen ^ shown) & 0xffffff)
                return false;
        }
    return true;
}

static HeadlessClient *open_client(Fixture *f, bool scanout)
{
    HeadlessClient *client = headless_client_new(scanout ? f->scanout_path : f->draw_path, scanout);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    g_assert_null(headless_client_error(client));
    g_assert_true(headless_client_mapped(client) == scanout);
    return client;
}

static void change(Fixture *f, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    g_mutex_lock(&f->lock);
    f->device.seed++;
    draw(&f->device, x, y, width, height);
    g_mutex_unlock(&f->lock);
}

// The first picture, small changes, whole changes, and an odd size with a longer row.
static void test_picture(Fixture *f, gconstpointer data)
{
    bool scanout = data != NULL;
    g_autoptr(HeadlessClient) client = open_client(f, scanout);
    change(f, 5, 7, 1, 1);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    change(f, 600, 470, 40, 10);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    for (unsigned i = 0; i < 10; i++) {
        change(f, 0, 0, 640, 480);
        g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    }
    g_mutex_lock(&f->lock);
    set_mode(&f->device, 1366, 768, 1376, true, 50);
    g_mutex_unlock(&f->lock);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    change(f, 1300, 700, 66, 68);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    g_assert_true(headless_client_mapped(client) == scanout);
    g_assert_null(headless_client_error(client));
}

// A device without shareable memory is shown in scanout mode through a copy.
static void test_unshared(Fixture *f, gconstpointer data)
{
    g_mutex_lock(&f->lock);
    set_mode(&f->device, 800, 600, 900, false, 3);
    g_mutex_unlock(&f->lock);
    g_autoptr(HeadlessClient) client = open_client(f, true);
    change(f, 100, 100, 300, 300);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    g_mutex_lock(&f->lock);
    set_mode(&f->device, 320, 200, 320, true, 4);
    g_mutex_unlock(&f->lock);
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
}

// Many modes in a row, as a booting guest sets them.
static void test_many_modes(Fixture *f, gconstpointer data)
{
    g_autoptr(HeadlessClient) client = open_client(f, data != NULL);
    for (unsigned i = 0; i < 15; i++) {
        g_mutex_lock(&f->lock);
        set_mode(&f->device, 64 + 37 * i, 48 + 23 * i, 64 + 37 * i, i % 3 != 0, i + 10);
        g_mutex_unlock(&f->lock);
        headless_client_run(client, i % 4 * 15);
    }
    g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    g_assert_null(headless_client_error(client));
}

// The next client takes over, and each gets the kind of picture that its socket stands for.
static void test_kinds_in_turn(Fixture *f, gconstpointer data)
{
    for (unsigned i = 0; i < 4; i++) {
        g_autoptr(HeadlessClient) client = open_client(f, i % 2);
        change(f, 10 * i, 10, 50, 50);
        g_assert_true(headless_client_wait(client, same_picture, f, WAIT_MS));
    }
}

static bool has_error(HeadlessClient *client, void *data)
{
    return headless_client_error(client) != NULL;
}

static void test_takeover(Fixture *f, gconstpointer data)
{
    g_autoptr(HeadlessClient) first = open_client(f, false);
    g_autoptr(HeadlessClient) second = open_client(f, false);
    g_assert_true(headless_client_wait(first, has_error, NULL, WAIT_MS));
    change(f, 0, 0, 100, 100);
    g_assert_true(headless_client_wait(second, same_picture, f, WAIT_MS));
}

// No refreshes while nobody looks; the viewer is seen to come and go.
static bool viewer_gone(HeadlessClient *client, void *data)
{
    return !lodge_spice_has_viewer(data);
}

static void test_nobody_looks(Fixture *f, gconstpointer data)
{
    g_assert_false(lodge_spice_has_viewer(f->spice));
    g_mutex_lock(&f->lock);
    g_assert_cmpuint(f->device.refreshes, ==, 0);
    g_mutex_unlock(&f->lock);
    HeadlessClient *client = open_client(f, false);
    g_assert_true(lodge_spice_has_viewer(f->spice));
    headless_client_free(client);
    g_autoptr(HeadlessClient) other = headless_client_new("/nonexistent", false);
    g_assert_true(headless_client_wait(other, viewer_gone, f->spice, WAIT_MS));
    g_assert_true(headless_client_wait(other, has_error, NULL, WAIT_MS));
}

// ---- a frozen client ----

// A client in a process of its own, for SIGSTOP.
static pid_t start_shot(Fixture *f, bool scanout)
{
    g_autofree char *out = g_build_filename(f->folder, "shot.png", NULL);
    g_autofree char *program = g_test_build_filename(G_TEST_BUILT, "../../../e2e/spice-shot", NULL);
    const char *argv[] = { program, "--socket", scanout ? f->scanout_path : f->draw_path,
                           "--wait-ms", "600000", scanout ? "--scanout" : NULL, NULL };
    GPid pid;
    g_autoptr(GError) error = NULL;
    g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, &pid, &error);
    g_assert_no_error(error);
    for (unsigned i = 0; i < WAIT_MS / 10 && !lodge_spice_has_viewer(f->spice); i++)
        g_usleep(10000);
    g_assert_true(lodge_spice_has_viewer(f->spice));
    g_usleep(300000);
    return pid;
}

static void test_frozen(Fixture *f, gconstpointer data)
{
    bool scanout = data != NULL;
    pid_t pid = start_shot(f, scanout);
    kill(pid, SIGSTOP);
    // Fill the socket, then change the mode: libspice would wait 15 s for the client.
    for (unsigned i = 0; i < 20; i++) {
        change(f, 0, 0, 640, 480);
        g_usleep(20000);
    }
    g_mutex_lock(&f->lock);
    unsigned before = f->device.refreshes;
    set_mode(&f->device, 800, 600, 800, true, 99);
    g_mutex_unlock(&f->lock);
    g_usleep(100000);
    // The machine lock is free although the client is not.
    int64_t start = g_get_monotonic_time();
    g_mutex_lock(&f->lock);
    g_mutex_unlock(&f->lock);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 900000);
    // Another client is served long before libspice gives up on the first.
    start = g_get_monotonic_time();
    HeadlessClient *client = open_client(f, scanout);
    g_assert_cmpint(g_get_monotonic_time() - start, <, 8 * G_USEC_PER_SEC);
    g_assert_cmpuint(f->device.refreshes, >, before);
    headless_client_free(client);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

// The end does not wait for it either.
static void test_frozen_end(Fixture *f, gconstpointer data)
{
    pid_t pid = start_shot(f, data != NULL);
    kill(pid, SIGSTOP);
    for (unsigned i = 0; i < 20; i++) {
        change(f, 0, 0, 640, 480);
        g_usleep(20000);
    }
    int64_t start = g_get_monotonic_time();
    lodge_spice_free(g_steal_pointer(&f->spice));
    g_assert_cmpint(g_get_monotonic_time() - start, <, 8 * G_USEC_PER_SEC);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

// ---- inputs ----

typedef struct {
    Fixture *f;
    const char *expected;
} Expected;

static bool events_are(HeadlessClient *client, void *data)
{
    const Expected *e = data;
    g_mutex_lock(&e->f->lock);
    bool same = !strcmp(e->f->events->str, e->expected);
    g_mutex_unlock(&e->f->lock);
    return same;
}

static void assert_events(Fixture *f, HeadlessClient *client, const char *expected)
{
    Expected e = { f, expected };
    if (!headless_client_wait(client, events_are, &e, WAIT_MS))
        g_error("input was \"%s\", expected \"%s\"", f->events->str, expected);
    g_mutex_lock(&f->lock);
    g_string_truncate(f->events, 0);
    g_mutex_unlock(&f->lock);
}

static bool inputs_ready(HeadlessClient *client, void *data)
{
    return headless_client_ready(client);
}

static void test_keys(Fixture *f, gconstpointer data)
{
    HeadlessClient *client = open_client(f, false);
    g_assert_true(headless_client_wait(client, inputs_ready, NULL, WAIT_MS));
    headless_client_key(client, 0x1d, true);
    headless_client_key(client, 0x38, true);
    headless_client_key(client, 0xe053, true);
    headless_client_key(client, 0xe053, false);
    headless_client_key(client, 0x38, false);
    headless_client_key(client, 0x1d, false);
    assert_events(f, client, "1d 38 e053 -e053 -38 -1d ");
    // What is down when the client goes is released.
    headless_client_key(client, 0x1e, true);
    headless_client_key(client, 0xe05b, true);
    assert_events(f, client, "1e e05b ");
    headless_client_free(client);
    g_autoptr(HeadlessClient) other = headless_client_new("/nonexistent", false);
    assert_events(f, other, "-1e -e05b ");
}

static bool is_absolute(HeadlessClient *client, void *data)
{
    return headless_client_absolute(client) == (data != NULL);
}

static void test_tablet(Fixture *f, gconstpointer data)
{
    g_autoptr(HeadlessClient) client = open_client(f, data != NULL);
    g_assert_true(headless_client_wait(client, inputs_ready, NULL, WAIT_MS));
    g_assert_true(headless_client_wait(client, is_absolute, f, WAIT_MS));
    headless_client_pointer(client, 639, 479, 0);
    assert_events(f, client, "a65535,65535,0,0 ");
    headless_client_pointer(client, 0, 0, 0);
    assert_events(f, client, "a0,0,0,0 ");
    headless_client_pointer(client, 320, 240, 0);
    assert_events(f, client, "a32818,32835,0,0 ");
    headless_client_pointer(client, 320, 240, 2);
    assert_events(f, client, "a32818,32835,0,0 a32818,32835,0,2 ");
    headless_client_pointer(client, 320, 240, 0);
    assert_events(f, client, "a32818,32835,0,2 a32818,32835,0,0 ");
    headless_client_wheel(client, -1);
    headless_client_run(client, 100);
    g_assert_nonnull(strstr(f->events->str, "a32818,32835,-1,0"));
}

// The guest has no absolute pointer: motion, until it gets one.
static void test_mouse(Fixture *f, gconstpointer data)
{
    f->absolute = false;
    g_autoptr(HeadlessClient) client = open_client(f, false);
    g_assert_true(headless_client_wait(client, inputs_ready, NULL, WAIT_MS));
    g_assert_true(headless_client_wait(client, is_absolute, NULL, WAIT_MS));
    headless_client_motion(client, 5, -7, 0);
    assert_events(f, client, "r5,-7,0,0 ");
    g_mutex_lock(&f->lock);
    f->absolute = true;
    g_mutex_unlock(&f->lock);
    g_assert_true(headless_client_wait(client, is_absolute, f, WAIT_MS));
    headless_client_pointer(client, 639, 0, 0);
    assert_events(f, client, "a65535,0,0,0 ");
}

// ---- serial ----

static void guest_sends(Fixture *f, const char *text)
{
    const CharBackend *backend = lodge_spice_serial(f->spice, 0);
    g_mutex_lock(&f->lock);
    g_assert_cmpuint(backend->write(backend->opaque, (const uint8_t *)text, strlen(text)), ==,
                     strlen(text));
    g_mutex_unlock(&f->lock);
}

static bool serial_is(HeadlessClient *client, void *data)
{
    const GByteArray *seen = headless_client_serial(client);
    return seen->len == strlen(data) && !memcmp(seen->data, data, seen->len);
}

static bool uart_is(HeadlessClient *client, void *data)
{
    const Expected *e = data;
    g_mutex_lock(&e->f->lock);
    bool same = e->f->uart->len == strlen(e->expected) &&
                !memcmp(e->f->uart->data, e->expected, e->f->uart->len);
    g_mutex_unlock(&e->f->lock);
    return same;
}

static void test_serial(Fixture *f, gconstpointer data)
{
    guest_sends(f, "before ");
    g_autoptr(HeadlessClient) client = open_client(f, false);
    g_assert_true(headless_client_wait(client, serial_is, (void *)"before ", WAIT_MS));
    guest_sends(f, "after");
    g_assert_true(headless_client_wait(client, serial_is, (void *)"before after", WAIT_MS));
    g_assert_true(headless_client_serial_write(client, "root\r", 5));
    Expected all = { f, "root\r" };
    g_assert_true(headless_client_wait(client, uart_is, &all, WAIT_MS));
}

// A UART with little room gets the rest when it has room again.
static void test_serial_room(Fixture *f, gconstpointer data)
{
    g_autoptr(HeadlessClient) client = open_client(f, false);
    guest_sends(f, "x");
    g_assert_true(headless_client_wait(client, serial_is, (void *)"x", WAIT_MS));
    f->uart_room = 3;
    g_assert_true(headless_client_serial_write(client, "abcdefg", 7));
    Expected some = { f, "abc" }, all = { f, "abcdefg" };
    g_assert_true(headless_client_wait(client, uart_is, &some, WAIT_MS));
    const CharBackend *backend = lodge_spice_serial(f->spice, 0);
    g_mutex_lock(&f->lock);
    f->uart_room = 100;
    backend->room(backend->opaque);
    g_mutex_unlock(&f->lock);
    g_assert_true(headless_client_wait(client, uart_is, &all, WAIT_MS));
}

// The history is bounded and keeps the newest.
static bool ends_with_mark(HeadlessClient *client, void *data)
{
    const GByteArray *seen = headless_client_serial(client);
    return seen->len >= 4 && !memcmp(seen->data + seen->len - 4, "MARK", 4);
}

static void test_serial_history(Fixture *f, gconstpointer data)
{
    g_autofree char *block = g_strnfill(10000, 'x');
    for (unsigned i = 0; i < 100; i++)
        guest_sends(f, block);
    guest_sends(f, "MARK");
    g_autoptr(HeadlessClient) client = open_client(f, false);
    g_assert_true(headless_client_wait(client, ends_with_mark, NULL, WAIT_MS));
    g_assert_cmpuint(headless_client_serial(client)->len, ==, 64 * 1024);
}

// ---- sockets ----

static void test_fd_client(Fixture *f, gconstpointer data)
{
    // A plain connection handed over: the server answers a link header as to any client.
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
    lodge_spice_open_client(f->spice, pair[1], false);
    static const uint8_t link[] = { 'R', 'E', 'D', 'Q', 2, 0, 0, 0, 2, 0, 0, 0, 18, 0, 0, 0,
                                    0,   0,   0,   0,   1, 0, 0, 0, 0, 0, 0, 0, 0,  0, 0, 0,
                                    18,  0 };
    g_assert_cmpint(write(pair[0], link, sizeof link), ==, sizeof link);
    g_assert_cmpint(write(pair[0], "\0", 1), >=, 0);
    char answer[4];
    struct timeval limit = { .tv_sec = 10 };
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    g_assert_cmpint(read(pair[0], answer, 4), ==, 4);
    g_assert_cmpint(memcmp(answer, "REDQ", 4), ==, 0);
    close(pair[0]);
}

// Clients that go away at any point of their arrival. A channel whose socket dies while it is set
// up crashes libspice 0.15.1; the relay keeps that from it.
static void test_vanishing(Fixture *f, gconstpointer data)
{
    for (unsigned i = 0; i < 60; i++) {
        HeadlessClient *client = headless_client_new(f->draw_path, false);
        headless_client_run(client, i % 40);
        headless_client_free(client);
    }
    g_autoptr(HeadlessClient) client = open_client(f, false); // still there
}

static void test_socket_mode(Fixture *f, gconstpointer data)
{
    struct stat st;
    g_assert_cmpint(stat(f->draw_path, &st), ==, 0);
    g_assert_cmphex(st.st_mode & 0777, ==, 0600);
    // An open folder is refused, and a path too long.
    g_autoptr(GError) error = NULL;
    g_autofree char *open_folder = g_build_filename(f->folder, "open", NULL);
    g_autofree char *in_open = g_build_filename(open_folder, "s", NULL);
    g_assert_cmpint(g_mkdir(open_folder, 0755), ==, 0);
    LodgeSpiceConfig config = { .socket_path = in_open, .machine_lock = &f->lock };
    g_assert_null(lodge_spice_new(&config, &error));
    g_assert_nonnull(strstr(error->message, "0700"));
    g_clear_error(&error);
    g_rmdir(open_folder);
    g_autofree char *name = g_strnfill(120, 'n');
    g_autofree char *long_path = g_build_filename(f->folder, name, NULL);
    config.socket_path = long_path;
    g_assert_null(lodge_spice_new(&config, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_FILENAME_TOO_LONG);
}

#define ADD(path, data, function)                                                                  \
    g_test_add(path, Fixture, GINT_TO_POINTER(data), open_fixture, function, close_fixture)

// libspice 0.15.1 never frees the state of a keyboard and of a mouse.
#ifdef __SANITIZE_ADDRESS__
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0"; // libspice has no frame pointers to find its name by
}

const char *__lsan_default_suppressions(void)
{
    return "leak:spice_server_add_interface";
}
#endif

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    // libspice and spice-glib warn about every lost client.
    g_log_set_always_fatal(G_LOG_FATAL_MASK);
    signal(SIGPIPE, SIG_IGN);
    ADD("/spice/draw/picture", 0, test_picture);
    ADD("/spice/draw/many-modes", 0, test_many_modes);
    ADD("/spice/draw/takeover", 0, test_takeover);
    ADD("/spice/draw/nobody-looks", 0, test_nobody_looks);
    ADD("/spice/draw/frozen", 0, test_frozen);
    ADD("/spice/scanout/picture", 1, test_picture);
    ADD("/spice/scanout/unshared", 1, test_unshared);
    ADD("/spice/scanout/many-modes", 1, test_many_modes);
    ADD("/spice/scanout/frozen", 1, test_frozen);
    ADD("/spice/kinds-in-turn", 0, test_kinds_in_turn);
    ADD("/spice/inputs/keys", 0, test_keys);
    ADD("/spice/inputs/tablet", 0, test_tablet);
    ADD("/spice/inputs/tablet-scanout", 1, test_tablet);
    ADD("/spice/inputs/mouse", 0, test_mouse);
    ADD("/spice/serial/both-ways", 0, test_serial);
    ADD("/spice/serial/room", 0, test_serial_room);
    ADD("/spice/serial/history", 0, test_serial_history);
    ADD("/spice/sockets/handed-over", 0, test_fd_client);
    ADD("/spice/sockets/vanishing-client", 0, test_vanishing);
    ADD("/spice/sockets/mode", 0, test_socket_mode);
    ADD("/spice/draw/frozen-end", 0, test_frozen_end);
    ADD("/spice/scanout/frozen-end", 1, test_frozen_end);
    return g_test_run();
}
