// SPDX-License-Identifier: GPL-2.0-or-later
// Segment registers: what a mode makes of them, reading and checking descriptors, loading, and the
// stacks that privilege changes switch to. Transfers of control are in bt-far.c and bt-return.c,
// instructions that only look at descriptors in bt-verify.c. SDM vol. 3A, chapters 3 and 5.
#include "engine/vcpu/bt/bt-segment.h"

#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-range.h"

#include <glib.h>

// ---- Derived fields ----

// as_real: real and virtual-8086 mode check only the limit.
static void derive(BtSegment *s, bool as_real)
{
    s->allows = 0;
    s->low = 0;
    s->high = s->limit;
    if (s->unusable)
        return;
    if (as_real) {
        s->allows = BT_ALLOW_READ | BT_ALLOW_WRITE;
        return;
    }
    if (s->access & BT_ACCESS_CODE) {
        s->allows = s->access & BT_ACCESS_READABLE ? BT_ALLOW_READ : 0;
        return;
    }
    s->allows = BT_ALLOW_READ | (s->access & BT_ACCESS_WRITABLE ? BT_ALLOW_WRITE : 0);
    if (s->access & BT_ACCESS_EXPAND_DOWN) {
        s->low = (uint64_t)s->limit + 1;
        s->high = s->access & BT_ACCESS_DB ? UINT32_MAX : 0xffff;
        if (s->low > s->high)
            s->allows = 0;
    }
}

// 64-bit mode keeps the bases of ES, CS, SS and DS but does not use them.
static uint64_t base_in_use(const BtCpu *cpu, unsigned segment, uint64_t base)
{
    return cpu->mode == BT_MODE_LONG && segment < VCPU_FS ? 0 : base;
}

void bt_segment_update(BtCpu *cpu, unsigned segment)
{
    if (segment == BT_SEG_FLAT) {
        cpu->segment[segment] = (BtSegment){ .limit = UINT32_MAX, .high = UINT64_MAX,
                                             .allows = BT_ALLOW_READ | BT_ALLOW_WRITE };
        return;
    }
    BtSegment *s = &cpu->segment[segment];
    s->base = base_in_use(cpu, segment, s->true_base);
    derive(s, cpu->mode == BT_MODE_REAL || cpu->mode == BT_MODE_V86);
}

void bt_update_mmu_index(BtCpu *cpu)
{
    bool ac = cpu->rflags_rest & BT_FLAG_AC;
    if (cpu->cpl == 3)
        cpu->mmu_index = ac && (cpu->cr0 & BT_CR0_AM) ? BT_MMU_USER_ALIGNED : BT_MMU_USER;
    else
        cpu->mmu_index = ac && (cpu->cr4 & BT_CR4_SMAP) ? BT_MMU_SUPERVISOR_NO_SMAP
                                                        : BT_MMU_SUPERVISOR;
    if (cpu->mmu_index == BT_MMU_USER_ALIGNED && cpu->data_tlb != cpu->tlb[BT_MMU_USER_ALIGNED])
        bt_range_drop_all(cpu); // they know nothing of alignment
    cpu->data_tlb = bt_mmu_data_tlb(cpu);
}

void bt_update_mode(BtCpu *cpu)
{
    uint8_t old = cpu->mode;
    const BtSegment *cs = &cpu->segment[VCPU_CS];
    if (!(cpu->cr0 & BT_CR0_PE)) {
        cpu->mode = BT_MODE_REAL;
        cpu->cpl = 0;
    } else if (cpu->rflags_rest & BT_FLAG_VM) {
        cpu->mode = BT_MODE_V86;
        cpu->cpl = 3;
    } else if (!bt_long_mode(cpu)) {
        cpu->mode = BT_MODE_PROTECTED;
    } else {
        cpu->mode = cs->access & BT_ACCESS_L ? BT_MODE_LONG : BT_MODE_COMPAT;
    }
    if (cpu->mode == BT_MODE_LONG) {
        cpu->code_bits = cpu->stack_bits = 64;
    } else {
        cpu->code_bits = cs->access & BT_ACCESS_DB ? 32 : 16;
        cpu->stack_bits = cpu->segment[VCPU_SS].access & BT_ACCESS_DB ? 32 : 16;
    }
    if (cpu->mode != old) {
        for (unsigned i = 0; i < BT_SEGMENTS; i++)
            bt_segment_update(cpu, i);
    }
    bt_update_mmu_index(cpu);
    bt_fpu_update(cpu);
}

