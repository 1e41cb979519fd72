// SPDX-License-Identifier: GPL-2.0-or-later
// The store's file on a real file system: metadata by pread and pwrite, data through the block
// layer's I/O engine. One writer holds an open-file-description lock over the whole file; readers
// hold none, since what they look at (protected nodes) does not change under a writer.
#include "snapshots/store/store-io.h"

#include "snapshots/block-io.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    BlockIo io;
    int fd;
} FileIo;

static int file_read(void *io, uint64_t offset, void *buffer, size_t size)
{
    FileIo *f = io;
    uint8_t *at = buffer;
    while (size) {
        ssize_t moved = pread(f->fd, at, size, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return -errno;
        if (moved == 0) {
            memset(at, 0, size);
            return 0;
        }
        at += moved;
        offset += (uint64_t)moved;
        size -= (size_t)moved;
    }
    return 0;
}

static int file_write(void *io, uint64_t offset, const void *buffer, size_t size)
{
    FileIo *f = io;
    const uint8_t *at = buffer;
    while (size) {
        ssize_t moved = pwrite(f->fd, at, size, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0) // limits of a file's length and of a user's share are lack of room, too
            return errno == EFBIG || errno == EDQUOT ? -ENOSPC : -errno;
        at += moved;
        offset += (uint64_t)moved;
        size -= (size_t)moved;
    }
    return 0;
}

static int file_sync(void *io)
{
    FileIo *f = io;
    return fdatasync(f->fd) < 0 ? -errno : 0;
}

static int file_punch(void *io, uint64_t offset, uint64_t length)
{
    FileIo *f = io;
    int result = fallocate(f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                           (off_t)length);
    return block_io_discard_result(result < 0 ? -errno : 0);
}

static int file_allocate(void *io, uint64_t offset, uint64_t length)
{
    FileIo *f = io;
    return fallocate(f->fd, 0, (off_t)offset, (off_t)length) < 0 ? -errno : 0;
}

static uint64_t file_size(void *io)
{
    FileIo *f = io;
    // Not fstat, which the C library does by a call that also takes paths: no sandbox allows that.
    off_t end = lseek(f->fd, 0, SEEK_END);
    return end < 0 ? 0 : (uint64_t)end;
}

static void file_submit(void *io, BlockRequest *request)
{
    FileIo *f = io;
    f->io.ops->submit(f->io.io, request);
}

static void file_post(void *io, BlockRequest *request, int result)
{
    FileIo *f = io;
    f->io.ops->post(f->io.io, request, result);
}

static int file_descriptor(void *io)
{
    return ((FileIo *)io)->fd;
}

static void file_close(void *io)
{
    FileIo *f = io;
    block_io_close(&f->io);
    close(f->fd);
    g_free(f);
}

static const StoreIoOps file_ops = {
    .read = file_read,
    .write = file_write,
    .sync = file_sync,
    .punch = file_punch,
    .allocate = file_allocate,
    .size = file_size,
    .submit = file_submit,
    .post = file_post,
    .descriptor = file_descriptor,
    .close = file_close,
};

static bool set_error(const char *path, int code, GError **error)
{
    const char *reason = g_strerror(code);
    if (code == ENOENT)
        reason = "it does not exist; create it, or check the path";
    else if (code == EACCES || code == EPERM)
        reason = "its permissions forbid it; change them";
    else if (code == EROFS)
        reason = "its file system is read-only; copy the machine elsewhere";
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code),
                "snapshot store '%s' cannot be opened: %s", path, reason);
    return false;
}

static bool prepare(int fd, const char *path, bool read_only, GError **error)
{
    struct stat st;
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fstat(fd, &st) < 0)
        return set_error(path, errno, error);
    if (!S_ISREG(st.st_mode)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_REGULAR_FILE,
                    "snapshot store '%s' is not a file: give the file in the machine's folder",
                    path);
        return false;
    }
    if (read_only || fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return true;
    if (errno != EAGAIN && errno != EACCES)
        return set_error(path, errno, error);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "snapshot store '%s' is in use by another engine: stop that machine first", path);
    return false;
}

bool store_io_open_file(StoreIo *io, const char *path, bool read_only, BlockIoKind kind,
                        GError **error)
{
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return set_error(path, errno, error);
    FileIo *f = g_new0(FileIo, 1);
    f->fd = fd;
    if (!prepare(fd, path, read_only, error) || !block_io_open(&f->io, fd, kind, error)) {
        close(fd);
        g_free(f);
        return false;
    }
    *io = (StoreIo){ .ops = &file_ops, .io = f, .threaded = true };
    return true;
}

int store_io_rename(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0)
        return -errno;
    g_autofree char *folder = g_path_get_dirname(to);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0; // a folder that cannot be read can still be written to
    int result = fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
    close(fd);
    return result;
}
