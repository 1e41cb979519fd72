// SPDX-License-Identifier: GPL-2.0-or-later
// See native-generate.h. First come the bytes, then a state that suits them: Zydis says which
// memory operands they have, and the registers are chosen so that these lie in the window, often at
// the edge of a page.
#include "tests/native/native-generate.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-select.h"
#include "engine/vcpu/vcpu-state.h"

#include <string.h>

enum { FLAG_ARITHMETIC = 0x8d5, FLAG_DF = 0x400, FLAG_ID = 0x200000, FLAG_AC = 0x40000 };

typedef struct {
    NativeRandom random;
    const NativeForms *forms;
    const NativeForm *form;
    NativeCase *c;
    unsigned at; // where in the code the instruction is
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
} Generator;

static unsigned below(Generator *g, unsigned limit)
{
    return native_below(&g->random, limit);
}

static uint64_t random64(Generator *g)
{
    return native_random(&g->random);
}

// ---- Values ----

static uint64_t interesting_integer(Generator *g)
{
    static const uint64_t edges[] = {
        0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000,
        0xffffffff, UINT64_C(0x100000000), INT64_MAX, UINT64_C(1) << 63, UINT64_MAX,
        UINT64_MAX - 1, UINT64_C(0xffffffff80000000), UINT64_C(0x9999999999999999),
    };
    switch (below(g, 5)) {
    case 0: return edges[below(g, G_N_ELEMENTS(edges))];
    case 1: return (uint64_t)((int64_t)random64(g) >> below(g, 64));
    case 2: return random64(g) >> below(g, 64);
    case 3: return below(g, 70);
    default: return random64(g);
    }
}

// A float of the given format, of any class.
static uint64_t interesting_float(Generator *g, unsigned exponent_bits, unsigned mantissa_bits)
{
    uint64_t max = (UINT64_C(1) << exponent_bits) - 1, ones = (UINT64_C(1) << mantissa_bits) - 1;
    uint64_t exponent, mantissa;
    switch (below(g, 8)) {
    case 0: exponent = 0; break;
    case 1: exponent = max; break;
    case 2: exponent = max - 1; break;
    case 3: exponent = 1 + below(g, 30); break;
    case 4: exponent = random64(g); break;
    default: exponent = max / 2 + below(g, 70) - 5; break;
    }
    switch (below(g, 7)) {
    case 0: mantissa = 0; break;
    case 1: mantissa = 1; break;
    case 2: mantissa = ones; break;
    case 3: mantissa = UINT64_C(1) << (mantissa_bits - 1); break;
    case 4: mantissa = random64(g) << (mantissa_bits / 2); break;
    default: mantissa = random64(g); break;
    }
    return (random64(g) & 1) << (exponent_bits + mantissa_bits) |
           (exponent & max) << mantissa_bits | (mantissa & ones);
}

// 80 bits of any class: also unnormals, pseudo-denormals, pseudo-infinities.
static void interesting_extended(Generator *g, uint8_t *to)
{
    uint64_t mantissa = random64(g);
    uint16_t exponent;
    switch (below(g, 10)) {
    case 0: exponent = 0; break;
    case 1: exponent = 0x7fff; break;
    case 2: exponent = 0x7ffe; break;
    case 3: exponent = (uint16_t)(1 + below(g, 80)); break;
    case 4: exponent = (uint16_t)random64(g) & 0x7fff; break;
    case 5: exponent = (uint16_t)(0x3fff - 1023 - 60 + below(g, 120)); break;
    default: exponent = (uint16_t)(0x3fff - 5 + below(g, 75)); break;
    }
    switch (below(g, 8)) {
    case 0: mantissa = 0; break;
    case 1: mantissa = UINT64_C(1) << 63; break;
    case 2: mantissa = UINT64_MAX; break;
    case 3: mantissa = UINT64_C(3) << 62; break;
    case 4: mantissa = (mantissa | UINT64_C(1) << 63) & UINT64_MAX << 40; break;
    case 5: break;
    default: mantissa |= UINT64_C(1) << 63; break;
    }
    if (exponent == 0 && below(g, 4))
        mantissa &= INT64_MAX;
    le64_write(to, mantissa);
    le16_write(to + 8, exponent | (uint16_t)(random64(g) & 0x8000));
}

