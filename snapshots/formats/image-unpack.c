// SPDX-License-Identifier: GPL-2.0-or-later
// Decompression of one unit. What comes out has a known size; anything else is damage.
#include "snapshots/formats/image-private.h"

#include <errno.h>
#include <libdeflate.h>
#include <zstd.h>

static int unpack_deflate(ImagePacking packing, const uint8_t *packed, size_t packed_size,
                          uint8_t *bytes, size_t size)
{
    struct libdeflate_decompressor *decompressor = libdeflate_alloc_decompressor();
    if (!decompressor)
        return -ENOMEM;
    size_t used, made;
    enum libdeflate_result result =
        packing == PACK_ZLIB ? libdeflate_zlib_decompress_ex(decompressor, packed, packed_size,
                                                             bytes, size, &used, &made)
                             : libdeflate_deflate_decompress_ex(decompressor, packed, packed_size,
                                                                bytes, size, &used, &made);
    libdeflate_free_decompressor(decompressor);
    return result == LIBDEFLATE_SUCCESS && made == size ? 0 : -EIO;
}

// As a stream: the packed bytes may be followed by others that are not part of the frame.
static int unpack_zstd(const uint8_t *packed, size_t packed_size, uint8_t *bytes, size_t size)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    if (!context)
        return -ENOMEM;
    // A window larger than the unit is of no use to an honest writer.
    ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 23);
    ZSTD_inBuffer in = { packed, packed_size, 0 };
    ZSTD_outBuffer out = { bytes, size, 0 };
    int result = 0;
    while (result == 0 && out.pos < out.size) {
        size_t before = in.pos + out.pos;
        size_t left = ZSTD_decompressStream(context, &out, &in);
        if (ZSTD_isError(left) || in.pos + out.pos == before)
            result = -EIO;
    }
    ZSTD_freeDCtx(context);
    return result;
}

int image_unpack(ImagePacking packing, const uint8_t *packed, size_t packed_size, uint8_t *bytes,
                 size_t size)
{
    if (packing == PACK_ZSTD)
        return unpack_zstd(packed, packed_size, bytes, size);
    return unpack_deflate(packing, packed, packed_size, bytes, size);
}
