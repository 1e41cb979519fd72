// SPDX-License-Identifier: GPL-2.0-or-later
// Saving walks the devices in the order in which they were created. Loading does the same, and then
// loads the interrupt controllers a second time: while devices behind them are put in place their
// wires move, which a controller may take for edges.
#include "engine/machine-state.h"

#include "engine/base/bytes.h"
#include "engine/devices/chipset/rtc-mc146818.h"
#include "engine/devices/display/vga.h"
#include "engine/devices/input/vmware-backdoor.h"
#include "engine/machine-private.h"
#include "engine/machine-state-cpu.h"

#include <gio/gio.h>
#include <string.h>

// Virtual time is below this, ns: a machine that ran for longer than a century is none.
#define TIME_LIMIT (INT64_C(100) * 366 * 86400 * NS_PER_SECOND)

// Local APICs, PIC, I/O APIC: what machine-board.c creates first.
enum { INTERRUPT_CONTROLLERS = 3 };

enum { MODEL_HEAD = 8 + 8 + 16, TIME_SIZE = 16 };

static const char *const feature_names[CPU_FEATURE_COUNT] = {
    [CPU_FEATURE_SSE3] = "sse3", [CPU_FEATURE_SSSE3] = "ssse3", [CPU_FEATURE_SSE4_1] = "sse4.1",
    [CPU_FEATURE_SSE4_2] = "sse4.2", [CPU_FEATURE_POPCNT] = "popcnt", [CPU_FEATURE_AES] = "aes",
    [CPU_FEATURE_PCLMUL] = "pclmul", [CPU_FEATURE_SHA] = "sha", [CPU_FEATURE_MOVBE] = "movbe",
    [CPU_FEATURE_ADX] = "adx", [CPU_FEATURE_BMI1] = "bmi1", [CPU_FEATURE_BMI2] = "bmi2",
    [CPU_FEATURE_LZCNT] = "lzcnt", [CPU_FEATURE_CX16] = "cx16", [CPU_FEATURE_RDTSCP] = "rdtscp",
    [CPU_FEATURE_FSGSBASE] = "fsgsbase", [CPU_FEATURE_SMEP] = "smep", [CPU_FEATURE_SMAP] = "smap",
    [CPU_FEATURE_UMIP] = "umip", [CPU_FEATURE_NX] = "nx", [CPU_FEATURE_PCID] = "pcid",
    [CPU_FEATURE_INVPCID] = "invpcid", [CPU_FEATURE_PAGE_1G] = "pdpe1gb",
    [CPU_FEATURE_XSAVE] = "xsave", [CPU_FEATURE_AVX] = "avx", [CPU_FEATURE_AVX2] = "avx2",
    [CPU_FEATURE_FMA] = "fma", [CPU_FEATURE_F16C] = "f16c", [CPU_FEATURE_RDRAND] = "rdrand",
    [CPU_FEATURE_RDSEED] = "rdseed", [CPU_FEATURE_X2APIC] = "x2apic",
    [CPU_FEATURE_TSC_DEADLINE] = "tsc-deadline", [CPU_FEATURE_LONG_MODE] = "long-mode",
    [CPU_FEATURE_CLFLUSHOPT] = "clflushopt", [CPU_FEATURE_RDPID] = "rdpid",
    [CPU_FEATURE_XSAVEOPT] = "xsaveopt", [CPU_FEATURE_XSAVEC] = "xsavec",
    [CPU_FEATURE_LAHF_LM] = "lahf-lm", [CPU_FEATURE_NO_SPECULATION] = "no-speculation",
};

char *machine_state_feature_names(CpuFeatureSet features)
{
    GString *text = g_string_new(NULL);
    for (unsigned i = 0; i < 64; i++) {
        if (!(features >> i & 1))
            continue;
        g_string_append_printf(text, "%s", text->len ? ", " : "");
        if (i < CPU_FEATURE_COUNT && feature_names[i])
            g_string_append(text, feature_names[i]);
        else
            g_string_append_printf(text, "feature %u", i);
    }
    return g_string_free(text, FALSE);
}

RamBlock *machine_state_ram_block(Machine *machine, MachineMemoryBlock block)
{
    return block == MACHINE_MEMORY_RAM ? machine->ram : vga_video_memory(machine->vga);
}

