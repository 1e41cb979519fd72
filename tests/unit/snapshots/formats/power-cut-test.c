// SPDX-License-Identifier: GPL-2.0-or-later
// Power cuts under images that are written in place. The linker hands every call that changes a
// file to this program (--wrap), which records them. Afterwards the file is rebuilt as it may be
// after a cut at any recorded moment: all that was synced, and of what came after the last sync any
// part in any order, some of it torn between sectors. Each such file must open, check without
// errors (leaks are allowed) and hold whatever had been flushed. The same way, writes fail as on a
// full file system: what was refused may be lost, nothing else.
#include "engine/base/bytes.h"
#include "tests/unit/snapshots/formats/images.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SECTOR  512u
#define SECTORS 2048u // of the disk
#define STEPS   260u
#define SAMPLES 250u

typedef enum {
    OP_WRITE,
    OP_PUNCH,
    OP_TRUNCATE,
    OP_SYNC,
    DISK_WRITE,
    DISK_DISCARD,
    DISK_FLUSHED
} Kind;

typedef struct {
    Kind kind;
    uint64_t offset, length; // bytes of the file, or sectors of the disk
    uint8_t *bytes;
    uint32_t id; // of a DISK_WRITE
} Event;

typedef struct {
    const char *format, *judge, *options;
    bool snapshot;
    bool errors_allowed; // of the check: the footer of a VHD has a copy
} Layout;

static GArray *events;      // of Event; NULL: nothing is recorded
static int room = G_MAXINT; // writes until the file system is full
static int full = 0;        // writes that then fail

ssize_t __real_pwrite64(int fd, const void *bytes, size_t size, off_t offset);
int __real_fdatasync(int fd);
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __real_ftruncate64(int fd, off_t length);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t offset);
int __wrap_fdatasync(int fd);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_ftruncate64(int fd, off_t length);

static void record(Kind kind, uint64_t offset, uint64_t length, const void *bytes, uint32_t id)
{
    if (!events)
        return;
    Event event = { kind, offset, length, bytes ? g_memdup2(bytes, length) : NULL, id };
    g_array_append_val(events, event);
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t size, off_t offset)
{
    if (room-- <= 0 && full-- > 0) {
        errno = ENOSPC;
        return -1;
    }
    record(OP_WRITE, (uint64_t)offset, size, bytes, 0);
    return __real_pwrite64(fd, bytes, size, offset);
}

int __wrap_fdatasync(int fd)
{
    record(OP_SYNC, 0, 0, NULL, 0);
    return events ? 0 : __real_fdatasync(fd); // nobody cuts the real power
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
    record(OP_PUNCH, (uint64_t)offset, (uint64_t)length, NULL, 0);
    return __real_fallocate64(fd, mode, offset, length);
}

int __wrap_ftruncate64(int fd, off_t length)
{
    record(OP_TRUNCATE, 0, (uint64_t)length, NULL, 0);
    return __real_ftruncate64(fd, length);
}

// A file's bytes as they are after some of the operations.
static void apply(GByteArray *file, const Event *event, uint64_t length)
{
    guint end = (guint)(event->offset + length), old = file->len;
    switch (event->kind) {
    case OP_WRITE:
        if (end > old) {
            g_byte_array_set_size(file, end);
            memset(file->data + old, 0, end - old);
        }
        memcpy(file->data + event->offset, event->bytes, length);
        break;
    case OP_PUNCH:
        if (event->offset < old)
            memset(file->data + event->offset, 0, MIN(length, old - event->offset));
        break;
    case OP_TRUNCATE:
        g_byte_array_set_size(file, (guint)event->length);
        if (event->length > old)
            memset(file->data + old, 0, event->length - old);
        break;
    default:
        break;
    }
}

// What each sector may be: written by no older write than `least`, or zero.
typedef struct {
    uint32_t last[SECTORS], least[SECTORS];
    bool zero[SECTORS];     // it may be zero after the last flush
    bool zero_now[SECTORS]; // it is, or may be
    uint32_t writes;
} Oracle;

