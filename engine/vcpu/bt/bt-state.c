// SPDX-License-Identifier: GPL-2.0-or-later
// Between BtCpu and VcpuState: reading the state out, and taking one over after it has been checked
// against what the architecture allows (SDM vol. 3A, 2.5; vol. 3C, 26.3 has the same list for
// virtual machine entries).
#include "engine/vcpu/bt/bt-state.h"

#include "engine/vcpu/bt/bt-control.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-msr.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

// What VCPU_STATE_MSRS carries, apart from the TSC.
static const uint32_t scalar_msrs[] = {
    BT_MSR_SYSENTER_CS, BT_MSR_SYSENTER_ESP, BT_MSR_SYSENTER_EIP, BT_MSR_STAR, BT_MSR_LSTAR,
    BT_MSR_CSTAR, BT_MSR_FMASK, BT_MSR_KERNEL_GS_BASE, BT_MSR_TSC_AUX, BT_MSR_PAT,
    BT_MSR_MTRR_DEF_TYPE, BT_MSR_MISC_ENABLE, BT_MSR_MCG_STATUS,
};

static const struct {
    uint32_t first;
    unsigned count;
} msr_ranges[] = {
    { BT_MSR_MTRR_PHYSICAL, 16 }, { BT_MSR_MTRR_FIX64K, 1 }, { BT_MSR_MTRR_FIX16K, 2 },
    { BT_MSR_MTRR_FIX4K, 8 },
};

// ---- Reading ----

static VcpuSegment get_segment(const BtSegment *s)
{
    return (VcpuSegment){ .base = s->true_base, .limit = s->limit, .selector = s->selector,
                          .access = s->access, .unusable = s->unusable };
}

static void get_msr(BtCpu *cpu, VcpuState *state, uint32_t index)
{
    uint64_t value;
    if (state->msr_count < VCPU_MSR_MAX && bt_msr_read(cpu, index, &value))
        state->msr[state->msr_count++] = (VcpuMsr){ index, value };
}

static void get_msrs(BtCpu *cpu, VcpuState *state)
{
    state->msr_count = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(scalar_msrs); i++)
        get_msr(cpu, state, scalar_msrs[i]);
    for (unsigned i = 0; i < G_N_ELEMENTS(msr_ranges); i++) {
        for (unsigned j = 0; j < msr_ranges[i].count; j++)
            get_msr(cpu, state, msr_ranges[i].first + j);
    }
    // The controls of the machine-check banks; their reports are always 0.
    for (unsigned i = 0; i < BT_MC_BANKS; i++)
        get_msr(cpu, state, BT_MSR_MC + 4 * i);
    get_msr(cpu, state, BT_MSR_TSC_ADJUST);
    state->tsc = bt_tsc(cpu);
}

void bt_state_get(BtCpu *cpu, VcpuState *state, VcpuStateGroups groups)
{
    if (groups & VCPU_STATE_GENERAL) {
        memcpy(state->gpr, cpu->gpr, sizeof state->gpr);
        state->rip = cpu->rip;
        state->rflags = bt_rflags_get(cpu);
    }
    if (groups & VCPU_STATE_SEGMENTS) {
        for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
            state->segment[i] = get_segment(&cpu->segment[i]);
        state->ldtr = get_segment(&cpu->ldtr);
        state->tr = get_segment(&cpu->tr);
        state->gdtr = cpu->gdtr;
        state->idtr = cpu->idtr;
        state->cr0 = cpu->cr0;
        state->cr2 = cpu->cr2;
        state->cr3 = cpu->cr3;
        state->cr4 = cpu->cr4;
        state->cr8 = 0; // the local APIC's
        state->efer = cpu->efer;
    }
    if (groups & VCPU_STATE_MSRS)
        get_msrs(cpu, state);
    if (groups & VCPU_STATE_FPU) {
        state->xcr0 = cpu->fpu.xcr0;
        bt_fpu_get(cpu, state->xsave);
    }
    if (groups & VCPU_STATE_DEBUG) {
        memcpy(state->dr, cpu->dr, sizeof state->dr);
        state->dr6 = cpu->dr6;
        state->dr7 = cpu->dr7;
    }
    if (groups & VCPU_STATE_EVENTS) {
        uint32_t request = __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);
        memset(&state->events, 0, sizeof state->events);
        state->events.halted = cpu->halted;
        state->events.wait_for_sipi = cpu->wait_for_sipi;
        state->events.nmi_blocked = cpu->nmi_blocked;
        state->events.nmi_pending = cpu->nmi_pending || (request & BT_REQUEST_NMI);
        state->events.interrupt_shadow = cpu->shadow != 0;
        state->events.exception_pending = cpu->injected;
        state->events.exception_vector = cpu->injected ? cpu->fault.vector : 0;
        state->events.exception_has_error = cpu->injected && cpu->fault.has_error;
        state->events.exception_error = cpu->injected ? cpu->fault.error : 0;
    }
}

