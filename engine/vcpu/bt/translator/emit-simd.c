// SPDX-License-Identifier: GPL-2.0-or-later
// SIMD instructions on the host's own registers: the guest's XMM n and YMM n are the host's
// (residency.c), so an instruction is encoded again only for its general registers and its memory
// operand. Not here, so called out: MMX registers, masked moves and gathers, MXCSR and images of
// the state. Encodings: SDM vol. 2A, chapter 2.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/bt/bt-simd-private.h"

// Numbers of host registers in the fields of the encoding; -1: the field is no register.
typedef struct {
    int reg, rm, vvvv, is4;
    int demoted;         // guest register that T3 stands for, -1: none
    bool loads, stores;  // T3
    bool memory;
    HostMemory at;
} Fields;

static bool is_movnti(const BtGuestInsn *g)
{
    return g->decoded.insn.mnemonic == ZYDIS_MNEMONIC_MOVNTI;
}

void bt_note_simd(BtGuestInsn *g)
{
    unsigned alignment = 0;
    g->classes = (uint8_t)bt_simd_class(&g->decoded, &alignment);
    g->alignment = (uint8_t)alignment;
    g->fpu = g->classes || is_movnti(g);
}

static int host_number(const ZydisDecodedOperand *o, Fields *f)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(o->reg.value);
    if (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM) {
        int number = ZydisRegisterGetId(o->reg.value);
        return number < 16 ? number : -1;
    }
    int guest = bt_general_register(o->reg.value);
    if (guest < 0 || guest >= 16)
        return -1;
    unsigned host = bt_host_of((unsigned)guest);
    if (host != HOST_NONE)
        return (int)host;
    if (f->demoted >= 0 && f->demoted != guest)
        return -1;
    f->demoted = guest;
    f->loads |= (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
    f->stores |= (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    return HOST_T3;
}

static bool take_operands(const BtGuestInsn *g, Fields *f)
{
    for (unsigned i = 0; i < g->decoded.insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &g->decoded.operand[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (i != g->memory || o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
                return false;
            f->memory = true;
            continue;
        }
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || o->encoding == ZYDIS_OPERAND_ENCODING_NONE)
            continue;
        int number = host_number(o, f);
        if (number < 0)
            return false;
        switch (o->encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: f->reg = number; break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: f->rm = number; break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: f->vvvv = number; break;
        case ZYDIS_OPERAND_ENCODING_IS4: f->is4 = number; break;
        default: return false;
        }
    }
    return true;
}

// Non-temporal stores become plain ones: the guest's fences are none to the host's write-combining
// buffers, and what the guest stores is often read by a device next.
static unsigned host_opcode(const ZydisDecodedInstruction *insn, const Fields *f)
{
    bool map_0f = insn->opcode_map == ZYDIS_OPCODE_MAP_0F;
    return map_0f && f->memory && (insn->opcode == 0x2b || insn->opcode == 0xe7) ? 0x29
                                                                                : insn->opcode;
}

static void emit_instruction(HostCode *c, const BtGuestInsn *g, const Fields *f)
{
    const ZydisDecodedInstruction *insn = &g->decoded.insn;
    bool long_mode = insn->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    unsigned reg = f->reg >= 0 ? (unsigned)f->reg : insn->raw.modrm.reg;
    unsigned rm = f->rm >= 0 ? (unsigned)f->rm : insn->raw.modrm.rm;
    unsigned rex = (reg >> 3 & 1) << 2 | (f->memory ? host_memory_rex(f->at) : rm >> 3 & 1);
    if (insn->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        bool w = insn->raw.vex.W && (long_mode || !bt_simd_w_is_width(insn->mnemonic));
        unsigned vvvv = f->vvvv >= 0 ? (unsigned)f->vvvv : 0;
        unsigned low = (~vvvv & 15) << 3 | insn->raw.vex.L << 2 | insn->raw.vex.pp;
        if (!w && !(rex & 3) && insn->raw.vex.m_mmmm == 1) {
            host_byte(c, 0xc5);
            host_byte(c, (rex & 4 ? 0u : 0x80u) | low);
        } else {
            host_byte(c, 0xc4);
            host_byte(c, (~rex & 7) << 5 | insn->raw.vex.m_mmmm);
            host_byte(c, (unsigned)w << 7 | low);
        }
    } else {
        for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
            if (insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
                host_byte(c, insn->raw.prefixes[i].value);
        }
        rex |= (unsigned)(long_mode && insn->raw.rex.W) << 3;
        if (rex)
            host_byte(c, 0x40 | rex);
        host_byte(c, 0x0f);
        if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F38)
            host_byte(c, 0x38);
        else if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
            host_byte(c, 0x3a);
    }
    host_byte(c, host_opcode(insn, f));
    if (f->memory)
        host_modrm(c, reg, f->at);
    else if (insn->attributes & ZYDIS_ATTRIB_HAS_MODRM)
        host_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
    unsigned last = g->decoded.bytes[insn->length - 1];
    if (f->is4 >= 0)
        host_byte(c, (unsigned)f->is4 << 4 | (last & 15));
    else if (insn->raw.imm[0].size)
        host_byte(c, last);
}

bool bt_emit_simd(BtDraft *d)
{
    BtGuestInsn *g = bt_draft_insn(d);
    Fields f = { .reg = -1, .rm = -1, .vvvv = -1, .is4 = -1, .demoted = -1 };
    bool movnti = is_movnti(g);
    BtAccess access;
    if (!(g->classes & BT_GATE_SIMD) && !movnti)
        return false;
    if (!take_operands(g, &f) ||
        (f.memory && !bt_access_of_operand(d, g, g->memory, &access)))
        return false;

    HostCode *c = &d->code;
    if (f.memory || bt_opens(d)) {
        bt_emit_flags_begin(d);
        bt_emit_open(d);
        if (f.memory) {
            access.alignment = g->alignment;
            bt_emit_access(d, &access, &f.at);
        }
        bt_emit_flags_end(d, HOST_T3);
    }
    if (f.loads)
        host_load(c, 8, HOST_T3, BT_GPR_AT(f.demoted));
    if (movnti)
        host_store(c, access.size, f.at, (unsigned)f.reg);
    else
        emit_instruction(c, g, &f);
    if (f.stores)
        host_store(c, 8, BT_GPR_AT(f.demoted), HOST_T3);
    return true;
}
