// SPDX-License-Identifier: GPL-2.0-or-later
// Foreign images as a machine uses them: many requests in flight through the block layer.
#include "snapshots/block.h"
#include "snapshots/formats/image-writer.h"
#include "tests/unit/snapshots/formats/images.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define SIZE   (12u << 20)
#define PIECES 96u // requests in flight, each in a stripe of its own
#define STRIPE (SIZE / PIECES)

typedef struct {
    GMutex mutex;
    GCond cond;
    unsigned left;
    int worst;
} Wait;

static void on_complete(BlockRequest *request, int result)
{
    Wait *wait = request->opaque;
    g_mutex_lock(&wait->mutex);
    if (result < 0)
        wait->worst = result;
    wait->left--;
    g_cond_signal(&wait->cond);
    g_mutex_unlock(&wait->mutex);
}

static char *make_image(const char *format)
{
    g_autofree char *name = g_strdup_printf("block.%s", format);
    char *path = images_path(name);
    g_autoptr(GError) error = NULL;
    g_unlink(path);
    ImageCreate create = { .path = path, .format = format, .size = SIZE };
    ImageWriter *writer = image_writer_new(&create, &error);
    g_assert_no_error(error);
    g_assert_true(image_writer_finish(writer, &error));
    return path;
}

static BlockDevice *open_block(const char *path, const char *format, bool read_only)
{
    g_autoptr(GError) error = NULL;
    BlockOpen options = { .path = path, .fd = -1, .read_only = read_only, .driver = format };
    BlockDevice *block = block_open(&options, &error);
    g_assert_no_error(error);
    return block;
}

static void run_round(BlockDevice *block, BlockOperation operation, uint8_t *bytes, GRand *rand)
{
    static BlockRequest requests[PIECES + 4];
    static struct iovec iovs[PIECES][2];
    Wait wait = { .left = PIECES };
    g_mutex_init(&wait.mutex);
    g_cond_init(&wait.cond);
    for (unsigned i = 0; i < PIECES; i++) {
        uint64_t start = i * STRIPE + (uint64_t)g_rand_int_range(rand, 0, 100) * 512;
        uint64_t length = (uint64_t)g_rand_int_range(rand, 1, 128) * 512;
        length = MIN(length, (i + 1) * STRIPE - start);
        for (uint64_t b = 0; operation == BLOCK_WRITE && b < length; b++)
            bytes[start + b] = (uint8_t)g_rand_int(rand);
        uint64_t half = length / 1024 * 512;
        iovs[i][0] = (struct iovec){ bytes + start, half };
        iovs[i][1] = (struct iovec){ bytes + start + half, length - half };
        requests[i] = (BlockRequest){ .operation = operation,
                                      .offset = start,
                                      .length = length,
                                      .iov = iovs[i],
                                      .iov_count = 2,
                                      .complete = on_complete,
                                      .opaque = &wait };
        block_submit(block, &requests[i]);
        if (i % 24 == 0) { // a guest's flush among them
            BlockRequest *flush = &requests[PIECES + i / 24];
            g_mutex_lock(&wait.mutex);
            wait.left++;
            g_mutex_unlock(&wait.mutex);
            *flush = (BlockRequest){ .operation = BLOCK_FLUSH,
                                     .complete = on_complete,
                                     .opaque = &wait };
            block_submit(block, flush);
        }
    }
    g_mutex_lock(&wait.mutex);
    while (wait.left)
        g_cond_wait(&wait.cond, &wait.mutex);
    g_mutex_unlock(&wait.mutex);
    g_assert_cmpint(wait.worst, ==, 0);
    g_mutex_clear(&wait.mutex);
    g_cond_clear(&wait.cond);
}

static void test_parallel(gconstpointer data)
{
    const char *format = data;
    g_autofree char *path = make_image(format);
    g_autofree uint8_t *bytes = g_malloc0(SIZE);
    g_autofree uint8_t *read = g_malloc0(SIZE);
    g_autoptr(GRand) rand = g_rand_new_with_seed(51);
    BlockDevice *block = open_block(path, format, false);
    g_assert_cmpstr(block_driver_name(block), ==, format);
    g_assert_cmpuint(block_size(block), ==, SIZE);
    for (int round = 0; round < 6; round++)
        run_round(block, BLOCK_WRITE, bytes, rand);
    g_assert_cmpint(block_read_sync(block, 0, read, SIZE), ==, 0);
    g_assert_true(memcmp(bytes, read, SIZE) == 0);
    block_close(block);
    block = open_block(path, NULL, true); // by its first bytes
    g_assert_cmpstr(block_driver_name(block), ==, format);
    memset(read, 0, SIZE);
    g_assert_cmpint(block_read_sync(block, 0, read, SIZE), ==, 0);
    g_assert_true(memcmp(bytes, read, SIZE) == 0);
    BlockExtent extents[8];
    g_assert_cmpint(block_extents(block, 0, SIZE, extents, 8), >, 0);
    block_close(block);
    const char *judge = g_str_equal(format, "vhd") ? "vpc" : format;
    g_autofree char *raw = images_raw("wanted.raw", bytes, SIZE);
    if (images_have_judge())
        g_assert_true(
            images_run("qemu-img compare -q -f %s -F raw block.%s wanted.raw", judge, format));
}

// A writable image is what its driver says, never what its first bytes say.
static void test_never_probed(void)
{
    g_autofree char *path = make_image("qcow2");
    g_assert_cmpint(truncate(path, 4u << 20), ==, 0);
    BlockDevice *block = open_block(path, NULL, false);
    g_assert_cmpstr(block_driver_name(block), ==, "raw");
    block_close(block);
}

// An image that is known by descriptor only has no folder to look for related files in.
static void test_descriptor(void)
{
    if (!images_have_judge())
        return;
    g_assert_true(images_run("qemu-img create -q -f raw below.raw 1M"));
    g_assert_true(images_run("qemu-img create -q -f qcow2 -b below.raw -F raw above.qcow2"));
    g_autofree char *path = images_path("above.qcow2");
    g_autoptr(GError) error = NULL;
    BlockOpen options = { .fd = open(path, O_RDONLY | O_CLOEXEC),
                          .read_only = true,
                          .driver = "qcow2" };
    g_assert_null(block_open(&options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
    g_clear_error(&error);
    options.fd = open(path, O_RDONLY | O_CLOEXEC);
    options.path = path;
    BlockDevice *block = block_open(&options, &error);
    g_assert_no_error(error);
    block_close(block);
}

static void test_locked(void)
{
    g_autofree char *path = make_image("qcow2");
    BlockDevice *block = open_block(path, "qcow2", false);
    g_autoptr(GError) error = NULL;
    ImageOpen options = { .path = path, .fd = -1, .read_only = true, .format = "qcow2" };
    g_assert_null(image_open(&options, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_BUSY);
    block_close(block);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    images_init();
    g_test_add_data_func("/image-block/parallel/qcow2", "qcow2", test_parallel);
    g_test_add_data_func("/image-block/parallel/vdi", "vdi", test_parallel);
    g_test_add_data_func("/image-block/parallel/vhd", "vhd", test_parallel);
    g_test_add_func("/image-block/never-probed", test_never_probed);
    g_test_add_func("/image-block/descriptor", test_descriptor);
    g_test_add_func("/image-block/locked", test_locked);
    int status = g_test_run();
    images_remove();
    return status;
}
