// SPDX-License-Identifier: GPL-2.0-or-later
// x87 instructions: selection, moves between registers, and the control instructions. Follows the
// SDM vol. 1, chapter 8 and vol. 2, order 325383-080; where it leaves a choice, this host's (AMD).
//
// Two paths. While every exception is masked and the stack is as the instruction wants it, which is
// nearly always, a handler runs the host's instruction on 80-bit values in memory
// (bt-x87-arithmetic.c) or does without. Everything else goes through bt-x87-exact.c: the host FPU
// takes over the whole state for one instruction. So this family knows little about stack faults,
// unmasked exceptions and rare instructions: the host does.
//
// CR0.NE = 0 (an exception as IRQ 13 through FERR#) is not there: #MF is raised either way.

#include "engine/vcpu/bt/bt-x87-private.h"

#include <string.h>

// ---- moves ----

static void fld_sti(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || x87_in_use(fpu, 7) || !x87_in_use(fpu, insn->reg[0])) {
        bt_x87_exact(cpu, insn);
        return;
    }
    X87Value value = *x87_st(fpu, insn->reg[0]);
    *x87_push(fpu) = value;
    x87_clear_c1(fpu);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

static void fld_m80(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || x87_in_use(fpu, 7)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    uint64_t offset = bt_effective_address(cpu, insn);
    bt_read_bytes(cpu, insn->segment, offset, fpu->buffer, sizeof(X87Value), 1);
    memcpy(x87_push(fpu), fpu->buffer, sizeof(X87Value));
    x87_clear_c1(fpu);
    x87_track_memory(cpu, insn, offset);
    BT_NEXT(cpu, insn);
}

static void load_constant(BtCpu *cpu, const BtInsn *insn, const X87Value *value)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || x87_in_use(fpu, 7)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    *x87_push(fpu) = *value;
    x87_clear_c1(fpu);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

static void fld1(BtCpu *cpu, const BtInsn *insn)
{
    static const X87Value one = {{[7] = 0x80, 0xff, 0x3f}};
    load_constant(cpu, insn, &one);
}

static void fldz(BtCpu *cpu, const BtInsn *insn)
{
    static const X87Value zero = {{0}};
    load_constant(cpu, insn, &zero);
}

static inline void store_sti(BtCpu *cpu, const BtInsn *insn, bool pops)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    *x87_st(fpu, insn->reg[0]) = *x87_st(fpu, 0);
    fpu->tags |= (uint8_t)(1u << ((bt_x87_top(fpu) + insn->reg[0]) & 7));
    x87_clear_c1(fpu);
    if (pops)
        x87_pop(fpu);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

static void fst_sti(BtCpu *cpu, const BtInsn *insn)
{
    store_sti(cpu, insn, false);
}

static void fstp_sti(BtCpu *cpu, const BtInsn *insn)
{
    store_sti(cpu, insn, true);
}

static void fstp_m80(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    uint64_t offset = bt_effective_address(cpu, insn);
    bt_write_bytes(cpu, insn->segment, offset, x87_st(fpu, 0), sizeof(X87Value), 1);
    x87_pop(fpu);
    x87_clear_c1(fpu);
    x87_track_memory(cpu, insn, offset);
    BT_NEXT(cpu, insn);
}

static void fxch(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0) || !x87_in_use(fpu, insn->reg[0])) {
        bt_x87_exact(cpu, insn);
        return;
    }
    X87Value *a = x87_st(fpu, 0), *b = x87_st(fpu, insn->reg[0]), value = *a;
    *a = *b;
    *b = value;
    x87_clear_c1(fpu);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

// FCHS, FABS: the sign bit of ST(0).
static inline void change_sign(BtCpu *cpu, const BtInsn *insn, uint8_t and_mask, uint8_t xor_mask)
{
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    uint8_t *top = &x87_st(fpu, 0)->bytes[9];
    *top = (*top & and_mask) ^ xor_mask;
    x87_clear_c1(fpu);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

static void fchs(BtCpu *cpu, const BtInsn *insn)
{
    change_sign(cpu, insn, 0xff, 0x80);
}

static void fabs_st0(BtCpu *cpu, const BtInsn *insn)
{
    change_sign(cpu, insn, 0x7f, 0);
}

// FCMOVcc: DA /0../3 are B, E, BE, U; DB has their opposites.
static void fcmov(BtCpu *cpu, const BtInsn *insn)
{
    static const uint16_t masks[4] = {BT_STATUS_CF, BT_STATUS_ZF, BT_STATUS_CF | BT_STATUS_ZF,
                                      BT_STATUS_PF};
    BtFpu *fpu = &cpu->fpu;
    if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0) || !x87_in_use(fpu, insn->reg[0])) {
        bt_x87_exact(cpu, insn);
        return;
    }
    bool met = cpu->flags_status & masks[insn->immediate >> 3 & 3];
    bool negated = insn->immediate >> 8 & 1;
    if (met != negated)
        *x87_st(fpu, 0) = *x87_st(fpu, insn->reg[0]);
    x87_track(cpu, insn);
    BT_NEXT(cpu, insn);
}

