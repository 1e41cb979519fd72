// SPDX-License-Identifier: GPL-2.0-or-later
// See disk-jobs.h. A job that is interrupted (Ctrl+C, SIGTERM) leaves nothing behind: a new image
// has no name before it is whole (image-writer.h); what changes an image in place is ordered so
// that it is sound at any moment, and is not interrupted.
#include "engine/disk-jobs.h"

#include "engine/config/config-keys.h"
#include "engine/disk-files.h"
#include "engine/disk-report.h"
#include "engine/disk-sandbox.h"
#include "engine/disk-volumes.h"

#include <gio/gio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "Usage: lodgectl disk COMMAND [OPTION]... FILE...\n"
    "Works on disk images: raw, qcow2, VMDK, VDI, VHD, VHDX.\n\n"
    "  info FILE            what an image is\n"
    "  check FILE           looks for damage; status 1 where there is some left\n"
    "  convert FILE NEW     copies a disk into a new image; what it stands on is put into it\n"
    "  resize FILE SIZE     makes a disk larger: to SIZE, or by SIZE where that begins with +\n"
    "  import MACHINE FILE  copies an image into a machine's snapshot store, as a disk\n"
    "  export MACHINE FILE  copies a machine's disk, now or in a snapshot, into a new image\n\n"
    "  --format NAME        the image's format (convert: of the new one) where its name does not\n"
    "                       end in it: raw, qcow2, vmdk, vdi, vhd, vhdx\n"
    "  --from NAME          convert: the format of the source, where neither its name nor its\n"
    "                       first bytes may tell\n"
    "  --compress NAME      convert to qcow2: zlib or zstd\n"
    "  --repair             check: puts right what can be without guessing\n"
    "  --json               info, check: the same as JSON; else what was made\n"
    "  --disk DISK          import, export: disk0 to disk7\n"
    "  --node NODE          export: as the disk was in that snapshot\n\n"
    "Status: 0 done, 1 failed, 2 wrong usage. See lodgectl(1).\n";

// What a disk may make us do has an end: processor time, and bytes of memory of its own.
#define COMPARE_SECONDS 600
#define COMPARE_BYTES (UINT64_C(2) << 30)

typedef struct {
    const char *arguments[4];
    int count;
    const char *format, *from, *compress;
    bool repair, json, gvariant;
} Job;

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static const char *program(void)
{
    const char *name = g_getenv("LODGE_PROGRAM_NAME");
    return name ? name : "lodge-engine";
}

static int fail(GError *error)
{
    fprintf(stderr, "%s: %s\n", program(), error->message);
    g_error_free(error);
    return 1;
}

// Whoever only reads may look at the first bytes; whoever writes may not, since a guest may have
// written them. ret_format: NULL to look.
static bool choose_format(const char *path, const char *given, bool writes, const char **ret_format,
                          GError **error)
{
    const char *named = image_format_of_name(path);
    *ret_format = given ? given : named;
    if (given && !image_format_known(given)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s is no format; use raw, qcow2, vmdk, vdi, vhd or vhdx", given);
        return false;
    }
    if (given || strcmp(named, "raw") != 0)
        return true;
    *ret_format = writes ? "raw" : NULL;
    if (!writes)
        return true;
    ImageOpen options = { .path = path, .fd = -1, .read_only = true, .for_check = true };
    Image *image = image_open(&options, NULL);
    const char *looks = image ? image_format(image) : "raw";
    image_close(image);
    if (strcmp(looks, "raw") == 0)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "%s looks like %s, but its name does not say so; say --format %s or --format raw",
                path, looks, looks);
    return false;
}

static Image *open_image(const char *path, const char *format, bool writes, bool for_check,
                         GError **error)
{
    ImageOpen options = { .path = path, .fd = -1, .read_only = !writes, .for_check = for_check };
    if (!choose_format(path, format, writes, &options.format, error))
        return NULL;
    return image_open(&options, error);
}

static int run_info(const Job *job)
{
    GError *error = NULL;
    Image *image = open_image(job->arguments[0], job->format, false, true, &error);
    if (!image)
        return fail(error);
    g_autofree char *text = job->json ? disk_report_json(image) : disk_report_text(image);
    fputs(text, stdout);
    image_close(image);
    return 0;
}

