// SPDX-License-Identifier: GPL-2.0-or-later
// An ext file system whose last changes are in its journal only, where debugfs put them: it is read
// as if they were in their places, as far as they were committed.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include "engine/base/bytes.h"

#include <string.h>

#define MAGIC "\xc0\x3b\x39\x98"

typedef struct {
    const char *name, *make, *open; // options of mke2fs, of debugfs's journal_open
} Kind;

static const Kind kinds[] = {
    { "ext3", "-t ext3 -O ^64bit -b 1024", "" },
    { "none", "-t ext4 -O ^metadata_csum", "" },
    { "version-1", "-t ext4 -O ^metadata_csum", "-c" },
    { "version-2", "-t ext4 -O metadata_csum -b 4096", "-c -v 2" },
    { "version-2-narrow", "-t ext4 -O metadata_csum,^64bit -b 1024", "-c -v 2" },
    { "version-3", "-t ext4 -O metadata_csum -b 4096", "-c -v 3" },
    { "version-3-narrow", "-t ext4 -O metadata_csum,^64bit -b 1024", "-c -v 3" },
};

static bool have_e2fsprogs(void)
{
    return have_tools("e2fsprogs", "mke2fs", "debugfs", NULL);
}

static uint32_t block_size_of(const Disk *disk)
{
    return 1024u << le32_read(disk->bytes + 1024 + 0x18);
}

// "before", and "after" with all in its place.
static void make_states(const Kind *kind)
{
    make_folder("tree/etc");
    write_file("tree/etc/passwd", "root\n");
    write_file("tree/etc/old", "a file\n");
    write_file("tree/gone", "1\n");
    write_file("new", "other contents, and longer\n");
    write_file("commands", "rm /etc/passwd\nwrite new /etc/passwd\nwrite new /etc/added\n"
                           "mkdir /folder\nwrite new /folder/inner\nrm /gone\n");
    run("sh -c 'mke2fs -q -F %s -d tree before 16M && cp before after && cp before logged && "
        "debugfs -w -f commands after'", kind->make);
}

#define CHANGES "A /etc/added\nM /etc/passwd\nA /folder/\nA /folder/inner\nD /gone\n"

// The numbers of the blocks that differ; what they are afterwards is in a file called so.
static char *collect(const char *name)
{
    g_auto(Disk) before = load("before"), after = load("after");
    uint32_t size = block_size_of(&before);
    GString *numbers = g_string_new("");
    g_autoptr(GByteArray) blocks = g_byte_array_new();
    for (gsize at = 0; at + size <= before.size; at += size) {
        if (memcmp(before.bytes + at, after.bytes + at, size) == 0)
            continue;
        g_string_append_printf(numbers, "%s%u", numbers->len ? "," : "", (unsigned)(at / size));
        g_byte_array_append(blocks, (const guint8 *)after.bytes + at, size);
    }
    save(name, blocks->data, blocks->len);
    return g_string_free(numbers, FALSE);
}

// commands: journal_write and its options, each a line.
static void write_journal(const Kind *kind, const char *commands)
{
    g_autofree char *all = g_strdup_printf("jo %s\n%sjc\n", kind->open, commands);
    write_file("commands", all);
    run("debugfs -w -f commands logged");
}

static void assert_logged(const char *expected)
{
    g_auto(Disk) before = load("before"), logged = load("logged");
    g_autoptr(DiskChanges) changes = compare(&before, &logged);
    assert_no_problems(only(changes));
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, expected);
}

static void test_replayed(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    make_states(data);
    g_autofree char *numbers = collect("blocks");
    g_autofree char *commands = g_strdup_printf("jw -b %s blocks\n", numbers);
    write_journal(data, commands);
    assert_logged(CHANGES);
    // As is what debugfs makes of it.
    g_auto(Disk) logged = load("logged");
    write_file("commands", "jr\n");
    run("debugfs -w -f commands logged");
    g_auto(Disk) replayed = load("logged"), after = load("after");
    g_autoptr(DiskChanges) none = compare(&logged, &replayed);
    assert_no_problems(only(none));
    g_assert_cmpuint(only(none)->changes->len, ==, 0);
    g_autoptr(DiskChanges) same = compare(&logged, &after);
    g_assert_cmpuint(only(same)->changes->len, ==, 0);
}

// The later of two copies counts.
static void test_twice(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    make_states(data);
    g_autofree char *numbers = collect("blocks");
    g_auto(Disk) blocks = load("blocks");
    memset(blocks.bytes, 0x55, blocks.size);
    save("rubbish", blocks.bytes, blocks.size);
    g_autofree char *commands =
        g_strdup_printf("jw -b %s rubbish\njw -b %s blocks\n", numbers, numbers);
    write_journal(data, commands);
    assert_logged(CHANGES);
}

