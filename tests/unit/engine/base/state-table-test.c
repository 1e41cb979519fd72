// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/base/state-table.h"

#include <gio/gio.h>
#include <stdbool.h>
#include <string.h>

typedef struct {
    uint8_t byte;
    uint32_t words[3];
    bool flag;
} Sample;

static gboolean sample_check(void *object, GError **error)
{
    Sample *sample = object;
    if (sample->byte <= 9)
        return TRUE;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "byte is above 9");
    return FALSE;
}

static const StateField sample_fields[] = {
    STATE_SCALAR(Sample, byte, STATE_U8),
    STATE_ARRAY(Sample, words, STATE_U32),
    STATE_SCALAR(Sample, flag, STATE_BOOL),
};

static const StateTable sample_table = { "sample", 1, sample_fields, G_N_ELEMENTS(sample_fields),
                                         sample_check, NULL };

static void round_trip(void)
{
    Sample from = { 7, { 1, 2, 0xdeadbeef }, true }, to = { 0 };
    g_autoptr(GBytes) record = state_save(&sample_table, &from);
    g_autoptr(GError) error = NULL;
    g_assert_true(state_load(&sample_table, &to, record, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(to.byte, ==, 7);
    g_assert_cmpuint(to.words[2], ==, 0xdeadbeef);
    g_assert_true(to.flag);
}

static void refuses_truncated(void)
{
    Sample from = { 7, { 1, 2, 3 }, true }, to = { 0 };
    g_autoptr(GBytes) record = state_save(&sample_table, &from);
    for (gsize size = 0; size < g_bytes_get_size(record); size++) {
        g_autoptr(GBytes) part = g_bytes_new_from_bytes(record, 0, size);
        g_autoptr(GError) error = NULL;
        g_assert_false(state_load(&sample_table, &to, part, &error));
        g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    }
}

static void refuses_impossible(void)
{
    Sample from = { 10, { 0 }, false }, to = { 0 };
    g_autoptr(GBytes) record = state_save(&sample_table, &from);
    g_autoptr(GError) error = NULL;
    g_assert_false(state_load(&sample_table, &to, record, &error));
    g_assert_cmpstr(error->message, ==, "byte is above 9");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state-table/round-trip", round_trip);
    g_test_add_func("/state-table/refuses-truncated", refuses_truncated);
    g_test_add_func("/state-table/refuses-impossible", refuses_impossible);
    return g_test_run();
}