uint8_t *machine_state_block(Machine *machine, MachineMemoryBlock block, uint64_t *ret_size)
{
    const RamBlock *ram = machine_state_ram_block(machine, block);
    *ret_size = ram->size;
    return ram->host;
}

// ---- What the machine is made of ----

static void line(GString *text, const char *key, const char *value)
{
    g_string_append_printf(text, "%s=%s\n", key, value);
}

static void block_line(GString *text, const char *kind, unsigned i, BlockDevice *block)
{
    if (!block)
        return;
    g_autofree char *key = g_strdup_printf("%s%u.size", kind, i);
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, block_size(block));
    line(text, key, size);
}

static char *describe(const Machine *machine)
{
    static const char *const keys[] = { "machine.board", "memory.size", "cpu.count",
                                        "display.vram" };
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++)
        line(text, keys[i], config_string(machine->config, keys[i]));
    for (unsigned i = 0; i < DISKS_MAX; i++)
        block_line(text, "disk", i, machine->disks[i]);
    for (unsigned i = 0; i < CDROMS_MAX; i++)
        block_line(text, "cdrom", i, machine->cdroms[i]);
    for (unsigned i = 0; i < FLOPPIES_MAX; i++)
        block_line(text, "floppy", i, machine->floppies[i]);
    for (unsigned i = 0; i < IDE_PLACES; i++) {
        const IdePlace *place = &machine->ide[i];
        g_autofree char *key = g_strdup_printf("ide.place%u", i);
        g_autofree char *what = g_strdup_printf("%s%u", place->cdrom ? "cdrom" : "disk",
                                                place->number);
        line(text, key, place->block || place->cdrom ? what : "nothing");
    }
    for (guint i = 0; i < machine->devices->len; i++) {
        g_autofree char *key = g_strdup_printf("device%u", i);
        line(text, key, g_array_index(machine->devices, Device, i).ops->name);
    }
    return g_string_free(text, FALSE);
}

// The first line that differs, as "key is A, was B".
static bool check_description(const Machine *machine, GBytes *record, GError **error)
{
    gsize size;
    const char *data = g_bytes_get_data(record, &size);
    g_autofree char *was = g_strndup(data, size);
    g_autofree char *is = describe(machine);
    if (strcmp(was, is) == 0)
        return true;
    g_auto(GStrv) old = g_strsplit(was, "\n", -1), new = g_strsplit(is, "\n", -1);
    for (unsigned i = 0;; i++) {
        const char *a = old[i] ? old[i] : "", *b = new[i] ? new[i] : "";
        if (strcmp(a, b) == 0 && old[i] && new[i])
            continue;
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the saved state does not fit the machine: it was saved with %s, now there is "
                    "%s; change the setting back, or discard the state",
                    *a ? a : "nothing more", *b ? b : "nothing more");
        return false;
    }
}

// ---- The processors' model ----

static GBytes *save_model(const Machine *machine)
{
    const CpuidModel *model = &machine->cpuid;
    size_t size = MODEL_HEAD + model->count * 24;
    uint8_t *data = g_malloc0(size), *at = data + MODEL_HEAD;
    le64_write(data, model->features);
    le64_write(data + 8, model->tsc_hz);
    g_strlcpy((char *)data + 16, machine->backend->name, 16);
    for (unsigned i = 0; i < model->count; i++, at += 24) {
        const CpuidEntry *entry = &model->entry[i];
        const uint32_t words[6] = { entry->leaf, entry->subleaf, entry->eax,
                                    entry->ebx,  entry->ecx,     entry->edx };
        for (unsigned word = 0; word < 6; word++)
            le32_write(at + 4 * word, words[word]);
    }
    return g_bytes_new_take(data, size);
}

static bool missing(const char *what, GError **error)
{
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the saved machine state is damaged: %s is missing or has another length", what);
    return false;
}

bool machine_state_needs(const StateForm *form, MachineStateNeeds *ret_needs, GError **error)
{
    gsize size = 0;
    GBytes *record = state_form_get(form, "cpu-model");
    const uint8_t *data = record ? g_bytes_get_data(record, &size) : NULL;
    if (size < MODEL_HEAD)
        return missing("the processor's model", error);
    MachineStateNeeds needs = { .features = le64_read(data), .tsc_hz = le64_read(data + 8) };
    if (!needs.tsc_hz || needs.tsc_hz > UINT64_C(100000000000)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the saved machine state is damaged: no processor counts %" G_GUINT64_FORMAT
                    " times a second", needs.tsc_hz);
        return false;
    }
    memcpy(needs.backend, data + 16, sizeof needs.backend - 1);
    *ret_needs = needs;
    return true;
}

