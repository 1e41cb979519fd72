// SPDX-License-Identifier: GPL-2.0-or-later
// A form comes back as it was, and nothing else is taken for one.
#include "engine/state-form.h"

#include <gio/gio.h>
#include <stdint.h>
#include <string.h>

static GBytes *sample(void)
{
    g_autoptr(StateForm) form = state_form_new();
    g_autoptr(GBytes) a = g_bytes_new_static("abc", 3), b = g_bytes_new(NULL, 0);
    state_form_add(form, "first", a);
    state_form_add(form, "second.0", b);
    return state_form_encode(form);
}

static void round_trip(void)
{
    g_autoptr(GBytes) bytes = sample();
    g_autoptr(GError) error = NULL;
    g_autoptr(StateForm) form = state_form_decode(bytes, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(state_form_count(form), ==, 2);
    g_assert_cmpstr(state_form_name(form, 1), ==, "second.0");
    g_assert_cmpuint(g_bytes_get_size(state_form_get(form, "first")), ==, 3);
    g_assert_null(state_form_get(form, "third"));
    g_autoptr(GBytes) again = state_form_encode(form);
    g_assert_true(g_bytes_equal(bytes, again));
}

static void cut_off(void)
{
    g_autoptr(GBytes) bytes = sample();
    for (gsize size = 0; size < g_bytes_get_size(bytes); size++) {
        g_autoptr(GBytes) part = g_bytes_new_from_bytes(bytes, 0, size);
        g_autoptr(GError) error = NULL;
        g_assert_null(state_form_decode(part, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    }
}

static void flipped_bits(void)
{
    g_autoptr(GBytes) bytes = sample();
    for (gsize bit = 0; bit < g_bytes_get_size(bytes) * 8; bit++) {
        gsize size;
        g_autofree uint8_t *data = g_memdup2(g_bytes_get_data(bytes, &size),
                                             g_bytes_get_size(bytes));
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        g_autoptr(GBytes) bad = g_bytes_new(data, g_bytes_get_size(bytes));
        g_assert_null(state_form_decode(bad, NULL));
    }
}

static void other_version(void)
{
    g_autoptr(GBytes) bytes = sample();
    gsize size = g_bytes_get_size(bytes);
    g_autofree uint8_t *data = g_memdup2(g_bytes_get_data(bytes, NULL), size);
    data[8] = 9;
    g_autoptr(GBytes) bad = g_bytes_new(data, size);
    g_autoptr(GError) error = NULL;
    g_assert_null(state_form_decode(bad, &error));
    g_assert_nonnull(strstr(error->message, "version 9"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state-form/round-trip", round_trip);
    g_test_add_func("/state-form/cut-off", cut_off);
    g_test_add_func("/state-form/flipped-bits", flipped_bits);
    g_test_add_func("/state-form/other-version", other_version);
    return g_test_run();
}
