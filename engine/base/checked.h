// SPDX-License-Identifier: GPL-2.0-or-later
// Arithmetic on numbers that a guest or a file chose. Each returns false on overflow and then
// leaves *ret untouched.
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

// Whether [start, start + length) lies within [0, limit).
static inline bool range_within(uint64_t start, uint64_t length, uint64_t limit)
{
    return start <= limit && length <= limit - start;
}