static void tell(Oracle *oracle, const Event *event)
{
    for (uint64_t s = event->offset; s < event->offset + event->length; s++) {
        if (event->kind == DISK_WRITE) {
            oracle->last[s] = event->id;
            oracle->zero_now[s] = false;
        } else {
            oracle->zero_now[s] = oracle->zero[s] = true;
        }
    }
    if (event->kind == DISK_FLUSHED) {
        memcpy(oracle->least, oracle->last, sizeof oracle->least);
        memcpy(oracle->zero, oracle->zero_now, sizeof oracle->zero);
    }
}

static Image *open_bytes(const Layout *layout, const GByteArray *file, bool for_check)
{
    int fd = memfd_create("cut", MFD_CLOEXEC);
    g_assert_cmpint(__real_pwrite64(fd, file->data, file->len, 0), ==, file->len);
    g_autoptr(GError) error = NULL;
    ImageOpen options = {
        .fd = fd, .read_only = true, .format = layout->format, .for_check = for_check
    };
    Image *image = image_open(&options, &error);
    g_assert_no_error(error);
    return image;
}

static void judge(const Layout *layout, const GByteArray *file, const Oracle *oracle, guint at)
{
    Image *image = open_bytes(layout, file, true);
    ImageCheck check;
    g_assert_true(image_check(image, false, &check, NULL));
    if (check.errors && !layout->errors_allowed)
        g_error("cut after %u: %s", at, (const char *)check.messages->pdata[0]);
    image_check_clear(&check);
    uint8_t sector[SECTOR];
    for (uint32_t s = 0; s < SECTORS; s++) {
        g_assert_cmpint(image_read(image, (uint64_t)s * SECTOR, sector, SECTOR), ==, 0);
        uint32_t id = le32_read(sector), place = le32_read(sector + 4);
        bool zero = id == 0 && place == 0;
        if (zero ? oracle->least[s] && !oracle->zero[s]
                 : place != s + 1 || id < oracle->least[s] || id > oracle->writes)
            g_error("cut after %u: sector %u is of write %u, flushed was %u", at, s, id,
                    oracle->least[s]);
    }
    image_close(image);
}

static void write_sectors(Image *image, uint32_t id, uint64_t first, uint64_t count)
{
    g_autofree uint8_t *bytes = g_malloc0(count * SECTOR);
    for (uint64_t i = 0; i < count; i++) {
        le32_write(bytes + i * SECTOR, id);
        le32_write(bytes + i * SECTOR + 4, (uint32_t)(first + i + 1));
        memset(bytes + i * SECTOR + 8, (int)(id & 0xff), SECTOR - 8);
    }
    record(DISK_WRITE, first, count, NULL, id); // before: it may be there from now on
    g_assert_cmpint(image_write(image, first * SECTOR, bytes, count * SECTOR), ==, 0);
}

static uint32_t scribble(Image *image, GRand *rand)
{
    uint32_t id = 0;
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t first = (uint64_t)g_rand_int_range(rand, 0, SECTORS);
        if (g_rand_int(rand) % 6 == 0)
            first %= 16; // beside the tables
        uint64_t count = (uint64_t)g_rand_int_range(rand, 1, 40);
        count = MIN(count, SECTORS - first);
        unsigned kind = g_rand_int(rand) % 12;
        if (kind == 0) {
            g_assert_cmpint(image_flush(image), ==, 0);
            record(DISK_FLUSHED, 0, 0, NULL, 0);
        } else if (kind == 1) {
            record(DISK_DISCARD, first, count, NULL, 0);
            g_assert_cmpint(image_discard(image, first * SECTOR, count * SECTOR), ==, 0);
        } else {
            write_sectors(image, ++id, first, count);
        }
    }
    return id;
}

static void clear_event(void *opaque)
{
    Event *event = opaque;
    g_free(event->bytes);
}