// Lanes of one kind, as instructions want them.
static void interesting_vector(Generator *g, uint8_t *to, unsigned size)
{
    unsigned kind = below(g, 8);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i += 8) {
        switch (kind) {
        case 0: value = random64(g); break;
        case 1: value = interesting_integer(g); break;
        case 2:
        case 3:
        case 4:
            value = interesting_float(g, 8, 23) | interesting_float(g, 8, 23) << 32;
            break;
        case 5:
            value = interesting_float(g, 5, 10) | interesting_float(g, 5, 10) << 16 |
                    interesting_float(g, 5, 10) << 32 | interesting_float(g, 5, 10) << 48;
            break;
        default: value = interesting_float(g, 11, 52); break;
        }
        le64_write(to + i, value);
    }
}

// ---- Code ----

static uint16_t selector(Generator *g)
{
    static const uint16_t usual[] = { NATIVE_DS, NATIVE_DS, NATIVE_CS_32, NATIVE_CS_64, 0, 3 };
    static const uint16_t all[] = { 1, 2, 7, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x1b, 0x20, 0x22, 0x28,
                                    0x29, 0x30, 0x34, 0x40, 0x48, 0x50, 0x63, 0x7b, 0x80,
                                    0xfffb };
    return below(g, 3) ? usual[below(g, G_N_ELEMENTS(usual))]
                       : all[below(g, G_N_ELEMENTS(all))];
}

static void put_immediate_edges(Generator *g)
{
    static const uint8_t edges[] = { 0, 1, 7, 8, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xff };
    for (unsigned i = 0; i < 2; i++) {
        const unsigned size = g->insn.raw.imm[i].size / 8;
        const unsigned at = g->at + g->insn.raw.imm[i].offset;
        if (!size || below(g, 2))
            continue;
        uint64_t value = interesting_integer(g);
        if (size == 1 && below(g, 2))
            value = edges[below(g, sizeof edges)];
        for (unsigned j = 0; j < size; j++)
            g->c->code[at + j] = (uint8_t)(value >> 8 * j);
    }
}

static unsigned put_modrm(Generator *g, uint8_t *bytes)
{
    const NativeForm *form = g->form;
    uint8_t modrm = form->modrm;
    if (!form->fixed_reg)
        modrm = (modrm & 0xc7) | (uint8_t)(below(g, 8) << 3);
    if (modrm >= 0xc0) {
        if (!form->fixed_rm)
            modrm = (modrm & 0xf8) | (uint8_t)below(g, 8);
    } else {
        modrm = (modrm & 0x38) | (uint8_t)(below(g, 3) << 6) | (uint8_t)below(g, 8);
    }
    bytes[0] = modrm;
    return 1;
}

static unsigned put_prefixes(Generator *g, uint8_t *bytes)
{
    static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
    const NativeForm *form = g->form;
    unsigned n = 0;
    if (below(g, 8) == 0)
        bytes[n++] = segments[below(g, sizeof segments)];
    if (below(g, 10) == 0)
        bytes[n++] = 0x67;
    if (!form->vex && form->prefix != 0x66 && below(g, 12) == 0)
        bytes[n++] = 0x66;
    if (!form->vex && !form->prefix && below(g, 16) == 0)
        bytes[n++] = below(g, 2) ? 0xf2 : 0xf3;
    if (!form->vex && below(g, form->modrm < 0xc0 ? 12 : 60) == 0)
        bytes[n++] = 0xf0;
    if (!form->vex && form->prefix)
        bytes[n++] = form->prefix;
    return n;
}

static unsigned put_opcode(Generator *g, uint8_t *bytes)
{
    const NativeForm *form = g->form;
    unsigned n = 0;
    uint8_t extensions = form->mode_32 ? 0 : (uint8_t)below(g, 8); // R X B
    if (form->vex) {
        uint8_t pp = form->prefix == 0x66 ? 1 : form->prefix == 0xf3 ? 2 : form->prefix == 0xf2 ? 3
                                                                                                : 0;
        uint8_t vvvv = below(g, 3) ? (uint8_t)below(g, 16) : 0;
        if (form->mode_32 && below(g, 4))
            vvvv &= 7;
        uint8_t last = (uint8_t)((~vvvv & 15) << 3 | form->l << 2 | pp);
        if (form->map == NATIVE_MAP_0F && !form->w && below(g, 2)) {
            bytes[n++] = 0xc5;
            bytes[n++] = (uint8_t)((extensions & 4 ? 0 : 0x80) | last);
        } else {
            bytes[n++] = 0xc4;
            bytes[n++] = (uint8_t)((extensions ^ 7) << 5 | form->map);
            bytes[n++] = (uint8_t)(form->w << 7 | last);
        }
    } else {
        if (!form->mode_32 && (form->w || below(g, 2)))
            bytes[n++] = 0x40 | (uint8_t)(form->w << 3) | extensions;
        if (form->map != NATIVE_MAP_BASE)
            bytes[n++] = 0x0f;
        if (form->map > NATIVE_MAP_0F)
            bytes[n++] = form->map == NATIVE_MAP_0F38 ? 0x38 : 0x3a;
    }
    bytes[n++] = form->opcode;
    return n;
}