static int run_check(const Job *job)
{
    GError *error = NULL;
    Image *image = open_image(job->arguments[0], job->format, job->repair, true, &error);
    ImageCheck check;
    if (image && job->repair)
        catch_signals(); // a repair is done to its end
    if (!image || !image_check(image, job->repair, &check, &error)) {
        image_close(image);
        return fail(error);
    }
    g_autofree char *text =
        job->json ? disk_check_json(image, &check) : disk_check_text(image, &check);
    fputs(text, stdout);
    bool sound = check.errors + check.leaks == check.repaired;
    image_check_clear(&check);
    int result = image_close(image);
    if (result < 0) {
        g_set_error(&error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "image '%s' cannot be written: %s", job->arguments[0], g_strerror(-result));
        return fail(error);
    }
    return sound ? 0 : 1;
}

typedef struct {
    uint64_t size;
    int shown; // percent; -1: nothing yet
    bool terminal;
} Progress;

static bool show_percent(void *opaque, uint64_t done, uint64_t size)
{
    Progress *p = opaque;
    int percent = (int)((double)done / (double)size * 100);
    int step = p->terminal ? 1 : 10;
    if (percent / step != p->shown / step || p->shown < 0) {
        fprintf(stderr, p->terminal ? "\r%3d %%" : "%d %%\n", percent / step * step);
        p->shown = percent;
    }
    return !interrupted;
}

static bool show_progress(void *opaque, uint64_t done)
{
    return show_percent(opaque, done, ((Progress *)opaque)->size);
}

static void hide_progress(const Progress *p)
{
    if (p->terminal)
        fprintf(stderr, "\r     \r");
}

static bool choose_packing(const Job *job, ImagePack *ret_pack, GError **error)
{
    const char *name = job->compress ? job->compress : "none";
    if (strcmp(name, "none") == 0)
        *ret_pack = IMAGE_PACK_NONE;
    else if (strcmp(name, "zlib") == 0)
        *ret_pack = IMAGE_PACK_ZLIB;
    else if (strcmp(name, "zstd") == 0)
        *ret_pack = IMAGE_PACK_ZSTD;
    else {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "--compress %s must be one of: none, zlib, zstd", name);
        return false;
    }
    return true;
}

static bool convert(const Job *job, Image *source, GError **error)
{
    const char *target = job->arguments[1];
    ImageCreate create = {
        .path = target,
        .format = job->format ? job->format : image_format_of_name(target),
        .size = (image_size(source) + 511) & ~UINT64_C(511),
    };
    if (!choose_packing(job, &create.pack, error))
        return false;
    ImageWriter *writer = image_writer_new(&create, error);
    if (!writer)
        return false;
    catch_signals();
    Progress progress = { image_size(source), -1, isatty(STDERR_FILENO) };
    bool done = image_copy(source, writer, show_progress, &progress, error);
    hide_progress(&progress);
    if (done)
        return image_writer_finish(writer, error);
    image_writer_cancel(writer);
    return false;
}

static int run_convert(const Job *job)
{
    GError *error = NULL;
    Image *source = open_image(job->arguments[0], job->from, false, false, &error);
    bool done = source && convert(job, source, &error);
    const char *target = job->arguments[1];
    if (done && job->json) {
        g_autofree char *text =
            disk_made_json(NULL, target, job->format ? job->format : image_format_of_name(target),
                           image_size(source));
        fputs(text, stdout);
    }
    image_close(source);
    return done ? 0 : fail(error);
}

// STORE VOLUME NODE FILE
static int run_export(const Job *job)
{
    const char *target = job->arguments[3];
    ImageCreate create = {
        .path = target,
        .format = job->format ? job->format : image_format_of_name(target),
    };
    Progress progress = { 0, -1, isatty(STDERR_FILENO) };
    uint64_t node;
    GError *error = NULL;
    if (!g_ascii_string_to_unsigned(job->arguments[2], 10, 0, G_MAXUINT64, &node, &error) ||
        !choose_packing(job, &create.pack, &error))
        return fail(error);
    catch_signals();
    bool done = disk_volume_export(job->arguments[0], job->arguments[1], node, &create,
                                   show_percent, &progress, &error);
    hide_progress(&progress);
    if (!done)
        return fail(error);
    if (job->json) {
        g_autofree char *text = disk_made_json(job->arguments[1], target, create.format,
                                               create.size);
        fputs(text, stdout);
    }
    return 0;
}

