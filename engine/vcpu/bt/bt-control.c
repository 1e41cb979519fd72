// SPDX-License-Identifier: GPL-2.0-or-later
// Control and debug registers: MOV CR, MOV DR, CLTS, LMSW, SMSW, XGETBV, XSETBV, and the TLB
// instructions INVLPG and INVPCID (SDM vol. 3A, 2.5; vol. 2).
#include "engine/vcpu/bt/bt-control.h"

#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

static void require_ring_0(BtCpu *cpu)
{
    if (cpu->cpl != 0)
        bt_raise_error(cpu, BT_GP, 0);
}

static uint64_t read_register(const BtCpu *cpu, const BtInsn *insn)
{
    uint64_t value = cpu->gpr[insn->reg[0]];
    return cpu->mode == BT_MODE_LONG ? value : (uint32_t)value;
}

static void write_register(BtCpu *cpu, const BtInsn *insn, uint64_t value)
{
    cpu->gpr[insn->reg[0]] = cpu->mode == BT_MODE_LONG ? value : (uint32_t)value;
}

// ---- CR0, CR3, CR4: whether the value may be loaded, then loading it ----

static bool has(const BtCpu *cpu, CpuFeature feature)
{
    return cpuid_model_has(cpu->config->cpuid, feature);
}

uint64_t bt_cr4_allowed(const CpuidModel *model)
{
    static const struct {
        CpuFeature feature;
        uint64_t bits;
    } optional[] = {
        { CPU_FEATURE_UMIP, BT_CR4_UMIP },         { CPU_FEATURE_FSGSBASE, BT_CR4_FSGSBASE },
        { CPU_FEATURE_PCID, BT_CR4_PCIDE },        { CPU_FEATURE_XSAVE, BT_CR4_OSXSAVE },
        { CPU_FEATURE_SMEP, BT_CR4_SMEP },         { CPU_FEATURE_SMAP, BT_CR4_SMAP },
    };
    uint64_t allowed = BT_CR4_TSD | BT_CR4_DE | BT_CR4_PSE | BT_CR4_PAE | BT_CR4_MCE | BT_CR4_PGE |
                       BT_CR4_PCE | BT_CR4_OSFXSR | BT_CR4_OSXMMEXCPT;
    for (unsigned i = 0; i < G_N_ELEMENTS(optional); i++) {
        if (cpuid_model_has(model, optional[i].feature))
            allowed |= optional[i].bits;
    }
    return allowed;
}

static bool is_tss_16(const BtCpu *cpu)
{
    return (bt_access_type(cpu->tr.access) & ~2u) == BT_TYPE_TSS16;
}

static void load_cr0(BtCpu *cpu, uint64_t value)
{
    uint64_t old = cpu->cr0;
    uint64_t known = BT_CR0_PE | BT_CR0_MP | BT_CR0_EM | BT_CR0_TS | BT_CR0_ET | BT_CR0_NE |
                     BT_CR0_WP | BT_CR0_AM | BT_CR0_NW | BT_CR0_CD | BT_CR0_PG;
    if (value >> 32)
        bt_raise_error(cpu, BT_GP, 0);
    value = (value & known) | BT_CR0_ET;
    bool paging = value & BT_CR0_PG, was_paging = old & BT_CR0_PG;
    if ((paging && !(value & BT_CR0_PE)) || ((value & BT_CR0_NW) && !(value & BT_CR0_CD)))
        bt_raise_error(cpu, BT_GP, 0);
    if (!paging && was_paging &&
        (cpu->mode == BT_MODE_LONG || (cpu->cr4 & BT_CR4_PCIDE)))
        bt_raise_error(cpu, BT_GP, 0);
    if (paging && !was_paging) {
        if (cpu->efer & BT_EFER_LME) {
            if (!(cpu->cr4 & BT_CR4_PAE) || (cpu->segment[VCPU_CS].access & BT_ACCESS_L) ||
                is_tss_16(cpu))
                bt_raise_error(cpu, BT_GP, 0);
            cpu->efer |= BT_EFER_LMA;
        } else if (cpu->cr4 & BT_CR4_PAE) {
            uint64_t pdpte[4];
            if (!bt_mmu_pdptes_valid(cpu, cpu->cr3, pdpte))
                bt_raise_error(cpu, BT_GP, 0);
            memcpy(cpu->pdpte, pdpte, sizeof pdpte);
        }
    }
    if (!paging)
        cpu->efer &= ~(uint64_t)BT_EFER_LMA;
    cpu->cr0 = value;
    if ((old ^ value) & (BT_CR0_PG | BT_CR0_PE | BT_CR0_WP))
        bt_tlb_flush_all(cpu);
    bt_update_mode(cpu);
}

