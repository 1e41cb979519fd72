// SPDX-License-Identifier: GPL-2.0-or-later
// Far JMP and CALL: to code segments, through 16-, 32- and 64-bit call gates, to TSSs and through
// task gates (SDM vol. 2, CALL and JMP; vol. 3A, 5.8). Way back: bt-return.c.
#include "engine/vcpu/bt/bt-far.h"

#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

// ---- Real and virtual-8086 mode ----

static void check_limit(BtCpu *cpu, uint64_t offset)
{
    if (offset > cpu->segment[VCPU_CS].limit)
        bt_raise_error(cpu, BT_GP, 0);
}

static void jump_real(BtCpu *cpu, uint16_t selector, uint64_t offset)
{
    check_limit(cpu, offset);
    bt_segment_set_real(cpu, VCPU_CS, selector);
    cpu->rip = offset;
}

// ---- Code segments ----

// A code segment that JMP or CALL enters at the same privilege level, without a gate.
static BtDescriptor check_direct_code(BtCpu *cpu, uint16_t selector, const BtDescriptor *code)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    uint16_t access = bt_descriptor_access(code->raw);
    unsigned dpl = bt_access_dpl(access);
    if (bt_long_mode(cpu) && (access & BT_ACCESS_L) && (access & BT_ACCESS_DB))
        bt_raise_error(cpu, BT_GP, error);
    if (access & BT_ACCESS_CONFORMING ? dpl > cpu->cpl
                                      : (selector & 3u) > cpu->cpl || dpl != cpu->cpl)
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    return *code;
}

static bool is_code_64(const BtCpu *cpu, uint64_t raw)
{
    return bt_long_mode(cpu) && (bt_descriptor_access(raw) & BT_ACCESS_L);
}

static void check_target(BtCpu *cpu, const BtDescriptor *code, uint64_t offset)
{
    if (is_code_64(cpu, code->raw) ? !bt_is_canonical(offset)
                                   : offset > bt_descriptor_limit(code->raw))
        bt_raise_error(cpu, BT_GP, 0);
}

static void enter_code(BtCpu *cpu, uint16_t selector, const BtDescriptor *code, unsigned cpl,
                       uint64_t offset)
{
    bt_descriptor_mark_accessed(cpu, code);
    bt_segment_set_code(cpu, selector, code, cpl, offset);
    bt_update_mode(cpu);
}

// ---- Call gates ----

typedef struct {
    uint16_t selector;
    uint64_t offset;
    unsigned parameters;
    unsigned size; // of pushes: 2, 4, 8
    BtDescriptor code;
} CallGate;

static CallGate open_call_gate(BtCpu *cpu, uint16_t gate_selector, const BtDescriptor *gate)
{
    uint32_t error = BT_SELECTOR_ERROR(gate_selector);
    uint16_t access = bt_descriptor_access(gate->raw);
    unsigned dpl = bt_access_dpl(access);
    if (dpl < cpu->cpl || dpl < (gate_selector & 3u))
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);

    CallGate g = {
        .selector = (uint16_t)(gate->raw >> 16),
        .offset = gate->raw & 0xffff,
        .parameters = gate->raw >> 32 & 0x1f,
        .size = 2,
    };
    if (bt_access_type(access) == BT_TYPE_CALL_GATE) {
        g.size = 4;
        g.offset |= gate->raw >> 32 & 0xffff0000;
    }
    if (bt_long_mode(cpu)) {
        // The second half, which must lie within the table and have type 0.
        BtDescriptor high;
        if (gate_selector >= 0xfff8 ||
            !bt_descriptor_read(cpu, (uint16_t)(gate_selector + 8), &high) ||
            (bt_descriptor_access(high.raw) & (BT_ACCESS_TYPE | BT_ACCESS_S)))
            bt_raise_error(cpu, BT_GP, error);
        g.offset |= high.raw << 32;
        g.size = 8;
        g.parameters = 0;
    }
    if (BT_SELECTOR_ERROR(g.selector) == 0)
        bt_raise_error(cpu, BT_GP, 0);
    uint32_t code_error = BT_SELECTOR_ERROR(g.selector);
    g.code = bt_descriptor_get(cpu, g.selector, BT_GP);
    uint16_t code_access = bt_descriptor_access(g.code.raw);
    if (!bt_access_is_code(code_access) || bt_access_dpl(code_access) > cpu->cpl)
        bt_raise_error(cpu, BT_GP, code_error);
    if (bt_long_mode(cpu) && (code_access & (BT_ACCESS_L | BT_ACCESS_DB)) != BT_ACCESS_L)
        bt_raise_error(cpu, BT_GP, code_error);
    if (!(code_access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, code_error);
    return g;
}

