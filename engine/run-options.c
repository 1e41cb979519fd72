// SPDX-License-Identifier: GPL-2.0-or-later
// See run-options.h. Machine settings go through the key table, so that a wrong value gets the same
// words here as in machine.conf, but for the option's name in place of the key's.
#include "engine/run-options.h"

#include <gio/gio.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: lodgectl run [OPTION]...\n"
    "Runs one virtual machine in the foreground; nothing of it is left afterwards.\n"
    "\n"
    "  --iso FILE               a disc in the CD drive, to boot from\n"
    "  --floppy FILE            a floppy in drive A\n"
    "  --disk FILE              a disk (raw, .qcow2, .vmdk, .vdi, .vhd); up to 8 times\n"
    "  --kernel FILE            a Linux kernel (bzImage) to start without firmware\n"
    "  --initrd FILE            its initial RAM disk\n"
    "  --append TEXT            its command line\n"
    "  --memory SIZE            memory, like 512M or 2G (default 1G)\n"
    "  --cpus N                 virtual CPUs, 1 to 64 (default 1)\n"
    "  --engine NAME            auto, kvm, monitor, translator or interpreter\n"
    "  --net nat|none           network (default nat)\n"
    "  --forward HOST:GUEST     a port of this computer that leads to the guest\n"
    "  --serial stdio|FILE|none the first serial port (default none); with stdio on a\n"
    "                           terminal, Ctrl+A x ends the machine\n"
    "  --display none|FILE.png|window\n"
    "                           nothing, a picture of the last screen, or a window\n"
    "  --screenshot FILE.png@SECONDS\n"
    "                           a picture of the screen at that time\n"
    "  --type TEXT@SECONDS      text to type at that time; \\n is Enter, \\t Tab, \\e Escape,\n"
    "                           \\<F2> or \\<ctrl+alt+delete> a key\n"
    "  --debug-exit PORT        a write of VALUE to this port ends with status (VALUE<<1)|1\n"
    "  --timeout SECONDS        end after this time with status 124\n"
    "  --stats FILE.json        counters at the end: instructions, exits, time, memory\n"
    "  --set KEY=VALUE          any setting of lodge.conf(5)\n"
    "  --spice SOCKET           a SPICE server at this Unix socket\n"
    "  --log FILE               messages of engine and firmware; - is standard error\n"
    "  --help\n"
    "\n"
    "Status: 0 when the guest powers off, 124 on timeout, (VALUE<<1)|1 after a debug exit,\n"
    "130 when it was interrupted, 1 with one line on standard error otherwise.\n";

static bool bad(GError **error, const char *option, const char *value, const char *expects)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s %s: must be %s", option, value,
                expects);
    return false;
}

// Sets a key, with the option's name in the message.
static bool set_key(RunOptions *options, const char *option, const char *name, const char *value,
                    GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (config_set(options->config, name, value, &problem))
        return true;
    const char *must = strstr(problem->message, ": must be ");
    if (must)
        return bad(error, option, value, must + strlen(": must be "));
    g_set_error(error, problem->domain, problem->code, "%s %s: %s", option, value,
                problem->message);
    return false;
}

static bool set_file(RunOptions *options, const char *option, const char *name, const char *value,
                     GError **error)
{
    if (!*value)
        return bad(error, option, "\"\"", "the name of a file");
    return set_key(options, option, name, value, error);
}

static bool add_disk(RunOptions *options, const char *option, const char *value, GError **error)
{
    for (unsigned i = 0; i < 8; i++) {
        g_autofree char *name = g_strdup_printf("disk%u.path", i);
        if (!*config_string(options->config, name))
            return set_file(options, option, name, value, error);
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "--disk was given more than 8 times; a machine has at most 8 disks");
    return false;
}

static bool add_iso(RunOptions *options, const char *option, const char *value, GError **error)
{
    bool first = !*config_string(options->config, "cdrom0.path");
    if (!first && *config_string(options->config, "cdrom1.path")) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "--iso was given more than twice; a machine has at most 2 CD drives");
        return false;
    }
    return set_file(options, option, first ? "cdrom0.path" : "cdrom1.path", value, error);
}

static bool add_forward(RunOptions *options, const char *option, const char *value, GError **error)
{
    const char *before = config_string(options->config, "network0.forward");
    g_autofree char *all = *before ? g_strconcat(before, ",", value, NULL) : g_strdup(value);
    if (!*value || !set_key(options, option, "network0.forward", all, NULL))
        return bad(error, option, value, "HOST:GUEST port numbers, like 8080:80 or 5353:53/udp");
    return true;
}

