// SPDX-License-Identifier: GPL-2.0-or-later
// See medium.h. Looks only; the engine has the last word when the machine is made.
#include "app/wizard/medium.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gi18n.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_SECTOR 512

const char *medium_kind_name(MediumKind kind)
{
    static const char *const names[] = { N_("Disc image"), N_("Disk image"), N_("Floppy image") };
    return _(names[kind]);
}

// A descriptor of a regular file, or -1 and the medium's problem.
static int open_file(Medium *medium)
{
    struct stat status;
    // O_NONBLOCK: a FIFO must not hang us.
    int fd = open(medium->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        medium->problem = g_strdup_printf(_("There is no file “%s”."), medium->path);
    } else if (fd < 0) {
        medium->problem =
            g_strdup_printf(_("“%s” cannot be read: %s."), medium->path, g_strerror(errno));
    } else if (fstat(fd, &status) < 0 || S_ISDIR(status.st_mode)) {
        medium->problem =
            g_strdup_printf(_("“%s” is a folder. Choose a file in it."), medium->path);
    } else if (!S_ISREG(status.st_mode)) {
        medium->problem = g_strdup_printf(_("“%s” is not a file."), medium->path);
    } else if (status.st_size == 0) {
        medium->problem =
            g_strdup_printf(_("“%s” is empty. Download it again."), medium->path);
    } else {
        medium->size = (uint64_t)status.st_size;
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static void look_at_disc(Medium *medium, GuestDatabase *database, const DiscImage *disc)
{
    medium->kind = MEDIUM_DISC;
    uint64_t promised = disc_image_promised_size(disc);
    if (promised > medium->size) {
        g_autofree char *has = g_format_size(medium->size);
        g_autofree char *wants = g_format_size(promised);
        medium->problem = g_strdup_printf(
            _("This disc image is truncated: it has %s of %s. Download it again."), has, wants);
        return;
    }
    if (!disc_image_is_bootable(disc))
        medium->warning = g_strdup(_("A computer cannot start from this disc. The machine can use "
                                     "it, but starts from its disk or from the network."));
    guest_system_detect(database, medium->path, disc, &medium->system);
}

static bool is_floppy_size(uint64_t size)
{
    static const uint64_t kib[] = { 160, 180, 320, 360, 720, 1200, 1440, 2880 };
    for (size_t i = 0; i < G_N_ELEMENTS(kib); i++) {
        if (size == kib[i] * 1024)
            return true;
    }
    return false;
}

static void use_as_disk(Medium *medium)
{
    medium->system.family = medium->kind == MEDIUM_FLOPPY ? GUEST_DOS : GUEST_OTHER;
    medium->system.needs = guest_family_needs(medium->system.family);
    medium->system.needs.disk = 0;
    medium->warning = g_strdup(_("The machine writes to this file. Keep a copy if you want it "
                                 "as it is."));
}

// Disk images of other programs. The engine goes by the end of the name (disk.format in
// lodge.conf(5)).
static bool look_for_format(Medium *medium, const uint8_t *sector)
{
    static const struct {
        const char *magic, *name, *ending;
    } formats[] = { { "QFI\xfb", "QCOW2", ".qcow2" },
                    { "KDMV", "VMDK", ".vmdk" },
                    { "# Disk DescriptorFile", "VMDK", ".vmdk" },
                    { "<<< ", "VDI", ".vdi" },
                    { "conectix", "VHD", ".vhd" },
                    { "vhdxfile", "VHDX", NULL } };
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        if (memcmp(sector, formats[i].magic, strlen(formats[i].magic)) != 0)
            continue;
        g_autofree char *lower = g_ascii_strdown(medium->path, -1);
        if (!formats[i].ending) {
            medium->problem = g_strdup_printf(_("Images of the format %s can only be read. Convert "
                                                "it first: lodgectl disk convert."),
                                              formats[i].name);
        } else if (!g_str_has_suffix(lower, formats[i].ending)) {
            medium->problem = g_strdup_printf(_("This is a disk image of the format %s. Give it a "
                                                "name that ends in %s."),
                                              formats[i].name, formats[i].ending);
        } else {
            medium->kind = MEDIUM_DISK;
            use_as_disk(medium);
        }
        return true;
    }
    return false;
}

// Not ISO 9660: a disk image, something else with a boot sector, or nothing that can be used.
static void look_at_sector(Medium *medium, int fd)
{
    uint8_t sector[BOOT_SECTOR] = { 0 };
    ssize_t got = pread(fd, sector, sizeof sector, 0);
    if (look_for_format(medium, sector))
        return;
    if (got == BOOT_SECTOR && medium->size % BOOT_SECTOR == 0 &&
        le16_read(sector + 510) == 0xaa55) {
        medium->kind = is_floppy_size(medium->size) ? MEDIUM_FLOPPY : MEDIUM_DISK;
        use_as_disk(medium);
        return;
    }
    medium->problem = g_strdup(
        _("This is neither a disc image (ISO) nor a disk that a computer can start from. Perhaps "
          "its download was cut short."));
}

Medium *medium_probe(GuestDatabase *database, const char *path)
{
    Medium *medium = g_new0(Medium, 1);
    medium->path = g_canonicalize_filename(path, NULL);
    int fd = open_file(medium);
    if (fd < 0)
        return medium;
    g_autoptr(DiscImage) disc = disc_image_open(fd, medium->size, NULL);
    if (disc)
        look_at_disc(medium, database, disc);
    else
        look_at_sector(medium, fd);
    close(fd);
    return medium;
}

void medium_free(Medium *medium)
{
    if (!medium)
        return;
    g_free(medium->path);
    g_free(medium->problem);
    g_free(medium->warning);
    guest_system_clear(&medium->system);
    g_free(medium);
}
