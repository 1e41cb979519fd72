// SPDX-License-Identifier: GPL-2.0-or-later
// The screen: a DisplaySink towards the device, a QXL instance towards libspice-server.
//
// While a client looks, a tick in the spice thread asks the device to refresh (machine lock held);
// the device answers through the sink with a mode or with changed areas, which are only noted.
// After the lock is released, the tick shows them: as draw commands into a primary surface, or by
// telling which part of the shared memfd changed. New commands are made only when the last were
// fetched, so a slow client loses frames and not time.
//
// Changing the mode is a call that waits for clients; the relay sees to it that it neither waits
// long nor meets a client that dies (spice-relay.h).
#include "engine/spice/spice-private.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define TICK_BUSY_US 16000
#define TICK_IDLE_US 40000
#define TICK_PAUSED_US 250000
#define BUSY_FOR_US 500000
#define WAIT_RETRY_MS 4
#define PATIENCE_US (1 * G_USEC_PER_SEC)
#define OUTSTANDING_MAX (64u << 20)
#define GROUP_HOST 0
#define COOKIE_GL_DRAW 1 // other cookies are addresses of QXLMonitorsConfig
#define FORMAT_XRGB8888 0x34325258u // DRM fourcc 'XR24'
#define FIRST_WIDTH 720u
#define FIRST_HEIGHT 400u

static SpiceDisplay *display_of(QXLInstance *qxl)
{
    return SPICE_CONTAINEROF(qxl, SpiceDisplay, qxl);
}

// ---- changed areas; the display's lock is held ----

static uint64_t area_size(SpiceArea a)
{
    return (uint64_t)(a.right - a.left) * (a.bottom - a.top);
}

static SpiceArea area_union(SpiceArea a, SpiceArea b)
{
    return (SpiceArea){ MIN(a.left, b.left), MIN(a.top, b.top), MAX(a.right, b.right),
                        MAX(a.bottom, b.bottom) };
}

static void add_dirty(SpiceDisplay *d, SpiceArea area)
{
    unsigned best = 0;
    uint64_t best_growth = UINT64_MAX;
    for (unsigned i = 0; i < d->dirty_count; i++) {
        SpiceArea both = area_union(d->dirty[i], area);
        uint64_t sum = area_size(d->dirty[i]) + area_size(area), size = area_size(both);
        uint64_t growth = size > sum ? size - sum : 0;
        if (growth < best_growth) {
            best_growth = growth;
            best = i;
        }
    }
    // Merged where that costs little, or where the list is full.
    if (d->dirty_count && (best_growth <= 4096 || d->dirty_count == SPICE_DIRTY_MAX))
        d->dirty[best] = area_union(d->dirty[best], area);
    else
        d->dirty[d->dirty_count++] = area;
}

static void all_dirty(SpiceDisplay *d)
{
    d->dirty_count = 0;
    if (d->mode.width)
        add_dirty(d, (SpiceArea){ 0, 0, d->mode.width, d->mode.height });
}

// ---- the sink: device threads, machine lock held ----

static void sink_mode_set(void *opaque, const DisplayMode *mode)
{
    SpiceDisplay *d = opaque;
    int fd = mode->fd >= 0 ? fcntl(mode->fd, F_DUPFD_CLOEXEC, 3) : -1;
    g_mutex_lock(&d->lock);
    if (d->mode_fd >= 0)
        close(d->mode_fd);
    d->mode = *mode;
    d->mode_fd = fd;
    d->mode_changed = true;
    lodge_spice_draws_clear(d); // of the old picture
    all_dirty(d);
    g_mutex_unlock(&d->lock);
}

static void sink_update(void *opaque, uint32_t x, uint32_t y, uint32_t width, uint32_t height)
{
    SpiceDisplay *d = opaque;
    g_mutex_lock(&d->lock);
    if (x < d->mode.width && y < d->mode.height && width && height)
        add_dirty(d, (SpiceArea){ x, y, x + MIN(width, d->mode.width - x),
                                  y + MIN(height, d->mode.height - y) });
    g_mutex_unlock(&d->lock);
}

// ---- the QXL interface: worker thread, but for get_init_info ----

static void qxl_attached(QXLInstance *qxl)
{
}

static void qxl_set_compression_level(QXLInstance *qxl, int level)
{
}

