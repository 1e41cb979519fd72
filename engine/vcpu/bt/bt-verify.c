// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions on selectors: MOV, PUSH and POP of segment registers, LDS..LGS, LAR, LSL, VERR,
// VERW, ARPL, and the LDT and task registers (SDM vol. 2). The checks of a segment load are
// bt-segment.c's.
#include "engine/vcpu/bt/bt-verify.h"

#include "engine/vcpu/bt/bt-control.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

static void set_register(BtCpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    if (size == 2)
        cpu->gpr[reg] = (cpu->gpr[reg] & ~UINT64_C(0xffff)) | (value & 0xffff);
    else
        cpu->gpr[reg] = size == 4 ? (uint32_t)value : value;
}

// The r/m16 operand; `reg`: the register where it is one.
static uint16_t read_selector(BtCpu *cpu, const BtInsn *insn, unsigned reg)
{
    if (insn->flags & BT_INSN_HAS_MEMORY)
        return bt_read16(cpu, insn->segment, bt_effective_address(cpu, insn));
    return (uint16_t)cpu->gpr[reg];
}

// To r/m: 16 bits to memory, extended with zeros to a register of the operand's size.
static void write_selector(BtCpu *cpu, const BtInsn *insn, uint64_t value)
{
    if (insn->flags & BT_INSN_HAS_MEMORY)
        bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), (uint16_t)value);
    else
        set_register(cpu, insn->reg[0], insn->operand_size, value);
}

static void hold_interrupts(BtCpu *cpu)
{
    cpu->shadow = BT_SHADOW_MOV_SS;
    __atomic_fetch_or(&cpu->request, BT_REQUEST_SHADOW, __ATOMIC_SEQ_CST);
}

// ---- MOV, PUSH, POP, LxS. reg[0]: general register, reg[1]: segment register ----

void bt_op_mov_from_segment(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    write_selector(cpu, insn, cpu->segment[insn->reg[1]].selector);
    BT_NEXT(cpu, insn);
}

void bt_op_mov_to_segment(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_segment_load(cpu, insn->reg[1], read_selector(cpu, insn, insn->reg[0]));
    if (insn->reg[1] == VCPU_SS)
        hold_interrupts(cpu);
    BT_NEXT(cpu, insn);
}

void bt_op_push_segment(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint16_t selector = cpu->segment[insn->reg[1]].selector;
    BtStack stack = bt_stack_current(cpu);
    if (insn->operand_size == 4) {
        // Processors of this generation write 16 bits and leave the other half of the slot alone.
        stack.sp = (stack.sp & ~stack.mask) | ((stack.sp - 2) & stack.mask);
        bt_stack_push(cpu, &stack, 2, selector);
    } else {
        bt_stack_push(cpu, &stack, insn->operand_size, selector);
    }
    bt_stack_commit(cpu, &stack);
    BT_NEXT(cpu, insn);
}

void bt_op_pop_segment(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    // The width of RSP's change is the old SS's; the new selector is loaded before RSP changes, so
    // that a fault finds RSP as it was.
    BtStack stack = bt_stack_current(cpu);
    uint16_t selector = (uint16_t)bt_stack_pop(cpu, &stack, insn->operand_size);
    bt_segment_load(cpu, insn->reg[1], selector);
    bt_stack_commit(cpu, &stack);
    if (insn->reg[1] == VCPU_SS)
        hold_interrupts(cpu);
    BT_NEXT(cpu, insn);
}

void bt_op_load_far_pointer(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint8_t bytes[10];
    uint64_t offset = 0;
    uint16_t selector;
    bt_read_far_pointer(cpu, insn->segment, bt_effective_address(cpu, insn), bytes, size);
    memcpy(&offset, bytes, size);
    memcpy(&selector, bytes + size, 2);
    bt_segment_load(cpu, insn->reg[1], selector);
    set_register(cpu, insn->reg[0], size, offset);
    BT_NEXT(cpu, insn);
}

// ---- LAR, LSL, VERR, VERW, ARPL ----

