// SPDX-License-Identifier: GPL-2.0-or-later
// A SPICE client without a window: what a person at the other end would see, press and read. Runs
// in the default main context of the calling thread.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct HeadlessClient HeadlessClient;

// scanout: takes the framebuffer as a memfd (the path must be the scanout socket).
HeadlessClient *headless_client_new(const char *socket_path, bool scanout);
void headless_client_free(HeadlessClient *client);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HeadlessClient, headless_client_free)

// Runs the main context until `until` is true or ms have passed; returns whether it was true.
bool headless_client_wait(HeadlessClient *client, bool (*until)(HeadlessClient *client, void *data),
                          void *data, unsigned ms);
// Runs the main context for that long.
void headless_client_run(HeadlessClient *client, unsigned ms);

// NULL where the connection stands, else why it does not.
const char *headless_client_error(HeadlessClient *client);

// The picture: XRGB8888. NULL before the first one. Valid until the main context runs again.
const uint8_t *headless_client_pixels(HeadlessClient *client, uint32_t *ret_width,
                                      uint32_t *ret_height, uint32_t *ret_stride);
// Whether the picture is a mapped memfd.
bool headless_client_mapped(HeadlessClient *client);
// Messages that said the picture changed.
unsigned headless_client_updates(HeadlessClient *client);

// Whether input can be sent.
bool headless_client_ready(HeadlessClient *client);
// Each returns false where that is not so. Scancodes as in engine/base/keys.h.
bool headless_client_key(HeadlessClient *client, uint16_t scancode, bool down);
// Absolute, in pixels; buttons as in engine/bus/input.h.
bool headless_client_pointer(HeadlessClient *client, int x, int y, unsigned buttons);
bool headless_client_motion(HeadlessClient *client, int dx, int dy, unsigned buttons);
bool headless_client_wheel(HeadlessClient *client, int clicks);
// Whether the server wants absolute positions.
bool headless_client_absolute(HeadlessClient *client);

// The serial port: bytes from the guest so far, and bytes to it.
const GByteArray *headless_client_serial(HeadlessClient *client);
bool headless_client_serial_write(HeadlessClient *client, const void *data, size_t size);
