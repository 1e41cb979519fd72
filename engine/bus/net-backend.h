// SPDX-License-Identifier: GPL-2.0-or-later
// Ethernet frames between a network device and what is behind it (NAT process, LAN segment).
// Machine lock held on both sides. Frames are 14..65550 bytes without FCS.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    // Whether the device has a receive buffer; frames offered otherwise are queued by the backend.
    bool (*can_receive)(void *opaque);
    void (*receive)(void *opaque, const uint8_t *frame, size_t size);
    void (*link_changed)(void *opaque, bool up);
    void *opaque;
} NetFrontend;

typedef struct {
    void (*send)(void *opaque, const uint8_t *frame, size_t size); // dropped where it cannot go
    void (*attach)(void *opaque, const NetFrontend *frontend);     // NULL: the device goes away
    void (*room)(void *opaque); // the device can receive again
    void *opaque;
} NetBackend;
