// SPDX-License-Identifier: GPL-2.0-or-later
// Builds RSDP, RSDT, XSDT, FADT, FACS, DSDT, SSDT, MADT, HPET and WAET for board classic-1 as ACPI
// 6.4, chapter 5 has them (FADT in its revision 3 form, ACPI 2.0, which Windows XP and Linux 2.4
// read as well). The DSDT comes from dsdt-classic-1.asl; the SSDT with the CPUs is made here.
//
// All tables but the RSDP stand in one blob; a pointer in it is at first an offset into the blob.
// The list of fixups turns into the loader script of fw_cfg (the published "etc/table-loader"
// format: 128-byte commands) or is applied by acpi_tables_place. Windows' WAET is from Microsoft's
// "Windows ACPI Emulated Devices Table" 1.0, HPET from IA-PC HPET 1.0a, section 3.2.4.
#include "engine/firmware/acpi-tables.h"

#include "engine/base/bytes.h"
#include "engine/firmware/aml.h"
#include "dsdt-classic-1.h"

#include <string.h>

enum {
    HEADER_SIZE = 36,
    HEADER_LENGTH = 4,
    HEADER_CHECKSUM = 9,
    BLOB_ALIGN = 64, // the FACS asks for it and stands first

    RSDP_SIZE = 36,
    RSDP_CHECKSUM = 8,
    RSDP_V1_SIZE = 20,
    RSDP_RSDT = 16,
    RSDP_XSDT = 24,
    RSDP_EXTENDED_CHECKSUM = 32,

    FADT_SIZE = 244,
    FADT_FACS = 36,
    FADT_DSDT = 40,
    FADT_X_DSDT = 140,

    SCI_IRQ = 9,
    CMOS_CENTURY = 0x32,
    RESET_PORT = 0xcf9,
    RESET_VALUE = 6,
};

enum {
    FADT_WBINVD = 1 << 0,
    FADT_PROC_C1 = 1 << 2,
    FADT_NO_SLEEP_BUTTON = 1 << 5, // but a fixed power button: bit 4 stays 0
    FADT_RESET_REGISTER = 1 << 10,
};

#define LOCAL_APIC_ADDRESS 0xfee00000u
#define IOAPIC_ADDRESS 0xfec00000u
#define HPET_ADDRESS 0xfed00000u
#define HPET_ID 0x8086a201u // 3 timers, 64-bit counter, legacy routing, revision 1

#define FILE_TABLES "etc/acpi/tables"
#define FILE_RSDP "etc/acpi/rsdp"

typedef struct {
    bool in_rsdp;    // the pointer or sum stands in the RSDP, else in the blob
    bool checksum;   // of [start, start + length); else a pointer into the blob
    uint32_t offset; // of the field
    uint32_t size;   // of the pointer, 4 or 8
    uint32_t start, length;
} Fixup;

struct AcpiTables {
    GByteArray *blob;
    uint8_t rsdp[RSDP_SIZE];
    GArray *fixups; // of Fixup, in the order to apply: pointers before the sums over them
    GArray *starts; // of guint: each table in the blob
};

static void append_u8(GByteArray *array, uint8_t value)
{
    g_byte_array_append(array, &value, 1);
}

static void append_le16(GByteArray *array, uint16_t value)
{
    uint8_t bytes[2];
    le16_write(bytes, value);
    g_byte_array_append(array, bytes, sizeof(bytes));
}

static void append_le32(GByteArray *array, uint32_t value)
{
    uint8_t bytes[4];
    le32_write(bytes, value);
    g_byte_array_append(array, bytes, sizeof(bytes));
}

static void append_le64(GByteArray *array, uint64_t value)
{
    uint8_t bytes[8];
    le64_write(bytes, value);
    g_byte_array_append(array, bytes, sizeof(bytes));
}

static void append_zeros(GByteArray *array, guint count)
{
    guint old = array->len;
    g_byte_array_set_size(array, old + count);
    memset(array->data + old, 0, count);
}

// Generic address structure (ACPI 6.4, 5.2.3.2).
static void append_gas(GByteArray *array, bool port, uint8_t bits, uint64_t address)
{
    const uint8_t head[4] = { port ? 1 : 0, bits, 0, 0 };
    g_byte_array_append(array, head, sizeof(head));
    append_le64(array, address);
}

