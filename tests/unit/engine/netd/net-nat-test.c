// SPDX-License-Identifier: GPL-2.0-or-later
// The whole way across lodge-netd: a tiny guest in this program on one side, this host's loopback
// on the other.
#include "engine/netd/net-nat.h"

#include "engine/base/bytes.h"
#include "tests/unit/engine/netd/tiny-guest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gio/gio.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct {
    GMutex machine_lock;
    NetNat *nat;
    TinyGuest guest;
} Fixture;

static NetNatConfig config_for_test(void)
{
    return (NetNatConfig){ .program = g_getenv("LODGE_NETD"), .hostname = "guest" };
}

static void setup(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    NetNatConfig config = config_for_test();
    g_mutex_init(&f->machine_lock);
    f->nat = net_nat_new(&config, &f->machine_lock, &error);
    g_assert_no_error(error);
    tiny_guest_init(&f->guest, net_nat_backend(f->nat), &f->machine_lock);
}

static void teardown(Fixture *f, gconstpointer data)
{
    tiny_guest_clear(&f->guest);
    net_nat_free(f->nat);
    g_mutex_clear(&f->machine_lock);
}

// A listening socket on 127.0.0.1, on a port that the host chooses.
static int listen_loopback(uint16_t *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(fd, (struct sockaddr *)&address, size), ==, 0);
    g_assert_cmpint(listen(fd, 4), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&address, &size), ==, 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

// A port that was free a moment ago.
static uint16_t free_port(void)
{
    uint16_t port;
    close(listen_loopback(&port));
    return port;
}

static int connect_loopback(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    return fd;
}

static void dhcp(Fixture *f, gconstpointer data)
{
    tiny_guest_dhcp(&f->guest);
    g_assert_cmphex(f->guest.address, ==, 0x0a00020f);
}

static void host_loopback_by_gateway(Fixture *f, gconstpointer data)
{
    uint16_t port;
    char text[64] = "";
    int listener = listen_loopback(&port);
    tiny_guest_dhcp(&f->guest);
    tiny_guest_arp(&f->guest);
    tiny_guest_connect(&f->guest, port);
    int peer = accept(listener, NULL, NULL);
    g_assert_cmpint(peer, >=, 0);
    tiny_guest_send(&f->guest, "GET / HTTP/1.0\r\n\r\n");
    g_assert_cmpint(recv(peer, text, 18, MSG_WAITALL), ==, 18);
    g_assert_cmpstr(text, ==, "GET / HTTP/1.0\r\n\r\n");
    // More than one segment, and the end of the connection.
    g_autofree char *page = g_strnfill(5000, 'x');
    g_assert_cmpint(send(peer, page, 5000, 0), ==, 5000);
    close(peer);
    g_autofree char *got = tiny_guest_receive(&f->guest, 6000);
    g_assert_cmpstr(got, ==, page);
    close(listener);
}

static void answers_router_solicitation(Fixture *f, gconstpointer data)
{
    // ICMPv6 type 133 from :: to ff02::2, with its checksum worked out by hand: the sum of
    // ff02 + 2 + 8 (length) + 3a (protocol) + 8500 is 1_8446, folded 8447, complement 7bb8.
    uint8_t frame[62] = { 0x33, 0x33, 0, 0, 0, 2, 0x52, 0x54, 0, 1, 2, 3, 0x86, 0xdd };
    uint8_t *ip = frame + 14;
    ip[0] = 0x60;
    ip[5] = 8;
    ip[6] = 58;
    ip[7] = 255;
    ip[24] = 0xff;
    ip[25] = 0x02;
    ip[39] = 2;
    ip[40] = 133;
    be16_write(ip + 42, 0x7bb8);
    tiny_guest_send_frame(&f->guest, frame, sizeof frame);
    for (;;) {
        g_autoptr(GBytes) answer = tiny_guest_next(&f->guest);
        g_assert_nonnull(answer);
        gsize size;
        const uint8_t *p = g_bytes_get_data(answer, &size);
        if (size > 54 && be16_read(p + 12) == 0x86dd && p[20] == 58 && p[54] == 134)
            return;
    }
}

static void check_forward_works(Fixture *f, uint16_t port)
{
    char text[16] = "";
    int fd = connect_loopback(port);
    tiny_guest_accept(&f->guest, 80);
    g_assert_cmpint(send(fd, "ping", 4, 0), ==, 4);
    g_autofree char *got = tiny_guest_receive(&f->guest, 4);
    g_assert_cmpstr(got, ==, "ping");
    tiny_guest_send(&f->guest, "pong");
    g_assert_cmpint(recv(fd, text, 4, MSG_WAITALL), ==, 4);
    g_assert_cmpstr(text, ==, "pong");
    close(fd);
}

