// SPDX-License-Identifier: GPL-2.0-or-later
// Near control transfers: Jcc, JMP, CALL, RET in a flat code segment with the mode's own operand
// size. Direct ones become links. Indirect ones look their target up in the jump table (unit.h);
// what it does not have is left to the interpreter, which also finds wrong targets: nothing is
// committed before the look-up has hit.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

static bool is_jcc(const ZydisDecodedInstruction *insn)
{
    return insn->meta.category == ZYDIS_CATEGORY_COND_BR && insn->mnemonic != ZYDIS_MNEMONIC_LOOP &&
           insn->mnemonic != ZYDIS_MNEMONIC_LOOPE && insn->mnemonic != ZYDIS_MNEMONIC_LOOPNE &&
           insn->mnemonic != ZYDIS_MNEMONIC_JCXZ && insn->mnemonic != ZYDIS_MNEMONIC_JECXZ &&
           insn->mnemonic != ZYDIS_MNEMONIC_JRCXZ;
}

static bool code_is_plain(const BtDraft *d, const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    return insn->operand_width == 8 * bt_draft_width(d) &&
           (d->unit->key >> (BT_KEY_FLAT_SHIFT + VCPU_CS) & 1);
}

static bool direct_target(const BtDraft *d, const BtGuestInsn *g, uint64_t *ret_target)
{
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    if (o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE || !o->imm.is_relative)
        return false;
    uint64_t target = bt_draft_next_rip(d, g) + o->imm.value.u;
    if (!bt_draft_long(d))
        target = (uint32_t)target;
    else if ((uint64_t)(((int64_t)target >> 47) + 1) > 1)
        return false; // the branch itself faults
    *ret_target = target;
    return true;
}

BtFlow bt_branch_flow(const BtDraft *d, const BtGuestInsn *g, uint64_t *ret_target)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
        return BT_FLOW_END;
    bool direct = code_is_plain(d, g) && direct_target(d, g, ret_target);
    switch (insn->meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
        return direct && is_jcc(insn) ? BT_FLOW_CONDITIONAL : BT_FLOW_END;
    case ZYDIS_CATEGORY_UNCOND_BR:
        return direct ? BT_FLOW_JUMP : BT_FLOW_END;
    case ZYDIS_CATEGORY_CALL:
        return direct ? BT_FLOW_CALL : BT_FLOW_END;
    case ZYDIS_CATEGORY_RET:
        return BT_FLOW_END;
    default:
        return BT_FLOW_NEXT;
    }
}

void bt_note_link(BtDraft *d, uint8_t *distance_at, uint64_t rip)
{
    d->cold[d->colds++] = (BtCold){
        .kind = BT_COLD_LINK, .distance_at = distance_at, .rip = rip,
        .rest = d->count - d->at - 1, .flags_live = bt_draft_insn(d)->live_after != 0,
    };
}

// A field of the entry of the jump table that T1 leads to.
static HostMemory jump_entry(size_t field)
{
    HostMemory entry = HOST_CPU_AT(offsetof(BtCpu, jump) + field);
    entry.index = HOST_T1;
    entry.scale = 3;
    return entry;
}

// T3 = target's RIP to T1 = its place in the jump table, which has code for saved flags. T3 is
// lost. Behind bt_emit_flags_begin, which has saved them: all are live before an indirect branch.
static void emit_jump_lookup(BtDraft *d)
{
    HostCode *c = &d->code;
    host_lea(c, 4, HOST_T1, host_indexed(HOST_T3, HOST_T3, 0));
    host_op_registers(c, 4, 0x0fb7, HOST_T1, HOST_T1); // movzx T1, word
    host_op_memory(c, 8, 0x33, HOST_T3, HOST_CPU(jump_salt));
    host_op_memory(c, 8, 0x3b, HOST_T3, jump_entry(offsetof(BtJump, tag)));
    bt_emit_site(d, host_jump_if(c, HOST_NE), 0, 0, NULL);
}

_Static_assert(sizeof(BtJump) == 16 && BT_JUMP_BITS == 15,
               "the index is cut to 16 bits when doubled, and scaled by 8");

// To the code that the look-up has found; T1 is still what it was.
static void emit_jump(HostCode *c)
{
    host_op_memory(c, 4, 0xff, 4, jump_entry(offsetof(BtJump, code)));
}

// T3 = where a register or memory operand leads; false: it has a form that is called out. Behind
// bt_emit_flags_begin, so `access` was made before.
static void emit_target(BtDraft *d, int guest, const BtAccess *access)
{
    HostCode *c = &d->code;
    unsigned size = bt_draft_width(d);
    if (guest < 0) {
        HostMemory at;
        bt_emit_access(d, access, &at);
        host_load(c, size, HOST_T3, at);
    } else if (bt_host_of((unsigned)guest) == HOST_NONE) {
        host_load(c, size, HOST_T3, BT_GPR_AT(guest));
    } else {
        host_op_registers(c, size, 0x89, bt_host_of((unsigned)guest), HOST_T3);
    }
}