static bool set_serial(RunOptions *options, const char *option, const char *value, GError **error)
{
    g_free(options->serial_path);
    options->serial_path = NULL;
    if (strcmp(value, "none") == 0) {
        options->serial = RUN_SERIAL_NONE;
    } else if (strcmp(value, "stdio") == 0) {
        options->serial = RUN_SERIAL_STDIO;
    } else if (*value) {
        options->serial = RUN_SERIAL_FILE;
        options->serial_path = g_strdup(value);
    } else {
        return bad(error, option, "\"\"", "stdio, none or the name of a file");
    }
    return true;
}

static bool set_display(RunOptions *options, const char *option, const char *value, GError **error)
{
    g_free(options->display_path);
    options->display_path = NULL;
    if (strcmp(value, "none") == 0) {
        options->display = RUN_DISPLAY_NONE;
    } else if (strcmp(value, "window") == 0) {
        options->display = RUN_DISPLAY_WINDOW;
    } else if (g_str_has_suffix(value, ".png")) {
        options->display = RUN_DISPLAY_PICTURE;
        options->display_path = g_strdup(value);
    } else {
        return bad(error, option, value, "none, window or the name of a .png file");
    }
    return true;
}

static bool parse_seconds(const char *text, double *ret_seconds)
{
    char *end;
    *ret_seconds = g_ascii_strtod(text, &end);
    return end != text && !*end && *ret_seconds >= 0 && *ret_seconds <= 1e8;
}

static bool add_timed(GArray *list, const char *option, const char *value, const char *expects,
                      bool png, GError **error)
{
    const char *at = strrchr(value, '@');
    RunTimed timed = { 0 };
    if (!at || at == value || !parse_seconds(at + 1, &timed.seconds))
        return bad(error, option, value, expects);
    timed.what = g_strndup(value, (gsize)(at - value));
    if (png && !g_str_has_suffix(timed.what, ".png")) {
        g_free(timed.what);
        return bad(error, option, value, expects);
    }
    g_array_append_val(list, timed);
    return true;
}

static bool add_screenshot(RunOptions *options, const char *option, const char *value,
                           GError **error)
{
    return add_timed(options->screenshots, option, value,
                     "FILE.png@SECONDS, like screen.png@12.5", true, error);
}

static bool add_text(RunOptions *options, const char *option, const char *value, GError **error)
{
    return add_timed(options->texts, option, value, "TEXT@SECONDS, like \"root\\n@20\"", false,
                     error);
}

static bool set_debug_exit(RunOptions *options, const char *option, const char *value,
                           GError **error)
{
    char *end;
    guint64 port = g_ascii_strtoull(value, &end, 0);
    if (!g_ascii_isdigit(*value) || *end || port > 0xfffc)
        return bad(error, option, value, "a port number from 0 to 0xfffc, like 0x501");
    options->debug_exit_port = (int)port;
    return true;
}

static bool set_timeout(RunOptions *options, const char *option, const char *value, GError **error)
{
    if (!parse_seconds(value, &options->timeout) || options->timeout <= 0)
        return bad(error, option, value, "a number of seconds above 0");
    return true;
}

static bool set_text(char **field, const char *option, const char *value, GError **error)
{
    if (!*value)
        return bad(error, option, "\"\"", "the name of a file");
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

static bool set_stats(RunOptions *options, const char *option, const char *value, GError **error)
{
    return set_text(&options->stats_path, option, value, error);
}

static bool set_log(RunOptions *options, const char *option, const char *value, GError **error)
{
    return set_text(&options->log_path, option, value, error);
}

static bool set_spice(RunOptions *options, const char *option, const char *value, GError **error)
{
    return set_text(&options->spice_path, option, value, error);
}

static bool set_assignment(RunOptions *options, const char *option, const char *value,
                           GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (config_set_assignment(options->config, value, &problem))
        return true;
    g_set_error(error, problem->domain, problem->code, "--set %s", problem->message);
    return false;
}

typedef struct {
    const char *name;
    // One of the two: the key that the value goes to, or who takes it.
    const char *key;
    bool (*take)(RunOptions *options, const char *option, const char *value, GError **error);
    bool file;
} OptionRow;

static const OptionRow rows[] = {
    { "--iso", NULL, add_iso, true },
    { "--floppy", "floppy0.path", NULL, true },
    { "--disk", NULL, add_disk, true },
    { "--kernel", "boot.kernel", NULL, true },
    { "--initrd", "boot.initrd", NULL, true },
    { "--append", "boot.append", NULL, false },
    { "--memory", "memory.size", NULL, false },
    { "--cpus", "cpu.count", NULL, false },
    { "--engine", "cpu.engine", NULL, false },
    { "--net", "network0.mode", NULL, false },
    { "--forward", NULL, add_forward, false },
    { "--serial", NULL, set_serial, false },
    { "--display", NULL, set_display, false },
    { "--screenshot", NULL, add_screenshot, false },
    { "--type", NULL, add_text, false },
    { "--debug-exit", NULL, set_debug_exit, false },
    { "--timeout", NULL, set_timeout, false },
    { "--stats", NULL, set_stats, false },
    { "--set", NULL, set_assignment, false },
    { "--spice", NULL, set_spice, false },
    { "--log", NULL, set_log, false },
};

static const OptionRow *find_row(const char *argument, const char **ret_value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        size_t length = strlen(rows[i].name);
        if (strncmp(argument, rows[i].name, length) == 0 &&
            (argument[length] == 0 || argument[length] == '=')) {
            *ret_value = argument[length] ? argument + length + 1 : NULL;
            return &rows[i];
        }
    }
    return NULL;
}

