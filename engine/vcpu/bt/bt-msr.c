// SPDX-License-Identifier: GPL-2.0-or-later
// Model-specific registers (SDM vol. 4; the architectural ones of table 2-2). Those of the local
// APIC go to the handler. What is not here does not exist: #GP(0), as on a real processor.
#include "engine/vcpu/bt/bt-msr.h"

#include "engine/base/guest-log.h"
#include "engine/vcpu/bt/bt-control.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

#include <inttypes.h>

#define MTRR_COUNT 8

// ---- The time-stamp counter ----

uint64_t bt_tsc(BtCpu *cpu)
{
    const BackendVmConfig *config = cpu->config;
    unsigned __int128 ticks = (unsigned __int128)(uint64_t)config->now_ns(config->now_opaque) *
                              config->cpuid->tsc_hz / 1000000000u;
    return (uint64_t)ticks + (uint64_t)cpu->tsc_offset;
}

// ---- One register ----

static bool valid_memory_type(uint64_t type)
{
    return type == 0 || type == 1 || (type >= 4 && type <= 6);
}

static bool valid_pat(uint64_t value)
{
    for (unsigned i = 0; i < 64; i += 8) {
        uint64_t type = value >> i & 0xff;
        if (!valid_memory_type(type) && type != 7)
            return false;
    }
    return true;
}

// The fixed-range MTRRs: 250h, 258h, 259h, 268h..26fh. -1: none.
static int fixed_mtrr(uint32_t index)
{
    if (index == BT_MSR_MTRR_FIX64K)
        return 0;
    if (index == BT_MSR_MTRR_FIX16K || index == BT_MSR_MTRR_FIX16K + 1)
        return (int)(index - BT_MSR_MTRR_FIX16K) + 1;
    if (index >= BT_MSR_MTRR_FIX4K && index <= BT_MSR_MTRR_FIX4K + 7)
        return (int)(index - BT_MSR_MTRR_FIX4K) + 3;
    return -1;
}

static bool read_mtrr(const BtCpu *cpu, uint32_t index, uint64_t *ret)
{
    int fixed = fixed_mtrr(index);
    if (index == BT_MSR_MTRR_CAP)
        *ret = MTRR_COUNT | BT_BIT(8) | BT_BIT(10); // fixed ranges, write-combining
    else if (index == BT_MSR_MTRR_DEF_TYPE)
        *ret = cpu->msr_mtrr_def_type;
    else if (fixed >= 0)
        *ret = cpu->msr_mtrr_fixed[fixed];
    else
        *ret = cpu->msr_mtrr_physical[index - BT_MSR_MTRR_PHYSICAL];
    return true;
}

// Memory types have no effect here: all of a guest's memory is as coherent as write-back.
static bool write_mtrr(BtCpu *cpu, uint32_t index, uint64_t value)
{
    uint64_t address = (BT_BIT(cpu->config->cpuid->physical_bits) - 1) & ~UINT64_C(0xfff);
    int fixed = fixed_mtrr(index);
    if (index == BT_MSR_MTRR_CAP)
        return false;
    if (index == BT_MSR_MTRR_DEF_TYPE) {
        if ((value & ~UINT64_C(0xcff)) || !valid_memory_type(value & 0xff))
            return false;
        cpu->msr_mtrr_def_type = value;
    } else if (fixed >= 0) {
        for (unsigned i = 0; i < 64; i += 8) {
            if (!valid_memory_type(value >> i & 0xff))
                return false;
        }
        cpu->msr_mtrr_fixed[fixed] = value;
    } else {
        bool mask = index & 1;
        if (value & ~(address | (mask ? UINT64_C(0x800) : UINT64_C(0xff))))
            return false;
        if (!mask && !valid_memory_type(value & 0xff))
            return false;
        cpu->msr_mtrr_physical[index - BT_MSR_MTRR_PHYSICAL] = value;
    }
    return true;
}

static bool is_mtrr(uint32_t index)
{
    return index == BT_MSR_MTRR_CAP || index == BT_MSR_MTRR_DEF_TYPE || fixed_mtrr(index) >= 0 ||
           (index >= BT_MSR_MTRR_PHYSICAL && index < BT_MSR_MTRR_PHYSICAL + 2 * MTRR_COUNT);
}

static bool write_efer(BtCpu *cpu, uint64_t value)
{
    const CpuidModel *model = cpu->config->cpuid;
    uint64_t allowed = BT_EFER_LMA;
    if (cpuid_model_has(model, CPU_FEATURE_LONG_MODE))
        allowed |= BT_EFER_SCE | BT_EFER_LME;
    if (cpuid_model_has(model, CPU_FEATURE_NX))
        allowed |= BT_EFER_NXE;
    if (value & ~allowed)
        return false;
    if ((cpu->cr0 & BT_CR0_PG) && ((cpu->efer ^ value) & BT_EFER_LME))
        return false;
    bool nxe = (cpu->efer ^ value) & BT_EFER_NXE;
    cpu->efer = (value & ~(uint64_t)BT_EFER_LMA) | (cpu->efer & BT_EFER_LMA);
    if (nxe)
        bt_tlb_flush_all(cpu);
    bt_update_mode(cpu);
    return true;
}

