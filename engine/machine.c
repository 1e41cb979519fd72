// SPDX-License-Identifier: GPL-2.0-or-later
// A machine's life: everything is opened first (files, sockets, helper processes), then the board
// is built, so that the engine can lock itself down between machine_new and the first instruction.
#include "engine/machine-private.h"

#include "engine/devices/input/vmware-backdoor.h"
#include "engine/machine-state.h"
#include "engine/sandbox.h"
#include "engine/spice/lodge-spice.h"
#include "engine/vcpu/select.h"

#include <gio/gio.h>
#include <string.h>
#include <unistd.h>

// Guest-physical addresses end here: 1 TiB, more than RAM and all of PCI need.
#define PHYSICAL_LIMIT (UINT64_C(1) << 40)

typedef struct {
    MachineEvent event;
    uint32_t value;
    char *text;
} PostedEvent;

static void posted_event_free(PostedEvent *posted)
{
    g_free(posted->text);
    g_free(posted);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PostedEvent, posted_event_free)

static gboolean deliver_event(gpointer opaque)
{
    Machine *machine = opaque;
    g_autoptr(PostedEvent) posted = g_async_queue_try_pop(machine->events);
    if (posted)
        machine->options.event(machine->options.opaque, posted->event, posted->value,
                               posted->text);
    return G_SOURCE_REMOVE;
}

void machine_post(Machine *machine, MachineEvent event, uint32_t value, const char *text)
{
    PostedEvent *posted = g_new0(PostedEvent, 1);
    *posted = (PostedEvent){ event, value, g_strdup(text) };
    g_async_queue_push(machine->events, posted);
    g_idle_add_full(G_PRIORITY_HIGH, deliver_event, machine, NULL);
}

// What chips ask for. Machine lock held, any thread.

static void request_reset(void *opaque)
{
    machine_post(opaque, MACHINE_WANTS_RESET, 0, NULL);
}

static void request_power_off(void *opaque)
{
    machine_post(opaque, MACHINE_WANTS_POWER_OFF, 0, NULL);
}

static void vcpu_shutdown(void *opaque, unsigned cpu)
{
    machine_post(opaque, MACHINE_TRIPLE_FAULT, cpu, NULL);
}

static void vcpu_failed(void *opaque, unsigned cpu, const char *text)
{
    machine_post(opaque, MACHINE_FAILED, cpu, text);
}

static bool backdoor_in(void *opaque, uint32_t registers[6])
{
    Machine *machine = opaque;
    return machine->backdoor && vmware_backdoor_in(machine->backdoor, registers);
}

void *machine_add_device(Machine *machine, const DeviceOps *ops, const void *config,
                         GError **error)
{
    Device device = { ops, ops->create(config, &machine->host, error) };
    if (!device.state) {
        g_prefix_error(error, "%s: ", ops->name);
        return NULL;
    }
    g_array_append_val(machine->devices, device);
    return device.state;
}

uint64_t machine_ram_size(const Machine *machine)
{
    return (uint64_t)config_integer(machine->config, "memory.size");
}

static bool check_host_memory(uint64_t wanted, GError **error)
{
    uint64_t host = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (wanted <= host)
        return true;
    g_autofree char *have = g_format_size_full(host, G_FORMAT_SIZE_IEC_UNITS);
    g_autofree char *want = g_format_size_full(wanted, G_FORMAT_SIZE_IEC_UNITS);
    g_set_error(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE,
                "the machine wants %s of memory, this computer has %s; set memory.size lower", want,
                have);
    return false;
}

