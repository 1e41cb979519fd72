// SPDX-License-Identifier: GPL-2.0-or-later
// Far RET and IRET in every mode (SDM vol. 2, RET and IRET): within a privilege level, to an outer
// one, to virtual-8086 mode, to the previous task, and in long mode.
#include "engine/vcpu/bt/bt-far.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

typedef struct {
    uint16_t selector;
    uint64_t rip;
    BtDescriptor code;
    unsigned cpl;
    bool is_64;
} ReturnCode;

// The code segment returned to, in protected mode.
static ReturnCode check_code(BtCpu *cpu, uint16_t selector, uint64_t rip)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0)
        bt_raise_error(cpu, BT_GP, 0);
    ReturnCode r = { .selector = selector, .rip = rip, .cpl = selector & 3 };
    r.code = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(r.code.raw);
    unsigned dpl = bt_access_dpl(access);
    if (!bt_access_is_code(access) || r.cpl < cpu->cpl ||
        (access & BT_ACCESS_CONFORMING ? dpl > r.cpl : dpl != r.cpl))
        bt_raise_error(cpu, BT_GP, error);
    r.is_64 = bt_long_mode(cpu) && (access & BT_ACCESS_L);
    if (r.is_64 && (access & BT_ACCESS_DB))
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    return r;
}

static void check_rip(BtCpu *cpu, const ReturnCode *r)
{
    if (r->is_64 ? !bt_is_canonical(r->rip) : r->rip > bt_descriptor_limit(r->code.raw))
        bt_raise_error(cpu, BT_GP, 0);
}

typedef struct {
    uint16_t selector;
    bool null;
    BtDescriptor descriptor;
} ReturnStack;

static ReturnStack check_stack(BtCpu *cpu, uint16_t selector, const ReturnCode *r)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    ReturnStack s = { .selector = selector };
    if (error == 0) {
        // RPL is not looked at where 64-bit code below ring 3 gets a null SS (vol. 2, IRET).
        if (!r->is_64 || r->cpl == 3)
            bt_raise_error(cpu, BT_GP, 0);
        s.null = true;
        return s;
    }
    s.descriptor = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(s.descriptor.raw);
    if ((selector & 3u) != r->cpl || !bt_access_is_writable_data(access) ||
        bt_access_dpl(access) != r->cpl)
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_SS, error);
    return s;
}

// SS:RSP of the outer ring or, in long mode, of whoever was interrupted.
static void set_stack(BtCpu *cpu, const ReturnCode *r, const ReturnStack *s, uint64_t sp)
{
    if (s->null) {
        bt_segment_set_null(cpu, VCPU_SS, s->selector);
    } else {
        bt_descriptor_mark_accessed(cpu, &s->descriptor);
        bt_segment_set(cpu, VCPU_SS, s->selector, s->descriptor.raw);
    }
    if (r->is_64)
        cpu->gpr[VCPU_RSP] = sp;
    else if (cpu->segment[VCPU_SS].access & BT_ACCESS_DB)
        cpu->gpr[VCPU_RSP] = (uint32_t)sp;
    else // bits 16 and up are left as they were
        cpu->gpr[VCPU_RSP] = (cpu->gpr[VCPU_RSP] & ~UINT64_C(0xffff)) | (sp & 0xffff);
}

static uint64_t skip(const BtStack *stack, uint64_t sp, uint64_t bytes)
{
    return (sp & ~stack->mask) | ((sp + bytes) & stack->mask);
}

// Reads a slot ahead of those before it, as this host does, which CR2 tells where several are in
// pages that cannot be read.
static void look_ahead(BtCpu *cpu, const BtStack *stack, unsigned slot, unsigned size)
{
    BtStack ahead = *stack;
    ahead.sp = skip(stack, stack->sp, slot * size);
    bt_stack_pop(cpu, &ahead, size);
}

// ---- Far RET ----

static void far_return_real(BtCpu *cpu, unsigned size, uint64_t release)
{
    BtStack stack = bt_stack_current(cpu);
    uint64_t rip = bt_stack_pop(cpu, &stack, size);
    uint16_t selector = (uint16_t)bt_stack_pop(cpu, &stack, size);
    if (rip > cpu->segment[VCPU_CS].limit)
        bt_raise_error(cpu, BT_GP, 0);
    stack.sp = skip(&stack, stack.sp, release);
    bt_stack_commit(cpu, &stack);
    bt_segment_set_real(cpu, VCPU_CS, selector);
    cpu->rip = rip;
}