static void jump_gate(BtCpu *cpu, uint16_t selector, const BtDescriptor *gate)
{
    CallGate g = open_call_gate(cpu, selector, gate);
    uint16_t access = bt_descriptor_access(g.code.raw);
    if (!(access & BT_ACCESS_CONFORMING) && bt_access_dpl(access) != cpu->cpl)
        bt_raise_error(cpu, BT_GP, BT_SELECTOR_ERROR(g.selector));
    check_target(cpu, &g.code, g.offset);
    enter_code(cpu, g.selector, &g.code, cpu->cpl, g.offset);
}

static void call_gate_same(BtCpu *cpu, const CallGate *g, uint64_t return_rip)
{
    BtStack stack = bt_stack_current(cpu);
    bt_stack_push(cpu, &stack, g->size, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, g->size, return_rip);
    check_target(cpu, &g->code, g->offset);
    bt_stack_commit(cpu, &stack);
    enter_code(cpu, g->selector, &g->code, cpu->cpl, g->offset);
}

static void call_gate_inner(BtCpu *cpu, const CallGate *g, unsigned cpl, uint64_t return_rip)
{
    uint16_t stack_selector;
    uint64_t sp;
    bt_tss_stack(cpu, cpl, &stack_selector, &sp);
    BtDescriptor ss = bt_check_inner_stack(cpu, stack_selector, cpl);
    BtStack stack = bt_stack_from(cpu, stack_selector, ss.raw, sp, cpl);
    BtStack old = bt_stack_current(cpu);

    uint64_t parameter[31];
    for (unsigned i = 0; i < g->parameters; i++)
        parameter[i] = bt_stack_pop(cpu, &old, g->size);
    bt_stack_push(cpu, &stack, g->size, cpu->segment[VCPU_SS].selector);
    bt_stack_push(cpu, &stack, g->size, cpu->gpr[VCPU_RSP]);
    for (unsigned i = g->parameters; i-- > 0;)
        bt_stack_push(cpu, &stack, g->size, parameter[i]);
    bt_stack_push(cpu, &stack, g->size, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, g->size, return_rip);
    check_target(cpu, &g->code, g->offset);

    bt_descriptor_mark_accessed(cpu, &ss);
    bt_segment_set(cpu, VCPU_SS, stack_selector, ss.raw);
    bt_stack_commit(cpu, &stack);
    enter_code(cpu, g->selector, &g->code, cpl, g->offset);
}

static void call_gate_inner_64(BtCpu *cpu, const CallGate *g, unsigned cpl, uint64_t return_rip)
{
    BtStack stack = {
        .sp = bt_tss_stack_64(cpu, cpl), .mask = UINT64_MAX, .mmu = BT_MMU_SUPERVISOR, .flat = true,
    };
    bt_stack_push(cpu, &stack, 8, cpu->segment[VCPU_SS].selector);
    bt_stack_push(cpu, &stack, 8, cpu->gpr[VCPU_RSP]);
    bt_stack_push(cpu, &stack, 8, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, 8, return_rip);
    check_target(cpu, &g->code, g->offset);
    bt_segment_set_null(cpu, VCPU_SS, (uint16_t)cpl);
    bt_stack_commit(cpu, &stack);
    enter_code(cpu, g->selector, &g->code, cpl, g->offset);
}

static void call_gate(BtCpu *cpu, uint16_t selector, const BtDescriptor *gate, uint64_t return_rip)
{
    CallGate g = open_call_gate(cpu, selector, gate);
    uint16_t access = bt_descriptor_access(g.code.raw);
    unsigned dpl = bt_access_dpl(access);
    if ((access & BT_ACCESS_CONFORMING) || dpl == cpu->cpl)
        call_gate_same(cpu, &g, return_rip);
    else if (bt_long_mode(cpu))
        call_gate_inner_64(cpu, &g, dpl, return_rip);
    else
        call_gate_inner(cpu, &g, dpl, return_rip);
}

// ---- Tasks ----

// JMP or CALL with a TSS's selector, or through a task gate.
static void switch_task(BtCpu *cpu, uint16_t selector, const BtDescriptor *descriptor,
                        BtTaskWhy why, uint64_t return_rip)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    uint16_t access = bt_descriptor_access(descriptor->raw);
    if (bt_access_dpl(access) < cpu->cpl || bt_access_dpl(access) < (selector & 3u))
        bt_raise_error(cpu, BT_GP, error);
    BtDescriptor tss = *descriptor;
    if (bt_access_type(access) == BT_TYPE_TASK_GATE) {
        if (!(access & BT_ACCESS_P))
            bt_raise_error(cpu, BT_NP, error);
        tss = bt_task_gate_target(cpu, descriptor->raw, &selector);
    } else {
        if (bt_access_type(access) & 2) // busy
            bt_raise_error(cpu, BT_GP, error);
        if (!(access & BT_ACCESS_P))
            bt_raise_error(cpu, BT_NP, error);
    }
    cpu->rip = return_rip;
    bt_task_switch(cpu, selector, &tss, why, false, 0);
}

// ---- By the kind of descriptor ----

