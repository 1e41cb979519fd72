// SPDX-License-Identifier: GPL-2.0-or-later
// The journal of ext3 and ext4, as jbd2 writes it: what was committed there and is not yet in its
// place. Nothing is written: a table says which blocks are to be read from the journal instead.
//
// The journal is a circle of blocks. A transaction has descriptors, each followed by the blocks
// whose places it names, revocations (copies in this and earlier transactions do not count), and a
// commit at its end; each of them bears the transaction's number. A transaction without a commit
// was not finished, and does not count. It is the last.
//
// With version 2 or 3 of the checksums, a commit counts when all of its blocks are as they were
// written. Fast commits, a journal on another disk, and what is not known are named, not read.
#include "snapshots/filesystems/ext4-private.h"

#include "engine/base/bytes.h"

#define MAGIC             0xc03b3998u
#define HEADER            12u
#define JOURNAL_SUPER     1024u // bytes
#define JOURNAL_BLOCKS    (1u << 19)
#define JOURNAL_BYTES     (UINT64_C(4) << 30)
#define FAST_BLOCKS       256u // where the superblock says 0

#define SUPER_1           3u // types of blocks
#define SUPER_2           4u
#define DESCRIPTOR        1u
#define COMMIT            2u
#define REVOCATION        5u

#define REVOKE            0x1u // features
#define WIDE              0x2u
#define ASYNC_COMMIT      0x4u
#define CHECKSUMS_2       0x8u
#define CHECKSUMS_3       0x10u
#define FAST_COMMIT       0x20u
#define KNOWN             (REVOKE | WIDE | ASYNC_COMMIT | CHECKSUMS_2 | CHECKSUMS_3 | FAST_COMMIT)

#define TAG_ESCAPED       1u // its first four bytes were the journal's magic
#define TAG_SAME_UUID     2u
#define TAG_LAST          8u

// A block whose copy is in the journal.
typedef struct {
    uint64_t block, copy; // both of the file system
    uint32_t sum;
    bool is_escaped;
} Tag;

typedef struct {
    Ext4 *fs;
    uint64_t *blocks; // of the journal's file
    uint32_t length, first, end;
    uint32_t features, seed;
    GArray *tags, *revoked; // of the transaction that is read: Tag, uint64_t
    uint8_t *block;
    uint32_t table[256];
} Journal;

// ---- CRC-32C, without the inversion at its end ----

static void make_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (unsigned bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
        table[i] = value;
    }
}

static uint32_t sum_of(const Journal *journal, uint32_t sum, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        sum = sum >> 8 ^ journal->table[(sum ^ bytes[i]) & 0xff];
    return sum;
}

static bool has_sums(const Journal *journal)
{
    return journal->features & (CHECKSUMS_2 | CHECKSUMS_3);
}

// Of a block that has its own sum at `place`, which counts as 0.
static bool is_whole(const Journal *journal, uint8_t *block, size_t place)
{
    if (!has_sums(journal))
        return true;
    uint32_t wanted = be32_read(block + place);
    memset(block + place, 0, 4);
    return sum_of(journal, journal->seed, block, journal->fs->block_size) == wanted;
}

// ---- Where the journal is ----

static bool visit(Ext4 *fs, uint64_t logical, uint64_t block, uint64_t count, void *opaque,
                  GError **error)
{
    Journal *journal = opaque;
    for (uint64_t i = 0; i < count; i++)
        journal->blocks[logical + i] = block + i;
    return true;
}

static bool read_journal(Journal *journal, uint32_t number, uint8_t *buffer)
{
    Ext4 *fs = journal->fs;
    uint64_t block = number < journal->length ? journal->blocks[number] : 0; // 0: a hole
    return block && disk_reader_read(fs->disk, block * fs->block_size, buffer,
                                     fs->block_size) == 0;
}

static bool find_journal(Journal *journal, const uint8_t *super)
{
    Ext4 *fs = journal->fs;
    g_autofree Ext4Inode *inode = g_new(Ext4Inode, 1);
    if (!ext4_read_inode(fs, le32_read(super + 0xe0), inode, NULL))
        return false;
    uint64_t length = inode->size / fs->block_size;
    if (length < 2 || length > JOURNAL_BLOCKS || inode->size > JOURNAL_BYTES)
        return false;
    journal->length = (uint32_t)length;
    journal->blocks = g_new0(uint64_t, length);
    return ext4_walk(fs, inode, length, visit, journal, NULL);
}

