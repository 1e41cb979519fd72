// SPDX-License-Identifier: GPL-2.0-or-later
// The arena for generated host code. One thread uses an arena (its vCPU's), so there is no lock.
//
// Equal code is stored once: a hash of the bytes leads to a chain of entries, which lie in the
// writable view right before their code. x86 keeps instruction fetch coherent with stores through
// another mapping of the same page, as long as bytes that may have been fetched are not changed;
// appending never does, and reset is followed by a serializing instruction.

#include "engine/vcpu/bt/bt-code-memory.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u // Linux 6.3
#endif

enum { BUCKETS = 4096, ALIGNMENT = 16 };

// Before each piece of code in the arena.
typedef struct {
    uint32_t next;   // offset of the next entry of the bucket, 0: none
    uint32_t length; // of the code that follows
    uint64_t hash;
} Entry;

G_STATIC_ASSERT(sizeof(Entry) % ALIGNMENT == 0);

struct BtCodeMemory {
    uint8_t *writable;
    uint8_t *executable;
    size_t size, used;
    uint32_t bucket[BUCKETS];
};

static uint64_t hash_bytes(const uint8_t *bytes, size_t length) // FNV-1a
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    return hash;
}

BtCodeMemory *bt_code_memory_new(size_t size, GError **error)
{
    int fd = memfd_create("lodge-code", MFD_CLOEXEC | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("lodge-code", MFD_CLOEXEC);
    void *writable = MAP_FAILED, *executable = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0) {
        writable = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        executable = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    }
    int cause = errno;
    if (fd >= 0)
        close(fd);
    if (writable == MAP_FAILED || executable == MAP_FAILED) {
        if (writable != MAP_FAILED)
            munmap(writable, size);
        if (executable != MAP_FAILED)
            munmap(executable, size);
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(cause),
                    "Cannot get executable memory for the interpreter: %s", g_strerror(cause));
        return NULL;
    }
    BtCodeMemory *memory = g_new0(BtCodeMemory, 1);
    memory->writable = writable;
    memory->executable = executable;
    memory->size = size;
    memory->used = ALIGNMENT; // offset 0 means "none"
    return memory;
}

void bt_code_memory_free(BtCodeMemory *memory)
{
    if (!memory)
        return;
    munmap(memory->writable, memory->size);
    munmap(memory->executable, memory->size);
    g_free(memory);
}

void *bt_code_memory_add(BtCodeMemory *memory, const uint8_t *code, size_t length)
{
    uint64_t hash = hash_bytes(code, length);
    uint32_t *bucket = &memory->bucket[hash % BUCKETS];
    for (uint32_t at = *bucket; at;) {
        const Entry *e = (const Entry *)(memory->writable + at);
        if (e->hash == hash && e->length == length && memcmp(e + 1, code, length) == 0)
            return memory->executable + at + sizeof *e;
        at = e->next;
    }
    size_t need = (sizeof(Entry) + length + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (length > memory->size || need > memory->size - memory->used)
        return NULL;
    Entry *e = (Entry *)(memory->writable + memory->used);
    *e = (Entry){.next = *bucket, .length = (uint32_t)length, .hash = hash};
    memcpy(e + 1, code, length);
    *bucket = (uint32_t)memory->used;
    void *address = memory->executable + memory->used + sizeof *e;
    memory->used += need;
    return address;
}

BtCodeViews bt_code_memory_views(const BtCodeMemory *memory)
{
    return (BtCodeViews){memory->writable, memory->executable, memory->size};
}

void bt_code_memory_reset(BtCodeMemory *memory)
{
    unsigned a, b, c, d;
    memset(memory->bucket, 0, sizeof memory->bucket);
    memory->used = ALIGNMENT;
    // CPUID serializes: code fetched before is not run from a stale buffer. The caller's thread is
    // the one that runs the code.
    __cpuid(0, a, b, c, d);
}
