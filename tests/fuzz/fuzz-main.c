// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a fuzz target without libFuzzer: files and folders named as arguments, then --runs=N inputs
// from --seed=S. Every random input can be made again from the seed that is printed.
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST 4096

static void replay(const char *path)
{
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;
    if (dir) {
        while ((name = g_dir_read_name(dir))) {
            g_autofree char *child = g_build_filename(path, name, NULL);
            replay(child);
        }
        return;
    }
    g_autofree char *bytes = NULL;
    gsize size;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &bytes, &size, &error)) {
        g_printerr("%s\n", error->message);
        exit(1);
    }
    LLVMFuzzerTestOneInput((const uint8_t *)bytes, size);
}

// Bytes that repeat and stay small reach further than even noise does.
static size_t random_input(GRand *rand, uint8_t *data)
{
    size_t size = (size_t)g_rand_int_range(rand, 0, LONGEST);
    guint32 ceiling = g_rand_boolean(rand) ? 256 : 16;
    for (size_t i = 0; i < size; i++) {
        bool repeat = i >= 8 && g_rand_int_range(rand, 0, 4) == 0;
        data[i] = repeat ? data[i - 8] : (uint8_t)g_rand_int_range(rand, 0, (gint32)ceiling);
    }
    return size;
}

int main(int argc, char **argv)
{
    gint runs = 0, seed = 1;
    g_auto(GStrv) paths = NULL;
    GOptionEntry entries[] = {
        { "runs", 0, 0, G_OPTION_ARG_INT, &runs, "random inputs", "N" },
        { "seed", 0, 0, G_OPTION_ARG_INT, &seed, "where they begin", "S" },
        { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &paths, NULL, "FILE..." },
        { NULL },
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- run a fuzz target");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error)) {
        g_printerr("%s\n", error->message);
        return 2;
    }
    for (char **path = paths; path && *path; path++)
        replay(*path);
    g_print("%d random inputs, seed %d\n", runs, seed);
    for (gint i = 0; i < runs; i++) {
        uint8_t data[LONGEST];
        g_autoptr(GRand) rand = g_rand_new_with_seed_array((guint32[]){ (guint32)seed, (guint32)i },
                                                           2);
        LLVMFuzzerTestOneInput(data, random_input(rand, data));
    }
    return 0;
}
