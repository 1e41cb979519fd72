// SPDX-License-Identifier: GPL-2.0-or-later
// x87 instructions: selection, and where the compiled forms end up that cannot go on by themselves.
// Follows the SDM vol. 1, chapter 8 and vol. 2, order 325383-080; where it leaves a choice, the
// host's own (AMD's, where this file or a neighbour decides).
//
// The host's x87 registers are lent to the guest (bt-x87-host.c), and every instruction that is not
// a control instruction is the guest's own opcode, executed on them (bt-x87-compile.c). Guests that
// have an exception unmasked are the exception: bt-x87-exact.c. So this family knows nothing about
// stack faults, rounding, condition codes or transcendental functions: the host does.
//
// CR0.NE = 0 (an exception as IRQ 13 through FERR#) is not there: #MF is raised either way.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/vcpu/bt/bt-select.h"

static void with_registers(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_x87_enter(cpu);
    if (!bt_x87_all_masked(&cpu->fpu)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    x87_track(cpu, insn);
    x87_form(cpu, insn).body(cpu, insn, NULL);
}

static void with_source(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_x87_enter(cpu);
    if (!bt_x87_all_masked(&cpu->fpu)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    bt_read_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.buffer,
                  insn->memory_size, 1);
    bt_x87_enter(cpu); // a device may have been read
    x87_track(cpu, insn);
    x87_form(cpu, insn).body(cpu, insn, cpu->fpu.buffer);
}

static void with_destination(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bt_x87_enter(cpu);
    if (!bt_x87_all_masked(&cpu->fpu)) {
        bt_x87_exact(cpu, insn);
        return;
    }
    uint64_t offset = bt_effective_address(cpu, insn);
    bt_probe_write(cpu, insn->segment, offset, insn->memory_size);
    x87_form(cpu, insn).body(cpu, bt_simd_stop, cpu->fpu.buffer);
    x87_track(cpu, insn);
    bt_write_bytes(cpu, insn->segment, offset, cpu->fpu.buffer, insn->memory_size, 1);
    BT_NEXT(cpu, insn);
}

static BtHandler *choose_any(const BtInsn *insn)
{
    BtHandler *control = bt_x87_control_handler(x87_fop(insn));
    if (control)
        return control;
    if (!(insn->flags & BT_INSN_HAS_MEMORY))
        return with_registers;
    return insn->extra & X87_STORES ? with_destination : with_source;
}

bool bt_select_x87(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.mnemonic == ZYDIS_MNEMONIC_FWAIT) {
        out->handler = bt_x87_fwait;
        return true;
    }
    if (d->insn.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || d->insn.opcode < 0xd8 ||
        d->insn.opcode > 0xdf || d->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    if (!d->cpu->simd_private)
        return false;
    unsigned modrm = (unsigned)d->insn.raw.modrm.mod << 6 | d->insn.raw.modrm.reg << 3 |
                     d->insn.raw.modrm.rm;
    bool memory = modrm < 0xc0;
    bool stores = memory && (d->operand[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    out->immediate = (d->insn.opcode & 7u) << 8 | modrm;
    out->extra = stores ? X87_STORES : 0;
    out->reg[2] = 0;
    out->data = NULL;
    out->handler = choose_any(out);
    bool compiled = out->handler == with_registers || out->handler == with_source ||
                    out->handler == with_destination || out->handler == bt_x87_fnstsw_ax;
    X87Form form;
    if (!compiled)
        return true;
    if (!bt_x87_compile(d->cpu, out, memory && bt_select_is_flat(d, out), out->handler, &form)) {
        ((BtSimd *)d->cpu->simd_private)->full = true;
        return true;
    }
    out->data = (void *)form.exact;
    out->immediate |= (uint64_t)((uint8_t *)form.exact - (uint8_t *)form.body)
                      << X87_DISTANCE_SHIFT;
    if (form.handler)
        out->handler = form.handler;
    return true;
}
