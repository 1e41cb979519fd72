// SPDX-License-Identifier: GPL-2.0-or-later
// The kvm backend: /dev/kvm with our own interrupt chips. The local APIC stays in the engine, so
// INTR is injected by KVM_INTERRUPT and the APIC's MSRs come back through the MSR filter. What it
// is not: it emulates nothing; a failed emulation in the kernel ends run() with INTERNAL_ERROR.
//
// Follows Documentation/virt/kvm/api.rst of Linux 6.1.
#include "engine/vcpu/kvm/kvm-private.h"

#include "engine/base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define KVM_KICK_SIGNAL SIGUSR1

int kvm_call(int fd, unsigned long request, void *argument)
{
    int result;
    do
        result = ioctl(fd, request, argument);
    while (result < 0 && errno == EINTR && request != KVM_RUN);
    return result < 0 ? -errno : result;
}

static char *backend_probe(void)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT)
            return g_strdup("/dev/kvm is not there: no VT-x or AMD-V, or the kvm kernel module is "
                            "not loaded");
        if (errno == EACCES)
            return g_strdup("/dev/kvm may not be opened: add yourself to the group 'kvm'");
        return g_strdup_printf("/dev/kvm cannot be opened: %s", g_strerror(errno));
    }
    int version = ioctl(fd, KVM_GET_API_VERSION, 0);
    int user_memory = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
    int msrs = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_X86_USER_SPACE_MSR);
    int vm = kvm_call(fd, KVM_CREATE_VM, NULL);
    if (vm >= 0)
        close(vm);
    close(fd);
    if (version != 12 || user_memory <= 0)
        return g_strdup_printf("/dev/kvm speaks version %d of its interface, 12 is needed",
                               version);
    if (msrs <= 0)
        return g_strdup("/dev/kvm cannot hand over MSR accesses (Linux 5.10 or later is needed)");
    if (vm < 0)
        return g_strdup_printf("/dev/kvm makes no virtual machine: %s", g_strerror(-vm));
    return NULL;
}

static const struct {
    CpuFeature feature;
    uint32_t leaf, subleaf;
    uint8_t reg; // 0 EAX .. 3 EDX
    uint8_t bit;
} feature_bits[] = {
    { CPU_FEATURE_SSE3, 1, 0, 2, 0 },      { CPU_FEATURE_PCLMUL, 1, 0, 2, 1 },
    { CPU_FEATURE_SSSE3, 1, 0, 2, 9 },     { CPU_FEATURE_FMA, 1, 0, 2, 12 },
    { CPU_FEATURE_CX16, 1, 0, 2, 13 },     { CPU_FEATURE_PCID, 1, 0, 2, 17 },
    { CPU_FEATURE_SSE4_1, 1, 0, 2, 19 },   { CPU_FEATURE_SSE4_2, 1, 0, 2, 20 },
    { CPU_FEATURE_MOVBE, 1, 0, 2, 22 },    { CPU_FEATURE_POPCNT, 1, 0, 2, 23 },
    { CPU_FEATURE_AES, 1, 0, 2, 25 },      { CPU_FEATURE_XSAVE, 1, 0, 2, 26 },
    { CPU_FEATURE_AVX, 1, 0, 2, 28 },      { CPU_FEATURE_F16C, 1, 0, 2, 29 },
    { CPU_FEATURE_RDRAND, 1, 0, 2, 30 },   { CPU_FEATURE_FSGSBASE, 7, 0, 1, 0 },
    { CPU_FEATURE_BMI1, 7, 0, 1, 3 },      { CPU_FEATURE_AVX2, 7, 0, 1, 5 },
    { CPU_FEATURE_SMEP, 7, 0, 1, 7 },      { CPU_FEATURE_BMI2, 7, 0, 1, 8 },
    { CPU_FEATURE_INVPCID, 7, 0, 1, 10 },  { CPU_FEATURE_RDSEED, 7, 0, 1, 18 },
    { CPU_FEATURE_ADX, 7, 0, 1, 19 },      { CPU_FEATURE_SMAP, 7, 0, 1, 20 },
    { CPU_FEATURE_CLFLUSHOPT, 7, 0, 1, 23 }, { CPU_FEATURE_SHA, 7, 0, 1, 29 },
    { CPU_FEATURE_UMIP, 7, 0, 2, 2 },      { CPU_FEATURE_RDPID, 7, 0, 2, 22 },
    { CPU_FEATURE_XSAVEOPT, 13, 1, 0, 0 }, { CPU_FEATURE_XSAVEC, 13, 1, 0, 1 },
    { CPU_FEATURE_LAHF_LM, 0x80000001, 0, 2, 0 }, { CPU_FEATURE_LZCNT, 0x80000001, 0, 2, 5 },
    { CPU_FEATURE_NX, 0x80000001, 0, 3, 20 }, { CPU_FEATURE_PAGE_1G, 0x80000001, 0, 3, 26 },
    { CPU_FEATURE_RDTSCP, 0x80000001, 0, 3, 27 }, { CPU_FEATURE_LONG_MODE, 0x80000001, 0, 3, 29 },
};

