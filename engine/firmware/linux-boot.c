// SPDX-License-Identifier: GPL-2.0-or-later
// The Linux/x86 boot protocol (Documentation/arch/x86/boot.rst and zero-page.rst of Linux 6.1):
// sections "32-bit boot protocol" and "64-bit boot protocol". bzImage only; protocol 2.03 and up.
//
// Low memory as we lay it out: 6000h GDT, 7000h boot parameters ("zero page"), 8000h to DFFFh page
// tables for the 64-bit entry, 10000h the command line. The kernel goes to 1 MiB, the initrd as
// high as both the kernel and the ACPI tables allow.
#include "engine/firmware/linux-boot.h"

#include "engine/base/bytes.h"
#include "engine/base/checked.h"
#include "engine/firmware/e820.h"

#include <gio/gio.h>
#include <string.h>

enum {
    GDT_ADDRESS = 0x6000,
    PARAMS_ADDRESS = 0x7000,
    PAGE_TABLES = 0x8000,
    COMMAND_LINE = 0x10000,
    COMMAND_LINE_MAX = 0x10000,
    STACK_TOP = 0x6000,
    KERNEL_ADDRESS = 0x100000,

    PARAMS_SIZE = 4096,
    SECTOR = 512,

    // Offsets in the image and, from SETUP_HEADER on, in the boot parameters.
    SCREEN_MODE = 0x006,
    SCREEN_COLUMNS = 0x007,
    SCREEN_EGA_BX = 0x00a,
    SCREEN_LINES = 0x00e,
    SCREEN_IS_VGA = 0x00f,
    SCREEN_POINTS = 0x010,
    ACPI_RSDP = 0x070,
    E820_COUNT = 0x1e8,
    SETUP_HEADER = 0x1f1,
    SETUP_SECTORS = 0x1f1,
    BOOT_FLAG = 0x1fe,
    HEADER_LENGTH = 0x201, // the header ends this many bytes after 202h
    HEADER_MAGIC = 0x202,
    PROTOCOL = 0x206,
    LOADER_TYPE = 0x210,
    LOAD_FLAGS = 0x211,
    CODE32_START = 0x214,
    INITRD_ADDRESS = 0x218,
    INITRD_SIZE = 0x21c,
    COMMAND_LINE_POINTER = 0x228,
    INITRD_MAX = 0x22c,
    RELOCATABLE = 0x234,
    EXTENDED_FLAGS = 0x236,
    COMMAND_LINE_SIZE = 0x238,
    PREFERRED_ADDRESS = 0x258,
    INIT_SIZE = 0x260,
    E820_TABLE = 0x2d0,

    LOADED_HIGH = 1 << 0,
    EXTENDED_KERNEL_64 = 1 << 0,
    ENTRY_64 = 0x200, // from the kernel's start
    LOADER_UNDEFINED = 0xff,
};

#define MAGIC 0x53726448u // "HdrS"

// The header's facts, checked.
typedef struct {
    const uint8_t *image;
    gsize size;
    unsigned protocol;
    gsize header_end;    // offset in the image
    gsize kernel_offset; // of the protected-mode part
    bool has_64_bit_entry;
    uint64_t initrd_max; // highest byte an initrd may use
    uint64_t kernel_end; // first byte after what the kernel needs before it knows the memory map
    uint32_t command_line_max;
} Image;

static bool refuse(GError **error, const char *name, const char *why)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "%s is not a kernel that can be started: %s; give a bzImage (Debian: "
                "/boot/vmlinuz-*)", name, why);
    return false;
}

