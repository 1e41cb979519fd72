// SPDX-License-Identifier: GPL-2.0-or-later
// See errors.h. errno values arrive as G_IO_ERROR codes (g_io_error_from_errno).
#include "engine/dbus/errors.h"

static const struct {
    int code; // GIOErrorEnum
    const char *name;
} names[] = {
    { G_IO_ERROR_NOT_SUPPORTED, "org.lodge.Error.WrongState" },
    { G_IO_ERROR_INVALID_ARGUMENT, "org.lodge.Error.InvalidArgument" },
    { G_IO_ERROR_NOT_FOUND, "org.lodge.Error.NotFound" },
    { G_IO_ERROR_NOT_INITIALIZED, "org.lodge.Error.NotAvailable" },
};

void errors_return(GDBusMethodInvocation *invocation, const GError *error)
{
    const char *name = "org.lodge.Error.Failed";
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_error_matches(error, G_IO_ERROR, names[i].code))
            name = names[i].name;
    }
    g_dbus_method_invocation_return_dbus_error(invocation, name, error->message);
}
