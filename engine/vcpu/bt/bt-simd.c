// SPDX-License-Identifier: GPL-2.0-or-later
// SIMD instructions: MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA, AVX, AVX2, FMA, F16C. This file
// selects how one runs. Follows the SDM vol. 2, order 325383-080.
//
// The host executes them. At decode time an instruction is compiled once into a few host
// instructions (bt-simd-compile.c), a "form": load the operands from BtFpu, the guest's own opcode,
// store the results, jump to the next BtInsn's handler. A form is a handler itself, which for a
// memory operand looks it up in the TLB; what it cannot do (another segment, a TLB miss, an access
// over a page's end, an exception that is not masked) ends in a handler here that runs the form's
// body on what it found. The host therefore has to have what CPUID offers
// (cpuid_features_interpreter).
//
// A form may run only while its gate bit is set (bt-fpu.h); otherwise bt-simd-fp.c takes over. It
// is also there that floating-point exceptions which the guest did not mask are judged.
//
// Not here: masked moves and gathers (bt-simd-memory.c), what MMX does to x87 (bt-simd-mmx.c),
// MXCSR and state images (bt-xsave.c).

#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/bt/bt-simd-private.h"

#include <string.h>

enum { CODE_MEMORY = 16 << 20, SPARE_MEMORY = 16 << 10 };

static void stop(BtCpu *cpu, const BtInsn *insn)
{
}

const BtInsn bt_simd_stop[2] = {[1] = {.handler = stop}};

// Opens the gate of a floating-point form too; what still is shut then has exceptions unmasked.
static inline void require(BtCpu *cpu, const BtInsn *insn)
{
    if (!bt_simd_open(cpu, insn))
        bt_simd_gate(cpu, insn);
}

// ---- where compiled forms end up that cannot go on by themselves ----

void bt_simd_with_registers(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_simd_careful(cpu, insn, NULL);
    BT_NEXT(cpu, insn);
}

void bt_simd_with_source(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require(cpu, insn);
    void *memory = bt_simd_read(cpu, insn, insn->memory_size);
    if (bt_simd_open(cpu, insn)) {
        ((BtSimdBody *)insn->data)(cpu, insn, memory);
        return;
    }
    bt_simd_careful(cpu, insn, memory);
    BT_NEXT(cpu, insn);
}

void bt_simd_with_destination(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require(cpu, insn);
    void *memory = bt_simd_pointer(cpu, insn, insn->memory_size, true);
    if (memory && bt_simd_open(cpu, insn)) {
        ((BtSimdBody *)insn->data)(cpu, insn, memory);
        return;
    }
    uint64_t offset = bt_effective_address(cpu, insn);
    if (insn->extra & (BT_GATE_SSE_FP | BT_GATE_AVX_FP)) // a fault leaves no flags behind
        bt_probe_write(cpu, insn->segment, offset, insn->memory_size);
    bt_simd_careful(cpu, insn, cpu->fpu.buffer);
    bt_write_bytes(cpu, insn->segment, offset, cpu->fpu.buffer, insn->memory_size, 1);
    BT_NEXT(cpu, insn);
}

// An instruction whose form found no room: it is selected again for this one execution, in an arena
// that is emptied each time it is full.
static void overflow(BtCpu *cpu, const BtInsn *insn);

static void movnti(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    if (insn->memory_size == 8)
        bt_write64(cpu, insn->segment, offset, cpu->gpr[insn->reg[1]]);
    else
        bt_write32(cpu, insn->segment, offset, (uint32_t)cpu->gpr[insn->reg[1]]);
    BT_NEXT(cpu, insn);
}

static void vzeroupper(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    require(cpu, insn);
    unsigned count = cpu->mode == BT_MODE_LONG ? 16 : 8;
    unsigned from = insn->mnemonic == ZYDIS_MNEMONIC_VZEROALL ? 0 : 16;
    for (unsigned i = 0; i < count; i++)
        memset(cpu->fpu.vector[i] + from, 0, 32 - from);
    BT_NEXT(cpu, insn);
}

// ---- selection ----

static bool is_vector(const ZydisDecodedOperand *o)
{
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
    return c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM;
}

static bool is_mmx(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_MMX;
}

static bool is_floating(const BtDecoded *d)
{
    switch (d->insn.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
        return true;
    default:
        break;
    }
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_CVTPI2PS:
    case ZYDIS_MNEMONIC_CVTPI2PD:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    // No exceptions, but hosts differ in whether DAZ and FTZ act.
    case ZYDIS_MNEMONIC_RCPPS:
    case ZYDIS_MNEMONIC_RCPSS:
    case ZYDIS_MNEMONIC_RSQRTPS:
    case ZYDIS_MNEMONIC_RSQRTSS:
    case ZYDIS_MNEMONIC_VRCPPS:
    case ZYDIS_MNEMONIC_VRCPSS:
    case ZYDIS_MNEMONIC_VRSQRTPS:
    case ZYDIS_MNEMONIC_VRSQRTSS:
        return true;
    default:
        return false;
    }
}

