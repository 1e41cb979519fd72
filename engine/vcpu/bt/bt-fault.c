// SPDX-License-Identifier: GPL-2.0-or-later
// Exceptions and interrupts: raising them out of a handler, and delivering them through the
// interrupt vector table (real mode) or the IDT (SDM vol. 3A, chapter 6; 6.14 for 64 bits).
//
// Delivery pushes the frame on the new stack first and changes registers last, so that a fault on
// the way finds the interrupted state whole; that fault is then delivered in its place, or as a
// double fault (table 6-5). cpu->delivering says that a delivery is under way.
#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

// ---- Raising ----

void bt_leave(BtCpu *cpu, BtLeave why)
{
    longjmp(cpu->leave, why);
}

static bool vector_has_error(unsigned vector)
{
    return vector == BT_DF || (vector >= BT_TS && vector <= BT_PF) || vector == BT_AC;
}

static _Noreturn void leave_with(BtCpu *cpu, BtFault fault)
{
    if (cpu->insn) {
        cpu->rip = bt_insn_rip(cpu, cpu->insn) & cpu->rip_mask;
        cpu->insn = NULL;
    }
    cpu->fault = fault;
    bt_leave(cpu, BT_LEAVE_EXCEPTION);
}

void bt_raise(BtCpu *cpu, unsigned vector)
{
    if (vector_has_error(vector))
        bt_raise_error(cpu, vector, 0);
    leave_with(cpu, (BtFault){ (uint8_t)vector, false, 0 });
}

void bt_raise_error(BtCpu *cpu, unsigned vector, uint32_t error)
{
    // EXT: the fault came while an event was delivered that the program did not ask for.
    if (cpu->delivering && !cpu->delivered_soft && vector >= BT_TS && vector <= BT_GP)
        error |= 1;
    leave_with(cpu, (BtFault){ (uint8_t)vector, true, error });
}

void bt_raise_page_fault(BtCpu *cpu, uint64_t linear, uint32_t error)
{
    cpu->cr2 = linear;
    leave_with(cpu, (BtFault){ BT_PF, true, error });
}

// ---- Delivery ----

typedef struct {
    unsigned vector;
    bool has_error;
    uint32_t error;
    bool soft;
    uint64_t flags; // as pushed
} Event;

// An error code that names an IDT entry.
static uint32_t idt_error(unsigned vector)
{
    return vector << 3 | 2;
}

static void deliver_real(BtCpu *cpu, const Event *event)
{
    uint64_t entry_offset = event->vector * 4;
    if (entry_offset + 3 > cpu->idtr.limit)
        bt_raise_error(cpu, BT_GP, idt_error(event->vector));
    uint32_t entry = (uint32_t)bt_system_read(cpu, cpu->idtr.base + entry_offset, 4);
    BtStack stack = bt_stack_current(cpu);
    bt_stack_push(cpu, &stack, 2, event->flags & 0xffff);
    bt_stack_push(cpu, &stack, 2, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, 2, cpu->rip & 0xffff);
    if ((entry & 0xffff) > cpu->segment[VCPU_CS].limit)
        bt_raise_error(cpu, BT_GP, 0);
    bt_stack_commit(cpu, &stack);
    bt_segment_set_real(cpu, VCPU_CS, (uint16_t)(entry >> 16));
    cpu->rip = entry & 0xffff;
    cpu->rflags_rest &= ~(uint64_t)(BT_FLAG_IF | BT_FLAG_TF | BT_FLAG_AC | BT_FLAG_RF);
}

