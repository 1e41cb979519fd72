// SPDX-License-Identifier: GPL-2.0-or-later
// The page of one machine: what it is while it is off, its display and serial console while it is
// on.
#pragma once

#include "app/lodge-vm.h"

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_MACHINE_PAGE (lodge_machine_page_get_type())
G_DECLARE_FINAL_TYPE(LodgeMachinePage, lodge_machine_page, LODGE, MACHINE_PAGE, GtkWidget)

// vm: NULL for none. Property: "vm".
void lodge_machine_page_set_vm(LodgeMachinePage *self, LodgeVm *vm);
LodgeVm *lodge_machine_page_get_vm(LodgeMachinePage *self);

// The window fills the screen: only the guest's picture is there.
void lodge_machine_page_set_full_screen(LodgeMachinePage *self, gboolean full_screen);
// The library is not beside the page: there is a way back to it.
void lodge_machine_page_set_folded(LodgeMachinePage *self, gboolean folded);

G_END_DECLS
