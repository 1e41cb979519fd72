// SPDX-License-Identifier: GPL-2.0-or-later
// Symbol maps (lodgectl trace): any bytes as a file, and the input's own bytes as addresses that
// are looked for. A second time the input's bytes become the characters that such files are
// made of.
#include "app/client/symbol-map.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_text(const char *text, size_t size, const uint8_t *data)
{
    g_autoptr(SymbolMap) map = symbol_map_new(text, size, NULL);
    for (size_t at = 0; map && at + 8 <= size && at < 512; at += 8) {
        uint64_t address, offset = 0;
        memcpy(&address, data + at, 8);
        const char *name = symbol_map_find(map, at & 8 ? address : address & 0xffff, &offset);
        if (name && (!*name || offset > address))
            g_error("a symbol without a name, or that begins behind the address");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char characters[] = "0123456789abcdefTtWwDU  \n\n\t_";
    g_autofree char *text = g_malloc(size + 1);
    memcpy(text, data, size);
    try_text(text, size, data);
    for (size_t i = 0; i < size; i++)
        text[i] = characters[data[i] % (sizeof characters - 1)];
    try_text(text, size, data);
    return 0;
}
