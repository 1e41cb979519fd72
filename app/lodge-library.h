// SPDX-License-Identifier: GPL-2.0-or-later
// All machines of this person: a list model of LodgeVm, kept in step with the machines' folder.
#pragma once

#include "app/lodge-vm.h"

G_BEGIN_DECLS

#define LODGE_TYPE_LIBRARY (lodge_library_get_type())
G_DECLARE_FINAL_TYPE(LodgeLibrary, lodge_library, LODGE, LIBRARY, GObject)

LodgeLibrary *lodge_library_new(void);

// Looks at the folder now instead of when its monitor tells.
void lodge_library_refresh(LodgeLibrary *self);

// The machine in the folder, or NULL. Owned by the library.
LodgeVm *lodge_library_find(LodgeLibrary *self, const char *folder);

G_END_DECLS