static void qxl_get_init_info(QXLInstance *qxl, QXLDevInitInfo *info)
{
    *info = (QXLDevInitInfo){
        .num_memslots_groups = 1,
        .num_memslots = 1,
        .memslot_gen_bits = 8,
        .memslot_id_bits = 8,
        .qxl_ram_size = 16 << 20,
        .n_surfaces = 1,
    };
}

static int qxl_get_command(QXLInstance *qxl, struct QXLCommandExt *command)
{
    return lodge_spice_draw_fetch(display_of(qxl), command);
}

// False where there is a command after all: the worker would sleep over it otherwise.
static int qxl_req_cmd_notification(QXLInstance *qxl)
{
    SpiceDisplay *d = display_of(qxl);
    g_mutex_lock(&d->lock);
    bool empty = g_queue_is_empty(&d->draws);
    g_mutex_unlock(&d->lock);
    return empty;
}

static int qxl_get_cursor_command(QXLInstance *qxl, struct QXLCommandExt *command)
{
    return lodge_spice_cursor_fetch(display_of(qxl), command);
}

static int qxl_req_cursor_notification(QXLInstance *qxl)
{
    SpiceDisplay *d = display_of(qxl);
    g_mutex_lock(&d->lock);
    bool empty = g_queue_is_empty(&d->cursors);
    g_mutex_unlock(&d->lock);
    return empty;
}

static void qxl_release_resource(QXLInstance *qxl, struct QXLReleaseInfoExt release)
{
    void *held = (void *)(uintptr_t)release.info->id;
    const QXLCommandExt *command = held;
    if (command->cmd.type == QXL_CMD_DRAW)
        lodge_spice_draw_release(display_of(qxl), held);
    else
        g_free(held);
}

static void qxl_notify_update(QXLInstance *qxl, uint32_t update_id)
{
}

static int qxl_flush_resources(QXLInstance *qxl)
{
    return 0;
}

static gboolean after_gl_draw(gpointer data);

static void qxl_async_complete(QXLInstance *qxl, uint64_t cookie)
{
    SpiceDisplay *d = display_of(qxl);
    if (cookie != COOKIE_GL_DRAW) {
        g_free((QXLMonitorsConfig *)(uintptr_t)cookie);
        return;
    }
    g_mutex_lock(&d->lock);
    d->gl_pending = false;
    g_mutex_unlock(&d->lock);
    lodge_spice_post(d->spice, after_gl_draw, d);
}

static void qxl_update_area_complete(QXLInstance *qxl, uint32_t surface, struct QXLRect *updated,
                                     uint32_t count)
{
}

static void qxl_set_client_capabilities(QXLInstance *qxl, uint8_t present,
                                        uint8_t caps[SPICE_CAPABILITIES_SIZE])
{
}

// Spice thread. NULL asks whether sizes are taken at all.
static int qxl_client_monitors_config(QXLInstance *qxl, VDAgentMonitorsConfig *monitors)
{
    SpiceDisplay *d = display_of(qxl);
    if (!monitors)
        return 1;
    for (uint32_t i = 0; i < monitors->num_of_monitors; i++) {
        uint32_t width = monitors->monitors[i].width, height = monitors->monitors[i].height;
        if (width < 64 || height < 64 || !d->has_source || !d->source.size_hint)
            continue;
        g_mutex_lock(d->spice->machine_lock);
        d->source.size_hint(d->source.device, MIN(width, 8192) & ~7u, MIN(height, 8192));
        g_mutex_unlock(d->spice->machine_lock);
        break;
    }
    return 1;
}

static const QXLInterface qxl_interface = {
    .base = { SPICE_INTERFACE_QXL, "lodge display", SPICE_INTERFACE_QXL_MAJOR,
              SPICE_INTERFACE_QXL_MINOR },
    .attached_worker = qxl_attached,
    .set_compression_level = qxl_set_compression_level,
    .get_init_info = qxl_get_init_info,
    .get_command = qxl_get_command,
    .req_cmd_notification = qxl_req_cmd_notification,
    .release_resource = qxl_release_resource,
    .get_cursor_command = qxl_get_cursor_command,
    .req_cursor_notification = qxl_req_cursor_notification,
    .notify_update = qxl_notify_update,
    .flush_resources = qxl_flush_resources,
    .async_complete = qxl_async_complete,
    .update_area_complete = qxl_update_area_complete,
    .set_client_capabilities = qxl_set_client_capabilities,
    .client_monitors_config = qxl_client_monitors_config,
};

// ---- surfaces and scanouts: spice thread ----

