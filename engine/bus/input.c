// SPDX-License-Identifier: GPL-2.0-or-later
// The router between people and input devices: picks the handler, and remembers which keys and
// buttons are down so that they can be released when their owner goes away.
#include "engine/bus/input.h"

#include <glib.h>

#define MAX_KEYS 512 // set 1 codes 00..ff, then e000..e0ff
#define PAUSE    0xe11d

struct InputRouter {
    GArray *handlers; // InputHandler, oldest first
    uint8_t down[MAX_KEYS / 8];
    bool pause_down;
    unsigned buttons;
    unsigned leds;
    void (*leds_changed)(void *opaque, unsigned leds);
    void *leds_opaque;
};

InputRouter *input_router_new(void)
{
    InputRouter *router = g_new0(InputRouter, 1);
    router->handlers = g_array_new(FALSE, FALSE, sizeof(InputHandler));
    return router;
}

void input_router_free(InputRouter *router)
{
    if (!router)
        return;
    g_array_unref(router->handlers);
    g_free(router);
}

void input_router_add(InputRouter *router, const InputHandler *handler)
{
    g_array_append_val(router->handlers, *handler);
}

void input_router_remove(InputRouter *router, void *opaque)
{
    for (guint i = router->handlers->len; i-- > 0;) {
        if (g_array_index(router->handlers, InputHandler, i).opaque == opaque)
            g_array_remove_index(router->handlers, i);
    }
}

static const InputHandler *handler_at(InputRouter *router, guint index)
{
    return &g_array_index(router->handlers, InputHandler, index);
}

static const InputHandler *absolute_handler(InputRouter *router)
{
    for (guint i = router->handlers->len; i-- > 0;) {
        const InputHandler *handler = handler_at(router, i);
        if (handler->pointer_absolute && (!handler->active || handler->active(handler->opaque)))
            return handler;
    }
    return NULL;
}

static void send_key(InputRouter *router, uint16_t scancode, bool down)
{
    for (guint i = router->handlers->len; i-- > 0;) {
        const InputHandler *handler = handler_at(router, i);
        if (handler->key) {
            handler->key(handler->opaque, scancode, down);
            return;
        }
    }
}

void input_key(InputRouter *router, uint16_t scancode, bool down)
{
    unsigned prefix = scancode >> 8, index = (scancode & 0x7f) | (prefix == 0xe0 ? 0x100 : 0);
    if (scancode == PAUSE) {
        router->pause_down = down;
    } else if (prefix == 0 || prefix == 0xe0) {
        uint8_t bit = (uint8_t)(1 << index % 8);
        // A release of a key that is not down would confuse a guest; repeats pass.
        if (!down && !(router->down[index / 8] & bit))
            return;
        if (down)
            router->down[index / 8] |= bit;
        else
            router->down[index / 8] &= (uint8_t)~bit;
    } else {
        return;
    }
    send_key(router, scancode, down);
}

void input_release_all(InputRouter *router)
{
    for (unsigned index = 0; index < MAX_KEYS; index++) {
        if (router->down[index / 8] & 1 << index % 8)
            input_key(router, (uint16_t)((index & 0x7f) | (index & 0x100 ? 0xe000 : 0)), false);
    }
    if (router->pause_down)
        input_key(router, PAUSE, false);
    if (router->buttons)
        input_pointer_relative(router, 0, 0, 0, 0);
}

void input_pointer_relative(InputRouter *router, int dx, int dy, int wheel, unsigned buttons)
{
    router->buttons = buttons;
    for (guint i = router->handlers->len; i-- > 0;) {
        const InputHandler *handler = handler_at(router, i);
        if (handler->pointer_relative) {
            handler->pointer_relative(handler->opaque, dx, dy, wheel, buttons);
            return;
        }
    }
}

void input_pointer_absolute(InputRouter *router, unsigned x, unsigned y, int wheel,
                            unsigned buttons)
{
    const InputHandler *handler = absolute_handler(router);
    if (!handler) {
        // Nobody can place the pointer: what is left is the wheel and the buttons.
        input_pointer_relative(router, 0, 0, wheel, buttons);
        return;
    }
    router->buttons = buttons;
    handler->pointer_absolute(handler->opaque, MIN(x, 65535), MIN(y, 65535), wheel, buttons);
}

bool input_wants_absolute(InputRouter *router)
{
    return absolute_handler(router) != NULL;
}

void input_set_leds(InputRouter *router, unsigned leds)
{
    if (leds == router->leds)
        return;
    router->leds = leds;
    if (router->leds_changed)
        router->leds_changed(router->leds_opaque, leds);
}

void input_on_leds(InputRouter *router, void (*changed)(void *opaque, unsigned leds), void *opaque)
{
    router->leds_changed = changed;
    router->leds_opaque = opaque;
}
