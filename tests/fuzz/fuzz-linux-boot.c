// SPDX-License-Identifier: GPL-2.0-or-later
// Kernel images: a small valid bzImage with the input written over its setup header.
#include "engine/base/bytes.h"
#include "engine/firmware/linux-boot.h"

#include <string.h>

#define RAM_SIZE (4u << 20)
#define IMAGE_SIZE 4096u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make_image(uint8_t *image)
{
    image[0x1f1] = 3;
    le16_write(image + 0x1fe, 0xaa55);
    image[0x201] = 0x66;
    memcpy(image + 0x202, "HdrS", 4);
    le16_write(image + 0x206, 0x20f);
    image[0x211] = 1;
    le32_write(image + 0x22c, 0x7fffffff);
    le16_write(image + 0x236, 1);
    le32_write(image + 0x238, 2047);
    le64_write(image + 0x258, 0x100000);
    le32_write(image + 0x260, 0x10000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t ram[RAM_SIZE] __attribute__((aligned(4096)));
    uint8_t image[IMAGE_SIZE] = { 0 };
    make_image(image);
    // (offset from 1F0h, byte) edits after two bytes: length of the image, size of the initrd.
    for (size_t i = 2; i + 2 <= size; i += 2)
        image[0x1f0 + data[i]] = data[i + 1];
    size_t bytes = size >= 1 ? IMAGE_SIZE - data[0] * 16u : IMAGE_SIZE;
    g_autoptr(GBytes) kernel = g_bytes_new_static(image, bytes);
    g_autoptr(GBytes) initrd = g_bytes_new_static(ram, size >= 2 ? data[1] * 16384u : 0);
    GuestMemory *memory = guest_memory_new(RAM_SIZE);
    guest_memory_map(memory, "ram", 0, RAM_SIZE, ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    LinuxBootConfig config = {
        .kernel = kernel,
        .kernel_name = "fuzz",
        .initrd = initrd,
        .append = "quiet",
        .ram_size = RAM_SIZE,
        .allow_64_bit = true,
        .acpi_start = RAM_SIZE - 0x10000,
        .acpi_size = 0x10000,
        .rsdp_address = 0xf0000,
    };
    LinuxEntry entry;
    if (linux_boot_load(&config, memory, &entry, NULL) && entry.rip >= RAM_SIZE)
        g_error("entered at %" G_GINT64_MODIFIER "x", entry.rip);
    guest_memory_free(memory);
    return 0;
}
