// SPDX-License-Identifier: GPL-2.0-or-later
// The system family: which handler an instruction gets, and the handlers that are too small for a
// file of their own: descriptor-table registers, software interrupts, IF, HLT, CPUID, the
// time-stamp counter, segment bases, SMAP (SDM vol. 2).
//
// A handler that does not transfer control ends with BT_NEXT like any other; what follows it in the
// block is decided by bt_decode_harmless.
#include "engine/vcpu/bt/bt-control.h"
#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-far.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-io.h"
#include "engine/vcpu/bt/bt-msr.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"
#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/bt/bt-verify.h"

static unsigned iopl(const BtCpu *cpu)
{
    return cpu->rflags_rest >> BT_FLAG_IOPL_SHIFT & 3;
}

static void require_ring_0(BtCpu *cpu)
{
    if (cpu->cpl != 0)
        bt_raise_error(cpu, BT_GP, 0);
}

static void request(BtCpu *cpu, uint32_t bits)
{
    __atomic_fetch_or(&cpu->request, bits, __ATOMIC_SEQ_CST);
}

// ---- GDTR, IDTR ----

static void load_table(BtCpu *cpu, const BtInsn *insn, VcpuTable *table)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    uint8_t bytes[10];
    uint16_t limit;
    uint64_t base = 0;
    unsigned size = cpu->mode == BT_MODE_LONG ? 8 : 4;
    bt_read_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), bytes, 2 + size, 1);
    memcpy(&limit, bytes, 2);
    memcpy(&base, bytes + 2, size);
    if (insn->operand_size == 2)
        base &= 0xffffff;
    if (!bt_is_canonical(base) && size == 8)
        bt_raise_error(cpu, BT_GP, 0);
    *table = (VcpuTable){ .base = base, .limit = limit };
}

static void store_table(BtCpu *cpu, const BtInsn *insn, const VcpuTable *table)
{
    BT_BEGIN(cpu, insn);
    bt_check_umip(cpu);
    uint8_t bytes[10];
    unsigned size = cpu->mode == BT_MODE_LONG ? 8 : 4;
    memcpy(bytes, &table->limit, 2);
    memcpy(bytes + 2, &table->base, size);
    bt_write_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), bytes, 2 + size, 1);
}

static void op_lgdt(BtCpu *cpu, const BtInsn *insn)
{
    load_table(cpu, insn, &cpu->gdtr);
    BT_NEXT(cpu, insn);
}

static void op_lidt(BtCpu *cpu, const BtInsn *insn)
{
    load_table(cpu, insn, &cpu->idtr);
    BT_NEXT(cpu, insn);
}

static void op_sgdt(BtCpu *cpu, const BtInsn *insn)
{
    store_table(cpu, insn, &cpu->gdtr);
    BT_NEXT(cpu, insn);
}

static void op_sidt(BtCpu *cpu, const BtInsn *insn)
{
    store_table(cpu, insn, &cpu->idtr);
    BT_NEXT(cpu, insn);
}

// ---- Software interrupts ----

static void interrupt(BtCpu *cpu, const BtInsn *insn, unsigned vector, bool soft)
{
    cpu->rip = bt_next_rip(cpu, insn);
    bt_debug_skip_step(cpu);
    bt_deliver(cpu, vector, false, 0, soft);
}

static void op_int(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->mode == BT_MODE_V86 && iopl(cpu) < 3)
        bt_raise_error(cpu, BT_GP, 0);
    interrupt(cpu, insn, insn->immediate & 0xff, true);
}

static void op_int3(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    interrupt(cpu, insn, BT_BP, true);
}

// INT1 is not privileged, whatever the gate's DPL. A trap that MOV SS held off becomes part of it.
static void op_int1(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_debug_merge(cpu);
    interrupt(cpu, insn, BT_DB, false);
}

