// SPDX-License-Identifier: GPL-2.0-or-later
// The tables under the judges that Debian's acpica-tools gives: iasl (disassemble, compile again
// without a warning) and acpiexec (evaluate methods).
#include "engine/firmware/acpi-tables.h"

#include "engine/base/bytes.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>

static const AcpiConfig board = {
    .cpus = 4,
    .ram_below_4g = 512 << 20,
    .uarts = 1,
    .floppy = true,
    .hpet = true,
    .pm_base = 0x600,
    .smi_command_port = 0xb2,
    .gpe0_base = 0xafe0,
    .gpe0_length = 4,
};

typedef struct {
    char *folder;
    GPtrArray *files; // names without extension
} Dump;

static void dump_table(void *opaque, const char *signature, const uint8_t *table, size_t size)
{
    Dump *dump = opaque;
    char *name = g_ascii_strdown(signature, -1);
    g_autofree char *path = g_strdup_printf("%s/%s.dat", dump->folder, name);
    g_assert_true(g_file_set_contents(path, (const char *)table, (gssize)size, NULL));
    g_ptr_array_add(dump->files, name);
}

static Dump *dump_new(const AcpiConfig *config)
{
    Dump *dump = g_new0(Dump, 1);
    dump->folder = g_dir_make_tmp("lodge-acpi-XXXXXX", NULL);
    dump->files = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(AcpiTables) tables = acpi_tables_new(config);
    acpi_tables_for_each(tables, dump_table, dump);
    return dump;
}

static void dump_free(Dump *dump)
{
    GDir *dir = g_dir_open(dump->folder, 0, NULL);
    for (const char *name; (name = g_dir_read_name(dir));) {
        g_autofree char *path = g_build_filename(dump->folder, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(dump->folder);
    g_free(dump->folder);
    g_ptr_array_unref(dump->files);
    g_free(dump);
}

static char *run(const char *folder, const char *const *arguments)
{
    char *out = NULL;
    g_autofree char *problems = NULL;
    int status;
    GError *error = NULL;
    g_spawn_sync(folder, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &out, &problems,
                 &status, &error);
    g_assert_no_error(error);
    char *all = g_strconcat(out, problems, NULL);
    g_free(out);
    return all;
}

static void round_trip(void)
{
    Dump *dump = dump_new(&board);
    for (guint i = 0; i < dump->files->len; i++) {
        const char *name = dump->files->pdata[i];
        g_autofree char *binary = g_strconcat(name, ".dat", NULL);
        g_autofree char *source = g_strconcat(name, ".dsl", NULL);
        const char *disassemble[] = { "iasl", "-d", binary, NULL };
        // 3168: the Processor form of ACPI 1.0 to 5.1, which we use on purpose.
        const char *compile[] = { "iasl", "-vw", "3168", "-p", "again", source, NULL };
        g_autofree char *first = run(dump->folder, disassemble);
        if (!strstr(first, "utput:"))
            g_error("%s: %s", name, first);
        g_autofree char *second = run(dump->folder, compile);
        if (!strstr(second, "0 Errors, 0 Warnings"))
            g_error("%s: %s", name, second);
    }
    dump_free(dump);
}

static char *evaluate(const AcpiConfig *config, const char *what)
{
    Dump *dump = dump_new(config);
    g_autofree char *command = g_strconcat("evaluate ", what, NULL);
    const char *arguments[] = { "acpiexec", "-b", command, "dsdt.dat", "ssdt.dat", NULL };
    char *out = run(dump->folder, arguments);
    dump_free(dump);
    return out;
}

// Counts the places where `needle` occurs.
static unsigned count(const char *text, const char *needle)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, needle)); p += strlen(needle))
        n++;
    return n;
}

static void sleep_state(void)
{
    g_autofree char *out = evaluate(&board, "\\_S5");
    g_assert_nonnull(strstr(out, "Evaluation of \\_S5 returned object"));
    g_assert_cmpuint(count(out, "[Integer] = 0000000000000000"), ==, 4);
}

static void interrupt_routing(void)
{
    g_autofree char *out = evaluate(&board, "\\_SB.PCI0._PRT");
    g_assert_nonnull(strstr(out, "[Package] Contains 116 Elements"));
    g_assert_cmpuint(count(out, "[Package] Contains 4 Elements"), ==, 116);
    // Slot 1 has the SCI instead of LNKA on INTA#.
    g_assert_cmpuint(count(out, "LNKS"), ==, 1);
    g_assert_cmpuint(count(out, "LNKA"), ==, 28);
    g_assert_cmpuint(count(out, "LNKB"), ==, 29);
    g_assert_cmpuint(count(out, "LNKC"), ==, 29);
    g_assert_cmpuint(count(out, "LNKD"), ==, 29);
}

static void root_window(void)
{
    g_autofree char *small = evaluate(&board, "\\WMIN");
    g_assert_nonnull(strstr(small, "0000000080000000"));
    AcpiConfig large = board;
    large.ram_below_4g = UINT64_C(3) << 30;
    g_autofree char *big = evaluate(&large, "\\WMIN");
    g_assert_nonnull(strstr(big, "00000000C0000000"));
    g_autofree char *resources = evaluate(&board, "\\_SB.PCI0._CRS");
    g_assert_nonnull(strstr(resources, "[Buffer]"));
    g_assert_nonnull(strstr(resources, "FF FF BF FE"));
}

