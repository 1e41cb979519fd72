// SPDX-License-Identifier: GPL-2.0-or-later
// What a format's driver fills, and what it may ask of image.c. Stays in this folder.
//
// Locking: image.c calls map and unpack with Image.lock held for reading (several threads at once)
// and everything else with it held for writing or while nobody else has the image. Bytes that map
// reports are read, and where `in_place` overwritten, by image.c itself.
#pragma once

#include "snapshots/block.h"
#include "snapshots/formats/image-file.h"
#include "snapshots/formats/image.h"

#include <gio/gio.h>

typedef enum {
    MAP_ZERO,
    MAP_DATA,    // at file, position
    MAP_PACKED,  // compressed: unpack gives the whole unit around it
    MAP_BACKING, // whatever the backing image has there; zero without one
} ImageMapKind;

typedef struct {
    ImageMapKind kind;
    uint64_t length; // bytes from the offset asked for, at least 1
    ImageFile *file;
    uint64_t position;
    bool in_place;     // DATA: may be overwritten where it is
    uint64_t unit;     // PACKED: the image's offset where the unit begins
    uint64_t token[2]; // PACKED: the driver's own
} ImageMapping;

typedef struct ImageOps {
    const char *name;
    // How sure the first bytes are of this format: 0 no .. 100.
    int (*probe)(const uint8_t *head, size_t size, const char *path);
    // Image.file is open; sets Image.state, size and whatever else applies. On failure sets error;
    // close is called all the same, with what state there is.
    bool (*open)(Image *image, ImageScope *scope, const ImageOpen *options, GError **error);
    // At most `length`; may report less than there is of a kind.
    int (*map)(Image *image, uint64_t offset, uint64_t length, ImageMapping *ret_mapping);
    // The whole unit: Image.unit_size bytes. NULL where nothing is PACKED.
    int (*unpack)(Image *image, const ImageMapping *mapping, uint8_t *unit);
    // Writes some of the bytes, at least 1, where map says they cannot be overwritten in place.
    // ret_done: how many. NULL: the format is read-only.
    int (*write)(Image *image, uint64_t offset, const uint8_t *bytes, size_t size,
                 size_t *ret_done);
    int (*discard)(Image *image, uint64_t offset, uint64_t length); // NULL: a hint not taken
    int (*touch)(Image *image);        // before the first change of any kind, or NULL
    bool (*needs_flush)(Image *image); // metadata is held back; NULL: never
    int (*flush)(Image *image);        // data, then metadata, durable; NULL: data only
    bool (*resize)(Image *image, uint64_t size, GError **error);                 // or NULL
    bool (*check)(Image *image, bool repair, ImageCheck *check, GError **error); // or NULL
    void (*info)(Image *image, ImageInfo *info);                                 // or NULL
    void (*close)(Image *image); // frees state, which may be NULL or half built
} ImageOps;

struct Image {
    const ImageOps *ops;
    void *state;
    char *path;
    uint64_t size;
    bool read_only;
    bool for_check;
    ImageFile *file;
    GPtrArray *files; // further ones, freed after close
    Image *backing;
    char *backing_name;
    size_t unit_size; // of what unpack makes
    GRWLock lock;
    int touched;         // atomic
    int troubled;        // atomic: trouble was reported
    GMutex unpack_mutex; // guards what follows
    uint8_t *unpacked;
    uint64_t unpacked_at; // offset of the unit, UINT64_MAX: none
};

extern const ImageOps image_raw_ops, image_qcow2_ops, image_vmdk_ops, image_vdi_ops, image_vhd_ops,
    image_vhdx_ops;

// Sets error to "image 'PATH' ..." with the format's text after it.
void image_error(const Image *image, GIOErrorEnum code, GError **error, const char *format, ...)
    G_GNUC_PRINTF(4, 5);
void image_error_errno(const Image *image, int code, const char *doing, GError **error);

// Opens the backing image that this one names. format: NULL to look at it.
bool image_open_backing(Image *image, ImageScope *scope, const char *name, const char *format,
                        GError **error);

// Says once what is wrong with an image that turned out to be damaged while it runs. Returns -EIO.
int image_trouble(Image *image, const char *format, ...) G_GNUC_PRINTF(2, 3);

// Reads without taking the lock, for drivers that hold it.
int image_read_locked(Image *image, uint64_t offset, void *buffer, size_t size);
void image_forget_unpacked(Image *image, uint64_t unit);

// Adds a message, but not the hundredth; counts an error or a leak.
void image_check_error(ImageCheck *check, const char *format, ...) G_GNUC_PRINTF(2, 3);
void image_check_leak(ImageCheck *check, const char *format, ...) G_GNUC_PRINTF(2, 3);

// Adds words to ImageInfo.features.
void image_info_feature(ImageInfo *info, const char *format, ...) G_GNUC_PRINTF(2, 3);

// zlib with its header, raw deflate, zstd: `size` bytes must come out. 0 or -EIO.
typedef enum { PACK_ZLIB, PACK_DEFLATE, PACK_ZSTD } ImagePacking;
int image_unpack(ImagePacking packing, const uint8_t *packed, size_t packed_size, uint8_t *bytes,
                 size_t size);
