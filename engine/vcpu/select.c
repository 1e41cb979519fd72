// SPDX-License-Identifier: GPL-2.0-or-later
// The calibrated loop runs in a machine of one CPU and 64 KiB of RAM: 32-bit code in flat segments
// without paging, with an ALU operation, a load, a store and a branch, the mix that separates
// execution in hardware from any kind of emulation, and translation from interpretation.
#include "engine/vcpu/select.h"

#include "engine/memory/ram.h"

#include <gio/gio.h>
#include <string.h>
#include <time.h>

// mov ecx, N; loop: add eax, ecx; mov [600h], eax; mov ebx, [604h]; dec ecx; jnz loop; hlt
static const uint8_t loop_code[] = {
    0xb9, 0, 0, 0, 0,                         // mov ecx, imm32
    0x01, 0xc8,                               // add eax, ecx
    0xa3, 0x00, 0x06, 0x00, 0x00,             // mov [600h], eax
    0x8b, 0x1d, 0x04, 0x06, 0x00, 0x00,       // mov ebx, [604h]
    0x49,                                     // dec ecx
    0x75, 0xf0,                               // jnz
    0xf4,                                     // hlt
};

#define LOOP_INSTRUCTIONS 5
#define LOOP_ADDRESS 0x1000
#define MEASURE_SECONDS 0.02

static void ignore_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    exit->msr.fault = exit->reason == VCPU_EXIT_MSR;
}

static int no_interrupt(void *opaque, unsigned cpu)
{
    return -1;
}

static int64_t monotonic_ns(void *opaque)
{
    return g_get_monotonic_time() * 1000;
}

// This thread's time on a processor, the guest's included: a busy host must not decide.
static double thread_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// Seconds that `iterations` rounds take, or -1.
static double time_loop(const BackendVmConfig *config, const VcpuBackendOps *ops,
                        BackendVcpu *vcpu, uint8_t *code, uint32_t iterations)
{
    memcpy(code, loop_code, sizeof loop_code);
    memcpy(code + 1, &iterations, sizeof iterations);
    guest_memory_written(config->memory, LOOP_ADDRESS, sizeof loop_code);
    VcpuState state;
    vcpu_state_reset(&state, 0);
    state.cr0 |= 1; // PE
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        state.segment[i] = (VcpuSegment){ .selector = 16, .limit = UINT32_MAX, .access = 0xc093 };
    state.segment[VCPU_CS].selector = 8;
    state.segment[VCPU_CS].access = 0xc09b;
    state.rip = LOOP_ADDRESS;
    if (!ops->set_state(vcpu, &state, VCPU_STATE_GENERAL | VCPU_STATE_SEGMENTS |
                                        VCPU_STATE_EVENTS))
        return -1;
    VcpuExit exit = { 0 };
    double start = thread_seconds();
    ops->run(vcpu, &exit);
    return exit.reason == VCPU_EXIT_HALT ? thread_seconds() - start : -1;
}

static double measure_in(const VcpuBackendOps *ops, const BackendVmConfig *config, uint8_t *code)
{
    double speed = 0;
    BackendVm *vm = ops->vm_create(config, NULL);
    BackendVcpu *vcpu = vm ? ops->vcpu_create(vm, 0, NULL) : NULL;
    for (uint32_t rounds = 2000; vcpu && rounds < 200 * 1000 * 1000; rounds *= 4) {
        double seconds = time_loop(config, ops, vcpu, code, rounds);
        if (seconds < 0)
            break;
        speed = (double)rounds * LOOP_INSTRUCTIONS / MAX(seconds, 1e-6);
        if (seconds >= MEASURE_SECONDS / 4)
            break;
    }
    ops->vcpu_destroy(vcpu);
    ops->vm_destroy(vm);
    return speed;
}

