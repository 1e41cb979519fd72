// SPDX-License-Identifier: GPL-2.0-or-later
// console: a machine's serial port in this terminal.
#include "app/cli/commands.h"

#include "app/cli/running.h"
#include "engine/base/write-all.h"

#include <errno.h>
#include <gio/gunixfdlist.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_KEY 1 // Ctrl+A

static int open_port(LodgeVm1 *proxy, unsigned port, GError **error)
{
    g_autoptr(GUnixFDList) list = NULL;
    g_autoptr(GVariant) handle = NULL;
    if (!lodge_vm1_call_open_serial_sync(proxy, port, NULL, &handle, &list, NULL, error))
        return -1;
    return g_unix_fd_list_get(list, g_variant_get_handle(handle), error);
}

// Takes the escape sequences out of what was typed. False: Ctrl+A x.
static bool filter(char *data, size_t *size, bool *escaped)
{
    size_t kept = 0;
    for (size_t i = 0; i < *size; i++) {
        if (*escaped) {
            *escaped = false;
            if (data[i] == 'x' || data[i] == 'X')
                return false;
            data[kept++] = data[i];
        } else if (data[i] == ESCAPE_KEY) {
            *escaped = true;
        } else {
            data[kept++] = data[i];
        }
    }
    *size = kept;
    return true;
}

// Until the engine closes, input ends (not on a terminal: then output goes on) or Ctrl+A x.
static void pump(int port, bool tty)
{
    struct pollfd fds[2] = { { port, POLLIN, 0 }, { STDIN_FILENO, POLLIN, 0 } };
    char data[4096];
    bool escaped = false;
    for (;;) {
        if (poll(fds, 2, -1) < 0) {
            if (errno != EINTR)
                return;
            continue; // revents is of an earlier round
        }
        if (fds[0].revents) {
            ssize_t n = read(port, data, sizeof(data));
            if (n <= 0 || !write_all(STDOUT_FILENO, data, (size_t)n))
                return;
        }
        if (fds[1].revents) {
            ssize_t n = read(STDIN_FILENO, data, sizeof(data));
            size_t size = n > 0 ? (size_t)n : 0;
            if (n <= 0)
                fds[1].fd = -1;
            if (tty && !filter(data, &size, &escaped))
                return;
            if (!write_all(port, data, size))
                return;
        }
    }
}

static int run_console(const CliCall *call)
{
    const char *text = cli_value(call, "--port");
    guint64 number = 0;
    if (text && !g_ascii_string_to_unsigned(text, 10, 0, 2, &number, NULL))
        return cli_fail_text("--port %s: must be 0, 1 (serial ports) or 2 (virtio console)", text);
    GError *error = NULL;
    g_autoptr(LodgeVm1) proxy = running_connect(cli_argument(call, 0), &error);
    int port = proxy ? open_port(proxy, (unsigned)number, &error) : -1;
    if (port < 0) {
        vm_client_strip_error(error);
        return cli_fail(error);
    }
    struct termios saved;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &saved) == 0;
    if (tty) {
        fprintf(stderr, "Ctrl+A x leaves the console.\n");
        struct termios raw = saved;
        cfmakeraw(&raw);
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    pump(port, tty);
    if (tty) {
        tcsetattr(STDIN_FILENO, TCSANOW, &saved);
        printf("\n");
    }
    close(port);
    return CLI_OK;
}

static const CliOption console_options[] = {
    { "--port", "N", "0 (default) or 1: serial port, 2: virtio console" },
};

const CliCommand command_console = {
    .name = "console",
    .arguments = "NAME",
    .summary = "Connects this terminal to a machine's serial port.",
    .options = console_options,
    .option_count = G_N_ELEMENTS(console_options),
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run_console,
};