// The handler's code segment, checked; ret_cpl: the privilege level it runs at.
static BtDescriptor handler_code(BtCpu *cpu, uint16_t selector, unsigned *ret_cpl)
{
    if (!(selector & 0xfffc))
        bt_raise_error(cpu, BT_GP, 0);
    uint32_t error = BT_SELECTOR_ERROR(selector);
    BtDescriptor code = bt_descriptor_get(cpu, selector, BT_GP);
    uint16_t access = bt_descriptor_access(code.raw);
    unsigned dpl = bt_access_dpl(access);
    if (!bt_access_is_code(access) || dpl > cpu->cpl)
        bt_raise_error(cpu, BT_GP, error);
    if (bt_long_mode(cpu) && (access & (BT_ACCESS_L | BT_ACCESS_DB)) != BT_ACCESS_L)
        bt_raise_error(cpu, BT_GP, error);
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, error);
    *ret_cpl = access & BT_ACCESS_CONFORMING ? cpu->cpl : dpl;
    if (cpu->mode == BT_MODE_V86 && *ret_cpl != 0)
        bt_raise_error(cpu, BT_GP, error);
    return code;
}

static void enter_handler(BtCpu *cpu, unsigned gate_type)
{
    uint64_t clear = BT_FLAG_TF | BT_FLAG_NT | BT_FLAG_RF | BT_FLAG_VM;
    if (!(gate_type & 1))
        clear |= BT_FLAG_IF; // an interrupt gate, not a trap gate
    cpu->rflags_rest &= ~clear;
}

// Through a 16- or 32-bit interrupt or trap gate.
static void deliver_gate(BtCpu *cpu, const Event *event, uint64_t gate, unsigned type)
{
    uint16_t selector = (uint16_t)(gate >> 16);
    unsigned size = type & 8 ? 4 : 2;
    uint64_t offset = gate & 0xffff;
    if (size == 4)
        offset |= gate >> 32 & 0xffff0000;

    unsigned cpl;
    BtDescriptor code = handler_code(cpu, selector, &cpl);
    uint64_t old_sp = cpu->gpr[VCPU_RSP];
    uint16_t old_ss = cpu->segment[VCPU_SS].selector;
    bool from_v86 = cpu->mode == BT_MODE_V86;
    bool inner = cpl < cpu->cpl;
    BtStack stack;
    BtDescriptor stack_descriptor = { 0 };
    uint16_t stack_selector = 0;
    if (inner) {
        uint64_t sp;
        bt_tss_stack(cpu, cpl, &stack_selector, &sp);
        stack_descriptor = bt_check_inner_stack(cpu, stack_selector, cpl);
        stack = bt_stack_from(cpu, stack_selector, stack_descriptor.raw, sp, cpl);
        if (from_v86) {
            bt_stack_push(cpu, &stack, size, cpu->segment[VCPU_GS].selector);
            bt_stack_push(cpu, &stack, size, cpu->segment[VCPU_FS].selector);
            bt_stack_push(cpu, &stack, size, cpu->segment[VCPU_DS].selector);
            bt_stack_push(cpu, &stack, size, cpu->segment[VCPU_ES].selector);
        }
        bt_stack_push(cpu, &stack, size, old_ss);
        bt_stack_push(cpu, &stack, size, old_sp);
    } else {
        stack = bt_stack_current(cpu);
    }
    bt_stack_push(cpu, &stack, size, event->flags);
    bt_stack_push(cpu, &stack, size, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, size, cpu->rip);
    if (event->has_error)
        bt_stack_push(cpu, &stack, size, event->error);
    if (offset > bt_descriptor_limit(code.raw))
        bt_raise_error(cpu, BT_GP, 0);

    bt_descriptor_mark_accessed(cpu, &code);
    if (inner) {
        bt_descriptor_mark_accessed(cpu, &stack_descriptor);
        bt_segment_set(cpu, VCPU_SS, (uint16_t)((stack_selector & ~3u) | cpl),
                       stack_descriptor.raw);
    }
    if (from_v86) {
        bt_segment_set_null(cpu, VCPU_ES, 0);
        bt_segment_set_null(cpu, VCPU_DS, 0);
        bt_segment_set_null(cpu, VCPU_FS, 0);
        bt_segment_set_null(cpu, VCPU_GS, 0);
    }
    bt_segment_set_code(cpu, selector, &code, cpl, offset);
    bt_stack_commit(cpu, &stack);
    enter_handler(cpu, type);
}

