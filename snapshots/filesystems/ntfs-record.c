// SPDX-License-Identifier: GPL-2.0-or-later
// Records of NTFS's master file table and the attributes in them. A file whose attributes do not
// fit in one record has a list of them, which says in which other records they are; those are
// looked up, never followed further.
#include "snapshots/filesystems/ntfs-private.h"

#include "engine/base/bytes.h"

#define LIST_MAX      (256u << 10)
#define LISTS_MAX     (UINT64_C(1) << 30) // bytes of all lists that are looked at
#define NUMBER_MASK   UINT64_C(0xffffffffffff)
#define END           0xffffffffu
#define COMPRESSED    0xffu

bool ntfs_fix_up(uint8_t *bytes, size_t size, const char *magic, GError **error)
{
    size_t offset = le16_read(bytes + 4), count = le16_read(bytes + 6);
    if (memcmp(bytes, magic, 4) != 0)
        return filesystem_damaged(error, "there is no %s", magic);
    if (count != size / NTFS_SECTOR + 1 || offset & 1 || offset + 2 * count > NTFS_SECTOR - 2)
        return filesystem_damaged(error, "the fix-ups are damaged");
    for (size_t i = 1; i < count; i++) {
        uint8_t *end = bytes + i * NTFS_SECTOR - 2;
        if (memcmp(end, bytes + offset, 2) != 0)
            return filesystem_damaged(error, "it was written in part only");
        memcpy(end, bytes + offset + 2 * i, 2);
    }
    return true;
}

bool ntfs_read_record(Ntfs *fs, uint64_t reference, NtfsRecord *ret_record, GError **error)
{
    uint64_t number = reference & NUMBER_MASK, sequence = reference >> 48;
    g_autoptr(GError) why = NULL;
    uint8_t *bytes = ret_record->bytes;
    if (number >= fs->records)
        return filesystem_damaged(error, "it refers to record %" G_GUINT64_FORMAT
                                  ", which is not there", number);
    if (!ntfs_read_runs(fs, fs->table, number * fs->record_size, bytes, fs->record_size, &why) ||
        !ntfs_fix_up(bytes, fs->record_size, "FILE", &why))
        return filesystem_damaged(error, "record %" G_GUINT64_FORMAT " is damaged: %s", number,
                                  why->message);
    ret_record->number = number;
    ret_record->sequence = le16_read(bytes + 0x10);
    ret_record->flags = le16_read(bytes + 0x16);
    ret_record->used = le32_read(bytes + 0x18);
    if (ret_record->used > fs->record_size)
        return filesystem_damaged(error, "record %" G_GUINT64_FORMAT " is damaged: its length",
                                  number);
    if (!(ret_record->flags & NTFS_RECORD_IN_USE) || (sequence && sequence != ret_record->sequence))
        return filesystem_damaged(error, "record %" G_GUINT64_FORMAT " is not this file's any more",
                                  number);
    return true;
}

// ---- Attributes in one record ----

static bool parse(const uint8_t *bytes, size_t size, NtfsAttribute *ret)
{
    *ret = (NtfsAttribute){ .type = le32_read(bytes), .bytes = bytes, .size = size };
    size_t name = le16_read(bytes + 10), value = le16_read(bytes + (bytes[8] ? 0x20 : 0x14));
    ret->is_resident = bytes[8] == 0;
    ret->name_units = bytes[9];
    ret->name = bytes + name;
    if (name + 2u * ret->name_units > size || value > size || (!ret->is_resident && size < 0x40))
        return false;
    ret->value = bytes + value;
    ret->value_size = ret->is_resident ? le32_read(bytes + 0x10) : size - value;
    if (!ret->is_resident) {
        ret->first = le64_read(bytes + 0x10);
        ret->stream_size = le64_read(bytes + 0x30);
        ret->is_packed = le16_read(bytes + 12) & COMPRESSED && bytes[0x22];
    }
    return ret->value_size <= size - value;
}

NtfsFound ntfs_next(const NtfsRecord *record, uint32_t *at, NtfsAttribute *ret_attribute,
                    GError **error)
{
    uint32_t here = *at ? *at : le16_read(record->bytes + 0x14), size;
    bool good = here >= 0x28 && here + 4 <= record->used;
    if (good && le32_read(record->bytes + here) == END)
        return NTFS_NONE;
    good = good && here + 0x18 <= record->used;
    size = good ? le32_read(record->bytes + here + 4) : 0;
    good = good && size >= 0x18 && size % 8 == 0 && size <= record->used - here &&
           parse(record->bytes + here, size, ret_attribute);
    *at = here + size;
    if (good)
        return NTFS_FOUND;
    filesystem_damaged(error, "record %" G_GUINT64_FORMAT " is damaged: its attributes",
                       record->number);
    return NTFS_DAMAGED;
}

static bool is_called(const uint8_t *name, size_t units, const char *wanted)
{
    if (units != strlen(wanted))
        return false;
    for (size_t i = 0; i < units; i++) {
        if (le16_read(name + 2 * i) != (uint8_t)wanted[i])
            return false;
    }
    return true;
}

