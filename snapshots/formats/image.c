// SPDX-License-Identifier: GPL-2.0-or-later
// See image.h. Opens an image and its backing images, moves bytes, keeps readers and changers of a
// map apart: whoever only follows the map holds Image.lock for reading while it moves the bytes.
#include "snapshots/formats/image-private.h"

#include "engine/base/checked.h"

#include <errno.h>
#include <gio/gio.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define HEAD_SIZE    4096
#define MESSAGES_MAX 20

static const ImageOps *const formats[] = { &image_raw_ops, &image_qcow2_ops, &image_vmdk_ops,
                                           &image_vdi_ops, &image_vhd_ops,   &image_vhdx_ops };

// Names' endings. What is not here is raw.
static const struct {
    const char *ending, *format;
} endings[] = {
    { "-flat.vmdk", "raw" }, { ".vmdk", "vmdk" }, { ".qcow2", "qcow2" }, { ".qcow", "qcow2" },
    { ".vdi", "vdi" },       { ".vhd", "vhd" },   { ".vpc", "vhd" },     { ".vhdx", "vhdx" },
};

static const ImageOps *format_named(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (g_str_equal(formats[i]->name, name))
            return formats[i];
    }
    return NULL;
}

bool image_format_known(const char *format)
{
    return format_named(format) != NULL;
}

const char *image_format_of_name(const char *path)
{
    g_autofree char *lower = g_ascii_strdown(path, -1);
    for (size_t i = 0; i < G_N_ELEMENTS(endings); i++) {
        if (g_str_has_suffix(lower, endings[i].ending))
            return endings[i].format;
    }
    return "raw";
}

const char *image_probe(const uint8_t *head, size_t size, const char *path)
{
    const ImageOps *best = &image_raw_ops;
    int best_score = 0;
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        int score = formats[i]->probe(head, size, path);
        if (score > best_score) {
            best_score = score;
            best = formats[i];
        }
    }
    return best->name;
}

void image_error(const Image *image, GIOErrorEnum code, GError **error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_set_error(error, G_IO_ERROR, code, "image '%s' %s", image->path, text);
}

void image_error_errno(const Image *image, int code, const char *doing, GError **error)
{
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-code), "image '%s' cannot be %s: %s",
                image->path, doing, g_strerror(-code));
}

int image_trouble(Image *image, const char *format, ...)
{
    if (g_atomic_int_exchange(&image->troubled, 1))
        return -EIO;
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_warning("image '%s' is damaged: %s; run lodgectl disk check on it", image->path, text);
    return -EIO;
}

static void free_image(Image *image)
{
    if (!image)
        return;
    if (image->ops->close)
        image->ops->close(image);
    free_image(image->backing);
    g_ptr_array_unref(image->files);
    image_file_free(image->file);
    g_rw_lock_clear(&image->lock);
    g_mutex_clear(&image->unpack_mutex);
    g_free(image->unpacked);
    g_free(image->backing_name);
    g_free(image->path);
    g_free(image);
}

// Takes the file over, on failure too.
static Image *open_on_file(ImageFile *file, ImageScope *scope, const ImageOpen *options,
                           GError **error)
{
    uint8_t head[HEAD_SIZE];
    size_t size = (size_t)MIN(sizeof head, image_file_size(file));
    int result = image_file_read(file, 0, head, size);
    if (result < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "image '%s' cannot be read: %s", file->path, g_strerror(-result));
        image_file_free(file);
        return NULL;
    }
    const char *format = options->format;
    if (!format)
        format = options->read_only ? image_probe(head, size, file->path) : "raw";
    const ImageOps *ops = format_named(format);
    if (!ops) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "image format '%s' is unknown: use raw, qcow2, vmdk, vdi, vhd or vhdx", format);
        image_file_free(file);
        return NULL;
    }
    Image *image = g_new0(Image, 1);
    g_rw_lock_init(&image->lock);
    g_mutex_init(&image->unpack_mutex);
    image->ops = ops;
    image->path = g_strdup(file->path);
    image->read_only = options->read_only;
    image->for_check = options->for_check;
    image->file = file;
    image->files = g_ptr_array_new_with_free_func((GDestroyNotify)image_file_free);
    image->unpacked_at = UINT64_MAX;
    if (!ops->open(image, scope, options, error)) {
        free_image(image);
        return NULL;
    }
    if (!image->read_only && !ops->write && ops != &image_raw_ops) {
        image_error(image, G_IO_ERROR_READ_ONLY, error,
                    "is %s, which can only be read: attach it read-only, or convert it with "
                    "'lodgectl disk convert'",
                    ops->name);
        free_image(image);
        return NULL;
    }
    return image;
}

