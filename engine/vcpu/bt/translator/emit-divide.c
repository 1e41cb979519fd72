// SPDX-License-Identifier: GPL-2.0-or-later
// DIV and IDIV of 32 and 64 bits. The host divides once it is sure that it will not raise #DE: an
// unsigned quotient fits where the dividend's high half is below the divisor (which is then not 0);
// a signed one where the high half is the low half's sign and the divisor neither 0 nor -1. The
// rest is the interpreter's, by a site.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"

bool bt_divide_known(const ZydisDecodedInstruction *insn)
{
    return (insn->mnemonic == ZYDIS_MNEMONIC_DIV || insn->mnemonic == ZYDIS_MNEMONIC_IDIV) &&
           insn->operand_width >= 32;
}

static void emit_unsigned_check(BtDraft *d, unsigned size, unsigned divisor)
{
    HostCode *c = &d->code;
    host_op_registers(c, size, 0x3b, HOST_RDX, divisor); // cmp rdx, divisor
    bt_emit_site(d, host_jump_if(c, HOST_AE), 0, 0, NULL);
}

static void emit_signed_check(BtDraft *d, unsigned size, unsigned divisor)
{
    HostCode *c = &d->code;
    host_op_registers(c, size, 0x89, HOST_RAX, HOST_T1);
    host_shift(c, size, 7, HOST_T1, 8 * size - 1); // sar
    host_op_registers(c, size, 0x3b, HOST_T1, HOST_RDX);
    bt_emit_site(d, host_jump_if(c, HOST_NE), 0, 0, NULL);
    host_lea(c, size, HOST_T1, host_based(divisor, 1));
    host_alu_constant(c, size, 7, HOST_T1, 1);
    bt_emit_site(d, host_jump_if(c, HOST_BE), 0, 0, NULL);
}

bool bt_emit_divide(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (!bt_divide_known(insn))
        return false;
    HostCode *c = &d->code;
    unsigned size = insn->operand_width / 8;
    bool is_signed = insn->mnemonic == ZYDIS_MNEMONIC_IDIV;
    const ZydisDecodedOperand *o = &g->decoded.operand[0];
    unsigned divisor = HOST_T3;
    BtAccess access;
    bool memory = g->memory == 0;
    if (memory && !bt_access_of_operand(d, g, 0, &access))
        return false;

    bt_emit_flags_begin(d);
    if (memory) {
        HostMemory at;
        bt_emit_access(d, &access, &at);
        host_load(c, size, HOST_T3, at);
        d->held = HOST_NONE;
    } else {
        unsigned guest = (unsigned)bt_general_register(o->reg.value);
        divisor = bt_host_of(guest);
        if (divisor == HOST_NONE) {
            divisor = HOST_T3;
            bt_emit_hold(d, guest);
        }
    }
    if (is_signed)
        emit_signed_check(d, size, divisor);
    else
        emit_unsigned_check(d, size, divisor);
    bt_emit_flags_end(d, HOST_T1);
    host_op_registers(c, size, 0xf7, is_signed ? 7 : 6, divisor);
    return true;
}
