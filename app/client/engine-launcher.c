// SPDX-License-Identifier: GPL-2.0-or-later
// See engine-launcher.h. lodge-engine --vm returns once the machine is up or could not be started,
// and leaves the engine behind as its orphan; so starting is running a short-lived program.
#include "app/client/engine-launcher.h"

#include "engine/base/program-path.h"

#include <string.h>

char *program_find(const char *name, GError **error)
{
    char *path = program_path(name);
    if (!path)
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                    "the program %s is neither beside this one nor in PATH; reinstall Lodge", name);
    return path;
}

static GSubprocess *spawn(const char *const *arguments, GSubprocessFlags output, GError **error)
{
    g_autofree char *program = program_find("lodge-engine", error);
    if (!program)
        return NULL;
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    g_ptr_array_add(argv, program);
    for (; *arguments; arguments++)
        g_ptr_array_add(argv, (char *)*arguments);
    g_ptr_array_add(argv, NULL);
    return g_subprocess_newv((const char *const *)argv->pdata,
                             G_SUBPROCESS_FLAGS_STDERR_PIPE | output, error);
}

// The program's last word, without its name in front.
static bool judge(GSubprocess *process, const char *problems, GError **error)
{
    if (g_subprocess_get_successful(process))
        return true;
    const char *prefix = "lodge-engine: ";
    g_auto(GStrv) lines = g_strsplit(problems ? g_strchomp((char *)problems) : "", "\n", -1);
    guint count = g_strv_length(lines);
    const char *last = count > 0 ? lines[count - 1] : "";
    if (g_str_has_prefix(last, prefix))
        last += strlen(prefix);
    g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                        *last ? last : "lodge-engine ended without a word");
    return false;
}

bool engine_call(const char *const *arguments, GError **error)
{
    g_autoptr(GSubprocess) process = spawn(arguments, G_SUBPROCESS_FLAGS_STDOUT_SILENCE, error);
    g_autofree char *problems = NULL;
    return process &&
           g_subprocess_communicate_utf8(process, NULL, NULL, NULL, &problems, error) &&
           judge(process, problems, error);
}

static bool read_all(GInputStream *stream, gsize limit, GByteArray *bytes,
                     GCancellable *cancellable, GError **error)
{
    guint8 part[16384];
    for (gssize got; (got = g_input_stream_read(stream, part, sizeof(part), cancellable, error));) {
        if (got < 0)
            return false;
        if (bytes->len + (gsize)got > limit) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE,
                        "lodge-engine has more than %" G_GSIZE_FORMAT " bytes to say", limit);
            return false;
        }
        g_byte_array_append(bytes, part, (guint)got);
    }
    return true;
}

GBytes *engine_output(const char *const *arguments, gsize limit, GCancellable *cancellable,
                      GError **error)
{
    g_autoptr(GSubprocess) process = spawn(arguments, G_SUBPROCESS_FLAGS_STDOUT_PIPE, error);
    if (!process)
        return NULL;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autofree char *problems = NULL;
    if (!read_all(g_subprocess_get_stdout_pipe(process), limit, bytes, cancellable, error)) {
        g_subprocess_force_exit(process);
        g_subprocess_wait(process, NULL, NULL);
        return NULL;
    }
    if (!g_subprocess_communicate_utf8(process, NULL, NULL, NULL, &problems, error) ||
        !judge(process, problems, error))
        return NULL;
    return g_byte_array_free_to_bytes(g_steal_pointer(&bytes));
}

enum { START_WORDS = 8 };

// arguments: of lodge-engine, which end with NULL; number: for one of them, 24 bytes.
static void fill_arguments(const char *folder, const EngineStart *how,
                           const char *arguments[START_WORDS], char number[24])
{
    unsigned count = 0;
    arguments[count++] = "--vm";
    arguments[count++] = folder;
    if (how && how->wait)
        arguments[count++] = "--wait";
    if (how && how->disposable)
        arguments[count++] = "--disposable";
    if (how && how->node) {
        g_snprintf(number, 24, "%" G_GUINT64_FORMAT, how->node);
        arguments[count++] = "--node";
        arguments[count++] = number;
    }
    arguments[count] = NULL;
}

bool engine_start(const char *folder, const EngineStart *how, GError **error)
{
    const char *arguments[START_WORDS];
    char number[24];
    fill_arguments(folder, how, arguments, number);
    return engine_call(arguments, error);
}

static void started(GObject *source, GAsyncResult *result, gpointer user_data)
{
    g_autoptr(GTask) task = user_data;
    g_autofree char *problems = NULL;
    GError *error = NULL;
    if (g_subprocess_communicate_utf8_finish(G_SUBPROCESS(source), result, NULL, &problems,
                                             &error) &&
        judge(G_SUBPROCESS(source), problems, &error))
        g_task_return_boolean(task, TRUE);
    else
        g_task_return_error(task, error);
}

void engine_start_async(const char *folder, const EngineStart *how, GCancellable *cancellable,
                        GAsyncReadyCallback done, gpointer user_data)
{
    g_autoptr(GTask) task = g_task_new(NULL, cancellable, done, user_data);
    const char *arguments[START_WORDS];
    char number[24];
    fill_arguments(folder, how, arguments, number);
    GError *error = NULL;
    g_autoptr(GSubprocess) process = spawn(arguments, G_SUBPROCESS_FLAGS_STDOUT_SILENCE, &error);
    if (!process) {
        g_task_return_error(task, error);
        return;
    }
    g_subprocess_communicate_utf8_async(process, NULL, cancellable, started,
                                        g_steal_pointer(&task));
}

gboolean engine_start_finish(GAsyncResult *result, GError **error)
{
    return g_task_propagate_boolean(G_TASK(result), error);
}