static bool decode(Generator *g)
{
    const ZydisDecoder *decoder = native_forms_decoder(g->forms, g->c->mode_32);
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, g->c->code + g->at, 15, &g->insn,
                                               g->operands));
}

// A branch must not go back to where the case came from.
static void keep_branch_out(Generator *g)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!g->insn.raw.imm[i].is_relative)
            continue;
        int64_t value = g->insn.raw.imm[i].value.s;
        if (value < 0 && value >= -(int64_t)(g->at + g->insn.length))
            g->c->code[g->at + g->insn.raw.imm[i].offset] ^= 0x40;
    }
}

// One instruction of g->form at g->at. False: what came out cannot be compared.
static bool put_instruction(Generator *g)
{
    uint8_t *code = g->c->code + g->at;
    unsigned n = put_prefixes(g, code);
    n += put_opcode(g, code + n);
    if (g->form->has_modrm)
        n += put_modrm(g, code + n);
    for (unsigned i = n; i < 15; i++)
        code[i] = (uint8_t)random64(g);
    if (!decode(g)) {
        g->insn.length = 15;
        return g->form->invalid;
    }
    put_immediate_edges(g);
    if (!decode(g))
        return false;
    keep_branch_out(g);
    unsigned length = g->insn.length;
    if (!decode(g) || g->insn.length != length)
        return false;
    return g->c->absent ? !bt_decode_allowed(&g->forms->guest, &g->insn)
                        : native_form_comparable(g->forms, &g->insn, g->operands);
}

