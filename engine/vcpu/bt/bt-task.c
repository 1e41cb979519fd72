// SPDX-License-Identifier: GPL-2.0-or-later
// Hardware task switches with 16- and 32-bit TSSs (SDM vol. 3A, chapter 7): by JMP, CALL, IRET with
// NT, and task gates. They do not exist in long mode.
//
// Up to the point where the new TSS has been read nothing has changed and faults belong to the old
// task. From then on they belong to the new one (7.3): registers are loaded as they stand in the
// TSS, then the segment registers are checked one after another.
#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"
#include "engine/vcpu/bt/bt-verify.h"

// Offsets in a TSS (figures 7-2 and 7-10).
enum {
    LINK = 0,
    TSS32_CR3 = 28, TSS32_EIP = 32, TSS32_FLAGS = 36, TSS32_GPR = 40, TSS32_ES = 72,
    TSS32_LDT = 96, TSS32_T = 100, TSS32_LAST = 103,
    TSS16_IP = 14, TSS16_FLAGS = 16, TSS16_GPR = 18, TSS16_ES = 34, TSS16_LDT = 42,
    TSS16_LAST = 43,
};

// What a TSS holds of a task.
typedef struct {
    uint32_t cr3;
    uint32_t eip, eflags;
    uint32_t gpr[8];
    uint16_t segment[VCPU_SEGMENTS];
    uint16_t ldt;
    bool trap;
} Task;

static bool is_32(uint16_t access)
{
    return access & 8;
}

static uint32_t read_field(BtCpu *cpu, uint64_t address, unsigned size)
{
    return (uint32_t)bt_system_read(cpu, (uint32_t)address, size);
}

static Task read_task(BtCpu *cpu, uint64_t base, bool wide)
{
    Task t = { 0 };
    if (wide) {
        t.cr3 = read_field(cpu, base + TSS32_CR3, 4);
        t.eip = read_field(cpu, base + TSS32_EIP, 4);
        t.eflags = read_field(cpu, base + TSS32_FLAGS, 4);
        for (unsigned i = 0; i < 8; i++)
            t.gpr[i] = read_field(cpu, base + TSS32_GPR + 4 * i, 4);
        for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
            t.segment[i] = (uint16_t)read_field(cpu, base + TSS32_ES + 4 * i, 2);
        t.ldt = (uint16_t)read_field(cpu, base + TSS32_LDT, 2);
        t.trap = read_field(cpu, base + TSS32_T, 2) & 1;
    } else {
        t.eip = read_field(cpu, base + TSS16_IP, 2);
        t.eflags = read_field(cpu, base + TSS16_FLAGS, 2);
        for (unsigned i = 0; i < 8; i++)
            t.gpr[i] = 0xffff0000 | read_field(cpu, base + TSS16_GPR + 2 * i, 2);
        for (unsigned i = 0; i < 4; i++)
            t.segment[i] = (uint16_t)read_field(cpu, base + TSS16_ES + 2 * i, 2);
        t.ldt = (uint16_t)read_field(cpu, base + TSS16_LDT, 2);
    }
    return t;
}

static void write_task(BtCpu *cpu, uint64_t base, bool wide, uint64_t eflags)
{
    if (wide) {
        bt_system_write(cpu, base + TSS32_EIP, 4, cpu->rip);
        bt_system_write(cpu, base + TSS32_FLAGS, 4, eflags);
        for (unsigned i = 0; i < 8; i++)
            bt_system_write(cpu, base + TSS32_GPR + 4 * i, 4, cpu->gpr[i]);
        for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
            bt_system_write(cpu, base + TSS32_ES + 4 * i, 2, cpu->segment[i].selector);
    } else {
        bt_system_write(cpu, base + TSS16_IP, 2, cpu->rip);
        bt_system_write(cpu, base + TSS16_FLAGS, 2, eflags);
        for (unsigned i = 0; i < 8; i++)
            bt_system_write(cpu, base + TSS16_GPR + 2 * i, 2, cpu->gpr[i]);
        for (unsigned i = 0; i < 4; i++)
            bt_system_write(cpu, base + TSS16_ES + 2 * i, 2, cpu->segment[i].selector);
    }
}

