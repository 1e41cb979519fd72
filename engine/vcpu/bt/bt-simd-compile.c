// SPDX-License-Identifier: GPL-2.0-or-later
// Turns a guest SIMD instruction into a few host instructions: load its registers from BtFpu into
// fixed host registers, execute the very same opcode on those, store what it wrote, and go on with
// the next BtInsn. Encodings follow the SDM vol. 2A, chapter 2.
//
// A form sees: rdi = BtCpu, rsi = BtInsn, rdx = host address of the memory operand. It may change
// what the System V ABI lets a function change, and uses no stack. Its host registers:
//   vector  implicit XMM0 -> 0, ModRM.reg -> 1, ModRM.rm -> 2, VEX.vvvv -> 3, imm8[7:4] -> 4
//   MMX     ModRM.reg -> 1, ModRM.rm -> 2
//   general ModRM.reg -> rax, ModRM.rm -> rcx, implicit ones -> themselves (then r8 takes over
//           the memory operand's address from rdx)
// None needs a REX or VEX extension bit.

#include "engine/vcpu/bt/bt-simd-private.h"

#include <stddef.h>
#include <string.h>

enum { CODE_SIZE = 256 };

typedef enum { FILE_NONE, FILE_VECTOR, FILE_MMX, FILE_GENERAL } RegisterFile;

typedef struct {
    RegisterFile file;
    bool wide;        // YMM
    uint8_t guest, host;
    bool loads, stores;
} Operand;

typedef struct {
    uint8_t code[CODE_SIZE];
    unsigned length;
    bool vex, ymm, mmx, memory, stores_memory, flags, uses_rdx;
    int8_t reg, rm, vvvv, is4; // host numbers, -1: no such operand
    Operand operand[6];
    unsigned operands;
} Emitter;

static void emit(Emitter *e, const uint8_t *bytes, unsigned count)
{
    g_assert(e->length + count <= CODE_SIZE); // at most 6 operands of 9 bytes, see build
    memcpy(e->code + e->length, bytes, count);
    e->length += count;
}

#define EMIT(e, ...) emit(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void emit32(Emitter *e, uint32_t value)
{
    emit(e, (const uint8_t *)&value, sizeof value);
}

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
static void emit_move(Emitter *e, const Operand *o, bool store)
{
    uint8_t modrm = (uint8_t)(0x87 | o->host << 3);
    if (o->file == FILE_GENERAL)
        EMIT(e, 0x48, store ? 0x89 : 0x8b, modrm);
    else if (o->file == FILE_MMX)
        EMIT(e, 0x0f, store ? 0x7f : 0x6f, modrm);
    else if (!e->vex)
        EMIT(e, 0x0f, store ? 0x11 : 0x10, modrm);
    else // A store writes 32 bytes: VEX.128 has cleared the upper half.
        EMIT(e, 0xc5, store || o->wide ? 0xfc : 0xf8, store ? 0x11 : 0x10, modrm);
    emit32(e, operand_offset(o));
    if (o->file == FILE_MMX && store) { // the exponent becomes all ones
        EMIT(e, 0x66, 0xc7, 0x87);
        emit32(e, operand_offset(o) + 8);
        EMIT(e, 0xff, 0xff);
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
static bool take_operand(Emitter *e, const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return true;
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        e->memory = true;
        e->stores_memory = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        return o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
    }
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegister reg = o->reg.value;
    if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_FLAGS) {
        e->flags = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        return true;
    }
    if (reg == ZYDIS_REGISTER_MXCSR)
        return true;
    bool wide;
    RegisterFile file = register_file(reg, &wide);
    unsigned guest = (unsigned)ZydisRegisterGetId(reg);
    int host = host_register(o, file, guest);
    if (file == FILE_NONE || host < 0 || guest > 15 || e->operands == G_N_ELEMENTS(e->operand))
        return false;
    if (o->encoding == ZYDIS_OPERAND_ENCODING_NONE &&
        (file == FILE_GENERAL ? guest > 2 : guest != 0))
        return false;
    if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
        e->reg = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
        e->rm = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
        e->vvvv = (int8_t)host;
    else if (o->encoding == ZYDIS_OPERAND_ENCODING_IS4)
        e->is4 = (int8_t)host;
    else if (file == FILE_GENERAL && guest == 2)
        e->uses_rdx = true;
    // Legacy instructions may leave parts of their destination alone, so that it is loaded as well.
    bool stores = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    bool loads = (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) || (stores && !e->vex && file != FILE_GENERAL);
    e->ymm |= wide;
    e->mmx |= file == FILE_MMX;
    e->operand[e->operands++] = (Operand){.file = file, .wide = wide, .guest = (uint8_t)guest,
                                          .host = (uint8_t)host, .loads = loads, .stores = stores};
    return true;
}

// VEX.W and REX.W choose the width of a general register only in 64-bit mode; elsewhere the host,
// which is in 64-bit mode, must see 0.
static bool w_is_width(ZydisMnemonic mnemonic)
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