static void op_into(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (bt_flags_get_status(cpu) & BT_FLAG_OF)
        interrupt(cpu, insn, BT_OF, true);
    else
        BT_NEXT(cpu, insn);
}

// ---- IF, HLT ----

static void require_io_privilege(BtCpu *cpu)
{
    if (cpu->cpl > iopl(cpu))
        bt_raise_error(cpu, BT_GP, 0);
}

static void op_cli(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_io_privilege(cpu);
    cpu->rflags_rest &= ~(uint64_t)BT_FLAG_IF;
    BT_NEXT(cpu, insn);
}

static void op_sti(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_io_privilege(cpu);
    if (!(cpu->rflags_rest & BT_FLAG_IF)) {
        cpu->rflags_rest |= BT_FLAG_IF;
        cpu->shadow = BT_SHADOW_STI;
        request(cpu, BT_REQUEST_SHADOW);
    }
    BT_NEXT(cpu, insn);
}

static void op_hlt(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    cpu->halted = true;
    request(cpu, BT_REQUEST_HALT);
    BT_NEXT(cpu, insn);
}

// ---- CPUID, counters ----

static void op_cpuid(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint32_t regs[4];
    cpuid_query(cpu->config->cpuid, cpu->index, (uint32_t)cpu->gpr[VCPU_RAX],
                (uint32_t)cpu->gpr[VCPU_RCX], cpu->fpu.xcr0, cpu->cr4, regs);
    cpu->gpr[VCPU_RAX] = regs[0];
    cpu->gpr[VCPU_RBX] = regs[1];
    cpu->gpr[VCPU_RCX] = regs[2];
    cpu->gpr[VCPU_RDX] = regs[3];
    BT_NEXT(cpu, insn);
}

static void read_tsc(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if ((cpu->cr4 & BT_CR4_TSD) && cpu->cpl > 0)
        bt_raise_error(cpu, BT_GP, 0);
    bt_fpu_leave(cpu);
    uint64_t tsc = bt_tsc(cpu);
    cpu->gpr[VCPU_RAX] = (uint32_t)tsc;
    cpu->gpr[VCPU_RDX] = tsc >> 32;
}

static void op_rdtsc(BtCpu *cpu, const BtInsn *insn)
{
    read_tsc(cpu, insn);
    BT_NEXT(cpu, insn);
}

static void op_rdtscp(BtCpu *cpu, const BtInsn *insn)
{
    read_tsc(cpu, insn);
    cpu->gpr[VCPU_RCX] = cpu->msr_tsc_aux;
    BT_NEXT(cpu, insn);
}

static void op_rdpid(BtCpu *cpu, const BtInsn *insn)
{
    cpu->gpr[insn->reg[0]] = cpu->msr_tsc_aux;
    BT_NEXT(cpu, insn);
}

// No performance counter exists, so every index is wrong.
static void op_rdpmc(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_raise_error(cpu, BT_GP, 0);
}

// ---- Segment bases ----

static void require_fsgsbase(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->mode != BT_MODE_LONG || !(cpu->cr4 & BT_CR4_FSGSBASE))
        bt_raise(cpu, BT_UD);
}

// reg[0]: the general register, reg[1]: FS or GS.
static void op_read_base(BtCpu *cpu, const BtInsn *insn)
{
    require_fsgsbase(cpu, insn);
    uint64_t base = cpu->segment[insn->reg[1]].base;
    cpu->gpr[insn->reg[0]] = insn->operand_size == 8 ? base : (uint32_t)base;
    BT_NEXT(cpu, insn);
}

static void op_write_base(BtCpu *cpu, const BtInsn *insn)
{
    require_fsgsbase(cpu, insn);
    uint64_t base = cpu->gpr[insn->reg[0]];
    if (insn->operand_size != 8)
        base = (uint32_t)base;
    if (!bt_is_canonical(base))
        bt_raise_error(cpu, BT_GP, 0);
    BtSegment *s = &cpu->segment[insn->reg[1]];
    s->base = s->true_base = base;
    BT_NEXT(cpu, insn);
}