// FILE STORE VOLUME
static int run_import(const Job *job)
{
    GError *error = NULL;
    Progress progress = { 0, -1, isatty(STDERR_FILENO) };
    Image *image = open_image(job->arguments[0], job->from, false, false, &error);
    if (!image)
        return fail(error);
    catch_signals();
    bool done = disk_volume_import(image, job->arguments[1], job->arguments[2], show_percent,
                                   &progress, &error);
    hide_progress(&progress);
    if (done && job->json) {
        g_autofree char *text = disk_made_json(job->arguments[2], job->arguments[0],
                                               image_format(image), image_size(image));
        fputs(text, stdout);
    }
    image_close(image);
    return done ? 0 : fail(error);
}

static GBytes *compare(const Job *job, StoreNodeId before, StoreNodeId after, GError **error)
{
    if (job->gvariant) {
        g_autoptr(GVariant) changes =
            disk_files_compare_variant(job->arguments[0], before, after, error);
        return changes ? g_variant_get_data_as_bytes(changes) : NULL;
    }
    char *text = disk_files_compare(job->arguments[0], before, after, job->json, error);
    return text ? g_bytes_new_take(text, strlen(text)) : NULL;
}

static GLogWriterOutput end_for_memory(GLogLevelFlags level, const GLogField *fields, gsize count,
                                       gpointer data)
{
    if (!(level & G_LOG_LEVEL_ERROR))
        return g_log_writer_default(level, fields, count, data);
    fprintf(stderr, "%s: the disks have more to compare than fits into %u MiB of memory\n",
            program(), (unsigned)(COMPARE_BYTES >> 20));
    _exit(1);
}

static void limit_comparison(void)
{
    const struct rlimit seconds = { COMPARE_SECONDS, COMPARE_SECONDS };
    const struct rlimit bytes = { COMPARE_BYTES, COMPARE_BYTES };
    setrlimit(RLIMIT_CPU, &seconds);
#ifndef __SANITIZE_ADDRESS__ // whose shadow is larger
    setrlimit(RLIMIT_DATA, &bytes);
#endif
    g_log_set_writer_func(end_for_memory, NULL, NULL);
}

// STORE NODE NODE. It changes nothing, so that a signal may end it anywhere.
static int run_compare(const Job *job)
{
    uint64_t before, after;
    GError *error = NULL;
    if (!g_ascii_string_to_unsigned(job->arguments[1], 10, 0, G_MAXUINT64, &before, &error) ||
        !g_ascii_string_to_unsigned(job->arguments[2], 10, 0, G_MAXUINT64, &after, &error))
        return fail(error);
    limit_comparison();
    g_autoptr(GBytes) output = compare(job, before, after, &error);
    if (!output)
        return fail(error);
    gsize size;
    const void *bytes = g_bytes_get_data(output, &size);
    return fwrite(bytes, 1, size, stdout) == size && fflush(stdout) == 0 ? 0 : 1;
}

static bool wanted_size(const char *text, uint64_t now, uint64_t *ret_size, GError **error)
{
    bool more = *text == '+';
    int64_t size;
    if (!config_size_parse(text + more, &size) || size <= 0 || size > INT64_C(1) << 60) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%s is no disk size; give one with a unit, like 20G or +5G", text);
        return false;
    }
    *ret_size = more ? now + (uint64_t)size : (uint64_t)size;
    return true;
}

static int run_resize(const Job *job)
{
    GError *error = NULL;
    Image *image = open_image(job->arguments[0], job->format, true, false, &error);
    uint64_t size;
    if (!image || !wanted_size(job->arguments[1], image_size(image), &size, &error)) {
        image_close(image);
        return fail(error);
    }
    catch_signals(); // short, and not to be stopped halfway
    bool done = image_resize(image, size, &error);
    g_autofree char *text =
        disk_made_json(NULL, job->arguments[0], image_format(image), image_size(image));
    int result = image_close(image);
    if (done && result < 0) {
        done = false;
        g_set_error(&error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "image '%s' cannot be written: %s", job->arguments[0], g_strerror(-result));
    }
    if (done && job->json)
        fputs(text, stdout);
    return done ? 0 : fail(error);
}

