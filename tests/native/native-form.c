// SPDX-License-Identifier: GPL-2.0-or-later
// See native-form.h. Two byte patterns are one form where Zydis decodes them to the same mnemonic,
// opcode and kinds of operands; bytes that it refuses are one form for each opcode, prefix and kind
// of operand.
#include "tests/native/native-form.h"

#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/vcpu-backend.h"

#include <string.h>

static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };

const ZydisDecoder *native_forms_decoder(const NativeForms *forms, bool mode_32)
{
    return mode_32 ? &forms->decoder_32 : &forms->decoder_64;
}

bool native_form_comparable(const NativeForms *forms, const ZydisDecodedInstruction *insn,
                            const ZydisDecodedOperand *operands)
{
    if (!bt_decode_allowed(&forms->guest, insn))
        return false;
    switch (insn->mnemonic) {
    // The kernel's, or the hypervisor's.
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSENTER:
    case ZYDIS_MNEMONIC_SYSRET:
    case ZYDIS_MNEMONIC_SYSEXIT:
    // The kernel emulates them in user code (UMIP).
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    // Answers that differ from machine to machine or from moment to moment.
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDPMC:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
    case ZYDIS_MNEMONIC_XGETBV:
        return false;
    case ZYDIS_MNEMONIC_INT:
        return operands[0].imm.value.u != 0x80; // Linux's system call
    default:
        break;
    }
    // EDX:EAX says what to save: it must not be an address.
    bool xsave = insn->meta.category == ZYDIS_CATEGORY_XSAVE ||
                 insn->meta.category == ZYDIS_CATEGORY_XSAVEOPT;
    if (!xsave || operands[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
        return true;
    int base = bt_general_register(operands[0].mem.base);
    int index = bt_general_register(operands[0].mem.index);
    return base != 0 && base != 2 && index != 0 && index != 2;
}

// What makes two instructions the same form.
static uint64_t form_key(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands,
                         const NativeForm *form)
{
    uint64_t key = insn->mnemonic;
#define MIX(x) (key = (key ^ (uint64_t)(x)) * UINT64_C(0x9e3779b97f4a7c15), key ^= key >> 29)
    MIX(form->mode_32);
    MIX(insn->encoding);
    MIX(insn->opcode_map << 8 | insn->opcode);
    MIX(insn->avx.vector_length);
    for (unsigned i = 0; i < insn->operand_count; i++) {
        const ZydisDecodedOperand *o = &operands[i];
        MIX(o->type);
        MIX(o->size << 4 | o->visibility);
        MIX(o->encoding);
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER)
            MIX(ZydisRegisterGetClass(o->reg.value));
    }
    return key;
}

static uint64_t invalid_key(const NativeForm *form)
{
    uint64_t key = 1;
    MIX(form->mode_32);
    MIX(form->map << 8 | form->opcode);
    MIX(form->vex << 8 | form->prefix);
    MIX(form->modrm >= 0xc0 && !form->vex);
#undef MIX
    return key;
}

// The shortest instruction of the form.
static unsigned encode(const NativeForm *form, uint8_t *bytes)
{
    unsigned n = 0;
    if (form->vex) {
        uint8_t pp = form->prefix == 0x66 ? 1 : form->prefix == 0xf3 ? 2 : form->prefix == 0xf2 ? 3
                                                                                                : 0;
        bytes[n++] = 0xc4;
        bytes[n++] = (uint8_t)(0xe0 | form->map);
        bytes[n++] = (uint8_t)(form->w << 7 | 0x78 | form->l << 2 | pp);
    } else {
        if (form->prefix)
            bytes[n++] = form->prefix;
        if (form->w)
            bytes[n++] = 0x48;
        if (form->map != NATIVE_MAP_BASE)
            bytes[n++] = 0x0f;
        if (form->map > NATIVE_MAP_0F)
            bytes[n++] = form->map == NATIVE_MAP_0F38 ? 0x38 : 0x3a;
    }
    bytes[n++] = form->opcode;
    bytes[n++] = form->modrm;
    memset(bytes + n, 0, 15 - n);
    return 15;
}

static NativeKind kind_of(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(operands[i].reg.value)) {
        case ZYDIS_REGCLASS_X87: return NATIVE_KIND_X87;
        case ZYDIS_REGCLASS_MMX: return NATIVE_KIND_X87;
        case ZYDIS_REGCLASS_XMM:
        case ZYDIS_REGCLASS_YMM: return NATIVE_KIND_VECTOR;
        default: break;
        }
    }
    bool x87 = insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && insn->opcode >= 0xd8 &&
               insn->opcode <= 0xdf;
    return x87 ? NATIVE_KIND_X87 : NATIVE_KIND_INTEGER;
}

static bool try_form(NativeForms *forms, GHashTable *seen, NativeForm *form)
{
    uint8_t bytes[15];
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    unsigned length = encode(form, bytes);
    ZyanStatus status = ZydisDecoderDecodeFull(native_forms_decoder(forms, form->mode_32), bytes,
                                               length, &insn, operands);
    form->invalid = !ZYAN_SUCCESS(status);
    form->has_modrm = form->invalid || (insn.attributes & ZYDIS_ATTRIB_HAS_MODRM);
    uint64_t key = form->invalid ? invalid_key(form) : form_key(&insn, operands, form);
    if (!g_hash_table_add(seen, g_memdup2(&key, sizeof key)))
        return form->has_modrm;
    form->kind = form->invalid ? NATIVE_KIND_INTEGER : kind_of(&insn, operands);
    form->mnemonic = form->invalid ? 0 : (uint16_t)insn.mnemonic;
    if (form->invalid)
        g_array_append_val(forms->invalid, *form);
    else if (!bt_decode_allowed(&forms->guest, &insn))
        g_array_append_val(forms->absent, *form);
    else if (native_form_comparable(forms, &insn, operands))
        g_array_append_val(forms->forms, *form);
    else
        forms->left_out++;
    return form->has_modrm;
}