// ---- Descriptors ----

bool bt_descriptor_read(BtCpu *cpu, uint16_t selector, BtDescriptor *ret_descriptor)
{
    uint64_t base = cpu->gdtr.base;
    uint32_t limit = cpu->gdtr.limit;
    if (selector & 4) {
        if (cpu->ldtr.unusable)
            return false;
        base = cpu->ldtr.base;
        limit = cpu->ldtr.limit;
    }
    uint32_t offset = selector & 0xfff8u;
    if (offset + 7 > limit)
        return false;
    ret_descriptor->address = base + offset;
    ret_descriptor->raw = bt_system_read(cpu, base + offset, 8);
    return true;
}

BtDescriptor bt_descriptor_get(BtCpu *cpu, uint16_t selector, unsigned vector)
{
    BtDescriptor descriptor;
    if (!bt_descriptor_read(cpu, selector, &descriptor))
        bt_raise_error(cpu, vector, BT_SELECTOR_ERROR(selector));
    return descriptor;
}

void bt_descriptor_mark_accessed(BtCpu *cpu, const BtDescriptor *descriptor)
{
    if (descriptor->raw & BT_BIT(40))
        return;
    uint8_t byte = (uint8_t)bt_system_read(cpu, descriptor->address + 5, 1);
    bt_system_write(cpu, descriptor->address + 5, 1, byte | 1);
}

// ---- Setting registers ----

void bt_segment_set(BtCpu *cpu, unsigned segment, uint16_t selector, uint64_t raw)
{
    BtSegment *s = &cpu->segment[segment];
    s->selector = selector;
    s->true_base = bt_descriptor_base(raw);
    s->base = base_in_use(cpu, segment, s->true_base);
    s->limit = bt_descriptor_limit(raw);
    s->access = bt_descriptor_access(raw) | BT_ACCESS_ACCESSED;
    s->unusable = false;
    // The modes that check less load segments by bt_segment_set_real.
    derive(s, false);
}

void bt_segment_set_null(BtCpu *cpu, unsigned segment, uint16_t selector)
{
    BtSegment *s = &cpu->segment[segment];
    // Processors keep the base in long mode's FS and GS or clear it; this model clears it.
    *s = (BtSegment){ .selector = selector, .unusable = true };
    if (segment == VCPU_SS)
        s->access = (uint16_t)((selector & 3) << BT_ACCESS_DPL_SHIFT) | BT_ACCESS_DB;
}

void bt_segment_set_real(BtCpu *cpu, unsigned segment, uint16_t selector)
{
    BtSegment *s = &cpu->segment[segment];
    s->selector = selector;
    s->base = s->true_base = (uint32_t)selector << 4;
    if (cpu->rflags_rest & BT_FLAG_VM) {
        s->limit = 0xffff;
        s->access = BT_ACCESS_P | BT_ACCESS_S | 3 << BT_ACCESS_DPL_SHIFT | BT_ACCESS_WRITABLE |
                    BT_ACCESS_ACCESSED;
    } else if (segment == VCPU_CS) {
        // Limit and size stay as they are ("unreal" mode); type and privilege do not.
        s->access = (s->access & (BT_ACCESS_DB | BT_ACCESS_G)) | BT_ACCESS_P | BT_ACCESS_S |
                    BT_ACCESS_WRITABLE | BT_ACCESS_ACCESSED;
    }
    s->unusable = false;
    derive(s, true);
}

void bt_segment_set_code(BtCpu *cpu, uint16_t selector, const BtDescriptor *descriptor,
                         unsigned cpl, uint64_t rip)
{
    bt_segment_set(cpu, VCPU_CS, (uint16_t)((selector & 0xfffc) | cpl), descriptor->raw);
    cpu->cpl = (uint8_t)cpl;
    cpu->rip = rip;
}