static void send_monitors(SpiceDisplay *d, uint32_t width, uint32_t height)
{
    QXLMonitorsConfig *monitors = g_malloc0(sizeof *monitors + sizeof(QXLHead));
    monitors->count = 1;
    monitors->max_allowed = 1;
    monitors->heads[0].width = width;
    monitors->heads[0].height = height;
    spice_qxl_monitors_config_async(&d->qxl, (uintptr_t)monitors, GROUP_HOST,
                                    (uintptr_t)monitors);
}

static void destroy_screen(SpiceDisplay *d)
{
    if (d->screen == SPICE_SCREEN_PRIMARY) {
        spice_qxl_destroy_primary_surface(&d->qxl, 0);
        g_clear_pointer(&d->canvas, g_free);
    }
    d->screen = SPICE_SCREEN_NONE;
}

static void create_primary(SpiceDisplay *d, uint32_t width, uint32_t height)
{
    if (d->screen == SPICE_SCREEN_SCANOUT)
        spice_qxl_gl_scanout(&d->qxl, -1, 0, 0, 0, 0, FALSE);
    destroy_screen(d);
    d->canvas = g_malloc0((size_t)width * height * 4);
    QXLDevSurfaceCreate surface = {
        .format = SPICE_SURFACE_FMT_32_xRGB,
        .width = width,
        .height = height,
        .stride = -(int32_t)width * 4,
        .mouse_mode = TRUE,
        .mem = (uintptr_t)d->canvas,
        .group_id = GROUP_HOST,
    };
    spice_qxl_create_primary_surface(&d->qxl, 0, &surface);
    d->screen = SPICE_SCREEN_PRIMARY;
    send_monitors(d, width, height);
}

static void drop_shadow(SpiceDisplay *d)
{
    if (d->shadow)
        munmap(d->shadow, d->shadow_size);
    if (d->shadow_fd >= 0)
        close(d->shadow_fd);
    d->shadow = NULL;
    d->shadow_fd = -1;
    d->shadow_size = 0;
}

static bool make_shadow(SpiceDisplay *d, size_t size)
{
    drop_shadow(d);
    d->shadow_fd = memfd_create("lodge-screen", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (d->shadow_fd < 0 || ftruncate(d->shadow_fd, (off_t)size) < 0 ||
        fcntl(d->shadow_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) < 0) {
        drop_shadow(d);
        return false;
    }
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, d->shadow_fd, 0);
    if (map == MAP_FAILED) {
        drop_shadow(d);
        return false;
    }
    d->shadow = map;
    d->shadow_size = size;
    return true;
}

// The lock is held.
static void copy_to_shadow(SpiceDisplay *d, SpiceArea area)
{
    size_t stride = (size_t)d->mode.width * 4;
    for (uint32_t y = area.top; y < area.bottom; y++)
        memcpy(d->shadow + y * stride + area.left * 4,
               d->mode.pixels + (size_t)y * d->mode.stride + area.left * 4,
               (area.right - area.left) * (size_t)4);
}

