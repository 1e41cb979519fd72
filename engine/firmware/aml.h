// SPDX-License-Identifier: GPL-2.0-or-later
// A few opcodes of ACPI Machine Language (ACPI 6.4, chapter 20), for what a table says that is not
// known at build time. Terms append to a GByteArray; a package-length term is opened, filled and
// closed.
#pragma once

#include <glib.h>
#include <stdint.h>

// Opens a term with a package length; the result goes to aml_close.
guint aml_open_scope(GByteArray *aml, const char *path);
void aml_close(GByteArray *aml, guint start);

// Processor (name, id, 0, 0) {}: the form that every system since ACPI 1.0 knows.
void aml_processor(GByteArray *aml, const char *name, uint8_t id);

// Finds Name (name, DWord) in a compiled table and replaces the value. False where it is not there
// exactly once.
gboolean aml_patch_name(uint8_t *aml, gsize size, const char *name, uint32_t value);