// Most cases are one instruction; the others add some, of the same kind more often than not: what
// one leaves for the next is then seen too.
static bool put_code(Generator *g)
{
    const GArray *forms = g->forms->forms;
    const NativeForm *first = g->form;
    bool alone = first->invalid || g->c->absent || below(g, 3);
    unsigned wanted = alone ? 1 : 2 + below(g, NATIVE_SEQUENCE - 1);
    unsigned done = 0;
    bool alike = below(g, 3);
    for (unsigned tries = 0; tries < 50 && done < wanted; tries++) {
        bool good = put_instruction(g);
        // The state is made for the first instruction alone, and XSAVE depends on RAX.
        bool xsave = g->at && (g->insn.meta.category == ZYDIS_CATEGORY_XSAVE ||
                               g->insn.meta.category == ZYDIS_CATEGORY_XSAVEOPT);
        if (good && !xsave) {
            g->at += g->insn.length;
            done++;
            if (first->invalid || g->insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
                break; // nothing but INT3 is there to be jumped to
        } else if (done == 0) {
            continue;
        }
        g->form = &g_array_index(forms, NativeForm, below(g, forms->len));
        for (unsigned i = 0; i < 100 && (g->form->mode_32 != first->mode_32 ||
                                         (alike && g->form->kind != first->kind)); i++)
            g->form = &g_array_index(forms, NativeForm, below(g, forms->len));
        if (g->form->mode_32 != first->mode_32)
            break;
    }
    g->c->length = (uint8_t)g->at;
    return done > 0;
}

// ---- State ----

static uint32_t interesting_address(Generator *g, unsigned size)
{
    static const uint32_t ends[] = { NATIVE_CONST + NATIVE_PAGE, NATIVE_CONST + NATIVE_PAGE,
                                     NATIVE_CONST, NATIVE_DATA + NATIVE_PAGE, NATIVE_DATA,
                                     NATIVE_STACK + NATIVE_PAGE };
    size = CLAMP(size, 1, 1024);
    switch (below(g, 12)) {
    case 0: // about an edge
    case 1: return ends[below(g, G_N_ELEMENTS(ends))] - size + below(g, 2 * size + 2) - 1;
    case 2: // right before an edge
        return ends[below(g, G_N_ELEMENTS(ends))] - size;
    case 3: // anywhere
        return NATIVE_DATA + below(g, NATIVE_STACK - NATIVE_DATA);
    case 4: // misaligned
        return NATIVE_DATA + 64 + below(g, 2 * NATIVE_PAGE - 1024);
    default: return NATIVE_DATA + 1024 + 32 * below(g, (2 * NATIVE_PAGE - 2048) / 32);
    }
}

static uint64_t segment_base(const Generator *g, ZydisRegister segment)
{
    if (g->c->mode_32)
        return 0;
    return segment == ZYDIS_REGISTER_FS   ? g->c->start.fs_base
           : segment == ZYDIS_REGISTER_GS ? g->c->start.gs_base
                                          : 0;
}

// Chooses registers, or the displacement where there is none, so that the operand is at `target`.
static void aim(Generator *g, const ZydisDecodedOperandMem *mem, uint32_t target)
{
    NativeCase *c = g->c;
    uint64_t *gpr = c->start.gpr;
    uint64_t wanted = target - segment_base(g, mem->segment);
    int64_t displacement = mem->disp.has_displacement ? mem->disp.value : 0;
    int base = bt_general_register(mem->base), index = bt_general_register(mem->index);
    unsigned scale = mem->scale ? mem->scale : 1;
    bool vector = index < 0 && mem->index != ZYDIS_REGISTER_NONE;
    if (base >= 0 && base < 16) {
        if (index >= 0 && index != base) {
            if (below(g, 3))
                gpr[index] = (uint64_t)(int64_t)(below(g, 64) - 32);
            wanted -= gpr[index] * scale;
        }
        gpr[base] = wanted - (uint64_t)displacement;
        if (index == base)
            gpr[base] /= 1 + scale;
    } else if (index >= 0 && index < 16) {
        gpr[index] = (wanted - (uint64_t)displacement) / scale;
    } else if (g->insn.raw.disp.size == 32) {
        if (mem->base == ZYDIS_REGISTER_RIP || mem->base == ZYDIS_REGISTER_EIP)
            wanted -= c->start.rip + g->at + g->insn.length;
        le32_write(c->code + g->at + g->insn.raw.disp.offset, (uint32_t)wanted);
    }
    if (vector) {
        // Elements near the base, so that most can be read.
        unsigned number = (unsigned)ZydisRegisterGetId(mem->index) & 15;
        uint8_t *low = c->start.xsave + 160 + 16 * number;
        uint8_t *high = c->start.xsave + 576 + 16 * number;
        unsigned step = below(g, 2) ? 8 : 4;
        for (unsigned i = 0; i < 16; i += step) {
            int64_t a = (int)below(g, 200) - 100, b = (int)below(g, 200) - 100;
            memcpy(low + i, &a, step);
            memcpy(high + i, &b, step);
        }
    }
}

static void patch(Generator *g, uint32_t address)
{
    NativeCase *c = g->c;
    if (c->patches == NATIVE_PATCHES)
        return;
    NativePatch *p = &c->patch[c->patches++];
    p->address = address;
    if (below(g, 4) == 0) {
        for (unsigned i = 0; i + 10 <= NATIVE_PATCH; i += 10)
            interesting_extended(g, p->bytes + i);
    } else if (below(g, 6) == 0) { // packed decimal, mostly
        for (unsigned i = 0; i < NATIVE_PATCH; i++)
            p->bytes[i] = (uint8_t)(below(g, 10) | below(g, 10) << 4);
    } else {
        interesting_vector(g, p->bytes, NATIVE_PATCH);
    }
}

static bool is_string(const ZydisDecodedInstruction *insn)
{
    return insn->meta.category == ZYDIS_CATEGORY_STRINGOP ||
           insn->meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
}

static void aim_operands(Generator *g)
{
    for (unsigned i = 0; i < g->insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &g->operands[i];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        unsigned size = o->size / 8;
        uint32_t target = interesting_address(g, size);
        if (ZydisRegisterGetLargestEnclosing(g->insn.machine_mode, o->mem.base) ==
                ZydisRegisterGetLargestEnclosing(g->insn.machine_mode, ZYDIS_REGISTER_ESP) &&
            below(g, 4))
            target = NATIVE_STACK + 1024 + 8 * below(g, 256);
        if (below(g, 40) == 0 && o->mem.base != ZYDIS_REGISTER_RIP)
            continue; // wherever the registers point
        aim(g, &o->mem, target);
        patch(g, target);
    }
    // The bit string of BT and its kin starts at the operand and goes where the register says.
    if (g->insn.mnemonic == ZYDIS_MNEMONIC_BT || g->insn.mnemonic == ZYDIS_MNEMONIC_BTS ||
        g->insn.mnemonic == ZYDIS_MNEMONIC_BTR || g->insn.mnemonic == ZYDIS_MNEMONIC_BTC) {
        int reg = bt_general_register(g->operands[1].reg.value);
        bool address = g->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                       (bt_general_register(g->operands[0].mem.base) == reg ||
                        bt_general_register(g->operands[0].mem.index) == reg);
        if (g->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER && !address && below(g, 5))
            g->c->start.gpr[reg & 15] = (uint64_t)(int64_t)((int)below(g, 2000) - 1000);
    }
    if (is_string(&g->insn) && below(g, 8))
        g->c->start.gpr[VCPU_RCX] = below(g, below(g, 2) ? 4 : 600);
}

// Instructions that take a selector get one that says something.
static void aim_selectors(Generator *g)
{
    static const ZydisMnemonic tests[] = { ZYDIS_MNEMONIC_LAR, ZYDIS_MNEMONIC_LSL,
                                           ZYDIS_MNEMONIC_VERR, ZYDIS_MNEMONIC_VERW };
    NativeCase *c = g->c;
    bool takes = false, far = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(tests); i++)
        takes |= g->insn.mnemonic == tests[i];
    for (unsigned i = 0; i < g->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &g->operands[i];
        takes |= o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_SEGMENT &&
                 (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
        far |= o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->size == g->insn.operand_width + 16u;
    }
    if (!takes && !(far && g->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE))
        return;
    unsigned at = far ? g->insn.operand_width / 8 : 0;
    for (unsigned i = 0; i < c->patches; i++)
        le16_write(c->patch[i].bytes + at, selector(g));
    for (unsigned i = 0; !far && i < g->insn.operand_count_visible; i++) {
        const ZydisDecodedOperand *o = &g->operands[i];
        int reg = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? bt_general_register(o->reg.value) : -1;
        if (reg >= 0 && reg < 16)
            c->start.gpr[reg] = (c->start.gpr[reg] & ~UINT64_C(0xffff)) | selector(g);
    }
}

// What a far transfer takes from memory, in slots of the operand's size: RIP, CS, and for IRET
// RFLAGS, RSP and SS.
static void put_far_frame(Generator *g, NativePatch *p, uint64_t target)
{
    unsigned size = g->insn.operand_width / 8;
    uint64_t flags = 2 | 0x200 | (random64(g) & (FLAG_ARITHMETIC | FLAG_DF | FLAG_ID));
    if (below(g, 8) == 0)
        flags ^= random64(g) & 0x3fff00;
    uint64_t slots[5] = { target, below(g, 2) ? NATIVE_CS_64 : selector(g), flags,
                          NATIVE_STACK + 1024 + below(g, 2048),
                          below(g, 2) ? NATIVE_DS : selector(g) };
    for (unsigned i = 0; i < 5; i++)
        memcpy(p->bytes + i * size, &slots[i], size);
}

// A branch to a target that exists: the code page's INT3s, else data, which cannot be executed.
static void aim_branch(Generator *g)
{
    bool iret = g->insn.mnemonic == ZYDIS_MNEMONIC_IRET ||
                g->insn.mnemonic == ZYDIS_MNEMONIC_IRETD ||
                g->insn.mnemonic == ZYDIS_MNEMONIC_IRETQ;
    bool far = iret || g->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    if (!far && g->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_NONE)
        return;
    NativeCase *c = g->c;
    uint64_t target = NATIVE_CODE + 64 + below(g, 64);
    if (below(g, 4) == 0)
        target = interesting_address(g, 8);
    if (below(g, 8) == 0)
        target = interesting_integer(g);
    const ZydisDecodedOperand *o = &g->operands[0];
    if (far && o->type == ZYDIS_OPERAND_TYPE_POINTER) {
        uint8_t *pointer = c->code + g->at + g->insn.length - 2 - g->insn.operand_width / 8;
        memcpy(pointer, &target, g->insn.operand_width / 8);
        le16_write(pointer + g->insn.operand_width / 8, selector(g));
    } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && bt_general_register(o->reg.value) >= 0) {
        c->start.gpr[bt_general_register(o->reg.value) & 15] = target;
    } else {
        for (unsigned i = 0; i < c->patches; i++) {
            if (far)
                put_far_frame(g, &c->patch[i], target);
            else
                le64_write(c->patch[i].bytes, target);
        }
    }
}