// Whether the backend can give the guest the processor that it was saved with.
static bool backend_fits(const VcpuBackendOps *backend, const MachineStateNeeds *needs,
                         GError **error)
{
    CpuFeatureSet lacks = needs->features & ~backend->features();
    if (lacks) {
        g_autofree char *names = machine_state_feature_names(lacks);
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "the state was saved under %s; %s here lacks these processor features: %s; "
                    "resume it under another engine", needs->backend, backend->name, names);
        return false;
    }
    if (backend->tsc_hz && backend->tsc_hz() != needs->tsc_hz) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "the state was saved with a time stamp counter of %" G_GUINT64_FORMAT
                    " Hz, %s has one of %" G_GUINT64_FORMAT " Hz; resume it under another engine",
                    needs->tsc_hz, backend->name, backend->tsc_hz());
        return false;
    }
    return true;
}

static bool read_needs(const MachineStateSource *source, MachineStateNeeds *ret_needs,
                       GError **error)
{
    g_autoptr(GBytes) bytes = source->form(source->opaque, error);
    g_autoptr(StateForm) form = bytes ? state_form_decode(bytes, error) : NULL;
    return form && machine_state_needs(form, ret_needs, error);
}

// Where the choice is ours, what ran the machine before goes first.
static const VcpuBackendOps *select_for_state(Machine *machine, const MachineStateNeeds *needs,
                                              GError **error)
{
    const char *wanted = config_string(machine->config, "cpu.engine");
    if (strcmp(wanted, "auto") == 0) {
        const VcpuBackendOps *same = vcpu_select(needs->backend, &machine->backend_why, NULL);
        if (same && backend_fits(same, needs, NULL)) {
            g_free(machine->backend_why);
            machine->backend_why = g_strdup_printf("the state was saved under %s", same->name);
            return same;
        }
        g_clear_pointer(&machine->backend_why, g_free);
    }
    const VcpuBackendOps *backend = vcpu_select(wanted, &machine->backend_why, error);
    return backend && backend_fits(backend, needs, error) ? backend : NULL;
}

static bool select_backend(Machine *machine, GError **error)
{
    machine->cpus = (unsigned)config_integer(machine->config, "cpu.count");
    MachineStateNeeds needs;
    if (machine->options.resume) {
        if (!read_needs(machine->options.resume, &needs, error))
            return false;
        machine->backend = select_for_state(machine, &needs, error);
    } else {
        machine->backend = vcpu_select(config_string(machine->config, "cpu.engine"),
                                       &machine->backend_why, error);
        if (machine->backend)
            needs = (MachineStateNeeds){ machine->backend->features(),
                                         vcpu_select_tsc_hz(machine->backend), { 0 } };
    }
    if (!machine->backend)
        return false;
    cpuid_model_build(&machine->cpuid, needs.features, machine->cpus, needs.tsc_hz);
    return true;
}

static bool build_vcpus(Machine *machine, GError **error)
{
    if (!select_backend(machine, error))
        return false;
    VcpuSetConfig config = {
        .backend = machine->backend,
        .memory = machine->memory,
        .bus = machine->bus,
        .clock = machine->clock,
        .cpuid = &machine->cpuid,
        .cpus = machine->cpus,
        .backdoor = backdoor_in,
        .shutdown = vcpu_shutdown,
        .failed = vcpu_failed,
        .opaque = machine,
    };
    machine->vcpus = vcpu_set_new(&config, error);
    return machine->vcpus != NULL;
}

static bool open_all(Machine *machine, GError **error)
{
    return machine_open_storage(machine, error) && machine_check_disposable(machine, error) &&
           machine_open_kernel(machine, error) && machine_open_network(machine, error) &&
           machine_open_serial(machine, error) &&
           machine_open_display_server(machine, error);
}

static bool build_all(Machine *machine, GError **error)
{
    bus_lock(machine->bus);
    bool built = machine_build_board(machine, error) && machine_build_display(machine, error) &&
                 machine_build_serial(machine, error) && machine_build_storage(machine, error) &&
                 machine_build_network(machine, error) && machine_build_firmware(machine, error);
    bus_unlock(machine->bus);
    return built;
}