static void load_cr3(BtCpu *cpu, uint64_t value)
{
    bool keep = (cpu->cr4 & BT_CR4_PCIDE) && (value & BT_BIT(63));
    if (bt_long_mode(cpu)) {
        if (cpu->cr4 & BT_CR4_PCIDE)
            value &= ~BT_BIT(63);
        if (value >> cpu->config->cpuid->physical_bits)
            bt_raise_error(cpu, BT_GP, 0);
    } else if ((cpu->cr0 & BT_CR0_PG) && (cpu->cr4 & BT_CR4_PAE)) {
        uint64_t pdpte[4];
        if (!bt_mmu_pdptes_valid(cpu, value, pdpte))
            bt_raise_error(cpu, BT_GP, 0);
        memcpy(cpu->pdpte, pdpte, sizeof pdpte);
    }
    cpu->cr3 = value;
    bt_tlb_switch(cpu, keep);
}

static void load_cr4(BtCpu *cpu, uint64_t value)
{
    uint64_t old = cpu->cr4;
    uint64_t changed = old ^ value;
    if (value & ~bt_cr4_allowed(cpu->config->cpuid))
        bt_raise_error(cpu, BT_GP, 0);
    if (bt_long_mode(cpu) && !(value & BT_CR4_PAE))
        bt_raise_error(cpu, BT_GP, 0);
    if ((value & changed & BT_CR4_PCIDE) && (!bt_long_mode(cpu) || (cpu->cr3 & 0xfff)))
        bt_raise_error(cpu, BT_GP, 0);
    uint64_t paging = BT_CR4_PAE | BT_CR4_PSE | BT_CR4_PGE | BT_CR4_SMEP;
    if ((value & BT_CR4_PAE) && (cpu->cr0 & BT_CR0_PG) && !bt_long_mode(cpu) &&
        (changed & paging)) {
        uint64_t pdpte[4];
        if (!bt_mmu_pdptes_valid(cpu, cpu->cr3, pdpte))
            bt_raise_error(cpu, BT_GP, 0);
        memcpy(cpu->pdpte, pdpte, sizeof pdpte);
    }
    cpu->cr4 = value;
    if (changed & (paging | BT_CR4_PCIDE | BT_CR4_SMAP))
        bt_tlb_flush_all(cpu);
    bt_update_mode(cpu);
}

// CR8 is the local APIC's.
static uint64_t exit_cr8(BtCpu *cpu, bool write, uint64_t value)
{
    VcpuExit exit = { .reason = VCPU_EXIT_CR8, .cr8 = { .write = write, .value = value } };
    cpu->stats.exits[VCPU_EXIT_CR8]++;
    bt_fpu_leave(cpu);
    cpu->config->handler.exit(cpu->config->handler.opaque, cpu->index, &exit);
    return exit.cr8.value & 15;
}

// reg[0]: general register, reg[1]: control register.
void bt_op_mov_from_cr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    switch (insn->reg[1]) {
    case 0: write_register(cpu, insn, cpu->cr0); break;
    case 2: write_register(cpu, insn, cpu->cr2); break;
    case 3: write_register(cpu, insn, cpu->cr3); break;
    case 4: write_register(cpu, insn, cpu->cr4); break;
    case 8: write_register(cpu, insn, exit_cr8(cpu, false, 0)); break;
    default: bt_raise(cpu, BT_UD);
    }
    BT_NEXT(cpu, insn);
}

void bt_op_mov_to_cr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    uint64_t value = read_register(cpu, insn);
    switch (insn->reg[1]) {
    case 0: load_cr0(cpu, value); break;
    case 2: cpu->cr2 = value; break;
    case 3: load_cr3(cpu, value); break;
    case 4: load_cr4(cpu, value); break;
    case 8:
        if (value >> 4)
            bt_raise_error(cpu, BT_GP, 0);
        exit_cr8(cpu, true, value);
        break;
    default: bt_raise(cpu, BT_UD);
    }
    BT_NEXT(cpu, insn);
}

void bt_op_clts(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    cpu->cr0 &= ~(uint64_t)BT_CR0_TS;
    bt_update_mode(cpu);
    BT_NEXT(cpu, insn);
}

// reg[0]: the register where the operand is one.
void bt_op_lmsw(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    uint64_t value = insn->flags & BT_INSN_HAS_MEMORY
                         ? bt_read16(cpu, insn->segment, bt_effective_address(cpu, insn))
                         : cpu->gpr[insn->reg[0]];
    // PE can be set but not cleared.
    uint64_t bits = BT_CR0_PE | BT_CR0_MP | BT_CR0_EM | BT_CR0_TS;
    load_cr0(cpu, (cpu->cr0 & ~(bits & ~(uint64_t)BT_CR0_PE)) | (value & bits));
    BT_NEXT(cpu, insn);
}

void bt_check_umip(BtCpu *cpu)
{
    if ((cpu->cr4 & BT_CR4_UMIP) && cpu->cpl > 0)
        bt_raise_error(cpu, BT_GP, 0);
}