bool ntfs_is_named(const NtfsAttribute *attribute, const char *name)
{
    return is_called(attribute->name, attribute->name_units, name);
}

// The piece of it that begins with cluster `first`.
static NtfsFound find_here(const NtfsRecord *record, uint32_t type, const char *name,
                           uint64_t first, NtfsAttribute *ret_attribute, GError **error)
{
    uint32_t at = 0;
    NtfsFound found;
    while ((found = ntfs_next(record, &at, ret_attribute, error)) == NTFS_FOUND) {
        if (ret_attribute->type == type && ntfs_is_named(ret_attribute, name) &&
            ret_attribute->first == first)
            break;
    }
    return found;
}

// ---- Lists of attributes ----

typedef struct {
    uint32_t type;
    const uint8_t *name;
    unsigned name_units;
    uint64_t first, reference;
} Listed;

// False at the end, with error where it is damaged.
static bool next_listed(const GByteArray *list, guint *at, Listed *ret, GError **error)
{
    if (list->len - *at < 0x1a)
        return false;
    const uint8_t *entry = list->data + *at;
    guint size = le16_read(entry + 4), units = entry[6], name = entry[7];
    if (size < 0x1a || size > list->len - *at || name + 2 * units > size)
        return filesystem_damaged(error, "its list of attributes is damaged");
    *ret = (Listed){ le32_read(entry), entry + name, units, le64_read(entry + 8),
                     le64_read(entry + 0x10) };
    *at += size;
    return true;
}

static bool append_runs(Ntfs *fs, const NtfsAttribute *attribute, GArray *runs, GError **error);

// *ret_list stays NULL where there is none.
static bool load_list(Ntfs *fs, const NtfsRecord *record, GByteArray **ret_list, GError **error)
{
    NtfsAttribute attribute;
    NtfsFound found = find_here(record, NTFS_ATTRIBUTE_LIST, "", 0, &attribute, error);
    if (found != NTFS_FOUND)
        return found == NTFS_NONE;
    uint64_t size = attribute.is_resident ? attribute.value_size : attribute.stream_size;
    fs->list_bytes += size;
    if (size > LIST_MAX || fs->list_bytes > LISTS_MAX)
        return filesystem_damaged(error, "its lists of attributes are too long");
    g_autoptr(GByteArray) list = g_byte_array_new();
    if (attribute.is_resident) {
        g_byte_array_append(list, attribute.value, (guint)size);
    } else {
        g_byte_array_set_size(list, (guint)size);
        g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(NtfsRun));
        if (!append_runs(fs, &attribute, runs, error) ||
            !ntfs_read_runs(fs, runs, 0, list->data, size, error))
            return false;
    }
    *ret_list = g_steal_pointer(&list);
    return true;
}

static NtfsFound find_listed(Ntfs *fs, const NtfsRecord *record, const Listed *listed,
                             const char *name, NtfsRecord *other, NtfsAttribute *ret_attribute,
                             GError **error)
{
    if ((listed->reference & NUMBER_MASK) == record->number)
        *other = *record;
    else if (!ntfs_read_record(fs, listed->reference, other, error))
        return NTFS_DAMAGED;
    NtfsFound found = find_here(other, listed->type, name, listed->first, ret_attribute, error);
    if (found == NTFS_NONE)
        filesystem_damaged(error, "its list of attributes has what is not there");
    return found == NTFS_NONE ? NTFS_DAMAGED : found;
}

NtfsFound ntfs_find(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                    NtfsRecord *other, NtfsAttribute *ret_attribute, GError **error)
{
    NtfsFound found = find_here(record, type, name, 0, ret_attribute, error);
    g_autoptr(GByteArray) list = NULL;
    g_autoptr(GError) damage = NULL;
    if (found != NTFS_NONE)
        return found;
    if (!load_list(fs, record, &list, error))
        return NTFS_DAMAGED;
    Listed listed;
    for (guint at = 0; list && next_listed(list, &at, &listed, &damage);) {
        if (listed.type == type && listed.first == 0 &&
            is_called(listed.name, listed.name_units, name))
            return find_listed(fs, record, &listed, name, other, ret_attribute, error);
    }
    if (!damage)
        return NTFS_NONE;
    g_propagate_error(error, g_steal_pointer(&damage));
    return NTFS_DAMAGED;
}

// ---- Runs ----

static uint64_t little(const uint8_t *bytes, unsigned count)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << 8 * i;
    return value;
}

static bool add_run(Ntfs *fs, GArray *runs, uint64_t first, uint64_t count, uint64_t cluster)
{
    NtfsRun run = { first, count, cluster };
    if (count == 0 || count > INT64_MAX - first || runs->len >= NTFS_RUNS_MAX)
        return false;
    if (cluster != NTFS_HOLE && (cluster >= fs->clusters || count > fs->clusters - cluster))
        return false;
    g_array_append_val(runs, run);
    return true;
}

