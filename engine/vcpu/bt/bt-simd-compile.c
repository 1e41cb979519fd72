// SPDX-License-Identifier: GPL-2.0-or-later
// Turns a guest SIMD instruction into a few host instructions: load its registers from BtFpu into
// fixed host registers, execute the very same opcode on those, store what it wrote, and go on with
// the next BtInsn. Encodings follow the SDM vol. 2A, chapter 2.
//
// bt-emit.h tells what a form is. Host registers of the operands:
//   vector  implicit XMM0 -> 0, ModRM.reg -> 1, ModRM.rm -> 2, VEX.vvvv -> 3, imm8[7:4] -> 4
//   MMX     ModRM.reg -> 1, ModRM.rm -> 2
//   general ModRM.reg -> rax, ModRM.rm -> rcx, implicit ones -> themselves (then r8 takes over
//           the memory operand's address from rdx)
// None needs a REX or VEX extension bit.

#include "engine/vcpu/bt/bt-emit.h"

#include <stddef.h>
#include <string.h>

typedef enum { FILE_NONE, FILE_VECTOR, FILE_MMX, FILE_GENERAL } RegisterFile;

typedef struct {
    RegisterFile file;
    bool wide;        // YMM
    uint8_t guest, host;
    bool loads, stores;
} Operand;

typedef struct {
    BtEmitter out;
    bool vex, ymm, mmx, memory, stores_memory, flags, uses_rdx;
    int8_t reg, rm, vvvv, is4; // host numbers, -1: no such operand
    Operand operand[6];
    unsigned operands;
} Compiler;

static uint32_t operand_offset(const Operand *o)
{
    switch (o->file) {
    case FILE_VECTOR:
        return (uint32_t)(offsetof(BtCpu, fpu.vector) + 64 * o->guest);
    case FILE_MMX:
        return (uint32_t)(offsetof(BtCpu, fpu.st) + 16 * o->guest);
    case FILE_GENERAL:
    case FILE_NONE:
        break;
    }
    return (uint32_t)(offsetof(BtCpu, gpr) + 8 * o->guest);
}

// Between a host register and its place in BtCpu, [rdi + disp32].
static void emit_move(Compiler *c, const Operand *o, bool store)
{
    uint8_t modrm = (uint8_t)(0x87 | o->host << 3);
    if (o->file == FILE_GENERAL)
        EMIT(&c->out, 0x48, store ? 0x89 : 0x8b, modrm);
    else if (o->file == FILE_MMX)
        EMIT(&c->out, 0x0f, store ? 0x7f : 0x6f, modrm);
    else if (!c->vex)
        EMIT(&c->out, 0x0f, store ? 0x11 : 0x10, modrm);
    else // A store writes 32 bytes: VEX.128 has cleared the upper half.
        EMIT(&c->out, 0xc5, store || o->wide ? 0xfc : 0xf8, store ? 0x11 : 0x10, modrm);
    bt_emit32(&c->out, operand_offset(o));
    if (o->file == FILE_MMX && store) { // the exponent becomes all ones
        EMIT(&c->out, 0x66, 0xc7, 0x87);
        bt_emit32(&c->out, operand_offset(o) + 8);
        EMIT(&c->out, 0xff, 0xff);
    }
}

static int host_register(const ZydisDecodedOperand *o, RegisterFile file, unsigned guest)
{
    switch (o->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        return file == FILE_GENERAL ? 0 : 1;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        return file == FILE_GENERAL ? 1 : 2;
    case ZYDIS_OPERAND_ENCODING_NDSNDD:
        return 3;
    case ZYDIS_OPERAND_ENCODING_IS4:
        return 4;
    case ZYDIS_OPERAND_ENCODING_NONE: // implicit: XMM0, rAX, rCX, rDX
        return (int)guest;
    default:
        return -1;
    }
}

static RegisterFile register_file(ZydisRegister reg, bool *wide)
{
    *wide = false;
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_YMM:
        *wide = true;
        return FILE_VECTOR;
    case ZYDIS_REGCLASS_XMM:
        return FILE_VECTOR;
    case ZYDIS_REGCLASS_MMX:
        return FILE_MMX;
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return FILE_GENERAL;
    default:
        return FILE_NONE;
    }
}

// Notes what the operand needs; false where this scheme cannot express it.
static bool take_operand(Compiler *c, const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return true;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        c->memory = true;
        c->stores_memory = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        return o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
    }
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegister reg = o->reg.value;
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_FLAGS) {
        c->flags = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        return true;
    }
    if (reg == ZYDIS_REGISTER_MXCSR)
        return true;
    bool wide;
    RegisterFile file = register_file(reg, &wide);
    unsigned guest = (unsigned)ZydisRegisterGetId(reg);
    int host = host_register(o, file, guest);
    if (file == FILE_NONE || host < 0 || guest > 15 || c->operands == G_N_ELEMENTS(c->operand))
        return false;
    if (o->encoding == ZYDIS_OPERAND_ENCODING_NONE &&
        (file == FILE_GENERAL ? guest > 2 : guest != 0))
        return false;
    if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
        c->reg = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
        c->rm = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
        c->vvvv = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_IS4)
        c->is4 = (int8_t)host;
    else if (file == FILE_GENERAL && guest == 2)
        c->uses_rdx = true;
    // Legacy instructions may leave parts of their destination alone, so that it is loaded as well.
    bool stores = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool merges = stores && !c->vex && file != FILE_GENERAL;
    bool loads = (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) || merges;
    c->ymm |= wide;
    c->mmx |= file == FILE_MMX;
    c->operand[c->operands++] = (Operand){.file = file, .wide = wide, .guest = (uint8_t)guest,
                                          .host = (uint8_t)host, .loads = loads, .stores = stores};
    return true;
}

