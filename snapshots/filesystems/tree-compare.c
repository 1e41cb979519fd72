// SPDX-License-Identifier: GPL-2.0-or-later
// See tree-compare.h. Both trees are walked side by side. No directory is entered twice on one side
// (a damaged one may hold itself), and the number of names, their depth and the number of changes
// have limits, so that every disk comes to an end.
#include "snapshots/filesystems/tree-compare.h"

#include "snapshots/filesystems/filesystem.h"
#include "snapshots/filesystems/partition-table.h"

#include <string.h>

typedef struct {
    DiskReader *disk;
    const FilesystemOps *ops;
    void *filesystem;
    GHashTable *entered; // directories, as uint64_t *
} Side;

// A change before renames are found.
typedef struct {
    FileChange *change;
    uint64_t identity;
} Found;

typedef struct {
    Side sides[2]; // before, after
    PartitionChanges *out;
    GArray *found; // Found
    GString *path; // where we are: "" or "/a/b"
    uint64_t entries;
    unsigned depth;
    bool is_full; // a limit was met
} Compare;

static void change_free(FileChange *change)
{
    g_free(change->path);
    g_free(change->old_path);
    g_free(change);
}

static void partition_changes_free(PartitionChanges *partition)
{
    g_ptr_array_unref(partition->changes);
    g_ptr_array_unref(partition->problems);
    g_free(partition);
}

void disk_changes_free(DiskChanges *changes)
{
    if (!changes)
        return;
    g_ptr_array_unref(changes->partitions);
    g_ptr_array_unref(changes->problems);
    g_free(changes);
}