// Devices in order of creation, CPUs, then the kernel that skips the firmware. Not running, no
// requests in flight.
static bool reset_all(Machine *machine, ResetKind kind, GError **error)
{
    bus_lock(machine->bus);
    for (guint i = 0; i < machine->devices->len; i++) {
        const Device *device = &g_array_index(machine->devices, Device, i);
        device->ops->reset(device->state, kind);
    }
    vcpu_set_reset(machine->vcpus);
    bool entered = !machine->kernel || machine_enter_kernel(machine, error);
    bus_unlock(machine->bus);
    return entered;
}

static Machine *machine_allocate(const MachineOptions *options)
{
    Machine *machine = g_new0(Machine, 1);
    machine->options = *options;
    machine->config = config_copy(options->config);
    machine->folder = g_strdup(options->folder);
    machine->spice_socket = g_strdup(options->spice_socket);
    machine->scanout_socket = g_strdup(options->scanout_socket);
    machine->options.config = machine->config;
    machine->options.folder = machine->folder;
    machine->options.spice_socket = machine->spice_socket;
    machine->options.scanout_socket = machine->scanout_socket;
    machine->events = g_async_queue_new_full((GDestroyNotify)posted_event_free);
    machine->devices = g_array_new(FALSE, FALSE, sizeof(Device));
    machine->bus = bus_new();
    machine->memory = guest_memory_new(PHYSICAL_LIMIT);
    machine->clock = clock_new(bus_mutex(machine->bus));
    machine->input = input_router_new();
    machine->display = display_hub_new();
    machine->host = (DeviceHost){
        .bus = machine->bus,
        .memory = machine->memory,
        .clock = machine->clock,
        .request_reset = request_reset,
        .request_power_off = request_power_off,
        .request_opaque = machine,
    };
    return machine;
}

Machine *machine_new(const MachineOptions *options, GError **error)
{
    g_autoptr(Machine) machine = machine_allocate(options);
    if (!config_check(machine->config, error) ||
        !check_host_memory(machine_ram_size(machine), error) || !open_all(machine, error) ||
        !machine_find_state(machine, error))
        return NULL;
    machine->ram = ram_block_new("ram", machine_ram_size(machine), error);
    if (!machine->ram || !build_vcpus(machine, error) || !build_all(machine, error) ||
        !reset_all(machine, RESET_COLD, error) ||
        (machine->options.resume &&
         !machine_state_load(machine, machine->options.resume, error)))
        return NULL;
    return g_steal_pointer(&machine);
}

bool machine_check_files(const MachineOptions *options, GError **error)
{
    g_autoptr(Machine) machine = machine_allocate(options);
    return config_check(machine->config, error) &&
           check_host_memory(machine_ram_size(machine), error) &&
           machine_open_storage(machine, error) && machine_open_kernel(machine, error);
}

void machine_free(Machine *machine)
{
    if (!machine)
        return;
    if (machine->running)
        machine_pause(machine);
    machine_drain_storage(machine);
    machine_close_display(machine);

    bus_lock(machine->bus);
    for (guint i = machine->devices->len; i-- > 0;) {
        const Device *device = &g_array_index(machine->devices, Device, i);
        device->ops->destroy(device->state);
    }
    pci_bus_free(machine->pci);
    bus_unlock(machine->bus);

    machine_close_storage(machine);
    machine_close_network(machine);
    machine_close_serial(machine);
    vcpu_set_free(machine->vcpus);
    clock_free(machine->clock);
    guest_memory_free(machine->memory);
    bus_free(machine->bus);
    input_router_free(machine->input);
    display_hub_free(machine->display);
    acpi_tables_free(machine->acpi);
    g_clear_pointer(&machine->ram, ram_block_free);
    g_clear_pointer(&machine->bios, ram_block_free);
    g_clear_pointer(&machine->vga_bios, g_bytes_unref);
    g_clear_pointer(&machine->kernel, g_bytes_unref);
    g_clear_pointer(&machine->initrd, g_bytes_unref);
    g_free(machine->kernel_name);
    g_array_unref(machine->devices);

    // Nobody is left who could post.
    while (g_idle_remove_by_data(machine))
        ;
    g_async_queue_unref(machine->events);
    config_free(machine->config);
    g_free(machine->folder);
    g_free(machine->spice_socket);
    g_free(machine->scanout_socket);
    g_free(machine->backend_why);
    g_free(machine);
}