static bool take_option(RunOptions *options, const OptionRow *row, const char *value,
                        GError **error)
{
    if (row->take)
        return row->take(options, row->name, value, error);
    if (row->file)
        return set_file(options, row->name, row->key, value, error);
    return set_key(options, row->name, row->key, value, error);
}

// What only makes sense together.
static bool check(RunOptions *options, GError **error)
{
    const Config *config = options->config;
    bool boots = *config_string(config, "boot.kernel") || *config_string(config, "cdrom0.path") ||
                 *config_string(config, "floppy0.path") || *config_string(config, "disk0.path");
    if (!boots) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "there is nothing to boot; give --iso, --disk, --floppy or --kernel");
        return false;
    }
    if (*config_string(config, "network0.forward") &&
        strcmp(config_string(config, "network0.mode"), "none") == 0) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "--forward needs a network; leave --net none away");
        return false;
    }
    if (*config_string(config, "boot.append") && !*config_string(config, "boot.kernel")) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                            "--append is a kernel's command line; give --kernel too");
        return false;
    }
    if (options->display == RUN_DISPLAY_WINDOW && !g_getenv("DISPLAY") &&
        !g_getenv("WAYLAND_DISPLAY")) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                            "--display window needs a desktop, DISPLAY and WAYLAND_DISPLAY are not "
                            "set; use --display none or FILE.png");
        return false;
    }
    if (options->serial == RUN_SERIAL_FILE &&
        !(config_set(options->config, "serial0.path", options->serial_path, error) &&
          config_set(options->config, "serial0.mode", "file", error)))
        return false;
    return config_check(options->config, error);
}

static void timed_clear(void *data)
{
    g_free(((RunTimed *)data)->what);
}

RunOptions *run_options_parse(int argc, char **argv, GError **error)
{
    g_autoptr(RunOptions) options = g_new0(RunOptions, 1);
    options->config = config_new();
    options->debug_exit_port = -1;
    options->screenshots = g_array_new(FALSE, FALSE, sizeof(RunTimed));
    options->texts = g_array_new(FALSE, FALSE, sizeof(RunTimed));
    g_array_set_clear_func(options->screenshots, timed_clear);
    g_array_set_clear_func(options->texts, timed_clear);
    g_autofree char *uuid = g_uuid_string_random();
    config_set(options->config, "machine.uuid", uuid, NULL);
    config_set(options->config, "machine.name", "run", NULL);

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return NULL;
        }
        const char *value;
        const OptionRow *row = find_row(argv[i], &value);
        if (!row) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "there is no option %s; lodgectl run --help shows those there are",
                        argv[i]);
            return NULL;
        }
        if (!value && i + 1 == argc) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                        "%s needs a value; see lodgectl run --help", row->name);
            return NULL;
        }
        if (!take_option(options, row, value ? value : argv[++i], error))
            return NULL;
    }
    return check(options, error) ? g_steal_pointer(&options) : NULL;
}

void run_options_free(RunOptions *options)
{
    if (!options)
        return;
    config_free(options->config);
    g_free(options->serial_path);
    g_free(options->display_path);
    g_free(options->stats_path);
    g_free(options->log_path);
    g_free(options->spice_path);
    if (options->screenshots)
        g_array_unref(options->screenshots);
    if (options->texts)
        g_array_unref(options->texts);
    g_free(options);
}
