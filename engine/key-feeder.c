// SPDX-License-Identifier: GPL-2.0-or-later
// See key-feeder.h. A timer of the main context; what is sent already stays in the array until all
// is sent.
#include "engine/key-feeder.h"

#include "engine/base/keys.h"

// Slow enough for a guest whose keyboard buffer has 16 bytes and which polls.
#define STROKE_INTERVAL_MS 15

struct KeyFeeder {
    InputRouter *router;
    GMutex *machine_lock;
    GArray *strokes;
    guint next;
    guint timer;
};

static gboolean feed(gpointer opaque)
{
    KeyFeeder *feeder = opaque;
    if (feeder->next >= feeder->strokes->len) {
        g_array_set_size(feeder->strokes, 0);
        feeder->next = 0;
        feeder->timer = 0;
        return G_SOURCE_REMOVE;
    }
    KeyStroke stroke = g_array_index(feeder->strokes, KeyStroke, feeder->next++);
    g_mutex_lock(feeder->machine_lock);
    input_key(feeder->router, stroke.scancode, stroke.down);
    g_mutex_unlock(feeder->machine_lock);
    return G_SOURCE_CONTINUE;
}

KeyFeeder *key_feeder_new(InputRouter *router, GMutex *machine_lock)
{
    KeyFeeder *feeder = g_new0(KeyFeeder, 1);
    feeder->router = router;
    feeder->machine_lock = machine_lock;
    feeder->strokes = g_array_new(FALSE, FALSE, sizeof(KeyStroke));
    return feeder;
}

void key_feeder_free(KeyFeeder *feeder)
{
    if (!feeder)
        return;
    if (feeder->timer)
        g_source_remove(feeder->timer);
    g_array_unref(feeder->strokes);
    g_free(feeder);
}

void key_feeder_add(KeyFeeder *feeder, const GArray *strokes)
{
    g_array_append_vals(feeder->strokes, strokes->data, strokes->len);
    if (!feeder->timer)
        feeder->timer = g_timeout_add(STROKE_INTERVAL_MS, feed, feeder);
}

bool key_feeder_idle(const KeyFeeder *feeder)
{
    return feeder->next >= feeder->strokes->len;
}
