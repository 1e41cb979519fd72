// SPDX-License-Identifier: GPL-2.0-or-later
// A file: the head page; at 1 MiB RAM, then video memory, both sparse, page by page as in the
// guest; then the state form; then numbers of hot pages, u32 each.
// Head: "LODGESUS", u32 version, u32 hot pages, u64 generation, u64 offset and u64 size each of
// RAM, video memory and form, u64 offset of the hot pages, and at byte 992 SHA-256 of what is
// before. All little-endian. Of two files with a head the one with the higher generation counts.
#include "engine/suspend-file.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/config/vm-folder.h"
#include "engine/hot-pages.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PAGE = 4096,
    FORMAT_VERSION = 1,
    DIGEST_AT = 992,
    HEAD_SIZE = DIGEST_AT + STATE_DIGEST_SIZE,
    MEMORY_AT = 1 << 20,
    HOT_MAX = 1 << 20,
    LOCK_TRIES = 100,
    LOCK_INTERVAL_US = 20 * 1000,
};

typedef struct {
    uint64_t offset, size; // bytes
} Span;

typedef struct {
    uint64_t generation;
    Span memory[MACHINE_MEMORY_BLOCKS];
    Span form;
    uint64_t hot_offset;
    uint32_t hot_count;
} Head;

struct SuspendFile {
    int fd[VM_STATE_FILES];
    char *path[VM_STATE_FILES];
    int present; // index of the file that holds the state; -1: none
    int next;    // index of the file for the next one
    Head head;   // of present
    Head writing;
    HotPages *hot;
    MachineStateSource source;
    MachineStateSink sink;
};

// ---- The head ----

static void encode_head(const Head *head, uint8_t page[PAGE])
{
    memset(page, 0, PAGE);
    memcpy(page, VM_STATE_MAGIC, 8);
    le32_write(page + 8, FORMAT_VERSION);
    le32_write(page + 12, head->hot_count);
    le64_write(page + 16, head->generation);
    const Span spans[] = { head->memory[MACHINE_MEMORY_RAM], head->memory[MACHINE_MEMORY_VIDEO],
                           head->form };
    for (unsigned i = 0; i < G_N_ELEMENTS(spans); i++) {
        le64_write(page + 24 + 16 * i, spans[i].offset);
        le64_write(page + 32 + 16 * i, spans[i].size);
    }
    le64_write(page + 72, head->hot_offset);
    state_digest(page, DIGEST_AT, page + DIGEST_AT);
}

static bool refuse(const char *path, GError **error, const char *what)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the suspended state in %s %s; discard it, and the machine starts anew", path,
                what);
    return false;
}

// Whether all of it lies in the file, where it may lie. A mapping beyond the end would be death.
static bool spans_fit(const Head *head, uint64_t file_size)
{
    const Span spans[] = { head->memory[MACHINE_MEMORY_RAM], head->memory[MACHINE_MEMORY_VIDEO],
                           head->form, { head->hot_offset, (uint64_t)head->hot_count * 4 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(spans); i++) {
        if (spans[i].offset < PAGE || !range_within(spans[i].offset, spans[i].size, file_size))
            return false;
    }
    for (unsigned i = 0; i < MACHINE_MEMORY_BLOCKS; i++) {
        if (spans[i].offset % PAGE || spans[i].size % PAGE)
            return false;
    }
    return head->form.size <= STATE_FORM_SIZE_MAX && head->hot_count <= HOT_MAX;
}

// 1: a state, 0: none, -1: error.
static int decode_head(const uint8_t page[PAGE], uint64_t file_size, const char *path,
                       Head *ret_head, GError **error)
{
    if (memcmp(page, VM_STATE_MAGIC, 8) != 0)
        return 0;
    uint8_t digest[STATE_DIGEST_SIZE];
    state_digest(page, DIGEST_AT, digest);
    if (le32_read(page + 8) != FORMAT_VERSION) {
        refuse(path, error, "is of another version of Lodge");
        return -1;
    }
    if (memcmp(digest, page + DIGEST_AT, STATE_DIGEST_SIZE) != 0) {
        refuse(path, error, "is damaged: the checksum of its head is wrong");
        return -1;
    }
    Head head = { .hot_count = le32_read(page + 12), .generation = le64_read(page + 16),
                  .hot_offset = le64_read(page + 72) };
    Span *spans[] = { &head.memory[MACHINE_MEMORY_RAM], &head.memory[MACHINE_MEMORY_VIDEO],
                      &head.form };
    for (unsigned i = 0; i < G_N_ELEMENTS(spans); i++)
        *spans[i] = (Span){ le64_read(page + 24 + 16 * i), le64_read(page + 32 + 16 * i) };
    if (!spans_fit(&head, file_size)) {
        refuse(path, error, "is cut off");
        return -1;
    }
    *ret_head = head;
    return 1;
}

// ---- Reading ----

static bool read_all(int fd, void *buffer, size_t size, uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(fd, (uint8_t *)buffer + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? EIO : errno;
            return false;
        }
        done += (size_t)n;
    }
    return true;
}