// The file as after a cut at event `at`; `synced` is what is on disk for sure.
static void cut(const Layout *layout, const GByteArray *synced, const GArray *log, guint from,
                guint at, const Oracle *oracle, GRand *rand)
{
    g_autoptr(GByteArray) file = g_byte_array_new();
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(guint));
    g_byte_array_append(file, synced->data, synced->len);
    for (guint i = from; i < at; i++) {
        if (g_array_index(log, Event, i).kind <= OP_TRUNCATE && g_rand_int(rand) % 2)
            g_array_append_val(order, i);
    }
    for (guint i = 0; i < order->len; i++) { // neighbours may change places
        guint j = (guint)g_rand_int_range(rand, (gint32)i, (gint32)MIN(order->len, i + 6));
        guint kept = g_array_index(order, guint, i);
        g_array_index(order, guint, i) = g_array_index(order, guint, j);
        g_array_index(order, guint, j) = kept;
    }
    for (guint i = 0; i < order->len; i++) {
        const Event *event = &g_array_index(log, Event, g_array_index(order, guint, i));
        uint64_t length = event->length, sectors = length / SECTOR;
        if (event->kind == OP_WRITE && sectors > 1 && g_rand_int(rand) % 4 == 0)
            length = (uint64_t)g_rand_int_range(rand, 1, (gint32)sectors) * SECTOR; // torn
        // Sizes do not shrink by themselves in another order.
        if (event->kind != OP_TRUNCATE || event->length > file->len)
            apply(file, event, length);
    }
    judge(layout, file, oracle, at);
}

static void replay(const Layout *layout, GByteArray *file, GArray *log, uint32_t writes,
                   GRand *rand)
{
    g_autofree Oracle *oracle = g_new0(Oracle, 1);
    oracle->writes = writes;
    guint from = 0;
    unsigned samples = 0;
    for (guint at = 0; at <= log->len; at++) {
        if (log->len < SAMPLES || (guint)g_rand_int_range(rand, 0, (gint32)log->len) < SAMPLES) {
            cut(layout, file, log, from, at, oracle, rand);
            samples++;
        }
        if (at == log->len)
            break;
        const Event *event = &g_array_index(log, Event, at);
        if (event->kind >= DISK_WRITE)
            tell(oracle, event);
        if (event->kind != OP_SYNC)
            continue;
        for (; from < at; from++)
            apply(file, &g_array_index(log, Event, from), g_array_index(log, Event, from).length);
    }
    g_test_message("%s %s: %u events, %u cuts", layout->format, layout->options, log->len, samples);
}

static void make_image(const Layout *layout)
{
    g_assert_true(images_run("rm -f cut.img"));
    g_assert_true(images_run("qemu-img create -q -f %s %s cut.img %u", layout->judge,
                             layout->options, SECTORS * SECTOR));
    if (layout->snapshot) // clusters that are shared from the start
        g_assert_true(images_run("qemu-img snapshot -c one cut.img"));
}

static void test_cuts(gconstpointer data)
{
    const Layout *layout = data;
    if (!images_have_judge())
        return;
    make_image(layout);
    g_autofree char *path = images_path("cut.img");
    char *bytes;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_autoptr(GByteArray) file = g_byte_array_new_take((guint8 *)bytes, size);
    g_autoptr(GRand) rand = g_rand_new_with_seed(61);
    g_autoptr(GArray) log = g_array_new(FALSE, FALSE, sizeof(Event));
    g_array_set_clear_func(log, clear_event);
    Image *image = images_open("cut.img", layout->format, false);
    events = log;
    uint32_t writes = scribble(image, rand);
    g_assert_cmpint(image_close(image), ==, 0);
    events = NULL;
    replay(layout, file, log, writes, rand);
}

// Where a write was refused, any of the sector's writes may be there, or nothing.
static void judge_full(const Layout *layout, const GByteArray *file, const uint32_t *wanted,
                       const bool *loose)
{
    Image *image = open_bytes(layout, file, true);
    ImageCheck check;
    g_assert_true(image_check(image, false, &check, NULL));
    if (check.errors)
        g_error("after a full disk: %s", (const char *)check.messages->pdata[0]);
    image_check_clear(&check);
    uint8_t sector[SECTOR];
    for (uint32_t s = 0; s < SECTORS; s++) {
        g_assert_cmpint(image_read(image, (uint64_t)s * SECTOR, sector, SECTOR), ==, 0);
        uint32_t id = le32_read(sector), place = le32_read(sector + 4);
        if (id != wanted[s] && !loose[s])
            g_error("after a full disk: sector %u is of write %u, not %u", s, id, wanted[s]);
        g_assert_true((id == 0 && place == 0) || place == s + 1);
    }
    image_close(image);
}