typedef struct {
    struct kvm_cpuid2 head;
    struct kvm_cpuid_entry2 entry[128];
} CpuidList;

static CpuFeatureSet backend_features(void)
{
    CpuFeatureSet set = 0;
    CpuidList list = { .head.nent = G_N_ELEMENTS(list.entry) };
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return 0;
    int result = kvm_call(fd, KVM_GET_SUPPORTED_CPUID, &list);
    close(fd);
    for (unsigned i = 0; result >= 0 && i < list.head.nent; i++) {
        const struct kvm_cpuid_entry2 *e = &list.entry[i];
        const uint32_t regs[4] = { e->eax, e->ebx, e->ecx, e->edx };
        for (unsigned f = 0; f < G_N_ELEMENTS(feature_bits); f++) {
            if (feature_bits[f].leaf == e->function && feature_bits[f].subleaf == e->index &&
                regs[feature_bits[f].reg] >> feature_bits[f].bit & 1)
                set |= UINT64_C(1) << feature_bits[f].feature;
        }
    }
    // Ours: the engine's local APIC.
    return set | CPU_FEATURE_BIT(X2APIC) | CPU_FEATURE_BIT(TSC_DEADLINE);
}

static void backend_vm_destroy(BackendVm *vm)
{
    if (!vm)
        return;
    kvm_memory_detach(vm);
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->system_fd >= 0)
        close(vm->system_fd);
    g_free(vm);
}

// APIC_BASE, x2APIC registers and TSC_DEADLINE leave the kernel.
static int filter_apic_msrs(int fd)
{
    static uint8_t none[256 / 8]; // a clear bit denies: the access exits
    struct kvm_enable_cap cap = {
        .cap = KVM_CAP_X86_USER_SPACE_MSR,
        .args[0] = KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN |
                   KVM_MSR_EXIT_REASON_INVAL,
    };
    struct kvm_msr_filter filter = {
        .flags = KVM_MSR_FILTER_DEFAULT_ALLOW,
        .ranges = {
            { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = 0x1b, .nmsrs = 1,
              .bitmap = none },
            { .flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, .base = 0x6e0, .nmsrs = 1,
              .bitmap = none },
        },
    };
    int result = kvm_call(fd, KVM_ENABLE_CAP, &cap);
    return result < 0 ? result : kvm_call(fd, KVM_X86_SET_MSR_FILTER, &filter);
}

static BackendVm *backend_vm_create(const BackendVmConfig *config, GError **error)
{
    BackendVm *vm = g_new0(BackendVm, 1);
    vm->config = *config;
    vm->fd = -1;
    vm->system_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (vm->system_fd >= 0)
        vm->fd = kvm_call(vm->system_fd, KVM_CREATE_VM, NULL);
    int run_size = vm->fd < 0 ? -1 : ioctl(vm->system_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size <= 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "/dev/kvm: %s",
                    g_strerror(errno));
        backend_vm_destroy(vm);
        return NULL;
    }
    vm->run_size = (size_t)run_size;
    // Three pages that VT-x needs in real mode; below the BIOS at the top of 4 GiB.
    uint64_t identity_map = 0xfeffc000;
    kvm_call(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
    kvm_call(vm->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)(identity_map + 0x1000));
    int result = filter_apic_msrs(vm->fd);
    if (result < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "/dev/kvm does not hand over MSR accesses: %s", g_strerror(-result));
        backend_vm_destroy(vm);
        return NULL;
    }
    kvm_memory_attach(vm);
    return vm;
}

