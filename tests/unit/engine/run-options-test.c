// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/run-options.h"

#include <string.h>

static RunOptions *parse(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    GError *error = NULL;
    RunOptions *options = run_options_parse((int)g_strv_length(words), words, &error);
    g_assert_no_error(error);
    return options;
}

static void everything(void)
{
    g_autoptr(RunOptions) options = parse(
        "--iso a.iso --floppy=f.img --disk d0 --disk d1 --memory 512M --cpus 4 "
        "--engine interpreter "
        "--net nat --forward 8080:80 --forward 53:53/udp --serial stdio --display last.png "
        "--screenshot a.png@1.5 --screenshot b@2.png@3 --type root@4 --debug-exit 0x501 "
        "--timeout 60 --stats s.json --set disk1.interface=virtio --log - --spice /tmp/s");
    const Config *config = options->config;
    g_assert_cmpstr(config_string(config, "cdrom0.path"), ==, "a.iso");
    g_assert_cmpstr(config_string(config, "floppy0.path"), ==, "f.img");
    g_assert_cmpstr(config_string(config, "disk1.path"), ==, "d1");
    g_assert_cmpstr(config_string(config, "disk1.interface"), ==, "virtio");
    g_assert_cmpint(config_integer(config, "memory.size"), ==, 512 << 20);
    g_assert_cmpint(config_integer(config, "cpu.count"), ==, 4);
    g_assert_cmpstr(config_string(config, "network0.forward"), ==, "8080:80,53:53/udp");
    g_assert_cmpint(options->serial, ==, RUN_SERIAL_STDIO);
    g_assert_cmpint(options->display, ==, RUN_DISPLAY_PICTURE);
    g_assert_cmpuint(options->screenshots->len, ==, 2);
    RunTimed timed = g_array_index(options->screenshots, RunTimed, 1);
    g_assert_cmpstr(timed.what, ==, "b@2.png");
    g_assert_cmpfloat(timed.seconds, ==, 3);
    g_assert_cmpfloat(g_array_index(options->screenshots, RunTimed, 0).seconds, ==, 1.5);
    g_assert_cmpint(options->debug_exit_port, ==, 0x501);
    g_assert_cmpfloat(options->timeout, ==, 60);
    g_assert_cmpstr(options->log_path, ==, "-");
}

static void defaults(void)
{
    g_autoptr(RunOptions) options = parse("--kernel k --append x");
    g_assert_cmpint(options->debug_exit_port, ==, -1);
    g_assert_cmpint(options->serial, ==, RUN_SERIAL_NONE);
    g_assert_cmpint(options->display, ==, RUN_DISPLAY_NONE);
    g_assert_cmpfloat(options->timeout, ==, 0);
    g_assert_cmpstr(config_string(options->config, "network0.mode"), ==, "nat");
    g_assert_cmpuint(strlen(config_string(options->config, "machine.uuid")), ==, 36);
}

static void serial_file(void)
{
    g_autoptr(RunOptions) options = parse("--kernel k --serial out.txt");
    g_assert_cmpstr(config_string(options->config, "serial0.mode"), ==, "file");
    g_assert_cmpstr(config_string(options->config, "serial0.path"), ==, "out.txt");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/run-options/everything", everything);
    g_test_add_func("/run-options/defaults", defaults);
    g_test_add_func("/run-options/serial-file", serial_file);
    return g_test_run();
}