// ---- Loading with checks (MOV, POP, LxS; SDM vol. 2, MOV) ----

static void load_stack_segment(BtCpu *cpu, uint16_t selector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0) {
        // Null is allowed in 64-bit mode below ring 3, with RPL = CPL.
        if (cpu->mode != BT_MODE_LONG || cpu->cpl == 3 || (selector & 3) != cpu->cpl)
            bt_raise_error(cpu, BT_GP, 0);
        bt_segment_set_null(cpu, VCPU_SS, selector);
        return;
    }
    BtDescriptor descriptor = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(descriptor.raw);
    if ((selector & 3) != cpu->cpl || !bt_access_is_writable_data(access) ||
        bt_access_dpl(access) != cpu->cpl)
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_SS, error);
    bt_descriptor_mark_accessed(cpu, &descriptor);
    bt_segment_set(cpu, VCPU_SS, selector, descriptor.raw);
}

static void load_data_segment(BtCpu *cpu, unsigned segment, uint16_t selector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0) {
        bt_segment_set_null(cpu, segment, selector);
        return;
    }
    BtDescriptor descriptor = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(descriptor.raw);
    bool readable = (access & BT_ACCESS_S) &&
                    (!(access & BT_ACCESS_CODE) || (access & BT_ACCESS_READABLE));
    if (!readable)
        bt_raise_error(cpu, BT_GP, error);
    if (!bt_access_is_conforming(access) &&
        (bt_access_dpl(access) < cpu->cpl || bt_access_dpl(access) < (selector & 3)))
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    bt_descriptor_mark_accessed(cpu, &descriptor);
    bt_segment_set(cpu, segment, selector, descriptor.raw);
}

void bt_segment_load(BtCpu *cpu, unsigned segment, uint16_t selector)
{
    if (!bt_protected(cpu))
        bt_segment_set_real(cpu, segment, selector);
    else if (segment == VCPU_SS)
        load_stack_segment(cpu, selector);
    else
        load_data_segment(cpu, segment, selector);
    if (segment == VCPU_SS)
        bt_update_mode(cpu);
}

void bt_segment_drop_inner(BtCpu *cpu)
{
    static const uint8_t segments[] = { VCPU_ES, VCPU_DS, VCPU_FS, VCPU_GS };
    for (unsigned i = 0; i < sizeof segments; i++) {
        BtSegment *s = &cpu->segment[segments[i]];
        if (BT_SELECTOR_ERROR(s->selector) == 0)
            s->selector = 0; // a null selector loses its RPL; FS and GS keep their bases
        else if (!bt_access_is_conforming(s->access) && bt_access_dpl(s->access) < cpu->cpl)
            bt_segment_set_null(cpu, segments[i], 0);
    }
}

// ---- Stacks ----

BtStack bt_stack_current(const BtCpu *cpu)
{
    return (BtStack){
        .segment = cpu->segment[VCPU_SS],
        .sp = cpu->gpr[VCPU_RSP],
        .mask = cpu->stack_bits == 64 ? UINT64_MAX : BT_BIT(cpu->stack_bits) - 1,
        .mmu = cpu->mmu_index,
        .flat = cpu->mode == BT_MODE_LONG,
    };
}

BtStack bt_stack_from(const BtCpu *cpu, uint16_t selector, uint64_t raw, uint64_t sp, unsigned cpl)
{
    BtStack stack = {
        .segment = {
            .base = bt_descriptor_base(raw),
            .limit = bt_descriptor_limit(raw),
            .access = bt_descriptor_access(raw),
            .selector = selector,
        },
        .sp = sp,
        .mask = raw & BT_BIT(54) ? UINT32_MAX : 0xffff,
        .mmu = cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR,
        .error_selector = (uint16_t)BT_SELECTOR_ERROR(selector),
    };
    derive(&stack.segment, false);
    return stack;
}