static void kick_signal(int signal)
{
    // Only to interrupt KVM_RUN.
}

static void backend_vcpu_destroy(BackendVcpu *vcpu)
{
    if (!vcpu)
        return;
    if (vcpu->run)
        munmap(vcpu->run, vcpu->vm->run_size);
    if (vcpu->fd >= 0)
        close(vcpu->fd);
    g_free(vcpu);
}

static int set_cpuid(BackendVcpu *vcpu)
{
    const CpuidModel *model = vcpu->vm->config.cpuid;
    CpuidList list = { .head.nent = model->count };
    for (unsigned i = 0; i < model->count; i++) {
        const CpuidEntry *e = &model->entry[i];
        uint32_t regs[4];
        cpuid_query(model, vcpu->index, e->leaf, e->subleaf, 1, 0, regs);
        list.entry[i] = (struct kvm_cpuid_entry2){
            .function = e->leaf,
            .index = e->subleaf,
            .flags = e->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
            .eax = regs[0], .ebx = regs[1], .ecx = regs[2], .edx = regs[3],
        };
    }
    return kvm_call(vcpu->fd, KVM_SET_CPUID2, &list);
}

static BackendVcpu *backend_vcpu_create(BackendVm *vm, unsigned cpu, GError **error)
{
    BackendVcpu *vcpu = g_new0(BackendVcpu, 1);
    vcpu->vm = vm;
    vcpu->index = cpu;
    vcpu->fd = kvm_call(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)cpu);
    int result = vcpu->fd < 0 ? -errno : set_cpuid(vcpu);
    if (result >= 0) {
        void *page = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
        if (page == MAP_FAILED)
            result = -errno;
        else
            vcpu->run = page;
    }
    if (result < 0) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result),
                    "/dev/kvm makes no virtual CPU %u: %s", cpu, g_strerror(-result));
        backend_vcpu_destroy(vcpu);
        return NULL;
    }
    struct sigaction action = { .sa_handler = kick_signal };
    sigaction(KVM_KICK_SIGNAL, &action, NULL);
    return vcpu;
}

static void serve(BackendVcpu *vcpu, VcpuExit *exit)
{
    vcpu->stats.exits[exit->reason]++;
    vcpu->vm->config.handler.exit(vcpu->vm->config.handler.opaque, vcpu->index, exit);
}

static void serve_io(BackendVcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    bool write = run->io.direction == KVM_EXIT_IO_OUT;
    VcpuExit exit = { .reason = VCPU_EXIT_PORT,
                      .port = { .port = run->io.port, .size = run->io.size, .write = write,
                                .count = run->io.count } };
    uint32_t registers[6];
    if (run->io.count != 1) {
        exit.port.data = data;
        serve(vcpu, &exit);
        return;
    }
    if (write)
        memcpy(&exit.port.value, data, run->io.size);
    struct kvm_regs regs;
    if (run->io.port == 0x5658 && run->io.size == 4 && !write) {
        kvm_call(vcpu->fd, KVM_GET_REGS, &regs);
        const uint64_t now[6] = { regs.rax, regs.rbx, regs.rcx, regs.rdx, regs.rsi, regs.rdi };
        for (unsigned i = 0; i < 6; i++)
            registers[i] = (uint32_t)now[i];
        exit.port.registers = registers;
    }
    serve(vcpu, &exit);
    if (!write)
        memcpy(data, &exit.port.value, run->io.size);
    if (exit.port.registers) {
        regs.rbx = registers[1];
        regs.rcx = registers[2];
        regs.rdx = registers[3];
        regs.rsi = registers[4];
        regs.rdi = registers[5];
        kvm_call(vcpu->fd, KVM_SET_REGS, &regs);
    }
}

static void serve_mmio(BackendVcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    uint8_t bytes[8] = { 0 };
    memcpy(bytes, run->mmio.data, sizeof bytes);
    VcpuExit exit = { .reason = VCPU_EXIT_MMIO,
                      .mmio = { .address = run->mmio.phys_addr, .size = (uint8_t)run->mmio.len,
                                .write = run->mmio.is_write, .value = le64_read(bytes) } };
    serve(vcpu, &exit);
    if (!run->mmio.is_write)
        le64_write(run->mmio.data, exit.mmio.value);
}

