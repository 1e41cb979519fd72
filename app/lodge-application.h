// SPDX-License-Identifier: GPL-2.0-or-later
// The program lodge. `lodge [MACHINE]` shows the library, or the machine of that name.
#pragma once

#include <adwaita.h>

G_BEGIN_DECLS

#define LODGE_TYPE_APPLICATION (lodge_application_get_type())
G_DECLARE_FINAL_TYPE(LodgeApplication, lodge_application, LODGE, APPLICATION, AdwApplication)

LodgeApplication *lodge_application_new(void);

G_END_DECLS
