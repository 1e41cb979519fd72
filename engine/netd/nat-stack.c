// SPDX-License-Identifier: GPL-2.0-or-later
// libslirp (API version 4) as one object: its poll set, its clock and timers, and port forwards
// with errors that a user can act on. Which addresses it serves is fixed, so that guests, tests and
// documentation can rely on them.
#include "engine/netd/nat-stack.h"

#include "engine/netd/netd-protocol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <slirp/libslirp.h>
#include <string.h>
#include <time.h>

typedef struct {
    SlirpTimerId id;
    void *cb_opaque;
    int64_t deadline_ms; // -1: not armed
} StackTimer;

struct NatStack {
    Slirp *slirp;
    NatStackConfig config;
    char *hostname;
    GPtrArray *timers; // of StackTimer
    NatPollSet *polling; // the set of the fill or dispatch that runs now
};

static int64_t clock_get_ns(void *opaque)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static int64_t now_ms(void)
{
    return clock_get_ns(NULL) / 1000000;
}

static ssize_t send_packet(const void *frame, size_t size, void *opaque)
{
    NatStack *stack = opaque;
    // A lost frame is not an error: TCP in the stack sends it again.
    if (size <= NETD_FRAME_MAX)
        stack->config.send(stack->config.opaque, frame, size);
    return (ssize_t)size;
}

static void guest_error(const char *message, void *opaque)
{
    // The guest's mistakes are its own; a hostile one must not fill a log.
}

static void *timer_new_opaque(SlirpTimerId id, void *cb_opaque, void *opaque)
{
    NatStack *stack = opaque;
    StackTimer *timer = g_new0(StackTimer, 1);
    *timer = (StackTimer){ id, cb_opaque, -1 };
    g_ptr_array_add(stack->timers, timer);
    return timer;
}

static void stack_timer_free(void *timer, void *opaque)
{
    NatStack *stack = opaque;
    g_ptr_array_remove(stack->timers, timer);
}

static void stack_timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
    ((StackTimer *)timer)->deadline_ms = MAX(expire_ms, 0);
}

static void poll_fd_changed(int fd, void *opaque)
{
    // The poll set is built anew each time round.
}

static void notify(void *opaque)
{
    // One thread: the next fill sees it.
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_free = stack_timer_free,
    .timer_mod = stack_timer_mod,
    .register_poll_fd = poll_fd_changed,
    .unregister_poll_fd = poll_fd_changed,
    .notify = notify,
    .timer_new_opaque = timer_new_opaque,
};

static struct in_addr ipv4(const char *text)
{
    struct in_addr address = { 0 };
    inet_pton(AF_INET, text, &address);
    return address;
}

static struct in6_addr ipv6(const char *text)
{
    struct in6_addr address = { 0 };
    inet_pton(AF_INET6, text, &address);
    return address;
}

NatStack *nat_stack_new(const NatStackConfig *config)
{
    NatStack *stack = g_new0(NatStack, 1);
    stack->config = *config;
    stack->hostname = g_strdup(config->hostname);
    stack->timers = g_ptr_array_new_with_free_func(g_free);
    SlirpConfig slirp = {
        .version = 4,
        .restricted = config->restricted,
        .in_enabled = true,
        .vnetwork = ipv4("10.0.2.0"),
        .vnetmask = ipv4("255.255.255.0"),
        .vhost = ipv4("10.0.2.2"),
        .in6_enabled = config->ipv6,
        .vprefix_addr6 = ipv6("fec0::"),
        .vprefix_len = 64,
        .vhost6 = ipv6("fec0::2"),
        .vhostname = stack->hostname,
        .vdhcp_start = ipv4("10.0.2.15"),
        .vnameserver = ipv4("10.0.2.3"),
        .vnameserver6 = ipv6("fec0::3"),
        .disable_host_loopback = false,
        .enable_emu = false, // its parsers have a history of memory errors
    };
    stack->slirp = slirp_new(&slirp, &callbacks, stack);
    return stack;
}

void nat_stack_free(NatStack *stack)
{
    if (!stack)
        return;
    slirp_cleanup(stack->slirp);
    g_ptr_array_unref(stack->timers);
    g_free(stack->hostname);
    g_free(stack);
}

void nat_stack_input(NatStack *stack, const uint8_t *frame, size_t size)
{
    if (size >= 14 && size <= NETD_FRAME_MAX)
        slirp_input(stack->slirp, frame, (int)size);
}

size_t nat_poll_set_add(NatPollSet *set, int fd, short events)
{
    if (set->count == set->room) {
        set->room = MAX(16, set->room * 2);
        set->fds = g_renew(struct pollfd, set->fds, set->room);
    }
    set->fds[set->count] = (struct pollfd){ fd, events, 0 };
    return set->count++;
}

static int add_poll(int fd, int events, void *opaque)
{
    NatStack *stack = opaque;
    short wanted = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) |
                           (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                           (events & SLIRP_POLL_PRI ? POLLPRI : 0));
    return (int)nat_poll_set_add(stack->polling, fd, wanted);
}

