// SPDX-License-Identifier: GPL-2.0-or-later
// One thread per vCPU around VcpuBackendOps.run. A vCPU's `lock` guards what other threads ask of
// it (events, run or pause) and its condition variable is what it sleeps on; the backend's own
// kick brings it out of guest code to look.
#include "engine/vcpu/vcpu.h"

#include "engine/base/bytes.h"
#include "engine/base/guest-log.h"
#include "engine/vcpu/vcpu-fallback.h"

#include <gio/gio.h>
#include <pthread.h>
#include <stdio.h>

#define VMWARE_BACKDOOR_PORT 0x5658

typedef struct {
    VcpuSet *set;
    unsigned index;
    BackendVcpu *backend;
    pthread_t thread;
    bool has_thread;

    GMutex lock;
    GCond changed;
    // Under `lock`:
    bool quit;
    bool running;       // inside run or serving an exit
    bool init_pending;
    bool startup_pending;
    uint8_t startup_vector;
    bool interrupt;     // level of INTR
    bool nmi;           // an NMI was handed to the backend since it last halted
    // The thread's own; the main thread's while the CPU is paused:
    bool wait_for_sipi;
    bool halted; // HLT, and nothing has ended it yet
} Vcpu;

struct VcpuSet {
    VcpuSetConfig config;
    CpuidModel cpuid;
    const VcpuBackendOps *ops;
    BackendVm *vm;
    VcpuFallback *fallback; // NULL where the backend needs none
    LocalApic apic;
    bool run_wanted; // read under each vCPU's lock, written under all of them
    unsigned count;
    Vcpu vcpu[];
};

// Exits served in place. Machine lock held.

static void serve_port(VcpuSet *set, unsigned cpu, VcpuExit *exit)
{
    Bus *bus = set->config.bus;
    uint16_t port = exit->port.port;
    unsigned size = exit->port.size;
    if (exit->port.data) {
        if (exit->port.write)
            bus_port_write_block(bus, port, size, exit->port.count, exit->port.data);
        else
            bus_port_read_block(bus, port, size, exit->port.count, exit->port.data);
    } else if (port == VMWARE_BACKDOOR_PORT && size == 4 && !exit->port.write &&
               exit->port.registers && set->config.backdoor &&
               set->config.backdoor(set->config.opaque, exit->port.registers)) {
        exit->port.value = exit->port.registers[0];
    } else if (exit->port.write) {
        bus_port_write(bus, port, size, exit->port.value);
    } else {
        exit->port.value = (uint32_t)bus_port_read(bus, port, size);
    }
}

// An access that the memory map does not take directly: ROM (writes are dropped), RAM behind PAM
// that only writes reach, the local APIC's page, or a device.
static void serve_mmio(VcpuSet *set, unsigned cpu, VcpuExit *exit)
{
    uint64_t address = exit->mmio.address;
    unsigned size = exit->mmio.size;
    GuestPage page = guest_memory_page(set->config.memory, address);
    if (exit->mmio.write && (page.rom || page.host_write)) {
        if (page.host_write) {
            uint8_t bytes[8];
            le64_write(bytes, exit->mmio.value);
            guest_memory_write(set->config.memory, address, bytes, size);
        }
        return;
    }
    if (!exit->mmio.write && page.host_read) {
        uint8_t bytes[8] = { 0 };
        guest_memory_read(set->config.memory, address, bytes, size);
        exit->mmio.value = le64_read(bytes);
        return;
    }
    uint64_t apic_offset = address - set->apic.ops->base(set->apic.lapic, cpu);
    if (apic_offset < 0x1000) {
        if (exit->mmio.write)
            set->apic.ops->write(set->apic.lapic, cpu, (uint32_t)apic_offset,
                                 (uint32_t)exit->mmio.value);
        else
            exit->mmio.value = set->apic.ops->read(set->apic.lapic, cpu, (uint32_t)apic_offset);
    } else if (exit->mmio.write) {
        bus_mmio_write(set->config.bus, address, size, exit->mmio.value);
    } else {
        exit->mmio.value = bus_mmio_read(set->config.bus, address, size);
    }
}