static void add_problem(GPtrArray *problems, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void add_problem(GPtrArray *problems, const char *format, ...)
{
    if (problems->len >= TREE_PROBLEMS_MAX)
        return;
    va_list args;
    va_start(args, format);
    g_ptr_array_add(problems, g_strdup_vprintf(format, args));
    va_end(args);
}

// ---- Two trees ----

static void stop(Compare *compare, const char *why)
{
    if (!compare->is_full)
        add_problem(compare->out->problems, "%s: what follows is not compared", why);
    compare->is_full = true;
}

static int by_name(const void *a, const void *b)
{
    const FilesystemEntry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

// NULL where it cannot be read, which is said, or was entered before.
static GPtrArray *list(Compare *compare, Side *side, uint64_t directory)
{
    g_autoptr(GError) error = NULL;
    const char *path = compare->path->len ? compare->path->str : "/";
    const char *when = side == &compare->sides[0] ? "as it was" : "as it is";
    if (!g_hash_table_add(side->entered, g_memdup2(&directory, sizeof directory))) {
        add_problem(compare->out->problems, "'%s' is in the tree more than once", path);
        return NULL;
    }
    g_autoptr(GPtrArray) entries =
        g_ptr_array_new_with_free_func((GDestroyNotify)filesystem_entry_free);
    if (!side->ops->list(side->filesystem, directory, entries, &error)) {
        add_problem(compare->out->problems, "'%s' cannot be read %s: %s", path, when,
                    error->message);
        return NULL;
    }
    compare->entries += entries->len;
    if (compare->entries > TREE_ENTRIES_MAX)
        stop(compare, "there are too many files");
    if (disk_reader_total(side->disk) > TREE_BYTES_MAX)
        stop(compare, "there is too much to read");
    for (guint i = 0; i < entries->len; i++) {
        const FilesystemEntry *entry = entries->pdata[i];
        if (entry->problem)
            add_problem(compare->out->problems, "'%s/%s' cannot be read %s: %s",
                        compare->path->str, entry->name, when, entry->problem);
    }
    g_ptr_array_sort(entries, by_name);
    return g_steal_pointer(&entries);
}

static void add_change(Compare *compare, FileChangeKind kind, const FilesystemEntry *entry)
{
    if (compare->found->len >= TREE_CHANGES_MAX) {
        stop(compare, "there are too many changes");
        return;
    }
    FileChange *change = g_new0(FileChange, 1);
    change->kind = kind;
    change->is_directory = entry->is_directory;
    change->path = g_strdup(compare->path->str);
    Found found = { change, entry->identity };
    g_array_append_val(compare->found, found);
}

static void compare_directories(Compare *compare, const uint64_t *before, const uint64_t *after);

// One name: either may be NULL, not both.
static void compare_entries(Compare *compare, const FilesystemEntry *before,
                            const FilesystemEntry *after)
{
    const FilesystemEntry *any = before ? before : after;
    size_t length = compare->path->len;
    if (before && after && (before->problem || after->problem))
        return; // which was said
    g_string_append_c(compare->path, '/');
    g_string_append(compare->path, any->name);
    if (before && after && before->is_directory != after->is_directory) {
        g_string_truncate(compare->path, length);
        compare_entries(compare, before, NULL);
        compare_entries(compare, NULL, after);
        return;
    }
    if (!before || !after)
        add_change(compare, before ? FILE_DELETED : FILE_ADDED, any);
    else if (before->fingerprint != after->fingerprint)
        add_change(compare, FILE_MODIFIED, after);
    if (any->is_directory)
        compare_directories(compare, before ? &before->file : NULL, after ? &after->file : NULL);
    g_string_truncate(compare->path, length);
}

static void compare_lists(Compare *compare, GPtrArray *before, GPtrArray *after)
{
    guint i = 0, j = 0;
    while ((i < before->len || j < after->len) && !compare->is_full) {
        const FilesystemEntry *a = i < before->len ? before->pdata[i] : NULL;
        const FilesystemEntry *b = j < after->len ? after->pdata[j] : NULL;
        int order = !a ? 1 : !b ? -1 : strcmp(a->name, b->name);
        compare_entries(compare, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        i += order <= 0;
        j += order >= 0;
    }
}

// Where one of two cannot be read, nothing is said of what is below.
static void compare_directories(Compare *compare, const uint64_t *before, const uint64_t *after)
{
    if (compare->depth >= TREE_DEPTH_MAX) {
        add_problem(compare->out->problems, "folders are too deep: what is in them is not seen");
        return;
    }
    g_autoptr(GPtrArray) a = before ? list(compare, &compare->sides[0], *before)
                                    : g_ptr_array_new();
    g_autoptr(GPtrArray) b = after ? list(compare, &compare->sides[1], *after)
                                   : g_ptr_array_new();
    if (!a || !b)
        return;
    compare->depth++;
    compare_lists(compare, a, b);
    compare->depth--;
}

// ---- Renames ----

// A file that is gone here and new there was renamed; where several could be, the first.
static void find_renames(Compare *compare)
{
    g_autoptr(GHashTable) gone = g_hash_table_new(g_int64_hash, g_int64_equal);
    for (guint i = 0; i < compare->found->len; i++) {
        Found *found = &g_array_index(compare->found, Found, i);
        if (found->change->kind == FILE_DELETED &&
            !g_hash_table_contains(gone, &found->identity))
            g_hash_table_insert(gone, &found->identity, found);
    }
    for (guint i = 0; i < compare->found->len; i++) {
        Found *found = &g_array_index(compare->found, Found, i);
        Found *old = found->change->kind == FILE_ADDED
                         ? g_hash_table_lookup(gone, &found->identity) : NULL;
        if (!old)
            continue;
        g_hash_table_remove(gone, &found->identity);
        found->change->kind = FILE_RENAMED;
        found->change->old_path = g_steal_pointer(&old->change->path);
    }
    for (guint i = 0; i < compare->found->len; i++) {
        FileChange *change = g_array_index(compare->found, Found, i).change;
        if (change->path)
            g_ptr_array_add(compare->out->changes, change);
        else
            change_free(change);
    }
}

// ---- Partitions ----

static bool side_open(Side *side, Compare *compare, const char *when)
{
    g_autoptr(GError) error = NULL;
    side->filesystem = side->ops->open(side->disk, &error);
    if (!side->filesystem) {
        add_problem(compare->out->problems, "%s cannot be read %s: %s", side->ops->name, when,
                    error->message);
        return false;
    }
    const char *remark = side->ops->remark(side->filesystem);
    if (remark)
        add_problem(compare->out->problems, "%s: %s", when, remark);
    side->entered = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    return true;
}

static void side_clear(Side *side)
{
    if (side->filesystem)
        side->ops->close(side->filesystem);
    g_clear_pointer(&side->entered, g_hash_table_unref);
    disk_reader_free(side->disk);
}

static void compare_filesystems(Compare *compare)
{
    Side *before = &compare->sides[0], *after = &compare->sides[1];
    before->ops = filesystem_probe(before->disk);
    after->ops = filesystem_probe(after->disk);
    const FilesystemOps *any = after->ops ? after->ops : before->ops;
    compare->out->filesystem = any ? any->name : NULL;
    if (before->ops != after->ops)
        add_problem(compare->out->problems, "it held %s and holds %s: files are not compared",
                    before->ops ? before->ops->name : "nothing known",
                    after->ops ? after->ops->name : "nothing known");
    else if (any && side_open(before, compare, "as it was") &&
             side_open(after, compare, "as it is")) {
        uint64_t roots[2] = { any->root(before->filesystem), any->root(after->filesystem) };
        compare_directories(compare, &roots[0], &roots[1]);
        find_renames(compare);
    }
}

static PartitionChanges *partition_new(unsigned number)
{
    PartitionChanges *partition = g_new0(PartitionChanges, 1);
    partition->number = number;
    partition->changes = g_ptr_array_new_with_free_func((GDestroyNotify)change_free);
    partition->problems = g_ptr_array_new_with_free_func(g_free);
    return partition;
}

static const Partition *partition_find(GArray *partitions, unsigned number)
{
    for (guint i = 0; i < partitions->len; i++) {
        const Partition *partition = &g_array_index(partitions, Partition, i);
        if (partition->number == number)
            return partition;
    }
    return NULL;
}

static PartitionChanges *compare_partition(DiskReader *disks[2], const Partition *before,
                                           const Partition *after)
{
    PartitionChanges *out = partition_new(before ? before->number : after->number);
    if (!before || !after) {
        add_problem(out->problems, before ? "the partition is gone" : "the partition is new");
        return out;
    }
    Compare compare = { .out = out };
    compare.sides[0].disk = disk_reader_part(disks[0], before->start, before->size);
    compare.sides[1].disk = disk_reader_part(disks[1], after->start, after->size);
    compare.found = g_array_new(FALSE, FALSE, sizeof(Found));
    compare.path = g_string_new("");
    compare_filesystems(&compare);
    side_clear(&compare.sides[0]);
    side_clear(&compare.sides[1]);
    g_array_unref(compare.found);
    g_string_free(compare.path, TRUE);
    return out;
}

DiskChanges *disk_compare(DiskReader *before, DiskReader *after)
{
    DiskChanges *changes = g_new0(DiskChanges, 1);
    changes->partitions =
        g_ptr_array_new_with_free_func((GDestroyNotify)partition_changes_free);
    changes->problems = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) old = partition_table_read(before, changes->problems);
    g_autoptr(GArray) new = partition_table_read(after, changes->problems);
    DiskReader *disks[2] = { before, after };
    for (unsigned number = 0; number <= PARTITIONS_MAX + 4; number++) {
        const Partition *a = partition_find(old, number), *b = partition_find(new, number);
        if (a || b)
            g_ptr_array_add(changes->partitions, compare_partition(disks, a, b));
    }
    return changes;
}
