// SPDX-License-Identifier: GPL-2.0-or-later
// Turns a guest SIMD instruction into a few host instructions: load its registers from BtFpu into
// fixed host registers, execute the very same opcode on those, store what it wrote, and go on with
// the next BtInsn. Encodings follow the SDM vol. 2A, chapter 2.
//
// A form's body sees: rdi = BtCpu, rsi = BtInsn, rdx = host address of the memory operand. It may
// change what the System V ABI lets a function change, and uses no stack. Its host registers:
//   vector  implicit XMM0 -> 0, ModRM.reg -> 1, ModRM.rm -> 2, VEX.vvvv -> 3, imm8[7:4] -> 4
//   MMX     ModRM.reg -> 1, ModRM.rm -> 2
//   general ModRM.reg -> rax, ModRM.rm -> rcx, implicit ones -> themselves (then r8 takes over
//           the memory operand's address from rdx)
// None needs a REX or VEX extension bit.
//
// In front of the body stands what makes the form a handler: the gate, and for a memory operand in
// a flat segment its address and the look-up in the TLB. Whatever does not hold there jumps to a
// handler in C that can do everything and then runs the body by itself.

#include "engine/vcpu/bt/bt-simd-private.h"

#include <stddef.h>
#include <string.h>

enum { CODE_SIZE = 384, JUMPS = 3 };

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
    unsigned jump[JUMPS], jumps; // where their 32-bit distances to the way out are
    bool vex, ymm, mmx, memory, stores_memory, flags, uses_rdx;
    int8_t reg, rm, vvvv, is4; // host numbers, -1: no such operand
    Operand operand[6];
    unsigned operands;
} Emitter;

static void emit(Emitter *e, const uint8_t *bytes, unsigned count)
{
    g_assert(e->length + count <= CODE_SIZE); // at most 6 operands of 17 bytes and 100 of the rest
    memcpy(e->code + e->length, bytes, count);
    e->length += count;
}

#define EMIT(e, ...) emit(e, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void emit32(Emitter *e, uint32_t value)
{
    emit(e, (const uint8_t *)&value, sizeof value);
}

// jz or jnz to the way out.
static void emit_way_out(Emitter *e, uint8_t condition)
{
    EMIT(e, 0x0f, condition);
    e->jump[e->jumps++] = e->length;
    emit32(e, 0);
}

enum { JZ = 0x84, JNZ = 0x85 };

static void emit_gate(Emitter *e, unsigned gate)
{
    EMIT(e, 0xf6, 0x87); // test byte [rdi + gate], bit
    emit32(e, offsetof(BtCpu, fpu.gate));
    EMIT(e, (uint8_t)gate);
    emit_way_out(e, JZ);
}

// rdx = host address of the memory operand (bt-handler.h, bt_flat_readable).
static void emit_address(Emitter *e, const BtDecoded *d, const BtInsn *insn, bool write)
{
    EMIT(e, 0x48, 0x8b, 0x87); // mov rax, [rdi + base]
    emit32(e, (uint32_t)(offsetof(BtCpu, gpr) + 8 * insn->base));
    if (insn->index != BT_REG_ZERO) {
        EMIT(e, 0x48, 0x8b, 0x8f); // mov rcx, [rdi + index]; lea rax, [rax + rcx * scale]
        emit32(e, (uint32_t)(offsetof(BtCpu, gpr) + 8 * insn->index));
        EMIT(e, 0x48, 0x8d, 0x04, (uint8_t)(insn->scale << 6 | 1 << 3));
    }
    EMIT(e, 0x48, 0x03, 0x46, offsetof(BtInsn, displacement)); // add rax, [rsi + displacement]
    if (d->cpu->mode != BT_MODE_LONG) {
        EMIT(e, 0x48, 0x23, 0x87); // and rax, [rdi + flat_mask]
        emit32(e, offsetof(BtCpu, flat_mask));
    }
    EMIT(e, 0x48, 0x8d, 0x48, (uint8_t)(insn->memory_size - 1)); // lea rcx, [rax + size - 1]
    EMIT(e, 0x48, 0x89, 0xc2, 0x48, 0xc1, 0xea, 0x06);           // mov rdx, rax; shr rdx, 6
    EMIT(e, 0x81, 0xe2);                                         // and edx, index mask
    emit32(e, (BT_TLB_SIZE - 1) << 6);
    EMIT(e, 0x48, 0x03, 0x97); // add rdx, [rdi + data_tlb]
    emit32(e, offsetof(BtCpu, data_tlb));
    EMIT(e, 0x48, 0x81, 0xe1, 0x00, 0xf0, 0xff, 0xff); // and rcx, -4096
    EMIT(e, 0x48, 0x3b, 0x4a,                          // cmp rcx, [rdx + tag]
         (uint8_t)(write ? offsetof(BtTlbEntry, write) : offsetof(BtTlbEntry, read)));
    emit_way_out(e, JNZ);
    if (insn->reg[2]) {
        EMIT(e, 0xa8, insn->reg[2]); // test al, alignment
        emit_way_out(e, JNZ);
    }
    EMIT(e, 0x48, 0x03, 0x42, offsetof(BtTlbEntry, addend)); // add rax, [rdx + addend]
    EMIT(e, 0x48, 0x89, 0xc2);                               // mov rdx, rax
}

