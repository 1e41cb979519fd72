// SPDX-License-Identifier: GPL-2.0-or-later
// See block-workers.h.
#include "snapshots/block-workers.h"

#include "snapshots/block-private.h"

#define WORKERS 4

typedef struct {
    BlockRequest *request; // NULL: the worker ends
    bool posted;           // `result` is known already
    int result;
} Job;

struct BlockWorkers {
    int (*perform)(void *opaque, BlockRequest *request);
    void *opaque;
    GAsyncQueue *jobs;
    GThread *threads[WORKERS];
};

static gpointer work(gpointer opaque)
{
    BlockWorkers *w = opaque;
    for (;;) {
        g_autofree Job *job = g_async_queue_pop(w->jobs);
        if (!job->request)
            return NULL;
        int result = job->posted ? job->result : w->perform(w->opaque, job->request);
        block_complete(&(BlockCompletion){ job->request, result }, 1);
    }
}

static void push(BlockWorkers *workers, Job job)
{
    g_async_queue_push(workers->jobs, g_memdup2(&job, sizeof job));
}

BlockWorkers *block_workers_new(const char *name,
                                int (*perform)(void *opaque, BlockRequest *request), void *opaque)
{
    BlockWorkers *workers = g_new0(BlockWorkers, 1);
    workers->perform = perform;
    workers->opaque = opaque;
    workers->jobs = g_async_queue_new();
    for (int i = 0; i < WORKERS; i++)
        workers->threads[i] = g_thread_new(name, work, workers);
    return workers;
}

void block_workers_free(BlockWorkers *workers)
{
    for (int i = 0; i < WORKERS; i++)
        push(workers, (Job){ 0 });
    for (int i = 0; i < WORKERS; i++)
        g_thread_join(workers->threads[i]);
    g_async_queue_unref(workers->jobs);
    g_free(workers);
}

void block_workers_submit(BlockWorkers *workers, BlockRequest *request)
{
    push(workers, (Job){ .request = request });
}

void block_workers_post(BlockWorkers *workers, BlockRequest *request, int result)
{
    push(workers, (Job){ .request = request, .posted = true, .result = result });
}
