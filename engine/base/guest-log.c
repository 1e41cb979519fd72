// SPDX-License-Identifier: GPL-2.0-or-later
// See guest-log.h. One table for the process, under one lock: mistakes come from any thread.
#include "engine/base/guest-log.h"

// Kinds that are told apart. A kind may hold a number that the guest chose (a port, a register), so
// what comes after so many is counted together, or a guest that tries every address would fill the
// log and the memory.
#define KINDS_MAX 1024
#define OTHERS    "further kinds"

typedef struct {
    GMutex lock;
    GHashTable *counts; // "device/kind" -> guint64*
} GuestLog;

static GuestLog guest_log;

// The lock is held.
static guint64 *guest_log_counter(const char *device, const char *kind)
{
    if (!guest_log.counts)
        guest_log.counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autofree char *key = g_strconcat(device, "/", kind, NULL);
    guint64 *count = g_hash_table_lookup(guest_log.counts, key);
    if (!count && g_hash_table_size(guest_log.counts) >= KINDS_MAX) {
        g_free(key);
        key = g_strdup(OTHERS);
        count = g_hash_table_lookup(guest_log.counts, key);
    }
    if (!count) {
        count = g_new0(guint64, 1);
        g_hash_table_insert(guest_log.counts, g_steal_pointer(&key), count);
    }
    return count;
}

void guest_log_once(const char *device, const char *kind, const char *format, ...)
{
    g_mutex_lock(&guest_log.lock);
    guint64 seen = (*guest_log_counter(device, kind))++;
    g_mutex_unlock(&guest_log.lock);
    if (seen)
        return;
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    g_info("guest: %s: %s: %s", device, kind, text);
}

guint64 guest_log_count(const char *device, const char *kind)
{
    g_mutex_lock(&guest_log.lock);
    guint64 count = *guest_log_counter(device, kind);
    g_mutex_unlock(&guest_log.lock);
    return count;
}