static void serve_msr(BackendVcpu *vcpu, bool write)
{
    struct kvm_run *run = vcpu->run;
    VcpuExit exit = { .reason = VCPU_EXIT_MSR,
                      .msr = { .index = run->msr.index, .write = write, .value = run->msr.data } };
    serve(vcpu, &exit);
    run->msr.error = exit.msr.fault;
    run->msr.data = exit.msr.value;
}

// Gives the guest what waits: before each entry.
static void inject(BackendVcpu *vcpu)
{
    struct kvm_run *run = vcpu->run;
    if (__atomic_exchange_n(&vcpu->nmi, false, __ATOMIC_ACQ_REL))
        kvm_call(vcpu->fd, KVM_NMI, NULL);
    bool pending = __atomic_load_n(&vcpu->interrupt, __ATOMIC_ACQUIRE);
    if (pending && run->ready_for_interrupt_injection) {
        int vector = vcpu->vm->config.handler.acknowledge(vcpu->vm->config.handler.opaque,
                                                          vcpu->index);
        if (vector >= 0) {
            struct kvm_interrupt interrupt = { .irq = (uint32_t)vector };
            kvm_call(vcpu->fd, KVM_INTERRUPT, &interrupt);
            vcpu->stats.interrupts++;
        }
        pending = __atomic_load_n(&vcpu->interrupt, __ATOMIC_ACQUIRE);
    }
    run->request_interrupt_window = pending;
}

// Carries CR8 as KVM saw it to the local APIC, and the other way. true where it changed.
static void sync_cr8(BackendVcpu *vcpu, bool to_guest)
{
    VcpuExit exit = { .reason = VCPU_EXIT_CR8 };
    vcpu->vm->config.handler.exit(vcpu->vm->config.handler.opaque, vcpu->index, &exit);
    if (to_guest) {
        vcpu->run->cr8 = exit.cr8.value;
    } else if (exit.cr8.value != vcpu->run->cr8) {
        exit = (VcpuExit){ .reason = VCPU_EXIT_CR8,
                           .cr8 = { .write = true, .value = vcpu->run->cr8 } };
        serve(vcpu, &exit);
    }
}

// KVM_RUN once. 0, or -errno.
static int enter_guest(BackendVcpu *vcpu)
{
    vcpu->thread = pthread_self();
    __atomic_store_n(&vcpu->in_run, true, __ATOMIC_SEQ_CST);
    // What came after inject() looked and before in_run was set has sent no signal.
    if (__atomic_load_n(&vcpu->kicked, __ATOMIC_SEQ_CST) ||
        __atomic_load_n(&vcpu->nmi, __ATOMIC_SEQ_CST) ||
        (__atomic_load_n(&vcpu->interrupt, __ATOMIC_SEQ_CST) &&
         !vcpu->run->request_interrupt_window))
        vcpu->run->immediate_exit = 1;
    int result = kvm_call(vcpu->fd, KVM_RUN, NULL);
    __atomic_store_n(&vcpu->in_run, false, __ATOMIC_SEQ_CST);
    vcpu->run->immediate_exit = 0;
    return result;
}