static bool emit_instruction(Emitter *e, const BtDecoded *d)
{
    const ZydisDecodedInstruction *insn = &d->insn;
    uint8_t extension = 0; // B: r8 addresses the memory operand
    uint8_t modrm = (uint8_t)((e->reg >= 0 ? e->reg : insn->raw.modrm.reg) << 3);
    if (e->memory) {
        extension = e->uses_rdx;
        modrm |= e->uses_rdx ? 0 : 2; // [r8] or [rdx]
    } else {
        modrm |= 0xc0 | (e->rm >= 0 ? e->rm : insn->raw.modrm.rm);
    }
    bool w = d->insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    if (e->vex) {
        w = insn->raw.vex.W && (w || !w_is_width(insn->mnemonic));
        EMIT(e, 0xc4, (uint8_t)((extension ? 0xc0 : 0xe0) | insn->raw.vex.m_mmmm),
             (uint8_t)(w << 7 | (~(e->vvvv >= 0 ? e->vvvv : 0) & 15) << 3 | insn->raw.vex.L << 2 |
                       insn->raw.vex.pp),
             insn->opcode, modrm);
    } else {
        for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
            if (insn->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY)
                EMIT(e, insn->raw.prefixes[i].value);
        }
        uint8_t rex = (uint8_t)((w && insn->raw.rex.W) << 3 | extension);
        if (rex)
            EMIT(e, 0x40 | rex);
        EMIT(e, 0x0f);
        if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F38)
            EMIT(e, 0x38);
        else if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
            EMIT(e, 0x3a);
        else if (insn->opcode_map != ZYDIS_OPCODE_MAP_0F)
            return false;
        EMIT(e, insn->opcode, modrm);
    }
    if (e->is4 >= 0)
        EMIT(e, (uint8_t)(e->is4 << 4 | (d->bytes[insn->length - 1] & 15)));
    else if (insn->raw.imm[0].size)
        EMIT(e, d->bytes[insn->length - 1]);
    return true;
}

BtSimdCompiled bt_simd_compile(const BtDecoded *d, unsigned gate, BtSimdForm *form)
{
    Emitter e = {.vex = d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX,
                 .reg = -1, .rm = -1, .vvvv = -1, .is4 = -1};
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        if (!take_operand(&e, &d->operand[i]))
            return BT_SIMD_UNKNOWN;
    }
    // Only forms that never come back to C can be handlers themselves.
    bool handler = !e.memory && !e.flags && !e.mmx;
    unsigned shut = 0;
    if (handler) { // test byte [rdi + gate], bit; jz slow
        EMIT(&e, 0xf6, 0x87);
        emit32(&e, offsetof(BtCpu, fpu.gate));
        EMIT(&e, (uint8_t)gate, 0x0f, 0x84);
        shut = e.length;
        emit32(&e, 0);
    }
    unsigned body = e.length;
    if (e.uses_rdx)
        EMIT(&e, 0x49, 0x89, 0xd0); // mov r8, rdx
    for (unsigned i = 0; i < e.operands; i++) {
        if (e.operand[i].loads)
            emit_move(&e, &e.operand[i], false);
    }
    if (!emit_instruction(&e, d))
        return BT_SIMD_UNKNOWN;
    for (unsigned i = 0; i < e.operands; i++) {
        if (e.operand[i].stores)
            emit_move(&e, &e.operand[i], true);
    }
    if (e.ymm)
        EMIT(&e, 0xc5, 0xf8, 0x77); // vzeroupper: the compiler's SSE code must not pay for ours
    if (e.mmx)
        EMIT(&e, 0x0f, 0x77); // emms
    if (e.flags)
        EMIT(&e, 0x9f, 0x0f, 0x90, 0xc0, 0xc3); // lahf; seto al; ret
    else
        EMIT(&e, 0x48, 0x83, 0xc6, sizeof(BtInsn), 0xff, 0x26); // add rsi, 64; jmp [rsi]
    if (handler) {
        uint32_t distance = e.length - (shut + 4);
        memcpy(e.code + shut, &distance, sizeof distance);
        uint64_t slow = (uintptr_t)bt_simd_slow;
        EMIT(&e, 0x48, 0xb8); // mov rax, bt_simd_slow; jmp rax
        emit(&e, (const uint8_t *)&slow, sizeof slow);
        EMIT(&e, 0xff, 0xe0);
    }
    const BtSimd *simd = d->cpu->simd_private;
    uint8_t *code = bt_code_memory_add(simd->code, e.code, e.length);
    if (!code)
        return BT_SIMD_FULL;
    *form = (BtSimdForm){.handler = handler ? code : NULL, .body = code + body, .flags = e.flags,
                         .mmx = e.mmx, .stores = e.stores_memory};
    return BT_SIMD_COMPILED;
}

G_STATIC_ASSERT(offsetof(BtInsn, handler) == 0);
G_STATIC_ASSERT(sizeof(BtInsn) < 128);
