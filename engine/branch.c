// SPDX-License-Identifier: GPL-2.0-or-later
// See branch.h. The engine that runs the machine has locked itself in and can make no files, so
// this is a process of its own, which reads the store beside it.
#include "engine/branch.h"

#include "snapshots/store/store.h"

#include <stdio.h>

static bool make(char **argv, GError **error)
{
    guint64 node;
    if (!g_ascii_string_to_unsigned(argv[1], 10, 1, G_MAXUINT64, &node, error))
        return false;
    StoreOpen options = { .path = argv[0], .read_only = true };
    StoreTake first = { .name = argv[2], .time = g_get_real_time() };
    Store *store = store_open(&options, error);
    bool made = store && store_branch(store, node, &first, argv[3], error);
    store_close(store);
    return made;
}

int branch_command(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "lodge-engine: wrong arguments; see lodge-engine --help\n");
        return 2;
    }
    g_autoptr(GError) error = NULL;
    if (make(argv, &error))
        return 0;
    fprintf(stderr, "lodge-engine: %s\n", error->message);
    return 1;
}