bool image_open_backing(Image *image, ImageScope *scope, const char *name, const char *format,
                        GError **error)
{
    if (!image_scope_descend(scope)) {
        image_error(image, G_IO_ERROR_INVALID_DATA, error,
                    "is the %dth of a chain of backing files, which is too long: convert the first "
                    "into one without",
                    IMAGE_DEPTH_MAX);
        return false;
    }
    ImageFile *file =
        image_file_open_related(scope, image->file, name, "backing file", true, true, error);
    if (!file)
        return false;
    ImageOpen options = { .path = file->path, .fd = -1, .read_only = true, .format = format };
    image->backing = open_on_file(file, scope, &options, error);
    return image->backing != NULL;
}

// Whether a descriptor is of the file that the path names, so that its folder is that path's.
static bool is_at(int fd, const char *path)
{
    struct stat by_fd, by_path;
    return path && fstat(fd, &by_fd) == 0 && stat(path, &by_path) == 0 &&
           by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

Image *image_open(const ImageOpen *options, GError **error)
{
    g_autofree char *fd_path = NULL;
    ImageOpen top = *options;
    if (!top.path)
        top.path = fd_path = g_strdup_printf("descriptor %d", options->fd);
    bool has_folder = options->fd < 0 || is_at(options->fd, options->path);
    ImageScope *scope = image_scope_new(has_folder ? options->path : NULL);
    ImageFile *file = image_file_open(scope, top.path, top.fd, top.read_only, error);
    Image *image = file ? open_on_file(file, scope, &top, error) : NULL;
    image_scope_free(scope);
    return image;
}

int image_close(Image *image)
{
    if (!image)
        return 0;
    int result = image->read_only || !image->touched ? 0 : image_flush(image);
    free_image(image);
    return result;
}

uint64_t image_size(const Image *image)
{
    return image->size;
}

bool image_read_only(const Image *image)
{
    return image->read_only;
}

const char *image_path(const Image *image)
{
    return image->path;
}

const char *image_format(const Image *image)
{
    return image->ops->name;
}

Image *image_backing(const Image *image)
{
    return image->backing;
}

void image_forget_unpacked(Image *image, uint64_t unit)
{
    g_mutex_lock(&image->unpack_mutex);
    if (image->unpacked_at == unit)
        image->unpacked_at = UINT64_MAX;
    g_mutex_unlock(&image->unpack_mutex);
}

// A part of a compressed unit; neighbours are read from the same unpacking.
static int read_packed(Image *image, const ImageMapping *mapping, uint64_t offset, uint8_t *bytes,
                       size_t size)
{
    int result = 0;
    g_mutex_lock(&image->unpack_mutex);
    if (!image->unpacked)
        image->unpacked = g_malloc(image->unit_size);
    if (image->unpacked_at != mapping->unit) {
        image->unpacked_at = UINT64_MAX;
        result = image->ops->unpack(image, mapping, image->unpacked);
        if (result == 0)
            image->unpacked_at = mapping->unit;
    }
    if (result == 0)
        memcpy(bytes, image->unpacked + (offset - mapping->unit), size);
    g_mutex_unlock(&image->unpack_mutex);
    return result;
}

static int read_backing(Image *image, uint64_t offset, uint8_t *bytes, size_t size)
{
    uint64_t end = image->backing ? image->backing->size : 0;
    size_t there = offset < end ? (size_t)MIN(size, end - offset) : 0;
    memset(bytes + there, 0, size - there);
    return there ? image_read(image->backing, offset, bytes, there) : 0;
}

int image_read_locked(Image *image, uint64_t offset, void *buffer, size_t size)
{
    uint8_t *bytes = buffer;
    while (size) {
        ImageMapping mapping = { .kind = MAP_ZERO };
        int result = image->ops->map(image, offset, size, &mapping);
        if (result < 0)
            return result;
        size_t count = (size_t)mapping.length;
        switch (mapping.kind) {
        case MAP_ZERO:
            memset(bytes, 0, count);
            break;
        case MAP_DATA:
            result = image_file_read(mapping.file, mapping.position, bytes, count);
            break;
        case MAP_PACKED:
            result = read_packed(image, &mapping, offset, bytes, count);
            break;
        case MAP_BACKING:
            result = read_backing(image, offset, bytes, count);
            break;
        }
        if (result < 0)
            return result;
        bytes += count;
        offset += count;
        size -= count;
    }
    return 0;
}

int image_read(Image *image, uint64_t offset, void *buffer, size_t size)
{
    if (!range_within(offset, size, image->size))
        return -EINVAL;
    g_rw_lock_reader_lock(&image->lock);
    int result = image_read_locked(image, offset, buffer, size);
    g_rw_lock_reader_unlock(&image->lock);
    return result;
}

// With the lock held for writing.
static int touch(Image *image)
{
    if (image->touched)
        return 0;
    int result = image->ops->touch ? image->ops->touch(image) : 0;
    if (result == 0)
        g_atomic_int_set(&image->touched, 1);
    return result;
}

// What can be overwritten where it is. ret_done: 0 where the map must change first.
static int write_in_place(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                          size_t *ret_done)
{
    ImageMapping mapping = { .kind = MAP_ZERO };
    int result = 0;
    *ret_done = 0;
    g_rw_lock_reader_lock(&image->lock);
    if (g_atomic_int_get(&image->touched))
        result = image->ops->map(image, offset, size, &mapping);
    if (result == 0 && mapping.kind == MAP_DATA && mapping.in_place) {
        result = image_file_write(mapping.file, mapping.position, bytes, (size_t)mapping.length);
        *ret_done = (size_t)mapping.length;
    }
    g_rw_lock_reader_unlock(&image->lock);
    return result;
}

static int write_by_driver(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                           size_t *ret_done)
{
    g_rw_lock_writer_lock(&image->lock);
    // The first writer of all comes here for what can be written in place, too.
    ImageMapping mapping = { .kind = MAP_ZERO };
    int result = touch(image);
    if (result == 0)
        result = image->ops->map(image, offset, size, &mapping);
    if (result == 0 && mapping.kind == MAP_DATA && mapping.in_place) {
        result = image_file_write(mapping.file, mapping.position, bytes, (size_t)mapping.length);
        *ret_done = (size_t)mapping.length;
    } else if (result == 0) {
        result =
            image->ops->write ? image->ops->write(image, offset, bytes, size, ret_done) : -EROFS;
    }
    g_rw_lock_writer_unlock(&image->lock);
    return result;
}

int image_write(Image *image, uint64_t offset, const void *buffer, size_t size)
{
    const uint8_t *bytes = buffer;
    if (image->read_only)
        return -EROFS;
    if (!range_within(offset, size, image->size))
        return -EINVAL;
    while (size) {
        size_t done;
        int result = write_in_place(image, offset, bytes, size, &done);
        if (result == 0 && done == 0)
            result = write_by_driver(image, offset, bytes, size, &done);
        if (result < 0)
            return result;
        bytes += done;
        offset += done;
        size -= done;
    }
    return 0;
}

int image_discard(Image *image, uint64_t offset, uint64_t length)
{
    if (image->read_only)
        return -EROFS;
    if (!range_within(offset, length, image->size))
        return -EINVAL;
    if (!image->ops->discard)
        return 0;
    g_rw_lock_writer_lock(&image->lock);
    int result = touch(image);
    if (result == 0)
        result = image->ops->discard(image, offset, length);
    g_rw_lock_writer_unlock(&image->lock);
    return result;
}

static int sync_files(Image *image)
{
    int result = image_file_sync(image->file);
    for (guint i = 0; i < image->files->len && result == 0; i++) {
        ImageFile *file = image->files->pdata[i];
        if (!file->read_only)
            result = image_file_sync(file);
    }
    return result;
}

int image_flush(Image *image)
{
    if (image->read_only)
        return 0;
    g_rw_lock_reader_lock(&image->lock);
    bool by_driver = image->ops->needs_flush && image->ops->needs_flush(image);
    int result = by_driver ? 0 : sync_files(image);
    g_rw_lock_reader_unlock(&image->lock);
    if (!by_driver)
        return result;
    g_rw_lock_writer_lock(&image->lock);
    result = sync_files(image);
    if (result == 0)
        result = image->ops->flush(image);
    g_rw_lock_writer_unlock(&image->lock);
    return result;
}

// One step: what map says, backing images looked through.
static int extent_step(Image *image, uint64_t offset, uint64_t length, ImageExtent *ret_extent)
{
    ImageMapping mapping = { .kind = MAP_ZERO };
    g_rw_lock_reader_lock(&image->lock);
    int result = image->ops->map(image, offset, length, &mapping);
    g_rw_lock_reader_unlock(&image->lock);
    if (result < 0)
        return result;
    bool there = mapping.kind == MAP_BACKING && image->backing && offset < image->backing->size;
    if (there)
        return extent_step(image->backing, offset,
                           MIN(mapping.length, image->backing->size - offset), ret_extent);
    ret_extent->length = mapping.length;
    ret_extent->data = mapping.kind == MAP_DATA || mapping.kind == MAP_PACKED;
    return 0;
}

int image_extent(Image *image, uint64_t offset, uint64_t length, ImageExtent *ret_extent)
{
    if (length == 0 || !range_within(offset, length, image->size))
        return -EINVAL;
    ImageExtent all = { 0 };
    while (all.length < length) {
        ImageExtent next;
        int result = extent_step(image, offset + all.length, length - all.length, &next);
        if (result < 0)
            return result;
        if (all.length && next.data != all.data)
            break;
        all.data = next.data;
        all.length += next.length;
    }
    *ret_extent = all;
    return 0;
}

bool image_resize(Image *image, uint64_t size, GError **error)
{
    g_autofree char *now = g_strdup_printf("%" G_GUINT64_FORMAT, image->size);
    if (size == 0 || size % 512 || size > (UINT64_C(1) << 60)) {
        image_error(image, G_IO_ERROR_INVALID_ARGUMENT, error,
                    "cannot be made %" G_GUINT64_FORMAT " bytes large: use a multiple of 512, at "
                    "most 1 EiB",
                    size);
        return false;
    }
    if (size < image->size) {
        image_error(image, G_IO_ERROR_INVALID_ARGUMENT, error,
                    "has %s bytes and cannot be made smaller: that would cut off what is at its "
                    "end",
                    now);
        return false;
    }
    if (size == image->size)
        return true;
    if (!image->ops->resize) {
        image_error(image, G_IO_ERROR_NOT_SUPPORTED, error,
                    "is %s, which cannot be resized here: convert it to qcow2 first",
                    image->ops->name);
        return false;
    }
    g_rw_lock_writer_lock(&image->lock);
    int result = touch(image);
    bool done = result == 0 && image->ops->resize(image, size, error);
    g_rw_lock_writer_unlock(&image->lock);
    if (result < 0)
        image_error_errno(image, result, "resized", error);
    if (!done)
        return false;
    result = image_flush(image);
    if (result < 0)
        image_error_errno(image, result, "written", error);
    return result == 0;
}

static void add_message(ImageCheck *check, const char *format, va_list arguments)
{
    if (check->messages->len < MESSAGES_MAX)
        g_ptr_array_add(check->messages, g_strdup_vprintf(format, arguments));
}

void image_check_error(ImageCheck *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add_message(check, format, arguments);
    va_end(arguments);
    check->errors++;
}

void image_check_leak(ImageCheck *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (check->leaks < 5)
        add_message(check, format, arguments);
    va_end(arguments);
    check->leaks++;
}

// Without a check of the format's own: every part of the map must lead somewhere.
static bool check_map(Image *image, ImageCheck *check, GError **error)
{
    for (uint64_t offset = 0; offset < image->size;) {
        ImageMapping mapping = { .kind = MAP_ZERO };
        int result = image->ops->map(image, offset, image->size - offset, &mapping);
        if (result == -EIO) {
            image_check_error(check, "the bytes at %" G_GUINT64_FORMAT " lead nowhere", offset);
            mapping.length = MIN(image->size - offset, UINT64_C(65536));
        } else if (result < 0) {
            image_error_errno(image, result, "read", error);
            return false;
        } else if (mapping.kind == MAP_DATA || mapping.kind == MAP_PACKED) {
            check->allocated += mapping.length;
        }
        offset += mapping.length;
        if (check->errors > 1000)
            break;
    }
    return true;
}

bool image_check(Image *image, bool repair, ImageCheck *ret_check, GError **error)
{
    ImageCheck check = { .messages = g_ptr_array_new_with_free_func(g_free) };
    g_atomic_int_set(&image->troubled, 1); // the report says it all
    g_rw_lock_writer_lock(&image->lock);
    bool done = image->ops->check ? image->ops->check(image, repair, &check, error)
                                  : check_map(image, &check, error);
    g_rw_lock_writer_unlock(&image->lock);
    if (done)
        *ret_check = check;
    else
        image_check_clear(&check);
    return done;
}

void image_check_clear(ImageCheck *check)
{
    g_clear_pointer(&check->messages, g_ptr_array_unref);
}

void image_info_feature(ImageInfo *info, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (info->features->len)
        g_string_append(info->features, ", ");
    g_string_append_vprintf(info->features, format, arguments);
    va_end(arguments);
}

void image_info(Image *image, ImageInfo *ret_info)
{
    *ret_info = (ImageInfo){
        .format = image->ops->name,
        .features = g_string_new(NULL),
        .backing_name = g_strdup(image->backing_name),
        .writable = image->ops->write != NULL || image->ops == &image_raw_ops,
    };
    if (image->ops->info)
        image->ops->info(image, ret_info);
}

void image_info_clear(ImageInfo *info)
{
    g_string_free(info->features, TRUE);
    g_free(info->backing_name);
}
