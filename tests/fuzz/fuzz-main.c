// SPDX-License-Identifier: GPL-2.0-or-later
// Runs a fuzz target without libFuzzer: files and folders named as arguments, then --runs=N inputs
// from --seed=S, or for --seconds=T. Every random input can be made again: the seed is printed at
// the beginning and, with the input's number, where a signal ends the program (--first=NUMBER).
#include <glib.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LONGEST 4096

static volatile gint current = -1; // number of the random input
static gint seed = 1;

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

static void write_number(gint number)
{
    char digits[12];
    unsigned at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    if (write(STDERR_FILENO, digits + at, sizeof digits - at) < 0)
        return;
}

static void write_text(const char *text, size_t size)
{
    if (write(STDERR_FILENO, text, size) < 0)
        return;
}

// Says which input it was; then whoever would have taken the signal gets it.
static struct sigaction before[NSIG];
static void tell_input(int signal)
{
    static const char input[] = "random input ", of_seed[] = " of seed ", end[] = "\n";
    if (current >= 0) {
        write_text(input, sizeof input - 1);
        write_number(current);
        write_text(of_seed, sizeof of_seed - 1);
        write_number(seed);
        write_text(end, sizeof end - 1);
    }
    sigaction(signal, &before[signal], NULL);
    if (signal == SIGTERM || signal == SIGABRT)
        raise(signal); // the others come again by themselves
}

static void catch_signals(void)
{
    static const int signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGTERM };
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++) {
        struct sigaction action = { .sa_handler = tell_input };
        sigaction(signals[i], &action, &before[signals[i]]);
    }
}

int main(int argc, char **argv)
{
    gint runs = 0, first = 0, seconds = 0;
    g_auto(GStrv) paths = NULL;
    GOptionEntry entries[] = {
        { "runs", 0, 0, G_OPTION_ARG_INT, &runs, "random inputs", "N" },
        { "first", 0, 0, G_OPTION_ARG_INT, &first, "number of the first random input", "N" },
        { "seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "random inputs for so long", "T" },
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
    catch_signals();
    if (seconds)
        g_print("random inputs for %d s, seed %d\n", seconds, seed);
    else
        g_print("%d random inputs, seed %d\n", runs, seed);
    gint64 end = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;
    gint i = first;
    for (; seconds ? g_get_monotonic_time() < end : i < first + runs; i++) {
        uint8_t data[LONGEST];
        g_autoptr(GRand) rand = g_rand_new_with_seed_array((guint32[]){ (guint32)seed, (guint32)i },
                                                           2);
        current = i;
        LLVMFuzzerTestOneInput(data, random_input(rand, data));
    }
    if (seconds)
        g_print("%d inputs\n", i - first);
    return 0;
}
