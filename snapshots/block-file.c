// SPDX-License-Identifier: GPL-2.0-or-later
// The file an image lives in: opening it with messages that a person can act on, and locking it.
// Locks are open-file-description locks (fcntl(2), F_OFD_SETLK): they follow the descriptor across
// processes and are gone when its last holder is.
#include "snapshots/block-private.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// Above this no file system of today holds a file; also keeps sums of offsets within int64_t.
#define LARGEST_IMAGE (UINT64_C(1) << 60)

// Offsets of QEMU's lock bytes: 100 + right for a right in use, 200 + right for one not granted to
// others (docs/devel of QEMU, "image locking"); right 0 is reading, 1 is writing.
#define QEMU_READS     100
#define QEMU_WRITES    101
#define QEMU_NO_WRITER 201

static void set_open_error(const BlockOpen *options, int code, GError **error)
{
    const char *path = options->path;
    const char *reason = NULL;
    switch (code) {
    case ENOENT:
    case ENOTDIR:
        reason = "does not exist: check the path, or create the image first";
        break;
    case EACCES:
    case EPERM:
        reason = options->read_only
                     ? "cannot be read by you: change its permissions"
                     : "cannot be written by you: change its permissions or attach it read-only";
        break;
    case EROFS:
        reason = "is on a read-only file system: attach it read-only or copy it elsewhere";
        break;
    case EISDIR:
        reason = "is a directory: choose an image file in it";
        break;
    case ETXTBSY:
    case EBUSY:
        reason = "is in use by another program: close that first";
        break;
    default:
        break;
    }
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                reason ? "image '%s' %s" : "image '%s' cannot be opened: %s", path,
                reason ? reason : g_strerror(code));
}

static bool check_kind(const BlockOpen *options, int fd, GError **error)
{
    struct stat st;
    if (fstat(fd, &st) < 0) {
        set_open_error(options, errno, error);
        return false;
    }
    if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
        return true;
    if (S_ISDIR(st.st_mode))
        set_open_error(options, EISDIR, error);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
                    "image '%s' is neither a file nor a disk: choose an image file", options->path);
    return false;
}

// One lock of `count` bytes, 0 for the whole file.
static int set_lock(int fd, int command, short type, off_t start, off_t count, short *ret_found)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = count };
    int result = fcntl(fd, command, &lock);
    *ret_found = lock.l_type;
    return result;
}

// A writer locks the whole file. A reader locks those two bytes by which QEMU knows somebody who
// reads and does not bear a writer, so that both may share an image; and looks for the byte that a
// QEMU which writes would hold.
static int take_lock(int fd, bool read_only)
{
    short found;
    if (!read_only)
        return set_lock(fd, F_OFD_SETLK, F_WRLCK, 0, 0, &found);
    if (set_lock(fd, F_OFD_SETLK, F_RDLCK, QEMU_READS, 1, &found) < 0 ||
        set_lock(fd, F_OFD_SETLK, F_RDLCK, QEMU_NO_WRITER, 1, &found) < 0 ||
        set_lock(fd, F_OFD_GETLK, F_WRLCK, QEMU_WRITES, 1, &found) < 0)
        return -1;
    if (found == F_UNLCK)
        return 0;
    errno = EAGAIN;
    return -1;
}

static bool lock_file(const BlockOpen *options, int fd, GError **error)
{
    if (take_lock(fd, options->read_only) == 0)
        return true;
    if (errno != EAGAIN && errno != EACCES) {
        g_message("image '%s' cannot be locked (%s): make sure that no other machine uses it",
                  options->path, g_strerror(errno));
        return true;
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "image '%s' is in use by another machine: stop that machine or copy the image%s",
                options->path,
                options->read_only ? "" : " (several machines may share it read-only)");
    return false;
}

static bool measure(const BlockOpen *options, int fd, uint64_t *ret_size, GError **error)
{
    off_t size = lseek(fd, 0, SEEK_END);
    if (size < 0) {
        set_open_error(options, errno, error);
        return false;
    }
    if (size == 0) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "image '%s' is empty: choose another, or create one with a size",
                    options->path);
        return false;
    }
    if ((uint64_t)size > LARGEST_IMAGE) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "image '%s' claims %" G_GINT64_MODIFIER "u bytes: more than 1 EiB is no disk",
                    options->path, (uint64_t)size);
        return false;
    }
    *ret_size = (uint64_t)size;
    return true;
}

int block_file_open(const BlockOpen *options, uint64_t *ret_size, GError **error)
{
    int fd = options->fd;
    if (fd < 0) {
        // O_NONBLOCK: opening a FIFO must not wait for its other end.
        fd = open(options->path,
                  (options->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0) {
            set_open_error(options, errno, error);
            return -1;
        }
    }
    if (!check_kind(options, fd, error) || !lock_file(options, fd, error) ||
        !measure(options, fd, ret_size, error)) {
        close(fd);
        return -1;
    }
    return fd;
}

// Whether a sparse file of this size leaves the file system room for its first metadata.
static bool has_room(const char *path, int fd, GError **error)
{
    struct statvfs fs;
    if (fstatvfs(fd, &fs) < 0 || (uint64_t)fs.f_bavail * fs.f_frsize >= 64 * 1024)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                "no room for image '%s': its file system is full, free some space", path);
    return false;
}

bool block_create_raw(const char *path, uint64_t size, GError **error)
{
    if (size == 0 || size % 512 || size > LARGEST_IMAGE) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "a disk of %" G_GINT64_MODIFIER "u bytes cannot be: use a multiple of 512, "
                    "at least 512 and at most 1 EiB", size);
        return false;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) {
        int code = errno;
        if (code == ENOENT)
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                        "image '%s' cannot be created: its folder does not exist", path);
        else if (code == EEXIST)
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_EXISTS,
                        "image '%s' exists already: choose another name", path);
        else
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                        "image '%s' cannot be created: %s", path, g_strerror(code));
        return false;
    }
    bool made = has_room(path, fd, error);
    if (made && ftruncate(fd, (off_t)size) < 0) {
        int code = errno;
        made = false;
        if (code == EFBIG || code == EINVAL)
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                        "image '%s' cannot be %" G_GINT64_MODIFIER "u bytes long: its file system "
                        "has a lower limit", path, size);
        else
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                        "image '%s' cannot be created: %s", path, g_strerror(code));
    }
    if (!made)
        unlink(path);
    close(fd);
    return made;
}
