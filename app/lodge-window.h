// SPDX-License-Identifier: GPL-2.0-or-later
// The workstation's window: the library at the side, the chosen machine's page beside it.
#pragma once

#include "app/lodge-library.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_WINDOW (lodge_window_get_type())
G_DECLARE_FINAL_TYPE(LodgeWindow, lodge_window, LODGE, WINDOW, AdwApplicationWindow)

GtkWidget *lodge_window_new(GtkApplication *application, LodgeLibrary *library);

// Shows the machine's page.
void lodge_window_show_machine(LodgeWindow *self, LodgeVm *vm);

G_END_DECLS