static void forward(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    NetForward forward = { .host_port = free_port(), .guest_port = 80 };
    tiny_guest_dhcp(&f->guest);
    tiny_guest_arp(&f->guest);
    g_assert_true(net_nat_add_forward(f->nat, &forward, &error));
    g_assert_no_error(error);
    check_forward_works(f, forward.host_port);
}

static void forward_port_taken(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    uint16_t port;
    int listener = listen_loopback(&port);
    NetForward forward = { .host_port = port, .guest_port = 80 };
    g_autofree char *expected = g_strdup_printf("port %u on 127.0.0.1 is already taken by another "
                                                "program; choose another host port", port);
    g_assert_false(net_nat_add_forward(f->nat, &forward, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
    g_assert_cmpstr(error->message, ==, expected);
    close(listener);
}

static void forward_removed(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    NetForward forward = { .host_port = free_port(), .guest_port = 80 };
    g_assert_true(net_nat_add_forward(f->nat, &forward, &error));
    g_assert_true(net_nat_remove_forward(f->nat, &forward, &error));
    g_assert_no_error(error);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(forward.host_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, -1);
    g_assert_cmpint(errno, ==, ECONNREFUSED);
    close(fd);
    g_assert_false(net_nat_remove_forward(f->nat, &forward, &error));
    g_assert_nonnull(error);
}

static void forward_bad_address(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    NetForward forward = { .host_address = "1.2.3.4 5", .host_port = 9999, .guest_port = 80 };
    g_assert_false(net_nat_add_forward(f->nat, &forward, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);
    forward.host_address = "192.0.2.77"; // documentation range: not an address of this host
    g_assert_false(net_nat_add_forward(f->nat, &forward, &error));
    g_assert_nonnull(strstr(error->message, "is not an address of this host"));
}

static void taken_at_start(void)
{
    g_autoptr(GError) error = NULL;
    GMutex lock;
    uint16_t port;
    int listener = listen_loopback(&port);
    NetForward forward = { .host_port = port, .guest_port = 22 };
    NetNatConfig config = config_for_test();
    config.forwards = &forward;
    config.forward_count = 1;
    g_mutex_init(&lock);
    g_assert_null(net_nat_new(&config, &lock, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
    g_mutex_clear(&lock);
    close(listener);
}

static void program_missing(void)
{
    g_autoptr(GError) error = NULL;
    GMutex lock;
    NetNatConfig config = { .program = "/nonexistent/lodge-netd" };
    g_mutex_init(&lock);
    g_assert_null(net_nat_new(&config, &lock, &error));
    g_assert_nonnull(error);
    g_mutex_clear(&lock);
}

// Frames wait while the device has no room, and come when it has.
static void waits_for_room(Fixture *f, gconstpointer data)
{
    uint16_t port;
    int listener = listen_loopback(&port);
    tiny_guest_dhcp(&f->guest);
    tiny_guest_arp(&f->guest);
    tiny_guest_connect(&f->guest, port);
    int peer = accept(listener, NULL, NULL);
    tiny_guest_set_room(&f->guest, false);
    g_assert_cmpint(send(peer, "late", 4, 0), ==, 4);
    g_assert_null(g_async_queue_timeout_pop(f->guest.frames, G_TIME_SPAN_SECOND / 5));
    tiny_guest_set_room(&f->guest, true);
    g_autofree char *got = tiny_guest_receive(&f->guest, 4);
    g_assert_cmpstr(got, ==, "late");
    close(peer);
    close(listener);
}

static pid_t worker_of(GPid supervisor)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", supervisor, supervisor);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return 0;
    return (pid_t)g_ascii_strtoll(text, NULL, 10);
}

static void worker_dies(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    NetForward forward = { .host_port = free_port(), .guest_port = 80 };
    g_assert_true(net_nat_add_forward(f->nat, &forward, &error));
    pid_t worker = worker_of(net_nat_pid(f->nat));
    if (worker <= 0) {
        g_test_skip("the kernel does not list children");
        return;
    }
    g_test_expect_message("lodge", G_LOG_LEVEL_WARNING, "*died of signal 9*");
    g_assert_cmpint(kill(worker, SIGKILL), ==, 0);
    g_assert_cmpstr(tiny_guest_next_link(&f->guest), ==, "down");
    g_assert_cmpstr(tiny_guest_next_link(&f->guest), ==, "up");
    g_test_assert_expected_messages();
    tiny_guest_dhcp(&f->guest);
    tiny_guest_arp(&f->guest);
    check_forward_works(f, forward.host_port);
}

static void ends_with_engine(void)
{
    g_autoptr(GError) error = NULL;
    GMutex lock;
    NetNatConfig config = config_for_test();
    g_mutex_init(&lock);
    NetNat *nat = net_nat_new(&config, &lock, &error);
    g_assert_no_error(error);
    GPid pid = net_nat_pid(nat);
    // Signals that a terminal or a service manager sends do not end it.
    kill(pid, SIGINT);
    kill(pid, SIGTERM);
    NetForward forward = { .host_port = free_port(), .guest_port = 80 };
    g_assert_true(net_nat_add_forward(nat, &forward, &error));
    net_nat_free(nat);
    g_assert_cmpint(kill(pid, 0), ==, -1);
    g_assert_cmpint(errno, ==, ESRCH);
    g_mutex_clear(&lock);
}

// A worker that dies cannot see that the engine has gone; the supervisor does.
static void ends_with_engine_after_fault(void)
{
    int frames[2], control[2];
    char line[64] = "";
    GPid pid = 0;
    const char *argv[] = { g_getenv("LODGE_NETD"), NULL };
    g_autoptr(GError) error = NULL;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, frames), ==, 0);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), ==, 0);
    const int source[] = { frames[1], control[1] }, target[] = { 3, 4 };
    g_spawn_async_with_pipes_and_fds(NULL, argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD, NULL, NULL, -1,
                                     -1, -1, source, target, 2, &pid, NULL, NULL, NULL, &error);
    g_assert_no_error(error);
    close(frames[1]);
    close(control[1]);
    g_assert_cmpint(recv(control[0], line, sizeof line - 1, 0), >, 0);
    g_assert_cmpstr(line, ==, "hello");
    pid_t worker = worker_of(pid);
    if (worker > 0)
        kill(worker, SIGSTOP);
    close(frames[0]);
    close(control[0]);
    if (worker > 0)
        kill(worker, SIGKILL);
    else
        g_test_skip("the kernel does not list children");
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
}

