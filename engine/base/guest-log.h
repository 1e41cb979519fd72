// SPDX-License-Identifier: GPL-2.0-or-later
// What a guest does wrong is said once per kind, then counted: a hostile guest can fill neither the
// log nor the disk. Host-side trouble uses g_warning and GError instead.
#pragma once

#include <glib.h>

// Says `format` once per (device, kind) in this process's life; later calls only count.
// device: the ops table's name. kind: a short string, part of the key; after 1024 kinds the rest
// counts as one. Any thread.
void guest_log_once(const char *device, const char *kind, const char *format, ...)
    G_GNUC_PRINTF(3, 4);

// How often (device, kind) was reported, said or not. Any thread.
guint64 guest_log_count(const char *device, const char *kind);