// ---- Checking: the whole state as it would be ----

static bool control_valid(const BtCpu *cpu, const VcpuState *s)
{
    const CpuidModel *model = cpu->config->cpuid;
    bool paging = s->cr0 & BT_CR0_PG, lme = s->efer & BT_EFER_LME, lma = s->efer & BT_EFER_LMA;
    uint64_t efer_allowed = 0;
    if (cpuid_model_has(model, CPU_FEATURE_LONG_MODE))
        efer_allowed |= BT_EFER_SCE | BT_EFER_LME | BT_EFER_LMA;
    if (cpuid_model_has(model, CPU_FEATURE_NX))
        efer_allowed |= BT_EFER_NXE;
    return !(s->cr0 >> 32) && (!paging || (s->cr0 & BT_CR0_PE)) &&
           (!(s->cr0 & BT_CR0_NW) || (s->cr0 & BT_CR0_CD)) &&
           !(s->cr4 & ~bt_cr4_allowed(model)) && !(s->efer & ~efer_allowed) &&
           lma == (lme && paging) && (!lma || (s->cr4 & BT_CR4_PAE)) &&
           (!(s->cr4 & BT_CR4_PCIDE) || lma) &&
           !(s->cr3 >> model->physical_bits);
}

static bool segments_valid(const VcpuState *s)
{
    bool lma = s->efer & BT_EFER_LMA;
    bool code_64 = lma && (s->segment[VCPU_CS].access & BT_ACCESS_L);
    if (code_64 && (s->segment[VCPU_CS].access & BT_ACCESS_DB))
        return false;
    if ((s->rflags & BT_FLAG_VM) && (code_64 || !(s->cr0 & BT_CR0_PE)))
        return false;
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++) {
        bool wide = i == VCPU_FS || i == VCPU_GS;
        if (wide ? !bt_is_canonical(s->segment[i].base) : s->segment[i].base >> 32)
            return false;
    }
    return bt_is_canonical(s->ldtr.base) && bt_is_canonical(s->tr.base) &&
           bt_is_canonical(s->gdtr.base) && bt_is_canonical(s->idtr.base) &&
           (code_64 ? bt_is_canonical(s->rip) : !(s->rip >> 32));
}

static bool debug_valid(const VcpuState *s)
{
    return !(s->dr6 >> 32) && !(s->dr7 >> 32);
}

static bool fpu_valid(const BtCpu *cpu, const VcpuState *s)
{
    return bt_xcr0_valid(s->xcr0) && !(s->xcr0 & ~cpu->config->cpuid->xcr0_mask);
}

// ---- Setting ----

static void set_segment(BtCpu *cpu, BtSegment *to, const VcpuSegment *from)
{
    *to = (BtSegment){ .base = from->base, .true_base = from->base, .limit = from->limit,
                       .selector = from->selector, .access = from->access,
                       .unusable = from->unusable };
}

static void set_segments(BtCpu *cpu, const VcpuState *state)
{
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        set_segment(cpu, &cpu->segment[i], &state->segment[i]);
    set_segment(cpu, &cpu->ldtr, &state->ldtr);
    set_segment(cpu, &cpu->tr, &state->tr);
    cpu->gdtr = state->gdtr;
    cpu->idtr = state->idtr;
    cpu->cr0 = state->cr0 | BT_CR0_ET;
    cpu->cr2 = state->cr2;
    cpu->cr3 = state->cr3;
    cpu->cr4 = state->cr4;
    cpu->efer = state->efer;
    cpu->cpl = (uint8_t)bt_access_dpl(state->segment[VCPU_SS].access);
}

void bt_state_reset_msrs(BtCpu *cpu)
{
    cpu->msr_star = cpu->msr_lstar = cpu->msr_cstar = cpu->msr_fmask = 0;
    cpu->msr_kernel_gs_base = cpu->msr_tsc_aux = 0;
    cpu->msr_sysenter_cs = cpu->msr_sysenter_esp = cpu->msr_sysenter_eip = 0;
    cpu->msr_pat = UINT64_C(0x0007040600070406);
    cpu->msr_misc_enable = 1 | BT_BIT(11) | BT_BIT(12); // fast strings; no BTS, no PEBS
    cpu->msr_mtrr_def_type = 0;
    memset(cpu->msr_mtrr_physical, 0, sizeof cpu->msr_mtrr_physical);
    memset(cpu->msr_mtrr_fixed, 0, sizeof cpu->msr_mtrr_fixed);
    cpu->msr_tsc_adjust = cpu->msr_mcg_status = 0;
    memset(cpu->msr_mc, 0, sizeof cpu->msr_mc);
}