static void serve_msr(VcpuSet *set, unsigned cpu, VcpuExit *exit)
{
    bool ok = exit->msr.write
                  ? set->apic.ops->msr_write(set->apic.lapic, cpu, exit->msr.index, exit->msr.value)
                  : set->apic.ops->msr_read(set->apic.lapic, cpu, exit->msr.index,
                                            &exit->msr.value);
    exit->msr.fault = !ok;
}

static void serve_cr8(VcpuSet *set, unsigned cpu, VcpuExit *exit)
{
    if (exit->cr8.write)
        set->apic.ops->set_cr8(set->apic.lapic, cpu, exit->cr8.value & 15);
    else
        exit->cr8.value = set->apic.ops->get_cr8(set->apic.lapic, cpu);
}

static void serve_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    static void (*const serve[VCPU_EXIT_COUNT])(VcpuSet *set, unsigned cpu, VcpuExit *exit) = {
        [VCPU_EXIT_PORT] = serve_port,
        [VCPU_EXIT_MMIO] = serve_mmio,
        [VCPU_EXIT_MSR] = serve_msr,
        [VCPU_EXIT_CR8] = serve_cr8,
    };
    VcpuSet *set = opaque;
    if (!serve[exit->reason])
        return;
    bus_lock(set->config.bus);
    serve[exit->reason](set, cpu, exit);
    bus_unlock(set->config.bus);
}

static int acknowledge(void *opaque, unsigned cpu)
{
    VcpuSet *set = opaque;
    bus_lock(set->config.bus);
    int vector = set->apic.ops->acknowledge(set->apic.lapic, cpu);
    bus_unlock(set->config.bus);
    return vector;
}

static int64_t set_now(void *opaque)
{
    VcpuSet *set = opaque;
    return clock_now(set->config.clock);
}

// What the local APICs drive. Machine lock held by the caller; only the vCPU's own lock is taken.

static void wire_interrupt(void *opaque, unsigned cpu, bool pending)
{
    VcpuSet *set = opaque;
    Vcpu *vcpu = &set->vcpu[cpu];
    g_mutex_lock(&vcpu->lock);
    vcpu->interrupt = pending;
    set->ops->set_interrupt(vcpu->backend, pending);
    if (pending)
        g_cond_signal(&vcpu->changed);
    g_mutex_unlock(&vcpu->lock);
}

static void wire_nmi(void *opaque, unsigned cpu)
{
    VcpuSet *set = opaque;
    Vcpu *vcpu = &set->vcpu[cpu];
    g_mutex_lock(&vcpu->lock);
    vcpu->nmi = true;
    set->ops->inject_nmi(vcpu->backend);
    g_cond_signal(&vcpu->changed);
    g_mutex_unlock(&vcpu->lock);
}

static void wire_smi(void *opaque, unsigned cpu)
{
    guest_log_once("vcpu", "smi", "an SMI was asked for; this board has no SMM");
}

static void wire_init(void *opaque, unsigned cpu)
{
    VcpuSet *set = opaque;
    Vcpu *vcpu = &set->vcpu[cpu];
    g_mutex_lock(&vcpu->lock);
    vcpu->init_pending = true;
    vcpu->startup_pending = false;
    set->ops->kick(vcpu->backend);
    g_cond_signal(&vcpu->changed);
    g_mutex_unlock(&vcpu->lock);
}

static void wire_startup(void *opaque, unsigned cpu, uint8_t vector)
{
    VcpuSet *set = opaque;
    Vcpu *vcpu = &set->vcpu[cpu];
    g_mutex_lock(&vcpu->lock);
    vcpu->startup_pending = true;
    vcpu->startup_vector = vector;
    set->ops->kick(vcpu->backend);
    g_cond_signal(&vcpu->changed);
    g_mutex_unlock(&vcpu->lock);
}

static uint64_t wire_tsc(void *opaque, unsigned cpu)
{
    VcpuSet *set = opaque;
    return set->ops->tsc(set->vcpu[cpu].backend);
}

static uint64_t wire_tsc_hz(void *opaque)
{
    return ((VcpuSet *)opaque)->cpuid.tsc_hz;
}

CpuWires vcpu_set_wires(VcpuSet *set)
{
    return (CpuWires){ wire_interrupt, wire_nmi,    wire_smi,     wire_init,
                       wire_startup,   wire_tsc,    wire_tsc_hz,  set };
}

void vcpu_set_connect_apic(VcpuSet *set, LocalApic apic)
{
    set->apic = apic;
}

