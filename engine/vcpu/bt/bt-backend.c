// SPDX-License-Identifier: GPL-2.0-or-later
// The interpreter and the translator as backends: creation and destruction, events from other
// threads, statistics.
// Running is bt-run.c's, the conversion of states bt-state.c's.
#include "engine/vcpu/vcpu-backend.h"

#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-state.h"
#include "engine/vcpu/bt/translator/translator.h"

#include <gio/gio.h>
#include <sys/mman.h>

static BtVm *to_vm(BackendVm *vm)
{
    return (BtVm *)vm;
}

static BtCpu *to_cpu(BackendVcpu *vcpu)
{
    return (BtCpu *)vcpu;
}

static char *backend_probe(void)
{
    return NULL;
}

static BackendVm *backend_vm_create(const BackendVmConfig *config, GError **error)
{
    BtVm *vm = g_new0(BtVm, 1);
    vm->config = *config;
    vm->a20_mask = UINT64_MAX;
    pthread_mutex_init(&vm->tsc_lock, NULL);
    if (!bt_vm_init(vm, UINT64_C(1) << config->cpuid->physical_bits, error)) {
        pthread_mutex_destroy(&vm->tsc_lock);
        g_free(vm);
        return NULL;
    }
    return (BackendVm *)vm;
}

static BackendVm *translator_vm_create(const BackendVmConfig *config, GError **error)
{
    BackendVm *vm = backend_vm_create(config, error);
    if (vm)
        to_vm(vm)->translates = true;
    return vm;
}

static void backend_vm_destroy(BackendVm *backend)
{
    BtVm *vm = to_vm(backend);
    if (!vm)
        return;
    bt_vm_finish(vm);
    pthread_mutex_destroy(&vm->tsc_lock);
    g_free(vm);
}

static void backend_vcpu_destroy(BackendVcpu *vcpu)
{
    BtCpu *cpu = to_cpu(vcpu);
    if (!cpu)
        return;
    BtVm *vm = cpu->vm;
    pthread_mutex_lock(&vm->tlb_lock);
    if (vm->cpu[cpu->index] == cpu)
        __atomic_store_n(&vm->cpu[cpu->index], NULL, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&vm->tlb_lock);
    if (cpu->block_cache)
        bt_cache_destroy(cpu);
    bt_translator_destroy(cpu);
    bt_simd_destroy(cpu);
    bt_mmu_destroy(cpu);
    munmap((uint8_t *)cpu - BT_UNIT_STACK, BT_UNIT_STACK + sizeof *cpu);
}

static BackendVcpu *backend_vcpu_create(BackendVm *backend, unsigned index, GError **error)
{
    BtVm *vm = to_vm(backend);
    if (index >= BT_MAX_CPUS) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "the interpreter runs at most %u virtual CPUs", BT_MAX_CPUS);
        return NULL;
    }
    // Zeros, and memory only for what is used.
    uint8_t *memory = mmap(NULL, BT_UNIT_STACK + sizeof(BtCpu), PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
                    "Cannot reserve address space for virtual CPU %u", index);
        return NULL;
    }
    BtCpu *cpu = (BtCpu *)(memory + BT_UNIT_STACK);
    cpu->index = index;
    cpu->vm = vm;
    cpu->config = &vm->config;
    cpu->a20_mask = vm->a20_mask;
    bt_mmu_create(cpu);
    if (!bt_simd_create(cpu, error)) {
        backend_vcpu_destroy((BackendVcpu *)cpu);
        return NULL;
    }
    bt_cache_create(cpu);
    if (vm->translates && !bt_translator_create(cpu, error)) {
        backend_vcpu_destroy((BackendVcpu *)cpu);
        return NULL;
    }
    bt_fpu_reset(cpu);
    bt_state_reset_msrs(cpu);

    VcpuState state;
    vcpu_state_reset(&state, vm->config.cpuid->signature);
    bt_state_set(cpu, &state, VCPU_STATE_ALL & ~VCPU_STATE_MSRS);
    pthread_mutex_lock(&vm->tlb_lock);
    __atomic_store_n(&vm->cpu[index], cpu, __ATOMIC_RELEASE);
    if (vm->cpu_count <= index)
        __atomic_store_n(&vm->cpu_count, index + 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&vm->tlb_lock);
    return (BackendVcpu *)cpu;
}

// An exception that came with the state is delivered before the first instruction. False: triple
// fault.
static bool deliver_injected(BtCpu *cpu)
{
    cpu->injected = false;
    cpu->delivering = false;
    // A fault while it is delivered comes back here with cpu->fault changed.
    setjmp(cpu->leave);
    return bt_deliver_fault(cpu);
}

