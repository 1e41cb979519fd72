// SPDX-License-Identifier: GPL-2.0-or-later
// PUSH POP PUSHA POPA PUSHF POPF ENTER LEAVE (SDM vol. 2). Segment registers are bt-system.c's. A
// fault leaves RSP as it was: instructions with several accesses compute their own stack addresses
// and write RSP last.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-select.h"

static inline uint64_t stack_mask(const BtCpu *cpu)
{
    return cpu->stack_bits == 64 ? UINT64_MAX : cpu->stack_bits == 32 ? UINT32_MAX : UINT16_MAX;
}

// Writes as much of `reg` as the stack is wide.
static inline void set_wide(BtCpu *cpu, unsigned reg, uint64_t value)
{
    if (cpu->stack_bits == 16)
        bt_set16(cpu, reg, (uint16_t)value);
    else
        cpu->gpr[reg] = value & stack_mask(cpu);
}

static uint64_t read_stack(BtCpu *cpu, uint64_t offset, unsigned size)
{
    offset &= stack_mask(cpu);
    return size == 8   ? bt_read64(cpu, VCPU_SS, offset)
           : size == 4 ? bt_read32(cpu, VCPU_SS, offset)
                       : bt_read16(cpu, VCPU_SS, offset);
}

static void write_stack(BtCpu *cpu, uint64_t offset, unsigned size, uint64_t value)
{
    offset &= stack_mask(cpu);
    if (size == 8)
        bt_write64(cpu, VCPU_SS, offset, value);
    else if (size == 4)
        bt_write32(cpu, VCPU_SS, offset, (uint32_t)value);
    else
        bt_write16(cpu, VCPU_SS, offset, (uint16_t)value);
}

static void set_general(BtCpu *cpu, unsigned reg, unsigned size, uint64_t value)
{
    if (size == 2)
        bt_set16(cpu, reg, (uint16_t)value);
    else
        cpu->gpr[reg] = size == 4 ? (uint32_t)value : value;
}

// ---- PUSH, POP ----

static void push_register_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_push(cpu, insn->operand_size, cpu->gpr[insn->reg[0]]);
    BT_NEXT(cpu, insn);
}

static void push_immediate_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_push(cpu, insn->operand_size, insn->immediate);
    BT_NEXT(cpu, insn);
}

static void push_memory(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    uint64_t value = insn->operand_size == 8   ? bt_read64(cpu, insn->segment, offset)
                     : insn->operand_size == 4 ? bt_read32(cpu, insn->segment, offset)
                                               : bt_read16(cpu, insn->segment, offset);
    bt_push(cpu, insn->operand_size, value);
    BT_NEXT(cpu, insn);
}

static void pop_register_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t value = bt_pop(cpu, insn->operand_size);
    set_general(cpu, insn->reg[0], insn->operand_size, value);
    BT_NEXT(cpu, insn);
}

// An address with RSP in it is computed after RSP went up.
static void pop_memory(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint64_t old = cpu->gpr[VCPU_RSP];
    uint64_t value = read_stack(cpu, old, size);
    set_wide(cpu, VCPU_RSP, old + size);
    uint64_t offset = bt_effective_address(cpu, insn);
    uint64_t new = cpu->gpr[VCPU_RSP];
    cpu->gpr[VCPU_RSP] = old;
    if (size == 8)
        bt_write64(cpu, insn->segment, offset, value);
    else if (size == 4)
        bt_write32(cpu, insn->segment, offset, (uint32_t)value);
    else
        bt_write16(cpu, insn->segment, offset, (uint16_t)value);
    cpu->gpr[VCPU_RSP] = new;
    BT_NEXT(cpu, insn);
}