// The vCPU's thread.

// INIT and startup IPIs (SDM vol. 3A, section 9.4.2). The vCPU's lock is not held: the flags were
// taken by the caller.
static void take_init(Vcpu *vcpu, VcpuState *state)
{
    VcpuSet *set = vcpu->set;
    set->ops->get_state(vcpu->backend, state, VCPU_STATE_ALL);
    vcpu_state_init(state, set->cpuid.signature);
    vcpu->wait_for_sipi = vcpu->index != 0;
    vcpu->halted = false;
    state->events.wait_for_sipi = vcpu->wait_for_sipi;
    set->ops->set_state(vcpu->backend, state, VCPU_STATE_ALL);
}

static void take_startup(Vcpu *vcpu, VcpuState *state, uint8_t vector)
{
    VcpuSet *set = vcpu->set;
    set->ops->get_state(vcpu->backend, state, VCPU_STATE_ALL);
    vcpu_state_startup(state, vector);
    state->events.wait_for_sipi = false;
    vcpu->wait_for_sipi = false;
    set->ops->set_state(vcpu->backend, state, VCPU_STATE_ALL);
}

// Whether HLT with interrupts off can end only by NMI, INIT or reset.
static bool interrupts_enabled(Vcpu *vcpu, VcpuState *state)
{
    vcpu->set->ops->get_state(vcpu->backend, state, VCPU_STATE_GENERAL);
    return state->rflags & 1 << 9;
}

// A pause ends the wait too, but not the halt: the CPU comes back here when it may run again.
static void wait_for_event(Vcpu *vcpu, VcpuState *state)
{
    bool enabled = !vcpu->wait_for_sipi && interrupts_enabled(vcpu, state);
    g_mutex_lock(&vcpu->lock);
    bool event;
    while (!(event = vcpu->init_pending || vcpu->nmi || vcpu->startup_pending ||
                     (enabled && vcpu->interrupt)) &&
           vcpu->set->run_wanted && !vcpu->quit)
        g_cond_wait(&vcpu->changed, &vcpu->lock);
    if (event) {
        vcpu->nmi = false;
        vcpu->halted = false;
    }
    g_mutex_unlock(&vcpu->lock);
}

// Carries out what other threads asked for. False where the thread should end.
static bool next_round(Vcpu *vcpu, VcpuState *state)
{
    g_mutex_lock(&vcpu->lock);
    vcpu->running = false;
    g_cond_broadcast(&vcpu->changed);
    while (!vcpu->quit && !vcpu->set->run_wanted)
        g_cond_wait(&vcpu->changed, &vcpu->lock);
    if (vcpu->quit) {
        g_mutex_unlock(&vcpu->lock);
        return false;
    }
    vcpu->running = true;
    bool init = vcpu->init_pending, startup = vcpu->startup_pending;
    uint8_t vector = vcpu->startup_vector;
    vcpu->init_pending = vcpu->startup_pending = false;
    g_mutex_unlock(&vcpu->lock);
    if (init)
        take_init(vcpu, state);
    if (startup && vcpu->wait_for_sipi)
        take_startup(vcpu, state, vector);
    return true;
}

static void *vcpu_thread(void *opaque)
{
    Vcpu *vcpu = opaque;
    VcpuSet *set = vcpu->set;
    VcpuState scratch, *state = &scratch;
    while (next_round(vcpu, state)) {
        if (vcpu->wait_for_sipi || vcpu->halted) {
            wait_for_event(vcpu, state);
            continue;
        }
        VcpuExit exit = { 0 };
        set->ops->run(vcpu->backend, &exit);
        if (exit.reason == VCPU_EXIT_INTERNAL_ERROR && set->fallback)
            vcpu_fallback_run(set->fallback, vcpu->index, set->ops, vcpu->backend, &exit);
        switch (exit.reason) {
        case VCPU_EXIT_HALT:
            vcpu->halted = true;
            wait_for_event(vcpu, state);
            break;
        case VCPU_EXIT_SHUTDOWN:
            // The CPU stays stopped until the machine resets it.
            vcpu->wait_for_sipi = true;
            set->config.shutdown(set->config.opaque, vcpu->index);
            break;
        case VCPU_EXIT_INTERNAL_ERROR: {
            g_autofree char *text =
                g_strdup_printf("%s: CPU %u cannot go on: %s (code %" G_GINT64_MODIFIER "x)",
                                set->ops->name, vcpu->index, exit.internal_error.text,
                                exit.internal_error.code);
            vcpu->wait_for_sipi = true;
            set->config.failed(set->config.opaque, vcpu->index, text);
            break;
        }
        case VCPU_EXIT_NONE:
        case VCPU_EXIT_PORT:
        case VCPU_EXIT_MMIO:
        case VCPU_EXIT_MSR:
        case VCPU_EXIT_CR8:
        case VCPU_EXIT_WINDOW:
        case VCPU_EXIT_KICK:
        case VCPU_EXIT_COUNT:
            break;
        }
    }
    return NULL;
}