static double measure(const VcpuBackendOps *ops)
{
    g_autoptr(RamBlock) ram = ram_block_new("calibration", 65536, NULL);
    if (!ram)
        return 0;
    GuestMemory *memory = guest_memory_new(UINT64_C(1) << 32);
    guest_memory_map(memory, "ram", 0, ram->size, ram->host, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    CpuidModel cpuid;
    cpuid_model_build(&cpuid, ops->features(), 1, vcpu_select_tsc_hz(ops));
    BackendVmConfig config = { .memory = memory, .cpuid = &cpuid,
                               .handler = { ignore_exit, no_interrupt, NULL },
                               .now_ns = monotonic_ns };
    double speed = measure_in(ops, &config, ram->host + LOOP_ADDRESS);
    guest_memory_free(memory);
    return speed;
}

void vcpu_select_report(BackendReport report[BACKEND_COUNT], bool measure_too)
{
    const VcpuBackendOps *const all[BACKEND_COUNT] = { &vcpu_backend_kvm,
                                                       &vcpu_backend_translator,
                                                       &vcpu_backend_interpreter };
    for (unsigned i = 0; i < BACKEND_COUNT; i++) {
        report[i] = (BackendReport){ .ops = all[i], .reason = all[i]->probe() };
        if (!report[i].reason && measure_too)
            report[i].instructions_per_second = measure(all[i]);
        if (!report[i].reason && measure_too && report[i].instructions_per_second == 0)
            report[i].reason = g_strdup("it opens, but does not finish a test loop");
    }
}

void vcpu_select_clear(BackendReport report[BACKEND_COUNT])
{
    for (unsigned i = 0; i < BACKEND_COUNT; i++)
        g_clear_pointer(&report[i].reason, g_free);
}

static const VcpuBackendOps *select_fastest(char **ret_why, GError **error)
{
    BackendReport report[BACKEND_COUNT];
    vcpu_select_report(report, true);
    const BackendReport *best = NULL;
    for (unsigned i = 0; i < BACKEND_COUNT; i++) {
        if (!report[i].reason &&
            (!best || report[i].instructions_per_second > best->instructions_per_second))
            best = &report[i];
    }
    const VcpuBackendOps *ops = best ? best->ops : NULL;
    if (best)
        *ret_why = g_strdup_printf("%s is the fastest here: %.0f million instructions a second in "
                                   "a test loop",
                                   ops->name, best->instructions_per_second / 1e6);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "no backend runs on this host: %s",
                    report[BACKEND_COUNT - 1].reason);
    vcpu_select_clear(report);
    return ops;
}

const VcpuBackendOps *vcpu_select(const char *name, char **ret_why, GError **error)
{
    *ret_why = NULL;
    if (strcmp(name, "auto") == 0)
        return select_fastest(ret_why, error);
    const VcpuBackendOps *ops = NULL;
    BackendReport report[BACKEND_COUNT];
    vcpu_select_report(report, false);
    for (unsigned i = 0; i < BACKEND_COUNT; i++) {
        if (strcmp(report[i].ops->name, name))
            continue;
        if (report[i].reason) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                        "engine '%s' cannot run here: %s; --engine auto takes one that can", name,
                        report[i].reason);
            vcpu_select_clear(report);
            return NULL;
        }
        ops = report[i].ops;
    }
    vcpu_select_clear(report);
    if (ops && ops != &vcpu_backend_kvm && g_getenv("LODGE_LOCKSTEP")) {
        *ret_why = g_strdup_printf("%s and the interpreter run in step: LODGE_LOCKSTEP is set",
                                   name);
        return vcpu_backend_lockstep(ops);
    }
    if (ops)
        *ret_why = g_strdup_printf("%s was asked for", name);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "engine '%s' is not known; use auto, kvm, translator or interpreter", name);
    return ops;
}

uint64_t vcpu_select_tsc_hz(const VcpuBackendOps *ops)
{
    return ops->tsc_hz ? ops->tsc_hz() : UINT64_C(1000000000);
}
