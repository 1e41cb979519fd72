// SPDX-License-Identifier: GPL-2.0-or-later
// See symbol-map.h. Types T, t, W, w are code (nm(1)). The file is anybody's: lines of any length
// and bytes of any value are fine, names are cut and made printable.
#include "app/client/symbol-map.h"

#include <gio/gio.h>
#include <stdbool.h>
#include <string.h>

#define FILE_MOST (256u << 20)
#define NAME_MOST 200
#define LONGEST_FUNCTION (UINT64_C(1) << 20)

typedef struct {
    uint64_t address;
    uint32_t name; // offset in `names`
} Symbol;

struct SymbolMap {
    GArray *symbols; // of Symbol, by address
    GString *names;  // each with its NUL
};

// Reads hexadecimal digits at the line's beginning; false where there are none, or too many.
static bool take_address(const char **at, const char *end, uint64_t *ret_address)
{
    uint64_t address = 0;
    unsigned digits = 0;
    for (; *at < end && g_ascii_isxdigit(**at); (*at)++) {
        address = address << 4 | (uint64_t)g_ascii_xdigit_value(**at);
        if (++digits > 16)
            return false;
    }
    *ret_address = address;
    return digits > 0;
}

static void skip_spaces(const char **at, const char *end)
{
    while (*at < end && (**at == ' ' || **at == '\t'))
        (*at)++;
}

static void add_line(SymbolMap *map, const char *at, const char *end)
{
    Symbol symbol = { .name = (uint32_t)map->names->len };
    if (!take_address(&at, end, &symbol.address) || at == end || (*at != ' ' && *at != '\t'))
        return;
    skip_spaces(&at, end);
    if (end - at < 3 || !strchr("TtWw", *at) || (at[1] != ' ' && at[1] != '\t'))
        return;
    at++;
    skip_spaces(&at, end);
    unsigned length = 0;
    for (; at < end && g_ascii_isgraph(*at) && length < NAME_MOST; at++, length++)
        g_string_append_c(map->names, *at);
    if (!length)
        return;
    g_string_append_c(map->names, '\0');
    g_array_append_val(map->symbols, symbol);
}

// Of several names of one address the first one stays in front.
static int by_address(const void *a, const void *b)
{
    const Symbol *left = a, *right = b;
    if (left->address != right->address)
        return left->address < right->address ? -1 : 1;
    return (left->name > right->name) - (left->name < right->name);
}

SymbolMap *symbol_map_new(const char *text, size_t size, GError **error)
{
    SymbolMap *map = g_new0(SymbolMap, 1);
    map->symbols = g_array_new(FALSE, FALSE, sizeof(Symbol));
    map->names = g_string_new(NULL);
    for (const char *at = text, *end = text + size; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        add_line(map, at, newline ? newline : end);
        at = newline ? newline + 1 : end;
    }
    if (!map->symbols->len) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                            "it has no line like 'ffffffff81000000 T start'; take the System.map "
                            "of the guest's kernel, or the output of nm");
        symbol_map_free(map);
        return NULL;
    }
    g_array_sort(map->symbols, by_address);
    return map;
}

SymbolMap *symbol_map_read(const char *path, GError **error)
{
    GError *reason = NULL;
    g_autoptr(GMappedFile) file = g_mapped_file_new(path, FALSE, &reason);
    SymbolMap *map = NULL;
    if (file && g_mapped_file_get_length(file) > FILE_MOST)
        g_set_error(&reason, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "it has more than %u MiB",
                    FILE_MOST >> 20);
    else if (file)
        map = symbol_map_new(g_mapped_file_get_contents(file), g_mapped_file_get_length(file),
                             &reason);
    if (reason) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "%s gives no symbols: %s", path,
                    reason->message);
        g_error_free(reason);
    }
    return map;
}

void symbol_map_free(SymbolMap *map)
{
    if (!map)
        return;
    g_array_unref(map->symbols);
    g_string_free(map->names, TRUE);
    g_free(map);
}

const char *symbol_map_find(const SymbolMap *map, uint64_t address, uint64_t *ret_offset)
{
    const Symbol *symbols = (const Symbol *)(void *)map->symbols->data;
    guint low = 0, high = map->symbols->len; // the last one at or below lies in [low, high)
    while (high - low > 1) {
        guint middle = low + (high - low) / 2;
        if (symbols[middle].address <= address)
            low = middle;
        else
            high = middle;
    }
    uint64_t found = symbols[low].address;
    if (found > address || address - found > LONGEST_FUNCTION)
        return NULL;
    while (low > 0 && symbols[low - 1].address == found)
        low--;
    *ret_offset = address - found;
    return map->names->str + symbols[low].name;
}
