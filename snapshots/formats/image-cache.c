// SPDX-License-Identifier: GPL-2.0-or-later
// See image-cache.h. Clean pages go, oldest first, when there are more than pages_max; dirty ones
// stay until they are written back, which the driver does before they become many.
#include "snapshots/formats/image-cache.h"

#include <string.h>

typedef struct Page {
    uint64_t offset; // the key
    bool dirty;
    struct Page *newer, *older; // by last use
    uint8_t bytes[];
} Page;

struct ImageCache {
    ImageFile *file;
    uint64_t origin;
    size_t page;
    size_t pages_max;
    GMutex mutex; // guards what follows
    GHashTable *pages;
    Page *newest, *oldest;
    size_t dirty;
};

ImageCache *image_cache_new(ImageFile *file, uint64_t origin, size_t page, size_t pages_max)
{
    ImageCache *cache = g_new0(ImageCache, 1);
    g_mutex_init(&cache->mutex);
    cache->file = file;
    cache->origin = origin;
    cache->page = page;
    cache->pages_max = MAX(pages_max, 2);
    cache->pages = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free);
    return cache;
}

void image_cache_free(ImageCache *cache)
{
    if (!cache)
        return;
    g_hash_table_unref(cache->pages);
    g_mutex_clear(&cache->mutex);
    g_free(cache);
}

static void unlink_page(ImageCache *cache, Page *page)
{
    *(page->newer ? &page->newer->older : &cache->newest) = page->older;
    *(page->older ? &page->older->newer : &cache->oldest) = page->newer;
}

static void link_newest(ImageCache *cache, Page *page)
{
    page->newer = NULL;
    page->older = cache->newest;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = page;
    cache->newest = page;
}

static void remove_page(ImageCache *cache, Page *page)
{
    unlink_page(cache, page);
    cache->dirty -= page->dirty;
    g_hash_table_remove(cache->pages, &page->offset); // frees it
}

static void make_room(ImageCache *cache)
{
    Page *page = cache->oldest;
    while (page && g_hash_table_size(cache->pages) >= cache->pages_max) {
        Page *newer = page->newer;
        if (!page->dirty)
            remove_page(cache, page);
        page = newer;
    }
}

static int get_page(ImageCache *cache, uint64_t offset, bool fill, Page **ret_page)
{
    Page *page = g_hash_table_lookup(cache->pages, &offset);
    if (page) {
        if (page != cache->newest) {
            unlink_page(cache, page);
            link_newest(cache, page);
        }
        *ret_page = page;
        return 0;
    }
    make_room(cache);
    page = g_malloc(sizeof *page + cache->page);
    page->offset = offset;
    page->dirty = false;
    int result = fill ? image_file_read(cache->file, offset, page->bytes, cache->page) : 0;
    if (result < 0) {
        g_free(page);
        return result;
    }
    link_newest(cache, page);
    g_hash_table_insert(cache->pages, &page->offset, page);
    *ret_page = page;
    return 0;
}

static uint64_t page_start(const ImageCache *cache, uint64_t offset)
{
    return offset - (offset - cache->origin) % cache->page;
}

static void set_dirty(ImageCache *cache, Page *page)
{
    cache->dirty += !page->dirty;
    page->dirty = true;
}

int image_cache_read(ImageCache *cache, uint64_t offset, void *buffer, size_t size)
{
    uint8_t *bytes = buffer;
    int result = 0;
    g_mutex_lock(&cache->mutex);
    while (size && result == 0) {
        uint64_t start = page_start(cache, offset);
        size_t within = (size_t)(offset - start), count = MIN(size, cache->page - within);
        Page *page;
        result = get_page(cache, start, true, &page);
        if (result < 0)
            break;
        memcpy(bytes, page->bytes + within, count);
        bytes += count;
        offset += count;
        size -= count;
    }
    g_mutex_unlock(&cache->mutex);
    return result;
}

int image_cache_write(ImageCache *cache, uint64_t offset, const void *buffer, size_t size)
{
    const uint8_t *bytes = buffer;
    int result = 0;
    g_mutex_lock(&cache->mutex);
    while (size && result == 0) {
        uint64_t start = page_start(cache, offset);
        size_t within = (size_t)(offset - start), count = MIN(size, cache->page - within);
        Page *page;
        result = get_page(cache, start, count < cache->page, &page);
        if (result < 0)
            break;
        memcpy(page->bytes + within, bytes, count);
        set_dirty(cache, page);
        bytes += count;
        offset += count;
        size -= count;
    }
    g_mutex_unlock(&cache->mutex);
    return result;
}

int image_cache_zero(ImageCache *cache, uint64_t offset, uint64_t length)
{
    int result = 0;
    g_mutex_lock(&cache->mutex);
    for (uint64_t at = page_start(cache, offset); at < offset + length; at += cache->page) {
        Page *page;
        result = get_page(cache, at, false, &page);
        if (result < 0)
            break;
        memset(page->bytes, 0, cache->page);
        set_dirty(cache, page);
    }
    g_mutex_unlock(&cache->mutex);
    return result;
}

void image_cache_forget(ImageCache *cache, uint64_t offset, uint64_t length)
{
    g_mutex_lock(&cache->mutex);
    for (uint64_t at = page_start(cache, offset); at < offset + length; at += cache->page) {
        Page *page = g_hash_table_lookup(cache->pages, &at);
        if (page)
            remove_page(cache, page);
    }
    g_mutex_unlock(&cache->mutex);
}

size_t image_cache_dirty(const ImageCache *cache)
{
    return cache->dirty;
}

int image_cache_write_back(ImageCache *cache)
{
    int result = 0;
    g_mutex_lock(&cache->mutex);
    for (Page *page = cache->oldest; page && cache->dirty && result == 0; page = page->newer) {
        if (!page->dirty)
            continue;
        result = image_file_write(cache->file, page->offset, page->bytes, cache->page);
        if (result == 0) {
            page->dirty = false;
            cache->dirty--;
        }
    }
    g_mutex_unlock(&cache->mutex);
    return result;
}
