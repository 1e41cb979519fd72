// SPDX-License-Identifier: GPL-2.0-or-later
// The x87 path for guests that have exceptions unmasked: the host FPU is loaded with the guest's
// whole state, control word included, executes the instruction, and its state is stored again.
// Stack faults, what is stored and popped and what is not, and condition codes are thereby the
// host's own. An exception that becomes pending there does no harm, because only non-waiting
// instructions follow before FNINIT drops it.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/base/bytes.h"

static BT_APART void run_exact(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    uint8_t image[512] __attribute__((aligned(16))), operand[16] = {0};
    bool memory = insn->flags & BT_INSN_HAS_MEMORY;
    uint64_t offset = memory ? bt_effective_address(cpu, insn) : 0;
    if (memory && !(insn->extra & X87_STORES))
        bt_read_bytes(cpu, insn->segment, offset, operand, insn->memory_size, 1);
    bt_x87_store_image(fpu, image);
    uint32_t flags = x87_form(cpu, insn).exact(image, cpu->flags_status, operand);
    if (memory && (insn->extra & X87_STORES)) {
        // An unmasked exception other than inexact result keeps memory as it is, but the address
        // is checked all the same.
        uint16_t raised = le16_read(image + 2) & ~fpu->control & BT_X87_EXCEPTIONS & ~BT_X87_PE;
        if (raised)
            bt_probe_write(cpu, insn->segment, offset, insn->memory_size);
        else
            bt_write_bytes(cpu, insn->segment, offset, operand, insn->memory_size, 1);
    }
    bt_x87_load_image(fpu, image);
    bt_x87_changed(cpu);
    cpu->flags_status = (uint16_t)flags;
    x87_track(cpu, insn);
}

void bt_x87_exact(BtCpu *cpu, const BtInsn *insn)
{
    run_exact(cpu, insn);
    BT_NEXT(cpu, insn);
}
