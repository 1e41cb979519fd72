// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-client.h.
#include "app/client/vm-client.h"

Config *vm_client_config(const char *folder, GError **error)
{
    g_autofree char *path = g_build_filename(folder, VM_CONFIG_FILE, NULL);
    return config_load(path, error);
}

GDBusConnection *vm_client_bus(GError **error)
{
    GDBusConnection *bus = g_bus_get_sync(G_BUS_TYPE_SESSION, NULL, NULL);
    if (!bus)
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_CONNECTED,
                            "there is no session bus; log in to a desktop, or use "
                            "dbus-run-session");
    return bus;
}

LodgeVm1 *vm_client_connect(const Config *config, GError **error)
{
    g_autofree char *name = vm_bus_name(config);
    g_autoptr(GDBusConnection) bus = vm_client_bus(error);
    if (!bus)
        return NULL;
    g_autoptr(LodgeVm1) proxy =
        lodge_vm1_proxy_new_sync(bus, G_DBUS_PROXY_FLAGS_DO_NOT_AUTO_START, name, VM_CLIENT_PATH,
                                 NULL, error);
    if (!proxy)
        return NULL;
    g_autofree char *owner = g_dbus_proxy_get_name_owner(G_DBUS_PROXY(proxy));
    if (!owner) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "the machine %s is off; lodgectl start turns it on",
                    config_string(config, "machine.name"));
        return NULL;
    }
    // Stopping may take a while, a screenshot of a busy guest too.
    g_dbus_proxy_set_default_timeout(G_DBUS_PROXY(proxy), 60 * 1000);
    return g_steal_pointer(&proxy);
}

char *vm_client_state(const Config *config)
{
    g_autoptr(LodgeVm1) proxy = vm_client_connect(config, NULL);
    const char *state = proxy ? lodge_vm1_get_state(proxy) : NULL;
    return g_strdup(state ? state : "off");
}

char *vm_client_state_in(const char *folder, const Config *config)
{
    char *state = vm_client_state(config);
    if (!g_str_equal(state, "off") || !vm_folder_is_suspended(folder))
        return state;
    g_free(state);
    return g_strdup("suspended");
}

void vm_client_strip_error(GError *error)
{
    if (error)
        g_dbus_error_strip_remote_error(error);
}

char *vm_client_sentence(const char *message)
{
    if (!message || !*message)
        return g_strdup("");
    g_autofree char *first = g_utf8_substring(message, 0, 1);
    g_autofree char *upper = g_utf8_strup(first, -1);
    return g_strdup_printf("%s%s%s", upper, g_utf8_next_char(message),
                           g_str_has_suffix(message, ".") ? "" : ".");
}

// g_format_size says "2.0 GiB" and knows the language; whole numbers read better without the ".0".
char *vm_client_format_memory(guint64 bytes)
{
    static const char *const units[] = { "MiB", "GiB", "TiB" };
    guint unit = 0;
    guint64 value = bytes >> 20;
    if (value == 0 || bytes % (1 << 20))
        return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
    for (; unit + 1 < G_N_ELEMENTS(units) && value % 1024 == 0; unit++)
        value /= 1024;
    if (value >= 1024)
        return g_format_size_full(bytes, G_FORMAT_SIZE_IEC_UNITS);
    return g_strdup_printf("%" G_GUINT64_FORMAT "\302\240%s", value, units[unit]);
}