static bool check_model(const Machine *machine, GBytes *record, GError **error)
{
    g_autoptr(GBytes) own = save_model(machine);
    gsize size, own_size;
    const uint8_t *data = g_bytes_get_data(record, &size), *have = g_bytes_get_data(own, &own_size);
    CpuFeatureSet features = le64_read(data) ^ machine->cpuid.features;
    if (features) {
        g_autofree char *names = machine_state_feature_names(features);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "the saved state does not fit the machine: its processors differ in %s", names);
        return false;
    }
    // Who wrote it does not matter, what the guest sees does.
    if (le64_read(data + 8) == machine->cpuid.tsc_hz && size == own_size &&
        memcmp(data + MODEL_HEAD, have + MODEL_HEAD, size - MODEL_HEAD) == 0)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the saved state does not fit the machine: another version of Lodge describes its "
                "processors in another way");
    return false;
}

// ---- Time: virtual ns, then microseconds since 1970 on the host's clock ----

static GBytes *save_time(const Machine *machine)
{
    uint8_t data[TIME_SIZE];
    le64_write(data, (uint64_t)clock_now(machine->clock));
    le64_write(data + 8, (uint64_t)clock_wall());
    return g_bytes_new(data, sizeof data);
}

static bool read_time(const StateForm *form, int64_t *ret_virtual, int64_t *ret_wall,
                      GError **error)
{
    gsize size = 0;
    GBytes *record = state_form_get(form, "time");
    const uint8_t *data = record ? g_bytes_get_data(record, &size) : NULL;
    if (size != TIME_SIZE)
        return missing("the time", error);
    *ret_virtual = (int64_t)le64_read(data);
    *ret_wall = (int64_t)le64_read(data + 8);
    if (*ret_virtual >= 0 && *ret_virtual < TIME_LIMIT && *ret_wall >= 0 &&
        *ret_wall < TIME_LIMIT / 1000)
        return true;
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                "the saved machine state is damaged: its time is impossible");
    return false;
}

// Clocks that the guest reads as wall time go on as if they had run all the while.
static void follow_host_time(Machine *machine, int64_t saved_wall)
{
    int64_t now = clock_wall();
    int64_t gone = (now - saved_wall + (now >= saved_wall ? 500000 : -500000)) / 1000000;
    if (gone)
        rtc_mc146818_set_time(machine->rtc, rtc_mc146818_time(machine->rtc) + gone);
    if (machine->backdoor)
        vmware_backdoor_set_time(machine->backdoor, now / 1000000);
}

// ---- All of it ----

static void record_name(char name[24], const char *kind, unsigned index)
{
    g_snprintf(name, 24, "%s.%u", kind, index);
}

static void take(StateForm *form, const char *name, GBytes *bytes)
{
    state_form_add(form, name, bytes);
    g_bytes_unref(bytes);
}

StateForm *machine_state_collect(Machine *machine)
{
    StateForm *form = state_form_new();
    char name[24];
    char *text = describe(machine);
    take(form, "machine", g_bytes_new_take(text, strlen(text)));
    take(form, "cpu-model", save_model(machine));
    take(form, "time", save_time(machine));
    for (unsigned i = 0; i < machine->cpus; i++) {
        record_name(name, "cpu", i);
        take(form, name, machine_state_save_cpu(machine->vcpus, i));
    }
    for (guint i = 0; i < machine->devices->len; i++) {
        const Device *device = &g_array_index(machine->devices, Device, i);
        record_name(name, "device", i);
        take(form, name, state_save(device->ops->state, device->state));
    }
    take(form, "firmware", g_bytes_new(machine->bios->host, machine->bios->size));
    return form;
}

static bool load_devices(Machine *machine, const StateForm *form, guint count, GError **error)
{
    for (guint i = 0; i < count; i++) {
        char name[24];
        record_name(name, "device", i);
        const Device *device = &g_array_index(machine->devices, Device, i);
        if (!state_load(device->ops->state, device->state, state_form_get(form, name), error))
            return false;
    }
    return true;
}