// FXRSTOR and XRSTOR want an MXCSR that exists, and XRSTOR a header; only the components that both
// CPUs have are asked for.
static void aim_xsave(Generator *g)
{
    NativeCase *c = g->c;
    bool x = g->insn.meta.category == ZYDIS_CATEGORY_XSAVE ||
             g->insn.meta.category == ZYDIS_CATEGORY_XSAVEOPT;
    bool fx = g->insn.meta.isa_set == ZYDIS_ISA_SET_FXSAVE ||
              g->insn.meta.isa_set == ZYDIS_ISA_SET_FXSAVE64;
    if (x) {
        c->start.gpr[VCPU_RAX] = below(g, 8);
        c->start.gpr[VCPU_RDX] = 0;
    }
    if ((!x && !fx) || !c->patches || g->operands[0].type != ZYDIS_OPERAND_TYPE_MEMORY)
        return;
    uint32_t target = below(g, 4) ? NATIVE_DATA + 1024 + 64 * below(g, 80)
                                  : interesting_address(g, 832) & (below(g, 8) ? ~63u : ~0u);
    aim(g, &g->operands[0].mem, target);
    NativePatch *first = &c->patch[c->patches - 1]; // the operand's own
    first->address = target;
    uint8_t *legacy = first->bytes;
    if (below(g, 8))
        le32_write(legacy + 24, le32_read(legacy + 24) & 0xffff);
    if (!x || c->patches == NATIVE_PATCHES)
        return;
    NativePatch *header = &c->patch[c->patches++];
    header->address = target + 512;
    memset(header->bytes, 0, NATIVE_PATCH);
    le64_write(header->bytes, below(g, 8));
    if (below(g, 3) == 0)
        le64_write(header->bytes + 8, UINT64_C(1) << 63 | below(g, 8));
    if (below(g, 8) == 0) // but no component that the host alone has
        header->bytes[below(g, 2) ? 3 + below(g, 5) : 11 + below(g, 53)] ^= (uint8_t)random64(g);
}