static void set_zero_flag(BtCpu *cpu, bool set)
{
    bt_flags_change(cpu, BT_FLAG_ZF, set ? BT_FLAG_ZF : 0);
}

// Whether a program at CPL with this selector's RPL may see the descriptor.
static bool visible(const BtCpu *cpu, uint16_t selector, uint16_t access)
{
    if (bt_access_is_conforming(access))
        return true;
    unsigned dpl = bt_access_dpl(access);
    return dpl >= cpu->cpl && dpl >= (selector & 3u);
}

// Types that LAR (and, without gates, LSL) answers for: vol. 2, LAR's and LSL's tables.
static bool type_has_rights(const BtCpu *cpu, uint16_t access, bool limit)
{
    if (access & BT_ACCESS_S)
        return true;
    switch (bt_access_type(access)) {
    case BT_TYPE_LDT:
    case BT_TYPE_TSS:
    case BT_TYPE_TSS_BUSY:
        return true;
    case BT_TYPE_TSS16:
    case BT_TYPE_TSS16_BUSY:
        return !bt_long_mode(cpu);
    case BT_TYPE_CALL_GATE:
        return !limit;
    case BT_TYPE_CALL_GATE16:
    case BT_TYPE_TASK_GATE:
        return !limit && !bt_long_mode(cpu);
    default:
        return false;
    }
}

static bool look_up(BtCpu *cpu, uint16_t selector, BtDescriptor *ret_descriptor)
{
    return BT_SELECTOR_ERROR(selector) != 0 && bt_descriptor_read(cpu, selector, ret_descriptor);
}

static void require_protected(BtCpu *cpu)
{
    if (!bt_protected(cpu))
        bt_raise(cpu, BT_UD);
}

void bt_op_lar(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    uint16_t selector = read_selector(cpu, insn, insn->reg[1]);
    BtDescriptor d;
    bool found = look_up(cpu, selector, &d) &&
                 type_has_rights(cpu, bt_descriptor_access(d.raw), false) &&
                 visible(cpu, selector, bt_descriptor_access(d.raw));
    if (found)
        set_register(cpu, insn->reg[0], insn->operand_size, d.raw >> 32 & 0x00ffff00);
    set_zero_flag(cpu, found);
    BT_NEXT(cpu, insn);
}

void bt_op_lsl(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    uint16_t selector = read_selector(cpu, insn, insn->reg[1]);
    BtDescriptor d;
    bool found = look_up(cpu, selector, &d) &&
                 type_has_rights(cpu, bt_descriptor_access(d.raw), true) &&
                 visible(cpu, selector, bt_descriptor_access(d.raw));
    if (found)
        set_register(cpu, insn->reg[0], insn->operand_size, bt_descriptor_limit(d.raw));
    set_zero_flag(cpu, found);
    BT_NEXT(cpu, insn);
}

static void verify(BtCpu *cpu, const BtInsn *insn, bool for_write)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    uint16_t selector = read_selector(cpu, insn, insn->reg[0]);
    BtDescriptor d;
    bool allowed = false;
    if (look_up(cpu, selector, &d)) {
        uint16_t access = bt_descriptor_access(d.raw);
        bool readable = (access & BT_ACCESS_S) &&
                        (!(access & BT_ACCESS_CODE) || (access & BT_ACCESS_READABLE));
        allowed = (for_write ? bt_access_is_writable_data(access) : readable) &&
                  visible(cpu, selector, access);
    }
    set_zero_flag(cpu, allowed);
}

void bt_op_verr(BtCpu *cpu, const BtInsn *insn)
{
    verify(cpu, insn, false);
    BT_NEXT(cpu, insn);
}

void bt_op_verw(BtCpu *cpu, const BtInsn *insn)
{
    verify(cpu, insn, true);
    BT_NEXT(cpu, insn);
}