// Makes sure that write_task cannot fault halfway.
static void touch_for_write(BtCpu *cpu, uint64_t base, unsigned last)
{
    bt_system_write(cpu, base + last - 1, 1, bt_system_read(cpu, base + last - 1, 1));
    bt_system_write(cpu, base + 4, 1, bt_system_read(cpu, base + 4, 1));
}

static void set_busy(BtCpu *cpu, const BtDescriptor *tss, bool busy)
{
    uint8_t byte = (uint8_t)bt_system_read(cpu, tss->address + 5, 1);
    bt_system_write(cpu, tss->address + 5, 1, busy ? byte | 2 : byte & ~2);
}

BtDescriptor bt_task_gate_target(BtCpu *cpu, uint64_t gate_raw, uint16_t *ret_selector)
{
    uint16_t selector = (uint16_t)(gate_raw >> 16);
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if ((selector & 4) || error == 0)
        bt_raise_error(cpu, BT_GP, error);
    BtDescriptor tss = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(tss.raw);
    unsigned type = access & (BT_ACCESS_TYPE | BT_ACCESS_S);
    if (type != BT_TYPE_TSS && type != BT_TYPE_TSS16) // busy ones included
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    *ret_selector = selector;
    return tss;
}

// ---- The new task's segments: every fault is the new task's, and is #TS but where said ----

static void load_code(BtCpu *cpu, uint16_t selector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0)
        bt_raise_error(cpu, BT_TS, 0);
    BtDescriptor d = bt_descriptor_get(cpu, selector, BT_TS);
    uint16_t access = bt_descriptor_access(d.raw);
    unsigned dpl = bt_access_dpl(access), rpl = selector & 3;
    if (!bt_access_is_code(access) || (access & BT_ACCESS_CONFORMING ? dpl > rpl : dpl != rpl))
        bt_raise_error(cpu, BT_TS, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    bt_descriptor_mark_accessed(cpu, &d);
    bt_segment_set(cpu, VCPU_CS, selector, d.raw);
}

static void load_stack(BtCpu *cpu, uint16_t selector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0)
        bt_raise_error(cpu, BT_TS, 0);
    BtDescriptor d = bt_descriptor_get(cpu, selector, BT_TS);
    uint16_t access = bt_descriptor_access(d.raw);
    if (!bt_access_is_writable_data(access) || bt_access_dpl(access) != cpu->cpl ||
        (selector & 3u) != cpu->cpl)
        bt_raise_error(cpu, BT_TS, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_SS, error);
    bt_descriptor_mark_accessed(cpu, &d);
    bt_segment_set(cpu, VCPU_SS, selector, d.raw);
}