static void emit_ways_out(Emitter *e, BtHandler *to)
{
    if (!e->jumps)
        return;
    for (unsigned i = 0; i < e->jumps; i++) {
        uint32_t distance = e->length - (e->jump[i] + 4);
        memcpy(e->code + e->jump[i], &distance, sizeof distance);
    }
    uint64_t address = (uintptr_t)to;
    EMIT(e, 0x48, 0xb8); // mov rax, to; jmp rax
    emit(e, (const uint8_t *)&address, sizeof address);
    EMIT(e, 0xff, 0xe0);
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
    bool merges = stores && !e->vex && file != FILE_GENERAL;
    bool loads = (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ) || merges;
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

// Non-temporal stores become plain ones: the guest's fences are none to the host's write-combining
// buffers, and what the guest stores is often read by a device next.
static uint8_t host_opcode(const Emitter *e, const ZydisDecodedInstruction *insn)
{
    if (insn->opcode_map != ZYDIS_OPCODE_MAP_0F || !e->stores_memory ||
        (insn->opcode != 0x2b && insn->opcode != 0xe7))
        return insn->opcode;
    return e->mmx ? 0x7f : 0x29; // MOVQ or MOVAPS, MOVAPD
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
             host_opcode(e, insn), modrm);
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
        EMIT(e, host_opcode(e, insn), modrm);
    }
    if (e->is4 >= 0)
        EMIT(e, (uint8_t)(e->is4 << 4 | (d->bytes[insn->length - 1] & 15)));
    else if (insn->raw.imm[0].size)
        EMIT(e, d->bytes[insn->length - 1]);
    return true;
}

BtSimdCompiled bt_simd_compile(const BtDecoded *d, const BtInsn *insn, bool flat,
                               BtSimdForm *form)
{
    Emitter e = {.vex = d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX,
                 .reg = -1, .rm = -1, .vvvv = -1, .is4 = -1};
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        if (!take_operand(&e, &d->operand[i]))
            return BT_SIMD_UNKNOWN;
    }
    // MMX forms owe something to x87 afterwards, so they return to C (bt-simd-mmx.c).
    bool handler = !e.mmx && (!e.memory || flat);
    if (handler) {
        emit_gate(&e, insn->extra);
        if (e.memory)
            emit_address(&e, d, insn, e.stores_memory);
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
    if (e.flags) { // lahf; seto al; mov [rdi + flags_status], ax: the form of bt-flags.h
        EMIT(&e, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x89, 0x87);
        emit32(&e, offsetof(BtCpu, flags_status));
    }
    if (e.ymm)
        EMIT(&e, 0xc5, 0xf8, 0x77); // vzeroupper: the compiler's SSE code must not pay for ours
    if (e.mmx)
        EMIT(&e, 0x0f, 0x77); // emms
    EMIT(&e, 0x48, 0x83, 0xc6, sizeof(BtInsn), 0xff, 0x26); // add rsi, 64; jmp [rsi]

    form->mmx = e.mmx;
    form->any = e.stores_memory ? bt_simd_with_destination
                : e.memory      ? bt_simd_with_source
                                : bt_simd_with_registers;
    if (handler)
        emit_ways_out(&e, form->any);
    const BtSimd *simd = d->cpu->simd_private;
    uint8_t *code = bt_code_memory_add(simd->code, e.code, e.length);
    if (!code)
        return BT_SIMD_FULL;
    form->handler = handler ? (BtHandler *)code : form->any;
    form->body = code + body;
    form->stores = e.stores_memory;
    return BT_SIMD_COMPILED;
}

G_STATIC_ASSERT(offsetof(BtInsn, handler) == 0);
G_STATIC_ASSERT(sizeof(BtInsn) == 64 && sizeof(BtTlbEntry) == 64);
G_STATIC_ASSERT(offsetof(BtTlb, entry) == 0);
G_STATIC_ASSERT(offsetof(BtInsn, displacement) < 128);
