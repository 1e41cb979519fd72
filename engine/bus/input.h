// SPDX-License-Identifier: GPL-2.0-or-later
// Where input from a person goes: devices register handlers with the router, the SPICE inputs and
// lodgectl call it. Machine lock held.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// dy is positive downwards, wheel away from the person (up). Buttons, as a mask.
enum { INPUT_LEFT = 1, INPUT_RIGHT = 2, INPUT_MIDDLE = 4, INPUT_SIDE = 8, INPUT_EXTRA = 16 };

// scancode: XT set 1; extended keys as e0xx; Pause as e11d (the device makes the whole sequence).
typedef struct {
    void (*key)(void *opaque, uint16_t scancode, bool down);
    void (*pointer_relative)(void *opaque, int dx, int dy, int wheel, unsigned buttons);
    // x, y: 0..65535 over the whole screen.
    void (*pointer_absolute)(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons);
    // Whether the guest listens to this device at this moment (for pointer_absolute).
    bool (*active)(void *opaque);
    void *opaque;
} InputHandler;

typedef struct InputRouter InputRouter;

InputRouter *input_router_new(void);
void input_router_free(InputRouter *router);
// Copied. Handlers with a NULL function do not take that kind. Later handlers come first.
void input_router_add(InputRouter *router, const InputHandler *handler);
void input_router_remove(InputRouter *router, void *opaque);

void input_key(InputRouter *router, uint16_t scancode, bool down);
// Releases every key that is down (client gone, focus lost).
void input_release_all(InputRouter *router);
void input_pointer_relative(InputRouter *router, int dx, int dy, int wheel, unsigned buttons);
void input_pointer_absolute(InputRouter *router, unsigned x, unsigned y, int wheel,
                            unsigned buttons);
// Whether an absolute pointer is active; else the client should send relative motion.
bool input_wants_absolute(InputRouter *router);
// Keyboard LEDs as the guest sets them: bit 0 scroll, 1 num, 2 caps.
void input_set_leds(InputRouter *router, unsigned leds);
void input_on_leds(InputRouter *router, void (*changed)(void *opaque, unsigned leds), void *opaque);