static void set_fpu(Generator *g)
{
    uint8_t *x = g->c->start.xsave;
    memset(x, 0, NATIVE_XSAVE);
    uint16_t control = 0x340 | (uint16_t)(below(g, 4) << 10);
    control |= below(g, 4) ? 0x3f : (uint16_t)below(g, 64);
    if (below(g, 4) == 0)
        control = (control & ~0x300) | (uint16_t)(below(g, 4) << 8);
    uint16_t status = (uint16_t)(random64(g) & 0x7f00);
    if (below(g, 3) == 0)
        status |= (uint16_t)below(g, 128) & (below(g, 8) ? control | 0x40 : 0xff);
    if (status & ~control & 0x3f)
        status |= 0x8080;
    le16_write(x, control);
    le16_write(x + 2, status);
    static const uint8_t tags[] = { 0xff, 0xff, 0xff, 0x00, 0x7f, 0xfe };
    x[4] = below(g, 3) ? tags[below(g, sizeof tags)] : (uint8_t)random64(g);
    le16_write(x + 6, (uint16_t)(random64(g) & 0x7ff));
    le32_write(x + 8, (uint32_t)random64(g));
    le32_write(x + 16, (uint32_t)random64(g));
    uint32_t mxcsr = below(g, 4) ? 0x1f80 : below(g, 64) << 7;
    mxcsr |= below(g, 2) ? below(g, 4) << 13 : 0;
    mxcsr |= below(g, 4) ? 0 : 0x8000;
    mxcsr |= below(g, 4) ? 0 : 0x40;
    mxcsr |= below(g, 3) ? 0 : below(g, 64);
    le32_write(x + 24, mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        interesting_extended(g, x + 32 + 16 * i);
        if (below(g, 4) == 0) { // as MMX leaves them
            interesting_vector(g, x + 32 + 16 * i, 8);
            le16_write(x + 32 + 16 * i + 8, 0xffff);
        }
    }
    for (unsigned i = 0; i < 16; i++) {
        interesting_vector(g, x + 160 + 16 * i, 16);
        interesting_vector(g, x + 576 + 16 * i, 16);
    }
    x[512] = 7;
}