static bool is_ours(const ZydisDecodedInstruction *insn)
{
    switch (insn->meta.isa_ext) {
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_SHA:
        return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX2GATHER:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_F16C:
        return insn->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
    default:
        return false;
    }
}

// Legacy instructions want their 16-byte operands aligned, but for the unaligned moves and string
// comparison. VEX took the rule away, but for the aligned moves. SHA: Intel's want alignment, AMD's
// (seen on Zen 5) do not.
static bool wants_alignment(const BtDecoded *d, unsigned size)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
        return false;
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA:
        return true;
    default:
        return size == 16 && d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
               d->insn.meta.isa_ext != ZYDIS_ISA_EXT_SHA;
    }
}

// What an unmasked underflow has to look at (bt-simd-fp.c).
static uint64_t result_kind(const BtDecoded *d)
{
    switch (d->insn.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
        break;
    default:
        return 0;
    }
    const char *name = ZydisMnemonicGetString(d->insn.mnemonic);
    name += *name == 'v';
    // Only these compute; the others compare, choose, round or convert without loss of range.
    static const char *const computing[] = {"add", "sub", "mul", "div", "hadd", "hsub", "dpp",
                                            "fm", "fnm", "cvtsd2ss", "cvtpd2ps"};
    if (d->insn.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH)
        return BT_SIMD_TINY16 | (uint64_t)(d->operand[1].size / 16) << 8;
    for (unsigned i = 0; i < G_N_ELEMENTS(computing); i++) {
        if (!g_str_has_prefix(name, computing[i]))
            continue;
        bool scalar = d->insn.meta.exception_class == ZYDIS_EXCEPTION_CLASS_SSE3 ||
                      d->insn.meta.exception_class == ZYDIS_EXCEPTION_CLASS_AVX3 ||
                      g_str_has_suffix(name, "ss") || g_str_has_suffix(name, "sd");
        bool wide = ZydisRegisterGetClass(d->operand[0].reg.value) == ZYDIS_REGCLASS_YMM;
        bool single = g_str_has_suffix(name, "ps") || g_str_has_suffix(name, "ss");
        return (single ? BT_SIMD_TINY32 : BT_SIMD_TINY64) | (scalar ? BT_SIMD_SCALAR : 0) |
               (wide ? 32u : 16u) << 8;
    }
    return 0;
}

static unsigned gate_of(const BtDecoded *d)
{
    bool floating = is_floating(d), vector = false;
    if (d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        return floating ? BT_GATE_AVX_FP : BT_GATE_AVX;
    for (unsigned i = 0; i < d->insn.operand_count; i++)
        vector |= is_vector(&d->operand[i]);
    if (!vector && !floating)
        return BT_GATE_MMX;
    return floating ? BT_GATE_SSE_FP : BT_GATE_SSE;
}

// Masked moves and gathers access some elements only.
static bool is_masked(const ZydisDecodedInstruction *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
        return true;
    default:
        return insn->meta.isa_ext == ZYDIS_ISA_EXT_AVX2GATHER;
    }
}

// Of 8 registers in the narrower modes, where the host has 16.
static bool clears_all(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_VZEROALL || mnemonic == ZYDIS_MNEMONIC_VZEROUPPER;
}

unsigned bt_simd_class(const BtDecoded *d, unsigned *ret_alignment)
{
    bool vector = false;
    if (!is_ours(&d->insn) || is_masked(&d->insn))
        return 0;
    *ret_alignment = 0;
    for (unsigned i = 0; i < d->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &d->operand[i];
        if (is_mmx(o))
            return 0;
        vector |= is_vector(o);
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && wants_alignment(d, o->size / 8))
            *ret_alignment = o->size / 8 - 1;
    }
    if (clears_all(d->insn.mnemonic) ? d->cpu->mode != BT_MODE_LONG : !vector)
        return 0;
    if (d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
        (d->cpu->mode == BT_MODE_REAL || d->cpu->mode == BT_MODE_V86))
        return 0;
    return gate_of(d);
}