// The last three are for lodgectl's import, export and snapshot diff, the last also for the app.
static const struct {
    const char *name;
    int arguments;
    bool writes;    // the first argument's file
    int makes;      // the argument whose file is made; 0: none
    bool store;     // works on a store, which may stand on those of machines beside it
    int (*run)(const Job *job);
} commands[] = {
    { "info", 1, false, 0, false, run_info },
    { "check", 1, false, 0, false, run_check },
    { "convert", 2, false, 1, false, run_convert },
    { "resize", 2, true, 0, false, run_resize },
    { "export-volume", 4, false, 3, true, run_export },
    { "import-volume", 3, false, 1, true, run_import },
    { "compare-volumes", 3, false, 0, true, run_compare },
};

static int wrong_usage(const char *what, const char *about)
{
    fprintf(stderr, "lodgectl disk: %s%s; see lodgectl disk --help\n", what, about);
    return 2;
}

// An option with a value, in either spelling. False: another option. Where the value is missing,
// *ret_value stays NULL.
static bool take_value(const char *option, int argc, char **argv, int *at, const char **ret_value)
{
    size_t length = strlen(option);
    if (strncmp(argv[*at], option, length) != 0)
        return false;
    if (argv[*at][length] == '=')
        *ret_value = argv[*at] + length + 1;
    else if (argv[*at][length])
        return false;
    else if (*at + 1 < argc)
        *ret_value = argv[++*at];
    return true;
}

static bool parse_option(Job *job, int argc, char **argv, int *at, bool *ret_missing)
{
    const struct {
        const char *name;
        const char **value;
    } options[] = { { "--format", &job->format },
                    { "--from", &job->from },
                    { "--compress", &job->compress } };
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        if (take_value(options[i].name, argc, argv, at, options[i].value)) {
            *ret_missing = *options[i].value == NULL;
            return true;
        }
    }
    if (strcmp(argv[*at], "--repair") == 0)
        job->repair = true;
    else if (strcmp(argv[*at], "--json") == 0)
        job->json = true;
    else if (strcmp(argv[*at], "--gvariant") == 0) // compare-volumes: as disk-files.h describes it
        job->gvariant = true;
    else
        return false;
    return true;
}

int disk_command(int argc, char **argv)
{
    Job job = { .count = 0 };
    const char *command = NULL;
    bool options_end = false;
    for (int i = 0; i < argc; i++) {
        bool missing = false;
        if (!options_end && strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (!options_end && strcmp(argv[i], "--") == 0) {
            options_end = true;
        } else if (!options_end && argv[i][0] == '-' && argv[i][1]) {
            const char *option = argv[i];
            if (!parse_option(&job, argc, argv, &i, &missing))
                return wrong_usage("there is no option ", option);
            if (missing)
                return wrong_usage("a value is missing after ", option);
        } else if (!command) {
            command = argv[i];
        } else if (job.count < (int)G_N_ELEMENTS(job.arguments)) {
            job.arguments[job.count++] = argv[i];
        } else {
            return wrong_usage("too many arguments: ", argv[i]);
        }
    }
    for (size_t i = 0; command && i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, command) != 0)
            continue;
        if (job.count != commands[i].arguments)
            return wrong_usage("wrong number of arguments for ", command);
        DiskSandbox sandbox = {
            .source = job.arguments[0],
            .writes = commands[i].writes || job.repair,
            .target = commands[i].makes ? job.arguments[commands[i].makes] : NULL,
            .store = !commands[i].store ? NULL : job.arguments[commands[i].makes == 1],
        };
        GError *error = NULL;
        if (!disk_sandbox_enter(&sandbox, &error))
            return fail(error);
        return commands[i].run(&job);
    }
    return command ? wrong_usage("there is no command ", command)
                   : wrong_usage("a command is missing", "");
}