bool machine_enter_sandbox(Machine *machine, GError **error)
{
    // The interpreter's host code is in memory that it mapped when it was made.
    SandboxConfig config = {
        .executable_memory = strcmp(machine->backend->name, "translator") == 0,
        .kvm = strcmp(machine->backend->name, "kvm") == 0,
    };
    return sandbox_enter(&config, error);
}

void machine_run(Machine *machine)
{
    g_return_if_fail(!machine->running);
    bus_lock(machine->bus);
    for (guint i = 0; i < machine->devices->len; i++) {
        const Device *device = &g_array_index(machine->devices, Device, i);
        if (device->ops->start)
            device->ops->start(device->state);
    }
    bus_unlock(machine->bus);
    clock_start(machine->clock);
    vcpu_set_run(machine->vcpus);
    machine->running = true;
    if (machine->spice)
        lodge_spice_resume(machine->spice);
}

void machine_pause(Machine *machine)
{
    g_return_if_fail(machine->running);
    vcpu_set_pause(machine->vcpus);
    clock_stop(machine->clock);
    if (machine->spice)
        lodge_spice_pause(machine->spice);
    bus_lock(machine->bus);
    for (guint i = 0; i < machine->devices->len; i++) {
        const Device *device = &g_array_index(machine->devices, Device, i);
        if (device->ops->stop)
            device->ops->stop(device->state);
    }
    bus_unlock(machine->bus);
    machine->running = false;
}

bool machine_is_resumed(const Machine *machine)
{
    return machine->options.resume != NULL;
}

bool machine_use_state(Machine *machine, GError **error)
{
    const MachineStateSource *source = g_steal_pointer(&machine->options.resume);
    return !source || source->consume(source->opaque, error);
}

void machine_drain(Machine *machine)
{
    machine_drain_storage(machine);
}

bool machine_is_running(const Machine *machine)
{
    return machine->running;
}

// Those that came before a reset are served by it.
static void drop_reset_requests(Machine *machine)
{
    for (gint n = g_async_queue_length(machine->events); n > 0; n--) {
        PostedEvent *posted = g_async_queue_pop(machine->events);
        if (posted->event == MACHINE_WANTS_RESET || posted->event == MACHINE_TRIPLE_FAULT)
            posted_event_free(posted);
        else
            g_async_queue_push(machine->events, posted);
    }
}

void machine_reset(Machine *machine, bool cold)
{
    bool was_running = machine->running;
    if (was_running)
        machine_pause(machine);
    machine_drain_storage(machine);
    drop_reset_requests(machine);
    g_autoptr(GError) error = NULL;
    if (!reset_all(machine, cold ? RESET_COLD : RESET_WARM, &error))
        machine_post(machine, MACHINE_FAILED, 0, error->message);
    else if (was_running)
        machine_run(machine);
}

const char *machine_backend_name(const Machine *machine)
{
    return machine->backend->name;
}

const char *machine_backend_why(const Machine *machine)
{
    return machine->backend_why ? machine->backend_why : "";
}

const Config *machine_config(const Machine *machine)
{
    return machine->config;
}

void machine_stats(Machine *machine, VcpuStats *ret_stats)
{
    vcpu_set_stats(machine->vcpus, ret_stats);
}

bool machine_sample(Machine *machine, unsigned cpu, VcpuSample *ret_sample)
{
    return vcpu_set_sample(machine->vcpus, cpu, ret_sample);
}

GMutex *machine_mutex(Machine *machine)
{
    return bus_mutex(machine->bus);
}

InputRouter *machine_input(Machine *machine)
{
    return machine->input;
}