// With a flat stack.
#define PUSH_POP(bits)                                                                             \
    static void push##bits##_register(BtCpu *cpu, const BtInsn *insn)                              \
    {                                                                                              \
        uint64_t sp = (cpu->gpr[VCPU_RSP] - bits / 8) & cpu->flat_mask;                            \
        void *p = bt_flat_writable(cpu, sp, bits / 8);                                             \
        if (BT_UNLIKELY(!p))                                                                       \
            return push_register_any(cpu, insn);                                                   \
        bt_host_store##bits(p, (uint##bits##_t)cpu->gpr[insn->reg[0]]);                            \
        cpu->gpr[VCPU_RSP] = sp;                                                                   \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void push##bits##_immediate(BtCpu *cpu, const BtInsn *insn)                             \
    {                                                                                              \
        uint64_t sp = (cpu->gpr[VCPU_RSP] - bits / 8) & cpu->flat_mask;                            \
        void *p = bt_flat_writable(cpu, sp, bits / 8);                                             \
        if (BT_UNLIKELY(!p))                                                                       \
            return push_immediate_any(cpu, insn);                                                  \
        bt_host_store##bits(p, (uint##bits##_t)insn->immediate);                                   \
        cpu->gpr[VCPU_RSP] = sp;                                                                   \
        BT_NEXT(cpu, insn);                                                                        \
    }                                                                                              \
    static void pop##bits##_register(BtCpu *cpu, const BtInsn *insn)                               \
    {                                                                                              \
        uint64_t sp = cpu->gpr[VCPU_RSP] & cpu->flat_mask;                                         \
        const void *p = bt_flat_readable(cpu, sp, bits / 8);                                       \
        if (BT_UNLIKELY(!p))                                                                       \
            return pop_register_any(cpu, insn);                                                    \
        uint64_t value = bt_host_load##bits(p);                                                    \
        cpu->gpr[VCPU_RSP] = (sp + bits / 8) & cpu->flat_mask;                                     \
        cpu->gpr[insn->reg[0]] = value;                                                            \
        BT_NEXT(cpu, insn);                                                                        \
    }

PUSH_POP(32)
PUSH_POP(64)

// ---- PUSHA, POPA ----

static void pusha(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint64_t sp = cpu->gpr[VCPU_RSP];
    for (unsigned i = 0; i < 8; i++)
        write_stack(cpu, sp - (i + 1) * size, size, cpu->gpr[i]);
    set_wide(cpu, VCPU_RSP, sp - 8 * size);
    BT_NEXT(cpu, insn);
}

static void popa(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint64_t sp = cpu->gpr[VCPU_RSP];
    // A fault in between leaves the registers before it loaded, as on this host.
    for (unsigned i = 0; i < 8; i++) {
        uint64_t value = read_stack(cpu, sp + i * size, size);
        if (7 - i != VCPU_RSP)
            set_general(cpu, 7 - i, size, value);
    }
    set_wide(cpu, VCPU_RSP, sp + 8 * size);
    BT_NEXT(cpu, insn);
}

// ---- ENTER, LEAVE ----

// extra: nesting level 0..31; immediate: bytes of locals.
static void enter(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    unsigned level = insn->extra & 31;
    uint64_t sp = cpu->gpr[VCPU_RSP] - size;
    uint64_t bp = cpu->gpr[VCPU_RBP];
    write_stack(cpu, sp, size, bp);
    uint64_t frame = sp;
    for (unsigned i = 1; i < level; i++) {
        bp -= size;
        uint64_t link = read_stack(cpu, bp, size);
        sp -= size;
        write_stack(cpu, sp, size, link);
    }
    if (level > 0) {
        sp -= size;
        write_stack(cpu, sp, size, frame & stack_mask(cpu));
    }
    sp -= insn->immediate & 0xffff;
    // The last check: the new top must be writable.
    bt_probe_write(cpu, VCPU_SS, sp & stack_mask(cpu), size);
    uint64_t frame_value = (cpu->gpr[VCPU_RSP] & ~stack_mask(cpu)) | (frame & stack_mask(cpu));
    set_general(cpu, VCPU_RBP, size, frame_value);
    set_wide(cpu, VCPU_RSP, sp);
    BT_NEXT(cpu, insn);
}

static void leave_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint64_t sp = cpu->gpr[VCPU_RBP];
    uint64_t value = read_stack(cpu, sp, size);
    set_wide(cpu, VCPU_RSP, sp + size);
    set_general(cpu, VCPU_RBP, size, value);
    BT_NEXT(cpu, insn);
}

static void leave64(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t sp = cpu->gpr[VCPU_RBP];
    const void *p = bt_flat_readable(cpu, sp, 8);
    if (BT_UNLIKELY(!p))
        return leave_any(cpu, insn);
    cpu->gpr[VCPU_RBP] = bt_host_load64(p);
    cpu->gpr[VCPU_RSP] = sp + 8;
    BT_NEXT(cpu, insn);
}

// ---- PUSHF, POPF ----

// Virtual-8086 mode with IOPL below 3: sensitive to IOPL.
static bool v86_sensitive(const BtCpu *cpu)
{
    return cpu->mode == BT_MODE_V86 && (cpu->rflags_rest & BT_FLAG_IOPL) != BT_FLAG_IOPL;
}

static void pushf(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t value = bt_rflags_get(cpu) & ~(uint64_t)(BT_FLAG_VM | BT_FLAG_RF);
    if (v86_sensitive(cpu)) {
        if (!(cpu->cr4 & BT_CR4_VME) || insn->operand_size != 2)
            bt_raise_error(cpu, BT_GP, 0);
        // Virtual-8086 mode extensions: IF is VIF, IOPL reads as 3.
        value = (value & ~(uint64_t)BT_FLAG_IF) | BT_FLAG_IOPL;
        if (cpu->rflags_rest & BT_FLAG_VIF)
            value |= BT_FLAG_IF;
    }
    bt_push(cpu, insn->operand_size, value);
    BT_NEXT(cpu, insn);
}

