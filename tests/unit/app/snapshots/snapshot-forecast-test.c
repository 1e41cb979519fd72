// SPDX-License-Identifier: GPL-2.0-or-later
// What is said of an operation's cost is what the store and the node say.
#include "app/snapshots/snapshot-forecast.h"

#include <string.h>

static void says(const char *text, const char *part)
{
    if (!strstr(text, part))
        g_error("“%s” does not say “%s”", text, part);
}

static void go_to_and_delete(void)
{
    SnapshotForecast forecast = { .take_needs = 65536, .discards = 3 << 20 };
    SnapshotNode node = { .id = 1, .own = 5 << 20 };
    g_autofree char *changed = snapshot_forecast_text(&forecast, &node, FALSE, TRUE);
    g_autofree char *size = g_format_size_full(forecast.discards, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *own = g_format_size_full(node.own, G_FORMAT_SIZE_IEC_UNITS);
    says(changed, size);
    says(changed, own);
    says(changed, "into the bin");
}

static void nothing_changed(void)
{
    SnapshotForecast forecast = { 0 };
    SnapshotNode node = { .id = 1 };
    g_autofree char *there = snapshot_forecast_text(&forecast, &node, FALSE, FALSE);
    says(there, "drops nothing");
    g_autofree char *here = snapshot_forecast_text(&forecast, &node, TRUE, FALSE);
    says(here, "as they were then");
}

static void what_cannot_be_deleted(void)
{
    SnapshotForecast forecast = { 0 };
    SnapshotNode node = { .id = 1, .is_protected = true };
    g_autofree char *kept = snapshot_forecast_text(&forecast, &node, FALSE, FALSE);
    says(kept, "cannot be deleted");
    SnapshotNode binned = { .id = 2, .in_bin = true };
    g_autofree char *deleted = snapshot_forecast_text(&forecast, &binned, FALSE, FALSE);
    says(deleted, "Emptying the bin");
}

static void take(void)
{
    SnapshotForecast forecast = { .take_needs = 65536 };
    g_autofree char *disks = snapshot_forecast_take_text(&forecast, 0);
    g_autofree char *both = snapshot_forecast_take_text(&forecast, 64 << 20);
    g_autofree char *most = g_format_size_full(65536 + (64 << 20), G_FORMAT_SIZE_IEC_UNITS);
    says(both, most);
    says(both, "at most");
    g_assert_null(strstr(disks, "at most"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/snapshot-forecast/go-to-and-delete", go_to_and_delete);
    g_test_add_func("/snapshot-forecast/nothing-changed", nothing_changed);
    g_test_add_func("/snapshot-forecast/what-cannot-be-deleted", what_cannot_be_deleted);
    g_test_add_func("/snapshot-forecast/take", take);
    return g_test_run();
}