// Through a 64-bit interrupt or trap gate.
static void deliver_gate_64(BtCpu *cpu, const Event *event, uint64_t gate, uint64_t gate_high,
                            unsigned type)
{
    uint16_t selector = (uint16_t)(gate >> 16);
    uint64_t offset = (gate & 0xffff) | (gate >> 32 & 0xffff0000) | gate_high << 32;
    unsigned ist = gate >> 32 & 7;

    unsigned cpl;
    BtDescriptor code = handler_code(cpu, selector, &cpl);
    BtStack stack = { .mask = UINT64_MAX, .flat = true };
    if (ist)
        stack.sp = bt_tss_stack_64(cpu, 3 + ist);
    else if (cpl < cpu->cpl)
        stack.sp = bt_tss_stack_64(cpu, cpl);
    else
        stack.sp = cpu->gpr[VCPU_RSP];
    stack.mmu = cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR;
    stack.sp &= ~UINT64_C(15);
    bt_stack_push(cpu, &stack, 8, cpu->segment[VCPU_SS].selector);
    bt_stack_push(cpu, &stack, 8, cpu->gpr[VCPU_RSP]);
    bt_stack_push(cpu, &stack, 8, event->flags);
    bt_stack_push(cpu, &stack, 8, cpu->segment[VCPU_CS].selector);
    bt_stack_push(cpu, &stack, 8, cpu->rip);
    if (event->has_error)
        bt_stack_push(cpu, &stack, 8, event->error);
    if (!bt_is_canonical(offset))
        bt_raise_error(cpu, BT_GP, 0);

    bt_descriptor_mark_accessed(cpu, &code);
    if (cpl < cpu->cpl)
        bt_segment_set_null(cpu, VCPU_SS, (uint16_t)cpl);
    bt_segment_set_code(cpu, selector, &code, cpl, offset);
    cpu->gpr[VCPU_RSP] = stack.sp;
    enter_handler(cpu, type);
}

static void deliver_protected(BtCpu *cpu, const Event *event)
{
    bool long_mode = bt_long_mode(cpu);
    unsigned entry_size = long_mode ? 16 : 8;
    uint64_t entry = event->vector * entry_size;
    if (entry + entry_size - 1 > cpu->idtr.limit)
        bt_raise_error(cpu, BT_GP, idt_error(event->vector));
    uint64_t gate = bt_system_read(cpu, cpu->idtr.base + entry, 8);
    uint64_t high = long_mode ? bt_system_read(cpu, cpu->idtr.base + entry + 8, 8) : 0;
    uint16_t access = bt_descriptor_access(gate);
    unsigned type = access & (BT_ACCESS_TYPE | BT_ACCESS_S);
    bool valid = type == BT_TYPE_INTERRUPT_GATE || type == BT_TYPE_TRAP_GATE;
    if (!long_mode)
        valid |= type == BT_TYPE_INTERRUPT_GATE16 || type == BT_TYPE_TRAP_GATE16 ||
                 type == BT_TYPE_TASK_GATE;
    if (!valid || (event->soft && bt_access_dpl(access) < cpu->cpl))
        bt_raise_error(cpu, BT_GP, idt_error(event->vector));
    if (!(access & BT_ACCESS_P))
        bt_raise_error(cpu, BT_NP, idt_error(event->vector));

    if (type == BT_TYPE_TASK_GATE) {
        uint16_t selector;
        BtDescriptor tss = bt_task_gate_target(cpu, gate, &selector);
        // RF is in the image of the task that a fault interrupted, as in any other frame.
        cpu->rflags_rest = (cpu->rflags_rest & ~(uint64_t)BT_FLAG_RF) |
                           (event->flags & BT_FLAG_RF);
        bt_task_switch(cpu, selector, &tss, BT_TASK_GATE, event->has_error, event->error);
    } else if (long_mode) {
        deliver_gate_64(cpu, event, gate, high & UINT32_MAX, type);
    } else {
        deliver_gate(cpu, event, gate, type);
    }
}

