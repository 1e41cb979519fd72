// SPDX-License-Identifier: GPL-2.0-or-later
// Near control transfers: Jcc JCXZ LOOPcc JMP CALL RET, and BOUND. Each but BOUND ends its block
// and goes on by way of BT_CHAIN.
//
// A direct branch holds its target in `immediate` and the next instruction in `displacement`, both
// counted from the block's first byte. Handlers named _seg check the target against the limit of CS
// and cut it to the operand size (SDM vol. 2, JMP); the others are for code segments that are
// flat, 64-bit code among them.
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-select.h"

static inline uint64_t target_of(const BtCpu *cpu, const BtInsn *insn)
{
    return (cpu->block_rip + insn->immediate) & cpu->rip_mask;
}

static inline uint64_t next_of(const BtCpu *cpu, const BtInsn *insn)
{
    return (cpu->block_rip + (uint64_t)insn->displacement) & cpu->rip_mask;
}

// Cuts a branch target to the operand size and checks it; the instruction has begun.
static inline uint64_t check_target(BtCpu *cpu, const BtInsn *insn, uint64_t target)
{
    if (insn->operand_size == 2)
        target = (uint16_t)target;
    else if (cpu->code_bits != 64)
        target = (uint32_t)target;
    if (cpu->code_bits != 64 ? target > cpu->segment[VCPU_CS].limit
                             : (uint64_t)(((int64_t)target >> 47) + 1) > 1)
        bt_raise_error(cpu, BT_GP, 0);
    return target;
}

static inline bool canonical(uint64_t address)
{
    return (uint64_t)(((int64_t)address >> 47) + 1) <= 1;
}

// Goes to a direct target that needs a check.
#define CHAIN_CHECKED(cpu, insn)                                                                   \
    do {                                                                                           \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t checked = check_target(cpu, insn, cpu->block_rip + insn->immediate);              \
        BT_CHAIN(cpu, 1, checked);                                              \
    } while (0)

// ---- Jcc ----

#define JCC(n, cc, condition)                                                                      \
    static void j##cc(BtCpu *cpu, const BtInsn *insn)                                              \
    {                                                                                              \
        unsigned f = cpu->flags_status;                                                            \
        if (condition)                                                                             \
            BT_CHAIN(cpu, 1, target_of(cpu, insn));                             \
        BT_CHAIN(cpu, 0, next_of(cpu, insn));                                   \
    }                                                                                              \
    static void j##cc##_seg(BtCpu *cpu, const BtInsn *insn)                                        \
    {                                                                                              \
        unsigned f = cpu->flags_status;                                                            \
        if (condition)                                                                             \
            CHAIN_CHECKED(cpu, insn);                                                              \
        BT_CHAIN(cpu, 0, next_of(cpu, insn));                                   \
    }
BT_CONDITIONS(JCC)

#define JCC_ROW(n, cc, condition) [n] = {j##cc##_seg, j##cc},
static BtHandler *const jcc_handlers[16][2] = {BT_CONDITIONS(JCC_ROW)};

// ---- JCXZ, LOOP ----

static inline uint64_t counter(const BtCpu *cpu, const BtInsn *insn)
{
    return insn->address_bits == 64   ? cpu->gpr[VCPU_RCX]
           : insn->address_bits == 32 ? (uint32_t)cpu->gpr[VCPU_RCX]
                                      : (uint16_t)cpu->gpr[VCPU_RCX];
}

static void jcxz(BtCpu *cpu, const BtInsn *insn)
{
    if (counter(cpu, insn) == 0)
        CHAIN_CHECKED(cpu, insn);
    BT_CHAIN(cpu, 0, next_of(cpu, insn));
}

static inline void set_counter(BtCpu *cpu, const BtInsn *insn, uint64_t value)
{
    if (insn->address_bits == 64)
        cpu->gpr[VCPU_RCX] = value;
    else if (insn->address_bits == 32)
        bt_set32(cpu, VCPU_RCX, (uint32_t)value);
    else
        bt_set16(cpu, VCPU_RCX, (uint16_t)value);
}

// RCX changes only where the target is good.
#define LOOP(name, condition)                                                                      \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        unsigned f __attribute__((unused)) = cpu->flags_status;                                    \
        uint64_t left = counter(cpu, insn) - 1;                                                    \
        bool zero = counter(cpu, insn) == 1;                                                       \
        if (!zero && (condition)) {                                                                \
            uint64_t target = check_target(cpu, insn, cpu->block_rip + insn->immediate);           \
            set_counter(cpu, insn, left);                                                          \
            BT_CHAIN(cpu, 1, target);                                           \
        }                                                                                          \
        set_counter(cpu, insn, left);                                                              \
        BT_CHAIN(cpu, 0, next_of(cpu, insn));                                   \
    }

LOOP(loop, true)
LOOP(loope, f & BT_STATUS_ZF)
LOOP(loopne, !(f & BT_STATUS_ZF))

