// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-create.h. Images are made and looked at by an engine, never here.
#include "app/client/vm-create.h"

#include "app/client/engine-launcher.h"

bool vm_create_disk(Config *config, const char *folder, unsigned number, const char *size,
                    GError **error)
{
    g_autofree char *key = g_strdup_printf("disk%u.path", number);
    g_autofree char *volume = g_strdup_printf("disk%u", number);
    g_autofree char *path = g_build_filename(folder, VM_STORE_FILE, NULL);
    const char *arguments[] = { "--create-volume", path, volume, size, NULL };
    return engine_call(arguments, error) && config_set(config, key, VM_STORE_FILE, error);
}

static bool fill_folder(const char *folder, const char *name, VmCreateFill fill, void *data,
                        GError **error)
{
    g_autoptr(Config) config = config_new();
    g_autofree char *uuid = g_uuid_string_random();
    if (!config_set(config, "machine.name", name, error) ||
        !config_set(config, "machine.uuid", uuid, error) || !fill(config, folder, data, error))
        return false;
    g_autofree char *path = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    const char *arguments[] = { "--check", folder, NULL };
    return config_check(config, error) && config_save(config, path, error) &&
           engine_call(arguments, error);
}

char *vm_create(const char *name, VmCreateFill fill, void *data, GError **error)
{
    g_autofree char *prepared = vm_folder_prepare(name, error);
    if (!prepared)
        return NULL;
    if (!fill_folder(prepared, name, fill, data, error)) {
        vm_folder_discard(prepared);
        return NULL;
    }
    return vm_folder_commit(prepared, name, error);
}
