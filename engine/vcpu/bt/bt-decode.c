// SPDX-License-Identifier: GPL-2.0-or-later
// From guest bytes to BtInsn: Zydis decodes (for the architecture), then the guest's CPUID and mode
// decide whether the instruction exists (bt-decode-table.c), then a family gives the handler. Zydis
// knows the limit of 15 bytes and which instructions LOCK is legal for, and says apart "no such
// instruction" and "more bytes needed".
#include "engine/vcpu/bt/bt-decode.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-select.h"

#include <string.h>

#define INSN_MAX 15

static void raise_undefined(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_raise(cpu, BT_UD);
}

static void raise_too_long(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_raise_error(cpu, BT_GP, 0);
}

static unsigned choose_decoder(const BtCpu *cpu)
{
    if (cpu->code_bits == 64)
        return BT_DECODER_LONG;
    if (cpu->mode == BT_MODE_COMPAT)
        return cpu->code_bits == 32 ? BT_DECODER_COMPAT_32 : BT_DECODER_COMPAT_16;
    if (cpu->code_bits == 32)
        return BT_DECODER_32;
    return cpu->mode == BT_MODE_PROTECTED ? BT_DECODER_16 : BT_DECODER_REAL;
}

static uint8_t segment_number(ZydisRegister reg)
{
    switch (reg) {
    case ZYDIS_REGISTER_ES: return VCPU_ES;
    case ZYDIS_REGISTER_CS: return VCPU_CS;
    case ZYDIS_REGISTER_SS: return VCPU_SS;
    case ZYDIS_REGISTER_FS: return VCPU_FS;
    case ZYDIS_REGISTER_GS: return VCPU_GS;
    default: return VCPU_DS;
    }
}

// BT_REG_ZERO for no register and for vector index registers.
static uint8_t address_register(ZydisRegister reg)
{
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
        return BT_REG_RIP;
    int number = bt_general_register(reg);
    return number >= 0 && number < 16 ? (uint8_t)number : BT_REG_ZERO;
}

void bt_select_memory(const ZydisDecodedOperand *operand, BtInsn *out)
{
    const ZydisDecodedOperandMem *mem = &operand->mem;
    out->segment = segment_number(mem->segment);
    out->base = address_register(mem->base);
    out->index = address_register(mem->index);
    out->scale = mem->scale == 8 ? 3 : mem->scale == 4 ? 2 : mem->scale == 2 ? 1 : 0;
    out->displacement = mem->disp.has_displacement ? mem->disp.value : 0;
    out->rip_relative = out->base == BT_REG_RIP;
    if (out->rip_relative)
        out->displacement += out->offset + out->length;
    out->memory_size = operand->size / 8 <= 128 ? (uint8_t)(operand->size / 8) : 0;
}

bool bt_decode_stores(const BtDecoded *d)
{
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *operand = &d->operand[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            return true;
    }
    return false;
}

static void fill(const BtDecoded *d, BtInsn *out)
{
    out->length = d->insn.length;
    out->mnemonic = (uint16_t)d->insn.mnemonic;
    out->operand_size = (uint8_t)(d->insn.operand_width / 8);
    out->address_bits = d->insn.address_width;
    out->base = out->index = BT_REG_ZERO;
    out->segment = VCPU_DS;
    memcpy(out->bytes, d->bytes, d->insn.length);
    if (d->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK)
        out->flags |= BT_INSN_LOCK;
    if (d->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        out->flags |= BT_INSN_REP;
    if (d->insn.attributes & ZYDIS_ATTRIB_HAS_REPNE)
        out->flags |= BT_INSN_REPNE;
    if (bt_decode_stores(d))
        out->flags |= BT_INSN_STORES;

    bool immediate = false;
    for (unsigned i = 0; i < d->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &d->operand[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && !(out->flags & BT_INSN_HAS_MEMORY)) {
            out->flags |= BT_INSN_HAS_MEMORY;
            bt_select_memory(operand, out);
        } else if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && !immediate) {
            immediate = true;
            out->immediate = operand->imm.value.u;
        }
    }
}

// Families in the order that bt-insn.h promises.
static bool select_family(const BtDecoded *d, BtInsn *out)
{
    if (bt_select_integer(d, out))
        return true;
    if (bt_select_system(d, out)) {
        if (!bt_decode_harmless(d))
            out->flags |= BT_INSN_ENDS_BLOCK;
        return true;
    }
    return bt_select_x87(d, out) || bt_select_simd(d, out);
}

static void set_raise(BtInsn *out, BtHandler *handler, unsigned length)
{
    out->handler = handler;
    out->length = length < 1 ? 1 : length > INSN_MAX ? INSN_MAX : (uint8_t)length;
    out->flags = BT_INSN_ENDS_BLOCK;
    out->base = out->index = BT_REG_ZERO;
}

