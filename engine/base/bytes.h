// SPDX-License-Identifier: GPL-2.0-or-later
// Endian readers and writers for bytes that come from outside (images, guest memory, packets).
// The unchecked forms take a pointer that the caller has bounded; ByteReader bounds every access
// and remembers the first overrun, so that a parser may read a whole header and test once.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t le16_read(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t le32_read(const void *p)
{
    return le16_read(p) | (uint32_t)le16_read((const uint8_t *)p + 2) << 16;
}

static inline uint64_t le64_read(const void *p)
{
    return le32_read(p) | (uint64_t)le32_read((const uint8_t *)p + 4) << 32;
}

static inline uint16_t be16_read(const void *p)
{
    return __builtin_bswap16(le16_read(p));
}

static inline uint32_t be32_read(const void *p)
{
    return __builtin_bswap32(le32_read(p));
}

static inline uint64_t be64_read(const void *p)
{
    return __builtin_bswap64(le64_read(p));
}

static inline void le16_write(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void le32_write(void *p, uint32_t v)
{
    le16_write(p, (uint16_t)v);
    le16_write((uint8_t *)p + 2, (uint16_t)(v >> 16));
}

static inline void le64_write(void *p, uint64_t v)
{
    le32_write(p, (uint32_t)v);
    le32_write((uint8_t *)p + 4, (uint32_t)(v >> 32));
}

static inline void be16_write(void *p, uint16_t v)
{
    le16_write(p, __builtin_bswap16(v));
}

static inline void be32_write(void *p, uint32_t v)
{
    le32_write(p, __builtin_bswap32(v));
}

static inline void be64_write(void *p, uint64_t v)
{
    le64_write(p, __builtin_bswap64(v));
}

typedef struct {
    const uint8_t *data;
    size_t size;
    size_t position;
    bool overrun; // set by the first read past the end; reads then give 0
} ByteReader;

static inline ByteReader byte_reader(const void *data, size_t size)
{
    return (ByteReader){ .data = data, .size = size };
}

// The next `count` bytes, or NULL (and overrun set) where fewer are left.
static inline const uint8_t *byte_reader_take(ByteReader *r, size_t count)
{
    if (r->overrun || count > r->size - r->position) {
        r->overrun = true;
        return NULL;
    }
    const uint8_t *p = r->data + r->position;
    r->position += count;
    return p;
}

static inline uint8_t byte_reader_u8(ByteReader *r)
{
    const uint8_t *p = byte_reader_take(r, 1);
    return p ? *p : 0;
}

static inline uint16_t byte_reader_le16(ByteReader *r)
{
    const uint8_t *p = byte_reader_take(r, 2);
    return p ? le16_read(p) : 0;
}

static inline uint32_t byte_reader_le32(ByteReader *r)
{
    const uint8_t *p = byte_reader_take(r, 4);
    return p ? le32_read(p) : 0;
}

static inline uint64_t byte_reader_le64(ByteReader *r)
{
    const uint8_t *p = byte_reader_take(r, 8);
    return p ? le64_read(p) : 0;
}