static int get_revents(int index, void *opaque)
{
    NatStack *stack = opaque;
    if (index < 0 || (size_t)index >= stack->polling->count)
        return 0;
    short events = stack->polling->fds[index].revents;
    return (events & POLLIN ? SLIRP_POLL_IN : 0) | (events & POLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & POLLPRI ? SLIRP_POLL_PRI : 0) | (events & POLLERR ? SLIRP_POLL_ERR : 0) |
           (events & POLLHUP ? SLIRP_POLL_HUP : 0);
}

void nat_stack_fill(NatStack *stack, NatPollSet *set, int *timeout_ms)
{
    uint32_t timeout = *timeout_ms < 0 ? UINT32_MAX : (uint32_t)*timeout_ms;
    stack->polling = set;
    slirp_pollfds_fill(stack->slirp, &timeout, add_poll, stack);
    stack->polling = NULL;
    int64_t now = now_ms();
    for (guint i = 0; i < stack->timers->len; i++) {
        const StackTimer *timer = stack->timers->pdata[i];
        if (timer->deadline_ms >= 0)
            timeout = (uint32_t)MIN(timeout, (uint64_t)MAX(timer->deadline_ms - now, 0));
    }
    *timeout_ms = timeout > INT32_MAX ? -1 : (int)timeout;
}

static void run_timers(NatStack *stack)
{
    int64_t now = now_ms();
    for (guint i = 0; i < stack->timers->len; i++) {
        StackTimer *timer = stack->timers->pdata[i];
        if (timer->deadline_ms < 0 || timer->deadline_ms > now)
            continue;
        timer->deadline_ms = -1;
        slirp_handle_timer(stack->slirp, timer->id, timer->cb_opaque);
    }
}

void nat_stack_dispatch(NatStack *stack, const NatPollSet *set, bool poll_failed)
{
    stack->polling = (NatPollSet *)set;
    slirp_pollfds_poll(stack->slirp, poll_failed, get_revents, stack);
    stack->polling = NULL;
    run_timers(stack);
}

// An address and port in one form for both families. False where `text` is not an address.
typedef union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} Address;

static bool parse_address(const char *text, uint16_t port, Address *ret, socklen_t *ret_size)
{
    Address address = { 0 };
    if (inet_pton(AF_INET, text, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        *ret_size = sizeof address.v4;
    } else if (inet_pton(AF_INET6, text, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        *ret_size = sizeof address.v6;
    } else {
        return false;
    }
    *ret = address;
    return true;
}

static int forward_flags(const NatForward *forward, const Address *host)
{
    return (forward->udp ? SLIRP_HOSTFWD_UDP : 0) |
           (host->any.sa_family == AF_INET6 ? SLIRP_HOSTFWD_V6ONLY : 0);
}

static char *bind_error(const NatForward *forward, int code)
{
    const char *host = forward->host;
    unsigned port = forward->host_port;
    switch (code) {
    case EADDRINUSE:
        return g_strdup_printf("port %u on %s is already taken by another program; "
                               "choose another host port", port, host);
    case EACCES:
    case EPERM:
        return g_strdup_printf("port %u on %s may only be opened by root; "
                               "choose a host port of 1024 or above", port, host);
    case EADDRNOTAVAIL:
        return g_strdup_printf("%s is not an address of this host; "
                               "choose 127.0.0.1, or 0.0.0.0 for all", host);
    default:
        return g_strdup_printf("port %u on %s cannot be opened: %s", port, host,
                               g_strerror(code));
    }
}

char *nat_stack_add_forward(NatStack *stack, const NatForward *forward)
{
    Address host, guest;
    socklen_t host_size, guest_size;
    if (!parse_address(forward->host, forward->host_port, &host, &host_size))
        return g_strdup_printf("'%s' is not an IP address; choose 127.0.0.1", forward->host);
    const char *guest_text = forward->guest;
    if (!strcmp(guest_text, "-")) {
        if (host.any.sa_family == AF_INET6)
            return g_strdup("a forward from an IPv6 address needs the guest's IPv6 address");
        guest_text = "10.0.2.15";
    }
    if (!parse_address(guest_text, forward->guest_port, &guest, &guest_size))
        return g_strdup_printf("'%s' is not an IP address; leave it out for the guest's first",
                               guest_text);
    if (guest.any.sa_family != host.any.sa_family)
        return g_strdup_printf("%s and %s are not of the same family; both must be IPv4 or IPv6",
                               forward->host, guest_text);
    if (!forward->host_port || !forward->guest_port)
        return g_strdup("port 0 cannot be forwarded; choose a port from 1 to 65535");
    errno = 0;
    if (slirp_add_hostxfwd(stack->slirp, &host.any, host_size, &guest.any, guest_size,
                           forward_flags(forward, &host)) < 0)
        return bind_error(forward, errno);
    return NULL;
}

char *nat_stack_remove_forward(NatStack *stack, const NatForward *forward)
{
    Address host;
    socklen_t host_size;
    if (!parse_address(forward->host, forward->host_port, &host, &host_size))
        return g_strdup_printf("'%s' is not an IP address", forward->host);
    if (slirp_remove_hostxfwd(stack->slirp, &host.any, host_size, forward_flags(forward, &host)))
        return g_strdup_printf("port %u on %s is not forwarded", forward->host_port,
                               forward->host);
    return NULL;
}
