// SPDX-License-Identifier: GPL-2.0-or-later
// See image-fuzz.h.
#include "tests/fuzz/image-fuzz.h"

#include "engine/base/bytes.h"
#include "snapshots/formats/image-writer.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define DISK      (8u << 20)
#define CHUNK     4096u
#define EDITS_MAX 6 // more, and nothing sound is left to look at

uint8_t *image_fuzz_make(const char *format, size_t *ret_size)
{
    g_autofree char *folder = g_dir_make_tmp("lodge-fuzz-XXXXXX", NULL);
    g_assert_nonnull(folder);
    g_autofree char *path = g_build_filename(folder, "image", NULL);
    ImageCreate create = { .path = path, .format = format, .size = DISK };
    ImageWriter *writer = image_writer_new(&create, NULL);
    g_assert_nonnull(writer);
    g_autofree uint8_t *data = g_malloc(65536);
    for (size_t i = 0; i < 65536; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    g_assert_true(image_writer_write(writer, 0, data, 65536, NULL));
    g_assert_true(image_writer_write(writer, DISK / 2, data, 512, NULL));
    g_assert_true(image_writer_finish(writer, NULL));
    char *bytes;
    gsize size;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    g_unlink(path);
    g_rmdir(folder);
    *ret_size = size;
    return (uint8_t *)bytes;
}

static Image *open_copy(const char *format, const uint8_t *bytes, size_t size, bool read_only,
                        bool for_check)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    if (fd < 0)
        return NULL;
    // Most of an image is zero: holes are cheaper.
    bool good = ftruncate(fd, (off_t)size) == 0;
    for (size_t at = 0; at < size && good; at += CHUNK) {
        size_t count = MIN(CHUNK, size - at);
        bool zero = bytes[at] == 0 && memcmp(bytes + at, bytes + at + 1, count - 1) == 0;
        good = zero || pwrite(fd, bytes + at, count, (off_t)at) == (ssize_t)count;
    }
    if (!good) {
        close(fd);
        return NULL;
    }
    ImageOpen options = {
        .fd = fd, .read_only = read_only, .format = format, .for_check = for_check
    };
    return image_open(&options, NULL);
}

static void read_some(Image *image)
{
    uint8_t buffer[4096];
    uint64_t size = image_size(image);
    uint64_t places[] = { 0, size / 2, size / 3, size > sizeof buffer ? size - sizeof buffer : 0 };
    ImageExtent extent;
    ImageInfo info;
    image_info(image, &info);
    image_info_clear(&info);
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++) {
        size_t count = (size_t)MIN(sizeof buffer, size - places[i]);
        image_read(image, places[i], buffer, count);
        image_extent(image, places[i], MIN(size - places[i], 4u << 20), &extent);
    }
}

static void write_some(Image *image)
{
    static const uint8_t data[12288] = "what a guest writes";
    uint64_t size = image_size(image);
    uint64_t places[] = { 0, size / 2 & ~UINT64_C(511), size / 3 & ~UINT64_C(511) };
    for (size_t i = 0; i < G_N_ELEMENTS(places); i++)
        image_write(image, places[i], data, (size_t)MIN(sizeof data, size - places[i]));
    image_discard(image, 0, MIN(size, 1u << 20));
    image_flush(image);
    if (size < UINT64_C(1) << 40)
        image_resize(image, (size + (1u << 20)) & ~UINT64_C(511), NULL);
    image_write(image, 0, data, (size_t)MIN(sizeof data, size));
}

// A check walks the whole map, which is long for disks that only claim to be large.
static void check(Image *image, bool repair)
{
    ImageCheck report;
    if (image_size(image) <= 1u << 30 && image_check(image, repair, &report, NULL))
        image_check_clear(&report);
}

// Damage is what this is about.
static void say_nothing(const gchar *domain, GLogLevelFlags level, const gchar *message,
                        gpointer opaque)
{
}

void image_fuzz_bytes(const char *format, const uint8_t *bytes, size_t size)
{
    g_log_set_default_handler(say_nothing, NULL);
    Image *image = open_copy(format, bytes, size, true, true);
    if (!image)
        return;
    read_some(image);
    check(image, false);
    image_close(image);
    image = open_copy(format, bytes, size, false, true);
    if (image)
        check(image, true);
    image_close(image);
    image = open_copy(format, bytes, size, false, false);
    if (image)
        write_some(image);
    image_close(image);
}

void image_fuzz(const ImageTemplate *t, const uint8_t *data, size_t size)
{
    g_autofree uint8_t *image = g_memdup2(t->bytes, t->size);
    for (size_t i = 0; i < size && i < EDITS_MAX * 12; i += 12) {
        uint8_t edit[12] = { 0 }; // the last may be cut short
        memcpy(edit, data + i, MIN(sizeof edit, size - i));
        const ImageArea *area = &t->areas[edit[0] % t->area_count];
        size_t width = (size_t)1 << (edit[3] & 3);
        size_t offset = area->offset + le16_read(edit + 1) % area->length;
        if (offset + width <= t->size)
            memcpy(image + offset, edit + 4, width);
    }
    if (t->seal)
        t->seal(image, t->size);
    image_fuzz_bytes(t->format, image, t->size);
}