// Which bits POPF may change (SDM vol. 2, table 4-15).
static uint64_t popf_mask(const BtCpu *cpu, unsigned size)
{
    uint64_t mask = BT_FLAGS_STATUS | BT_FLAG_TF | BT_FLAG_DF | BT_FLAG_NT;
    if (size != 2)
        mask |= BT_FLAG_AC | BT_FLAG_ID | BT_FLAG_RF;
    unsigned iopl = (unsigned)(cpu->rflags_rest >> BT_FLAG_IOPL_SHIFT) & 3;
    if (cpu->cpl == 0 && cpu->mode != BT_MODE_V86)
        mask |= BT_FLAG_IOPL;
    if (cpu->cpl <= iopl)
        mask |= BT_FLAG_IF;
    return mask;
}

// POPF under CR4.VME: IF goes to VIF. `value` is what was popped.
static uint64_t popf_virtual(BtCpu *cpu, uint64_t value)
{
    if ((value & BT_FLAG_TF) || ((value & BT_FLAG_IF) && (cpu->rflags_rest & BT_FLAG_VIP)))
        bt_raise_error(cpu, BT_GP, 0);
    uint64_t mask = BT_FLAGS_STATUS | BT_FLAG_DF | BT_FLAG_NT;
    uint64_t rflags = (bt_rflags_get(cpu) & ~mask & ~(uint64_t)BT_FLAG_VIF) | (value & mask);
    return value & BT_FLAG_IF ? rflags | BT_FLAG_VIF : rflags;
}

static void popf(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    unsigned size = insn->operand_size;
    uint64_t value = read_stack(cpu, cpu->gpr[VCPU_RSP], size);
    uint64_t rflags;
    if (v86_sensitive(cpu)) {
        if (!(cpu->cr4 & BT_CR4_VME) || size != 2)
            bt_raise_error(cpu, BT_GP, 0);
        rflags = popf_virtual(cpu, value);
    } else {
        uint64_t mask = popf_mask(cpu, size);
        rflags = (bt_rflags_get(cpu) & ~mask) | (value & mask & ~(uint64_t)BT_FLAG_RF);
    }
    set_wide(cpu, VCPU_RSP, cpu->gpr[VCPU_RSP] + size);
    uint64_t changed = (rflags ^ cpu->rflags_rest) & (BT_FLAG_TF | BT_FLAG_IF | BT_FLAG_AC);
    if (!changed) {
        bt_flags_set_status(cpu, rflags);
        cpu->rflags_rest = (rflags & ~(uint64_t)BT_FLAGS_STATUS) | BT_FLAG_ONE;
        BT_NEXT(cpu, insn);
    }
    bt_rflags_set(cpu, rflags);
    if (changed & BT_FLAG_AC)
        bt_update_mode(cpu);
    bt_stop_after(cpu, insn, bt_next_rip(cpu, insn));
}

// ---- Selection ----

static bool take(BtInsn *out, BtHandler *handler)
{
    out->handler = handler;
    return true;
}

// 4 or 8 where the stack is flat and the operand as wide as flat handlers exist for, else 0.
static unsigned flat_size(const BtDecoded *d, const BtInsn *out)
{
    return bt_select_stack_is_flat(d) && out->operand_size >= 4 ? out->operand_size : 0;
}

static bool select_push(const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *operand = &d->operand[0];
    unsigned flat = flat_size(d, out);
    if (bt_operand_is_immediate(operand))
        return take(out, flat == 8   ? push64_immediate
                         : flat == 4 ? push32_immediate
                                     : push_immediate_any);
    if (bt_operand_is_memory(operand))
        return take(out, push_memory);
    if (!bt_operand_is_general(operand))
        return false;
    out->reg[0] = bt_operand_register(operand);
    return take(out, flat == 8   ? push64_register
                     : flat == 4 ? push32_register
                                 : push_register_any);
}

static bool select_pop(const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *operand = &d->operand[0];
    if (bt_operand_is_memory(operand))
        return take(out, pop_memory);
    if (!bt_operand_is_general(operand))
        return false;
    unsigned flat = flat_size(d, out);
    out->reg[0] = bt_operand_register(operand);
    return take(out, flat == 8 ? pop64_register : flat == 4 ? pop32_register : pop_register_any);
}

bool bt_select_stack(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: return select_push(d, out);
    case ZYDIS_MNEMONIC_POP: return select_pop(d, out);
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD: return take(out, pusha);
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD: return take(out, popa);
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ: return take(out, pushf);
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ: return take(out, popf);
    case ZYDIS_MNEMONIC_ENTER:
        out->extra = (uint8_t)d->operand[1].imm.value.u;
        return take(out, enter);
    case ZYDIS_MNEMONIC_LEAVE: return take(out, flat_size(d, out) == 8 ? leave64 : leave_any);
    default: return false;
    }
}
