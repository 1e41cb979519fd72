// SPDX-License-Identifier: GPL-2.0-or-later
// Brings in pages of a resumed machine's memory that its guest used last, before it asks for them.
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct HotPages HotPages;

// Starts a thread. ram: where the memory is mapped, `pages` long, until hot_pages_stop. list: u32
// little-endian page numbers, ascending; numbers out of range end it.
HotPages *hot_pages_start(const uint8_t *ram, uint64_t pages, GBytes *list);
// Ends the thread where it is. NULL is allowed.
void hot_pages_stop(HotPages *hot);
