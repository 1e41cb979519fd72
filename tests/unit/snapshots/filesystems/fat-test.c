// SPDX-License-Identifier: GPL-2.0-or-later
// Two states of a FAT file system, made by mkfs.fat and mtools in each of its sizes, and what the
// comparison says of them; then tables that mislead.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include "engine/base/bytes.h"

#include <string.h>

#define MANY 150

static bool have_fat(void)
{
    return have_tools("dosfstools", "mkfs.fat", NULL) &&
           have_tools("mtools", "mcopy", "mren", "mdel", "mmd", "mrd", NULL);
}

// ---- What changed ----

// One shell for all of it: starting a program takes a while under the sanitizers.
static void make_states(const char *options, const char *size)
{
    write_file("same", "same\n");
    write_file("other", "other contents, and longer\n");
    write_file("script",
               "set -e\n"
               "rm -f before after\n"
               "truncate -s $1 before\n"
               "shift\n"
               "mkfs.fat $* before\n"
               "mmd -i before ::/etc ::/etc/deep ::/gone ::/SHORT\n"
               "mcopy -i before same '::/etc/a longer name, with \303\244 and \342\202\254.txt'\n"
               "mcopy -i before same ::/etc/same\n"
               "mcopy -i before same ::/etc/deep/old\n"
               "mcopy -i before same ::/gone/inner\n"
               "mcopy -i before same ::/SHORT/UPPER.TXT\n"
               "mcopy -i before same ::/kind\n"
               "cp before after\n"
               "mcopy -i after -o other ::/etc/same\n"
               "mcopy -i after other ::/etc/added\n"
               "mcopy -i after other ::/SHORT/LOWER.TXT\n"
               "mren -i after ::/etc/deep/old ::/etc/deep/renamed\n"
               "mdel -i after ::/kind\n"
               "mmd -i after ::/kind\n"
               "mdel -i after ::/gone/inner\n"
               "mrd -i after ::/gone\n");
    run("sh script %s %s", size, options);
}

typedef struct {
    const char *name, *options, *size;
} Kind;

static void test_changes(gconstpointer data)
{
    const Kind *kind = data;
    if (!have_fat())
        return;
    make_states(kind->options, kind->size);
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    const PartitionChanges *partition = only(changes);
    assert_no_problems(partition);
    g_assert_cmpstr(partition->filesystem, ==, "FAT");
    g_autofree char *text = text_of(partition);
    g_assert_cmpstr(text, ==, "A /SHORT/LOWER.TXT\n"
                              "A /etc/added\n"
                              "R /etc/deep/renamed from /etc/deep/old\n"
                              "M /etc/same\n"
                              "D /gone/\n"
                              "D /gone/inner\n"
                              "D /kind\n"
                              "A /kind/\n");
}

// Every name of a folder of several clusters.
static void test_many(gconstpointer data)
{
    const Kind *kind = data;
    if (!have_fat())
        return;
    run("rm -rf tree before after");
    make_folder("tree/many");
    g_autoptr(GString) expected = g_string_new("A /many/\n");
    for (int i = 0; i < MANY; i++) {
        g_autofree char *name = g_strdup_printf("tree/many/a name that takes some room %05d", i);
        write_file(name, "");
        g_string_append_printf(expected, "A %s\n", name + 4);
    }
    run("sh -c 'truncate -s %s before && mkfs.fat %s before && cp before after && "
        "mcopy -i after -s tree/many ::/'", kind->size, kind->options);
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, expected->str);
}

static void test_long_name(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    run("cp before after");
    run("mdel -i after \"::/etc/a longer name, with \303\244 and \342\202\254.txt\"");
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, "D /etc/a longer name, with \303\244 and \342\202\254.txt\n");
}

// ---- What is wrong ----

static uint8_t *find_entry(Disk *disk, const char *name)
{
    for (gsize at = 0; at + 32 <= disk->size; at += 32) {
        if (memcmp(disk->bytes + at, name, 11) == 0)
            return (uint8_t *)disk->bytes + at;
    }
    g_error("%s is not on the disk", name);
}

static gsize cluster_at(const Disk *disk, unsigned cluster)
{
    const uint8_t *boot = (const uint8_t *)disk->bytes;
    gsize sector = le16_read(boot + 11);
    gsize data = le16_read(boot + 14) + boot[16] * le16_read(boot + 22) +
                 (le16_read(boot + 17) * 32 + sector - 1) / sector;
    return (data + (cluster - 2) * boot[13]) * sector;
}

static uint8_t *table_of(Disk *disk, unsigned number)
{
    uint8_t *boot = (uint8_t *)disk->bytes;
    return boot + (le16_read(boot + 14) + number * le16_read(boot + 22)) * le16_read(boot + 11);
}

