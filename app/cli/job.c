// SPDX-License-Identifier: GPL-2.0-or-later
// See job.h.
#include "app/cli/job.h"

#include <glib-unix.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
    GMainLoop *loop;
    GCancellable *cancellable;
    bool (*work)(void *opaque, GCancellable *cancellable, GError **error);
    void *opaque;
    bool done;
    GError *error;
} Job;

static void progress(LodgeSnapshots1 *proxy, guint64 done, guint64 total, gpointer data)
{
    if (total > 0)
        fprintf(stderr, "\r%3d %%", (int)(100.0 * (double)done / (double)total));
}

static void thread(GTask *task, gpointer source, gpointer data, GCancellable *cancellable)
{
    Job *job = data;
    job->done = job->work(job->opaque, job->cancellable, &job->error);
    g_task_return_boolean(task, TRUE);
}

static void ended(GObject *source, GAsyncResult *result, gpointer data)
{
    Job *job = data;
    g_main_loop_quit(job->loop);
}

static gboolean interrupt(gpointer data)
{
    Job *job = data;
    g_cancellable_cancel(job->cancellable);
    return G_SOURCE_CONTINUE;
}

bool cli_job_run(LodgeSnapshots1 *proxy,
                 bool (*work)(void *opaque, GCancellable *cancellable, GError **error),
                 void *opaque, GError **error)
{
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_autoptr(GCancellable) cancellable = g_cancellable_new();
    Job job = { .loop = loop, .cancellable = cancellable, .work = work, .opaque = opaque };
    bool shows = isatty(STDERR_FILENO);
    gulong handler = shows ? g_signal_connect(proxy, "progress", G_CALLBACK(progress), &job) : 0;
    guint source = g_unix_signal_add(SIGINT, interrupt, &job);
    g_autoptr(GTask) task = g_task_new(NULL, NULL, ended, &job);
    g_task_set_task_data(task, &job, NULL);
    g_task_run_in_thread(task, thread);
    g_main_loop_run(loop);
    g_source_remove(source);
    if (handler) {
        g_signal_handler_disconnect(proxy, handler);
        fputs("\r     \r", stderr);
    }
    if (job.error)
        g_propagate_error(error, job.error);
    return job.done;
}
