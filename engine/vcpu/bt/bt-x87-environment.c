// SPDX-License-Identifier: GPL-2.0-or-later
// FNSTENV, FLDENV, FNSAVE, FRSTOR: the x87 environment in its four layouts, chosen by operand size
// and by real or protected mode. SDM vol. 1, figures 8-9 to 8-12.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/base/bytes.h"

#include <string.h>

enum { ENVIRONMENT16 = 14, ENVIRONMENT32 = 28, REGISTERS = 80 };

// Two tag bits for a register: 0 valid, 1 zero, 2 special (infinity, NaN, denormal, unsupported),
// 3 empty.
static unsigned full_tag(const BtFpu *fpu, unsigned physical)
{
    if (!(fpu->tags >> physical & 1))
        return 3;
    uint64_t mantissa = le64_read(fpu->st[physical]);
    unsigned exponent = le16_read(fpu->st[physical] + 8) & 0x7fff;
    if (exponent == 0)
        return mantissa == 0 ? 1 : 2;
    return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const BtFpu *fpu)
{
    unsigned tags = 0;
    for (unsigned i = 0; i < 8; i++)
        tags |= full_tag(fpu, i) << (2 * i);
    return (uint16_t)tags;
}

static bool is_real(const BtCpu *cpu)
{
    return cpu->mode == BT_MODE_REAL || cpu->mode == BT_MODE_V86;
}

// Returns the length.
static unsigned store_environment(const BtCpu *cpu, unsigned operand_size, uint8_t *to)
{
    const BtFpu *fpu = &cpu->fpu;
    uint32_t ip = (uint32_t)fpu->instruction_pointer, dp = (uint32_t)fpu->data_pointer;
    uint32_t words[7] = {fpu->control, fpu->status, full_tags(fpu)};
    bool narrow = operand_size == 2;
    if (is_real(cpu)) {
        // Linear addresses, 16 bits and the rest apart, in bits 12 and up.
        ip += (uint32_t)fpu->instruction_selector << 4;
        dp += (uint32_t)fpu->data_selector << 4;
        words[3] = ip & 0xffff;
        words[4] = (ip >> 16 << 12 & 0x0ffff000) | fpu->opcode;
        words[5] = dp & 0xffff;
        words[6] = dp >> 16 << 12 & 0x0ffff000;
    } else {
        words[3] = ip;
        words[4] = fpu->instruction_selector | (narrow ? 0 : (uint32_t)fpu->opcode << 16);
        words[5] = dp;
        words[6] = fpu->data_selector | (narrow ? 0 : 0xffff0000);
    }
    for (unsigned i = 0; i < 7; i++) {
        if (narrow)
            le16_write(to + 2 * i, (uint16_t)words[i]);
        else
            le32_write(to + 4 * i, i < 3 ? words[i] | 0xffff0000 : words[i]);
    }
    return narrow ? ENVIRONMENT16 : ENVIRONMENT32;
}

static void load_environment(BtCpu *cpu, unsigned operand_size, const uint8_t *from)
{
    BtFpu *fpu = &cpu->fpu;
    bool narrow = operand_size == 2;
    uint32_t words[7];
    for (unsigned i = 0; i < 7; i++)
        words[i] = narrow ? le16_read(from + 2 * i) : le32_read(from + 4 * i);
    fpu->control = bt_x87_control((uint16_t)words[0]);
    fpu->status = (uint16_t)words[1];
    fpu->tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        if ((words[2] >> (2 * i) & 3) != 3)
            fpu->tags |= (uint8_t)(1u << i);
    }
    if (is_real(cpu)) {
        fpu->instruction_pointer = (words[3] & 0xffff) | (words[4] >> 12 & 0xffff) << 16;
        fpu->data_pointer = (words[5] & 0xffff) | (words[6] >> 12 & 0xffff) << 16;
        fpu->instruction_selector = fpu->data_selector = 0;
        fpu->opcode = words[4] & 0x7ff;
    } else {
        fpu->instruction_pointer = words[3];
        fpu->instruction_selector = (uint16_t)words[4];
        fpu->data_pointer = words[5];
        fpu->data_selector = (uint16_t)words[6];
        fpu->opcode = narrow ? 0 : words[4] >> 16 & 0x7ff; // 0: as this host
    }
    bt_x87_changed(cpu);
}