// The CPUs of a machine are set one after another while time goes on; offsets that differ by less
// than a second mean the same moment and become equal, so that the guest sees one TSC.
static void set_tsc(BtCpu *cpu, uint64_t tsc)
{
    cpu->tsc_offset = 0;
    int64_t offset = (int64_t)(tsc - bt_tsc(cpu));
    BtVm *vm = cpu->vm;
    pthread_mutex_lock(&vm->tsc_lock);
    uint64_t distance = offset > vm->tsc_offset ? (uint64_t)offset - (uint64_t)vm->tsc_offset
                                                : (uint64_t)vm->tsc_offset - (uint64_t)offset;
    if (!vm->tsc_offset_known || distance >= cpu->config->cpuid->tsc_hz) {
        vm->tsc_offset = offset;
        vm->tsc_offset_known = true;
    }
    cpu->tsc_offset = vm->tsc_offset;
    pthread_mutex_unlock(&vm->tsc_lock);
}

// What another backend has more of than this one is left out, as it would be there.
static void set_msrs(BtCpu *cpu, const VcpuState *state)
{
    bt_state_reset_msrs(cpu);
    uint64_t adjust = 0;
    for (unsigned i = 0; i < MIN(state->msr_count, VCPU_MSR_MAX); i++) {
        if (state->msr[i].index == BT_MSR_TSC_ADJUST)
            adjust = state->msr[i].value;
        else if (state->msr[i].index != BT_MSR_TSC && state->msr[i].index != BT_MSR_EFER &&
                 state->msr[i].index != BT_MSR_FS_BASE && state->msr[i].index != BT_MSR_GS_BASE)
            bt_msr_write(cpu, state->msr[i].index, state->msr[i].value);
    }
    set_tsc(cpu, state->tsc);
    cpu->msr_tsc_adjust = adjust;
}

static void set_events(BtCpu *cpu, const VcpuState *state)
{
    uint32_t bits = BT_REQUEST_NMI | BT_REQUEST_SHADOW | BT_REQUEST_HALT;
    __atomic_fetch_and(&cpu->request, ~bits, __ATOMIC_SEQ_CST);
    cpu->halted = state->events.halted;
    cpu->wait_for_sipi = state->events.wait_for_sipi;
    cpu->nmi_blocked = state->events.nmi_blocked;
    cpu->nmi_pending = false;
    cpu->shadow = state->events.interrupt_shadow ? BT_SHADOW_STI : 0;
    cpu->injected = state->events.exception_pending;
    cpu->fault = (BtFault){ state->events.exception_vector, state->events.exception_has_error,
                            state->events.exception_error };
    cpu->delivering = false;
    cpu->debug_hits = 0;
    uint32_t request = (state->events.nmi_pending ? BT_REQUEST_NMI : 0) |
                       (cpu->shadow ? BT_REQUEST_SHADOW : 0) |
                       (cpu->halted ? BT_REQUEST_HALT : 0);
    __atomic_fetch_or(&cpu->request, request, __ATOMIC_SEQ_CST);
}

// Everything that is derived from what was set.
static void settle(BtCpu *cpu)
{
    cpu->insn = NULL;
    bt_mmu_reload_pdptes(cpu);
    bt_update_mode(cpu);
    for (unsigned i = 0; i < BT_SEGMENTS; i++)
        bt_segment_update(cpu, i);
    bt_tlb_flush_all(cpu);
    bt_debug_update(cpu);
}

bool bt_state_set(BtCpu *cpu, const VcpuState *state, VcpuStateGroups groups)
{
    VcpuState whole = *state;
    bt_state_get(cpu, &whole, VCPU_STATE_ALL & ~groups & ~(VCPU_STATE_MSRS | VCPU_STATE_FPU));
    if (groups & (VCPU_STATE_GENERAL | VCPU_STATE_SEGMENTS)) {
        if (!control_valid(cpu, &whole) || !segments_valid(&whole))
            return false;
    }
    if (((groups & VCPU_STATE_DEBUG) && !debug_valid(&whole)) ||
        ((groups & VCPU_STATE_FPU) && !fpu_valid(cpu, &whole)) ||
        ((groups & VCPU_STATE_FPU) && !bt_fpu_set(cpu, state->xsave)))
        return false;

    if (groups & VCPU_STATE_FPU)
        cpu->fpu.xcr0 = state->xcr0;
    if (groups & VCPU_STATE_GENERAL) {
        memcpy(cpu->gpr, state->gpr, sizeof state->gpr);
        cpu->rip = state->rip;
        bt_rflags_set(cpu, (state->rflags & BT_FLAGS_DEFINED) | BT_FLAG_ONE);
    }
    if (groups & VCPU_STATE_SEGMENTS)
        set_segments(cpu, state);
    if (groups & VCPU_STATE_MSRS)
        set_msrs(cpu, state);
    if (groups & VCPU_STATE_DEBUG) {
        memcpy(cpu->dr, state->dr, sizeof cpu->dr);
        cpu->dr6 = state->dr6 | BT_DR6_FIXED;
        cpu->dr7 = state->dr7 | BT_DR7_FIXED;
    }
    if (groups & VCPU_STATE_EVENTS)
        set_events(cpu, state);
    settle(cpu);
    return true;
}
