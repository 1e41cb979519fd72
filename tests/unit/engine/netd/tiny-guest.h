// SPDX-License-Identifier: GPL-2.0-or-later
// A guest's network in a hundred lines, for tests: one address, ARP, DHCP, one TCP connection at a
// time. It sits on a NetBackend where a network card would.
#pragma once

#include "engine/bus/net-backend.h"

#include <glib.h>

typedef struct {
    const NetBackend *backend;
    GMutex *machine_lock;
    GAsyncQueue *frames;  // of GBytes, from the backend
    GAsyncQueue *links;   // "up" or "down"
    bool has_room;        // machine lock
    uint8_t mac[6];
    uint8_t gateway_mac[6];
    uint32_t address;     // host order
    uint16_t id;
    // The TCP connection.
    uint32_t peer;
    uint16_t port, peer_port;
    uint32_t send_next, receive_next;
} TinyGuest;

#define TINY_GATEWAY 0x0a000202u

void tiny_guest_init(TinyGuest *guest, const NetBackend *backend, GMutex *machine_lock);
void tiny_guest_clear(TinyGuest *guest);
void tiny_guest_set_room(TinyGuest *guest, bool room);
// The next frame that is not ARP for us (which is answered), or NULL after ten seconds.
GBytes *tiny_guest_next(TinyGuest *guest);
const char *tiny_guest_next_link(TinyGuest *guest);
// DHCP discover and request. Fills `address`.
void tiny_guest_dhcp(TinyGuest *guest);
// Resolves the gateway's MAC address by ARP.
void tiny_guest_arp(TinyGuest *guest);
// TCP: open to the gateway, or accept a connection; send; receive into a string until `size` bytes
// or the peer's FIN.
void tiny_guest_connect(TinyGuest *guest, uint16_t port);
void tiny_guest_accept(TinyGuest *guest, uint16_t port);
void tiny_guest_send(TinyGuest *guest, const char *text);
char *tiny_guest_receive(TinyGuest *guest, size_t size);
void tiny_guest_send_frame(TinyGuest *guest, const uint8_t *frame, size_t size);
