// SPDX-License-Identifier: GPL-2.0-or-later
// Builds the structures that DSP0134 2.8 requires of a desktop (section 6.2): BIOS information (0),
// system (1), enclosure (3), one processor socket per CPU (4), memory array, device and mapped
// address (16, 17, 19), boot information (32), end (127).
#include "engine/firmware/smbios.h"

#include "engine/base/bytes.h"
#include "engine/firmware/e820.h"

#include <string.h>

enum {
    HANDLE_BIOS = 0x0000,
    HANDLE_SYSTEM = 0x0100,
    HANDLE_ENCLOSURE = 0x0300,
    HANDLE_PROCESSOR = 0x0400,
    HANDLE_MEMORY_ARRAY = 0x1000,
    HANDLE_MEMORY_DEVICE = 0x1100,
    HANDLE_MEMORY_ADDRESS = 0x1300,
    HANDLE_BOOT = 0x2000,
    HANDLE_END = 0x7f00,
    NONE = 0xffff,

    ANCHOR_SIZE = 31,
    MEMORY_DEVICE_MAX_MB = 0x7fff, // larger ones are in the extended field
};

typedef struct {
    GByteArray *bytes;
    guint start;      // of the open structure
    GString *strings; // of the open structure, each with its terminating zero
    unsigned string_count;
    uint16_t count; // structures closed
    uint16_t longest;
} Builder;

static void add_u8(Builder *b, uint8_t value)
{
    g_byte_array_append(b->bytes, &value, 1);
}

static void add_u16(Builder *b, uint16_t value)
{
    uint8_t bytes[2];
    le16_write(bytes, value);
    g_byte_array_append(b->bytes, bytes, sizeof(bytes));
}

static void add_u32(Builder *b, uint32_t value)
{
    uint8_t bytes[4];
    le32_write(bytes, value);
    g_byte_array_append(b->bytes, bytes, sizeof(bytes));
}

static void add_u64(Builder *b, uint64_t value)
{
    uint8_t bytes[8];
    le64_write(bytes, value);
    g_byte_array_append(b->bytes, bytes, sizeof(bytes));
}

// The string's number; 0, "not specified", for NULL.
static void add_string(Builder *b, const char *text)
{
    if (!text || !*text) {
        add_u8(b, 0);
        return;
    }
    g_string_append_len(b->strings, text, (gssize)strlen(text) + 1);
    add_u8(b, (uint8_t)++b->string_count);
}

static void open_structure(Builder *b, uint8_t type, uint16_t handle)
{
    b->start = b->bytes->len;
    b->string_count = 0;
    g_string_truncate(b->strings, 0);
    add_u8(b, type);
    add_u8(b, 0);
    add_u16(b, handle);
}

static void close_structure(Builder *b)
{
    b->bytes->data[b->start + 1] = (uint8_t)(b->bytes->len - b->start);
    g_byte_array_append(b->bytes, (const uint8_t *)b->strings->str, (guint)b->strings->len);
    add_u8(b, 0);
    if (b->string_count == 0)
        add_u8(b, 0); // two zeros end a structure without strings
    b->count++;
    b->longest = MAX(b->longest, (uint16_t)(b->bytes->len - b->start));
}

static void add_bios(Builder *b) // 7.1
{
    open_structure(b, 0, HANDLE_BIOS);
    add_string(b, "Lodge");
    add_string(b, "classic-1");
    add_u16(b, 0xe800); // starting segment
    add_string(b, "04/01/2014");
    add_u8(b, 0);       // ROM size
    add_u64(b, 1 << 3); // characteristics are not supported
    add_u8(b, 0);
    add_u8(b, 1 << 2 | 1 << 4); // targeted content distribution, is a virtual machine
    add_u8(b, 1);       // release
    add_u8(b, 0);
    add_u8(b, 0xff);    // no embedded controller
    add_u8(b, 0xff);
    close_structure(b);
}

static void add_system(Builder *b, const SmbiosConfig *config) // 7.2
{
    const uint8_t *u = config->uuid;
    // The first three fields of a UUID are little-endian here (7.2.1).
    const uint8_t uuid[16] = { u[3], u[2], u[1], u[0], u[5],  u[4],  u[7],  u[6],
                               u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15] };
    open_structure(b, 1, HANDLE_SYSTEM);
    add_string(b, "Lodge");
    add_string(b, "Lodge virtual machine");
    add_string(b, "classic-1");
    add_string(b, config->serial);
    g_byte_array_append(b->bytes, uuid, sizeof(uuid));
    add_u8(b, 6); // wake-up type: power switch
    add_string(b, NULL);
    add_string(b, NULL);
    close_structure(b);
}

static void add_enclosure(Builder *b) // 7.4
{
    open_structure(b, 3, HANDLE_ENCLOSURE);
    add_string(b, "Lodge");
    add_u8(b, 1); // type: other
    add_string(b, "classic-1");
    add_string(b, NULL);
    add_string(b, NULL);
    add_u8(b, 3); // boot-up, power supply and thermal state: safe
    add_u8(b, 3);
    add_u8(b, 3);
    add_u8(b, 2); // security: unknown
    add_u32(b, 0);
    add_u8(b, 0); // height, power cords, contained elements
    add_u8(b, 0);
    add_u8(b, 0);
    add_u8(b, 0);
    add_string(b, NULL); // SKU
    close_structure(b);
}