static void far_return_protected(BtCpu *cpu, unsigned size, uint64_t release)
{
    BtStack stack = bt_stack_current(cpu);
    look_ahead(cpu, &stack, 1, size);
    uint64_t rip = bt_stack_pop(cpu, &stack, size);
    uint16_t selector = (uint16_t)bt_stack_pop(cpu, &stack, size);
    ReturnCode r = check_code(cpu, selector, rip);
    stack.sp = skip(&stack, stack.sp, release);
    if (r.cpl == cpu->cpl) {
        check_rip(cpu, &r);
        bt_descriptor_mark_accessed(cpu, &r.code);
        bt_stack_commit(cpu, &stack);
        bt_segment_set_code(cpu, selector, &r.code, r.cpl, rip);
    } else {
        uint64_t sp = bt_stack_pop(cpu, &stack, size);
        uint16_t ss = (uint16_t)bt_stack_pop(cpu, &stack, size);
        ReturnStack s = check_stack(cpu, ss, &r);
        check_rip(cpu, &r);
        bt_descriptor_mark_accessed(cpu, &r.code);
        bt_segment_set_code(cpu, selector, &r.code, r.cpl, rip);
        set_stack(cpu, &r, &s, sp);
        BtStack outer = { .mask = r.is_64 ? UINT64_MAX
                          : cpu->segment[VCPU_SS].access & BT_ACCESS_DB ? UINT32_MAX : 0xffff };
        cpu->gpr[VCPU_RSP] = skip(&outer, cpu->gpr[VCPU_RSP], release);
        bt_segment_drop_inner(cpu);
    }
    bt_update_mode(cpu);
}

void bt_op_far_return(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t release = insn->immediate & 0xffff;
    if (bt_protected(cpu))
        far_return_protected(cpu, insn->operand_size, release);
    else
        far_return_real(cpu, insn->operand_size, release);
}

// ---- IRET ----

// Flags that IRET at `cpl` takes from its image, in protected mode.
static uint64_t iret_mask(const BtCpu *cpu, unsigned size)
{
    unsigned iopl = cpu->rflags_rest >> BT_FLAG_IOPL_SHIFT & 3;
    uint64_t mask = BT_FLAGS_STATUS | BT_FLAG_TF | BT_FLAG_DF | BT_FLAG_NT;
    if (size >= 4)
        mask |= BT_FLAG_RF | BT_FLAG_AC | BT_FLAG_ID;
    if (cpu->cpl <= iopl)
        mask |= BT_FLAG_IF;
    if (cpu->cpl == 0)
        mask |= BT_FLAG_IOPL | (size >= 4 ? BT_FLAG_VIF | BT_FLAG_VIP : 0);
    return mask;
}

static void set_flags(BtCpu *cpu, uint64_t image, uint64_t mask)
{
    uint64_t flags = (bt_rflags_get(cpu) & ~mask) | (image & mask);
    // RF matters only to instruction breakpoints; without any, the next instruction need not be run
    // alone for the sake of clearing it.
    if (!bt_debug_code_breakpoints(cpu))
        flags &= ~(uint64_t)BT_FLAG_RF;
    bt_rflags_set(cpu, flags);
    bt_debug_update(cpu);
}

static void unblock_nmi(BtCpu *cpu)
{
    cpu->nmi_blocked = false;
    if (cpu->nmi_pending) {
        cpu->nmi_pending = false;
        __atomic_fetch_or(&cpu->request, BT_REQUEST_NMI, __ATOMIC_SEQ_CST);
    }
}

static void iret_real(BtCpu *cpu, unsigned size)
{
    BtStack stack = bt_stack_current(cpu);
    uint64_t rip = bt_stack_pop(cpu, &stack, size);
    uint16_t selector = (uint16_t)bt_stack_pop(cpu, &stack, size);
    uint64_t flags = bt_stack_pop(cpu, &stack, size);
    if (rip > cpu->segment[VCPU_CS].limit)
        bt_raise_error(cpu, BT_GP, 0);
    uint64_t mask = size == 4 ? 0x257fd5 : 0x7fd5;
    if (cpu->mode == BT_MODE_V86)
        mask &= ~(uint64_t)BT_FLAG_IOPL;
    bt_stack_commit(cpu, &stack);
    bt_segment_set_real(cpu, VCPU_CS, selector);
    cpu->rip = rip;
    set_flags(cpu, flags, mask);
    bt_update_mode(cpu);
}