static bool system_problem(const char *path, const char *what, GError **error)
{
    int code = errno;
    g_set_error(error, G_IO_ERROR, g_io_error_from_errno(code), "%s cannot be %s: %s", path, what,
                g_strerror(code));
    return false;
}

static GBytes *source_form(void *opaque, GError **error)
{
    SuspendFile *file = opaque;
    g_autofree uint8_t *data = g_malloc(MAX(file->head.form.size, 1));
    if (!read_all(file->fd[file->present], data, file->head.form.size, file->head.form.offset)) {
        system_problem(file->path[file->present], "read", error);
        return NULL;
    }
    return g_bytes_new_take(g_steal_pointer(&data), file->head.form.size);
}

static uint64_t source_memory_size(void *opaque, MachineMemoryBlock block)
{
    return ((SuspendFile *)opaque)->head.memory[block].size;
}

static bool source_memory(void *opaque, MachineMemoryBlock block, uint8_t *host, uint64_t size,
                          bool replace, GError **error)
{
    SuspendFile *file = opaque;
    const Span *span = &file->head.memory[block];
    int fd = file->fd[file->present];
    g_return_val_if_fail(size == span->size, false);
    if (replace)
        return mmap(host, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
                    (off_t)span->offset) != MAP_FAILED ||
               system_problem(file->path[file->present], "mapped", error);
    return read_all(fd, host, size, span->offset) ||
           system_problem(file->path[file->present], "read", error);
}

static void source_filled(void *opaque, const uint8_t *ram)
{
    SuspendFile *file = opaque;
    size_t size = (size_t)file->head.hot_count * 4;
    if (!size || file->hot)
        return;
    g_autofree uint8_t *list = g_malloc(size);
    if (!read_all(file->fd[file->present], list, size, file->head.hot_offset))
        return;
    g_autoptr(GBytes) bytes = g_bytes_new_take(g_steal_pointer(&list), size);
    file->hot = hot_pages_start(ram, file->head.memory[MACHINE_MEMORY_RAM].size / PAGE, bytes);
}

static bool source_consume(void *opaque, GError **error)
{
    static const uint8_t nothing[PAGE];
    SuspendFile *file = opaque;
    int fd = file->fd[file->present];
    if (pwrite(fd, nothing, PAGE, 0) == PAGE && fdatasync(fd) == 0)
        return true;
    system_problem(file->path[file->present], "marked as used", error);
    g_prefix_error(error, "the machine does not go on, so that its state is not used twice: ");
    return false;
}

// ---- Writing ----

static bool write_at(SuspendFile *file, uint64_t offset, const void *data, size_t size,
                     GError **error)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pwrite(file->fd[file->next], (const uint8_t *)data + done, size - done,
                           (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == ENOSPC) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                        "there is no room for the machine's state in %s; make room and try again",
                        file->path[file->next]);
            return false;
        }
        if (n < 0)
            return system_problem(file->path[file->next], "written", error);
        done += (size_t)n;
    }
    return true;
}

static bool sink_begin(void *opaque, const uint64_t sizes[MACHINE_MEMORY_BLOCKS], GError **error)
{
    SuspendFile *file = opaque;
    uint64_t at = MEMORY_AT;
    file->writing = (Head){ .generation = file->head.generation + 1 };
    for (unsigned block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        file->writing.memory[block] = (Span){ at, sizes[block] };
        at += sizes[block];
    }
    file->writing.form.offset = at;
    int fd = file->fd[file->next];
    return (ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)at) == 0) ||
           system_problem(file->path[file->next], "made as long as the machine's memory", error);
}

static bool sink_pages(void *opaque, MachineMemoryBlock block, uint64_t offset, const void *data,
                       size_t size, GError **error)
{
    SuspendFile *file = opaque;
    uint64_t at = file->writing.memory[block].offset + offset;
    if (data)
        return write_at(file, at, data, size, error);
    if (fallocate(file->fd[file->next], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
                  (off_t)size) == 0)
        return true;
    g_autofree void *zeros = g_malloc0(size);
    return write_at(file, at, zeros, size, error);
}