static uint8_t checksum_byte(const uint8_t *data, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + data[i]);
    return (uint8_t)-sum;
}

static guint open_table(AcpiTables *tables, const char *signature, uint8_t revision)
{
    GByteArray *blob = tables->blob;
    append_zeros(blob, (8 - blob->len % 8) % 8);
    guint start = blob->len;
    g_array_append_val(tables->starts, start);
    g_byte_array_append(blob, (const uint8_t *)signature, 4);
    append_le32(blob, 0);
    append_u8(blob, revision);
    append_u8(blob, 0);
    g_byte_array_append(blob, (const uint8_t *)"LODGE ", 6);
    g_byte_array_append(blob, (const uint8_t *)"CLASSIC1", 8);
    append_le32(blob, 1);
    g_byte_array_append(blob, (const uint8_t *)"LODG", 4);
    append_le32(blob, 1);
    return start;
}

static void add_pointer(AcpiTables *tables, bool in_rsdp, guint offset, guint size, guint target)
{
    uint8_t *field = (in_rsdp ? tables->rsdp : tables->blob->data) + offset;
    if (size == 8)
        le64_write(field, target);
    else
        le32_write(field, target);
    Fixup fixup = { .in_rsdp = in_rsdp, .offset = offset, .size = size };
    g_array_append_val(tables->fixups, fixup);
}

static void add_checksum(AcpiTables *tables, bool in_rsdp, guint offset, guint start, guint length)
{
    Fixup fixup = { in_rsdp, true, offset, 0, start, length };
    g_array_append_val(tables->fixups, fixup);
}

// Fills in the length, and the checksum: now, or after the loader has placed the pointers.
static void close_table(AcpiTables *tables, guint start, bool has_pointers)
{
    uint8_t *table = tables->blob->data + start;
    guint length = tables->blob->len - start;
    le32_write(table + HEADER_LENGTH, length);
    table[HEADER_CHECKSUM] = 0;
    if (has_pointers)
        add_checksum(tables, false, start + HEADER_CHECKSUM, start, length);
    else
        table[HEADER_CHECKSUM] = checksum_byte(table, length);
}

static guint build_facs(AcpiTables *tables)
{
    GByteArray *blob = tables->blob;
    guint start = blob->len;
    g_array_append_val(tables->starts, start);
    append_zeros(blob, 64);
    memcpy(blob->data + start, "FACS", 4);
    le32_write(blob->data + start + HEADER_LENGTH, 64);
    blob->data[start + 32] = 1; // version
    return start;
}

