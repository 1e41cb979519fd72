// SPDX-License-Identifier: GPL-2.0-or-later
// A terminal on a machine's serial port.
#pragma once

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_SERIAL (lodge_serial_get_type())
G_DECLARE_FINAL_TYPE(LodgeSerial, lodge_serial, LODGE, SERIAL, GtkWidget)

// fd: a connected socket that carries the port's bytes, taken over; -1 disconnects.
void lodge_serial_set_socket(LodgeSerial *self, int fd);

G_END_DECLS