static void add_processor(Builder *b, const SmbiosConfig *config, unsigned cpu) // 7.5
{
    g_autofree char *socket = g_strdup_printf("CPU %u", cpu);
    open_structure(b, 4, (uint16_t)(HANDLE_PROCESSOR + cpu));
    add_string(b, socket);
    add_u8(b, 3); // central processor
    add_u8(b, 1); // family: other
    add_string(b, "Lodge");
    add_u32(b, config->cpu_signature);
    add_u32(b, config->cpu_features);
    add_string(b, "classic-1");
    add_u8(b, 0);       // voltage: unknown
    add_u16(b, 0);      // external clock: unknown
    add_u16(b, 2000);   // MHz, maximum and current
    add_u16(b, 2000);
    add_u8(b, 0x41);    // populated, enabled
    add_u8(b, 1);       // upgrade: other
    add_u16(b, NONE);   // caches
    add_u16(b, NONE);
    add_u16(b, NONE);
    add_string(b, NULL);
    add_string(b, NULL);
    add_string(b, NULL);
    add_u8(b, 1); // cores, enabled cores, threads
    add_u8(b, 1);
    add_u8(b, 1);
    add_u16(b, 1 << 2); // 64-bit capable
    add_u16(b, 1);      // family 2: other
    close_structure(b);
}

static void add_memory(Builder *b, uint64_t ram_size)
{
    uint64_t kilobytes = ram_size / 1024;
    open_structure(b, 16, HANDLE_MEMORY_ARRAY); // 7.17
    add_u8(b, 1);     // location: other
    add_u8(b, 3);     // system memory
    add_u8(b, 6);     // multi-bit ECC
    add_u32(b, kilobytes < 0x80000000u ? (uint32_t)kilobytes : 0x80000000u);
    add_u16(b, 0xfffe); // no error information
    add_u16(b, 1);      // devices
    add_u64(b, kilobytes < 0x80000000u ? 0 : ram_size);
    close_structure(b);

    uint64_t megabytes = ram_size / (1024 * 1024);
    open_structure(b, 17, HANDLE_MEMORY_DEVICE); // 7.18
    add_u16(b, HANDLE_MEMORY_ARRAY);
    add_u16(b, 0xfffe);
    add_u16(b, NONE); // widths: unknown
    add_u16(b, NONE);
    add_u16(b, megabytes < MEMORY_DEVICE_MAX_MB ? (uint16_t)megabytes : MEMORY_DEVICE_MAX_MB);
    add_u8(b, 9); // form factor: DIMM
    add_u8(b, 0);
    add_string(b, "DIMM 0");
    add_string(b, NULL);
    add_u8(b, 7);       // RAM
    add_u16(b, 1 << 1); // other
    add_u16(b, 0);      // speed: unknown
    add_string(b, "Lodge");
    add_string(b, NULL);
    add_string(b, NULL);
    add_string(b, NULL);
    add_u8(b, 0); // rank
    add_u32(b, megabytes < MEMORY_DEVICE_MAX_MB ? 0 : (uint32_t)megabytes);
    add_u16(b, 0); // clock, voltages
    add_u16(b, 0);
    add_u16(b, 0);
    add_u16(b, 0);
    close_structure(b);

    const struct {
        uint64_t start, size;
    } ranges[] = {
        { 0, e820_ram_below_4g(ram_size) },
        { E820_HIGH_RAM_START, e820_ram_above_4g(ram_size) },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(ranges); i++) {
        if (ranges[i].size == 0)
            continue;
        uint64_t last = ranges[i].start + ranges[i].size - 1;
        bool extended = last / 1024 >= 0xffffffff;
        open_structure(b, 19, (uint16_t)(HANDLE_MEMORY_ADDRESS + i)); // 7.20
        add_u32(b, extended ? 0xffffffff : (uint32_t)(ranges[i].start / 1024));
        add_u32(b, extended ? 0xffffffff : (uint32_t)(last / 1024));
        add_u16(b, HANDLE_MEMORY_ARRAY);
        add_u8(b, 1); // partition width
        add_u64(b, extended ? ranges[i].start : 0);
        add_u64(b, extended ? last : 0);
        close_structure(b);
    }
}

static void add_boot_and_end(Builder *b)
{
    static const uint8_t reserved[6];
    open_structure(b, 32, HANDLE_BOOT); // 7.33
    g_byte_array_append(b->bytes, reserved, sizeof(reserved));
    add_u8(b, 0); // no error
    close_structure(b);
    open_structure(b, 127, HANDLE_END);
    close_structure(b);
}

static uint8_t checksum(const uint8_t *data, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    return (uint8_t)-sum;
}

// The entry point (5.2.1). Firmware fills in the table's address and the sums over it.
static void build_anchor(const Builder *b, uint8_t anchor[ANCHOR_SIZE])
{
    memset(anchor, 0, ANCHOR_SIZE);
    memcpy(anchor, "_SM_", 4);
    anchor[5] = ANCHOR_SIZE;
    anchor[6] = 2;
    anchor[7] = 8;
    le16_write(anchor + 8, b->longest);
    memcpy(anchor + 16, "_DMI_", 5);
    le16_write(anchor + 22, (uint16_t)b->bytes->len);
    le16_write(anchor + 28, b->count);
    anchor[30] = 0x28;
    anchor[21] = checksum(anchor + 16, 15);
    anchor[4] = checksum(anchor, ANCHOR_SIZE);
}

void smbios_add_files(const SmbiosConfig *config, FwCfg *fw_cfg)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    g_autoptr(GString) strings = g_string_new(NULL);
    Builder b = { .bytes = bytes, .strings = strings };
    add_bios(&b);
    add_system(&b, config);
    add_enclosure(&b);
    for (unsigned cpu = 0; cpu < config->cpus; cpu++)
        add_processor(&b, config, cpu);
    add_memory(&b, config->ram_size);
    add_boot_and_end(&b);

    uint8_t anchor[ANCHOR_SIZE];
    build_anchor(&b, anchor);
    fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-tables", bytes->data, bytes->len);
    fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-anchor", anchor, sizeof(anchor));
}