static uint64_t stack_linear(BtCpu *cpu, const BtStack *stack, uint64_t offset, unsigned size,
                             unsigned allow)
{
    if (stack->flat) {
        if (!bt_is_canonical(offset) || !bt_is_canonical(offset + size - 1))
            bt_raise_error(cpu, BT_SS, stack->error_selector);
        return offset;
    }
    const BtSegment *s = &stack->segment;
    if (offset < s->low || offset > s->high || size - 1 > s->high - offset || !(s->allows & allow))
        bt_raise_error(cpu, BT_SS, stack->error_selector);
    return (uint32_t)(offset + s->base);
}

void bt_stack_push(BtCpu *cpu, BtStack *stack, unsigned size, uint64_t value)
{
    uint64_t offset = (stack->sp - size) & stack->mask;
    uint64_t linear = stack_linear(cpu, stack, offset, size, BT_ALLOW_WRITE);
    switch (size) {
    case 2: bt_write_linear16(cpu, linear, (uint16_t)value, stack->mmu); break;
    case 4: bt_write_linear32(cpu, linear, (uint32_t)value, stack->mmu); break;
    default: bt_write_linear64(cpu, linear, value, stack->mmu); break;
    }
    stack->sp = (stack->sp & ~stack->mask) | offset;
}

uint64_t bt_stack_pop(BtCpu *cpu, BtStack *stack, unsigned size)
{
    uint64_t offset = stack->sp & stack->mask;
    uint64_t linear = stack_linear(cpu, stack, offset, size, BT_ALLOW_READ);
    uint64_t value;
    switch (size) {
    case 2: value = bt_read_linear16(cpu, linear, stack->mmu); break;
    case 4: value = bt_read_linear32(cpu, linear, stack->mmu); break;
    default: value = bt_read_linear64(cpu, linear, stack->mmu); break;
    }
    stack->sp = (stack->sp & ~stack->mask) | ((offset + size) & stack->mask);
    return value;
}

void bt_stack_commit(BtCpu *cpu, const BtStack *stack)
{
    cpu->gpr[VCPU_RSP] = stack->mask == UINT32_MAX ? (uint32_t)stack->sp : stack->sp;
}

void bt_tss_stack(BtCpu *cpu, unsigned cpl, uint16_t *ret_selector, uint64_t *ret_sp)
{
    uint32_t error = BT_SELECTOR_ERROR(cpu->tr.selector);
    unsigned type = bt_access_type(cpu->tr.access) & ~2u;
    unsigned size = type == BT_TYPE_TSS16 ? 2 : 4;
    unsigned offset = size == 2 ? 2 + cpl * 4 : 4 + cpl * 8;
    if (cpu->tr.unusable || offset + size + 1 > cpu->tr.limit)
        bt_raise_error(cpu, BT_TS, error);
    *ret_sp = bt_system_read(cpu, cpu->tr.base + offset, size);
    *ret_selector = (uint16_t)bt_system_read(cpu, cpu->tr.base + offset + size, 2);
}

uint64_t bt_tss_stack_64(BtCpu *cpu, unsigned field)
{
    unsigned offset = 4 + 8 * field;
    if (cpu->tr.unusable || offset + 7 > cpu->tr.limit)
        bt_raise_error(cpu, BT_TS, BT_SELECTOR_ERROR(cpu->tr.selector));
    uint64_t sp = bt_system_read(cpu, cpu->tr.base + offset, 8);
    if (!bt_is_canonical(sp))
        bt_raise_error(cpu, BT_SS, 0);
    return sp;
}

BtDescriptor bt_check_inner_stack(BtCpu *cpu, uint16_t selector, unsigned cpl)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0)
        bt_raise_error(cpu, BT_TS, 0);
    BtDescriptor descriptor = bt_descriptor_get(cpu, selector, BT_TS);
    uint16_t access = bt_descriptor_access(descriptor.raw);
    if ((selector & 3) != cpl || bt_access_dpl(access) != cpl ||
        !bt_access_is_writable_data(access))
        bt_raise_error(cpu, BT_TS, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_SS, error);
    return descriptor;
}
