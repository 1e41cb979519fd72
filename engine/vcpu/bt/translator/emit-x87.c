// SPDX-License-Identifier: GPL-2.0-or-later
// x87 instructions on the host's own x87 registers, which are the guest's while it masks every
// exception (bt-x87-host.c). Control instructions that change more than the status word are called
// out, FLDCW excepted, around which old compilers put every conversion to integer.
//
// FNSTENV and its kin tell where the last instruction was that computed. Nobody asks between two of
// them, so a unit notes only the last one before it can be left: at a way out that is often taken
// in the straight code (bt_emit_settle_x87), else in the cold code of the site. The operand's
// address is noted at once.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-x87-private.h"

enum { FWAIT = 0x9b };

// The opcode as FOP has it; FNSTCW and the like are told by first byte and ModRM.reg.
static unsigned fop_of(const BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    return (insn->opcode & 7u) << 8 | (unsigned)insn->raw.modrm.mod << 6 |
           (unsigned)insn->raw.modrm.reg << 3 | insn->raw.modrm.rm;
}

// Instructions that compute nothing, and that the host does the same way while all is masked.
static bool is_plain_control(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FLDCW:
        return true;
    default:
        return false;
    }
}

void bt_note_x87(BtGuestInsn *g)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (insn->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT ||
        insn->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return;
    if (insn->opcode == FWAIT ||
        (insn->opcode >= 0xd8 && insn->opcode <= 0xdf &&
         (is_plain_control(insn->mnemonic) || !bt_x87_control_handler(fop_of(g))))) {
        g->fpu = true;
        g->classes = BT_GATE_X87_FAST;
    }
}

// ---- The last instruction's place ----

static void store_selector(HostCode *c, unsigned segment, HostMemory to)
{
    host_op_memory(c, 4, 0x0fb7, HOST_T3, // movzx T3, word
                   HOST_CPU_AT(offsetof(BtCpu, segment) + segment * sizeof(BtSegment) +
                               offsetof(BtSegment, selector)));
    host_store(c, 2, to, HOST_T3);
}

void bt_emit_note_x87(BtDraft *d, BtX87Last last)
{
    HostCode *c = &d->code;
    if (!last.present)
        return;
    const BtGuestInsn *g = &d->insn[last.insn];
    bt_emit_of_rip(d, HOST_T3, bt_draft_rip(d, g));
    host_store(c, 8, HOST_CPU(fpu.instruction_pointer), HOST_T3);
    host_op_memory(c, 2, 0xc7, 0, HOST_CPU(fpu.opcode)); // mov word, fop
    uint16_t fop = (uint16_t)fop_of(g);
    host_bytes(c, &fop, sizeof fop);
    store_selector(c, VCPU_CS, HOST_CPU(fpu.instruction_selector));
    if (last.memory)
        store_selector(c, last.segment, HOST_CPU(fpu.data_selector));
}

void bt_emit_settle_x87(BtDraft *d)
{
    bt_emit_note_x87(d, d->x87_last);
    d->x87_last.present = d->x87_last.memory = false;
}

// [unit_address] = offset of the operand in its segment.
static void emit_offset(BtDraft *d, const BtAccess *a)
{
    HostCode *c = &d->code;
    HostMemory m = { .base = HOST_NONE, .index = HOST_NONE, .scale = a->scale,
                     .displacement = (int32_t)a->displacement };
    if (a->base == BT_REG_ZERO && a->index == BT_REG_ZERO) {
        uint64_t constant = (uint64_t)a->displacement;
        if (a->of_rip && a->address_size == 8)
            bt_emit_of_rip(d, HOST_T1, constant);
        else
            host_load_constant(c, HOST_T1, a->address_size == 8 ? constant : (uint32_t)constant);
        d->unit->fixed |= a->of_rip && a->address_size != 8;
    } else {
        if (a->base != BT_REG_ZERO)
            m.base = (uint8_t)bt_host_of(a->base);
        if (a->base != BT_REG_ZERO && m.base == HOST_NONE) {
            host_load(c, 8, HOST_T1, BT_GPR_AT(a->base));
            m.base = HOST_T1;
        }
        if (a->index != BT_REG_ZERO)
            m.index = (uint8_t)bt_host_of(a->index);
        if (a->index != BT_REG_ZERO && m.index == HOST_NONE) {
            host_load(c, 8, HOST_T2, BT_GPR_AT(a->index));
            m.index = HOST_T2;
        }
        host_lea(c, a->address_size, HOST_T1, m);
    }
    host_store(c, 8, HOST_CPU(fpu.unit_address), HOST_T1);
}

// ---- ----

// FLDCW of a word at `at`: to the interpreter where it unmasks something.
static void emit_fldcw(BtDraft *d, HostMemory at)
{
    HostCode *c = &d->code;
    host_op_memory(c, 4, 0x0fb7, HOST_T3, at);         // movzx T3, word
    host_alu_constant(c, 4, 4, HOST_T3, 0x1f3f);       // and
    host_alu_constant(c, 4, 1, HOST_T3, 0x40);         // or
    host_bytes(c, "\x41\xf6\xd6", 3);                  // not T3b
    host_bytes(c, "\x41\xf6\xc6\x3f", 4);              // test T3b, 3fh
    bt_emit_site(d, host_jump_if(c, HOST_NE), 0, 0, NULL);
    host_bytes(c, "\x41\xf6\xd6", 3);
    host_store(c, 2, HOST_CPU(fpu.control), HOST_T3);
    host_op_memory(c, 4, 0xd9, 5, HOST_CPU(fpu.control));
}

bool bt_emit_x87(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    if (!(g->classes & BT_GATE_X87_FAST))
        return false;
    bool memory = g->memory != 0xff, fldcw = insn->mnemonic == ZYDIS_MNEMONIC_FLDCW;
    bool computes = insn->opcode != FWAIT && !is_plain_control(insn->mnemonic);
    BtAccess access;
    if (memory && (!bt_access_of_operand(d, g, g->memory, &access) || access.segment > VCPU_GS))
        return false;

    HostCode *c = &d->code;
    HostMemory at;
    if (memory || bt_opens(d)) {
        bt_emit_flags_begin(d);
        bt_emit_open(d);
        if (memory) {
            if (computes)
                emit_offset(d, &access);
            bt_emit_access(d, &access, &at);
        }
        if (fldcw)
            emit_fldcw(d, at);
        bt_emit_flags_end(d, HOST_T3);
    }
    if (insn->opcode == FWAIT || fldcw)
        return true;
    if (memory) {
        host_op_memory(c, 4, insn->opcode, insn->raw.modrm.reg, at);
    } else {
        host_byte(c, insn->opcode);
        host_byte(c, 0xc0 | insn->raw.modrm.reg << 3 | insn->raw.modrm.rm);
    }
    if (!computes)
        return true;
    d->x87_last.present = true;
    d->x87_last.insn = (uint16_t)d->at;
    if (memory) {
        host_load(c, 8, HOST_T3, HOST_CPU(fpu.unit_address));
        host_store(c, 8, HOST_CPU(fpu.data_pointer), HOST_T3);
        d->x87_last.memory = true;
        d->x87_last.segment = access.segment;
    }
    return true;
}