static void backend_run(BackendVcpu *vcpu, VcpuExit *ret_exit)
{
    BtCpu *cpu = to_cpu(vcpu);
    if (!cpu->injected || deliver_injected(cpu))
        bt_run(cpu);
    bt_fpu_leave(cpu);
    if ((unsigned)cpu->exit.reason < VCPU_EXIT_COUNT)
        cpu->stats.exits[cpu->exit.reason]++;
    *ret_exit = cpu->exit;
}

static void backend_run_some(BackendVcpu *vcpu, unsigned instructions, VcpuExit *ret_exit)
{
    BtCpu *cpu = to_cpu(vcpu);
    cpu->instructions_left = instructions + 1;
    backend_run(vcpu, ret_exit);
    cpu->instructions_left = 0;
    cpu->alone = false;
}

static void backend_get_state(BackendVcpu *vcpu, VcpuState *ret_state, VcpuStateGroups groups)
{
    bt_state_get(to_cpu(vcpu), ret_state, groups);
}

static bool backend_set_state(BackendVcpu *vcpu, const VcpuState *state, VcpuStateGroups groups)
{
    return bt_state_set(to_cpu(vcpu), state, groups);
}

static void change_request(BtCpu *cpu, uint32_t bits, bool set)
{
    if (set)
        __atomic_fetch_or(&cpu->request, bits, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&cpu->request, ~bits, __ATOMIC_SEQ_CST);
}

static void backend_set_interrupt(BackendVcpu *vcpu, bool pending)
{
    change_request(to_cpu(vcpu), BT_REQUEST_INTERRUPT, pending);
}

static void backend_inject_nmi(BackendVcpu *vcpu)
{
    change_request(to_cpu(vcpu), BT_REQUEST_NMI, true);
}

static void backend_kick(BackendVcpu *vcpu)
{
    change_request(to_cpu(vcpu), BT_REQUEST_KICK, true);
}

static void backend_set_a20(BackendVm *backend, bool enabled)
{
    BtVm *vm = to_vm(backend);
    __atomic_store_n(&vm->a20_mask, enabled ? UINT64_MAX : ~(UINT64_C(1) << 20), __ATOMIC_SEQ_CST);
    bt_vm_request(vm, BT_REQUEST_A20);
}

static void backend_stats(BackendVcpu *vcpu, VcpuStats *ret_stats)
{
    BtCpu *cpu = to_cpu(vcpu);
    *ret_stats = cpu->stats;
    ret_stats->instructions = cpu->instructions;
    if (cpu->translator)
        bt_translator_stats(cpu, ret_stats);
}

static void backend_sample(BackendVcpu *vcpu, VcpuSample *ret_sample)
{
    BtCpu *cpu = to_cpu(vcpu);
    ret_sample->number = __atomic_load_n(&cpu->sample.number, __ATOMIC_ACQUIRE);
    ret_sample->address = __atomic_load_n(&cpu->sample.address, __ATOMIC_RELAXED);
    ret_sample->ring = __atomic_load_n(&cpu->sample.ring, __ATOMIC_RELAXED);
    ret_sample->bits = __atomic_load_n(&cpu->sample.bits, __ATOMIC_RELAXED);
    change_request(cpu, BT_REQUEST_SAMPLE, true);
}

static uint64_t backend_tsc(BackendVcpu *vcpu)
{
    return bt_tsc(to_cpu(vcpu));
}

#define SHARED_OPS                                                                                 \
    .probe = backend_probe,                                                                        \
    .features = cpuid_features_interpreter,                                                        \
    .vm_destroy = backend_vm_destroy,                                                              \
    .vcpu_create = backend_vcpu_create,                                                            \
    .vcpu_destroy = backend_vcpu_destroy,                                                          \
    .run = backend_run,                                                                            \
    .run_some = backend_run_some,                                                                  \
    .get_state = backend_get_state,                                                                \
    .set_state = backend_set_state,                                                                \
    .set_interrupt = backend_set_interrupt,                                                        \
    .inject_nmi = backend_inject_nmi,                                                              \
    .kick = backend_kick,                                                                          \
    .set_a20 = backend_set_a20,                                                                    \
    .sample = backend_sample,                                                                      \
    .stats = backend_stats,                                                                        \
    .tsc = backend_tsc

const VcpuBackendOps vcpu_backend_interpreter = {
    .name = "interpreter",
    .vm_create = backend_vm_create,
    SHARED_OPS,
};

const VcpuBackendOps vcpu_backend_translator = {
    .name = "translator",
    .vm_create = translator_vm_create,
    SHARED_OPS,
};