// Reads the journal's superblock: where its first transaction is (0: it has none), and the number
// of that. False where it is damaged or not known.
static bool read_super(Journal *journal, uint32_t *ret_start, uint32_t *ret_number)
{
    uint8_t *super = journal->block;
    if (!read_journal(journal, 0, super) || be32_read(super) != MAGIC)
        return false;
    uint32_t type = be32_read(super + 4), length = be32_read(super + 16);
    if ((type != SUPER_1 && type != SUPER_2) || length > journal->length ||
        be32_read(super + 12) != journal->fs->block_size)
        return false;
    journal->features = type == SUPER_2 ? be32_read(super + 0x28) : 0;
    journal->first = be32_read(super + 20);
    journal->seed = sum_of(journal, UINT32_MAX, super + 0x30, 16);
    *ret_number = be32_read(super + 24);
    *ret_start = be32_read(super + 28);
    uint32_t fast = journal->features & FAST_COMMIT ? be32_read(super + 0x54) : 0;
    if (journal->features & FAST_COMMIT && fast == 0)
        fast = FAST_BLOCKS;
    if (journal->features & ~KNOWN || fast >= length ||
        (journal->features & ASYNC_COMMIT && !has_sums(journal)))
        return false;
    journal->end = length - fast;
    uint32_t sum = be32_read(super + 0xfc);
    memset(super + 0xfc, 0, 4);
    if (has_sums(journal) && sum_of(journal, UINT32_MAX, super, JOURNAL_SUPER) != sum)
        return false;
    return journal->first > 0 && journal->first < journal->end &&
           (*ret_start == 0 || (*ret_start >= journal->first && *ret_start < journal->end));
}

// ---- Transactions ----

static uint32_t behind(const Journal *journal, uint32_t number)
{
    return number + 1 < journal->end ? number + 1 : journal->first;
}

static size_t tag_size(const Journal *journal)
{
    if (journal->features & CHECKSUMS_3)
        return 16;
    return 8 + (journal->features & CHECKSUMS_2 ? 2u : 0) + (journal->features & WIDE ? 4u : 0);
}

// Adds what a descriptor names. *at: the last block that was read; *left: those not yet read.
static bool read_descriptor(Journal *journal, uint32_t *at, uint32_t *left)
{
    size_t size = journal->fs->block_size, end = size - (has_sums(journal) ? 4 : 0);
    bool is_3 = journal->features & CHECKSUMS_3;
    if (!is_whole(journal, journal->block, size - 4))
        return false;
    for (size_t place = HEADER; place + tag_size(journal) <= end;) {
        const uint8_t *bytes = journal->block + place;
        uint32_t flags = is_3 ? be32_read(bytes + 4) : be16_read(bytes + 6);
        *at = behind(journal, *at);
        if (*left == 0 || *at >= journal->length)
            return false;
        --*left;
        Tag tag = { be32_read(bytes), journal->blocks[*at],
                    is_3 ? be32_read(bytes + 12) : be16_read(bytes + 4), flags & TAG_ESCAPED };
        if (journal->features & WIDE)
            tag.block |= (uint64_t)be32_read(bytes + 8) << 32;
        g_array_append_val(journal->tags, tag);
        if (flags & TAG_LAST)
            return true;
        place += tag_size(journal) + (flags & TAG_SAME_UUID ? 0 : 16);
    }
    return true;
}

static bool read_revocation(Journal *journal)
{
    size_t size = journal->fs->block_size, width = journal->features & WIDE ? 8 : 4;
    size_t end = be32_read(journal->block + HEADER);
    if (!is_whole(journal, journal->block, size - 4) ||
        end > size - (has_sums(journal) ? 4 : 0))
        return false;
    for (size_t place = HEADER + 4; place + width <= end; place += width) {
        const uint8_t *bytes = journal->block + place;
        uint64_t block = width == 8 ? be64_read(bytes) : be32_read(bytes);
        if (journal->revoked->len < JOURNAL_BLOCKS)
            g_array_append_val(journal->revoked, block);
    }
    return true;
}