static bool parse(GBytes *kernel, const char *name, Image *ret, GError **error)
{
    Image image = { 0 };
    image.image = g_bytes_get_data(kernel, &image.size);
    const uint8_t *p = image.image;
    if (image.size < 0x268)
        return refuse(error, name, "it is too short");
    if (le16_read(p + BOOT_FLAG) != 0xaa55 || le32_read(p + HEADER_MAGIC) != MAGIC)
        return refuse(error, name, "it has no Linux setup header");
    image.protocol = le16_read(p + PROTOCOL);
    if (image.protocol < 0x203)
        return refuse(error, name, "its boot protocol is older than 2.03 (Linux 2.4.18)");
    if (!(p[LOAD_FLAGS] & LOADED_HIGH))
        return refuse(error, name, "it is a zImage");
    // iPXE's .lkrn: its code relies on BIOS calls from the 16-bit entry.
    if (le32_read(p + CODE32_START) == 0)
        return refuse(error, name, "it has no 32-bit entry (start such a program from its ISO)");
    unsigned setup_sectors = p[SETUP_SECTORS] ? p[SETUP_SECTORS] : 4;
    image.kernel_offset = (setup_sectors + 1) * SECTOR;
    image.header_end = HEADER_MAGIC + p[HEADER_LENGTH];
    if (image.kernel_offset >= image.size)
        return refuse(error, name, "it ends before its kernel starts (truncated?)");

    image.initrd_max = le32_read(p + INITRD_MAX);
    image.command_line_max = image.protocol >= 0x206 ? le32_read(p + COMMAND_LINE_SIZE) : 255;
    image.has_64_bit_entry =
        image.protocol >= 0x20c && (le16_read(p + EXTENDED_FLAGS) & EXTENDED_KERNEL_64);
    image.kernel_end = KERNEL_ADDRESS + (image.size - image.kernel_offset);
    if (image.protocol >= 0x20a) {
        uint64_t start = MAX(KERNEL_ADDRESS, le64_read(p + PREFERRED_ADDRESS));
        uint64_t end;
        if (!checked_add(start, le32_read(p + INIT_SIZE), &end))
            return refuse(error, name, "its preferred address is impossible");
        image.kernel_end = MAX(image.kernel_end, end);
    }
    *ret = image;
    return true;
}

bool linux_boot_check(GBytes *kernel, const char *kernel_name, GError **error)
{
    Image image;
    return parse(kernel, kernel_name, &image, error);
}

static bool no_room(GError **error, const LinuxBootConfig *config, uint64_t needed)
{
    g_autofree char *have = g_format_size_full(config->ram_size, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *want = g_format_size_full(needed, G_FORMAT_SIZE_IEC_UNITS);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                "%s and its initrd do not fit into %s of memory; give the machine at least %s",
                config->kernel_name, have, want);
    return false;
}

static void put(GuestMemory *memory, uint64_t address, const void *data, size_t size)
{
    // The ranges lie in RAM: parse and linux_boot_load have checked them.
    guest_memory_write(memory, address, data, size);
}

static void write_gdt(GuestMemory *memory, bool long_mode)
{
    uint8_t gdt[4 * 8] = { 0 };
    le64_write(gdt + 16, long_mode ? UINT64_C(0x00af9b000000ffff) : UINT64_C(0x00cf9b000000ffff));
    le64_write(gdt + 24, UINT64_C(0x00cf93000000ffff));
    put(memory, GDT_ADDRESS, gdt, sizeof(gdt));
}

// PML4, PDPT and four page directories of 2 MiB pages: the first 4 GiB mapped to themselves.
static void write_page_tables(GuestMemory *memory)
{
    const uint64_t present_writable = 3, large = 0x80;
    uint8_t table[4096] = { 0 };
    le64_write(table, (PAGE_TABLES + 0x1000) | present_writable);
    put(memory, PAGE_TABLES, table, sizeof(table));
    memset(table, 0, sizeof(table));
    for (unsigned i = 0; i < 4; i++)
        le64_write(table + 8 * i, (PAGE_TABLES + 0x2000 + 0x1000 * i) | present_writable);
    put(memory, PAGE_TABLES + 0x1000, table, sizeof(table));
    for (unsigned i = 0; i < 4; i++) {
        for (unsigned j = 0; j < 512; j++)
            le64_write(table + 8 * j, ((uint64_t)i << 30 | (uint64_t)j << 21) | large |
                                          present_writable);
        put(memory, PAGE_TABLES + 0x2000 + 0x1000 * i, table, sizeof(table));
    }
}

