// SPDX-License-Identifier: GPL-2.0-or-later
// VcpuState to and from KVM's structures (Documentation/virt/kvm/api.rst of Linux 6.1).
#include "engine/vcpu/kvm/kvm-private.h"

#include <string.h>

// MSRs that travel with the state. Those that KVM does not know are left out by it (it stops at
// the first unknown one, hence one call each).
static const uint32_t state_msrs[] = {
    0x174, 0x175, 0x176,                // SYSENTER
    0x277, 0x2ff, 0x1a0,                // PAT, MTRR default type, MISC_ENABLE
    0xc0000081, 0xc0000082, 0xc0000083, // STAR LSTAR CSTAR
    0xc0000084, 0xc0000102, 0xc0000103, // FMASK KERNEL_GS_BASE TSC_AUX
    // MTRRs: variable ranges, then fixed ones
    0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c,
    0x20d, 0x20e, 0x20f, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e,
    0x26f,
};

#define MSR_TSC 0x10

typedef struct {
    struct kvm_msrs head;
    struct kvm_msr_entry entry;
} OneMsr;

static VcpuSegment segment_from_kvm(const struct kvm_segment *s)
{
    return (VcpuSegment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .access = (uint16_t)(s->type | s->s << 4 | s->dpl << 5 | s->present << 7 | s->avl << 12 |
                             s->l << 13 | s->db << 14 | s->g << 15),
        .unusable = s->unusable,
    };
}

static struct kvm_segment segment_to_kvm(const VcpuSegment *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->selector,
        .type = s->access & 15,
        .s = s->access >> 4 & 1,
        .dpl = s->access >> 5 & 3,
        .present = s->access >> 7 & 1,
        .avl = s->access >> 12 & 1,
        .l = s->access >> 13 & 1,
        .db = s->access >> 14 & 1,
        .g = s->access >> 15 & 1,
        .unusable = s->unusable,
    };
}

static struct kvm_segment *sregs_segment(struct kvm_sregs *sregs, unsigned index)
{
    struct kvm_segment *all[] = { &sregs->es, &sregs->cs, &sregs->ss,
                                  &sregs->ds, &sregs->fs, &sregs->gs };
    return all[index];
}

// KVM keeps general registers in this order: rax rbx rcx rdx rsi rdi rsp rbp r8..r15.
static const uint8_t kvm_order[16] = { VCPU_RAX, VCPU_RBX, VCPU_RCX, VCPU_RDX, VCPU_RSI, VCPU_RDI,
                                       VCPU_RSP, VCPU_RBP, VCPU_R8,  VCPU_R9,  VCPU_R10, VCPU_R11,
                                       VCPU_R12, VCPU_R13, VCPU_R14, VCPU_R15 };

static void get_general(BackendVcpu *vcpu, VcpuState *state)
{
    struct kvm_regs regs = { 0 };
    kvm_call(vcpu->fd, KVM_GET_REGS, &regs);
    for (unsigned i = 0; i < 16; i++)
        state->gpr[kvm_order[i]] = (&regs.rax)[i];
    state->rip = regs.rip;
    state->rflags = regs.rflags;
}

static bool set_general(BackendVcpu *vcpu, const VcpuState *state)
{
    struct kvm_regs regs = { .rip = state->rip, .rflags = state->rflags };
    for (unsigned i = 0; i < 16; i++)
        (&regs.rax)[i] = state->gpr[kvm_order[i]];
    return kvm_call(vcpu->fd, KVM_SET_REGS, &regs) >= 0;
}

