// SPDX-License-Identifier: GPL-2.0-or-later
// A saved machine's small parts as one block of bytes: named records under a version and a
// checksum. What a record holds is its writer's business (engine/machine-state.h). Nothing here
// trusts the bytes: a form is whole or it is refused.
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct StateForm StateForm;

#define STATE_FORM_VERSION 1u
#define STATE_FORM_RECORDS_MAX 1024u
#define STATE_FORM_SIZE_MAX (64u << 20) // bytes, of a whole form
#define STATE_DIGEST_SIZE 32

// SHA-256.
void state_digest(const uint8_t *data, size_t size, uint8_t ret_digest[STATE_DIGEST_SIZE]);

StateForm *state_form_new(void);
void state_form_free(StateForm *form); // NULL is allowed
G_DEFINE_AUTOPTR_CLEANUP_FUNC(StateForm, state_form_free)

// Takes a reference of the bytes. name: 1 to 63 characters, not in the form yet; copied.
void state_form_add(StateForm *form, const char *name, GBytes *bytes);
// The record's bytes, the form's own; NULL: there is none.
GBytes *state_form_get(const StateForm *form, const char *name);
unsigned state_form_count(const StateForm *form);
// The name of record `index`, in the order in which they were added.
const char *state_form_name(const StateForm *form, unsigned index);

// All of it as bytes; and back: NULL and error (G_IO_ERROR_INVALID_DATA, one sentence) for bytes
// that no state_form_encode made.
GBytes *state_form_encode(const StateForm *form);
StateForm *state_form_decode(GBytes *bytes, GError **error);
