// SPDX-License-Identifier: GPL-2.0-or-later
// See hot-pages.h.
#include "engine/hot-pages.h"

#include "engine/base/bytes.h"

#include <stdbool.h>
#include <sys/mman.h>

#define PAGE 4096u

#ifndef MADV_POPULATE_READ // Linux 5.14
#define MADV_POPULATE_READ 22
#endif

struct HotPages {
    GThread *thread;
    const uint8_t *ram;
    uint64_t pages;
    GBytes *list;
    gint stop;
};

static bool bring_in(const HotPages *hot, uint64_t first, size_t count)
{
    void *at = (void *)(uintptr_t)(hot->ram + first * PAGE);
    return madvise(at, count * PAGE, MADV_POPULATE_READ) == 0 ||
           madvise(at, count * PAGE, MADV_WILLNEED) == 0;
}

static gpointer prefetch(gpointer opaque)
{
    HotPages *hot = opaque;
    gsize size;
    const uint8_t *list = g_bytes_get_data(hot->list, &size);
    size_t count = size / 4;
    for (size_t i = 0, run; i < count && !g_atomic_int_get(&hot->stop); i += run) {
        uint64_t first = le32_read(list + 4 * i);
        for (run = 1; i + run < count && le32_read(list + 4 * (i + run)) == first + run; run++)
            ;
        if (first + run > hot->pages || !bring_in(hot, first, run))
            break;
    }
    return NULL;
}

HotPages *hot_pages_start(const uint8_t *ram, uint64_t pages, GBytes *list)
{
    HotPages *hot = g_new0(HotPages, 1);
    hot->ram = ram;
    hot->pages = pages;
    hot->list = g_bytes_ref(list);
    hot->thread = g_thread_new("prefetch", prefetch, hot);
    return hot;
}

void hot_pages_stop(HotPages *hot)
{
    if (!hot)
        return;
    g_atomic_int_set(&hot->stop, 1);
    g_thread_join(hot->thread);
    g_bytes_unref(hot->list);
    g_free(hot);
}
