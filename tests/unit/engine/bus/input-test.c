// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/bus/input.h"

#include <glib.h>

typedef struct {
    GString *log;
    bool active;
} Taker;

static void key(void *opaque, uint16_t scancode, bool down)
{
    g_string_append_printf(((Taker *)opaque)->log, "%c%x ", down ? '+' : '-', scancode);
}

static void relative(void *opaque, int dx, int dy, int wheel, unsigned buttons)
{
    g_string_append_printf(((Taker *)opaque)->log, "rel %d %d %d %u ", dx, dy, wheel, buttons);
}

static void absolute(void *opaque, unsigned x, unsigned y, int wheel, unsigned buttons)
{
    g_string_append_printf(((Taker *)opaque)->log, "abs %u %u %d %u ", x, y, wheel, buttons);
}

static bool active(void *opaque)
{
    return ((Taker *)opaque)->active;
}

static void keys_go_to_latest(void)
{
    InputRouter *router = input_router_new();
    Taker old = { g_string_new("") }, new = { g_string_new("") };
    input_router_add(router, &(InputHandler){ .key = key, .opaque = &old });
    input_router_add(router, &(InputHandler){ .key = key, .opaque = &new });
    input_key(router, 0x1e, true);
    input_router_remove(router, &new);
    input_key(router, 0x1e, false);
    g_assert_cmpstr(new.log->str, ==, "+1e ");
    g_assert_cmpstr(old.log->str, ==, "-1e ");
    g_string_free(old.log, TRUE);
    g_string_free(new.log, TRUE);
    input_router_free(router);
}

static void release_all(void)
{
    InputRouter *router = input_router_new();
    Taker taker = { g_string_new("") };
    input_router_add(router, &(InputHandler){ .key = key, .pointer_relative = relative,
                                              .opaque = &taker });
    input_key(router, 0x1d, true);
    input_key(router, 0xe04b, true);
    input_key(router, 0xe11d, true);
    input_key(router, 0x1e, true);
    input_key(router, 0x1e, false);
    input_key(router, 0x30, false); // never went down
    input_pointer_relative(router, 0, 0, 0, INPUT_LEFT);
    g_string_truncate(taker.log, 0);
    input_release_all(router);
    input_release_all(router);
    g_assert_cmpstr(taker.log->str, ==, "-1d -e04b -e11d rel 0 0 0 0 ");
    g_string_free(taker.log, TRUE);
    input_router_free(router);
}

static void absolute_needs_an_active_taker(void)
{
    InputRouter *router = input_router_new();
    Taker mouse = { g_string_new("") }, tablet = { g_string_new("") };
    input_router_add(router, &(InputHandler){ .pointer_relative = relative, .opaque = &mouse });
    input_router_add(router, &(InputHandler){ .pointer_absolute = absolute, .active = active,
                                              .opaque = &tablet });
    g_assert_false(input_wants_absolute(router));
    input_pointer_absolute(router, 1, 2, 0, INPUT_RIGHT);
    tablet.active = true;
    g_assert_true(input_wants_absolute(router));
    input_pointer_absolute(router, 70000, 2, -1, 0);
    g_assert_cmpstr(mouse.log->str, ==, "rel 0 0 0 2 ");
    g_assert_cmpstr(tablet.log->str, ==, "abs 65535 2 -1 0 ");
    g_string_free(mouse.log, TRUE);
    g_string_free(tablet.log, TRUE);
    input_router_free(router);
}

static void count_leds(void *opaque, unsigned leds)
{
    *(unsigned *)opaque = *(unsigned *)opaque * 10 + leds;
}

static void leds_on_change(void)
{
    InputRouter *router = input_router_new();
    unsigned seen = 0;
    input_on_leds(router, count_leds, &seen);
    input_set_leds(router, 0);
    input_set_leds(router, 2);
    input_set_leds(router, 2);
    input_set_leds(router, 4);
    g_assert_cmpuint(seen, ==, 24);
    input_router_free(router);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/input/keys-go-to-latest", keys_go_to_latest);
    g_test_add_func("/input/release-all", release_all);
    g_test_add_func("/input/absolute", absolute_needs_an_active_taker);
    g_test_add_func("/input/leds", leds_on_change);
    return g_test_run();
}
