// SPDX-License-Identifier: GPL-2.0-or-later
// Descriptors, stacks and control transfers, as the files of the system half share them.
#pragma once

#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-registers.h"

// An error code's selector: RPL bits cleared.
#define BT_SELECTOR_ERROR(selector) ((selector) & 0xfffcu)

// ---- Descriptors (SDM vol. 3A, 3.4.5 and 3.5) ----

typedef struct {
    uint64_t raw;     // 8 bytes as in memory
    uint64_t address; // linear
} BtDescriptor;

static inline uint16_t bt_descriptor_access(uint64_t raw)
{
    return (uint16_t)((raw >> 40 & 0xff) | (raw >> 52 & 0xf) << 12);
}

static inline uint32_t bt_descriptor_base(uint64_t raw)
{
    return (uint32_t)((raw >> 16 & 0xffffff) | (raw >> 56) << 24);
}

static inline uint32_t bt_descriptor_limit(uint64_t raw)
{
    uint32_t limit = (uint32_t)((raw & 0xffff) | (raw >> 32 & 0xf0000));
    return raw & BT_BIT(55) ? limit << 12 | 0xfff : limit;
}

static inline unsigned bt_access_type(uint16_t access)
{
    return access & BT_ACCESS_TYPE;
}

static inline unsigned bt_access_dpl(uint16_t access)
{
    return (access & BT_ACCESS_DPL) >> BT_ACCESS_DPL_SHIFT;
}

static inline bool bt_access_is_code(uint16_t access)
{
    return (access & (BT_ACCESS_S | BT_ACCESS_CODE)) == (BT_ACCESS_S | BT_ACCESS_CODE);
}

static inline bool bt_access_is_conforming(uint16_t access)
{
    return bt_access_is_code(access) && (access & BT_ACCESS_CONFORMING);
}

static inline bool bt_access_is_writable_data(uint16_t access)
{
    return (access & (BT_ACCESS_S | BT_ACCESS_CODE | BT_ACCESS_WRITABLE)) ==
           (BT_ACCESS_S | BT_ACCESS_WRITABLE);
}

// The selector's descriptor in the GDT or LDT. False: outside of the table's limit. The null
// selector is the caller's business. May raise #PF.
bool bt_descriptor_read(BtCpu *cpu, uint16_t selector, BtDescriptor *ret_descriptor);

// Reads it, raising `vector` with the selector where it is outside of the table.
BtDescriptor bt_descriptor_get(BtCpu *cpu, uint16_t selector, unsigned vector);

// Sets the accessed bit of a code or data descriptor in memory.
void bt_descriptor_mark_accessed(BtCpu *cpu, const BtDescriptor *descriptor);

// ---- Loading segment registers; no checks ----

void bt_segment_set(BtCpu *cpu, unsigned segment, uint16_t selector, uint64_t raw);
void bt_segment_set_null(BtCpu *cpu, unsigned segment, uint16_t selector);
// CS from a checked descriptor, with RPL = cpl; sets CPL and RIP. bt_update_mode is left to the
// caller, after SS and RFLAGS.
void bt_segment_set_code(BtCpu *cpu, uint16_t selector, const BtDescriptor *descriptor,
                         unsigned cpl, uint64_t rip);

static inline bool bt_long_mode(const BtCpu *cpu)
{
    return cpu->efer & BT_EFER_LMA;
}

static inline bool bt_protected(const BtCpu *cpu)
{
    return cpu->mode >= BT_MODE_PROTECTED;
}

static inline bool bt_is_canonical(uint64_t address)
{
    return (uint64_t)(((int64_t)address >> 47) + 1) <= 1;
}

// ---- Stacks that are not (yet) the current one ----

typedef struct {
    BtSegment segment;
    uint64_t sp;
    uint64_t mask;           // of the stack pointer: SS.B, or all
    unsigned mmu;
    uint16_t error_selector; // in the #SS that an access outside raises
    bool flat;               // 64-bit mode: no base, no limit
} BtStack;

// The current stack.
BtStack bt_stack_current(const BtCpu *cpu);
// A stack that SS as given by a checked descriptor would make, for accesses at `cpl`.
BtStack bt_stack_from(const BtCpu *cpu, uint16_t selector, uint64_t raw, uint64_t sp, unsigned cpl);
void bt_stack_push(BtCpu *cpu, BtStack *stack, unsigned size, uint64_t value);
uint64_t bt_stack_pop(BtCpu *cpu, BtStack *stack, unsigned size);
// The pushes or pops that went before become true: RSP, by the stack's width.
void bt_stack_commit(BtCpu *cpu, const BtStack *stack);

// SS:(E)SP for `cpl` out of the current TSS. Raises #TS.
void bt_tss_stack(BtCpu *cpu, unsigned cpl, uint16_t *ret_selector, uint64_t *ret_sp);
// RSP0..2 (field 0..2) or IST1..7 (field 4..10, by position) out of a 64-bit TSS. Raises #TS, #SS.
uint64_t bt_tss_stack_64(BtCpu *cpu, unsigned field);
// Checks SS for an inner ring (from the TSS) and returns its descriptor. Raises #TS or #SS.
BtDescriptor bt_check_inner_stack(BtCpu *cpu, uint16_t selector, unsigned cpl);

// Returning to an outer ring: DS, ES, FS, GS that it may not have become null.
void bt_segment_drop_inner(BtCpu *cpu);

// ---- bt-far.c ----

// JMP and CALL to selector:offset. operand_size: bytes of what CALL pushes. return_rip: the next
// instruction, where CALL or the old task goes on. Both leave cpu->rip at the target.
void bt_far_jump(BtCpu *cpu, uint16_t selector, uint64_t offset, uint64_t return_rip);
void bt_far_call(BtCpu *cpu, uint16_t selector, uint64_t offset, unsigned operand_size,
                 uint64_t return_rip);

// ---- bt-task.c ----

typedef enum { BT_TASK_JUMP, BT_TASK_CALL, BT_TASK_RETURN, BT_TASK_GATE } BtTaskWhy;

// Switches to the task whose (checked) TSS descriptor this is; cpu->rip is where the old task goes
// on. BT_TASK_GATE: by an interrupt, whose error code (where it has one) goes on the new stack.
void bt_task_switch(BtCpu *cpu, uint16_t selector, const BtDescriptor *tss, BtTaskWhy why,
                    bool has_error, uint32_t error);
// The TSS that a task gate names, checked for being available. Raises.
BtDescriptor bt_task_gate_target(BtCpu *cpu, uint64_t gate_raw, uint16_t *ret_selector);