// The operand's first word and then its last byte, which is what CR2 tells on this host where it
// crosses into a page that cannot be accessed. #AC comes before both.
static void probe_ends(BtCpu *cpu, const BtInsn *insn, uint64_t offset, unsigned size, bool write)
{
    unsigned word = insn->operand_size == 2 ? 2 : 4;
    if (cpu->mmu_index == BT_MMU_USER_ALIGNED && (offset & (word - 1)))
        return;
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = offset + (i ? size - 1 : 0);
        unsigned bytes = i ? 1 : word;
        uint8_t buffer[4];
        if (write)
            bt_probe_write(cpu, insn->segment, at, bytes);
        else
            bt_read_bytes(cpu, insn->segment, at, buffer, bytes, 1);
    }
}

static BT_APART void fnstenv_body(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t image[ENVIRONMENT32];
    x87_begin_control(cpu, insn);
    bt_x87_sync(&cpu->fpu);
    unsigned length = store_environment(cpu, insn->operand_size, image);
    uint64_t offset = bt_effective_address(cpu, insn);
    probe_ends(cpu, insn, offset, length, true);
    bt_write_bytes(cpu, insn->segment, offset, image, length, 1);
    if (!(cpu->fpu.live & BT_LIVE_X87)) { // else all are masked
        cpu->fpu.control |= BT_X87_EXCEPTIONS;
        bt_x87_changed(cpu);
    }
}

static void fnstenv(BtCpu *cpu, const BtInsn *insn)
{
    fnstenv_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static BT_APART void fldenv_body(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t image[ENVIRONMENT32];
    x87_begin_waiting(cpu, insn);
    unsigned length = insn->operand_size == 2 ? ENVIRONMENT16 : ENVIRONMENT32;
    uint64_t offset = bt_effective_address(cpu, insn);
    probe_ends(cpu, insn, offset, length, false);
    bt_read_bytes(cpu, insn->segment, offset, image, length, 1);
    bt_x87_leave(cpu);
    load_environment(cpu, insn->operand_size, image);
}

static void fldenv(BtCpu *cpu, const BtInsn *insn)
{
    fldenv_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static BT_APART void fnsave_body(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    uint8_t image[ENVIRONMENT32 + REGISTERS];
    x87_begin_control(cpu, insn);
    bt_x87_sync(fpu);
    unsigned length = store_environment(cpu, insn->operand_size, image);
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + length + 10 * i, fpu->st[(bt_x87_top(fpu) + i) & 7], 10);
    uint64_t offset = bt_effective_address(cpu, insn);
    probe_ends(cpu, insn, offset, length + REGISTERS, true);
    bt_write_bytes(cpu, insn->segment, offset, image, length + REGISTERS, 1);
    bt_x87_init(fpu);
    bt_x87_changed(cpu);
}

static void fnsave(BtCpu *cpu, const BtInsn *insn)
{
    fnsave_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static BT_APART void frstor_body(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t image[ENVIRONMENT32 + REGISTERS];
    x87_begin_waiting(cpu, insn);
    unsigned length = insn->operand_size == 2 ? ENVIRONMENT16 : ENVIRONMENT32;
    uint64_t offset = bt_effective_address(cpu, insn);
    probe_ends(cpu, insn, offset, length + REGISTERS, false);
    bt_read_bytes(cpu, insn->segment, offset, image, length + REGISTERS, 1);
    load_environment(cpu, insn->operand_size, image);
    BtFpu *fpu = &cpu->fpu;
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpu->st[(bt_x87_top(fpu) + i) & 7], image + length + 10 * i, 10);
}

static void frstor(BtCpu *cpu, const BtInsn *insn)
{
    frstor_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

BtHandler *bt_x87_environment(unsigned fop)
{
    switch (fop >> 8 << 4 | (fop >> 3 & 7)) { // first byte, ModRM.reg; memory forms
    case 0x14: return fldenv;
    case 0x16: return fnstenv;
    case 0x54: return frstor;
    case 0x56: return fnsave;
    default: return NULL;
    }
}
