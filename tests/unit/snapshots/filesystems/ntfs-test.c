// SPDX-License-Identifier: GPL-2.0-or-later
// Two states of an NTFS, as ntfs-3g left them (make-kept.sh) or made anew by mkntfs and ntfscp, and
// what the comparison says of them; then records and indexes that mislead.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include "engine/base/bytes.h"

#include <string.h>

#define RECORD 1024u

// ---- What changed ----

// Everything but what happened to what is called passwd, which has eleven names.
#define OTHER_CHANGES \
    "R /etc/deep/er/renamed from /etc/deep/er/old\n" \
    "M /etc/passwd\n" \
    "M /etc/same\n" \
    "D /gone/\n" \
    "D /gone/inner\n" \
    "D /kind\n" \
    "A /kind/\n" \
    "A /kind/below\n" \
    "D /many/a name that takes some room 37\n" \
    "A /many/zz\n" \
    "M /packed/zeros\n"

static void test_changes(void)
{
    g_auto(Disk) before = load_kept("ntfs-before.gz"), after = load_kept("ntfs-after.gz");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_assert_cmpstr(only(changes)->filesystem, ==, "NTFS");
    g_autoptr(GString) expected = g_string_new("A /etc/added\n");
    for (unsigned i = 10; i < 20; i++)
        g_string_append_printf(expected, "M /etc/another name of passwd that is long %u\n", i);
    g_string_append(expected, OTHER_CHANGES);
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, expected->str);
}

static bool have_ntfs(void)
{
    return have_tools("ntfs-3g", "mkntfs", "ntfscp", NULL);
}

static void test_copied(gconstpointer options)
{
    if (!have_ntfs())
        return;
    write_file("one", "one\n");
    write_file("other", "other contents, and longer\n");
    write_file("script", "set -e\n"
                         "rm -f before after\n"
                         "truncate -s 8M before\n"
                         "mkntfs -F -q -Q -p 0 -H 0 -S 0 -s 512 $* before\n"
                         "ntfscp before one 'same \360\237\246\211'\n"
                         "ntfscp before one changes\n"
                         "cp before after\n"
                         "ntfscp after other changes\n"
                         "for i in $(seq 10 59); do\n"
                         "    ntfscp after other \"a name that takes some room $i\"\n"
                         "done\n");
    run("sh script %s", (const char *)options);
    g_autoptr(GString) expected = g_string_new("");
    for (unsigned i = 10; i < 60; i++)
        g_string_append_printf(expected, "A /a name that takes some room %u\n", i);
    g_string_append(expected, "M /changes\n");
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, expected->str);
}

// ---- What is wrong ----

// NULL where the record has none.
static uint8_t *attribute_in(uint8_t *record, uint32_t type)
{
    uint8_t *at = record + le16_read(record + 0x14);
    while (le32_read(at) != type && le32_read(at) != 0xffffffff)
        at += le32_read(at + 4);
    return le32_read(at) == type ? at : NULL;
}

static uint8_t *find_attribute(uint8_t *record, uint32_t type)
{
    uint8_t *attribute = attribute_in(record, type);
    g_assert_nonnull(attribute);
    return attribute;
}

static bool is_called(uint8_t *record, const char *name)
{
    const uint8_t *attribute = attribute_in(record, 0x30);
    if (!attribute)
        return false;
    const uint8_t *value = attribute + le16_read(attribute + 20);
    bool same = value[0x40] == strlen(name);
    for (size_t i = 0; same && i < value[0x40]; i++)
        same = le16_read(value + 0x42 + 2 * i) == (uint8_t)name[i];
    return same;
}

static uint8_t *find_record(Disk *disk, const char *name)
{
    for (gsize at = 0; at + RECORD <= disk->size; at += 512) {
        uint8_t *record = (uint8_t *)disk->bytes + at;
        if (memcmp(record, "FILE", 4) == 0 && record[0x16] & 1 && is_called(record, name))
            return record;
    }
    g_error("%s is not on the disk", name);
}

// The one sentence that is said where `damage` is done to one of two states that are the same.
static void assert_damage(void (*damage)(Disk *disk), const char *words)
{
    g_auto(Disk) before = load_kept("ntfs-after.gz"), after = load_kept("ntfs-after.gz");
    damage(&after);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), words);
    g_assert_cmpuint(only(changes)->changes->len, ==, 0);
}