static void test_revoked(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    make_states(data);
    g_autofree char *numbers = collect("blocks");
    g_autofree char *commands = g_strdup_printf("jw -b %s blocks\njw -r %s\n", numbers, numbers);
    write_journal(data, commands);
    assert_logged("");
}

static void test_uncommitted(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    make_states(data);
    g_autofree char *numbers = collect("blocks");
    g_autofree char *commands = g_strdup_printf("jw -b %s -c blocks\n", numbers);
    write_journal(data, commands);
    assert_logged("");
}

// ---- What is wrong ----

// The journal's block of this type, from the one called `number` on, 0 is the first.
static uint8_t *find_block(Disk *disk, uint32_t type, unsigned number)
{
    uint32_t size = block_size_of(disk);
    for (gsize at = 0; at + size <= disk->size; at += size) {
        uint8_t *block = (uint8_t *)disk->bytes + at;
        if (memcmp(block, MAGIC, 4) == 0 && be32_read(block + 4) == type && number-- == 0)
            return block;
    }
    g_error("the journal has no such block");
}

static Disk make_logged(const Kind *kind, const char *more)
{
    make_states(kind);
    g_autofree char *numbers = collect("blocks");
    g_autofree char *commands = g_strdup_printf("jw -b %s blocks\n%s", numbers, more);
    write_journal(kind, commands);
    return load("logged");
}

// A transaction of which a block is not what was written does not count.
static void test_damaged_block(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    g_auto(Disk) logged = make_logged(data, "");
    g_auto(Disk) before = load("before");
    find_block(&logged, 1, 0)[block_size_of(&logged) + 100] ^= 1;
    g_autoptr(DiskChanges) changes = compare(&before, &logged);
    assert_problem(only(changes), "as it is: its journal is damaged");
    g_assert_cmpuint(only(changes)->changes->len, ==, 0);
}

static void test_damaged_super(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    g_auto(Disk) logged = make_logged(data, "");
    g_auto(Disk) before = load("before");
    be32_write(find_block(&logged, 4, 0) + 16, UINT32_MAX);
    g_autoptr(DiskChanges) changes = compare(&before, &logged);
    assert_problem(only(changes), "its journal is damaged or not known");
    g_assert_cmpuint(only(changes)->changes->len, ==, 0);
}

// The last transaction's descriptor is of an older turn: all before it counts.
static void test_old_turn(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    g_auto(Disk) logged = make_logged(data, "jw -b 1 blocks\n");
    g_auto(Disk) before = load("before");
    uint8_t *second = find_block(&logged, 1, 1);
    be32_write(second + 8, be32_read(second + 8) - 7);
    g_autoptr(DiskChanges) changes = compare(&before, &logged);
    assert_no_problems(only(changes));
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, CHANGES);
}

static void test_elsewhere(gconstpointer data)
{
    if (!have_e2fsprogs())
        return;
    g_auto(Disk) logged = make_logged(data, "");
    g_auto(Disk) before = load("before");
    le32_write(logged.bytes + 1024 + 0xe0, 0);
    g_autoptr(DiskChanges) changes = compare(&before, &logged);
    assert_problem(only(changes), "its journal is on another disk");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        GTestDataFunc run;
        size_t first, step; // of the kinds
    } tests[] = {
        { "replayed", test_replayed, 0, 1 },
        { "twice", test_twice, 0, 4 },
        { "revoked", test_revoked, 0, 3 },
        { "uncommitted", test_uncommitted, 0, 5 },
        { "damaged-block", test_damaged_block, 3, 1 }, // those with checksums
    };
    g_test_init(&argc, &argv, NULL);
    rig_begin("lodge-journal-XXXXXX");
    for (size_t i = 0; i < G_N_ELEMENTS(tests); i++) {
        for (size_t j = tests[i].first; j < G_N_ELEMENTS(kinds); j += tests[i].step) {
            g_autofree char *name = g_strdup_printf("/filesystems/ext4-journal/%s/%s",
                                                    tests[i].name, kinds[j].name);
            g_test_add_data_func(name, &kinds[j], tests[i].run);
        }
    }
    g_test_add_data_func("/filesystems/ext4-journal/damaged-super", &kinds[5], test_damaged_super);
    g_test_add_data_func("/filesystems/ext4-journal/old-turn", &kinds[0], test_old_turn);
    g_test_add_data_func("/filesystems/ext4-journal/elsewhere", &kinds[0], test_elsewhere);
    return rig_end(g_test_run());
}