static void set_state(Generator *g)
{
    NativeCase *c = g->c;
    NativeRegisters *s = &c->start;
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = interesting_integer(g);
    s->gpr[VCPU_RSP] = NATIVE_STACK + 1024 + 8 * below(g, 256);
    s->gpr[VCPU_RSI] = interesting_address(g, 64);
    s->gpr[VCPU_RDI] = interesting_address(g, 64);
    if (below(g, 2))
        s->gpr[VCPU_RBP] = NATIVE_STACK + 1024 + 8 * below(g, 256);
    s->fs_base = below(g, 2) ? 0 : below(g, 4096);
    s->gs_base = below(g, 2) ? 0 : (uint64_t)-(int64_t)below(g, 4096);
    s->selector[VCPU_CS] = c->mode_32 ? NATIVE_CS_32 : NATIVE_CS_64;
    s->selector[VCPU_ES] = s->selector[VCPU_SS] = s->selector[VCPU_DS] = NATIVE_DS;
    s->rflags = 2 | 0x200 | (random64(g) & FLAG_ARITHMETIC);
    if (below(g, 4) == 0)
        s->rflags |= FLAG_DF;
    if (below(g, 16) == 0)
        s->rflags |= FLAG_ID;
    if (below(g, 40) == 0)
        s->rflags |= FLAG_AC;
    // INT3 follows the code, or nothing.
    s->rip = below(g, 8) ? NATIVE_CODE + 256 + below(g, 2048)
                         : NATIVE_CODE + NATIVE_PAGE - c->length;
    set_fpu(g);
}

void native_generate_common(uint64_t seed, uint8_t *common)
{
    NativeCase c;
    Generator g = { .random = native_random_for(seed, UINT64_MAX - 1), .c = &c };
    for (unsigned i = 0; i < NATIVE_IMAGE; i += 64)
        interesting_vector(&g, common + i, 64);
}

// The forms by turns, in another order for each seed; of 32 cases four are no instruction and one
// is none that the guest has.
static const NativeForm *choose_form(const NativeForms *forms, uint64_t seed, uint64_t index,
                                     bool *ret_absent)
{
    const uint64_t stride = 7919; // prime
    unsigned place = index % 32;
    const GArray *from = forms->forms;
    uint64_t turn = index;
    if (place % 8 == 7 && forms->invalid->len)
        from = forms->invalid, turn = index / 8;
    else if (place == 30 && forms->absent->len)
        from = forms->absent, turn = index / 32;
    else if (forms->invalid->len)
        turn = index / 32 * 27 + place - (place + 1) / 8;
    *ret_absent = from == forms->absent;
    return &g_array_index(from, NativeForm, (turn * stride + seed) % from->len);
}

bool native_generate(const NativeForms *forms, uint64_t seed, uint64_t index, NativeCase *c)
{
    memset(c, 0, sizeof *c);
    c->index = index;
    Generator g = {
        .random = native_random_for(seed, index),
        .forms = forms,
        .form = choose_form(forms, seed, index, &c->absent),
        .c = c,
    };
    c->mode_32 = g.form->mode_32;
    if (!put_code(&g))
        return false;
    set_state(&g);
    // Backwards: what the first instruction needs is set last.
    unsigned at[NATIVE_SEQUENCE], count = 0;
    for (g.at = 0; g.at < c->length && count < NATIVE_SEQUENCE && decode(&g); g.at += g.insn.length)
        at[count++] = g.at;
    while (count--) {
        g.at = at[count];
        decode(&g);
        aim_operands(&g);
        aim_selectors(&g);
        aim_xsave(&g);
        aim_branch(&g);
    }
    if (c->mode_32) {
        for (unsigned i = 0; i < 8; i++)
            c->start.gpr[i] = (uint32_t)c->start.gpr[i];
        memset(c->start.gpr + 8, 0, 8 * sizeof c->start.gpr[0]);
        c->start.fs_base = c->start.gs_base = 0;
    }
    return true;
}