static guint build_dsdt(AcpiTables *tables, const AcpiConfig *config)
{
    GByteArray *blob = tables->blob;
    append_zeros(blob, (8 - blob->len % 8) % 8);
    guint start = blob->len;
    g_array_append_val(tables->starts, start);
    g_byte_array_append(blob, dsdt_classic_1_aml_code, sizeof(dsdt_classic_1_aml_code));

    const struct {
        const char *name;
        uint32_t value;
    } patches[] = {
        { "WMIN", acpi_pci_window_start(config->ram_below_4g) },
        { "HPTE", config->hpet ? 0x0f : 0 },
        { "COM1", config->uarts >= 1 ? 0x0f : 0 },
        { "COM2", config->uarts >= 2 ? 0x0f : 0 },
        { "FDCE", config->floppy ? 0x0f : 0 },
        { "GENE", config->generation ? 0x0f : 0 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(patches); i++) {
        gboolean patched = aml_patch_name(blob->data + start, blob->len - start, patches[i].name,
                                          patches[i].value);
        g_return_val_if_fail(patched, start); // the ASL and this list disagree
    }
    close_table(tables, start, false);
    return start;
}

static guint build_ssdt(AcpiTables *tables, const AcpiConfig *config)
{
    guint start = open_table(tables, "SSDT", 2);
    guint scope = aml_open_scope(tables->blob, "\\_PR_");
    for (unsigned cpu = 0; cpu < config->cpus; cpu++) {
        char name[8];
        g_snprintf(name, sizeof(name), "C%03X", cpu & 0xfff);
        aml_processor(tables->blob, name, (uint8_t)cpu);
    }
    aml_close(tables->blob, scope);
    close_table(tables, start, false);
    return start;
}

static guint build_fadt(AcpiTables *tables, const AcpiConfig *config, guint facs, guint dsdt)
{
    GByteArray *blob = tables->blob;
    uint16_t pm = config->pm_base;
    guint start = open_table(tables, "FACP", 3);
    append_le32(blob, 0);       // FACS, below
    append_le32(blob, 0);       // DSDT, below
    append_u8(blob, 0);         // reserved (was: interrupt model)
    append_u8(blob, 1);         // preferred profile: desktop
    append_le16(blob, SCI_IRQ);
    append_le32(blob, config->smi_command_port);
    append_u8(blob, config->smi_command_port ? 0xf1 : 0); // ACPI_ENABLE
    append_u8(blob, config->smi_command_port ? 0xf0 : 0); // ACPI_DISABLE
    append_u8(blob, 0);         // S4BIOS_REQ
    append_u8(blob, 0);         // PSTATE_CNT
    append_le32(blob, pm);      // PM1a event block
    append_le32(blob, 0);       // PM1b event block
    append_le32(blob, pm + 4u); // PM1a control block
    append_le32(blob, 0);       // PM1b control block
    append_le32(blob, 0);       // PM2 control block
    append_le32(blob, pm + 8u); // PM timer
    append_le32(blob, config->gpe0_base);
    append_le32(blob, 0);       // GPE1
    append_u8(blob, 4);         // lengths: PM1 event,
    append_u8(blob, 2);         // PM1 control,
    append_u8(blob, 0);         // PM2 control,
    append_u8(blob, 4);         // PM timer,
    append_u8(blob, config->gpe0_base ? config->gpe0_length : 0);
    append_u8(blob, 0);         // GPE1
    append_u8(blob, 0);         // GPE1 base
    append_u8(blob, 0);         // _CST support
    append_le16(blob, 0xfff);   // C2 latency, us: not supported
    append_le16(blob, 0xfff);   // C3 latency, us: not supported
    append_le16(blob, 0);       // flush size, stride: WBINVD works
    append_le16(blob, 0);
    append_u8(blob, 0);         // duty offset, width
    append_u8(blob, 0);
    append_u8(blob, 0);         // day alarm, month alarm: none
    append_u8(blob, 0);
    append_u8(blob, CMOS_CENTURY);
    append_le16(blob, 3);       // boot architecture: ISA devices, an 8042
    append_u8(blob, 0);
    append_le32(blob, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_RESET_REGISTER);
    append_gas(blob, true, 8, RESET_PORT);
    append_u8(blob, RESET_VALUE);
    append_zeros(blob, 3);
    append_le64(blob, 0);       // X_FACS: the 32-bit field holds it
    append_le64(blob, 0);       // X_DSDT, below
    append_gas(blob, true, 32, pm);
    append_gas(blob, true, 0, 0);
    append_gas(blob, true, 16, pm + 4u);
    append_gas(blob, true, 0, 0);
    append_gas(blob, true, 0, 0);
    append_gas(blob, true, 32, pm + 8u);
    append_gas(blob, true, config->gpe0_base ? config->gpe0_length * 8 : 0, config->gpe0_base);
    append_gas(blob, true, 0, 0);
    g_return_val_if_fail(blob->len - start == FADT_SIZE, start);

    add_pointer(tables, false, start + FADT_FACS, 4, facs);
    add_pointer(tables, false, start + FADT_DSDT, 4, dsdt);
    add_pointer(tables, false, start + FADT_X_DSDT, 8, dsdt);
    close_table(tables, start, true);
    return start;
}

static void append_source_override(GByteArray *blob, uint8_t irq, uint32_t gsi, uint16_t flags)
{
    const uint8_t head[4] = { 2, 10, 0, irq };
    g_byte_array_append(blob, head, sizeof(head));
    append_le32(blob, gsi);
    append_le16(blob, flags);
}

static guint build_madt(AcpiTables *tables, const AcpiConfig *config)
{
    GByteArray *blob = tables->blob;
    guint start = open_table(tables, "APIC", 1);
    append_le32(blob, LOCAL_APIC_ADDRESS);
    append_le32(blob, 1); // there are 8259s too
    for (unsigned cpu = 0; cpu < config->cpus; cpu++) {
        const uint8_t local_apic[4] = { 0, 8, (uint8_t)cpu, (uint8_t)cpu };
        g_byte_array_append(blob, local_apic, sizeof(local_apic));
        append_le32(blob, 1); // enabled
    }
    const uint8_t ioapic[4] = { 1, 12, config->ioapic_id, 0 };
    g_byte_array_append(blob, ioapic, sizeof(ioapic));
    append_le32(blob, IOAPIC_ADDRESS);
    append_le32(blob, 0);
    append_source_override(blob, 0, 2, 0);      // the PIT is on pin 2
    const uint16_t level_high = 0x000d;
    append_source_override(blob, 5, 5, level_high);
    append_source_override(blob, SCI_IRQ, SCI_IRQ, level_high);
    append_source_override(blob, 10, 10, level_high);
    append_source_override(blob, 11, 11, level_high);
    const uint8_t nmi[6] = { 4, 6, 0xff, 0, 0, 1 }; // LINT1 of every CPU
    g_byte_array_append(blob, nmi, sizeof(nmi));
    close_table(tables, start, false);
    return start;
}

static guint build_hpet(AcpiTables *tables)
{
    GByteArray *blob = tables->blob;
    guint start = open_table(tables, "HPET", 1);
    append_le32(blob, HPET_ID);
    append_gas(blob, false, 0, HPET_ADDRESS);
    append_u8(blob, 0);     // sequence number
    append_le16(blob, 100); // least clock ticks in periodic mode
    append_u8(blob, 0);     // page protection
    close_table(tables, start, false);
    return start;
}

static guint build_waet(AcpiTables *tables)
{
    guint start = open_table(tables, "WAET", 1);
    append_le32(tables->blob, 1 << 1); // one read of the PM timer is enough
    close_table(tables, start, false);
    return start;
}

static guint build_root(AcpiTables *tables, const char *signature, guint pointer_size,
                        const guint *targets, size_t count)
{
    guint start = open_table(tables, signature, 1);
    for (size_t i = 0; i < count; i++) {
        guint offset = tables->blob->len;
        append_zeros(tables->blob, pointer_size);
        add_pointer(tables, false, offset, pointer_size, targets[i]);
    }
    close_table(tables, start, true);
    return start;
}

static void build_rsdp(AcpiTables *tables, guint rsdt, guint xsdt)
{
    memcpy(tables->rsdp, "RSD PTR ", 8);
    memcpy(tables->rsdp + 9, "LODGE ", 6);
    tables->rsdp[15] = 2; // revision
    le32_write(tables->rsdp + 20, RSDP_SIZE);
    add_pointer(tables, true, RSDP_RSDT, 4, rsdt);
    add_pointer(tables, true, RSDP_XSDT, 8, xsdt);
    add_checksum(tables, true, RSDP_CHECKSUM, 0, RSDP_V1_SIZE);
    add_checksum(tables, true, RSDP_EXTENDED_CHECKSUM, 0, RSDP_SIZE);
}

AcpiTables *acpi_tables_new(const AcpiConfig *config)
{
    AcpiTables *tables = g_new0(AcpiTables, 1);
    tables->blob = g_byte_array_new();
    tables->fixups = g_array_new(FALSE, FALSE, sizeof(Fixup));
    tables->starts = g_array_new(FALSE, FALSE, sizeof(guint));

    guint facs = build_facs(tables);
    guint dsdt = build_dsdt(tables, config);
    guint root[8];
    size_t count = 0;
    root[count++] = build_fadt(tables, config, facs, dsdt);
    root[count++] = build_ssdt(tables, config);
    root[count++] = build_madt(tables, config);
    if (config->hpet)
        root[count++] = build_hpet(tables);
    root[count++] = build_waet(tables);
    guint rsdt = build_root(tables, "RSDT", 4, root, count);
    guint xsdt = build_root(tables, "XSDT", 8, root, count);
    build_rsdp(tables, rsdt, xsdt);
    return tables;
}

void acpi_tables_free(AcpiTables *tables)
{
    if (!tables)
        return;
    g_byte_array_unref(tables->blob);
    g_array_unref(tables->fixups);
    g_array_unref(tables->starts);
    g_free(tables);
}

// One command of the loader script; names are FW_CFG_FILE_NAME_SIZE bytes, zero-padded.
static uint8_t *append_command(GByteArray *script, uint32_t command)
{
    guint start = script->len;
    append_zeros(script, 128);
    le32_write(script->data + start, command);
    return script->data + start + 4;
}

static void append_allocate(GByteArray *script, const char *file, uint32_t alignment, uint8_t zone)
{
    uint8_t *fields = append_command(script, 1);
    g_strlcpy((char *)fields, file, FW_CFG_FILE_NAME_SIZE);
    le32_write(fields + FW_CFG_FILE_NAME_SIZE, alignment);
    fields[FW_CFG_FILE_NAME_SIZE + 4] = zone;
}

void acpi_tables_add_files(const AcpiTables *tables, FwCfg *fw_cfg)
{
    const uint8_t zone_high = 1, zone_f_segment = 2;
    g_autoptr(GByteArray) script = g_byte_array_new();
    append_allocate(script, FILE_RSDP, 16, zone_f_segment);
    append_allocate(script, FILE_TABLES, BLOB_ALIGN, zone_high);
    for (guint i = 0; i < tables->fixups->len; i++) {
        const Fixup *fixup = &g_array_index(tables->fixups, Fixup, i);
        const char *file = fixup->in_rsdp ? FILE_RSDP : FILE_TABLES;
        if (fixup->checksum) {
            uint8_t *fields = append_command(script, 3);
            g_strlcpy((char *)fields, file, FW_CFG_FILE_NAME_SIZE);
            fields += FW_CFG_FILE_NAME_SIZE;
            le32_write(fields, fixup->offset);
            le32_write(fields + 4, fixup->start);
            le32_write(fields + 8, fixup->length);
        } else {
            uint8_t *fields = append_command(script, 2);
            g_strlcpy((char *)fields, file, FW_CFG_FILE_NAME_SIZE);
            fields += FW_CFG_FILE_NAME_SIZE;
            g_strlcpy((char *)fields, FILE_TABLES, FW_CFG_FILE_NAME_SIZE);
            fields += FW_CFG_FILE_NAME_SIZE;
            le32_write(fields, fixup->offset);
            fields[4] = (uint8_t)fixup->size;
        }
    }
    fw_cfg_add_file(fw_cfg, FILE_TABLES, tables->blob->data, tables->blob->len);
    fw_cfg_add_file(fw_cfg, FILE_RSDP, tables->rsdp, sizeof(tables->rsdp));
    fw_cfg_add_file(fw_cfg, "etc/table-loader", script->data, script->len);
}

uint64_t acpi_tables_size(const AcpiTables *tables)
{
    return tables->blob->len;
}

bool acpi_tables_place(const AcpiTables *tables, GuestMemory *memory, uint64_t address,
                       uint64_t rsdp_address)
{
    g_autofree uint8_t *blob = g_memdup2(tables->blob->data, tables->blob->len);
    uint8_t rsdp[RSDP_SIZE];
    memcpy(rsdp, tables->rsdp, sizeof(rsdp));
    for (guint i = 0; i < tables->fixups->len; i++) {
        const Fixup *fixup = &g_array_index(tables->fixups, Fixup, i);
        uint8_t *base = fixup->in_rsdp ? rsdp : blob;
        uint8_t *field = base + fixup->offset;
        if (fixup->checksum)
            *field = checksum_byte(base + fixup->start, fixup->length);
        else if (fixup->size == 8)
            le64_write(field, le64_read(field) + address);
        else
            le32_write(field, (uint32_t)(le32_read(field) + address));
    }
    return guest_memory_write(memory, rsdp_address, rsdp, sizeof(rsdp)) &&
           guest_memory_write(memory, address, blob, tables->blob->len);
}

void acpi_tables_for_each(const AcpiTables *tables,
                          void (*visit)(void *opaque, const char *signature, const uint8_t *table,
                                        size_t size),
                          void *opaque)
{
    for (guint i = 0; i < tables->starts->len; i++) {
        const uint8_t *table = tables->blob->data + g_array_index(tables->starts, guint, i);
        char signature[5] = { 0 };
        memcpy(signature, table, 4);
        visit(opaque, signature, table, le32_read(table + HEADER_LENGTH));
    }
}

uint32_t acpi_pci_window_start(uint64_t ram_below_4g)
{
    // Where SeaBIOS 1.16 starts to place BARs on an i440FX.
    return ram_below_4g <= 0x80000000u ? 0x80000000u : 0xc0000000u;
}
