// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/key-feeder.h"

#include "engine/base/keys.h"

static void take_key(void *opaque, uint16_t scancode, bool down)
{
    g_string_append_printf(opaque, "%x%c ", scancode, down ? '+' : '-');
}

static void test_order(void)
{
    GMutex lock;
    g_mutex_init(&lock);
    g_autoptr(GString) taken = g_string_new(NULL);
    InputRouter *router = input_router_new();
    input_router_add(router, &(InputHandler){ .key = take_key, .opaque = taken });
    KeyFeeder *keys = key_feeder_new(router, &lock);
    g_assert_true(key_feeder_idle(keys));
    for (int i = 0; i < 2; i++) {
        g_autoptr(GArray) strokes = keys_from_text("a", NULL);
        key_feeder_add(keys, strokes);
    }
    g_assert_false(key_feeder_idle(keys));
    while (!key_feeder_idle(keys))
        g_main_context_iteration(NULL, TRUE);
    g_assert_cmpstr(taken->str, ==, "1e+ 1e- 1e+ 1e- ");
    key_feeder_free(keys);
    input_router_free(router);
    g_mutex_clear(&lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/key-feeder/order", test_order);
    return g_test_run();
}