static void deliver(BtCpu *cpu, const Event *event)
{
    cpu->delivering = true;
    cpu->delivered = (BtFault){ (uint8_t)event->vector, event->has_error, event->error };
    cpu->delivered_soft = event->soft;
    if (cpu->mode == BT_MODE_REAL)
        deliver_real(cpu, event);
    else
        deliver_protected(cpu, event);
    cpu->delivering = false;
    cpu->insn = NULL;
    bt_update_mode(cpu);
    bt_debug_update(cpu);
}

// Interrupts, whatever their vector, are benign for the double-fault table.
enum { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static unsigned fault_class(unsigned vector)
{
    switch (vector) {
    case BT_DE:
    case BT_TS:
    case BT_NP:
    case BT_SS:
    case BT_GP:
        return CONTRIBUTORY;
    case BT_PF:
        return PAGE_FAULT;
    case BT_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

// Exceptions that report an instruction before it is done: RF is set in the pushed image (vol. 3B,
// 17.3.1.1). #DB is none of them: its instruction breakpoints leave RF to the handler.
static bool is_fault(unsigned vector)
{
    return vector != BT_DB && vector != BT_BP && vector != BT_OF && vector != BT_NMI;
}

void bt_deliver(BtCpu *cpu, unsigned vector, bool has_error, uint32_t error, bool soft)
{
    Event event = { vector, has_error && cpu->mode != BT_MODE_REAL, error, soft,
                    bt_rflags_get(cpu) };
    cpu->delivered_exception = false;
    deliver(cpu, &event);
}

bool bt_deliver_fault(BtCpu *cpu)
{
    BtFault fault = cpu->fault;
    if (cpu->delivering && cpu->delivered_exception) {
        unsigned first = fault_class(cpu->delivered.vector);
        unsigned second = fault_class(fault.vector);
        if (first == DOUBLE_FAULT && second != BENIGN) {
            cpu->delivering = false;
            cpu->exit = (VcpuExit){ .reason = VCPU_EXIT_SHUTDOWN };
            return false;
        }
        if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
            (first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT)))
            fault = (BtFault){ BT_DF, true, 0 };
    }
    cpu->stats.exceptions++;
    cpu->debug_hits = 0;
    Event event = { fault.vector, fault.has_error && cpu->mode != BT_MODE_REAL, fault.error, false,
                    bt_rflags_get(cpu) };
    if (is_fault(fault.vector))
        event.flags |= BT_FLAG_RF;
    cpu->delivered_exception = true;
    deliver(cpu, &event);
    return true;
}

bool bt_interrupt_waits(const BtCpu *cpu)
{
    uint32_t request = __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);
    return (request & BT_REQUEST_NMI) ||
           ((request & BT_REQUEST_INTERRUPT) && (cpu->rflags_rest & BT_FLAG_IF));
}

bool bt_accept_interrupt(BtCpu *cpu)
{
    uint32_t request = __atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE);
    if (request & BT_REQUEST_NMI) {
        __atomic_fetch_and(&cpu->request, ~(uint32_t)BT_REQUEST_NMI, __ATOMIC_SEQ_CST);
        if (!cpu->nmi_blocked) {
            cpu->nmi_blocked = true;
            cpu->halted = false;
            cpu->stats.interrupts++;
            bt_deliver(cpu, BT_NMI, false, 0, false);
            return true;
        }
        cpu->nmi_pending = true;
    }
    if ((request & BT_REQUEST_INTERRUPT) && (cpu->rflags_rest & BT_FLAG_IF)) {
        bt_fpu_leave(cpu);
        int vector = cpu->config->handler.acknowledge(cpu->config->handler.opaque, cpu->index);
        if (vector < 0)
            return false;
        cpu->halted = false;
        cpu->stats.interrupts++;
        bt_deliver(cpu, (unsigned)vector & 0xff, false, 0, false);
        return true;
    }
    return false;
}
