// SPDX-License-Identifier: GPL-2.0-or-later
// Two results of one case.
#pragma once

#include "tests/native/native-case.h"
#include "tests/native/native-form.h"

#include <glib.h>

// Appends what differs, " name host!=guest" each, to text; nothing where both agree. Fields that
// native-undefined.c names for the instruction are left out.
void native_compare(const NativeForms *forms, const NativeCase *c, const NativeResult *host,
                    const NativeResult *guest, GString *text);

// The case's code: bytes and disassembly.
void native_describe(const NativeForms *forms, const NativeCase *c, GString *text);
