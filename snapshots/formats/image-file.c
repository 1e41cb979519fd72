// SPDX-License-Identifier: GPL-2.0-or-later
// See image-file.h. Resolution of names is the kernel's (openat2 with RESOLVE_BENEATH), so that no
// symbolic link that is put there meanwhile leads out of the folder.
#include "snapshots/formats/image-file.h"

#include "engine/base/checked.h"
#include "snapshots/block-private.h"
#include "snapshots/formats/image.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Files of one image and all that it stands on: 2 TiB in extents of 2 GB are 1,024.
#define FILES_MAX 4096

struct ImageScope {
    int folder;      // -1: none
    char *root;      // the folder's path
    GArray *members; // of Member
    unsigned depth;
};

typedef struct {
    dev_t device;
    ino_t inode;
} Member;

ImageScope *image_scope_new(const char *path)
{
    ImageScope *scope = g_new0(ImageScope, 1);
    scope->folder = -1;
    scope->members = g_array_new(FALSE, FALSE, sizeof(Member));
    if (path) {
        scope->root = g_path_get_dirname(path);
        scope->folder = open(scope->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    }
    return scope;
}

void image_scope_free(ImageScope *scope)
{
    if (!scope)
        return;
    if (scope->folder >= 0)
        close(scope->folder);
    g_array_unref(scope->members);
    g_free(scope->root);
    g_free(scope);
}

bool image_scope_descend(ImageScope *scope)
{
    return ++scope->depth < IMAGE_DEPTH_MAX;
}

static bool is_member(const ImageScope *scope, dev_t device, ino_t inode)
{
    for (guint i = 0; i < scope->members->len; i++) {
        const Member *member = &g_array_index(scope->members, Member, i);
        if (member->device == device && member->inode == inode)
            return true;
    }
    return false;
}

static ImageFile *adopt(ImageScope *scope, const char *path, int fd, bool read_only, GError **error)
{
    uint64_t size;
    BlockOpen open_options = { .path = path, .fd = fd, .read_only = read_only };
    fd = block_file_open(&open_options, &size, error);
    if (fd < 0)
        return NULL;
    struct stat st;
    ImageFile *file = g_new0(ImageFile, 1);
    file->fd = fd;
    file->path = g_strdup(path);
    file->read_only = read_only;
    file->size = size;
    if (fstat(fd, &st) == 0) {
        Member member = { st.st_dev, st.st_ino };
        file->device = st.st_dev;
        file->inode = st.st_ino;
        g_array_append_val(scope->members, member);
    }
    return file;
}

ImageFile *image_file_open(ImageScope *scope, const char *path, int fd, bool read_only,
                           GError **error)
{
    return adopt(scope, path, fd, read_only, error);
}

static bool has_component(const char *name, const char *component)
{
    g_auto(GStrv) parts = g_strsplit(name, "/", -1);
    return g_strv_contains((const gchar *const *)parts, component);
}

static bool check_name(const ImageScope *scope, const ImageFile *owner, const char *name,
                       const char *what, GError **error)
{
    const char *problem = NULL;
    if (!*name)
        problem = "an empty name";
    else if (!g_utf8_validate(name, -1, NULL))
        problem = "a name that is no text";
    else if (g_path_is_absolute(name) || has_component(name, "..") || strchr(name, ':'))
        problem = name;
    if (problem) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                    "image '%s' names %s as its %s, which is not in its own folder: move the files "
                    "together and name them without a path",
                    owner->path, problem, what);
        return false;
    }
    if (scope->folder < 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED,
                    "image '%s' has '%s' as its %s, which cannot be looked for: open the image by "
                    "its path",
                    owner->path, name, what);
        return false;
    }
    if (scope->members->len >= FILES_MAX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "image '%s' consists of more than %d files: it is damaged", owner->path,
                    FILES_MAX);
        return false;
    }
    return true;
}

// The name as seen from the scope's folder: owners in subfolders name their neighbours.
static char *name_in_scope(const ImageScope *scope, const ImageFile *owner, const char *name)
{
    g_autofree char *folder = g_path_get_dirname(owner->path);
    size_t length = strlen(scope->root);
    const char *below = g_str_has_prefix(folder, scope->root) ? folder + length : "";
    while (*below == '/')
        below++;
    return *below ? g_build_filename(below, name, NULL) : g_strdup(name);
}