// ---- JMP ----

static void jmp(BtCpu *cpu, const BtInsn *insn)
{
    BT_CHAIN(cpu, 1, target_of(cpu, insn));
}

static void jmp_seg(BtCpu *cpu, const BtInsn *insn)
{
    CHAIN_CHECKED(cpu, insn);
}

// The register's or memory's value of the operand size; may raise.
static inline uint64_t indirect_target(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t target;
    if (!(insn->flags & BT_INSN_HAS_MEMORY)) {
        target = cpu->gpr[insn->reg[0]];
    } else {
        uint64_t offset = bt_effective_address(cpu, insn);
        target = insn->operand_size == 8   ? bt_read64(cpu, insn->segment, offset)
                 : insn->operand_size == 4 ? bt_read32(cpu, insn->segment, offset)
                                           : bt_read16(cpu, insn->segment, offset);
    }
    return check_target(cpu, insn, target);
}

static void jmp_indirect(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t target = indirect_target(cpu, insn);
    BT_CHAIN_INDIRECT(cpu, target);
}

static void jmp64_register(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t target = cpu->gpr[insn->reg[0]];
    if (BT_UNLIKELY(!canonical(target)))
        return jmp_indirect(cpu, insn);
    BT_CHAIN_INDIRECT(cpu, target);
}

static void jmp64_memory(BtCpu *cpu, const BtInsn *insn)
{
    const void *p = bt_flat_readable(cpu, bt_flat_address(cpu, insn), 8);
    if (BT_UNLIKELY(!p))
        return jmp_indirect(cpu, insn);
    uint64_t target = bt_host_load64(p);
    if (BT_UNLIKELY(!canonical(target)))
        return jmp_indirect(cpu, insn);
    BT_CHAIN_INDIRECT(cpu, target);
}

// ---- CALL ----

static void call_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t target = check_target(cpu, insn, cpu->block_rip + insn->immediate);
    bt_push(cpu, insn->operand_size, next_of(cpu, insn));
    BT_CHAIN(cpu, 1, target);
}

static void call_indirect(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t target = indirect_target(cpu, insn);
    bt_push(cpu, insn->operand_size, bt_next_rip(cpu, insn));
    BT_CHAIN_INDIRECT(cpu, target);
}

// With a flat stack as wide as the operand.
#define CALL(bits)                                                                                 \
    static void call##bits(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        uint64_t sp = (cpu->gpr[VCPU_RSP] - bits / 8) & cpu->flat_mask;                            \
        void *p = bt_flat_writable(cpu, sp, bits / 8);                                             \
        if (BT_UNLIKELY(!p))                                                                       \
            return call_any(cpu, insn);                                                            \
        bt_host_store##bits(p, (uint##bits##_t)next_of(cpu, insn));                                \
        cpu->gpr[VCPU_RSP] = sp;                                                                   \
        BT_CHAIN(cpu, 1, target_of(cpu, insn));                                 \
    }

CALL(32)
CALL(64)

static void call64_register(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t target = cpu->gpr[insn->reg[0]];
    uint64_t sp = cpu->gpr[VCPU_RSP] - 8;
    void *p = bt_flat_writable(cpu, sp, 8);
    if (BT_UNLIKELY(!p || !canonical(target)))
        return call_indirect(cpu, insn);
    bt_host_store64(p, bt_next_rip(cpu, insn));
    cpu->gpr[VCPU_RSP] = sp;
    BT_CHAIN_INDIRECT(cpu, target);
}

// ---- RET ----

static uint64_t stack_mask(const BtCpu *cpu)
{
    return cpu->stack_bits == 64 ? UINT64_MAX : cpu->stack_bits == 32 ? UINT32_MAX : UINT16_MAX;
}

// immediate: bytes to drop after the return address.
static void ret_any(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t mask = stack_mask(cpu);
    uint64_t sp = cpu->gpr[VCPU_RSP] & mask;
    uint64_t target = insn->operand_size == 8   ? bt_read64(cpu, VCPU_SS, sp)
                      : insn->operand_size == 4 ? bt_read32(cpu, VCPU_SS, sp)
                                                : bt_read16(cpu, VCPU_SS, sp);
    target = check_target(cpu, insn, target);
    sp = (sp + insn->operand_size + insn->immediate) & mask;
    cpu->gpr[VCPU_RSP] = (cpu->gpr[VCPU_RSP] & ~mask) | sp;
    if (cpu->stack_bits == 32)
        cpu->gpr[VCPU_RSP] = sp;
    BT_CHAIN_INDIRECT(cpu, target);
}

static void ret64(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t sp = cpu->gpr[VCPU_RSP];
    const void *p = bt_flat_readable(cpu, sp, 8);
    if (BT_UNLIKELY(!p))
        return ret_any(cpu, insn);
    uint64_t target = bt_host_load64(p);
    if (BT_UNLIKELY(!canonical(target)))
        return ret_any(cpu, insn);
    cpu->gpr[VCPU_RSP] = sp + 8 + insn->immediate;
    BT_CHAIN_INDIRECT(cpu, target);
}