// ---- control ----

static void fldcw(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_waiting(cpu, insn);
    uint16_t value = bt_read16(cpu, insn->segment, bt_effective_address(cpu, insn));
    BtFpu *fpu = &cpu->fpu;
    uint16_t before = fpu->control;
    fpu->control = bt_x87_control(value);
    bt_x87_update_summary(fpu);
    if (fpu->live & BT_LIVE_X87) {
        uint16_t host = fpu->control | BT_X87_EXCEPTIONS;
        __asm__ volatile("fldcw %0" : : "m"(host));
    }
    if ((before ^ fpu->control) & BT_X87_EXCEPTIONS)
        bt_fpu_update(cpu);
    BT_NEXT(cpu, insn);
}

static void fnstcw(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.control);
    BT_NEXT(cpu, insn);
}

static void fnstsw_memory(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_write16(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.status);
    BT_NEXT(cpu, insn);
}

static void fnstsw_ax(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    cpu->gpr[VCPU_RAX] = (cpu->gpr[VCPU_RAX] & ~UINT64_C(0xffff)) | cpu->fpu.status;
    BT_NEXT(cpu, insn);
}

static void fnclex(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    cpu->fpu.status &= (uint16_t)~(BT_X87_EXCEPTIONS | BT_X87_SF | BT_X87_ES | BT_X87_BUSY);
    bt_fpu_x87_changed(cpu);
    BT_NEXT(cpu, insn);
}

static void fninit(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    bt_fpu_init_x87(&cpu->fpu);
    bt_fpu_x87_changed(cpu);
    BT_NEXT(cpu, insn);
}

static void fwait(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if ((cpu->cr0 & (BT_CR0_MP | BT_CR0_TS)) == (BT_CR0_MP | BT_CR0_TS))
        bt_raise(cpu, BT_NM);
    if (cpu->fpu.status & BT_X87_ES)
        bt_raise(cpu, BT_MF);
    BT_NEXT(cpu, insn);
}

// FNENI, FNDISI, FNSETPM: the 8087's and 287's, ignored since.
static void ignored(BtCpu *cpu, const BtInsn *insn)
{
    x87_begin_control(cpu, insn);
    BT_NEXT(cpu, insn);
}

// ---- selection ----

#define ROW(escape, reg) ((escape) << 4 | (reg))

static BtHandler *own_memory(unsigned escape, unsigned reg)
{
    switch (ROW(escape, reg)) {
    case ROW(1, 5): return fldcw;
    case ROW(1, 7): return fnstcw;
    case ROW(3, 5): return fld_m80;
    case ROW(3, 7): return fstp_m80;
    case ROW(5, 7): return fnstsw_memory;
    default: return NULL;
    }
}

static BtHandler *own_register(unsigned escape, unsigned modrm)
{
    switch (escape << 8 | modrm) {
    case 0x1e0: return fchs;
    case 0x1e1: return fabs_st0;
    case 0x1e8: return fld1;
    case 0x1ee: return fldz;
    case 0x3e0:
    case 0x3e1:
    case 0x3e4: return ignored;
    case 0x3e2: return fnclex;
    case 0x3e3: return fninit;
    case 0x7e0: return fnstsw_ax;
    default: break;
    }
    switch (ROW(escape, modrm >> 3 & 7)) {
    case ROW(1, 0): return fld_sti;
    case ROW(1, 1): return fxch;
    case ROW(5, 2): return fst_sti;
    case ROW(5, 3): return fstp_sti;
    case ROW(2, 0): case ROW(2, 1): case ROW(2, 2): case ROW(2, 3):
    case ROW(3, 0): case ROW(3, 1): case ROW(3, 2): case ROW(3, 3):
        return fcmov;
    default: return NULL;
    }
}

bool bt_select_x87(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.mnemonic == ZYDIS_MNEMONIC_FWAIT) {
        out->handler = fwait;
        return true;
    }
    if (d->insn.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || d->insn.opcode < 0xd8 ||
        d->insn.opcode > 0xdf || d->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    unsigned escape = d->insn.opcode & 7;
    unsigned modrm = (unsigned)d->insn.raw.modrm.mod << 6 | d->insn.raw.modrm.reg << 3 |
                     d->insn.raw.modrm.rm;
    bool memory = modrm < 0xc0;
    out->immediate = escape << 8 | modrm;
    out->reg[0] = modrm & 7;
    out->extra = 0;
    if (memory) {
        const ZydisDecodedOperand *o = &d->operand[0];
        out->extra = o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
                     (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    }
    out->data = d->cpu->simd_private ? bt_x87_compile(d->cpu, out) : NULL;
    out->handler = memory ? own_memory(escape, modrm >> 3 & 7) : own_register(escape, modrm);
    if (!out->handler)
        out->handler = bt_x87_environment(escape, modrm);
    if (!out->handler)
        out->handler = bt_x87_arithmetic(escape, modrm);
    if (!out->handler)
        out->handler = bt_x87_exact;
    return true;
}