static void op_swapgs(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->mode != BT_MODE_LONG)
        bt_raise(cpu, BT_UD);
    require_ring_0(cpu);
    BtSegment *gs = &cpu->segment[VCPU_GS];
    uint64_t base = gs->base;
    gs->base = gs->true_base = cpu->msr_kernel_gs_base;
    cpu->msr_kernel_gs_base = base;
    BT_NEXT(cpu, insn);
}

// ---- SMAP, caches ----

static void set_ac(BtCpu *cpu, const BtInsn *insn, bool set)
{
    BT_BEGIN(cpu, insn);
    if (cpu->cpl != 0)
        bt_raise(cpu, BT_UD);
    if (set)
        cpu->rflags_rest |= BT_FLAG_AC;
    else
        cpu->rflags_rest &= ~(uint64_t)BT_FLAG_AC;
    bt_update_mmu_index(cpu);
}

static void op_clac(BtCpu *cpu, const BtInsn *insn)
{
    set_ac(cpu, insn, false);
    BT_NEXT(cpu, insn);
}

static void op_stac(BtCpu *cpu, const BtInsn *insn)
{
    set_ac(cpu, insn, true);
    BT_NEXT(cpu, insn);
}

static void op_invalidate_caches(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    BT_NEXT(cpu, insn);
}

// ---- Selection ----

static bool take(BtInsn *out, BtHandler *handler)
{
    out->handler = handler;
    return true;
}

static bool is_class(const ZydisDecodedOperand *operand, ZydisRegisterClass class)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(operand->reg.value) == class;
}

static uint8_t register_id(const ZydisDecodedOperand *operand)
{
    return (uint8_t)ZydisRegisterGetId(operand->reg.value);
}

// General registers into reg[i] for operand i, where it is one.
static void set_general(const BtDecoded *d, BtInsn *out, unsigned operands)
{
    for (unsigned i = 0; i < operands; i++) {
        if (bt_operand_is_general(&d->operand[i]))
            out->reg[i] = (uint8_t)bt_general_register(d->operand[i].reg.value);
    }
}

// One operand of MOV is special, the other a general register or memory.
static bool select_mov(const BtDecoded *d, BtInsn *out)
{
    static const struct {
        ZydisRegisterClass class;
        BtHandler *to, *from;
    } kinds[] = {
        { ZYDIS_REGCLASS_SEGMENT, bt_op_mov_to_segment, bt_op_mov_from_segment },
        { ZYDIS_REGCLASS_CONTROL, bt_op_mov_to_cr, bt_op_mov_from_cr },
        { ZYDIS_REGCLASS_DEBUG, bt_op_mov_to_dr, bt_op_mov_from_dr },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        for (unsigned special = 0; special < 2; special++) {
            if (!is_class(&d->operand[special], kinds[i].class))
                continue;
            const ZydisDecodedOperand *other = &d->operand[1 - special];
            if (bt_operand_is_general(other))
                out->reg[0] = (uint8_t)bt_general_register(other->reg.value);
            out->reg[1] = register_id(&d->operand[special]);
            return take(out, special == 0 ? kinds[i].to : kinds[i].from);
        }
    }
    return false;
}

static bool select_far(const BtDecoded *d, BtInsn *out, BtHandler *handler)
{
    if (d->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_FAR)
        return false;
    const ZydisDecodedOperand *target = &d->operand[0];
    if (target->type == ZYDIS_OPERAND_TYPE_POINTER)
        out->immediate = (uint64_t)target->ptr.segment << 32 | target->ptr.offset;
    return take(out, handler);
}

static bool select_stack(const BtDecoded *d, BtInsn *out, BtHandler *handler)
{
    if (!is_class(&d->operand[0], ZYDIS_REGCLASS_SEGMENT))
        return false;
    out->reg[1] = register_id(&d->operand[0]);
    return take(out, handler);
}