static int open_beneath(const ImageScope *scope, const char *name, bool read_only)
{
    struct open_how how = {
        .flags = (uint64_t)((read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, scope->folder, name, &how, sizeof how);
    if (fd >= 0 || errno != ENOSYS)
        return fd;
    // Kernels and sandboxes without openat2: plain names of plain files only.
    if (strchr(name, '/')) {
        errno = EXDEV;
        return -1;
    }
    return openat(scope->folder, name, (int)how.flags | O_NOFOLLOW);
}

ImageFile *image_file_open_related(ImageScope *scope, const ImageFile *owner, const char *name,
                                   const char *what, bool read_only, bool new_only, GError **error)
{
    if (!check_name(scope, owner, name, what, error))
        return NULL;
    g_autofree char *inside = name_in_scope(scope, owner, name);
    int fd = open_beneath(scope, inside, read_only);
    if (fd < 0) {
        bool outside = errno == EXDEV || errno == ELOOP;
        g_set_error(error, G_IO_ERROR,
                    outside ? G_IO_ERROR_PERMISSION_DENIED : g_io_error_from_errno(errno),
                    outside ? "image '%s' has '%s' as its %s, which leads out of its own folder: "
                              "move the files together"
                            : "image '%s' needs '%s' as its %s, which cannot be opened: %s",
                    owner->path, name, what, g_strerror(errno));
        return NULL;
    }
    struct stat st;
    if (new_only && fstat(fd, &st) == 0 && is_member(scope, st.st_dev, st.st_ino)) {
        close(fd);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "image '%s' has '%s' as its %s, which stands on this image again: the chain is "
                    "a loop, name another %s",
                    owner->path, name, what, what);
        return NULL;
    }
    g_autofree char *path = g_build_filename(scope->root, inside, NULL);
    return adopt(scope, path, fd, read_only, error);
}

void image_file_free(ImageFile *file)
{
    if (!file)
        return;
    close(file->fd);
    g_free(file->path);
    g_free(file);
}

uint64_t image_file_size(const ImageFile *file)
{
    return __atomic_load_n(&file->size, __ATOMIC_RELAXED);
}

bool image_file_has(const ImageFile *file, uint64_t offset, uint64_t length)
{
    return range_within(offset, length, image_file_size(file));
}

int image_file_read(ImageFile *file, uint64_t offset, void *buffer, size_t size)
{
    uint8_t *bytes = buffer;
    for (size_t done = 0; done < size;) {
        if (offset + done > G_MAXINT64) {
            memset(bytes + done, 0, size - done);
            break;
        }
        ssize_t count = pread(file->fd, bytes + done, size - done, (off_t)(offset + done));
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (count < 0)
            return -errno;
        if (count == 0) {
            memset(bytes + done, 0, size - done);
            break;
        }
        done += (size_t)count;
    }
    if (file->patch)
        file->patch(file->patch_opaque, offset, buffer, size);
    return 0;
}

static void grow(ImageFile *file, uint64_t end)
{
    uint64_t size = image_file_size(file);
    while (size < end && !__atomic_compare_exchange_n(&file->size, &size, end, false,
                                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

int image_file_write(ImageFile *file, uint64_t offset, const void *buffer, size_t size)
{
    const uint8_t *bytes = buffer;
    for (size_t done = 0; done < size;) {
        ssize_t count = pwrite(file->fd, bytes + done, size - done, (off_t)(offset + done));
        if (count < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (count < 0)
            return -errno;
        done += (size_t)count;
    }
    grow(file, offset + size);
    return 0;
}

int image_file_sync(ImageFile *file)
{
    return fdatasync(file->fd) < 0 ? -errno : 0;
}

int image_file_truncate(ImageFile *file, uint64_t size)
{
    if (ftruncate(file->fd, (off_t)size) < 0)
        return -errno;
    __atomic_store_n(&file->size, size, __ATOMIC_RELAXED);
    return 0;
}

int image_file_punch(ImageFile *file, uint64_t offset, uint64_t length)
{
    int result = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                           (off_t)length);
    if (result == 0 || errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV)
        return 0;
    return -errno;
}