// Whether ModRM.rm chooses the instruction where mod is 3.
static bool rm_is_opcode(const NativeForm *form)
{
    return !form->vex && ((form->map == NATIVE_MAP_BASE && form->opcode >= 0xd8 &&
                           form->opcode <= 0xdf) ||
                          (form->map == NATIVE_MAP_0F && (form->opcode == 0x01 ||
                                                          form->opcode == 0xae)));
}

static void walk_modrm(NativeForms *forms, GHashTable *seen, NativeForm form)
{
    bool rm = rm_is_opcode(&form);
    for (unsigned reg = 0; reg < 8; reg++) {
        form.fixed_reg = true; // cleared below where it is an operand
        form.fixed_rm = false;
        // [rdi] in the memory form: RSP's and RBP's places mean other things.
        form.modrm = (uint8_t)(reg << 3 | 7);
        if (!try_form(forms, seen, &form))
            return;
        form.fixed_rm = rm;
        for (unsigned i = 0; i < (rm ? 8 : 1); i++) {
            form.modrm = (uint8_t)(0xc0 | reg << 3 | i);
            try_form(forms, seen, &form);
        }
    }
}

static bool is_prefix(const NativeForm *form)
{
    switch (form->opcode) {
    case 0x0f: case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66:
    case 0x67: case 0xf0: case 0xf2: case 0xf3:
        return true;
    case 0x62: case 0xc4: case 0xc5: // EVEX and VEX; in 32-bit code also BOUND, LES and LDS
        return !form->mode_32;
    default:
        return !form->mode_32 && form->opcode >= 0x40 && form->opcode <= 0x4f;
    }
}

static void walk_mode(NativeForms *forms, GHashTable *seen, bool mode_32)
{
    for (unsigned i = 0; i < 2 * 4 * 4 * 2 * 2 * 256; i++) {
        NativeForm form = { .mode_32 = mode_32, .opcode = i & 255, .l = i >> 8 & 1, .w = i >> 9 & 1,
                            .prefix = prefixes[i >> 10 & 3], .map = i >> 12 & 3,
                            .vex = i >> 14 & 1 };
        bool exists = form.vex ? form.map > 0 : !form.l && !(form.w && mode_32);
        if (!exists || (!form.vex && form.map == NATIVE_MAP_BASE && is_prefix(&form)))
            continue;
        if (!form.vex && form.map == NATIVE_MAP_0F && (form.opcode == 0x38 || form.opcode == 0x3a))
            continue;
        walk_modrm(forms, seen, form);
    }
}

// ModRM.reg of a form is free where another value gives the same form.
static void find_free_registers(NativeForms *forms)
{
    for (unsigned i = 0; i < forms->forms->len; i++) {
        NativeForm *form = &g_array_index(forms->forms, NativeForm, i);
        if (!form->has_modrm)
            continue;
        uint8_t bytes[15];
        ZydisDecodedInstruction insn;
        ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
        NativeForm other = *form;
        other.modrm ^= 1 << 3;
        encode(form, bytes);
        const ZydisDecoder *decoder = native_forms_decoder(forms, form->mode_32);
        ZydisDecoderDecodeFull(decoder, bytes, 15, &insn, operands);
        uint64_t key = form_key(&insn, operands, form);
        encode(&other, bytes);
        form->fixed_reg = !ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, 15, &insn,
                                                               operands)) ||
                          form_key(&insn, operands, form) != key;
    }
}

static void keep_only(NativeForms *forms, const char *mnemonic)
{
    g_array_set_size(forms->invalid, 0);
    g_array_set_size(forms->absent, 0);
    for (unsigned i = forms->forms->len; i--;) {
        const NativeForm *form = &g_array_index(forms->forms, NativeForm, i);
        if (g_strcmp0(ZydisMnemonicGetString(form->mnemonic), mnemonic) != 0)
            g_array_remove_index_fast(forms->forms, i);
    }
}

NativeForms *native_forms_new(const char *only)
{
    NativeForms *forms = g_new0(NativeForms, 1);
    CpuidModel model;
    cpuid_model_build(&model, vcpu_backend_interpreter.features(), 1, 1000000000);
    bt_decoders_init(&forms->guest, &model);
    forms->decoder_64 = forms->guest.decoder[BT_DECODER_LONG];
    forms->decoder_32 = forms->guest.decoder[BT_DECODER_COMPAT_32];
    forms->forms = g_array_new(FALSE, FALSE, sizeof(NativeForm));
    forms->invalid = g_array_new(FALSE, FALSE, sizeof(NativeForm));
    forms->absent = g_array_new(FALSE, FALSE, sizeof(NativeForm));
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    walk_mode(forms, seen, false);
    walk_mode(forms, seen, true);
    find_free_registers(forms);
    if (only)
        keep_only(forms, only);
    return forms;
}

void native_forms_free(NativeForms *forms)
{
    g_array_unref(forms->forms);
    g_array_unref(forms->invalid);
    g_array_unref(forms->absent);
    g_free(forms);
}