static void backend_run(BackendVcpu *vcpu, VcpuExit *ret_exit)
{
    struct kvm_run *run = vcpu->run;
    *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_NONE };
    sync_cr8(vcpu, true);
    for (;;) {
        inject(vcpu);
        int result = enter_guest(vcpu);
        if (run->cr8 <= 15)
            sync_cr8(vcpu, false);
        if (result == -EINTR || result == -EAGAIN) {
            // A wake-up for an interrupt goes round again; a kick leaves.
        } else if (result < 0) {
            *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                    .internal_error = { (uint64_t)-result, "KVM_RUN failed" } };
            return;
        } else {
            switch (run->exit_reason) {
            case KVM_EXIT_IO:
                serve_io(vcpu);
                break;
            case KVM_EXIT_MMIO:
                serve_mmio(vcpu);
                break;
            case KVM_EXIT_X86_RDMSR:
                serve_msr(vcpu, false);
                break;
            case KVM_EXIT_X86_WRMSR:
                serve_msr(vcpu, true);
                break;
            case KVM_EXIT_IRQ_WINDOW_OPEN:
                vcpu->stats.exits[VCPU_EXIT_WINDOW]++;
                break;
            case KVM_EXIT_SET_TPR:
                break; // sync_cr8 has carried it
            case KVM_EXIT_HLT:
                if (__atomic_load_n(&vcpu->interrupt, __ATOMIC_ACQUIRE) && run->if_flag)
                    break;
                vcpu->stats.exits[VCPU_EXIT_HALT]++;
                ret_exit->reason = VCPU_EXIT_HALT;
                return;
            case KVM_EXIT_SHUTDOWN:
                vcpu->stats.exits[VCPU_EXIT_SHUTDOWN]++;
                ret_exit->reason = VCPU_EXIT_SHUTDOWN;
                return;
            case KVM_EXIT_INTERNAL_ERROR:
                *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                        .internal_error = { run->internal.suberror,
                                                            "the kernel could not emulate an "
                                                            "instruction" } };
                return;
            default:
                *ret_exit = (VcpuExit){ .reason = VCPU_EXIT_INTERNAL_ERROR,
                                        .internal_error = { run->exit_reason,
                                                            "an exit of KVM that is not known" } };
                return;
            }
        }
        if (__atomic_exchange_n(&vcpu->kicked, false, __ATOMIC_SEQ_CST)) {
            // An I/O or MMIO exit is complete only after the next entry: finish it without running
            // the guest.
            run->immediate_exit = 1;
            kvm_call(vcpu->fd, KVM_RUN, NULL);
            run->immediate_exit = 0;
            vcpu->stats.exits[VCPU_EXIT_KICK]++;
            ret_exit->reason = VCPU_EXIT_KICK;
            return;
        }
    }
}

static void wake(BackendVcpu *vcpu)
{
    if (__atomic_load_n(&vcpu->in_run, __ATOMIC_SEQ_CST)) {
        vcpu->run->immediate_exit = 1;
        pthread_kill(vcpu->thread, KVM_KICK_SIGNAL);
    }
}

static void backend_set_interrupt(BackendVcpu *vcpu, bool pending)
{
    bool before = __atomic_exchange_n(&vcpu->interrupt, pending, __ATOMIC_SEQ_CST);
    if (pending && !before)
        wake(vcpu);
}

static void backend_inject_nmi(BackendVcpu *vcpu)
{
    __atomic_store_n(&vcpu->nmi, true, __ATOMIC_SEQ_CST);
    wake(vcpu);
}

static void backend_kick(BackendVcpu *vcpu)
{
    __atomic_store_n(&vcpu->kicked, true, __ATOMIC_SEQ_CST);
    wake(vcpu);
}

static void backend_stats(BackendVcpu *vcpu, VcpuStats *ret_stats)
{
    *ret_stats = vcpu->stats;
}

static uint64_t backend_tsc(BackendVcpu *vcpu)
{
    return __builtin_ia32_rdtsc() + vcpu->tsc_offset;
}

// The host's own rate: without TSC scaling the guest sees nothing else.
static uint64_t backend_tsc_hz(void)
{
    int khz = -1, system_fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int vm_fd = system_fd < 0 ? -1 : kvm_call(system_fd, KVM_CREATE_VM, NULL);
    int vcpu_fd = vm_fd < 0 ? -1 : kvm_call(vm_fd, KVM_CREATE_VCPU, NULL);
    if (vcpu_fd >= 0) {
        khz = ioctl(vcpu_fd, KVM_GET_TSC_KHZ, 0);
        close(vcpu_fd);
    }
    if (vm_fd >= 0)
        close(vm_fd);
    if (system_fd >= 0)
        close(system_fd);
    return khz > 0 ? (uint64_t)khz * 1000 : UINT64_C(1000000000);
}

const VcpuBackendOps vcpu_backend_kvm = {
    .name = "kvm",
    .probe = backend_probe,
    .features = backend_features,
    .vm_create = backend_vm_create,
    .vm_destroy = backend_vm_destroy,
    .vcpu_create = backend_vcpu_create,
    .vcpu_destroy = backend_vcpu_destroy,
    .run = backend_run,
    .needs_fallback = true,
    .get_state = kvm_get_state,
    .set_state = kvm_set_state,
    .set_interrupt = backend_set_interrupt,
    .inject_nmi = backend_inject_nmi,
    .kick = backend_kick,
    .stats = backend_stats,
    .tsc = backend_tsc,
    .tsc_hz = backend_tsc_hz,
};