// A byte says of how many bytes the run's length and its distance from the one before are; a run
// without the latter is a hole.
static bool append_runs(Ntfs *fs, const NtfsAttribute *attribute, GArray *runs, GError **error)
{
    uint64_t first = attribute->first, cluster = 0;
    const NtfsRun *last = runs->len ? &g_array_index(runs, NtfsRun, runs->len - 1) : NULL;
    bool good = !attribute->is_resident && first == (last ? last->first + last->count : 0);
    size_t at = 0;
    while (good && at < attribute->value_size && attribute->value[at]) {
        unsigned length = attribute->value[at] & 15, distance = attribute->value[at] >> 4;
        good = length >= 1 && length <= 8 && distance <= 8 &&
               at + 1 + length + distance <= attribute->value_size;
        if (!good)
            break;
        uint64_t count = little(attribute->value + at + 1, length);
        uint64_t step = little(attribute->value + at + 1 + length, distance);
        if (distance && distance < 8 && step >> (8 * distance - 1))
            step |= UINT64_MAX << 8 * distance;
        cluster += step;
        good = add_run(fs, runs, first, count, distance ? cluster : NTFS_HOLE);
        first += count;
        at += 1 + length + distance;
    }
    return good || filesystem_damaged(error, "where its clusters are is damaged");
}

bool ntfs_load_runs(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                    GArray *runs, uint64_t *ret_size, GError **error)
{
    g_autofree NtfsRecord *other = g_new(NtfsRecord, 1);
    g_autoptr(GByteArray) list = NULL;
    g_autoptr(GError) damage = NULL;
    NtfsAttribute attribute;
    NtfsFound found = ntfs_find(fs, record, type, name, other, &attribute, error);
    if (found == NTFS_NONE)
        filesystem_damaged(error, "its attribute 0x%x is missing", type);
    if (found != NTFS_FOUND)
        return false;
    if (attribute.is_packed)
        return filesystem_damaged(error, "its attribute 0x%x is compressed", type);
    uint64_t size = attribute.stream_size;
    if (!append_runs(fs, &attribute, runs, error) || !load_list(fs, record, &list, error))
        return false;
    Listed listed;
    for (guint at = 0; list && next_listed(list, &at, &listed, &damage);) {
        if (listed.type != type || listed.first == 0 ||
            !is_called(listed.name, listed.name_units, name))
            continue;
        if (find_listed(fs, record, &listed, name, other, &attribute, error) != NTFS_FOUND ||
            !append_runs(fs, &attribute, runs, error))
            return false;
    }
    if (damage) {
        g_propagate_error(error, g_steal_pointer(&damage));
        return false;
    }
    *ret_size = size;
    return true;
}

static const NtfsRun *find_run(GArray *runs, uint64_t cluster)
{
    guint low = 0, high = runs->len;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        const NtfsRun *run = &g_array_index(runs, NtfsRun, middle);
        if (cluster < run->first)
            high = middle;
        else if (cluster - run->first >= run->count)
            low = middle + 1;
        else
            return run;
    }
    return NULL;
}

bool ntfs_read_runs(Ntfs *fs, GArray *runs, uint64_t offset, void *buffer, size_t size,
                    GError **error)
{
    for (uint8_t *to = buffer; size;) {
        uint64_t cluster = offset / fs->cluster_size, skip = offset % fs->cluster_size;
        const NtfsRun *run = find_run(runs, cluster);
        if (!run)
            return filesystem_damaged(error, "it is beyond its clusters");
        size_t count = (size_t)MIN(size, fs->cluster_size - skip);
        uint64_t place = (run->cluster + (cluster - run->first)) * fs->cluster_size + skip;
        int result = 0;
        if (run->cluster == NTFS_HOLE)
            memset(to, 0, count);
        else
            result = disk_reader_read(fs->disk, place, to, count);
        if (result < 0)
            return filesystem_damaged(error, "it cannot be read: %s", g_strerror(-result));
        to += count;
        offset += count;
        size -= count;
    }
    return true;
}

GByteArray *ntfs_load_value(Ntfs *fs, const NtfsRecord *record, uint32_t type, const char *name,
                            size_t limit, GError **error)
{
    g_autofree NtfsRecord *other = g_new(NtfsRecord, 1);
    g_autoptr(GByteArray) value = g_byte_array_new();
    g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(NtfsRun));
    NtfsAttribute attribute;
    NtfsFound found = ntfs_find(fs, record, type, name, other, &attribute, error);
    if (found == NTFS_NONE)
        filesystem_damaged(error, "its attribute 0x%x is missing", type);
    if (found != NTFS_FOUND)
        return NULL;
    uint64_t size = attribute.value_size;
    if (!attribute.is_resident && !ntfs_load_runs(fs, record, type, name, runs, &size, error))
        return NULL;
    if (size > limit) {
        filesystem_damaged(error, "its attribute 0x%x is too long", type);
        return NULL;
    }
    if (attribute.is_resident)
        return g_byte_array_append(g_steal_pointer(&value), attribute.value, (guint)size);
    g_byte_array_set_size(value, (guint)size);
    if (!ntfs_read_runs(fs, runs, 0, value->data, size, error))
        return NULL;
    return g_steal_pointer(&value);
}
