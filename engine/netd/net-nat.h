// SPDX-License-Identifier: GPL-2.0-or-later
// The engine's side of lodge-netd: a NetBackend that leads to the Internet through the host, with
// port forwards. It starts lodge-netd, which ends with it; if the network process dies of a fault,
// the guest sees its link go down and come back with the forwards.
#pragma once

#include "engine/bus/net-backend.h"

#include <glib.h>

typedef struct NetNat NetNat;

typedef struct {
    bool udp;
    const char *host_address;  // NULL: 127.0.0.1
    uint16_t host_port;
    const char *guest_address; // NULL: the first that DHCP gives, 10.0.2.15
    uint16_t guest_port;
} NetForward;

typedef struct {
    const char *program;  // path of lodge-netd; NULL: beside this program, then in PATH
    const char *hostname; // what DHCP tells the guest, or NULL
    bool no_ipv6;
    bool restricted; // nothing beyond the guest's own network and the forwards
    const NetForward *forwards;
    size_t forward_count;
} NetNatConfig;

// Starts the process and opens the forwards. On failure NULL, and error is one sentence for the
// user (a port that is taken: G_IO_ERROR_ADDRESS_IN_USE). Must run before the engine locks itself
// down. machine_lock is taken around calls of the frontend. Machine lock not held.
NetNat *net_nat_new(const NetNatConfig *config, GMutex *machine_lock, GError **error);
// The device must be gone. NULL is allowed. Machine lock not held.
void net_nat_free(NetNat *nat);

// Valid until net_nat_free.
const NetBackend *net_nat_backend(NetNat *nat);

// Wait for the process's answer, at most five seconds. Machine lock not held.
gboolean net_nat_add_forward(NetNat *nat, const NetForward *forward, GError **error);
gboolean net_nat_remove_forward(NetNat *nat, const NetForward *forward, GError **error);

// The process's id, for tests and for `lodgectl show`.
GPid net_nat_pid(const NetNat *nat);