static bool check_command_line(const Image *image, const char *append, GError **error)
{
    uint32_t append_max = MIN(image->command_line_max, COMMAND_LINE_MAX - 1);
    if (strlen(append) <= append_max)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                "the kernel command line has %zu characters, this kernel takes at most %u",
                strlen(append), append_max);
    return false;
}

// As high as the kernel takes it, below the ACPI tables.
static bool place_initrd(const LinuxBootConfig *config, const Image *image, uint64_t size,
                         uint64_t *ret_address, GError **error)
{
    const uint64_t page = GUEST_PAGE_SIZE;
    uint64_t limit = MIN(config->acpi_start, image->initrd_max + 1) & ~(page - 1);
    uint64_t room = (size + page - 1) & ~(page - 1);
    if (image->kernel_end > limit || room > limit - image->kernel_end)
        return no_room(error, config, image->kernel_end + room + config->acpi_size);
    *ret_address = limit - room;
    return true;
}

static void fill_params(const LinuxBootConfig *config, const Image *image, uint64_t initrd_address,
                        uint64_t initrd_size, uint8_t params[PARAMS_SIZE])
{
    if (config->text_screen) {
        params[SCREEN_MODE] = 3;
        params[SCREEN_COLUMNS] = 80;
        params[SCREEN_EGA_BX] = 3; // 256 KiB
        params[SCREEN_LINES] = 25;
        params[SCREEN_IS_VGA] = 1;
        params[SCREEN_POINTS] = 16;
    }
    memcpy(params + SETUP_HEADER, image->image + SETUP_HEADER,
           MIN(image->header_end, E820_TABLE) - SETUP_HEADER);
    params[LOADER_TYPE] = LOADER_UNDEFINED;
    le32_write(params + CODE32_START, KERNEL_ADDRESS);
    le32_write(params + COMMAND_LINE_POINTER, COMMAND_LINE);
    le64_write(params + ACPI_RSDP, config->rsdp_address);
    if (initrd_size > 0) {
        le32_write(params + INITRD_ADDRESS, (uint32_t)initrd_address);
        le32_write(params + INITRD_SIZE, (uint32_t)initrd_size);
    }
    E820Entry entries[8];
    unsigned count =
        e820_for_kernel(config->ram_size, config->acpi_start, config->acpi_size, entries);
    params[E820_COUNT] = (uint8_t)count;
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = params + E820_TABLE + 20 * i;
        le64_write(entry, entries[i].start);
        le64_write(entry + 8, entries[i].size);
        le32_write(entry + 16, entries[i].type);
    }
}

bool linux_boot_load(const LinuxBootConfig *config, GuestMemory *memory, LinuxEntry *ret_entry,
                     GError **error)
{
    Image image;
    gsize initrd_size = 0;
    uint64_t initrd_address;
    const char *append = config->append ? config->append : "";
    const uint8_t *initrd = config->initrd ? g_bytes_get_data(config->initrd, &initrd_size) : NULL;
    if (!parse(config->kernel, config->kernel_name, &image, error) ||
        !check_command_line(&image, append, error) ||
        !place_initrd(config, &image, initrd_size, &initrd_address, error))
        return false;

    bool long_mode = image.has_64_bit_entry && config->allow_64_bit;
    uint8_t params[PARAMS_SIZE] = { 0 };
    fill_params(config, &image, initrd_address, initrd_size, params);
    put(memory, PARAMS_ADDRESS, params, sizeof(params));
    put(memory, COMMAND_LINE, append, strlen(append) + 1);
    put(memory, KERNEL_ADDRESS, image.image + image.kernel_offset,
        image.size - image.kernel_offset);
    if (initrd_size > 0)
        put(memory, initrd_address, initrd, initrd_size);
    write_gdt(memory, long_mode);
    if (long_mode)
        write_page_tables(memory);

    *ret_entry = (LinuxEntry){
        .long_mode = long_mode,
        .rip = KERNEL_ADDRESS + (long_mode ? ENTRY_64 : 0),
        .rsi = PARAMS_ADDRESS,
        .rsp = STACK_TOP,
        .cr3 = long_mode ? PAGE_TABLES : 0,
        .gdt_base = GDT_ADDRESS,
        .gdt_limit = 4 * 8 - 1,
    };
    return true;
}