static void write_segment_base(BtCpu *cpu, unsigned segment, uint64_t value)
{
    cpu->segment[segment].base = cpu->segment[segment].true_base = value;
}

static bool is_machine_check_bank(uint32_t index)
{
    return index >= BT_MSR_MC && index < BT_MSR_MC + 4 * BT_MC_BANKS;
}

bool bt_msr_read(BtCpu *cpu, uint32_t index, uint64_t *ret)
{
    const CpuidModel *model = cpu->config->cpuid;
    if (is_mtrr(index))
        return read_mtrr(cpu, index, ret);
    if (is_machine_check_bank(index)) {
        *ret = cpu->msr_mc[index - BT_MSR_MC];
        return true;
    }
    switch (index) {
    case 0: // P5_MC_ADDR, P5_MC_TYPE
    case 1:
    case BT_MSR_PLATFORM_ID:
    case BT_MSR_EBL_CR_POWERON:
    case BT_MSR_DEBUG_CTL: // no branch trace: its bits do not stick
        *ret = 0;
        return true;
    case BT_MSR_TSC: *ret = bt_tsc(cpu); return true;
    case BT_MSR_FEATURE_CONTROL: *ret = 1; return true; // locked, everything off
    case BT_MSR_TSC_ADJUST: *ret = cpu->msr_tsc_adjust; return true;
    case BT_MSR_MICROCODE: *ret = BT_BIT(32); return true; // revision 1
    case BT_MSR_ARCH_CAPABILITIES:
        *ret = cpuid_arch_capabilities(model);
        return *ret != 0;
    case BT_MSR_SYSENTER_CS: *ret = cpu->msr_sysenter_cs; return true;
    case BT_MSR_SYSENTER_ESP: *ret = cpu->msr_sysenter_esp; return true;
    case BT_MSR_SYSENTER_EIP: *ret = cpu->msr_sysenter_eip; return true;
    case BT_MSR_MCG_CAP: *ret = BT_MC_BANKS; return true;
    case BT_MSR_MCG_STATUS: *ret = cpu->msr_mcg_status; return true;
    case BT_MSR_MISC_ENABLE: *ret = cpu->msr_misc_enable; return true;
    case BT_MSR_PAT: *ret = cpu->msr_pat; return true;
    case BT_MSR_EFER: *ret = cpu->efer; return true;
    case BT_MSR_STAR: *ret = cpu->msr_star; return true;
    case BT_MSR_LSTAR: *ret = cpu->msr_lstar; return true;
    case BT_MSR_CSTAR: *ret = cpu->msr_cstar; return true;
    case BT_MSR_FMASK: *ret = cpu->msr_fmask; return true;
    case BT_MSR_FS_BASE: *ret = cpu->segment[VCPU_FS].base; return true;
    case BT_MSR_GS_BASE: *ret = cpu->segment[VCPU_GS].base; return true;
    case BT_MSR_KERNEL_GS_BASE: *ret = cpu->msr_kernel_gs_base; return true;
    case BT_MSR_TSC_AUX:
        *ret = cpu->msr_tsc_aux;
        return cpuid_model_has(model, CPU_FEATURE_RDTSCP) ||
               cpuid_model_has(model, CPU_FEATURE_RDPID);
    default: return false;
    }
}

static bool store(uint64_t *at, uint64_t value, bool valid)
{
    if (valid)
        *at = value;
    return valid;
}