static bool select_far_load(const BtDecoded *d, BtInsn *out, unsigned segment)
{
    set_general(d, out, 1);
    out->reg[1] = (uint8_t)segment;
    return take(out, bt_op_load_far_pointer);
}

static bool select_base(const BtDecoded *d, BtInsn *out, unsigned segment, BtHandler *handler)
{
    set_general(d, out, 1);
    out->reg[1] = (uint8_t)segment;
    return take(out, handler);
}

static bool select_in_out(const BtDecoded *d, BtInsn *out, unsigned port, BtHandler *handler)
{
    out->reg[0] = d->operand[port].type == ZYDIS_OPERAND_TYPE_REGISTER;
    if (out->operand_size > 4)
        out->operand_size = 4;
    return take(out, handler);
}

static bool select_string_io(const BtDecoded *d, BtInsn *out, BtHandler *handler)
{
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        if (bt_operand_is_memory(&d->operand[i]))
            bt_select_memory(&d->operand[i], out);
    }
    if (out->operand_size > 4)
        out->operand_size = 4;
    return take(out, handler);
}

static bool select_general(const BtDecoded *d, BtInsn *out, unsigned operands, BtHandler *handler)
{
    set_general(d, out, operands);
    return take(out, handler);
}

bool bt_select_system(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOV: return select_mov(d, out);
    case ZYDIS_MNEMONIC_PUSH: return select_stack(d, out, bt_op_push_segment);
    case ZYDIS_MNEMONIC_POP: return select_stack(d, out, bt_op_pop_segment);
    case ZYDIS_MNEMONIC_LDS: return select_far_load(d, out, VCPU_DS);
    case ZYDIS_MNEMONIC_LES: return select_far_load(d, out, VCPU_ES);
    case ZYDIS_MNEMONIC_LFS: return select_far_load(d, out, VCPU_FS);
    case ZYDIS_MNEMONIC_LGS: return select_far_load(d, out, VCPU_GS);
    case ZYDIS_MNEMONIC_LSS: return select_far_load(d, out, VCPU_SS);
    case ZYDIS_MNEMONIC_LAR: return select_general(d, out, 2, bt_op_lar);
    case ZYDIS_MNEMONIC_LSL: return select_general(d, out, 2, bt_op_lsl);
    case ZYDIS_MNEMONIC_VERR: return select_general(d, out, 1, bt_op_verr);
    case ZYDIS_MNEMONIC_VERW: return select_general(d, out, 1, bt_op_verw);
    case ZYDIS_MNEMONIC_ARPL: return select_general(d, out, 2, bt_op_arpl);
    case ZYDIS_MNEMONIC_SLDT: return select_general(d, out, 1, bt_op_sldt);
    case ZYDIS_MNEMONIC_STR: return select_general(d, out, 1, bt_op_str);
    case ZYDIS_MNEMONIC_LLDT: return select_general(d, out, 1, bt_op_lldt);
    case ZYDIS_MNEMONIC_LTR: return select_general(d, out, 1, bt_op_ltr);
    case ZYDIS_MNEMONIC_LGDT: return take(out, op_lgdt);
    case ZYDIS_MNEMONIC_LIDT: return take(out, op_lidt);
    case ZYDIS_MNEMONIC_SGDT: return take(out, op_sgdt);
    case ZYDIS_MNEMONIC_SIDT: return take(out, op_sidt);

    case ZYDIS_MNEMONIC_JMP: return select_far(d, out, bt_op_far_jump);
    case ZYDIS_MNEMONIC_CALL: return select_far(d, out, bt_op_far_call);
    case ZYDIS_MNEMONIC_RET: return select_far(d, out, bt_op_far_return);
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ: return take(out, bt_op_iret);
    case ZYDIS_MNEMONIC_SYSCALL: return take(out, bt_op_syscall);
    case ZYDIS_MNEMONIC_SYSRET: return take(out, bt_op_sysret);
    case ZYDIS_MNEMONIC_SYSENTER: return take(out, bt_op_sysenter);
    case ZYDIS_MNEMONIC_SYSEXIT: return take(out, bt_op_sysexit);
    case ZYDIS_MNEMONIC_INT: return take(out, op_int);
    case ZYDIS_MNEMONIC_INT1: return take(out, op_int1);
    case ZYDIS_MNEMONIC_INT3: return take(out, op_int3);
    case ZYDIS_MNEMONIC_INTO: return take(out, op_into);

    case ZYDIS_MNEMONIC_CLTS: return take(out, bt_op_clts);
    case ZYDIS_MNEMONIC_LMSW: return select_general(d, out, 1, bt_op_lmsw);
    case ZYDIS_MNEMONIC_SMSW: return select_general(d, out, 1, bt_op_smsw);
    case ZYDIS_MNEMONIC_XGETBV: return take(out, bt_op_xgetbv);
    case ZYDIS_MNEMONIC_XSETBV: return take(out, bt_op_xsetbv);
    case ZYDIS_MNEMONIC_INVLPG: return take(out, bt_op_invlpg);
    case ZYDIS_MNEMONIC_INVPCID: return select_general(d, out, 1, bt_op_invpcid);
    case ZYDIS_MNEMONIC_INVD:
    case ZYDIS_MNEMONIC_WBINVD: return take(out, op_invalidate_caches);
    case ZYDIS_MNEMONIC_CLAC: return take(out, op_clac);
    case ZYDIS_MNEMONIC_STAC: return take(out, op_stac);

    case ZYDIS_MNEMONIC_RDMSR: return take(out, bt_op_rdmsr);
    case ZYDIS_MNEMONIC_WRMSR: return take(out, bt_op_wrmsr);
    case ZYDIS_MNEMONIC_CPUID: return take(out, op_cpuid);
    case ZYDIS_MNEMONIC_RDTSC: return take(out, op_rdtsc);
    case ZYDIS_MNEMONIC_RDTSCP: return take(out, op_rdtscp);
    case ZYDIS_MNEMONIC_RDPID: return select_general(d, out, 1, op_rdpid);
    case ZYDIS_MNEMONIC_RDPMC: return take(out, op_rdpmc);
    case ZYDIS_MNEMONIC_RDFSBASE: return select_base(d, out, VCPU_FS, op_read_base);
    case ZYDIS_MNEMONIC_RDGSBASE: return select_base(d, out, VCPU_GS, op_read_base);
    case ZYDIS_MNEMONIC_WRFSBASE: return select_base(d, out, VCPU_FS, op_write_base);
    case ZYDIS_MNEMONIC_WRGSBASE: return select_base(d, out, VCPU_GS, op_write_base);
    case ZYDIS_MNEMONIC_SWAPGS: return take(out, op_swapgs);

    case ZYDIS_MNEMONIC_CLI: return take(out, op_cli);
    case ZYDIS_MNEMONIC_STI: return take(out, op_sti);
    case ZYDIS_MNEMONIC_HLT: return take(out, op_hlt);
    case ZYDIS_MNEMONIC_IN: return select_in_out(d, out, 1, bt_op_in);
    case ZYDIS_MNEMONIC_OUT: return select_in_out(d, out, 0, bt_op_out);
    case ZYDIS_MNEMONIC_INSB:
    case ZYDIS_MNEMONIC_INSW:
    case ZYDIS_MNEMONIC_INSD: return select_string_io(d, out, bt_op_ins);
    case ZYDIS_MNEMONIC_OUTSB:
    case ZYDIS_MNEMONIC_OUTSW:
    case ZYDIS_MNEMONIC_OUTSD: return select_string_io(d, out, bt_op_outs);
    default: return false;
    }
}
