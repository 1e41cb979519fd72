// SPDX-License-Identifier: GPL-2.0-or-later
// Names in FAT. A long name lies in entries before the one of its short name, from its end to its
// beginning, and counts where they are complete and bear the short name's sum; else the short one
// is the name, with letters as code page 437 has them, in small where the entry says so.
#include "snapshots/filesystems/fat-private.h"

#include "engine/base/bytes.h"

#define DIRECTORY_MAX  (65536u * FAT_ENTRY)
#define LONG_PIECES    20u
#define LONG_UNITS     13u // of UTF-16, in one piece
#define LONG_FIRST     0x40u
#define DELETED        0xe5u
#define ATTR_LABEL     0x08u
#define ATTR_DIRECTORY 0x10u
#define ATTR_LONG      0x0fu
#define SMALL_BASE     0x08u
#define SMALL_SUFFIX   0x10u

typedef struct {
    Fat *fs;
    uint64_t directory;
    GPtrArray *entries;
    unsigned pieces, left; // of a long name: all, and those that have not come
    uint8_t sum;
    uint8_t units[LONG_PIECES * LONG_UNITS * 2];
} Listing;

// Code page 437 from 0x80.
static const uint16_t letters[128] = {
    0x00c7, 0x00fc, 0x00e9, 0x00e2, 0x00e4, 0x00e0, 0x00e5, 0x00e7, 0x00ea, 0x00eb, 0x00e8, 0x00ef,
    0x00ee, 0x00ec, 0x00c4, 0x00c5, 0x00c9, 0x00e6, 0x00c6, 0x00f4, 0x00f6, 0x00f2, 0x00fb, 0x00f9,
    0x00ff, 0x00d6, 0x00dc, 0x00a2, 0x00a3, 0x00a5, 0x20a7, 0x0192, 0x00e1, 0x00ed, 0x00f3, 0x00fa,
    0x00f1, 0x00d1, 0x00aa, 0x00ba, 0x00bf, 0x2310, 0x00ac, 0x00bd, 0x00bc, 0x00a1, 0x00ab, 0x00bb,
    0x2591, 0x2592, 0x2593, 0x2502, 0x2524, 0x2561, 0x2562, 0x2556, 0x2555, 0x2563, 0x2551, 0x2557,
    0x255d, 0x255c, 0x255b, 0x2510, 0x2514, 0x2534, 0x252c, 0x251c, 0x2500, 0x253c, 0x255e, 0x255f,
    0x255a, 0x2554, 0x2569, 0x2566, 0x2560, 0x2550, 0x256c, 0x2567, 0x2568, 0x2564, 0x2565, 0x2559,
    0x2558, 0x2552, 0x2553, 0x256b, 0x256a, 0x2518, 0x250c, 0x2588, 0x2584, 0x258c, 0x2590, 0x2580,
    0x03b1, 0x00df, 0x0393, 0x03c0, 0x03a3, 0x03c3, 0x00b5, 0x03c4, 0x03a6, 0x0398, 0x03a9, 0x03b4,
    0x221e, 0x03c6, 0x03b5, 0x2229, 0x2261, 0x00b1, 0x2265, 0x2264, 0x2320, 0x2321, 0x00f7, 0x2248,
    0x00b0, 0x2219, 0x00b7, 0x221a, 0x207f, 0x00b2, 0x25a0, 0x00a0,
};

static uint8_t sum_of(const uint8_t *name)
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 11; i++)
        sum = (uint8_t)((sum >> 1 | sum << 7) + name[i]);
    return sum;
}

static void add_long_piece(Listing *listing, const uint8_t *entry)
{
    static const uint8_t places[LONG_UNITS] = { 1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30 };
    unsigned number = entry[0] & ~LONG_FIRST;
    if (entry[0] & LONG_FIRST && number <= LONG_PIECES) {
        listing->pieces = listing->left = number;
        listing->sum = entry[13];
    }
    if (number == 0 || number != listing->left || listing->sum != entry[13]) {
        listing->pieces = 0;
        listing->left = 0;
        return;
    }
    uint8_t *to = listing->units + (number - 1) * LONG_UNITS * 2;
    for (unsigned i = 0; i < LONG_UNITS; i++)
        memcpy(to + 2 * i, entry + places[i], 2);
    listing->left--;
}

// NULL where there is none that counts.
static char *long_name(const Listing *listing, const uint8_t *entry)
{
    size_t length = 0;
    if (listing->pieces == 0 || listing->left || listing->sum != sum_of(entry))
        return NULL;
    while (length < listing->pieces * LONG_UNITS && le16_read(listing->units + 2 * length))
        length++;
    return filesystem_name_from_utf16(listing->units, length);
}

