// SPDX-License-Identifier: GPL-2.0-or-later
// See session-scope.h. org.freedesktop.systemd1(5), StartTransientUnit; the unit's name follows the
// desktop convention app-NAME-RANDOM.scope (systemd.io, "Desktop environment integration").
#include "engine/dbus/session-scope.h"

#include <unistd.h>

#define TIMEOUT_MS 2000

static GVariant *make_arguments(const char *uuid, const char *description)
{
    // The caretaker stays where it is: should that go away with the terminal, only the tidying up
    // is lost.
    const guint32 pids[] = { (guint32)getpid() };
    g_autofree char *unit = g_strdup_printf("app-lodge-%s.scope", uuid);
    GVariantBuilder properties, auxiliary;
    g_variant_builder_init(&properties, G_VARIANT_TYPE("a(sv)"));
    g_variant_builder_add(&properties, "(sv)", "PIDs",
                          g_variant_new_fixed_array(G_VARIANT_TYPE_UINT32, pids,
                                                    G_N_ELEMENTS(pids), sizeof(pids[0])));
    g_variant_builder_add(&properties, "(sv)", "Slice", g_variant_new_string("app.slice"));
    g_variant_builder_add(&properties, "(sv)", "Description", g_variant_new_string(description));
    g_variant_builder_add(&properties, "(sv)", "CollectMode",
                          g_variant_new_string("inactive-or-failed"));
    g_variant_builder_init(&auxiliary, G_VARIANT_TYPE("a(sa(sv))"));
    return g_variant_new("(ssa(sv)a(sa(sv)))", unit, "fail", &properties, &auxiliary);
}

void session_scope_enter(GDBusConnection *bus, const char *uuid, const char *description)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GVariant) job = g_dbus_connection_call_sync(
        bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
        "org.freedesktop.systemd1.Manager", "StartTransientUnit",
        make_arguments(uuid, description), G_VARIANT_TYPE("(o)"),
        G_DBUS_CALL_FLAGS_NO_AUTO_START, TIMEOUT_MS, NULL, &error);
    if (job)
        g_info("in a systemd scope of its own");
    else
        g_info("no systemd scope: %s", error->message);
}
