// SPDX-License-Identifier: GPL-2.0-or-later
// See copy-json.h.
#include "app/cli/copy-json.h"

#include "app/client/vm-client.h"
#include "engine/base/json-text.h"

static void append_addresses(GString *json, const Config *config)
{
    const char *separator = "";
    for (unsigned i = 0; i < 4; i++) {
        uint8_t mac[6];
        if (g_str_equal(config_string_at(config, "network", i, "mode"), "none"))
            continue;
        config_mac(config, i, mac);
        g_string_append_printf(json, "%s\"%02x:%02x:%02x:%02x:%02x:%02x\"", separator, mac[0],
                               mac[1], mac[2], mac[3], mac[4], mac[5]);
        separator = ", ";
    }
}

void copy_json_append(GString *json, const char *name, const char *folder, guint64 bytes)
{
    g_autoptr(Config) config = vm_client_config(folder, NULL);
    g_string_append(json, "{\"name\": ");
    json_append_string(json, name);
    g_string_append(json, ", \"folder\": ");
    json_append_string(json, folder);
    g_string_append(json, ", \"uuid\": ");
    json_append_string(json, config ? config_string(config, "machine.uuid") : "");
    g_string_append(json, ", \"mac\": [");
    if (config)
        append_addresses(json, config);
    g_string_append_printf(json, "], \"bytes\": %" G_GUINT64_FORMAT "}", bytes);
}
