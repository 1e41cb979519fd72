// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions with MMX registers: they run as compiled forms like the rest (bt-simd.c), and here
// get what they owe to the x87 state that they alias. SDM vol. 1, 9.2 and 9.5; vol. 3A, 12.

#include "engine/vcpu/bt/bt-simd-private.h"

#include <string.h>

void bt_mmx_begin(BtCpu *cpu)
{
    bt_x87_leave(cpu);
    if (cpu->fpu.status & BT_X87_ES)
        bt_raise(cpu, BT_MF);
}

void bt_mmx_end(BtCpu *cpu)
{
    cpu->fpu.tags = 0xff;
    cpu->fpu.status &= (uint16_t)~(7 << BT_X87_TOP_SHIFT);
}

static void begin(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (!bt_simd_open(cpu, insn))
        bt_simd_gate(cpu, insn);
    bt_mmx_begin(cpu);
}

static void registers(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    bt_mmx_end(cpu); // this host does so even where #XM follows
    bt_simd_careful(cpu, insn, NULL);
    BT_NEXT(cpu, insn);
}

static void source(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    void *memory = bt_simd_read(cpu, insn, insn->memory_size);
    bt_mmx_end(cpu);
    bt_simd_careful(cpu, insn, memory);
    BT_NEXT(cpu, insn);
}

static void destination(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    bt_simd_careful(cpu, insn, cpu->fpu.buffer);
    bt_write_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.buffer,
                   insn->memory_size, 1);
    bt_mmx_end(cpu);
    BT_NEXT(cpu, insn);
}

static void emms(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    bt_mmx_end(cpu); // TOP = 0 here too, as AMD processors do
    cpu->fpu.tags = 0;
    BT_NEXT(cpu, insn);
}

void bt_simd_select_mmx(const BtSimdForm *form, BtInsn *out)
{
    out->handler = form->stores ? destination
                   : out->flags & BT_INSN_HAS_MEMORY ? source : registers;
}

bool bt_select_emms(const BtDecoded *d, BtInsn *out)
{
    if (d->insn.mnemonic != ZYDIS_MNEMONIC_EMMS)
        return false;
    out->handler = emms;
    return true;
}
