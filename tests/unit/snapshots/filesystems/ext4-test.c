// SPDX-License-Identifier: GPL-2.0-or-later
// Two states of an ext file system, made by mke2fs and debugfs with the features that there are,
// and what the comparison says of them.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include "engine/base/bytes.h"

#define MANY 500 // names: more than some blocks hold, and worth a tree of hashes

// ---- What changed ----

static void make_states(const char *options)
{
    run("rm -rf tree before after");
    make_folder("tree/etc/deep/er");
    make_folder("tree/gone");
    write_file("tree/etc/passwd", "root\n");
    write_file("tree/etc/same", "same\n");
    write_file("tree/etc/deep/er/old", "a file\n");
    write_file("tree/gone/inner", "1\n");
    write_file("tree/kind", "becomes a folder\n");
    run("mke2fs -q -F %s -d tree before 8M", options);
    run("cp before after");
    write_file("new", "other contents, and longer\n");
    // What goes, goes last, so that nothing new gets its inode.
    write_file("commands", "rm /etc/passwd\nwrite new /etc/passwd\n"
                           "write new /etc/added\n"
                           "rm /kind\nmkdir /kind\nwrite new /kind/below\n"
                           "ln /etc/deep/er/old /etc/deep/er/renamed\nunlink /etc/deep/er/old\n"
                           "rm /gone/inner\nrmdir /gone\n");
    run("debugfs -w -f commands after");
}

static void test_changes(gconstpointer options)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    make_states(options);
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    const PartitionChanges *partition = only(changes);
    assert_no_problems(partition);
    g_assert_cmpstr(partition->filesystem, ==, "ext4");
    g_autofree char *text = text_of(partition);
    g_assert_cmpstr(text, ==, "A /etc/added\n"
                              "R /etc/deep/er/renamed from /etc/deep/er/old\n"
                              "M /etc/passwd\n"
                              "D /gone/\n"
                              "D /gone/inner\n"
                              "D /kind\n"
                              "A /kind/\n"
                              "A /kind/below\n");
}

static void test_same(void)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    make_states("-t ext4");
    g_auto(Disk) before = load("before");
    g_autoptr(DiskChanges) changes = compare(&before, &before);
    g_assert_cmpuint(only(changes)->changes->len, ==, 0);
}

// Every name of a folder of many, in order.
static void test_many(gconstpointer options)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    run("rm -rf tree before after");
    make_folder("tree");
    run("mke2fs -q -F %s -d tree before 16M", (const char *)options);
    make_folder("tree/many");
    g_autoptr(GString) expected = g_string_new("A /many/\n");
    for (int i = 0; i < MANY; i++) {
        g_autofree char *name = g_strdup_printf("tree/many/a name that takes some room %05d", i);
        write_file(name, "");
        g_string_append_printf(expected, "A %s\n", name + 4);
    }
    run("mke2fs -q -F %s -d tree after 16M", (const char *)options);
    if (strstr(options, "ext4")) // hashed from now on
        run("sh -c 'e2fsck -fyD after; test $? -le 1'");
    g_auto(Disk) before = load("before"), after = load("after");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    const PartitionChanges *partition = only(changes);
    assert_no_problems(partition);
    g_autofree char *text = text_of(partition);
    g_assert_cmpstr(text, ==, expected->str);
}

// ---- What is wrong ----

static void test_unknown_feature(void)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    make_states("-t ext4");
    g_auto(Disk) before = load("before"), after = load("after");
    after.bytes[1024 + 0x60] |= 1; // compressed
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    const PartitionChanges *partition = only(changes);
    g_assert_cmpuint(partition->problems->len, ==, 1);
    g_assert_nonnull(strstr(partition->problems->pdata[0], "features 0x1"));
    g_assert_cmpuint(partition->changes->len, ==, 0);
}

// A folder that holds the root again.
static void test_cycle(void)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    make_states("-t ext4");
    write_file("commands", "ln / /etc/again\n");
    run("debugfs -w -f commands after");
    g_auto(Disk) after = load("after");
    g_autoptr(DiskChanges) changes = compare(&after, &after);
    const PartitionChanges *partition = only(changes);
    g_assert_cmpuint(partition->problems->len, ==, 2); // on either side
    g_assert_nonnull(strstr(partition->problems->pdata[0], "'/etc/again' is in the tree"));
    g_assert_cmpuint(partition->changes->len, ==, 0);
}

// A folder whose entries make no sense is named; the others are compared.
static void test_damaged_folder(void)
{
    if (!have_tools("e2fsprogs", "mke2fs", "debugfs", NULL))
        return;
    make_states("-t ext4 -b 1024 -O ^metadata_csum");
    g_auto(Disk) before = load("before"), after = load("after");
    for (gsize at = 0; at + 16 < after.size; at += 1024) {
        uint8_t *entry = (uint8_t *)after.bytes + at;
        if (le16_read(entry + 4) == 12 && entry[6] == 1 && entry[8] == '.' &&
            memmem(entry, 1024, "added", 5))
            le16_write(entry + 4, 3);
    }
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    const PartitionChanges *partition = only(changes);
    g_assert_cmpuint(partition->problems->len, ==, 1);
    g_assert_cmpstr(partition->problems->pdata[0], ==,
                    "'/etc' cannot be read as it is: its entries are damaged");
    g_autofree char *text = text_of(partition);
    g_assert_cmpstr(text, ==, "D /gone/\nD /gone/inner\nD /kind\nA /kind/\nA /kind/below\n");
}

int main(int argc, char **argv)
{
    static const char *const options[][2] = {
        { "ext2-1k", "-t ext2 -b 1024" },
        { "ext3", "-t ext3" },
        { "ext4", "-t ext4" },
        { "64bit-csum", "-t ext4 -b 1024 -O 64bit,metadata_csum" },
        { "small-inodes", "-t ext4 -I 128" },
        { "inline-data", "-t ext4 -I 256 -O inline_data" },
        { "meta-bg", "-t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode" },
        { "bigalloc", "-t ext4 -O bigalloc" },
        { "no-sparse", "-t ext2 -b 1024 -g 1024 -O ^sparse_super,^resize_inode" },
    };
    g_test_init(&argc, &argv, NULL);
    rig_begin("lodge-ext4-XXXXXX");
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autofree char *changes = g_strdup_printf("/filesystems/ext4/changes/%s", options[i][0]);
        g_autofree char *many = g_strdup_printf("/filesystems/ext4/many/%s", options[i][0]);
        g_test_add_data_func(changes, options[i][1], test_changes);
        g_test_add_data_func(many, options[i][1], test_many);
    }
    g_test_add_func("/filesystems/ext4/same", test_same);
    g_test_add_func("/filesystems/ext4/unknown-feature", test_unknown_feature);
    g_test_add_func("/filesystems/ext4/cycle", test_cycle);
    g_test_add_func("/filesystems/ext4/damaged-folder", test_damaged_folder);
    return rig_end(g_test_run());
}
