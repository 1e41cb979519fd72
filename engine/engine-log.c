// SPDX-License-Identifier: GPL-2.0-or-later
// See engine-log.h. Each line is one write, so that lines of several threads do not mix; a log
// grows to a bound and then stops, because a guest can make the engine write to it.
#include "engine/engine-log.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAX_BYTES (16 * 1024 * 1024)

typedef struct {
    int fd;
    gint64 start;
    gint written; // atomic, bytes
} EngineLog;

static void write_line(EngineLog *log, const char *kind, const char *text)
{
    double seconds = (g_get_monotonic_time() - log->start) / 1e6;
    g_autofree char *line = g_strdup_printf("%10.3f %s%s\n", seconds, kind, text);
    size_t size = strlen(line);
    // Asked before it is added to: the sum of what is dropped must not wrap.
    if (g_atomic_int_get(&log->written) > LOG_MAX_BYTES)
        return;
    g_atomic_int_add(&log->written, (gint)size);
    if (write(log->fd, line, size) < 0)
        g_atomic_int_set(&log->written, LOG_MAX_BYTES + 1); // full disk: stop trying
}

static GLogWriterOutput writer(GLogLevelFlags level, const GLogField *fields, gsize count,
                               gpointer opaque)
{
    EngineLog *log = opaque;
    const char *message = NULL;
    for (gsize i = 0; i < count; i++) {
        if (strcmp(fields[i].key, "MESSAGE") == 0)
            message = fields[i].value;
    }
    bool serious = level & (G_LOG_LEVEL_ERROR | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);
    if (log->fd >= 0 && message && !(level & G_LOG_LEVEL_DEBUG))
        write_line(log, serious ? "warning: " : "", message);
    else if (serious && message)
        fprintf(stderr, "lodge-engine: %s\n", message);
    return G_LOG_WRITER_HANDLED;
}

// The writer is process-wide in GLib, and so is this.
static EngineLog the_log = { .fd = -1 };

void engine_log_init(int fd)
{
    the_log.fd = fd;
    the_log.start = g_get_monotonic_time();
    g_log_set_writer_func(writer, &the_log, NULL);
}

// The guest writes what it likes to the port: nothing of that may reach a terminal as control
// characters.
void engine_log_firmware(const char *line)
{
    if (the_log.fd < 0)
        return;
    g_autofree char *text = g_strdup(line);
    for (char *p = text; *p; p++) {
        if (!g_ascii_isprint(*p) && *p != '\t')
            *p = '?';
    }
    write_line(&the_log, "firmware: ", text);
}
