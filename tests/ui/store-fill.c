// SPDX-License-Identifier: GPL-2.0-or-later
// store-fill STORE VOLUME IMAGE NAME [IMAGE NAME]...: writes each image over the beginning of a
// volume and takes a snapshot of that name, so that a test has disks with files without a guest.
#include "snapshots/store/store.h"

#include <stdio.h>

static bool write_image(Store *store, const char *volume, const char *path, GError **error)
{
    g_autofree char *bytes = NULL;
    gsize size;
    if (!g_file_get_contents(path, &bytes, &size, error))
        return false;
    BlockDevice *disk = store_volume_open(store, STORE_CURRENT, volume, NULL, error);
    if (!disk)
        return false;
    int result = block_write_sync(disk, 0, bytes, size);
    if (result == 0)
        result = block_flush_sync(disk);
    block_close(disk);
    if (result < 0)
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result), "%s cannot be written: %s",
                    volume, g_strerror(-result));
    return result == 0;
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    StoreOpen options = { .path = argc > 1 ? argv[1] : "" };
    Store *store = argc > 4 ? store_open(&options, &error) : NULL;
    bool done = store != NULL;
    for (int i = 3; done && i + 1 < argc; i += 2) {
        StoreTake take = { .name = argv[i + 1] };
        StoreNodeId id;
        done = write_image(store, argv[2], argv[i], &error) &&
               store_take(store, &take, &id, &error);
    }
    store_close(store);
    if (!done)
        fprintf(stderr, "store-fill: %s\n",
                error ? error->message : "usage: STORE VOLUME IMAGE NAME [IMAGE NAME]...");
    return done ? 0 : 1;
}