static bool select_compiled(const BtDecoded *d, BtInsn *out)
{
    const ZydisDecodedOperand *memory = NULL;
    bool mmx = false;
    uint64_t mmx_result = 0;
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &d->operand[i];
        mmx |= is_mmx(o);
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY)
            memory = o;
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        if (is_vector(o))
            out->reg[0] = (uint8_t)ZydisRegisterGetId(o->reg.value);
        else if (is_mmx(o))
            mmx_result = BT_SIMD_MMX | (uint64_t)ZydisRegisterGetId(o->reg.value)
                                           << BT_SIMD_MMX_SHIFT;
        else if (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR32 ||
                 ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR64)
            out->reg[1] = (uint8_t)ZydisRegisterGetId(o->reg.value);
    }
    out->immediate = result_kind(d) | mmx_result;
    if (memory) {
        out->memory_size = (uint8_t)(memory->size / 8);
        out->reg[2] = wants_alignment(d, out->memory_size) ? out->memory_size - 1 : 0;
    }
    BtSimdForm form;
    switch (bt_simd_compile(d, out, memory && bt_select_is_flat(d, out), &form)) {
    case BT_SIMD_UNKNOWN:
        return false;
    case BT_SIMD_FULL:
        ((BtSimd *)d->cpu->simd_private)->full = true;
        out->handler = overflow;
        return true;
    case BT_SIMD_COMPILED:
        break;
    }
    out->data = form.body;
    out->handler = form.handler;
    if (mmx)
        bt_simd_select_mmx(&form, out);
    return true;
}

bool bt_select_simd(const BtDecoded *d, BtInsn *out)
{
    if (bt_select_xsave(d, out))
        return true;
    if (!is_ours(&d->insn) || !d->cpu->simd_private)
        return false;
    if (d->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
        (d->cpu->mode == BT_MODE_REAL || d->cpu->mode == BT_MODE_V86))
        return false;
    out->reg[0] = out->reg[1] = BT_SIMD_NO_REGISTER;
    out->reg[2] = 0;
    out->immediate = 0;
    out->extra = (uint8_t)gate_of(d);
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MOVNTI:
        out->reg[1] = (uint8_t)ZydisRegisterGetId(d->operand[1].reg.value);
        out->memory_size = (uint8_t)(d->operand[0].size / 8);
        out->handler = movnti;
        return true;
    case ZYDIS_MNEMONIC_VZEROALL:
    case ZYDIS_MNEMONIC_VZEROUPPER:
        out->handler = vzeroupper;
        return true;
    default:
        break;
    }
    return bt_select_emms(d, out) || bt_select_simd_masked(d, out) || select_compiled(d, out);
}

static BT_APART void overflow_body(BtCpu *cpu, const BtInsn *insn)
{
    BtSimd *simd = cpu->simd_private;
    BtDecoded d = {.cpu = cpu, .bytes = insn->bytes};
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder,
                     cpu->code_bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                     : cpu->code_bits == 32 ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32
                                            : ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                     cpu->code_bits == 64   ? ZYDIS_STACK_WIDTH_64
                     : cpu->code_bits == 32 ? ZYDIS_STACK_WIDTH_32
                                            : ZYDIS_STACK_WIDTH_16);
    BT_BEGIN(cpu, insn);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, insn->bytes, insn->length, &d.insn,
                                             d.operand)))
        bt_raise(cpu, BT_UD);
    BtInsn *alone = simd->overflow;
    BtCodeMemory *blocks = simd->code;
    alone[0] = *insn;
    alone[1] = bt_simd_stop[1];
    simd->code = simd->spare;
    bool selected = bt_select_simd(&d, &alone[0]);
    if (selected && alone[0].handler == overflow) {
        bt_code_memory_reset(simd->spare);
        selected = bt_select_simd(&d, &alone[0]);
    }
    simd->code = blocks;
    if (!selected)
        bt_raise(cpu, BT_UD);
    alone[0].handler(cpu, alone);
}

static void overflow(BtCpu *cpu, const BtInsn *insn)
{
    overflow_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

bool bt_simd_create(BtCpu *cpu, GError **error)
{
    g_autofree BtSimd *simd = g_new0(BtSimd, 1);
    simd->code = bt_code_memory_new(CODE_MEMORY, error);
    if (!simd->code)
        return false;
    simd->spare = bt_code_memory_new(SPARE_MEMORY, error);
    if (!simd->spare) {
        bt_code_memory_free(simd->code);
        return false;
    }
    cpu->simd_private = g_steal_pointer(&simd);
    return true;
}

void bt_simd_destroy(BtCpu *cpu)
{
    BtSimd *simd = g_steal_pointer(&cpu->simd_private);
    if (!simd)
        return;
    bt_code_memory_free(simd->code);
    bt_code_memory_free(simd->spare);
    g_free(simd);
}

void bt_simd_flushed(BtCpu *cpu)
{
    BtSimd *simd = cpu->simd_private;
    if (simd && simd->full) {
        bt_code_memory_reset(simd->code);
        simd->full = false;
    }
}

bool bt_simd_wants_flush(const BtCpu *cpu)
{
    const BtSimd *simd = cpu->simd_private;
    return simd && simd->full;
}