static bool load_all(Machine *machine, const StateForm *form, GError **error)
{
    for (unsigned i = 0; i < machine->cpus; i++) {
        char name[24];
        record_name(name, "cpu", i);
        if (!machine_state_load_cpu(machine->vcpus, i, state_form_get(form, name), error))
            return false;
    }
    if (!load_devices(machine, form, machine->devices->len, error) ||
        !load_devices(machine, form, MIN(machine->devices->len, INTERRUPT_CONTROLLERS), error))
        return false;
    memcpy(machine->bios->host, g_bytes_get_data(state_form_get(form, "firmware"), NULL),
           machine->bios->size);
    return true;
}

// Everything that can be told without touching the machine.
static bool check_form(Machine *machine, const StateForm *form, GError **error)
{
    GBytes *description = state_form_get(form, "machine");
    MachineStateNeeds needs;
    if (!description)
        return missing("what the machine is made of", error);
    if (!check_description(machine, description, error) ||
        !machine_state_needs(form, &needs, error) ||
        !check_model(machine, state_form_get(form, "cpu-model"), error))
        return false;
    static const char *const kinds[] = { "cpu", "device" };
    const unsigned counts[] = { machine->cpus, machine->devices->len };
    for (unsigned kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
        for (unsigned i = 0; i < counts[kind]; i++) {
            char name[24];
            record_name(name, kinds[kind], i);
            if (!state_form_get(form, name))
                return missing(name, error);
        }
    }
    GBytes *firmware = state_form_get(form, "firmware");
    if (!firmware || g_bytes_get_size(firmware) != machine->bios->size)
        return missing("the firmware", error);
    if (state_form_count(form) != 4 + machine->cpus + machine->devices->len)
        return missing("nothing, but something is too much: a record", error);
    return true;
}

bool machine_state_check(Machine *machine, const StateForm *form, GError **error)
{
    int64_t virtual_time, wall;
    return check_form(machine, form, error) && read_time(form, &virtual_time, &wall, error);
}

bool machine_state_apply(Machine *machine, const StateForm *form, bool *ret_touched,
                         GError **error)
{
    int64_t virtual_time, wall;
    *ret_touched = false;
    g_return_val_if_fail(!machine->running, false);
    if (!check_form(machine, form, error) || !read_time(form, &virtual_time, &wall, error))
        return false;
    *ret_touched = true;
    clock_set(machine->clock, virtual_time);
    bus_lock(machine->bus);
    guest_memory_replaced(machine->memory);
    bool loaded = load_all(machine, form, error);
    if (loaded)
        follow_host_time(machine, wall);
    bus_unlock(machine->bus);
    return loaded;
}

static bool load_memory(Machine *machine, const MachineStateSource *source, GError **error)
{
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        uint64_t size, saved = source->memory_size(source->opaque, block);
        uint8_t *host = machine_state_block(machine, block, &size);
        if (saved != size) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "the saved state does not fit the machine: it has %" G_GUINT64_FORMAT
                        " bytes of memory, the machine %" G_GUINT64_FORMAT, saved, size);
            return false;
        }
        bool replace = block == MACHINE_MEMORY_RAM;
        if (replace && !ram_block_detach(machine_state_ram_block(machine, block), error))
            return false;
        if (!source->memory(source->opaque, block, host, size, replace, error))
            return false;
    }
    return true;
}

bool machine_state_load(Machine *machine, const MachineStateSource *source, GError **error)
{
    g_autoptr(GBytes) bytes = source->form(source->opaque, error);
    g_autoptr(StateForm) form = bytes ? state_form_decode(bytes, error) : NULL;
    bool touched;
    if (!form || !machine_state_check(machine, form, error))
        return false;
    if (!load_memory(machine, source, error)) { // half of it may be new
        bus_lock(machine->bus);
        guest_memory_replaced(machine->memory);
        bus_unlock(machine->bus);
        return false;
    }
    if (!machine_state_apply(machine, form, &touched, error))
        return false;
    if (source->repeats)
        machine_renew_generation(machine);
    source->filled(source->opaque, machine->ram->host);
    return true;
}
