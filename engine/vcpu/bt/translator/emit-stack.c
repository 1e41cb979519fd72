// SPDX-License-Identifier: GPL-2.0-or-later
// PUSH, POP and LEAVE on a flat stack as wide as the mode. The access comes before RSP changes, so
// that a fault finds it as it was.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

static void move_stack(BtDraft *d, int by)
{
    host_lea(&d->code, bt_draft_width(d), HOST_GUEST_RSP, host_based(HOST_GUEST_RSP, by));
}

static bool emit_push(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    HostCode *c = &d->code;
    unsigned size = g->decoded.insn.operand_width / 8;
    int guest = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? bt_general_register(o->reg.value) : -1;
    bool memory = o->type == ZYDIS_OPERAND_TYPE_MEMORY;
    BtAccess source;
    if (guest < 0 && !memory && o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return false;
    if (memory && !bt_access_of_operand(d, g, 0, &source))
        return false;

    HostMemory at;
    bt_emit_flags_begin(d);
    if (memory) {
        bt_emit_access(d, &source, &at);
        host_load(c, size, HOST_T3, at);
        host_store(c, size, HOST_CPU(unit_target), HOST_T3); // the second access may use T3
        d->held = HOST_NONE;
    }
    BtAccess access = bt_stack_access(d, VCPU_RSP, -(int)size, size, true);
    bt_emit_access(d, &access, &at);
    bt_emit_flags_end(d, HOST_T3);
    if (memory) {
        host_load(c, size, HOST_T3, HOST_CPU(unit_target));
        host_store(c, size, at, HOST_T3);
    } else if (guest >= 0) {
        unsigned from = bt_host_of((unsigned)guest);
        if (from == HOST_NONE) {
            from = HOST_T3;
            bt_emit_hold(d, (unsigned)guest);
        }
        host_store(c, size, at, from);
    } else {
        host_op_memory(c, size, 0xc7, 0, at);
        uint32_t value = (uint32_t)o->imm.value.u;
        host_bytes(c, &value, size == 2 ? 2 : 4);
    }
    move_stack(d, -(int)size);
    return true;
}

static bool emit_pop(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    HostCode *c = &d->code;
    unsigned size = g->decoded.insn.operand_width / 8;
    int guest = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? bt_general_register(o->reg.value) : -1;
    if (guest < 0 || (guest == VCPU_RSP && size == 2))
        return false;
    HostMemory at;
    BtAccess access = bt_stack_access(d, VCPU_RSP, 0, size, false);
    bt_emit_flags_begin(d);
    bt_emit_access(d, &access, &at);
    bt_emit_flags_end(d, HOST_T3);
    unsigned to = bt_host_of((unsigned)guest);
    if (to == HOST_NONE) {
        host_load(c, size, HOST_T3, at);
        host_store(c, size == 2 ? 2 : 8, BT_GPR_AT(guest), HOST_T3);
        d->held = size == 2 ? HOST_NONE : (uint8_t)guest;
    } else {
        host_load(c, size, to, at);
    }
    if (guest != VCPU_RSP)
        move_stack(d, (int)size);
    return true;
}

static bool emit_leave(BtDraft *d)
{
    HostCode *c = &d->code;
    unsigned size = bt_draft_width(d);
    if (bt_draft_insn(d)->decoded.insn.operand_width != 8 * size)
        return false;
    HostMemory at;
    BtAccess access = bt_stack_access(d, VCPU_RBP, 0, size, false);
    bt_emit_flags_begin(d);
    bt_emit_access(d, &access, &at);
    bt_emit_flags_end(d, HOST_T3);
    host_load(c, size, HOST_T3, at);
    d->held = HOST_NONE;
    host_lea(c, size, HOST_GUEST_RSP, host_based(HOST_RBP, (int)size));
    host_op_registers(c, size, 0x89, HOST_T3, HOST_RBP);
    return true;
}

bool bt_emit_stack(BtDraft *d)
{
    if (!bt_stack_is_plain(d))
        return false;
    switch (bt_draft_insn(d)->decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: return emit_push(d);
    case ZYDIS_MNEMONIC_POP: return emit_pop(d);
    case ZYDIS_MNEMONIC_LEAVE: return emit_leave(d);
    default: return false;
    }
}