static void reset_vcpu(Vcpu *vcpu)
{
    VcpuSet *set = vcpu->set;
    VcpuState state;
    vcpu_state_reset(&state, set->cpuid.signature);
    vcpu->wait_for_sipi = vcpu->index != 0;
    state.events.wait_for_sipi = vcpu->wait_for_sipi;
    vcpu->init_pending = vcpu->startup_pending = vcpu->nmi = vcpu->halted = false;
    if (!set->ops->set_state(vcpu->backend, &state, VCPU_STATE_ALL))
        g_warning("%s refused the state after RESET", set->ops->name);
}

VcpuSet *vcpu_set_new(const VcpuSetConfig *config, GError **error)
{
    VcpuSet *set = g_malloc0(sizeof *set + config->cpus * sizeof set->vcpu[0]);
    set->config = *config;
    set->cpuid = *config->cpuid;
    set->config.cpuid = &set->cpuid;
    set->ops = config->backend;
    BackendVmConfig vm_config = {
        .memory = config->memory,
        .cpuid = &set->cpuid,
        .handler = { serve_exit, acknowledge, set },
        .now_ns = set_now,
        .now_opaque = set,
    };
    set->vm = set->ops->vm_create(&vm_config, error);
    if (!set->vm) {
        vcpu_set_free(set);
        return NULL;
    }
    if (set->ops->needs_fallback) {
        set->fallback = vcpu_fallback_new(&vm_config, config->cpus, error);
        if (!set->fallback) {
            vcpu_set_free(set);
            return NULL;
        }
    }
    for (unsigned i = 0; i < config->cpus; i++) {
        Vcpu *vcpu = &set->vcpu[i];
        *vcpu = (Vcpu){ .set = set, .index = i };
        g_mutex_init(&vcpu->lock);
        g_cond_init(&vcpu->changed);
        set->count++;
        vcpu->backend = set->ops->vcpu_create(set->vm, i, error);
        if (!vcpu->backend) {
            vcpu_set_free(set);
            return NULL;
        }
        reset_vcpu(vcpu);
    }
    for (unsigned i = 0; i < set->count; i++) {
        Vcpu *vcpu = &set->vcpu[i];
        int result = pthread_create(&vcpu->thread, NULL, vcpu_thread, vcpu);
        if (result) {
            g_set_error(error, G_IO_ERROR, g_io_error_from_errno(result),
                        "no thread for virtual CPU %u: %s", i, g_strerror(result));
            vcpu_set_free(set);
            return NULL;
        }
        vcpu->has_thread = true;
        char name[16];
        snprintf(name, sizeof name, "vcpu-%u", i);
        pthread_setname_np(vcpu->thread, name);
    }
    return set;
}

void vcpu_set_free(VcpuSet *set)
{
    if (!set)
        return;
    for (unsigned i = 0; i < set->count; i++) {
        Vcpu *vcpu = &set->vcpu[i];
        if (vcpu->has_thread) {
            g_mutex_lock(&vcpu->lock);
            vcpu->quit = true;
            set->ops->kick(vcpu->backend);
            g_cond_broadcast(&vcpu->changed);
            g_mutex_unlock(&vcpu->lock);
            pthread_join(vcpu->thread, NULL);
        }
    }
    for (unsigned i = 0; i < set->count; i++) {
        if (set->vcpu[i].backend)
            set->ops->vcpu_destroy(set->vcpu[i].backend);
        g_mutex_clear(&set->vcpu[i].lock);
        g_cond_clear(&set->vcpu[i].changed);
    }
    vcpu_fallback_free(set->fallback);
    if (set->vm)
        set->ops->vm_destroy(set->vm);
    g_free(set);
}

