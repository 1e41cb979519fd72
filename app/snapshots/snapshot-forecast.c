// SPDX-License-Identifier: GPL-2.0-or-later
// See snapshot-forecast.h. What current has beyond its node goes into the bin, so that going to a
// node loses nothing of the disks; what deleting frees is what the node alone holds.
#include "app/snapshots/snapshot-forecast.h"

#include <glib/gi18n.h>

static char *format(guint64 bytes)
{
    return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
}

static char *go_to_text(const SnapshotForecast *forecast, gboolean here, gboolean changed)
{
    if (!changed)
        return g_strdup(here ? _("The machine's disks are as they were then.")
                             : _("Going there drops nothing: the disks have not changed since the "
                                 "last snapshot."));
    g_autofree char *size = format(forecast->discards);
    return g_strdup_printf(_("Going there puts %s of changes on the disks into the bin."), size);
}

static char *delete_text(const SnapshotNode *node)
{
    if (node->is_protected)
        return g_strdup(_("It is protected and cannot be deleted."));
    g_autofree char *size = format(node->own);
    return g_strdup_printf(node->in_bin
                               ? _("Emptying the bin frees %s of it at least.")
                               : _("Deleting it frees %s, once the bin is emptied."), size);
}

char *snapshot_forecast_text(const SnapshotForecast *forecast, const SnapshotNode *node,
                             gboolean here, gboolean changed)
{
    g_autofree char *go_to = go_to_text(forecast, here, changed);
    g_autofree char *delete = delete_text(node);
    return g_strdup_printf("%s\n%s", go_to, delete);
}

char *snapshot_forecast_take_text(const SnapshotForecast *forecast, guint64 memory)
{
    g_autofree char *needs = format(forecast->take_needs);
    if (!memory)
        return g_strdup_printf(_("It takes up %s now, and more as the disks change."), needs);
    g_autofree char *most = format(forecast->take_needs + memory);
    return g_strdup_printf(_("It takes up %s at most now, and more as the disks change."), most);
}