static bool indirect_operand(const BtDraft *d, int *ret_guest, BtAccess *ret_access)
{
    const BtGuestInsn *g = &d->insn[d->at];
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    *ret_guest = -1;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
        return bt_access_of_operand(d, g, 0, ret_access);
    *ret_guest = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? bt_general_register(o->reg.value) : -1;
    return *ret_guest >= 0;
}

static bool emit_jmp(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    uint64_t target;
    if (direct_target(d, g, &target)) {
        bool follows = d->at + 1 < d->count; // form.c went on at the target
        if (!follows)
            bt_emit_link(d, target);
        return true;
    }
    int guest;
    BtAccess access;
    if (!indirect_operand(d, &guest, &access))
        return false;
    bt_emit_flags_begin(d);
    emit_target(d, guest, &access);
    emit_jump_lookup(d);
    emit_jump(&d->code);
    return true;
}

static BtAccess return_slot(const BtDraft *d, bool write)
{
    unsigned size = bt_draft_width(d);
    return bt_stack_access(d, VCPU_RSP, write ? -(int)size : 0, size, write);
}

// Stores the return address at `at`.
static void emit_return_address(BtDraft *d, HostMemory at, unsigned scratch)
{
    HostCode *c = &d->code;
    unsigned size = bt_draft_width(d);
    uint64_t rip = bt_draft_next_rip(d, bt_draft_insn(d));
    if (size == 4 || (int64_t)rip == (int32_t)rip) {
        host_op_memory(c, size, 0xc7, 0, at);
        host_32(c, (uint32_t)rip);
        bt_note_fixup(d, size == 4 ? BT_FIXUP_RIP_U32 : BT_FIXUP_RIP_S32);
    } else {
        bt_emit_of_rip(d, scratch, rip);
        host_store(c, size, at, scratch);
    }
    host_lea(c, size, HOST_GUEST_RSP, host_based(HOST_GUEST_RSP, -(int)size));
}

static bool emit_call(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    HostCode *c = &d->code;
    if (!bt_stack_is_plain(d))
        return false;
    uint64_t target;
    HostMemory at;
    BtAccess slot = return_slot(d, true);
    if (direct_target(d, g, &target)) {
        bt_emit_flags_begin(d);
        bt_emit_access(d, &slot, &at);
        emit_return_address(d, at, HOST_T3);
        bt_emit_link(d, target);
        return true;
    }
    int guest;
    BtAccess access;
    if (!indirect_operand(d, &guest, &access))
        return false;
    // The look-up first: the target may lie where the return address goes.
    bt_emit_flags_begin(d);
    emit_target(d, guest, &access);
    emit_jump_lookup(d);
    host_load(c, 8, HOST_T3, jump_entry(offsetof(BtJump, code)));
    host_store(c, 8, HOST_CPU(unit_target), HOST_T3);
    bt_emit_access(d, &slot, &at);
    emit_return_address(d, at, HOST_T3);
    host_op_memory(c, 4, 0xff, 4, HOST_CPU(unit_target)); // jmp
    return true;
}

static bool emit_ret(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    HostCode *c = &d->code;
    if (!bt_stack_is_plain(d))
        return false;
    unsigned size = bt_draft_width(d);
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    int drop = o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
                       o->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT
                   ? (uint16_t)o->imm.value.u
                   : 0;
    HostMemory at;
    BtAccess slot = return_slot(d, false);
    bt_emit_flags_begin(d);
    bt_emit_access(d, &slot, &at);
    host_load(c, size, HOST_T3, at);
    emit_jump_lookup(d);
    host_lea(c, size, HOST_GUEST_RSP, host_based(HOST_GUEST_RSP, (int)size + drop));
    emit_jump(c);
    return true;
}

bool bt_branch_known(const BtDraft *d, const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    return insn->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR && code_is_plain(d, g) &&
           (insn->mnemonic == ZYDIS_MNEMONIC_JMP || insn->mnemonic == ZYDIS_MNEMONIC_CALL ||
            insn->mnemonic == ZYDIS_MNEMONIC_RET);
}

bool bt_emit_branch(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || !code_is_plain(d, g))
        return false;
    uint64_t target;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_JMP: return emit_jmp(d);
    case ZYDIS_MNEMONIC_CALL: return emit_call(d);
    case ZYDIS_MNEMONIC_RET: return emit_ret(d);
    default:
        if (insn->meta.category != ZYDIS_CATEGORY_COND_BR || !is_jcc(insn) ||
            !direct_target(d, g, &target))
            return false;
        if (g->inverted)
            target = bt_draft_next_rip(d, g);
        bt_note_link(d, host_jump_if(&d->code, (insn->opcode & 15u) ^ g->inverted), target);
        return true;
    }
}