static void set_run_wanted(VcpuSet *set, bool wanted)
{
    for (unsigned i = 0; i < set->count; i++)
        g_mutex_lock(&set->vcpu[i].lock);
    set->run_wanted = wanted;
    for (unsigned i = 0; i < set->count; i++) {
        if (!wanted)
            set->ops->kick(set->vcpu[i].backend);
        g_cond_broadcast(&set->vcpu[i].changed);
        g_mutex_unlock(&set->vcpu[i].lock);
    }
}

void vcpu_set_run(VcpuSet *set)
{
    set_run_wanted(set, true);
}

void vcpu_set_pause(VcpuSet *set)
{
    set_run_wanted(set, false);
    for (unsigned i = 0; i < set->count; i++) {
        Vcpu *vcpu = &set->vcpu[i];
        g_mutex_lock(&vcpu->lock);
        while (vcpu->running)
            g_cond_wait(&vcpu->changed, &vcpu->lock);
        g_mutex_unlock(&vcpu->lock);
    }
}

void vcpu_set_reset(VcpuSet *set)
{
    for (unsigned i = 0; i < set->count; i++)
        reset_vcpu(&set->vcpu[i]);
}

void vcpu_set_get_state(VcpuSet *set, unsigned cpu, VcpuState *ret_state)
{
    set->ops->get_state(set->vcpu[cpu].backend, ret_state, VCPU_STATE_ALL);
    ret_state->events.wait_for_sipi = set->vcpu[cpu].wait_for_sipi;
    ret_state->events.halted |= set->vcpu[cpu].halted;
}

bool vcpu_set_set_state(VcpuSet *set, unsigned cpu, const VcpuState *state, VcpuStateGroups groups)
{
    if (!set->ops->set_state(set->vcpu[cpu].backend, state, groups))
        return false;
    if (groups & VCPU_STATE_EVENTS) {
        set->vcpu[cpu].wait_for_sipi = state->events.wait_for_sipi;
        set->vcpu[cpu].halted = state->events.halted;
        set->vcpu[cpu].nmi = state->events.nmi_pending;
    }
    return true;
}

VcpuPending vcpu_set_pending(VcpuSet *set, unsigned cpu)
{
    const Vcpu *vcpu = &set->vcpu[cpu];
    return (VcpuPending){ vcpu->init_pending, vcpu->startup_pending, vcpu->startup_vector };
}

void vcpu_set_set_pending(VcpuSet *set, unsigned cpu, VcpuPending pending)
{
    Vcpu *vcpu = &set->vcpu[cpu];
    vcpu->init_pending = pending.init;
    vcpu->startup_pending = pending.startup;
    vcpu->startup_vector = pending.vector;
}

void vcpu_set_a20(VcpuSet *set, bool enabled)
{
    if (set->ops->set_a20)
        set->ops->set_a20(set->vm, enabled);
}

bool vcpu_set_sample(VcpuSet *set, unsigned cpu, VcpuSample *ret_sample)
{
    if (!set->ops->sample || cpu >= set->count)
        return false;
    set->ops->sample(set->vcpu[cpu].backend, ret_sample);
    return true;
}

void vcpu_set_stats(VcpuSet *set, VcpuStats *ret_stats)
{
    VcpuStats sum = { 0 };
    for (unsigned i = 0; i < set->count; i++) {
        VcpuStats one = { 0 };
        set->ops->stats(set->vcpu[i].backend, &one);
        sum.instructions += one.instructions;
        for (unsigned reason = 0; reason < VCPU_EXIT_COUNT; reason++)
            sum.exits[reason] += one.exits[reason];
        sum.translations += one.translations;
        sum.tlb_misses += one.tlb_misses;
        sum.exceptions += one.exceptions;
        sum.interrupts += one.interrupts;
        for (unsigned counter = 0; counter < VCPU_UNIT_COUNTERS; counter++)
            sum.units[counter] += one.units[counter];
        for (unsigned row = 0; row < VCPU_CALL_OUTS && one.call_outs[row].name; row++)
            vcpu_call_outs_add(sum.call_outs, one.call_outs[row].name, one.call_outs[row].count);
    }
    *ret_stats = sum;
}
