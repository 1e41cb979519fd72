// SPDX-License-Identifier: GPL-2.0-or-later
// Rows of what differs between two snapshots, and what a search leaves of them.
#include "app/snapshots/snapshot-changes.h"

#include <string.h>

static GVariant *parse(const char *type, const char *text)
{
    g_autoptr(GError) error = NULL;
    GVariant *value = g_variant_parse(G_VARIANT_TYPE(type), text, NULL, NULL, &error);
    g_assert_no_error(error);
    return value;
}

static GPtrArray *rows_of(const char *blocks, const char *files)
{
    g_autoptr(GVariant) b = parse("a{sa(tt)}", blocks);
    g_autoptr(GVariant) f = parse("a(sasa(usasa(ybss)))", files);
    return snapshot_changes_rows(b, f);
}

static GPtrArray *example(void)
{
    return rows_of("{'disk0': [(0, 4096), (8192, 4096)], 'disk1': [], 'disk2': [(0, 512)]}",
                   "[('disk0', ['only one table'], [(1, 'ext4', [], [(0x41, true, '/etc', ''), "
                   "(0x52, false, '/New', '/Old')]), (2, '', [], [])]),"
                   " ('disk1', [], [(0, 'FAT16', [], [])]),"
                   " ('disk2', [], [(0, 'FAT16', [], [(0x4d, false, '/A.TXT', '')])])]");
}

static void check(GPtrArray *rows, guint at, SnapshotChangeKind kind, const char *title,
                  const char *detail)
{
    g_assert_cmpuint(at, <, rows->len);
    SnapshotChange *row = rows->pdata[at];
    g_assert_cmpint(row->kind, ==, kind);
    g_assert_cmpstr(row->title, ==, title);
    if (detail)
        g_assert_cmpstr(row->detail, ==, detail);
}

// A disk that does not differ is left out, whatever is on it.
static void groups(void)
{
    g_autoptr(GPtrArray) rows = example();
    g_assert_cmpuint(rows->len, ==, 9);
    check(rows, 0, SNAPSHOT_CHANGE_DISK, "disk0", NULL);
    g_assert_nonnull(strstr(((SnapshotChange *)rows->pdata[0])->detail, "in 2 places"));
    check(rows, 1, SNAPSHOT_CHANGE_NOTE, "only one table", "");
    check(rows, 2, SNAPSHOT_CHANGE_PARTITION, "disk0, Partition 1",
          "ext4, 2 files or folders differ");
    check(rows, 3, SNAPSHOT_CHANGE_FILE, "/etc/", "");
    check(rows, 4, SNAPSHOT_CHANGE_FILE, "/New", "was /Old");
    check(rows, 5, SNAPSHOT_CHANGE_PARTITION, "disk0, Partition 2",
          "No file system whose files can be compared");
    check(rows, 6, SNAPSHOT_CHANGE_DISK, "disk2", NULL);
    check(rows, 7, SNAPSHOT_CHANGE_PARTITION, "disk2, Without Partitions", NULL);
    check(rows, 8, SNAPSHOT_CHANGE_FILE, "/A.TXT", "");
    g_assert_cmpstr(((SnapshotChange *)rows->pdata[4])->word, ==, "Renamed");
    g_assert_cmpstr(((SnapshotChange *)rows->pdata[8])->word, ==, "Changed");
}

static void search(void)
{
    g_autoptr(GPtrArray) rows = example();
    g_autoptr(GPtrArray) one = snapshot_changes_filter(rows, "old");
    g_assert_cmpuint(one->len, ==, 3);
    check(one, 0, SNAPSHOT_CHANGE_DISK, "disk0", NULL);
    check(one, 1, SNAPSHOT_CHANGE_PARTITION, "disk0, Partition 1", NULL);
    check(one, 2, SNAPSHOT_CHANGE_FILE, "/New", NULL);
    g_autoptr(GPtrArray) other = snapshot_changes_filter(rows, "a.t");
    g_assert_cmpuint(other->len, ==, 3);
    check(other, 0, SNAPSHOT_CHANGE_DISK, "disk2", NULL);
    g_autoptr(GPtrArray) none = snapshot_changes_filter(rows, "disk0");
    g_assert_cmpuint(none->len, ==, 0);
    g_autoptr(GPtrArray) all = snapshot_changes_filter(rows, "");
    g_assert_cmpuint(all->len, ==, rows->len);
}

// A guest chooses the names of its files.
static void harmless_names(void)
{
    g_autoptr(GPtrArray) rows =
        rows_of("{'disk0': [(0, 512)]}",
                "[('disk0', [], [(0, 'ext4', [], [(0x44, false, '/a\\nb\\u202ec', '')])])]");
    check(rows, 2, SNAPSHOT_CHANGE_FILE, "/a\\x0Ab\\x202Ec", "");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/app/snapshot-changes/groups", groups);
    g_test_add_func("/app/snapshot-changes/search", search);
    g_test_add_func("/app/snapshot-changes/harmless-names", harmless_names);
    return g_test_run();
}