bool bt_msr_write(BtCpu *cpu, uint32_t index, uint64_t value)
{
    if (is_mtrr(index))
        return write_mtrr(cpu, index, value);
    if (is_machine_check_bank(index)) {
        // Control registers are free; reports may only be cleared (vol. 3B, 15.3.2).
        bool control = index % 4 == 0;
        return store(&cpu->msr_mc[index - BT_MSR_MC], value, control || value == 0);
    }
    switch (index) {
    case 0:
    case 1:
    case BT_MSR_MICROCODE_TRIGGER: // nothing to load
    case BT_MSR_MICROCODE:
    case BT_MSR_EBL_CR_POWERON:
        return true;
    case BT_MSR_DEBUG_CTL: return value <= 3;
    case BT_MSR_TSC: {
        uint64_t delta = value - bt_tsc(cpu);
        cpu->tsc_offset += (int64_t)delta;
        cpu->msr_tsc_adjust += delta;
        return true;
    }
    case BT_MSR_TSC_ADJUST:
        cpu->tsc_offset += (int64_t)(value - cpu->msr_tsc_adjust);
        cpu->msr_tsc_adjust = value;
        return true;
    case BT_MSR_SYSENTER_CS: return store(&cpu->msr_sysenter_cs, value & UINT32_MAX, true);
    case BT_MSR_SYSENTER_ESP: return store(&cpu->msr_sysenter_esp, value, bt_is_canonical(value));
    case BT_MSR_SYSENTER_EIP: return store(&cpu->msr_sysenter_eip, value, bt_is_canonical(value));
    case BT_MSR_MCG_STATUS: return store(&cpu->msr_mcg_status, value, value <= 7);
    case BT_MSR_MISC_ENABLE:
        // Only "fast strings" can be switched; the rest is what the model is.
        cpu->msr_misc_enable = (cpu->msr_misc_enable & ~UINT64_C(1)) | (value & 1);
        return true;
    case BT_MSR_PAT: return store(&cpu->msr_pat, value, valid_pat(value));
    case BT_MSR_EFER: return write_efer(cpu, value);
    case BT_MSR_STAR: return store(&cpu->msr_star, value, true);
    case BT_MSR_LSTAR: return store(&cpu->msr_lstar, value, bt_is_canonical(value));
    case BT_MSR_CSTAR: return store(&cpu->msr_cstar, value, bt_is_canonical(value));
    case BT_MSR_FMASK: return store(&cpu->msr_fmask, value & UINT32_MAX, true);
    case BT_MSR_FS_BASE:
    case BT_MSR_GS_BASE:
        if (!bt_is_canonical(value))
            return false;
        write_segment_base(cpu, index == BT_MSR_FS_BASE ? VCPU_FS : VCPU_GS, value);
        return true;
    case BT_MSR_KERNEL_GS_BASE:
        return store(&cpu->msr_kernel_gs_base, value, bt_is_canonical(value));
    case BT_MSR_TSC_AUX: return store(&cpu->msr_tsc_aux, value, value <= UINT32_MAX);
    default: return false;
    }
}

// ---- Instructions ----

static bool is_apic(const BtCpu *cpu, uint32_t index)
{
    return index == BT_MSR_APIC_BASE ||
           (index == BT_MSR_TSC_DEADLINE &&
            cpuid_model_has(cpu->config->cpuid, CPU_FEATURE_TSC_DEADLINE)) ||
           (index >= BT_MSR_X2APIC_FIRST && index <= BT_MSR_X2APIC_LAST &&
            cpuid_model_has(cpu->config->cpuid, CPU_FEATURE_X2APIC));
}

static bool exit_msr(BtCpu *cpu, uint32_t index, bool write, uint64_t *value)
{
    VcpuExit exit = {
        .reason = VCPU_EXIT_MSR, .msr = { .index = index, .write = write, .value = *value },
    };
    cpu->stats.exits[VCPU_EXIT_MSR]++;
    bt_fpu_leave(cpu);
    cpu->config->handler.exit(cpu->config->handler.opaque, cpu->index, &exit);
    *value = exit.msr.value;
    return !exit.msr.fault;
}

static _Noreturn void refuse(BtCpu *cpu, const char *kind, uint32_t index)
{
    guest_log_once("interpreter", kind, "%xh at %" PRIx64 ": #GP(0)", index,
                   bt_insn_rip(cpu, cpu->insn));
    bt_raise_error(cpu, BT_GP, 0);
}

void bt_op_rdmsr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->cpl != 0)
        bt_raise_error(cpu, BT_GP, 0);
    uint32_t index = (uint32_t)cpu->gpr[VCPU_RCX];
    uint64_t value = 0;
    if (!(is_apic(cpu, index) ? exit_msr(cpu, index, false, &value)
                              : bt_msr_read(cpu, index, &value)))
        refuse(cpu, "RDMSR", index);
    cpu->gpr[VCPU_RAX] = (uint32_t)value;
    cpu->gpr[VCPU_RDX] = value >> 32;
    BT_NEXT(cpu, insn);
}

void bt_op_wrmsr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->cpl != 0)
        bt_raise_error(cpu, BT_GP, 0);
    uint32_t index = (uint32_t)cpu->gpr[VCPU_RCX];
    uint64_t value = (uint32_t)cpu->gpr[VCPU_RAX] | cpu->gpr[VCPU_RDX] << 32;
    if (!(is_apic(cpu, index) ? exit_msr(cpu, index, true, &value)
                              : bt_msr_write(cpu, index, value)))
        refuse(cpu, "WRMSR", index);
    BT_NEXT(cpu, insn);
}