static void iret_to_v86(BtCpu *cpu, BtStack *stack, uint64_t rip, uint16_t selector, uint64_t flags)
{
    static const uint8_t order[] = { VCPU_SS, VCPU_ES, VCPU_DS, VCPU_FS, VCPU_GS };
    uint64_t sp = bt_stack_pop(cpu, stack, 4);
    uint16_t value[sizeof order];
    for (unsigned i = 0; i < sizeof order; i++)
        value[i] = (uint16_t)bt_stack_pop(cpu, stack, 4);
    if (rip > 0xffff)
        bt_raise_error(cpu, BT_GP, 0);
    set_flags(cpu, flags, BT_FLAGS_DEFINED);
    bt_segment_set_real(cpu, VCPU_CS, selector);
    for (unsigned i = 0; i < sizeof order; i++)
        bt_segment_set_real(cpu, order[i], value[i]);
    cpu->gpr[VCPU_RSP] = (uint32_t)sp;
    cpu->rip = rip;
    bt_update_mode(cpu);
}

static void iret_task(BtCpu *cpu, const BtInsn *insn)
{
    uint16_t link = (uint16_t)bt_system_read(cpu, cpu->tr.base, 2);
    uint32_t error = BT_SELECTOR_ERROR(link);
    if (link & 4)
        bt_raise_error(cpu, BT_TS, error);
    BtDescriptor tss = bt_descriptor_get(cpu, link, BT_TS);
    uint16_t access = bt_descriptor_access(tss.raw);
    unsigned type = access & (BT_ACCESS_TYPE | BT_ACCESS_S);
    if (type != BT_TYPE_TSS_BUSY && type != BT_TYPE_TSS16_BUSY)
        bt_raise_error(cpu, BT_TS, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    cpu->rip = bt_next_rip(cpu, insn);
    bt_task_switch(cpu, link, &tss, BT_TASK_RETURN, false, 0);
}

static void iret_protected(BtCpu *cpu, const BtInsn *insn)
{
    unsigned size = insn->operand_size;
    if (cpu->rflags_rest & BT_FLAG_NT) {
        if (bt_long_mode(cpu))
            bt_raise_error(cpu, BT_GP, 0);
        iret_task(cpu, insn);
        return;
    }
    BtStack stack = bt_stack_current(cpu);
    look_ahead(cpu, &stack, 2, size);
    uint64_t rip = bt_stack_pop(cpu, &stack, size);
    uint16_t selector = (uint16_t)bt_stack_pop(cpu, &stack, size);
    uint64_t flags = bt_stack_pop(cpu, &stack, size);
    if (size == 4 && (flags & BT_FLAG_VM) && cpu->cpl == 0 && !bt_long_mode(cpu)) {
        iret_to_v86(cpu, &stack, rip, selector, flags);
        return;
    }
    ReturnCode r = check_code(cpu, selector, rip);
    uint64_t mask = iret_mask(cpu, size);
    bool with_stack = r.cpl != cpu->cpl || cpu->mode == BT_MODE_LONG;
    bool outer = r.cpl != cpu->cpl;
    uint64_t sp = 0;
    ReturnStack s = { 0 };
    if (with_stack) {
        sp = bt_stack_pop(cpu, &stack, size);
        uint16_t ss = (uint16_t)bt_stack_pop(cpu, &stack, size);
        check_rip(cpu, &r); // this host's order
        s = check_stack(cpu, ss, &r);
    } else {
        check_rip(cpu, &r);
    }
    bt_descriptor_mark_accessed(cpu, &r.code);
    bt_segment_set_code(cpu, selector, &r.code, r.cpl, rip);
    if (with_stack)
        set_stack(cpu, &r, &s, sp);
    else
        bt_stack_commit(cpu, &stack);
    if (outer)
        bt_segment_drop_inner(cpu);
    set_flags(cpu, flags, mask);
    bt_update_mode(cpu);
}

void bt_op_iret(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned iopl = cpu->rflags_rest >> BT_FLAG_IOPL_SHIFT & 3;
    // Even an IRET that faults lets NMIs in again (vol. 3A, 6.7.1).
    unblock_nmi(cpu);
    if (cpu->mode == BT_MODE_V86 && iopl < 3)
        bt_raise_error(cpu, BT_GP, 0);
    if (bt_protected(cpu))
        iret_protected(cpu, insn);
    else
        iret_real(cpu, insn->operand_size);
}