void bt_decoders_init(BtDecoders *decoders, const CpuidModel *model)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    } modes[BT_DECODERS] = {
        [BT_DECODER_REAL] = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
        [BT_DECODER_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
        [BT_DECODER_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
        [BT_DECODER_COMPAT_16] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16},
        [BT_DECODER_COMPAT_32] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32},
        [BT_DECODER_LONG] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    };
    decoders->features = 0;
    decoders->cache = NULL;
    for (unsigned i = 0; i < CPU_FEATURE_COUNT; i++) {
        if (cpuid_model_has(model, i))
            decoders->features |= UINT64_C(1) << i;
    }
    bool lzcnt = decoders->features & CPU_FEATURE_BIT(LZCNT);
    bool tzcnt = decoders->features & CPU_FEATURE_BIT(BMI1);
    for (unsigned i = 0; i < BT_DECODERS; i++) {
        ZydisDecoder *decoder = &decoders->decoder[i];
        ZydisDecoderInit(decoder, modes[i].mode, modes[i].stack);
        // Without the feature the prefix is ignored: BSR, BSF, or a wide NOP.
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_LZCNT, lzcnt);
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_TZCNT, tzcnt);
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_MPX, false);
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_CET, false);
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_WBNOINVD, false);
        ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_CLDEMOTE, false);
    }
}

// With an address size of 32 bits in 64-bit code, Zydis 4.0 takes SIB.base 5 for R13D where REX.B
// is set and mod is 0, though it means a displacement and no base there as everywhere.
static void mend_base(BtDecoded *d)
{
    if (!(d->insn.attributes & ZYDIS_ATTRIB_HAS_SIB) || d->insn.raw.modrm.mod != 0 ||
        d->insn.raw.sib.base != 5 || d->insn.address_width == 16)
        return;
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        ZydisDecodedOperand *operand = &d->operand[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY ||
            operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
            continue;
        operand->mem.base = ZYDIS_REGISTER_NONE;
        operand->mem.disp.has_displacement = true;
        operand->mem.disp.value = d->insn.raw.disp.value;
    }
}

// PAUSE is only where REX.B is 0: else XCHG with R8, whatever the prefixes.
static bool mend_pause(const ZydisDecoder *decoder, BtDecoded *d)
{
    if (d->insn.mnemonic != ZYDIS_MNEMONIC_PAUSE || !d->insn.raw.rex.B)
        return true;
    uint8_t bytes[INSN_MAX];
    unsigned length = d->insn.length;
    for (unsigned i = 0; i < length; i++)
        bytes[i] = d->bytes[i] == 0xf3 || d->bytes[i] == 0xf2 ? 0x3e : d->bytes[i];
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, length, &d->insn, d->operand));
}

// An instruction that raises something keeps the bytes that decided so, for bt-cache.c to compare:
// more may have changed than the first.
static void set_undecodable(const ZydisDecoder *decoder, const uint8_t *bytes, unsigned available,
                            BtInsn *out)
{
    ZydisDecodedInstruction insn;
    unsigned length = 1;
    while (length < MIN(available, INSN_MAX) &&
           ZydisDecoderDecodeInstruction(decoder, NULL, bytes, length, &insn) ==
               ZYDIS_STATUS_NO_MORE_DATA)
        length++;
    set_raise(out, raise_undefined, length);
    memcpy(out->bytes, bytes, length);
}

// As Zydis says, its mistakes mended. *ret_known: the guest has it.
static ZyanStatus decode_full(const BtDecoders *decoders, unsigned which, const uint8_t *bytes,
                              unsigned available, BtDecoded *d, bool *ret_known)
{
    BtDecodeKey key;
    bool keyed = decoders->cache && which >= BT_DECODER_32 && which != BT_DECODER_COMPAT_16 &&
                 bt_decode_key(which == BT_DECODER_LONG, which, bytes, available, &key);
    if (keyed && bt_decode_cache_get(decoders->cache, key, bytes, available, &d->insn, d->operand,
                                     ret_known))
        return ZYAN_STATUS_SUCCESS;
    const ZydisDecoder *decoder = &decoders->decoder[which];
    ZyanStatus status = ZydisDecoderDecodeFull(decoder, bytes, available, &d->insn, d->operand);
    if (ZYAN_FAILED(status))
        return status;
    mend_base(d);
    *ret_known = mend_pause(decoder, d) && bt_decode_allowed(decoders, &d->insn);
    if (keyed)
        bt_decode_cache_put(decoders->cache, key, &d->insn, d->operand, *ret_known);
    return status;
}

bool bt_decode_operands(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes,
                        unsigned available, BtDecoded *ret_decoded, bool *ret_known)
{
    ret_decoded->bytes = bytes;
    ret_decoded->cpu = cpu;
    return ZYAN_SUCCESS(decode_full(decoders, choose_decoder(cpu), bytes, available, ret_decoded,
                                    ret_known));
}

bool bt_decode(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes, unsigned available,
               BtInsn *out)
{
    BtDecoded d;
    d.bytes = bytes;
    d.cpu = cpu;
    unsigned which = choose_decoder(cpu);
    bool known;
    ZyanStatus status = decode_full(decoders, which, bytes, available, &d, &known);
    if (status == ZYDIS_STATUS_NO_MORE_DATA && available < INSN_MAX)
        return false;
    if (ZYAN_SUCCESS(status)) {
        fill(&d, out);
        if (known && select_family(&d, out))
            return true;
        set_raise(out, raise_undefined, d.insn.length);
    } else if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA) {
        set_raise(out, raise_too_long, INSN_MAX);
        memcpy(out->bytes, bytes, INSN_MAX);
    } else {
        set_undecodable(&decoders->decoder[which], bytes, available, out);
    }
    return true;
}
