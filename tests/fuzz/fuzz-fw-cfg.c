// SPDX-License-Identifier: GPL-2.0-or-later
// The firmware configuration device: port accesses and DMA commands of a hostile guest.
#include "engine/base/bytes.h"
#include "engine/firmware/fw-cfg.h"

#include <string.h>

#define RAM_SIZE 65536u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t ram[RAM_SIZE] __attribute__((aligned(4096)));
    Bus *bus = bus_new();
    GuestMemory *memory = guest_memory_new(UINT64_C(1) << 32);
    guest_memory_map(memory, "ram", 0, RAM_SIZE, ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    DeviceHost host = { .bus = bus, .memory = memory };
    FwCfgConfig config = { .ram_size = RAM_SIZE, .cpus = 2 };
    FwCfg *fw_cfg = fw_cfg_ops.create(&config, &host, NULL);
    fw_cfg_add_file(fw_cfg, "etc/one", "0123456789", 10);
    fw_cfg_ops.reset(fw_cfg, RESET_COLD);

    // Eight bytes an action: kind, port, value or command.
    uint8_t block[64];
    for (size_t i = 0; i + 8 <= size; i += 8) {
        const uint8_t *step = data + i;
        uint16_t port = (uint16_t)(0x510 + step[1] % 12);
        unsigned width = 1u << step[1] / 64 % 3;
        switch (step[0] % 5) {
        case 0:
            bus_port_write(bus, port, width, le32_read(step + 2));
            break;
        case 1:
            bus_port_read(bus, port, width);
            break;
        case 2:
            bus_port_read_block(bus, 0x511, 1, step[2] % sizeof(block), block);
            break;
        case 3: // a command at 100h: control, length, address
            be32_write(ram + 0x100, (uint32_t)step[2] << 16 | step[3]);
            be32_write(ram + 0x104, (uint32_t)le16_read(step + 4) << step[7] % 17);
            be64_write(ram + 0x108, (uint64_t)le16_read(step + 5) << step[7] / 17);
            bus_port_write(bus, 0x514, 4, 0);
            bus_port_write(bus, 0x518, 4, GUINT32_SWAP_LE_BE(0x100));
            break;
        case 4:
            fw_cfg_ops.reset(fw_cfg, step[1] & 1 ? RESET_COLD : RESET_WARM);
            break;
        }
    }
    g_autoptr(GBytes) state = state_save(fw_cfg_ops.state, fw_cfg);
    if (!state_load(fw_cfg_ops.state, fw_cfg, state, NULL))
        g_error("the device refuses its own state");
    fw_cfg_ops.destroy(fw_cfg);
    guest_memory_free(memory);
    bus_free(bus);
    return 0;
}