static void fill_up(const Layout *layout, GRand *rand)
{
    g_autofree uint32_t *wanted = g_new0(uint32_t, SECTORS);
    g_autofree bool *loose = g_new0(bool, SECTORS);
    g_autofree uint8_t *bytes = g_malloc0(40 * SECTOR);
    Image *image = images_open("cut.img", layout->format, false);
    room = g_rand_int_range(rand, 1, 120);
    full = g_rand_int_range(rand, 1, 12);
    for (uint32_t id = 1; id <= 90; id++) {
        uint64_t first = (uint64_t)g_rand_int_range(rand, 0, SECTORS - 40);
        uint64_t count = (uint64_t)g_rand_int_range(rand, 1, 40);
        for (uint64_t i = 0; i < count; i++) {
            le32_write(bytes + i * SECTOR, id);
            le32_write(bytes + i * SECTOR + 4, (uint32_t)(first + i + 1));
        }
        int result = image_write(image, first * SECTOR, bytes, count * SECTOR);
        g_assert_true(result == 0 || result == -ENOSPC);
        for (uint64_t s = first; s < first + count; s++) {
            wanted[s] = id;
            loose[s] = result < 0;
        }
        if (id % 9 == 0) {
            result = image_flush(image);
            g_assert_true(result == 0 || result == -ENOSPC);
        }
    }
    room = G_MAXINT; // room was made
    full = 0;
    g_assert_cmpint(image_flush(image), ==, 0);
    g_assert_cmpint(image_close(image), ==, 0);
    g_autofree char *path = images_path("cut.img");
    char *after;
    gsize size;
    g_assert_true(g_file_get_contents(path, &after, &size, NULL));
    g_autoptr(GByteArray) file = g_byte_array_new_take((guint8 *)after, size);
    judge_full(layout, file, wanted, loose);
}

static void test_full(gconstpointer data)
{
    const Layout *layout = data;
    if (!images_have_judge())
        return;
    make_image(layout);
    g_autofree char *path = images_path("cut.img");
    char *fresh;
    gsize size;
    g_assert_true(g_file_get_contents(path, &fresh, &size, NULL));
    g_autoptr(GRand) rand = g_rand_new_with_seed(67);
    for (int turn = 0; turn < 20; turn++) {
        g_assert_true(g_file_set_contents_full(path, fresh, (gssize)size, G_FILE_SET_CONTENTS_NONE,
                                               0600, NULL));
        fill_up(layout, rand);
    }
    g_free(fresh);
}

static const Layout layouts[] = {
    { "qcow2", "qcow2", "-o cluster_size=4096", false, false },
    { "qcow2", "qcow2", "-o cluster_size=512", false, false },
    { "qcow2", "qcow2", "-o cluster_size=64k", true, false },
    { "qcow2", "qcow2", "-o compat=0.10,cluster_size=1024", false, false },
    { "qcow2", "qcow2", "-o extended_l2=on,cluster_size=16k", false, false },
    { "qcow2", "qcow2", "-o cluster_size=512,refcount_bits=64", true, false },
    { "vdi", "vdi", "", false, false },
    { "vmdk", "vmdk", "", false, false },
    { "vhd", "vpc", "-o force_size=on", false, true },
};

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    for (size_t i = 0; i < G_N_ELEMENTS(layouts); i++) {
        g_autofree char *words = g_strdelimit(g_strdup(layouts[i].options), " /", '_');
        g_autofree char *path =
            g_strdup_printf("/power-cut/%s/%s%s", layouts[i].format, *words ? words : "plain",
                            layouts[i].snapshot ? "-snapshot" : "");
        g_test_add_data_func(path, &layouts[i], test_cuts);
        g_autofree char *other = g_strconcat("/full-disk", path + strlen("/power-cut"), NULL);
        g_test_add_data_func(other, &layouts[i], test_full);
    }
    int status = g_test_run();
    images_remove();
    return status;
}