static bool is_tag_whole(Journal *journal, const Tag *tag, uint32_t number)
{
    Ext4 *fs = journal->fs;
    uint8_t bytes[4];
    if (disk_reader_read(fs->disk, tag->copy * fs->block_size, journal->block, fs->block_size) < 0)
        return false;
    be32_write(bytes, number);
    uint32_t sum = sum_of(journal, journal->seed, bytes, 4);
    sum = sum_of(journal, sum, journal->block, fs->block_size);
    return journal->features & CHECKSUMS_3 ? sum == tag->sum : (sum & 0xffff) == tag->sum;
}

// The transaction is complete: what it says is so from now on.
static bool commit(Journal *journal, uint32_t number)
{
    if (!is_whole(journal, journal->block, 16))
        return false;
    for (guint i = 0; i < journal->tags->len; i++) {
        const Tag *tag = &g_array_index(journal->tags, Tag, i);
        if (tag->copy == 0 || (has_sums(journal) && !is_tag_whole(journal, tag, number)))
            return false;
    }
    for (guint i = 0; i < journal->tags->len; i++) {
        const Tag *tag = &g_array_index(journal->tags, Tag, i);
        Ext4Copy *copy = g_new0(Ext4Copy, 1);
        *copy = (Ext4Copy){ tag->block, tag->copy, tag->is_escaped };
        g_hash_table_add(journal->fs->copies, copy);
    }
    for (guint i = 0; i < journal->revoked->len; i++)
        g_hash_table_remove(journal->fs->copies, &g_array_index(journal->revoked, uint64_t, i));
    g_array_set_size(journal->tags, 0);
    g_array_set_size(journal->revoked, 0);
    return true;
}

// False where a transaction was committed that cannot be read.
static bool replay(Journal *journal, uint32_t at, uint32_t number)
{
    for (uint32_t left = journal->end - journal->first; left; at = behind(journal, at)) {
        left--;
        if (!read_journal(journal, at, journal->block) || be32_read(journal->block) != MAGIC ||
            be32_read(journal->block + 8) != number)
            return true;
        uint32_t type = be32_read(journal->block + 4);
        if (type == COMMIT) {
            if (!commit(journal, number))
                return false;
            number++;
        } else if (type == DESCRIPTOR) {
            if (!read_descriptor(journal, &at, &left))
                return true;
        } else if (type != REVOCATION || !read_revocation(journal)) {
            return true;
        }
    }
    return true;
}

static const char *replay_all(Journal *journal, const uint8_t *super)
{
    uint32_t start, number;
    if (le32_read(super + 0xe0) == 0)
        return "it was in use, and its journal is on another disk: what only that has is not seen";
    if (!find_journal(journal, super) || !read_super(journal, &start, &number))
        return "it was in use, and its journal is damaged or not known: what only that has is not "
               "seen";
    if (start && !replay(journal, start, number))
        return "its journal is damaged: what comes behind that is not seen";
    if (journal->features & FAST_COMMIT)
        return "it was in use: what only its fast commits have is not seen";
    return NULL;
}

const char *ext4_replay(Ext4 *fs, const uint8_t *super)
{
    g_autofree Journal *journal = g_new0(Journal, 1);
    journal->fs = fs;
    journal->tags = g_array_new(FALSE, FALSE, sizeof(Tag));
    journal->revoked = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    journal->block = g_malloc(fs->block_size);
    make_table(journal->table);
    const char *remark = replay_all(journal, super);
    g_array_unref(journal->tags);
    g_array_unref(journal->revoked);
    g_free(journal->block);
    g_free(journal->blocks);
    return remark;
}

int ext4_read(Ext4 *fs, uint64_t offset, void *buffer, size_t size)
{
    static const uint8_t magic[4] = { 0xc0, 0x3b, 0x39, 0x98 };
    if (g_hash_table_size(fs->copies) == 0)
        return disk_reader_read(fs->disk, offset, buffer, size);
    for (uint8_t *to = buffer; size;) {
        uint64_t block = offset / fs->block_size, skip = offset % fs->block_size;
        size_t count = (size_t)MIN(size, fs->block_size - skip);
        const Ext4Copy *copy = g_hash_table_lookup(fs->copies, &block);
        uint64_t from = copy ? copy->copy : block;
        int result = disk_reader_read(fs->disk, from * fs->block_size + skip, to, count);
        if (result < 0)
            return result;
        for (uint64_t i = skip; copy && copy->is_escaped && i < MIN(4, skip + count); i++)
            to[i - skip] = magic[i];
        to += count;
        offset += count;
        size -= count;
    }
    return 0;
}
