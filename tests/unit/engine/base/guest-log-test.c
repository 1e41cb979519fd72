// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/base/guest-log.h"

static GLogWriterOutput count_lines(GLogLevelFlags level, const GLogField *fields, gsize count,
                                    gpointer lines)
{
    (*(unsigned *)lines)++;
    return G_LOG_WRITER_HANDLED;
}

static unsigned lines;

static void said_once(void)
{
    unsigned before = lines;
    for (int i = 0; i < 5; i++)
        guest_log_once("device", "kind", "number %d", i);
    g_assert_cmpuint(lines - before, ==, 1);
    g_assert_cmpuint(guest_log_count("device", "kind"), ==, 5);
}

// A guest that makes a new kind with every access fills neither log nor memory.
static void bounded(void)
{
    unsigned before = lines;
    for (int i = 0; i < 20000; i++) {
        g_autofree char *kind = g_strdup_printf("register %x", i);
        guest_log_once("device", kind, "read");
    }
    g_assert_cmpuint(lines - before, <=, 1100);
    g_assert_cmpuint(guest_log_count("device", "register 1"), ==, 1);
    // What was known before is still told apart.
    guest_log_once("device", "kind", "again");
    g_assert_cmpuint(guest_log_count("device", "kind"), ==, 6);
}

int main(int argc, char **argv)
{
    g_log_set_writer_func(count_lines, &lines, NULL);
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/guest-log/said-once", said_once);
    g_test_add_func("/guest-log/bounded", bounded);
    return g_test_run();
}
