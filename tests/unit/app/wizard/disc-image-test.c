// SPDX-License-Identifier: GPL-2.0-or-later
#include "app/wizard/guest-system.h"
#include "tests/unit/app/wizard/disc-builder.h"

#include <sys/mman.h>
#include <unistd.h>

static int in_memory(const guint8 *image, gsize size)
{
    int fd = memfd_create("disc", MFD_CLOEXEC);
    g_assert_cmpint(write(fd, image, size), ==, (gssize)size);
    return fd;
}

static DiscImage *open_disc(const DiscSpec *spec, int *ret_fd)
{
    g_autofree guint8 *image = disc_build(spec);
    *ret_fd = in_memory(image, DISC_SECTORS * DISC_SECTOR);
    return disc_image_open(*ret_fd, DISC_SECTORS * DISC_SECTOR, NULL);
}

static void test_labels(void)
{
    int fd;
    g_autoptr(DiscImage) disc =
        open_disc(&(DiscSpec){ .volume = "Ubuntu 24.04", .bootable = TRUE }, &fd);
    g_assert_cmpstr(disc_image_volume(disc), ==, "Ubuntu 24.04");
    g_assert_cmpstr(disc_image_publisher(disc), ==, "");
    g_assert_true(disc_image_is_bootable(disc));
    g_assert_cmpuint(disc_image_promised_size(disc), ==, DISC_SECTORS * DISC_SECTOR);
    close(fd);
}

static void test_files(void)
{
    int fd;
    g_autoptr(DiscImage) disc = open_disc(
        &(DiscSpec){ .volume = "X", .file = "README.TXT;1", .text = "first\nsecond" }, &fd);
    g_assert_false(disc_image_is_bootable(disc));
    g_assert_true(disc_image_has(disc, "readme.txt"));
    g_assert_false(disc_image_has(disc, "readme"));
    g_assert_false(disc_image_has(disc, "readme.txt/below"));
    g_autofree char *line = disc_image_first_line(disc, "README.TXT");
    g_assert_cmpstr(line, ==, "first");
    close(fd);
}

static void test_no_disc(void)
{
    g_autofree guint8 *zeros = g_malloc0(DISC_SECTORS * DISC_SECTOR);
    int fd = in_memory(zeros, DISC_SECTORS * DISC_SECTOR);
    g_autoptr(GError) error = NULL;
    g_assert_null(disc_image_open(fd, DISC_SECTORS * DISC_SECTOR, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
    close(fd);
}

// Bytes of the descriptors and the root folder, wrong in turn: nothing is read outside the file.
static void test_damaged(void)
{
    const DiscSpec spec = { .volume = "X", .file = "SOURCES", .text = "t" };
    g_autofree guint8 *image = disc_build(&spec);
    int fd = in_memory(image, DISC_SECTORS * DISC_SECTOR);
    for (gsize at = 16 * DISC_SECTOR; at < 21 * DISC_SECTOR; at += 1 + at % 7) {
        guint8 wrong = image[at] ^ 0xff;
        g_assert_cmpint(pwrite(fd, &wrong, 1, (off_t)at), ==, 1);
        g_autoptr(DiscImage) disc = disc_image_open(fd, DISC_SECTORS * DISC_SECTOR, NULL);
        if (disc) {
            GuestSystem system = { 0 };
            guest_system_by_rules(disc, &system);
            guest_system_clear(&system);
        }
        g_assert_cmpint(pwrite(fd, image + at, 1, (off_t)at), ==, 1);
    }
    close(fd);
}

// What osinfo-db of this distribution does not know.
static void test_rules(void)
{
    static const struct {
        DiscSpec disc;
        const char *name;
        GuestFamily family;
    } cases[] = {
        { { .volume = "LODGE_DEMO" }, "Lodge demo guest", GUEST_LINUX },
        { { .volume = "Debian 12.5.0 amd64 n" }, "Debian 12.5.0 amd64 n", GUEST_LINUX },
        { { .volume = "ARCH_202611" }, "Arch Linux", GUEST_LINUX },
        { { .volume = "14_1_RELEASE_AMD64_CD" }, "FreeBSD", GUEST_BSD },
        { { .volume = "OpenBSD_amd64   7.4" }, "OpenBSD amd64   7.4", GUEST_BSD },
        { { .volume = "CD", .file = "CASPER", .text = "" }, "Linux", GUEST_LINUX },
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        int fd;
        g_autoptr(DiscImage) disc = open_disc(&cases[i].disc, &fd);
        GuestSystem system = { 0 };
        g_assert_true(guest_system_by_rules(disc, &system));
        g_assert_cmpstr(system.name, ==, cases[i].name);
        g_assert_cmpint(system.family, ==, cases[i].family);
        guest_system_clear(&system);
        close(fd);
    }
}

static void test_unknown(void)
{
    int fd;
    g_autoptr(DiscImage) disc = open_disc(&(DiscSpec){ .volume = "ISOIMAGE" }, &fd);
    GuestSystem system = { 0 };
    g_assert_false(guest_system_by_rules(disc, &system));
    close(fd);
}

static gpointer detect(gpointer data)
{
    int fd;
    g_autoptr(DiscImage) disc = open_disc(&(DiscSpec){ .volume = "LODGE_DEMO" }, &fd);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    g_autoptr(GuestDatabase) database = guest_database_new();
    GuestSystem system = { 0 };
    guest_system_detect(database, path, disc, &system);
    g_assert_cmpstr(system.name, ==, "Lodge demo guest");
    guest_system_clear(&system);
    close(fd);
    return NULL;
}

// A thread that looks at a disc does not wait for the main loop, which here never turns.
static void test_thread(void)
{
    g_assert_true(g_main_context_acquire(NULL));
    g_thread_join(g_thread_new("look", detect, NULL));
    g_main_context_release(NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/disc-image/labels", test_labels);
    g_test_add_func("/disc-image/files", test_files);
    g_test_add_func("/disc-image/no-disc", test_no_disc);
    g_test_add_func("/disc-image/damaged", test_damaged);
    g_test_add_func("/guest-system/rules", test_rules);
    g_test_add_func("/guest-system/unknown", test_unknown);
    g_test_add_func("/guest-system/thread", test_thread);
    return g_test_run();
}