static BtDescriptor target_descriptor(BtCpu *cpu, uint16_t selector)
{
    if (BT_SELECTOR_ERROR(selector) == 0)
        bt_raise_error(cpu, BT_GP, 0);
    return bt_descriptor_get(cpu, selector, BT_GP);
}

static bool is_call_gate(const BtCpu *cpu, unsigned type)
{
    return type == BT_TYPE_CALL_GATE || (type == BT_TYPE_CALL_GATE16 && !bt_long_mode(cpu));
}

static bool is_task(const BtCpu *cpu, unsigned type)
{
    return !bt_long_mode(cpu) &&
           (type == BT_TYPE_TASK_GATE || type == BT_TYPE_TSS16 || type == BT_TYPE_TSS16_BUSY ||
            type == BT_TYPE_TSS || type == BT_TYPE_TSS_BUSY);
}

void bt_far_jump(BtCpu *cpu, uint16_t selector, uint64_t offset, uint64_t return_rip)
{
    if (!bt_protected(cpu)) {
        jump_real(cpu, selector, offset);
        return;
    }
    BtDescriptor d = target_descriptor(cpu, selector);
    uint16_t access = bt_descriptor_access(d.raw);
    if (bt_access_is_code(access)) {
        check_direct_code(cpu, selector, &d);
        check_target(cpu, &d, offset);
        enter_code(cpu, selector, &d, cpu->cpl, offset);
    } else if (!(access & BT_ACCESS_S) && is_call_gate(cpu, bt_access_type(access))) {
        jump_gate(cpu, selector, &d);
    } else if (!(access & BT_ACCESS_S) && is_task(cpu, bt_access_type(access))) {
        switch_task(cpu, selector, &d, BT_TASK_JUMP, return_rip);
    } else {
        bt_raise_error(cpu, BT_GP, BT_SELECTOR_ERROR(selector));
    }
}

void bt_far_call(BtCpu *cpu, uint16_t selector, uint64_t offset, unsigned operand_size,
                 uint64_t return_rip)
{
    BtDescriptor d = { 0 };
    bool direct = !bt_protected(cpu);
    uint16_t access = 0;
    if (!direct) {
        d = target_descriptor(cpu, selector);
        access = bt_descriptor_access(d.raw);
        if (bt_access_is_code(access)) {
            check_direct_code(cpu, selector, &d);
            direct = true;
        }
    }
    if (direct) {
        BtStack stack = bt_stack_current(cpu);
        bt_stack_push(cpu, &stack, operand_size, cpu->segment[VCPU_CS].selector);
        bt_stack_push(cpu, &stack, operand_size, return_rip);
        if (bt_protected(cpu)) {
            check_target(cpu, &d, offset);
            bt_stack_commit(cpu, &stack);
            enter_code(cpu, selector, &d, cpu->cpl, offset);
        } else {
            check_limit(cpu, offset);
            bt_stack_commit(cpu, &stack);
            jump_real(cpu, selector, offset);
        }
    } else if (!(access & BT_ACCESS_S) && is_call_gate(cpu, bt_access_type(access))) {
        call_gate(cpu, selector, &d, return_rip);
    } else if (!(access & BT_ACCESS_S) && is_task(cpu, bt_access_type(access))) {
        switch_task(cpu, selector, &d, BT_TASK_CALL, return_rip);
    } else {
        bt_raise_error(cpu, BT_GP, BT_SELECTOR_ERROR(selector));
    }
}

// ---- Instructions ----

// JMP and CALL ptr16:16, ptr16:32 (not in 64-bit mode): the pointer is in `immediate`, selector
// above the offset's 32 bits. JMP and CALL m16:16, m16:32, m16:64.
static void far_target(BtCpu *cpu, const BtInsn *insn, uint16_t *ret_selector, uint64_t *ret_offset)
{
    if (!(insn->flags & BT_INSN_HAS_MEMORY)) {
        *ret_selector = (uint16_t)(insn->immediate >> 32);
        *ret_offset = (uint32_t)insn->immediate;
    } else {
        uint64_t address = bt_effective_address(cpu, insn);
        uint8_t bytes[10];
        uint64_t offset = 0;
        bt_read_far_pointer(cpu, insn->segment, address, bytes, insn->operand_size);
        memcpy(&offset, bytes, insn->operand_size);
        memcpy(ret_selector, bytes + insn->operand_size, 2);
        *ret_offset = offset;
    }
    if (insn->operand_size == 2)
        *ret_offset &= 0xffff;
}

void bt_op_far_jump(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint16_t selector;
    uint64_t offset;
    far_target(cpu, insn, &selector, &offset);
    bt_far_jump(cpu, selector, offset, bt_next_rip(cpu, insn));
}

void bt_op_far_call(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint16_t selector;
    uint64_t offset;
    far_target(cpu, insn, &selector, &offset);
    bt_far_call(cpu, selector, offset, insn->operand_size, bt_next_rip(cpu, insn));
}