static void tear_folder(Disk *disk)
{
    find_record(disk, "deep")[RECORD - 2] ^= 1;
}

static void tear_file(Disk *disk)
{
    find_record(disk, "renamed")[RECORD - 2] ^= 1;
}

static void reuse_file(Disk *disk)
{
    uint8_t *record = find_record(disk, "renamed");
    le16_write(record + 0x10, (uint16_t)(le16_read(record + 0x10) + 1));
}

static void cut_attributes(Disk *disk)
{
    le32_write(find_attribute(find_record(disk, "renamed"), 0x30) + 4, 0x10000);
}

static void cut_index(Disk *disk)
{
    uint8_t *root = find_attribute(find_record(disk, "deep"), 0x90);
    le16_write(root + le16_read(root + 20) + 32 + 8, 12);
}

static void move_index(Disk *disk)
{
    uint8_t *blocks = find_attribute(find_record(disk, "many"), 0xa0);
    uint8_t *run = blocks + le16_read(blocks + 0x20);
    run[0] = 0x41; // a distance of four bytes
    le32_write(run + 2, 1u << 30);
}

static void tear_index(Disk *disk)
{
    for (gsize at = 0; at + 4096 <= disk->size; at += 512) {
        if (memcmp(disk->bytes + at, "INDX", 4) == 0 &&
            memmem(disk->bytes + at, 4096, "z\0z", 4))
            disk->bytes[at + 1022] ^= 1;
    }
}

static void circle(Disk *disk)
{
    uint8_t *root = find_attribute(find_record(disk, "deep"), 0x90);
    uint8_t *entry = root + le16_read(root + 20) + 32;
    const uint8_t *deep = find_record(disk, "deep");
    le64_write(entry, le32_read(deep + 0x2c) | (uint64_t)le16_read(deep + 0x10) << 48);
}

static void set_dirty(Disk *disk)
{
    uint8_t *value = find_attribute(find_record(disk, "$Volume"), 0x70);
    value[le16_read(value + 20) + 10] |= 1;
}

static void grow(Disk *disk)
{
    le64_write(disk->bytes + 0x28, UINT64_MAX);
}

static void test_damage(void)
{
    assert_damage(tear_folder, "'/etc/deep' cannot be read as it is: record ");
    assert_damage(tear_file, "'/etc/deep/er/renamed' cannot be read as it is: record ");
    assert_damage(tear_file, "it was written in part only");
    assert_damage(reuse_file, "is not this file's any more");
    assert_damage(cut_attributes, "its attributes");
    assert_damage(cut_index, "'/etc/deep' cannot be read as it is: its index is damaged");
    assert_damage(move_index, "'/many' cannot be read as it is: where its clusters are is damaged");
    assert_damage(tear_index, "of its index is damaged: it was written in part only");
    assert_damage(set_dirty, "as it is: it was in use");
    assert_damage(grow, "NTFS cannot be read as it is: its boot sector is damaged");
}

// A folder in itself: what was in it seems to be gone, and it is not entered again.
static void test_cycle(void)
{
    g_auto(Disk) before = load_kept("ntfs-after.gz"), after = load_kept("ntfs-after.gz");
    circle(&after);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "'/etc/deep/er' is in the tree more than once");
}

// The first records are kept twice.
static void test_mirror(void)
{
    g_auto(Disk) before = load_kept("ntfs-before.gz"), after = load_kept("ntfs-after.gz");
    gsize table = le64_read(after.bytes + 0x30) * after.bytes[13] * 512;
    memset(after.bytes + table, 0, RECORD);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_assert_cmpuint(only(changes)->changes->len, ==, 22);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_begin("lodge-ntfs-XXXXXX");
    g_setenv("LC_ALL", "C.UTF-8", TRUE);
    g_test_add_func("/filesystems/ntfs/changes", test_changes);
    g_test_add_data_func("/filesystems/ntfs/copied/clusters-of-512", "-c 512", test_copied);
    g_test_add_data_func("/filesystems/ntfs/copied/clusters-of-4k", "-c 4096", test_copied);
    g_test_add_data_func("/filesystems/ntfs/copied/clusters-of-64k", "-c 65536", test_copied);
    g_test_add_func("/filesystems/ntfs/damage", test_damage);
    g_test_add_func("/filesystems/ntfs/cycle", test_cycle);
    g_test_add_func("/filesystems/ntfs/mirror", test_mirror);
    return rig_end(g_test_run());
}
