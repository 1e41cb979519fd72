// SPDX-License-Identifier: GPL-2.0-or-later
// list, show: what machines there are and how they are. The JSON forms are for scripts; members are
// added, never changed.
#include "app/cli/commands.h"

#include "engine/base/json-text.h"
#include "app/client/vm-client.h"

#include <stdio.h>
#include <string.h>

static void append_member(GString *json, const char *name, const char *value)
{
    g_string_append_printf(json, "\"%s\": ", name);
    json_append_string(json, value);
}

static void append_listed(GString *json, const char *name, const Config *config, const char *state,
                          const char *problem)
{
    g_string_append(json, json->len > 1 ? ",\n  {" : "\n  {");
    append_member(json, "name", name);
    g_string_append(json, ", ");
    append_member(json, "state", state);
    if (config) {
        g_string_append_printf(json, ", \"cpus\": %d, \"memory\": %" G_GINT64_FORMAT,
                               (int)config_integer(config, "cpu.count"),
                               config_integer(config, "memory.size"));
    } else {
        g_string_append(json, ", ");
        append_member(json, "problem", problem);
    }
    g_string_append_c(json, '}');
}

static int run_list(const CliCall *call)
{
    bool as_json = cli_has(call, "--json");
    g_auto(GStrv) names = vm_folder_list();
    g_autoptr(GString) json = g_string_new("[");
    for (char **name = names; *name; name++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *folder = vm_folder_find(*name, &error);
        g_autoptr(Config) config = folder ? vm_client_config(folder, &error) : NULL;
        g_autofree char *state = config ? vm_client_state_in(folder, config) : g_strdup("broken");
        if (as_json)
            append_listed(json, *name, config, state, error ? error->message : "");
        else if (config)
            printf("%-24s %-9s %2d CPU %6s\n", *name, state,
                   (int)config_integer(config, "cpu.count"), config_string(config, "memory.size"));
        else
            printf("%-24s %-9s %s\n", *name, state, error->message);
    }
    if (as_json)
        printf("%s\n]\n", json->str);
    return CLI_OK;
}

static const CliOption json_option[] = {
    { "--json", NULL, "as JSON, for scripts" },
};

const CliCommand command_list = {
    .name = "list",
    .arguments = "",
    .summary = "Lists the machines and their states.",
    .options = json_option,
    .option_count = 1,
    .min_arguments = 0,
    .max_arguments = 0,
    .run = run_list,
};

typedef struct {
    bool json;
    GString *text;
} Output;

static void put(Output *out, const char *name, const char *value)
{
    if (!out->json) {
        g_string_append_printf(out->text, "%-24s %s\n", name, value);
        return;
    }
    g_string_append(out->text, out->text->len > 1 ? ",\n  " : "\n  ");
    append_member(out->text, name, value);
}

static void put_running(Output *out, LodgeVm1 *proxy)
{
    g_autofree char *pid = g_strdup_printf("%u", lodge_vm1_get_process_id(proxy));
    put(out, "state", lodge_vm1_get_state(proxy));
    if (*lodge_vm1_get_state_reason(proxy))
        put(out, "state.reason", lodge_vm1_get_state_reason(proxy));
    put(out, "engine", lodge_vm1_get_engine(proxy));
    put(out, "engine.reason", lodge_vm1_get_engine_reason(proxy));
    put(out, "engine.pid", pid);
    put(out, "spice.socket", lodge_vm1_get_spice_socket(proxy));
}

static int run_show(const CliCall *call)
{
    GError *error = NULL;
    g_autofree char *folder = vm_folder_find(cli_argument(call, 0), &error);
    g_autoptr(Config) config = folder ? vm_client_config(folder, &error) : NULL;
    if (!config)
        return cli_fail(error);
    g_autoptr(GString) text = g_string_new(NULL);
    Output out = { cli_has(call, "--json"), text };
    if (out.json)
        g_string_append_c(text, '{');
    put(&out, "folder", folder);
    g_autoptr(LodgeVm1) proxy = vm_client_connect(config, NULL);
    if (proxy)
        put_running(&out, proxy);
    else
        put(&out, "state", vm_folder_is_suspended(folder) ? "suspended" : "off");
    for (size_t i = 0; i < config_key_count; i++) {
        const ConfigKey *key = &config_keys[i];
        for (unsigned instance = 0; instance < key->instances; instance++) {
            g_autofree char *name = config_key_name(key, instance);
            const char *value = config_string(config, name);
            // Of what comes in several, only what is used.
            if (key->instances == 1 ? *value != 0
                                    : instance == 0 || strcmp(value, key->other_default
                                                                         ? key->other_default
                                                                         : key->default_value) != 0)
                put(&out, name, value);
        }
    }
    printf("%s%s", text->str, out.json ? "\n}\n" : "");
    return CLI_OK;
}

const CliCommand command_show = {
    .name = "show",
    .arguments = "NAME",
    .summary = "Shows a machine's state and settings.",
    .options = json_option,
    .option_count = 1,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_show,
};