static bool append_short(GString *name, const uint8_t *bytes, size_t size, bool small)
{
    while (size && bytes[size - 1] == ' ')
        size--;
    for (size_t i = 0; i < size; i++) {
        char c = (char)bytes[i];
        if (c == 0 || c == '/')
            return false;
        if (bytes[i] >= 0x80)
            g_string_append_unichar(name, letters[bytes[i] - 0x80]);
        else
            g_string_append_c(name, small ? g_ascii_tolower(c) : c);
    }
    return true;
}

// NULL where no file may be called so.
static char *short_name(const uint8_t *entry)
{
    g_autoptr(GString) name = g_string_new("");
    uint8_t bytes[11];
    memcpy(bytes, entry, sizeof bytes);
    if (bytes[0] == 5) // stands for what marks deleted ones
        bytes[0] = DELETED;
    if (!append_short(name, bytes, 8, entry[12] & SMALL_BASE) || name->len == 0)
        return NULL;
    size_t length = name->len;
    g_string_append_c(name, '.');
    if (!append_short(name, bytes + 8, 3, entry[12] & SMALL_SUFFIX))
        return NULL;
    if (name->len == length + 1)
        g_string_truncate(name, length);
    return g_strdup(name->str);
}

// Where a file begins and when it was made stay when it is renamed. DOS says nothing of the latter:
// size and time stand in. An empty file is nowhere: its name has to do.
static uint64_t identity_of(const Listing *listing, const FilesystemEntry *file,
                            const uint8_t *entry)
{
    uint64_t hash = filesystem_hash(FILESYSTEM_HASH, &file->file, sizeof file->file);
    hash = filesystem_hash(hash, entry + 13, 5);
    if (le16_read(entry + 16) == 0)
        hash = filesystem_hash(hash, entry + 22, 10);
    if (file->file == 0) {
        hash = filesystem_hash(hash, &listing->directory, sizeof listing->directory);
        hash = filesystem_hash(hash, file->name, strlen(file->name));
    }
    return filesystem_hash(hash, &file->is_directory, sizeof file->is_directory);
}

static uint64_t fingerprint_of(const FilesystemEntry *file, const uint8_t *entry)
{
    uint64_t hash = filesystem_hash(FILESYSTEM_HASH, entry + 11, 1); // attributes
    if (file->is_directory)
        return hash;
    hash = filesystem_hash(hash, entry + 13, 5);    // when it was made
    return filesystem_hash(hash, entry + 20, 12);   // where it is, when it was written, its size
}

static FatVisited add_file(Listing *listing, const uint8_t *entry, GError **error)
{
    g_autofree char *name = long_name(listing, entry);
    if (!name)
        name = short_name(entry);
    if (!name) {
        filesystem_damaged(error, "it has a name that no file may have");
        return FAT_FAILED;
    }
    if (listing->entries->len >= FILESYSTEM_ENTRIES_MAX) {
        filesystem_damaged(error, "it has more than %u names", FILESYSTEM_ENTRIES_MAX);
        return FAT_FAILED;
    }
    FilesystemEntry *file = g_new0(FilesystemEntry, 1);
    file->name = g_steal_pointer(&name);
    file->file = le16_read(entry + 26);
    if (listing->fs->bits == 32)
        file->file |= (uint64_t)le16_read(entry + 20) << 16;
    file->size = le32_read(entry + 28);
    file->is_directory = entry[11] & ATTR_DIRECTORY;
    file->identity = identity_of(listing, file, entry);
    file->fingerprint = fingerprint_of(file, entry);
    g_ptr_array_add(listing->entries, file);
    return FAT_GO_ON;
}

static bool is_dots(const uint8_t *entry)
{
    return memcmp(entry, ".          ", 11) == 0 || memcmp(entry, "..         ", 11) == 0;
}

static FatVisited visit(const uint8_t *entry, void *opaque, GError **error)
{
    Listing *listing = opaque;
    FatVisited visited = FAT_GO_ON;
    if (entry[0] == 0)
        return FAT_ENOUGH;
    if (entry[0] != DELETED && (entry[11] & 0x3f) == ATTR_LONG) {
        add_long_piece(listing, entry);
        return FAT_GO_ON;
    }
    if (entry[0] != DELETED && !(entry[11] & ATTR_LABEL) && !is_dots(entry))
        visited = add_file(listing, entry, error);
    listing->pieces = 0;
    return visited;
}

bool fat_list(void *filesystem, uint64_t directory, GPtrArray *entries, GError **error)
{
    Listing listing = { .fs = filesystem, .directory = directory, .entries = entries };
    if (directory == FAT_FIXED_ROOT)
        return fat_walk_root(listing.fs, visit, &listing, error);
    return fat_walk(listing.fs, (uint32_t)directory, 0, DIRECTORY_MAX, visit, &listing, error);
}