static void get_segments(BackendVcpu *vcpu, VcpuState *state)
{
    struct kvm_sregs sregs = { 0 };
    kvm_call(vcpu->fd, KVM_GET_SREGS, &sregs);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        state->segment[i] = segment_from_kvm(sregs_segment(&sregs, i));
    state->ldtr = segment_from_kvm(&sregs.ldt);
    state->tr = segment_from_kvm(&sregs.tr);
    state->gdtr = (VcpuTable){ sregs.gdt.base, sregs.gdt.limit };
    state->idtr = (VcpuTable){ sregs.idt.base, sregs.idt.limit };
    state->cr0 = sregs.cr0;
    state->cr2 = sregs.cr2;
    state->cr3 = sregs.cr3;
    state->cr4 = sregs.cr4;
    state->cr8 = sregs.cr8;
    state->efer = sregs.efer;
}

static bool set_segments(BackendVcpu *vcpu, const VcpuState *state)
{
    struct kvm_sregs sregs = { 0 };
    // What we do not carry (APIC base, a pending interrupt) stays.
    if (kvm_call(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
        return false;
    memset(sregs.interrupt_bitmap, 0, sizeof sregs.interrupt_bitmap);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        *sregs_segment(&sregs, i) = segment_to_kvm(&state->segment[i]);
    sregs.ldt = segment_to_kvm(&state->ldtr);
    sregs.tr = segment_to_kvm(&state->tr);
    sregs.gdt = (struct kvm_dtable){ .base = state->gdtr.base, .limit = state->gdtr.limit };
    sregs.idt = (struct kvm_dtable){ .base = state->idtr.base, .limit = state->idtr.limit };
    sregs.cr0 = state->cr0;
    sregs.cr2 = state->cr2;
    sregs.cr3 = state->cr3;
    sregs.cr4 = state->cr4;
    sregs.cr8 = state->cr8;
    sregs.efer = state->efer;
    return kvm_call(vcpu->fd, KVM_SET_SREGS, &sregs) >= 0;
}

static bool get_msr(BackendVcpu *vcpu, uint32_t index, uint64_t *ret)
{
    OneMsr msr = { .head.nmsrs = 1, .entry.index = index };
    if (kvm_call(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
        return false;
    *ret = msr.entry.data;
    return true;
}

static bool set_msr(BackendVcpu *vcpu, uint32_t index, uint64_t value)
{
    OneMsr msr = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };
    return kvm_call(vcpu->fd, KVM_SET_MSRS, &msr) == 1;
}

static void get_msrs(BackendVcpu *vcpu, VcpuState *state)
{
    state->msr_count = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(state_msrs); i++) {
        VcpuMsr *msr = &state->msr[state->msr_count];
        msr->index = state_msrs[i];
        if (get_msr(vcpu, msr->index, &msr->value))
            state->msr_count++;
    }
    get_msr(vcpu, MSR_TSC, &state->tsc);
}

static bool set_msrs(BackendVcpu *vcpu, const VcpuState *state)
{
    for (unsigned i = 0; i < MIN(state->msr_count, VCPU_MSR_MAX); i++)
        set_msr(vcpu, state->msr[i].index, state->msr[i].value);
    set_msr(vcpu, MSR_TSC, state->tsc);
    vcpu->tsc_offset = state->tsc - __builtin_ia32_rdtsc();
    return true;
}

static void get_fpu(BackendVcpu *vcpu, VcpuState *state)
{
    struct kvm_xcrs xcrs = { 0 };
    kvm_call(vcpu->fd, KVM_GET_XSAVE, state->xsave);
    kvm_call(vcpu->fd, KVM_GET_XCRS, &xcrs);
    state->xcr0 = xcrs.nr_xcrs ? xcrs.xcrs[0].value : 1;
}

static bool set_fpu(BackendVcpu *vcpu, const VcpuState *state)
{
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs[0] = { .xcr = 0, .value = state->xcr0 } };
    struct kvm_xsave area;
    memcpy(&area, state->xsave, sizeof area);
    return kvm_call(vcpu->fd, KVM_SET_XSAVE, &area) >= 0 &&
           kvm_call(vcpu->fd, KVM_SET_XCRS, &xcrs) >= 0;
}

static void get_debug(BackendVcpu *vcpu, VcpuState *state)
{
    struct kvm_debugregs debug = { 0 };
    kvm_call(vcpu->fd, KVM_GET_DEBUGREGS, &debug);
    for (unsigned i = 0; i < 4; i++)
        state->dr[i] = debug.db[i];
    state->dr6 = debug.dr6;
    state->dr7 = debug.dr7;
}

static bool set_debug(BackendVcpu *vcpu, const VcpuState *state)
{
    struct kvm_debugregs debug = { .dr6 = state->dr6, .dr7 = state->dr7 };
    for (unsigned i = 0; i < 4; i++)
        debug.db[i] = state->dr[i];
    return kvm_call(vcpu->fd, KVM_SET_DEBUGREGS, &debug) >= 0;
}

static void get_events(BackendVcpu *vcpu, VcpuState *state)
{
    struct kvm_vcpu_events events = { 0 };
    kvm_call(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
    state->events.halted = false; // KVM leaves HLT to us; the vCPU layer knows
    state->events.nmi_blocked = events.nmi.masked;
    state->events.nmi_pending = events.nmi.pending;
    state->events.interrupt_shadow = events.interrupt.shadow != 0;
    state->events.exception_pending = events.exception.injected;
    state->events.exception_vector = events.exception.nr;
    state->events.exception_has_error = events.exception.has_error_code;
    state->events.exception_error = events.exception.error_code;
    // Accepted from the local APIC, and the run ended before the guest saw it.
    if (events.interrupt.injected && !events.interrupt.soft) {
        state->events.exception_pending = true;
        state->events.exception_vector = events.interrupt.nr;
        state->events.exception_has_error = false;
    }
}

static bool set_events(BackendVcpu *vcpu, const VcpuState *state)
{
    bool interrupt = state->events.exception_pending && state->events.exception_vector >= 32;
    struct kvm_vcpu_events events = {
        .exception = { .injected = state->events.exception_pending && !interrupt,
                       .nr = state->events.exception_vector,
                       .has_error_code = state->events.exception_has_error,
                       .error_code = state->events.exception_error },
        .interrupt = { .injected = interrupt,
                       .nr = interrupt ? state->events.exception_vector : 0,
                       .shadow = state->events.interrupt_shadow ? KVM_X86_SHADOW_INT_STI : 0 },
        .nmi = { .masked = state->events.nmi_blocked, .pending = state->events.nmi_pending },
        .flags = KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_NMI_PENDING,
    };
    return kvm_call(vcpu->fd, KVM_SET_VCPU_EVENTS, &events) >= 0;
}

void kvm_get_state(BackendVcpu *vcpu, VcpuState *ret_state, VcpuStateGroups groups)
{
    if (groups & VCPU_STATE_GENERAL)
        get_general(vcpu, ret_state);
    if (groups & VCPU_STATE_SEGMENTS)
        get_segments(vcpu, ret_state);
    if (groups & VCPU_STATE_MSRS)
        get_msrs(vcpu, ret_state);
    if (groups & VCPU_STATE_FPU)
        get_fpu(vcpu, ret_state);
    if (groups & VCPU_STATE_DEBUG)
        get_debug(vcpu, ret_state);
    if (groups & VCPU_STATE_EVENTS)
        get_events(vcpu, ret_state);
}

bool kvm_set_state(BackendVcpu *vcpu, const VcpuState *state, VcpuStateGroups groups)
{
    return (!(groups & VCPU_STATE_SEGMENTS) || set_segments(vcpu, state)) &&
           (!(groups & VCPU_STATE_GENERAL) || set_general(vcpu, state)) &&
           (!(groups & VCPU_STATE_MSRS) || set_msrs(vcpu, state)) &&
           (!(groups & VCPU_STATE_FPU) || set_fpu(vcpu, state)) &&
           (!(groups & VCPU_STATE_DEBUG) || set_debug(vcpu, state)) &&
           (!(groups & VCPU_STATE_EVENTS) || set_events(vcpu, state));
}