// Whatever a guest sends, the process goes on.
static void garbage(Fixture *f, gconstpointer data)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(7);
    uint8_t frame[2000];
    static const uint16_t types[] = { 0x0800, 0x0806, 0x86dd, 0x8100 };
    for (int i = 0; i < 3000; i++) {
        size_t size = (size_t)g_rand_int_range(random, 0, sizeof frame);
        for (size_t b = 0; b < size; b++)
            frame[b] = (uint8_t)g_rand_int(random);
        if (size >= 16)
            be16_write(frame + 12, types[g_rand_int_range(random, 0, 4)]);
        if (size >= 34 && (i & 1)) {
            frame[14] = 0x45;
            frame[23] = (uint8_t[]){ 1, 6, 17, 2 }[g_rand_int_range(random, 0, 4)];
            // Only to the guest's own network, so that nothing leaves this host.
            be32_write(frame + 30, 0x0a000200u | (uint32_t)g_rand_int_range(random, 0, 4));
        }
        tiny_guest_send_frame(&f->guest, frame, size);
    }
    tiny_guest_dhcp(&f->guest);
    g_assert_null(g_async_queue_try_pop(f->guest.links));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function)                                                                        \
    g_test_add("/net-nat/" path, Fixture, NULL, setup, function, teardown)
    ADD("dhcp", dhcp);
    ADD("host-loopback-by-gateway", host_loopback_by_gateway);
    ADD("ipv6/router-solicitation", answers_router_solicitation);
    ADD("forward/works", forward);
    ADD("forward/port-taken", forward_port_taken);
    ADD("forward/removed", forward_removed);
    ADD("forward/bad-address", forward_bad_address);
    g_test_add_func("/net-nat/forward/taken-at-start", taken_at_start);
    g_test_add_func("/net-nat/program-missing", program_missing);
    ADD("waits-for-room", waits_for_room);
    ADD("worker-dies", worker_dies);
    g_test_add_func("/net-nat/ends-with-engine", ends_with_engine);
    g_test_add_func("/net-nat/ends-with-engine-after-fault", ends_with_engine_after_fault);
    ADD("garbage", garbage);
    return g_test_run();
}
