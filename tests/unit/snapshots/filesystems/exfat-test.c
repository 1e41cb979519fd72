// SPDX-License-Identifier: GPL-2.0-or-later
// Two states of an exFAT, as exfat-fuse left them (make-kept.sh), and what the comparison says of
// them; then entries that mislead.
#include "tests/unit/snapshots/filesystems/filesystem-rig.h"

#include "engine/base/bytes.h"

#include <string.h>

#define CHANGES \
    "A /etc/added\n" \
    "R /etc/deep/er/renamed from /etc/deep/er/old\n" \
    "M /etc/passwd\n" \
    "M /etc/same\n" \
    "D /gone/\n" \
    "D /gone/inner\n" \
    "D /kind\n" \
    "A /kind/\n" \
    "A /kind/below\n" \
    "D /many/a name that takes some room 37\n" \
    "A /many/zz\n"

static void test_changes(void)
{
    g_auto(Disk) before = load_kept("exfat-before.gz"), after = load_kept("exfat-after.gz");
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_no_problems(only(changes));
    g_assert_cmpstr(only(changes)->filesystem, ==, "exFAT");
    g_autofree char *text = text_of(only(changes));
    g_assert_cmpstr(text, ==, CHANGES);
}

// ---- What is wrong ----

// The set of the file that is called so: 15 letters at most.
static uint8_t *find_set(Disk *disk, const char *name)
{
    uint8_t piece[32] = { 0xc1 };
    for (size_t i = 0; i < strlen(name); i++)
        piece[2 + 2 * i] = (uint8_t)name[i];
    for (gsize at = 64; at + 32 <= disk->size; at += 32) {
        uint8_t *set = (uint8_t *)disk->bytes + at - 64;
        if (memcmp(disk->bytes + at, piece, 32) == 0 && set[0] == 0x85)
            return set;
    }
    g_error("%s is not on the disk", name);
}

static void seal(uint8_t *set)
{
    uint16_t sum = 0;
    for (unsigned i = 0; i < (set[1] + 1u) * 32; i++) {
        if (i != 2 && i != 3)
            sum = (uint16_t)((sum >> 1 | sum << 15) + set[i]);
    }
    le16_write(set + 2, sum);
}

static void break_sum(Disk *disk)
{
    find_set(disk, "renamed")[8] ^= 1;
}

static void cut_set(Disk *disk)
{
    find_set(disk, "er")[1]++;
}

static void slash(Disk *disk)
{
    uint8_t *set = find_set(disk, "renamed");
    set[64 + 2] = '/';
    seal(set);
}

static void move_beyond(Disk *disk)
{
    uint8_t *set = find_set(disk, "deep");
    le32_write(set + 32 + 0x14, UINT32_MAX);
    seal(set);
}

static void make_endless(Disk *disk)
{
    uint8_t *set = find_set(disk, "deep");
    le64_write(set + 32 + 0x18, UINT64_MAX);
    seal(set);
}

static void set_dirty(Disk *disk)
{
    disk->bytes[0x6a] |= 2;
}

static void grow(Disk *disk)
{
    le32_write(disk->bytes + 0x5c, UINT32_MAX);
}

// The one sentence that is said where `damage` is done to one of two states that are the same.
static void assert_damage(void (*damage)(Disk *disk), const char *words)
{
    g_auto(Disk) before = load_kept("exfat-after.gz"), after = load_kept("exfat-after.gz");
    damage(&after);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), words);
    g_assert_cmpuint(only(changes)->changes->len, ==, 0);
}

static void test_damage(void)
{
    assert_damage(break_sum, "'/etc/deep/er/renamed' cannot be read as it is: its entry does not "
                             "have the sum");
    assert_damage(cut_set, "'/etc/deep' cannot be read as it is: its entries are damaged");
    assert_damage(slash, "'/etc/deep/er' cannot be read as it is: it has a name that no file");
    assert_damage(move_beyond, "'/etc/deep' cannot be read as it is: it begins in cluster");
    assert_damage(make_endless, "'/etc/deep' cannot be read as it is: it is longer than");
    assert_damage(set_dirty, "as it is: it was in use");
    assert_damage(grow, "exFAT cannot be read as it is: its boot sector is damaged");
}

// A folder that holds the one above it: what was in it seems to be gone.
static void test_cycle(void)
{
    g_auto(Disk) before = load_kept("exfat-after.gz"), after = load_kept("exfat-after.gz");
    uint8_t *deep = find_set(&after, "deep"), *er = find_set(&after, "er");
    memcpy(er + 32 + 0x14, deep + 32 + 0x14, 12);
    er[32 + 1] = deep[32 + 1];
    seal(er);
    g_autoptr(DiskChanges) changes = compare(&before, &after);
    assert_problem(only(changes), "'/etc/deep/er' is in the tree more than once");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    rig_begin("lodge-exfat-XXXXXX");
    g_test_add_func("/filesystems/exfat/changes", test_changes);
    g_test_add_func("/filesystems/exfat/damage", test_damage);
    g_test_add_func("/filesystems/exfat/cycle", test_cycle);
    return rig_end(g_test_run());
}
