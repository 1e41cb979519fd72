// SPDX-License-Identifier: GPL-2.0-or-later
// A kernel's System.map, or what `nm` prints: lines of address, type and name. Says in which
// function an address is.
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct SymbolMap SymbolMap;

// text: `size` bytes, not changed, needed only during the call. Lines that are no symbol of code
// are left out. NULL and error (G_IO_ERROR_INVALID_DATA) where there is none at all.
SymbolMap *symbol_map_new(const char *text, size_t size, GError **error);
// The same from a file of at most 256 MiB; the error names it.
SymbolMap *symbol_map_read(const char *path, GError **error);
void symbol_map_free(SymbolMap *map); // NULL is allowed
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SymbolMap, symbol_map_free)

// The function that begins at or before the address, and how far the address is in it. NULL before
// the first one, and where it is more than 1 MiB away. The name lives as long as the map.
const char *symbol_map_find(const SymbolMap *map, uint64_t address, uint64_t *ret_offset);