void bt_op_smsw(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_check_umip(cpu);
    if (insn->flags & BT_INSN_HAS_MEMORY)
        bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), (uint16_t)cpu->cr0);
    else if (insn->operand_size == 2)
        cpu->gpr[insn->reg[0]] = (cpu->gpr[insn->reg[0]] & ~UINT64_C(0xffff)) |
                                 (cpu->cr0 & 0xffff);
    else
        cpu->gpr[insn->reg[0]] = cpu->cr0;
    BT_NEXT(cpu, insn);
}

// ---- Debug registers ----

static unsigned debug_register(BtCpu *cpu, unsigned number)
{
    if (number > 7 || ((number == 4 || number == 5) && (cpu->cr4 & BT_CR4_DE)))
        bt_raise(cpu, BT_UD);
    require_ring_0(cpu);
    if (cpu->dr7 & BT_DR7_GD)
        bt_debug_raise(cpu, BT_DR6_BD);
    return number == 4 || number == 5 ? number + 2 : number;
}

void bt_op_mov_from_dr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned number = debug_register(cpu, insn->reg[1]);
    write_register(cpu, insn, number == 6   ? cpu->dr6
                              : number == 7 ? cpu->dr7
                                            : cpu->dr[number]);
    BT_NEXT(cpu, insn);
}

void bt_op_mov_to_dr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned number = debug_register(cpu, insn->reg[1]);
    uint64_t value = read_register(cpu, insn);
    if (number >= 6 && value >> 32)
        bt_raise_error(cpu, BT_GP, 0);
    if (number == 6)
        cpu->dr6 = (value & (BT_DR6_B | BT_DR6_BD | BT_DR6_BS | BT_DR6_BT)) | BT_DR6_FIXED;
    else if (number == 7)
        cpu->dr7 = (value & UINT64_C(0xffff23ff)) | BT_DR7_FIXED;
    else
        cpu->dr[number] = value;
    bt_tlb_flush_all(cpu); // pages are watched or no longer are
    bt_debug_update(cpu);
    BT_NEXT(cpu, insn);
}

// ---- XCR0 ----

void bt_op_xgetbv(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (!(cpu->cr4 & BT_CR4_OSXSAVE))
        bt_raise(cpu, BT_UD);
    uint64_t value;
    uint32_t index = (uint32_t)cpu->gpr[VCPU_RCX];
    if (index == 0)
        value = cpu->fpu.xcr0;
    else if (index == 1 && has(cpu, CPU_FEATURE_XSAVEC))
        value = cpu->fpu.xcr0; // XINUSE, which may say "in use" of an initial state
    else
        bt_raise_error(cpu, BT_GP, 0);
    cpu->gpr[VCPU_RAX] = (uint32_t)value;
    cpu->gpr[VCPU_RDX] = value >> 32;
    BT_NEXT(cpu, insn);
}

void bt_op_xsetbv(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (!(cpu->cr4 & BT_CR4_OSXSAVE))
        bt_raise(cpu, BT_UD);
    uint64_t value = (uint32_t)cpu->gpr[VCPU_RAX] | cpu->gpr[VCPU_RDX] << 32;
    if (cpu->cpl != 0 || (uint32_t)cpu->gpr[VCPU_RCX] != 0 || !bt_xcr0_valid(value) ||
        (value & ~cpu->config->cpuid->xcr0_mask))
        bt_raise_error(cpu, BT_GP, 0);
    cpu->fpu.xcr0 = value;
    bt_update_mode(cpu);
    BT_NEXT(cpu, insn);
}

// ---- TLB ----

void bt_op_invlpg(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    // No limit, no type and no canonical check: an address that none may use has no translation.
    uint64_t linear = bt_effective_address(cpu, insn) + cpu->segment[insn->segment].base;
    if (cpu->mode != BT_MODE_LONG)
        linear = (uint32_t)linear;
    bt_tlb_flush_page(cpu, linear);
    BT_NEXT(cpu, insn);
}

// reg[0]: the type. The descriptor in memory: PCID in bits 0..11, linear address in 64..127.
void bt_op_invpcid(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (!bt_protected(cpu) && cpu->mode != BT_MODE_REAL)
        bt_raise_error(cpu, BT_GP, 0);
    require_ring_0(cpu);
    uint64_t type = read_register(cpu, insn);
    uint64_t descriptor[2];
    bt_read_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), descriptor, 16, 1);
    uint64_t pcid = descriptor[0] & 0xfff;
    bool pcide = cpu->cr4 & BT_CR4_PCIDE;
    if (type > 3 || (descriptor[0] >> 12) || (type < 2 && !pcide && pcid) ||
        (type == 0 && !bt_is_canonical(descriptor[1])))
        bt_raise_error(cpu, BT_GP, 0);
    if (type == 0)
        bt_tlb_flush_page(cpu, descriptor[1]);
    else if (type == 1)
        bt_tlb_flush_pcid(cpu, (unsigned)pcid);
    else if (type == 2)
        bt_tlb_flush_all(cpu);
    else
        bt_tlb_flush_non_global(cpu);
    BT_NEXT(cpu, insn);
}