bool bt_simd_w_is_width(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSS2SI:
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM:
        return true;
    default:
        return false;
    }
}

// Non-temporal stores become plain ones: the guest's fences are none to the host's write-combining
// buffers, and what the guest stores is often read by a device next.
static uint8_t host_opcode(const Compiler *c, const ZydisDecodedInstruction *insn)
{
    if (insn->opcode_map != ZYDIS_OPCODE_MAP_0F || !c->stores_memory ||
        (insn->opcode != 0x2b && insn->opcode != 0xe7))
        return insn->opcode;
    return c->mmx ? 0x7f : 0x29; // MOVQ or MOVAPS, MOVAPD
}

static bool emit_instruction(Compiler *c, const BtDecoded *d)
{
    const ZydisDecodedInstruction *insn = &d->insn;
    uint8_t extension = 0; // B: r8 addresses the memory operand
    uint8_t modrm = (uint8_t)((c->reg >= 0 ? c->reg : insn->raw.modrm.reg) << 3);
    if (c->memory) {
        extension = c->uses_rdx;
        modrm |= c->uses_rdx ? 0 : 2; // [r8] or [rdx]
    } else {
        modrm |= 0xc0 | (c->rm >= 0 ? c->rm : insn->raw.modrm.rm);
    }
    bool w = d->insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    if (c->vex) {
        w = insn->raw.vex.W && (w || !bt_simd_w_is_width(insn->mnemonic));
        EMIT(&c->out, 0xc4, (uint8_t)((extension ? 0xc0 : 0xe0) | insn->raw.vex.m_mmmm),
             (uint8_t)(w << 7 | (~(c->vvvv >= 0 ? c->vvvv : 0) & 15) << 3 | insn->raw.vex.L << 2 |
                       insn->raw.vex.pp),
             host_opcode(c, insn), modrm);
    } else {
        for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
            if (insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
                EMIT(&c->out, insn->raw.prefixes[i].value);
        }
        uint8_t rex = (uint8_t)((w && insn->raw.rex.W) << 3 | extension);
        if (rex)
            EMIT(&c->out, 0x40 | rex);
        EMIT(&c->out, 0x0f);
        if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F38)
            EMIT(&c->out, 0x38);
        else if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
            EMIT(&c->out, 0x3a);
        else if (insn->opcode_map != ZYDIS_OPCODE_MAP_0F)
            return false;
        EMIT(&c->out, host_opcode(c, insn), modrm);
    }
    if (c->is4 >= 0)
        EMIT(&c->out, (uint8_t)(c->is4 << 4 | (d->bytes[insn->length - 1] & 15)));
    else if (insn->raw.imm[0].size)
        EMIT(&c->out, d->bytes[insn->length - 1]);
    return true;
}

BtSimdCompiled bt_simd_compile(const BtDecoded *d, const BtInsn *insn, bool flat,
                               BtSimdForm *form)
{
    Compiler c = {.vex = d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX,
                  .reg = -1, .rm = -1, .vvvv = -1, .is4 = -1};
    BtEmitter *out = &c.out;
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        if (!take_operand(&c, &d->operand[i]))
            return BT_SIMD_UNKNOWN;
    }
    // MMX forms owe something to x87 afterwards, so they return to C (bt-simd-mmx.c).
    bool handler = !c.mmx && (!c.memory || flat);
    if (handler) {
        bt_emit_gate(out, insn->extra);
        if (c.memory)
            bt_emit_address(out, d->cpu, insn, c.stores_memory, false);
    }
    unsigned body = out->length;
    if (c.uses_rdx)
        EMIT(out, 0x49, 0x89, 0xd0); // mov r8, rdx
    for (unsigned i = 0; i < c.operands; i++) {
        if (c.operand[i].loads)
            emit_move(&c, &c.operand[i], false);
    }
    if (!emit_instruction(&c, d))
        return BT_SIMD_UNKNOWN;
    for (unsigned i = 0; i < c.operands; i++) {
        if (c.operand[i].stores)
            emit_move(&c, &c.operand[i], true);
    }
    if (c.flags)
        bt_emit_flags(out);
    if (c.ymm)
        EMIT(out, 0xc5, 0xf8, 0x77); // vzeroupper: the compiler's SSE code must not pay for ours
    if (c.mmx)
        EMIT(out, 0x0f, 0x77); // emms
    bt_emit_next(out);

    form->mmx = c.mmx;
    form->any = c.stores_memory ? bt_simd_with_destination
                : c.memory      ? bt_simd_with_source
                                : bt_simd_with_registers;
    if (handler)
        bt_emit_way_out(out, form->any);
    const BtSimd *simd = d->cpu->simd_private;
    uint8_t *code = bt_code_memory_add(simd->code, out->code, out->length);
    if (!code)
        return BT_SIMD_FULL;
    form->handler = handler ? (BtHandler *)code : form->any;
    form->body = code + body;
    form->stores = c.stores_memory;
    return BT_SIMD_COMPILED;
}