// fd: taken. False where the picture cannot be handed out.
static bool create_scanout(SpiceDisplay *d, const DisplayMode *mode, int fd)
{
    uint32_t stride = mode->stride;
    // The message has no offset, and a picture without a memfd needs one.
    if (fd < 0 || mode->offset != 0) {
        if (fd >= 0)
            close(fd);
        stride = mode->width * 4;
        if (!make_shadow(d, (size_t)stride * mode->height))
            return false;
        g_mutex_lock(&d->lock);
        if (!d->mode_changed)
            copy_to_shadow(d, (SpiceArea){ 0, 0, mode->width, mode->height });
        g_mutex_unlock(&d->lock);
        fd = fcntl(d->shadow_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return false;
    } else {
        drop_shadow(d);
    }
    destroy_screen(d);
    spice_qxl_gl_scanout(&d->qxl, fd, mode->width, mode->height, stride, FORMAT_XRGB8888, TRUE);
    d->screen = SPICE_SCREEN_SCANOUT;
    send_monitors(d, mode->width, mode->height);
    return true;
}

static void show(SpiceDisplay *d);

static gboolean retry(gpointer data)
{
    SpiceDisplay *d = data;
    g_clear_pointer(&d->wait_retry, g_source_unref);
    show(d);
    return G_SOURCE_REMOVE;
}

static bool wait_more(SpiceDisplay *d, int64_t now)
{
    if (!d->wait_since)
        d->wait_since = now;
    if (!d->wait_retry) {
        d->wait_retry = g_timeout_source_new(WAIT_RETRY_MS);
        g_source_set_callback(d->wait_retry, retry, d, NULL);
        g_source_attach(d->wait_retry, d->spice->context);
    }
    return false;
}

// Whether the screen may be changed now; otherwise show is called again soon. A scanout may not be
// replaced while a draw on it is unanswered. True: lodge_spice_relay_end must follow.
static bool may_change(SpiceDisplay *d, bool gl_pending)
{
    int64_t now = g_get_monotonic_time();
    if (gl_pending) {
        if (d->wait_since && now - d->wait_since > PATIENCE_US) {
            g_message("a SPICE client answered nothing for a second: cut off");
            lodge_spice_relay_drop(d->spice->relay);
            d->wait_since = now;
        }
        return wait_more(d, now);
    }
    if (!lodge_spice_relay_begin(d->spice->relay))
        return wait_more(d, now);
    d->wait_since = 0;
    return true;
}

// Brings the client's screen to the device's mode and the wanted kind. False: it must wait.
static bool apply_mode(SpiceDisplay *d)
{
    SpiceScreen wanted = d->scanout_wanted ? SPICE_SCREEN_SCANOUT : SPICE_SCREEN_PRIMARY;
    g_mutex_lock(&d->lock);
    bool change = (d->mode_changed || d->screen != wanted) && d->mode.width;
    bool gl_pending = d->gl_pending;
    g_mutex_unlock(&d->lock);
    if (!change)
        return true;
    if (!may_change(d, gl_pending))
        return false;

    g_mutex_lock(&d->lock);
    DisplayMode mode = d->mode;
    int fd = wanted == SPICE_SCREEN_SCANOUT && d->mode_fd >= 0
                 ? fcntl(d->mode_fd, F_DUPFD_CLOEXEC, 3) : -1;
    d->mode_changed = false;
    d->width = mode.width;
    d->height = mode.height;
    lodge_spice_draws_clear(d);
    all_dirty(d);
    g_mutex_unlock(&d->lock);

    if (wanted == SPICE_SCREEN_SCANOUT && !create_scanout(d, &mode, fd)) {
        g_warning("no memory to share a picture of %ux%u", mode.width, mode.height);
        d->scanout_wanted = false;
        wanted = SPICE_SCREEN_PRIMARY;
    }
    if (wanted == SPICE_SCREEN_PRIMARY)
        create_primary(d, mode.width, mode.height);
    lodge_spice_relay_end(d->spice->relay);
    return true;
}

static void show_scanout(SpiceDisplay *d)
{
    g_mutex_lock(&d->lock);
    if (d->gl_pending || !d->dirty_count || d->mode_changed) {
        g_mutex_unlock(&d->lock);
        return;
    }
    SpiceArea area = d->dirty[0];
    for (unsigned i = 0; i < d->dirty_count; i++) {
        if (d->shadow)
            copy_to_shadow(d, d->dirty[i]);
        area = area_union(area, d->dirty[i]);
    }
    d->dirty_count = 0;
    d->gl_pending = true;
    g_mutex_unlock(&d->lock);
    spice_qxl_gl_draw_async(&d->qxl, area.left, area.top, area.right - area.left,
                            area.bottom - area.top, COOKIE_GL_DRAW);
}

static void show_draws(SpiceDisplay *d)
{
    bool too_much = false, some = false;
    g_mutex_lock(&d->lock);
    if (g_queue_is_empty(&d->draws) && !d->mode_changed) {
        too_much = d->outstanding > OUTSTANDING_MAX;
        some = !too_much && d->dirty_count;
        for (unsigned i = 0; some && i < d->dirty_count; i++)
            lodge_spice_draw_area(d, d->dirty[i]);
        if (some)
            d->dirty_count = 0;
    }
    g_mutex_unlock(&d->lock);
    if (too_much)
        spice_qxl_oom(&d->qxl); // asks the worker to let go of what it holds
    if (some)
        spice_qxl_wakeup(&d->qxl);
}

static void show(SpiceDisplay *d)
{
    if (!apply_mode(d))
        return;
    if (d->screen == SPICE_SCREEN_SCANOUT)
        show_scanout(d);
    else if (d->screen == SPICE_SCREEN_PRIMARY)
        show_draws(d);
}

static gboolean after_gl_draw(gpointer data)
{
    SpiceDisplay *d = data;
    if (d->wait_since)
        show(d);
    return G_SOURCE_REMOVE;
}

// ---- the tick ----

static void schedule(SpiceDisplay *d, int64_t now)
{
    int64_t period = now - d->last_change < BUSY_FOR_US ? TICK_BUSY_US : TICK_IDLE_US;
    if (d->paused)
        period = TICK_PAUSED_US;
    g_source_set_ready_time(d->tick, d->viewers ? now + period : -1);
}

static gboolean tick_dispatch(GSource *source, GSourceFunc callback, gpointer data)
{
    SpiceDisplay *d = data;
    int64_t now = g_get_monotonic_time();
    if (d->has_source) {
        g_mutex_lock(d->spice->machine_lock);
        d->source.refresh(d->source.device);
        g_mutex_unlock(d->spice->machine_lock);
    }
    g_mutex_lock(&d->lock);
    if (d->dirty_count || d->mode_changed)
        d->last_change = now;
    g_mutex_unlock(&d->lock);
    show(d);
    lodge_spice_inputs_update(d->spice);
    schedule(d, now);
    return G_SOURCE_CONTINUE;
}

static gboolean tick_callback(gpointer data)
{
    return G_SOURCE_CONTINUE;
}

void lodge_spice_display_wake(LodgeSpice *spice)
{
    SpiceDisplay *d = &spice->display;
    if (d->viewers)
        g_source_set_ready_time(d->tick, 0);
}

void lodge_spice_display_viewer(LodgeSpice *spice, bool arrived)
{
    SpiceDisplay *d = &spice->display;
    if (!arrived) {
        if (d->viewers > 0)
            g_atomic_int_add(&d->viewers, -1);
        return;
    }
    g_atomic_int_inc(&d->viewers);
    g_mutex_lock(&d->lock);
    all_dirty(d);
    g_mutex_unlock(&d->lock);
    lodge_spice_display_wake(spice);
}

void lodge_spice_display_kind(LodgeSpice *spice, bool scanout)
{
    spice->display.scanout_wanted = scanout;
    show(&spice->display);
}

bool lodge_spice_display_open(LodgeSpice *spice)
{
    static GSourceFuncs tick_functions = { .dispatch = tick_dispatch };
    SpiceDisplay *d = &spice->display;
    d->spice = spice;
    d->mode_fd = -1;
    d->shadow_fd = -1;
    g_mutex_init(&d->lock);
    g_queue_init(&d->draws);
    g_queue_init(&d->cursors);
    d->sink = (DisplaySink){ .mode_set = sink_mode_set, .update = sink_update,
                             .cursor_define = lodge_spice_cursor_define,
                             .cursor_move = lodge_spice_cursor_move, .opaque = d };
    d->qxl.base.sif = &qxl_interface.base;
    if (spice_server_add_interface(spice->server, &d->qxl.base) != 0)
        return false;
    QXLDevMemSlot slot = { .slot_group_id = GROUP_HOST, .virt_end = ~(uintptr_t)0 };
    spice_qxl_add_memslot(&d->qxl, &slot);
    spice_qxl_set_device_info(&d->qxl, "pci/0000/02.0", 0, 1);
    create_primary(d, FIRST_WIDTH, FIRST_HEIGHT);

    d->tick = g_source_new(&tick_functions, sizeof(GSource));
    g_source_set_callback(d->tick, tick_callback, d, NULL);
    g_source_set_ready_time(d->tick, -1);
    g_source_attach(d->tick, spice->context);
    return true;
}

void lodge_spice_display_close(LodgeSpice *spice)
{
    SpiceDisplay *d = &spice->display;
    if (!d->tick)
        return;
    g_source_destroy(d->tick);
    g_clear_pointer(&d->tick, g_source_unref);
    if (d->wait_retry)
        g_source_destroy(d->wait_retry);
    g_clear_pointer(&d->wait_retry, g_source_unref);
}

// After spice_server_destroy, which gives back what the worker held.
void lodge_spice_display_free(LodgeSpice *spice)
{
    SpiceDisplay *d = &spice->display;
    if (!d->spice)
        return;
    lodge_spice_draws_clear(d);
    lodge_spice_cursors_clear(d);
    drop_shadow(d);
    if (d->mode_fd >= 0)
        close(d->mode_fd);
    g_free(d->canvas);
    g_mutex_clear(&d->lock);
}