// reg[0]: the destination, reg[1]: the source.
void bt_op_arpl(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    uint16_t value = read_selector(cpu, insn, insn->reg[0]);
    unsigned rpl = cpu->gpr[insn->reg[1]] & 3;
    bool raise_rpl = (value & 3u) < rpl;
    uint16_t result = (uint16_t)((value & ~3u) | rpl);
    if (raise_rpl && (insn->flags & BT_INSN_HAS_MEMORY))
        bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), result);
    else if (raise_rpl)
        set_register(cpu, insn->reg[0], 2, result);
    set_zero_flag(cpu, raise_rpl);
    BT_NEXT(cpu, insn);
}

// ---- LDTR and TR ----


void bt_op_sldt(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    bt_check_umip(cpu);
    write_selector(cpu, insn, cpu->ldtr.selector);
    BT_NEXT(cpu, insn);
}

void bt_op_str(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_protected(cpu);
    bt_check_umip(cpu);
    write_selector(cpu, insn, cpu->tr.selector);
    BT_NEXT(cpu, insn);
}

// Base bits 32..63 of a 16-byte system descriptor; raises where its second half is not there, is
// not empty, or makes the base non-canonical.
static uint64_t system_base(BtCpu *cpu, uint16_t selector, uint64_t raw)
{
    uint64_t base = bt_descriptor_base(raw);
    if (!bt_long_mode(cpu))
        return base;
    BtDescriptor high;
    if (selector >= 0xfff8 || !bt_descriptor_read(cpu, (uint16_t)(selector + 8), &high) ||
        (bt_descriptor_access(high.raw) & (BT_ACCESS_TYPE | BT_ACCESS_S)))
        bt_raise_error(cpu, BT_GP, BT_SELECTOR_ERROR(selector));
    base |= high.raw << 32;
    if (!bt_is_canonical(base))
        bt_raise_error(cpu, BT_GP, BT_SELECTOR_ERROR(selector));
    return base;
}

void bt_ldt_load(BtCpu *cpu, uint16_t selector, unsigned vector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0) {
        cpu->ldtr = (BtSegment){ .selector = selector, .unusable = true };
        return;
    }
    if (selector & 4)
        bt_raise_error(cpu, vector, error);
    BtDescriptor d = bt_descriptor_get(cpu, selector, vector);
    uint16_t access = bt_descriptor_access(d.raw);
    if ((access & (BT_ACCESS_TYPE | BT_ACCESS_S)) != BT_TYPE_LDT)
        bt_raise_error(cpu, vector, error);
    if (!(access & BT_ACCESS_P)) // a task switch says #TS here too
        bt_raise_error(cpu, vector == BT_TS ? BT_TS : BT_NP, error);
    uint64_t base = system_base(cpu, selector, d.raw);
    cpu->ldtr = (BtSegment){ .selector = selector, .base = base, .true_base = base,
                             .limit = bt_descriptor_limit(d.raw), .access = access };
}

static void require_ring_0(BtCpu *cpu)
{
    require_protected(cpu);
    if (cpu->cpl != 0)
        bt_raise_error(cpu, BT_GP, 0);
}

void bt_op_lldt(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    bt_ldt_load(cpu, read_selector(cpu, insn, insn->reg[0]), BT_GP);
    BT_NEXT(cpu, insn);
}

void bt_op_ltr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require_ring_0(cpu);
    uint16_t selector = read_selector(cpu, insn, insn->reg[0]);
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0)
        bt_raise_error(cpu, BT_GP, 0);
    if (selector & 4)
        bt_raise_error(cpu, BT_GP, error);
    BtDescriptor d = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(d.raw);
    unsigned type = access & (BT_ACCESS_TYPE | BT_ACCESS_S);
    if (type != BT_TYPE_TSS && (type != BT_TYPE_TSS16 || bt_long_mode(cpu)))
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    uint64_t base = system_base(cpu, selector, d.raw);
    uint8_t type_byte = (uint8_t)bt_system_read(cpu, d.address + 5, 1);
    bt_system_write(cpu, d.address + 5, 1, type_byte | 2);
    cpu->tr = (BtSegment){ .selector = selector, .base = base, .true_base = base,
                           .limit = bt_descriptor_limit(d.raw), .access = access | 2 };
    BT_NEXT(cpu, insn);
}
