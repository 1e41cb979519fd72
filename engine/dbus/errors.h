// SPDX-License-Identifier: GPL-2.0-or-later
// The one place where errors get D-Bus names.
#pragma once

#include <gio/gio.h>

// Answers a method call with the error (not freed): org.lodge.Error.* by its code.
void errors_return(GDBusMethodInvocation *invocation, const GError *error);