static void ret32(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t sp = (uint32_t)cpu->gpr[VCPU_RSP];
    const void *p = bt_flat_readable(cpu, sp, 4);
    if (BT_UNLIKELY(!p))
        return ret_any(cpu, insn);
    uint64_t target = bt_host_load32(p);
    cpu->gpr[VCPU_RSP] = (uint32_t)(sp + 4 + insn->immediate);
    BT_CHAIN_INDIRECT(cpu, target);
}

// ---- BOUND ----

// Two accesses: each bound has an alignment of its own.
static void bound16(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    int16_t low = (int16_t)bt_read16(cpu, insn->segment, offset);
    int16_t high = (int16_t)bt_read16(cpu, insn->segment, offset + 2);
    int16_t index = (int16_t)cpu->gpr[insn->reg[0]];
    if (index < low || index > high)
        bt_raise(cpu, BT_BR);
    BT_NEXT(cpu, insn);
}

static void bound32(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    int32_t low = (int32_t)bt_read32(cpu, insn->segment, offset);
    int32_t high = (int32_t)bt_read32(cpu, insn->segment, offset + 4);
    int32_t index = (int32_t)cpu->gpr[insn->reg[0]];
    if (index < low || index > high)
        bt_raise(cpu, BT_BR);
    BT_NEXT(cpu, insn);
}

// ---- Selection ----

static bool ends(BtInsn *out, BtHandler *handler)
{
    out->handler = handler;
    out->flags |= BT_INSN_ENDS_BLOCK;
    return true;
}

// Sets target and next address of a direct branch; false where operand 0 is not one.
static bool set_target(const BtDecoded *d, BtInsn *out)
{
    if (!bt_operand_is_immediate(&d->operand[0]) || !d->operand[0].imm.is_relative)
        return false;
    out->displacement = out->offset + out->length;
    out->immediate = d->operand[0].imm.value.u + (uint64_t)out->displacement;
    return true;
}

// Branches of the code segment's own width in a flat one need no check.
static bool is_plain(const BtDecoded *d, const BtInsn *out)
{
    return bt_select_code_is_flat(d) && out->operand_size * 8 == d->cpu->code_bits;
}

static bool select_jmp(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    bool plain = is_plain(d, out);
    if (set_target(d, out))
        return ends(out, plain ? jmp : jmp_seg);
    if (bt_operand_is_memory(&d->operand[0]))
        return ends(out, plain && out->operand_size == 8 && bt_select_is_flat(d, out)
                             ? jmp64_memory
                             : jmp_indirect);
    out->reg[0] = bt_operand_register(&d->operand[0]);
    return ends(out, plain && out->operand_size == 8 ? jmp64_register : jmp_indirect);
}

static bool select_call(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    bool plain = is_plain(d, out) && bt_select_stack_is_flat(d);
    bool direct = set_target(d, out);
    if (direct)
        return ends(out, !plain                  ? call_any
                         : out->operand_size == 8 ? call64
                         : out->operand_size == 4 ? call32
                                                  : call_any);
    if (!bt_operand_is_memory(&d->operand[0]))
        out->reg[0] = bt_operand_register(&d->operand[0]);
    return ends(out, plain && out->operand_size == 8 && !bt_operand_is_memory(&d->operand[0])
                         ? call64_register
                         : call_indirect);
}

static bool select_ret(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return false;
    bool plain = is_plain(d, out) && bt_select_stack_is_flat(d);
    return ends(out, !plain                  ? ret_any
                     : out->operand_size == 8 ? ret64
                     : out->operand_size == 4 ? ret32
                                              : ret_any);
}

bool bt_select_branch(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_JMP: return select_jmp(d, out);
    case ZYDIS_MNEMONIC_CALL: return select_call(d, out);
    case ZYDIS_MNEMONIC_RET: return select_ret(d, out);
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ: return set_target(d, out) && ends(out, jcxz);
    case ZYDIS_MNEMONIC_LOOP: return set_target(d, out) && ends(out, loop);
    case ZYDIS_MNEMONIC_LOOPE: return set_target(d, out) && ends(out, loope);
    case ZYDIS_MNEMONIC_LOOPNE: return set_target(d, out) && ends(out, loopne);
    case ZYDIS_MNEMONIC_BOUND:
        out->reg[0] = bt_operand_register(&d->operand[0]);
        out->handler = out->operand_size == 2 ? bound16 : bound32;
        return true;
    default: // Jcc: 70..7F and 0F 80..8F
        out->extra = is_plain(d, out) ? 1 + (d->insn.opcode & 15) : 0; // for bt-fuse.c
        return set_target(d, out) &&
               ends(out, jcc_handlers[d->insn.opcode & 15][out->extra != 0]);
    }
}
