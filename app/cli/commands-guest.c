// SPDX-License-Identifier: GPL-2.0-or-later
// screenshot, type, key: what a person at the machine would see and do.
#include "app/cli/commands.h"

#include "app/cli/running.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gunixfdlist.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static bool take(LodgeVm1 *proxy, int fd, GError **error)
{
    g_autoptr(GUnixFDList) list = g_unix_fd_list_new_from_array(&fd, 1); // takes it over
    return lodge_vm1_call_screenshot_sync(proxy, g_variant_new_handle(0), list, NULL, NULL, error);
}

static int run_screenshot(const CliCall *call)
{
    const char *path = cli_argument(call, 1);
    GError *error = NULL;
    g_autoptr(LodgeVm1) proxy = running_connect(cli_argument(call, 0), &error);
    if (!proxy)
        return cli_fail(error);
    // To a new file first: a failure must not take an older picture away.
    g_autofree char *temporary = g_strconcat(path, ".XXXXXX", NULL);
    int fd = g_mkstemp_full(temporary, O_WRONLY | O_CLOEXEC, 0644);
    if (fd < 0)
        return cli_fail_text("%s cannot be written: %s; choose another file", path,
                             g_strerror(errno));
    if (!take(proxy, fd, &error)) {
        g_unlink(temporary);
        vm_client_strip_error(error);
        return cli_fail(error);
    }
    if (g_rename(temporary, path) < 0) {
        int code = errno;
        g_unlink(temporary);
        return cli_fail_text("%s cannot be written: %s; choose another file", path,
                             g_strerror(code));
    }
    return CLI_OK;
}

const CliCommand command_screenshot = {
    .name = "screenshot",
    .arguments = "NAME FILE.png",
    .summary = "Stores a picture of a machine's screen.",
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_screenshot,
};

static int run_type(const CliCall *call)
{
    GError *error = NULL;
    g_autoptr(LodgeVm1) proxy = running_connect(cli_argument(call, 0), &error);
    if (proxy && lodge_vm1_call_type_text_sync(proxy, cli_argument(call, 1), NULL, &error))
        return CLI_OK;
    vm_client_strip_error(error);
    return cli_fail(error);
}

const CliCommand command_type = {
    .name = "type",
    .arguments = "NAME TEXT",
    .summary = "Types text at a machine's keyboard; a line feed is Enter.",
    .min_arguments = 2,
    .max_arguments = 2,
    .run = run_type,
};

static int run_key(const CliCall *call)
{
    GError *error = NULL;
    g_autoptr(LodgeVm1) proxy = running_connect(cli_argument(call, 0), &error);
    g_autoptr(GPtrArray) chords = g_ptr_array_new();
    for (guint i = 1; i < call->arguments->len; i++)
        g_ptr_array_add(chords, (char *)cli_argument(call, i));
    g_ptr_array_add(chords, NULL);
    if (proxy && lodge_vm1_call_send_keys_sync(proxy, (const char *const *)chords->pdata, NULL,
                                               &error))
        return CLI_OK;
    vm_client_strip_error(error);
    return cli_fail(error);
}

const CliCommand command_key = {
    .name = "key",
    .arguments = "NAME CHORD...",
    .summary = "Presses keys together: ctrl+alt+delete, F2, enter.",
    .min_arguments = 2,
    .max_arguments = 100,
    .run = run_key,
};
