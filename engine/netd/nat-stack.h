// SPDX-License-Identifier: GPL-2.0-or-later
// The user-level network behind one guest: libslirp with its sockets and timers. It runs on one
// thread and takes its world as callbacks.
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct NatStack NatStack;

typedef struct {
    bool ipv6;
    bool restricted; // no traffic beyond the guest's own network and its forwards
    const char *hostname; // what DHCP tells the guest, or NULL
    // A frame for the guest; false where it could not be taken (it is then lost).
    bool (*send)(void *opaque, const uint8_t *frame, size_t size);
    void *opaque;
} NatStackConfig;

typedef struct {
    bool udp;
    const char *host;  // address of this host
    uint16_t host_port;
    const char *guest; // "-": the first DHCP address
    uint16_t guest_port;
} NatForward;

// The guest's network: 10.0.2.0/24 and fec0::/64, gateway (which also is this host's loopback)
// 10.0.2.2 and fec0::2, DNS 10.0.2.3 and fec0::3, addresses from 10.0.2.15. Never fails.
NatStack *nat_stack_new(const NatStackConfig *config);
void nat_stack_free(NatStack *stack);

// A frame from the guest; `size` is anything.
void nat_stack_input(NatStack *stack, const uint8_t *frame, size_t size);

// Around a poll: adds the stack's descriptors to `fds` (array of struct pollfd) and lowers
// *timeout_ms (-1: none); then acts on what came back in the same array.
typedef struct {
    struct pollfd *fds;
    size_t count;
    size_t room;
} NatPollSet;
size_t nat_poll_set_add(NatPollSet *set, int fd, short events);
void nat_stack_fill(NatStack *stack, NatPollSet *set, int *timeout_ms);
void nat_stack_dispatch(NatStack *stack, const NatPollSet *set, bool poll_failed);

// NULL, or why not, in words for the user (g_free).
char *nat_stack_add_forward(NatStack *stack, const NatForward *forward);
char *nat_stack_remove_forward(NatStack *stack, const NatForward *forward);