static void load_data(BtCpu *cpu, unsigned segment, uint16_t selector)
{
    uint32_t error = BT_SELECTOR_ERROR(selector);
    if (error == 0) {
        bt_segment_set_null(cpu, segment, selector);
        return;
    }
    BtDescriptor d = bt_descriptor_get(cpu, selector, BT_TS);
    uint16_t access = bt_descriptor_access(d.raw);
    bool readable = (access & BT_ACCESS_S) &&
                    (!(access & BT_ACCESS_CODE) || (access & BT_ACCESS_READABLE));
    if (!readable ||
        (!bt_access_is_conforming(access) &&
         (bt_access_dpl(access) < cpu->cpl || bt_access_dpl(access) < (selector & 3u))))
        bt_raise_error(cpu, BT_TS, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    bt_descriptor_mark_accessed(cpu, &d);
    bt_segment_set(cpu, segment, selector, d.raw);
}

static void load_segments(BtCpu *cpu, const Task *task)
{
    static const uint8_t data[] = { VCPU_DS, VCPU_ES, VCPU_FS, VCPU_GS };
    if (task->eflags & BT_FLAG_VM) {
        for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
            bt_segment_set_real(cpu, i, task->segment[i]);
        bt_update_mode(cpu);
        return;
    }
    load_stack(cpu, task->segment[VCPU_SS]);
    for (unsigned i = 0; i < sizeof data; i++)
        load_data(cpu, data[i], task->segment[data[i]]);
    load_code(cpu, task->segment[VCPU_CS]);
    bt_update_mode(cpu);
}

static void push_error_code(BtCpu *cpu, uint16_t tss_access, uint32_t error)
{
    BtStack stack = bt_stack_current(cpu);
    bt_stack_push(cpu, &stack, is_32(tss_access) ? 4 : 2, error);
    bt_stack_commit(cpu, &stack);
}

void bt_task_switch(BtCpu *cpu, uint16_t selector, const BtDescriptor *tss, BtTaskWhy why,
                    bool has_error, uint32_t error)
{
    uint16_t access = bt_descriptor_access(tss->raw);
    bool wide = is_32(access), old_wide = is_32(cpu->tr.access);
    uint64_t base = bt_descriptor_base(tss->raw);
    uint64_t old_base = cpu->tr.base;
    bool nested = why == BT_TASK_CALL || why == BT_TASK_GATE;

    if (bt_descriptor_limit(tss->raw) < (wide ? TSS32_LAST : TSS16_LAST) || cpu->tr.unusable ||
        cpu->tr.limit < (unsigned)(old_wide ? TSS32_LAST : TSS16_LAST))
        bt_raise_error(cpu, BT_TS, BT_SELECTOR_ERROR(selector));
    Task task = read_task(cpu, base, wide);
    uint64_t pdpte[4];
    bool paging = wide && (cpu->cr0 & BT_CR0_PG);
    bool pae = paging && (cpu->cr4 & BT_CR4_PAE);
    if (pae && !bt_mmu_pdptes_valid(cpu, task.cr3, pdpte))
        bt_raise_error(cpu, BT_GP, 0);
    touch_for_write(cpu, old_base, old_wide ? TSS32_T : TSS16_LDT);

    // The old task's state.
    uint64_t eflags = bt_rflags_get(cpu);
    BtDescriptor old;
    if ((why == BT_TASK_JUMP || why == BT_TASK_RETURN) &&
        bt_descriptor_read(cpu, cpu->tr.selector, &old))
        set_busy(cpu, &old, false);
    write_task(cpu, old_base, old_wide,
               why == BT_TASK_RETURN ? eflags & ~(uint64_t)BT_FLAG_NT : eflags);
    if (nested) {
        bt_system_write(cpu, base + LINK, 2, cpu->tr.selector);
        task.eflags |= BT_FLAG_NT;
    }
    if (why != BT_TASK_RETURN)
        set_busy(cpu, tss, true);

    // From here on it is the new task.
    cpu->insn = NULL;
    cpu->tr = (BtSegment){ .selector = selector, .base = base, .true_base = base,
                           .limit = bt_descriptor_limit(tss->raw), .access = access | 2 };
    cpu->cr0 |= BT_CR0_TS;
    if (paging) {
        cpu->cr3 = task.cr3;
        if (pae)
            memcpy(cpu->pdpte, pdpte, sizeof pdpte);
        bt_tlb_switch(cpu, false);
    }
    cpu->rip = task.eip;
    for (unsigned i = 0; i < 8; i++)
        cpu->gpr[i] = task.gpr[i];
    bt_rflags_set(cpu, (task.eflags & BT_FLAGS_DEFINED) | BT_FLAG_ONE);
    cpu->dr7 &= ~UINT64_C(0x155); // L0..L3 and LE
    bt_debug_skip_step(cpu);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        bt_segment_set_null(cpu, i, task.segment[i]);
    cpu->ldtr = (BtSegment){ .selector = task.ldt, .unusable = true };
    cpu->cpl = task.eflags & BT_FLAG_VM ? 3 : task.segment[VCPU_CS] & 3;
    bt_update_mode(cpu);
    bt_debug_update(cpu);
    bt_ldt_load(cpu, task.ldt, BT_TS);
    load_segments(cpu, &task);
    if (has_error)
        push_error_code(cpu, access, error);
    if (cpu->rip > cpu->segment[VCPU_CS].limit)
        bt_raise_error(cpu, BT_GP, 0);
    if (task.trap)
        bt_debug_raise(cpu, BT_DR6_BT);
}
