// SPDX-License-Identifier: GPL-2.0-or-later
// What all readers of file systems share: names in UTF-16.
#include "snapshots/filesystems/filesystem.h"

#include "engine/base/bytes.h"

// `units` end with 0, which belongs to the name where `with_end`.
static char *name_of(const uint16_t *units, bool with_end)
{
    uint8_t bytes[64];
    size_t count = 0;
    for (; units[count]; count++)
        le16_write(bytes + 2 * count, units[count]);
    le16_write(bytes + 2 * count, 0);
    return filesystem_name_from_utf16(bytes, count + with_end);
}

static void test_pairs(void)
{
    g_autofree char *name = name_of((uint16_t[]){ 'a', 0xe4, 0x20ac, 0xd83e, 0xdd89, 0 }, false);
    g_assert_cmpstr(name, ==, "a\303\244\342\202\254\360\237\246\211");
}

static void test_lone_surrogates(void)
{
    g_autofree char *high = name_of((uint16_t[]){ 0xd83e, 'a', 0 }, false);
    g_assert_cmpstr(high, ==, "\355\240\276a");
    g_autofree char *last = name_of((uint16_t[]){ 'a', 0xd83e, 0 }, false);
    g_assert_cmpstr(last, ==, "a\355\240\276");
    g_autofree char *low = name_of((uint16_t[]){ 0xdd89, 0xd83e, 0 }, false);
    g_assert_cmpstr(low, ==, "\355\266\211\355\240\276");
}

static void test_no_names(void)
{
    g_assert_null(name_of((uint16_t[]){ 0 }, false));
    g_assert_null(name_of((uint16_t[]){ '.', 0 }, false));
    g_assert_null(name_of((uint16_t[]){ '.', '.', 0 }, false));
    g_assert_null(name_of((uint16_t[]){ 'a', '/', 'b', 0 }, false));
    g_assert_null(name_of((uint16_t[]){ 'a', 0 }, true));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/filesystems/filesystem/pairs", test_pairs);
    g_test_add_func("/filesystems/filesystem/lone-surrogates", test_lone_surrogates);
    g_test_add_func("/filesystems/filesystem/no-names", test_no_names);
    return g_test_run();
}
