// SPDX-License-Identifier: GPL-2.0-or-later
// See running.h.
#include "app/cli/running.h"

LodgeVm1 *running_connect(const char *name, GError **error)
{
    g_autofree char *folder = vm_folder_find(name, error);
    g_autoptr(Config) config = folder ? vm_client_config(folder, error) : NULL;
    return config ? vm_client_connect(config, error) : NULL;
}

int running_call(const char *name,
                 gboolean (*call)(LodgeVm1 *proxy, GCancellable *cancellable, GError **error))
{
    GError *error = NULL;
    g_autoptr(LodgeVm1) proxy = running_connect(name, &error);
    if (proxy && call(proxy, NULL, &error))
        return CLI_OK;
    vm_client_strip_error(error);
    return cli_fail(error);
}
