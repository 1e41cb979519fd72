// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/firmware/smbios.h"

#include "engine/base/bytes.h"

#include <string.h>

static FwCfg *new_fw_cfg(Bus *bus, GuestMemory *memory)
{
    DeviceHost host = { .bus = bus, .memory = memory };
    FwCfgConfig config = { .cpus = 1 };
    return fw_cfg_ops.create(&config, &host, NULL);
}

// Follows the structures as a guest does: formatted part, then strings up to a double zero.
static unsigned walk(const uint8_t *data, size_t size, unsigned types[128])
{
    unsigned n = 0;
    size_t at = 0;
    while (at + 4 <= size) {
        types[data[at] & 127]++;
        n++;
        at += data[at + 1];
        while (at + 1 < size && (data[at] || data[at + 1]))
            at++;
        at += 2;
    }
    g_assert_cmpuint(at, ==, size);
    return n;
}

static void structures(void)
{
    Bus *bus = bus_new();
    GuestMemory *memory = guest_memory_new(1 << 20);
    FwCfg *fw_cfg = new_fw_cfg(bus, memory);
    SmbiosConfig config = {
        .uuid = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 },
        .ram_size = UINT64_C(6) << 30,
        .cpus = 3,
        .serial = "S1",
    };
    smbios_add_files(&config, fw_cfg);
    gsize size, anchor_size;
    const uint8_t *tables =
        g_bytes_get_data(fw_cfg_find_file(fw_cfg, "etc/smbios/smbios-tables"), &size);
    const uint8_t *anchor =
        g_bytes_get_data(fw_cfg_find_file(fw_cfg, "etc/smbios/smbios-anchor"), &anchor_size);

    unsigned types[128] = { 0 };
    unsigned n = walk(tables, size, types);
    g_assert_cmpuint(types[4], ==, 3);
    g_assert_cmpuint(types[17], ==, 1);
    g_assert_cmpuint(types[19], ==, 2); // below and above 4 GiB
    g_assert_cmpuint(types[127], ==, 1);
    g_assert_cmpuint(anchor_size, ==, 31);
    g_assert_cmpuint(le16_read(anchor + 22), ==, size);
    g_assert_cmpuint(le16_read(anchor + 28), ==, n);
    uint8_t sum = 0;
    for (int i = 0; i < 31; i++)
        sum = (uint8_t)(sum + anchor[i]);
    g_assert_cmpuint(sum, ==, 0);
    // The system structure follows the BIOS one; its UUID has the first fields reversed.
    const uint8_t reversed[] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88 };
    g_assert_nonnull(memmem(tables, size, reversed, sizeof(reversed)));

    fw_cfg_ops.destroy(fw_cfg);
    guest_memory_free(memory);
    bus_free(bus);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smbios/structures", structures);
    return g_test_run();
}
