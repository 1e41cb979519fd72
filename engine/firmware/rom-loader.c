// SPDX-License-Identifier: GPL-2.0-or-later
// See rom-loader.h. Sizes are limited, so that a wrong file is refused here and not by the guest.
#include "engine/firmware/rom-loader.h"

#include <gio/gio.h>

typedef struct {
    const char *file;
    const char *package; // Debian's name; others call it alike
    const char *what;
    gsize min_size, max_size; // bytes
    const char *folders[4];
} RomRow;

static const RomRow roms[ROM_COUNT] = {
    [ROM_BIOS] = { "bios-256k.bin", "seabios", "SeaBIOS", 64 * 1024, 1024 * 1024,
                   { "/usr/share/seabios", "/usr/share/qemu", NULL } },
    [ROM_VGA_STANDARD] = { "vgabios-stdvga.bin", "seabios", "the VGA BIOS", 8 * 1024, 128 * 1024,
                           { "/usr/share/seabios", "/usr/share/seavgabios", "/usr/share/qemu",
                             NULL } },
    [ROM_NET_E1000] = { "pxe-e1000.rom", "ipxe-qemu", "the iPXE ROM for e1000", 16 * 1024,
                        512 * 1024, { "/usr/lib/ipxe/qemu", "/usr/share/ipxe/qemu",
                                      "/usr/share/qemu", NULL } },
    [ROM_NET_VIRTIO] = { "pxe-virtio.rom", "ipxe-qemu", "the iPXE ROM for virtio-net", 16 * 1024,
                         512 * 1024, { "/usr/lib/ipxe/qemu", "/usr/share/ipxe/qemu",
                                       "/usr/share/qemu", NULL } },
};

static GPtrArray *candidate_folders(const RomRow *row)
{
    GPtrArray *folders = g_ptr_array_new_with_free_func(g_free);
    const char *override = g_getenv("LODGE_FIRMWARE_PATH");
    if (override && *override) {
        g_auto(GStrv) parts = g_strsplit(override, ":", 16);
        for (char **part = parts; *part; part++) {
            if (**part)
                g_ptr_array_add(folders, g_strdup(*part));
        }
    }
    for (const char *const *folder = row->folders; *folder; folder++)
        g_ptr_array_add(folders, g_strdup(*folder));
    return folders;
}

GBytes *rom_load(RomId id, GError **error)
{
    const RomRow *row = &roms[id];
    g_autoptr(GPtrArray) folders = candidate_folders(row);
    for (guint i = 0; i < folders->len; i++) {
        g_autofree char *path = g_build_filename(folders->pdata[i], row->file, NULL);
        g_autofree char *data = NULL;
        gsize size = 0;
        if (!g_file_get_contents(path, &data, &size, NULL))
            continue;
        if (size < row->min_size || size > row->max_size) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "%s is %" G_GSIZE_FORMAT " bytes, %s has %" G_GSIZE_FORMAT " to %"
                        G_GSIZE_FORMAT "; reinstall package %s",
                        path, size, row->what, row->min_size, row->max_size, row->package);
            return NULL;
        }
        return g_bytes_new_take(g_steal_pointer(&data), size);
    }
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
                "%s (%s) is not installed; install package %s", row->what, row->file,
                row->package);
    return NULL;
}

char **rom_folders(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_autoptr(GPtrArray) all = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    for (size_t i = 0; i < ROM_COUNT; i++) {
        GPtrArray *folders = candidate_folders(&roms[i]);
        g_ptr_array_add(all, folders);
        for (guint j = 0; j < folders->len; j++) {
            if (g_hash_table_add(seen, folders->pdata[j]))
                g_strv_builder_add(builder, folders->pdata[j]);
        }
    }
    return g_strv_builder_end(builder);
}
