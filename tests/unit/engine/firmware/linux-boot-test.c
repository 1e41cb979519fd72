// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/firmware/linux-boot.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>
#include <string.h>

#define RAM_SIZE (64u << 20)

typedef struct {
    GuestMemory *memory;
    uint8_t *ram;
    uint8_t image[8192];
    LinuxBootConfig config;
    LinuxEntry entry;
    GError *error;
} Boot;

static void set_up(Boot *boot, gconstpointer unused)
{
    boot->memory = guest_memory_new(RAM_SIZE);
    boot->ram = g_aligned_alloc0(1, RAM_SIZE, 4096);
    guest_memory_map(boot->memory, "ram", 0, RAM_SIZE, boot->ram,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    uint8_t *p = boot->image;
    p[0x1f1] = 3; // the kernel starts at 2048
    le16_write(p + 0x1fe, 0xaa55);
    p[0x201] = 0x66;
    memcpy(p + 0x202, "HdrS", 4);
    le16_write(p + 0x206, 0x20f);
    p[0x211] = 1;
    le32_write(p + 0x214, 0x100000);
    le32_write(p + 0x22c, 0x7fffffff);
    le16_write(p + 0x236, 1);
    le32_write(p + 0x238, 2047);
    le64_write(p + 0x258, 0x1000000);
    le32_write(p + 0x260, 0x100000);
    memcpy(p + 2048, "KERNEL", 6);
    boot->config = (LinuxBootConfig){
        .kernel_name = "k",
        .append = "console=ttyS0",
        .ram_size = RAM_SIZE,
        .allow_64_bit = true,
        .acpi_start = RAM_SIZE - 0x10000,
        .acpi_size = 0x10000,
        .rsdp_address = 0xf0000,
    };
}

static void tear_down(Boot *boot, gconstpointer unused)
{
    g_clear_error(&boot->error);
    g_clear_pointer(&boot->config.kernel, g_bytes_unref);
    g_clear_pointer(&boot->config.initrd, g_bytes_unref);
    guest_memory_free(boot->memory);
    g_aligned_free(boot->ram);
}

static bool load(Boot *boot)
{
    boot->config.kernel = g_bytes_new(boot->image, sizeof(boot->image));
    return linux_boot_load(&boot->config, boot->memory, &boot->entry, &boot->error);
}

static void entry_64(Boot *boot, gconstpointer unused)
{
    boot->config.initrd = g_bytes_new_static("INITRD", 6);
    g_assert_true(load(boot));
    g_assert_true(boot->entry.long_mode);
    g_assert_cmphex(boot->entry.rip, ==, 0x100200);
    g_assert_cmpmem(boot->ram + 0x100000, 6, "KERNEL", 6);
    const uint8_t *params = boot->ram + boot->entry.rsi;
    g_assert_cmpstr((char *)boot->ram + le32_read(params + 0x228), ==, "console=ttyS0");
    g_assert_cmpmem(boot->ram + le32_read(params + 0x218), 6, "INITRD", 6);
    g_assert_cmpuint(le32_read(params + 0x21c), ==, 6);
    g_assert_cmphex(le64_read(params + 0x70), ==, 0xf0000);
    g_assert_cmphex(params[0x210], ==, 0xff);
    // Second directory, entry 3: 1 GiB + 6 MiB, a present, writable, large page.
    const uint8_t *directory = boot->ram + boot->entry.cr3 + 0x3000;
    g_assert_cmphex(le64_read(directory + 8 * 3), ==, 0x40600083);
}

static void entry_32(Boot *boot, gconstpointer unused)
{
    boot->config.allow_64_bit = false;
    g_assert_true(load(boot));
    g_assert_false(boot->entry.long_mode);
    g_assert_cmphex(boot->entry.rip, ==, 0x100000);
    const uint8_t *gdt = boot->ram + boot->entry.gdt_base;
    g_assert_cmphex(le64_read(gdt + 16), ==, UINT64_C(0x00cf9b000000ffff));
}

static void memory_map(Boot *boot, gconstpointer unused)
{
    g_assert_true(load(boot));
    const uint8_t *params = boot->ram + boot->entry.rsi;
    uint64_t ram = 0, acpi = 0, last = 0;
    for (unsigned i = 0; i < params[0x1e8]; i++) {
        const uint8_t *e = params + 0x2d0 + 20 * i;
        g_assert_cmpuint(le64_read(e), >=, last); // in order, no overlap
        last = le64_read(e) + le64_read(e + 8);
        ram += le32_read(e + 16) == 1 ? le64_read(e + 8) : 0;
        acpi += le32_read(e + 16) == 3 ? le64_read(e + 8) : 0;
    }
    g_assert_cmpuint(acpi, ==, 0x10000);
    g_assert_cmpuint(ram, ==, RAM_SIZE - 0x10000 - (0x100000 - 0x9fc00));
}

static void not_a_kernel(Boot *boot, gconstpointer unused)
{
    memset(boot->image, 0, sizeof(boot->image));
    g_assert_false(load(boot));
    g_assert_error(boot->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_nonnull(strstr(boot->error->message, "bzImage"));
}

static void without_32_bit_entry(Boot *boot, gconstpointer unused)
{
    le32_write(boot->image + 0x214, 0);
    g_assert_false(load(boot));
    g_assert_error(boot->error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_nonnull(strstr(boot->error->message, "ISO"));
}

static void truncated(Boot *boot, gconstpointer unused)
{
    boot->config.kernel = g_bytes_new(boot->image, 2048);
    g_assert_false(linux_boot_load(&boot->config, boot->memory, &boot->entry, &boot->error));
    g_assert_nonnull(strstr(boot->error->message, "truncated"));
}

static void too_little_memory(Boot *boot, gconstpointer unused)
{
    le32_write(boot->image + 0x260, 60 << 20);
    g_assert_false(load(boot));
    g_assert_error(boot->error, G_IO_ERROR, G_IO_ERROR_NO_SPACE);
}

static void long_command_line(Boot *boot, gconstpointer unused)
{
    g_autofree char *text = g_strnfill(3000, 'x');
    boot->config.append = text;
    g_assert_false(load(boot));
    g_assert_error(boot->error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function) g_test_add(path, Boot, NULL, set_up, function, tear_down)
    ADD("/linux-boot/entry-64", entry_64);
    ADD("/linux-boot/entry-32", entry_32);
    ADD("/linux-boot/memory-map", memory_map);
    ADD("/linux-boot/not-a-kernel", not_a_kernel);
    ADD("/linux-boot/without-32-bit-entry", without_32_bit_entry);
    ADD("/linux-boot/truncated", truncated);
    ADD("/linux-boot/too-little-memory", too_little_memory);
    ADD("/linux-boot/long-command-line", long_command_line);
    return g_test_run();
}
