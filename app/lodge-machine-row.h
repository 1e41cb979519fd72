// SPDX-License-Identifier: GPL-2.0-or-later
// One machine in the library's list: name and state.
#pragma once

#include "app/lodge-vm.h"

#include <gtk/gtk.h>

G_BEGIN_DECLS

#define LODGE_TYPE_MACHINE_ROW (lodge_machine_row_get_type())
G_DECLARE_FINAL_TYPE(LodgeMachineRow, lodge_machine_row, LODGE, MACHINE_ROW, GtkListBoxRow)

GtkWidget *lodge_machine_row_new(LodgeVm *vm);
LodgeVm *lodge_machine_row_get_vm(LodgeMachineRow *self);

G_END_DECLS