static bool sink_commit(void *opaque, GBytes *form, const uint32_t *hot, size_t hot_count,
                        GError **error)
{
    SuspendFile *file = opaque;
    Head *head = &file->writing;
    gsize size;
    const void *data = g_bytes_get_data(form, &size);
    head->form.size = size;
    head->hot_offset = head->form.offset + size;
    head->hot_count = (uint32_t)MIN(hot_count, HOT_MAX);
    g_autofree uint32_t *numbers = g_new(uint32_t, MAX(hot_count, 1));
    for (uint32_t i = 0; i < head->hot_count; i++)
        le32_write(&numbers[i], hot[i]);
    uint8_t page[PAGE];
    encode_head(head, page);
    int fd = file->fd[file->next];
    if (!write_at(file, head->form.offset, data, size, error) ||
        !write_at(file, head->hot_offset, numbers, (size_t)head->hot_count * 4, error))
        return false;
    // Everything is safe before the page that makes it count.
    if (fdatasync(fd) < 0)
        return system_problem(file->path[file->next], "written", error);
    return write_at(file, 0, page, PAGE, error) &&
           (fdatasync(fd) == 0 || system_problem(file->path[file->next], "written", error));
}

static void sink_discard(void *opaque)
{
    SuspendFile *file = opaque;
    if (ftruncate(file->fd[file->next], 0) < 0)
        g_warning("%s: what is left of a state that failed takes room: %s",
                  file->path[file->next], g_strerror(errno));
}

// ---- Life ----

// Opens and locks. The caretaker of an engine that has just ended may hold the file for a moment
// and then remove it: it is opened anew then.
static int open_locked(const char *path, GError **error)
{
    for (unsigned tries = 0; tries < LOCK_TRIES; tries++) {
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0) {
            system_problem(path, "opened", error);
            return -1;
        }
        struct stat about;
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        bool locked = fcntl(fd, F_OFD_SETLK, &lock) == 0;
        if (locked && fstat(fd, &about) == 0 && about.st_nlink > 0)
            return fd;
        close(fd);
        if (!locked)
            g_usleep(LOCK_INTERVAL_US);
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_BUSY,
                "%s is in use by another engine; stop that one first", path);
    return -1;
}

static bool open_one(SuspendFile *file, const char *folder, int index, GError **error)
{
    char *path = file->path[index] = vm_folder_state_path(folder, index);
    file->fd[index] = open_locked(path, error);
    if (file->fd[index] < 0)
        return false;
    struct stat about;
    uint8_t page[PAGE] = { 0 };
    if (fstat(file->fd[index], &about) < 0)
        return system_problem(path, "examined", error);
    if (!S_ISREG(about.st_mode))
        return refuse(path, error, "is no file");
    if (about.st_size < PAGE)
        return true;
    if (!read_all(file->fd[index], page, PAGE, 0))
        return system_problem(path, "read", error);
    Head head;
    int found = decode_head(page, (uint64_t)about.st_size, path, &head, error);
    if (found > 0 && (file->present < 0 || head.generation > file->head.generation)) {
        file->present = index;
        file->head = head;
    }
    return found >= 0;
}

SuspendFile *suspend_file_open(const char *folder, GError **error)
{
    g_autoptr(SuspendFile) file = g_new0(SuspendFile, 1);
    for (int i = 0; i < VM_STATE_FILES; i++)
        file->fd[i] = -1;
    file->present = -1;
    g_autofree char *state = g_build_filename(folder, VM_STATE_FOLDER, NULL);
    if (g_mkdir_with_parents(state, 0700) < 0) {
        system_problem(state, "made", error);
        return NULL;
    }
    for (int i = 0; i < VM_STATE_FILES; i++) {
        if (!open_one(file, folder, i, error))
            return NULL;
    }
    file->next = file->present == 0 ? 1 : 0;
    file->source = (MachineStateSource){ source_form, source_memory_size, source_memory,
                                         source_filled, source_consume, file };
    file->sink = (MachineStateSink){ .begin = sink_begin, .pages = sink_pages,
                                     .commit = sink_commit, .discard = sink_discard,
                                     .opaque = file };
    return g_steal_pointer(&file);
}

void suspend_file_close(SuspendFile *file)
{
    if (!file)
        return;
    hot_pages_stop(file->hot);
    for (int i = 0; i < VM_STATE_FILES; i++) {
        if (file->fd[i] >= 0)
            close(file->fd[i]);
        g_free(file->path[i]);
    }
    g_free(file);
}

const MachineStateSource *suspend_file_source(SuspendFile *file)
{
    return file->present >= 0 ? &file->source : NULL;
}

const MachineStateSink *suspend_file_sink(SuspendFile *file)
{
    return &file->sink;
}

void suspend_file_tidy(const char *folder)
{
    for (int i = 0; i < VM_STATE_FILES; i++) {
        g_autofree char *path = vm_folder_state_path(folder, i);
        int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
        // Locked: the next engine has come already, and it is that one's.
        if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) == 0 && !vm_folder_state_counts(path))
            g_unlink(path);
        if (fd >= 0)
            close(fd);
    }
    g_autofree char *state = g_build_filename(folder, VM_STATE_FOLDER, NULL);
    g_rmdir(state); // fails while a state is in it
}
