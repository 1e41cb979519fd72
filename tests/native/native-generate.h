// SPDX-License-Identifier: GPL-2.0-or-later
// Cases from forms: operands, prefixes and a state made for them. The same seed and number always
// give the same case.
#pragma once

#include "tests/native/native-case.h"
#include "tests/native/native-form.h"

// The memory that all cases of a run start from.
void native_generate_common(uint64_t seed, uint8_t *common);

// Case `index` of the seed: a form by turns. False where what came out is not comparable.
bool native_generate(const NativeForms *forms, uint64_t seed, uint64_t index, NativeCase *ret_case);