// A long name that a program without long names left behind does not count.
static void test_orphaned_long_name(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before");
    find_entry(&before, "ALONGE~1TXT")[0] = 'B';
    g_auto(Disk) after = load("before");
    g_autoptr(DiskChanges) changes = compare(&after, &before);
    assert_no_problems(only(changes));
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, "R /etc/BLONGE~1.TXT from "
                              "/etc/a longer name, with \303\244 and \342\202\254.txt\n");
}

static void test_in_use(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before"), after = load("after");
    after.bytes[0x25] = 1;
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "as it is: it was in use");
    g_assert_cmpuint(only(changes)->changes->len, ==, 8);
}

// The copy of the table knows what follows where the first one does not.
static void test_copy(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before"), after = load("after");
    uint8_t *table = table_of(&after, 0), *copy = table_of(&after, 1);
    memset(table + 4, 0x55, (size_t)(copy - table - 4) / 8);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_assert_cmpuint(only(changes)->changes->len, ==, 8);
}

// A folder whose chain returns to its middle; the others are compared.
static void test_circle(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before"), after = load("after");
    unsigned first = le16_read(find_entry(&after, "ETC        ") + 26);
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *table = table_of(&after, i);
        le16_write(table + 2 * first, 1000);
        le16_write(table + 2 * 1000, 1001);
        le16_write(table + 2 * 1001, 1002);
        le16_write(table + 2 * 1002, 1001);
    }
    // Deleted entries to the end: nothing there ends the folder.
    for (unsigned cluster = 1000; cluster <= 1002; cluster++)
        memset(after.bytes + cluster_at(&after, cluster), 0xe5, cluster_at(&after, 3) -
                                                                    cluster_at(&after, 2));
    char *end = after.bytes + cluster_at(&after, first + 1);
    for (char *entry = after.bytes + cluster_at(&after, first); entry < end; entry += 32) {
        if (*entry == 0)
            memset(entry, 0xe5, 32);
    }
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "'/etc' cannot be read as it is: its chain of clusters goes in "
                                  "a circle");
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, "A /SHORT/LOWER.TXT\nD /gone/\nD /gone/inner\nD /kind\nA /kind/\n");
}

static void test_cluster_beyond(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before"), after = load("after");
    le16_write(find_entry(&after, "ETC        ") + 26, 0xfff0);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "'/etc' cannot be read as it is: it begins in cluster 65520");
}

// A folder that is its own parent.
static void test_cycle(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before");
    unsigned etc = le16_read(find_entry(&before, "ETC        ") + 26);
    le16_write(find_entry(&before, "DEEP       ") + 26, (uint16_t)etc);
    g_auto(Disk) after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "'/etc/deep' is in the tree more than once");
}

static void test_boot_sector(void)
{
    if (!have_fat())
        return;
    make_states("-F 16", "16M");
    g_auto(Disk) before = load("before"), after = load("after");
    le16_write(after.bytes + 19, 0);
    le32_write(after.bytes + 32, 0xffffffff);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "FAT cannot be read as it is: its boot sector is damaged");
}

int main(int argc, char **argv)
{
    static const Kind kinds[] = {
        { "fat12", "-F 12", "2M" },
        { "fat12-floppy", "-F 12", "1440K" },
        { "fat16", "-F 16", "16M" },
        { "fat16-one-table", "-F 16 -f 1", "16M" },
        { "fat32", "-F 32 -s 1", "40M" },
        { "fat32-sectors-of-1k", "-F 32 -S 1024 -s 1", "68M" },
    };
    g_test_init(&argc, &argv, NULL);
    rig_begin("lodge-fat-XXXXXX");
    g_setenv("MTOOLS_SKIP_CHECK", "1", TRUE);
    g_setenv("LC_ALL", "C.UTF-8", TRUE);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *name = g_strdup_printf("/filesystems/fat/changes/%s", kinds[i].name);
        g_autofree char *many = g_strdup_printf("/filesystems/fat/many/%s", kinds[i].name);
        g_test_add_data_func(name, &kinds[i], test_changes);
        g_test_add_data_func(many, &kinds[i], test_many);
    }
    g_test_add_func("/filesystems/fat/long-name", test_long_name);
    g_test_add_func("/filesystems/fat/orphaned-long-name", test_orphaned_long_name);
    g_test_add_func("/filesystems/fat/in-use", test_in_use);
    g_test_add_func("/filesystems/fat/copy", test_copy);
    g_test_add_func("/filesystems/fat/circle", test_circle);
    g_test_add_func("/filesystems/fat/cluster-beyond", test_cluster_beyond);
    g_test_add_func("/filesystems/fat/cycle", test_cycle);
    g_test_add_func("/filesystems/fat/boot-sector", test_boot_sector);
    return rig_end(g_test_run());
}
