// SPDX-License-Identifier: GPL-2.0-or-later
// What the files of the SPICE server share.
//
// Threads: "spice" runs its own GMainContext and makes every call into libspice-server but
// spice_qxl_wakeup and spice_qxl_gl_draw_async; "SPICE Worker" (libspice's own) calls the QXL
// interface; "spice-relay" moves bytes between clients and libspice; devices call the sink and the
// serial backends with the machine lock held.
// Lock order: machine lock, then a display's or a serial port's lock, which are leaves.
#pragma once

#include "engine/spice/lodge-spice.h"
#include "engine/spice/spice-relay.h"

#include <spice.h>
#include <spice/enums.h>
#include <spice/protocol.h>

#define SPICE_DIRTY_MAX 16u

typedef struct {
    uint32_t left, top, right, bottom; // right and bottom exclusive
} SpiceArea;

// What spice-server has as the client's screen.
typedef enum {
    SPICE_SCREEN_NONE,
    SPICE_SCREEN_PRIMARY, // a surface that draw commands fill
    SPICE_SCREEN_SCANOUT, // a memfd
} SpiceScreen;

typedef struct {
    QXLInstance qxl;
    LodgeSpice *spice;
    DisplaySink sink;

    GMutex lock;
    // Under the lock.
    DisplayMode mode; // as the device last set it; width 0: none yet
    int mode_fd;      // our own handle of mode.fd, or -1
    bool mode_changed;
    SpiceArea dirty[SPICE_DIRTY_MAX];
    unsigned dirty_count;
    GQueue draws;   // SpiceDraw, not yet fetched by the worker
    GQueue cursors; // SpiceCursorDraw, the same
    size_t outstanding; // bytes of draws not yet released
    bool gl_pending;    // a scanout draw that the client has not answered
    uint32_t width, height; // of what the client sees; 0 before the first picture

    // Spice thread only.
    SpiceScreen screen;
    bool scanout_wanted;
    int64_t wait_since;  // a change of mode waits; monotonic, us; 0: none does
    GSource *wait_retry;
    uint8_t *canvas;   // spice-server's rendering target for a primary surface
    // A memfd of our own for pictures that cannot be handed out as they are.
    int shadow_fd;
    uint8_t *shadow;
    size_t shadow_size;
    uint32_t image_serial;
    DisplaySource source;
    bool has_source;
    GSource *tick;
    gint viewers; // display channels that are set up; atomic, written here only
    bool paused;
    int64_t last_change; // monotonic, us
} SpiceDisplay;

typedef struct {
    SpiceKbdInstance keyboard;
    SpiceMouseInstance mouse;
    SpiceTabletInstance tablet;
    LodgeSpice *spice;
    bool tablet_offered;
    bool escape;          // e0 was seen
    unsigned pause_bytes; // of the Pause key's sequence still to skip
    uint32_t buttons;
    uint32_t x, y; // last absolute position, 0..65535
    gint leds; // atomic
} SpiceInputs;

typedef struct {
    SpiceCharDeviceInstance device;
    LodgeSpice *spice;
    CharBackend backend;
    char *port_name;
    bool attached; // spice thread: a client listens

    GMutex lock;
    // Under the lock.
    CharFrontend frontend;
    bool has_frontend;
    GByteArray *history; // the newest of what the guest sent, for a client that comes later
    GByteArray *pending; // not yet sent to the client
    bool listening;      // as attached
    bool wake_posted;
} SpiceSerial;

struct LodgeSpice {
    SpiceServer *server;
    SpiceCoreInterface core;
    GThread *thread;
    GMainContext *context;
    GMainLoop *loop;
    char *name;
    uint8_t uuid[16];
    GMutex *machine_lock;
    InputRouter *input;
    SpiceDisplay display;
    SpiceInputs inputs;
    SpiceSerial serial[LODGE_SPICE_SERIAL_MAX];
    uint32_t serial_mask;
    struct {
        char *path;
        int fd;
        GSource *source;
        bool scanout;
        LodgeSpice *spice;
    } listeners[2];

    SpiceRelay *relay;
};

// spice-core.c: libspice's timers and watches on the calling thread's main context.
void lodge_spice_core_fill(SpiceCoreInterface *core);

// lodge-spice.c
// Runs in the spice thread, soon. Any thread, any lock held.
void lodge_spice_post(LodgeSpice *spice, GSourceFunc function, gpointer data);
// spice-display.c. Spice thread where not said otherwise.
bool lodge_spice_display_open(LodgeSpice *spice);
void lodge_spice_display_close(LodgeSpice *spice);
void lodge_spice_display_free(LodgeSpice *spice);
void lodge_spice_display_viewer(LodgeSpice *spice, bool arrived);
void lodge_spice_display_kind(LodgeSpice *spice, bool scanout);
void lodge_spice_display_wake(LodgeSpice *spice);

// spice-draw.c: draw commands. The display's lock is held on make and clear.
void lodge_spice_draw_area(SpiceDisplay *display, SpiceArea area);
void lodge_spice_draws_clear(SpiceDisplay *display);
bool lodge_spice_draw_fetch(SpiceDisplay *display, QXLCommandExt *command);
void lodge_spice_draw_release(SpiceDisplay *display, void *held);

// spice-cursor.c
void lodge_spice_cursor_define(void *opaque, uint32_t width, uint32_t height, uint32_t hot_x,
                               uint32_t hot_y, const uint8_t *rgba);
void lodge_spice_cursor_move(void *opaque, int32_t x, int32_t y);
bool lodge_spice_cursor_fetch(SpiceDisplay *display, QXLCommandExt *command);
void lodge_spice_cursors_clear(SpiceDisplay *display);

// spice-inputs.c
bool lodge_spice_inputs_open(LodgeSpice *spice);
void lodge_spice_inputs_close(LodgeSpice *spice);
void lodge_spice_inputs_released(LodgeSpice *spice);
// Offers an absolute pointer as long as the guest listens to one.
void lodge_spice_inputs_update(LodgeSpice *spice);

// spice-serial.c
void lodge_spice_serial_prepare(LodgeSpice *spice, unsigned index);
bool lodge_spice_serial_open(LodgeSpice *spice, unsigned index);
void lodge_spice_serial_free(LodgeSpice *spice, unsigned index);