static void absent_devices(void)
{
    AcpiConfig bare = board;
    bare.hpet = false;
    bare.uarts = 0;
    g_autofree char *hpet = evaluate(&bare, "\\_SB.HPET._STA");
    g_assert_nonnull(strstr(hpet, "[Integer] = 0000000000000000"));
    g_autofree char *uart = evaluate(&board, "\\_SB.PCI0.ISA.UAR1._STA");
    g_assert_nonnull(strstr(uart, "[Integer] = 000000000000000F"));
    g_autofree char *second = evaluate(&board, "\\_SB.PCI0.ISA.UAR2._STA");
    g_assert_nonnull(strstr(second, "[Integer] = 0000000000000000"));
}

static void generation_id(void)
{
    AcpiConfig with = board;
    with.generation = true;
    g_autofree char *here = evaluate(&with, "\\_SB.VGEN._STA");
    g_assert_nonnull(strstr(here, "[Integer] = 000000000000000F"));
    g_autofree char *absent = evaluate(&board, "\\_SB.VGEN._STA");
    g_assert_nonnull(strstr(absent, "[Integer] = 0000000000000000"));
    g_autofree char *address = evaluate(&with, "\\_SB.VGEN.ADDR");
    g_assert_nonnull(strstr(address, "[Package] Contains 2 Elements"));
    g_assert_nonnull(strstr(address, "[Integer] = 00000000FEF00000"));
    g_autofree char *names = evaluate(&with, "\\_SB.VGEN._CID");
    g_assert_nonnull(strstr(names, "VM_GEN_COUNTER")); // ACPI's own form of it
    g_assert_nonnull(strstr(names, "VMGENCTR"));
}

static uint8_t sum(const uint8_t *data, size_t size)
{
    uint8_t total = 0;
    while (size--)
        total = (uint8_t)(total + *data++);
    return total;
}

static void placed(void)
{
    const uint64_t tables_at = 0x80000, rsdp_at = 0xf0000;
    GuestMemory *memory = guest_memory_new(1 << 20);
    uint8_t *ram = g_aligned_alloc0(1, 1 << 20, 4096);
    guest_memory_map(memory, "ram", 0, 1 << 20, ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    g_autoptr(AcpiTables) tables = acpi_tables_new(&board);
    g_assert_true(acpi_tables_place(tables, memory, tables_at, rsdp_at));
    const uint8_t *rsdp = ram + rsdp_at;
    g_assert_cmpmem(rsdp, 8, "RSD PTR ", 8);
    g_assert_cmpuint(sum(rsdp, 20), ==, 0);
    g_assert_cmpuint(sum(rsdp, 36), ==, 0);
    const uint8_t *rsdt = ram + le32_read(rsdp + 16);
    const uint8_t *xsdt = ram + le64_read(rsdp + 24);
    g_assert_cmpmem(rsdt, 4, "RSDT", 4);
    g_assert_cmpmem(xsdt, 4, "XSDT", 4);
    g_assert_cmpuint(sum(xsdt, le32_read(xsdt + 4)), ==, 0);
    static const char *const order[] = { "FACP", "SSDT", "APIC", "HPET", "WAET" };
    g_assert_cmpuint((le32_read(rsdt + 4) - 36) / 4, ==, G_N_ELEMENTS(order));
    for (size_t i = 0; i < G_N_ELEMENTS(order); i++) {
        const uint8_t *table = ram + le32_read(rsdt + 36 + 4 * i);
        g_assert_cmpmem(table, 4, order[i], 4);
        g_assert_cmpuint(sum(table, le32_read(table + 4)), ==, 0);
        g_assert_true(table == ram + le64_read(xsdt + 36 + 8 * i));
    }
    const uint8_t *fadt = ram + le32_read(rsdt + 36);
    g_assert_cmpmem(ram + le32_read(fadt + 36), 4, "FACS", 4);
    g_assert_cmpuint(le32_read(fadt + 36) % 64, ==, 0);
    g_assert_cmpmem(ram + le32_read(fadt + 40), 4, "DSDT", 4);
    g_assert_cmphex(le32_read(fadt + 56), ==, 0x600);
    g_assert_false(acpi_tables_place(tables, memory, (1 << 20) - 64, rsdp_at));
    guest_memory_free(memory);
    g_aligned_free(ram);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi-tables/iasl-round-trip", round_trip);
    g_test_add_func("/acpi-tables/s5", sleep_state);
    g_test_add_func("/acpi-tables/prt", interrupt_routing);
    g_test_add_func("/acpi-tables/crs", root_window);
    g_test_add_func("/acpi-tables/absent-devices", absent_devices);
    g_test_add_func("/acpi-tables/generation-id", generation_id);
    g_test_add_func("/acpi-tables/placed", placed);
    return g_test_run();
}
