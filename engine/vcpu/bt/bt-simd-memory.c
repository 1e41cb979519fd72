// SPDX-License-Identifier: GPL-2.0-or-later
// SIMD instructions that touch only some elements of memory: MASKMOVQ, MASKMOVDQU, VMASKMOVx,
// VPMASKMOVx and the AVX2 gathers. Only enabled elements may fault, so these are plain C over
// elements. SDM vol. 2, at each instruction; gathers are restartable as VGATHERDPS tells.
//
// Use of BtInsn here: reg[0] data register, reg[1] mask register, reg[2] index register (gathers),
// immediate: MASKED_* below, operand_size: bytes of an element, memory_size: bytes of the vector.

#include "engine/vcpu/bt/bt-simd-private.h"

#include <string.h>

enum {
    MASKED_INDEX64 = 1 << 0, // gathers: indices are quadwords
    MASKED_SHIFT = 8,        // bits 8..15: elements
};

static void begin(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (!bt_simd_open(cpu, insn))
        bt_simd_gate(cpu, insn);
}

static uint64_t wrap(const BtInsn *insn, uint64_t offset)
{
    return insn->address_bits == 64   ? offset
           : insn->address_bits == 32 ? (uint32_t)offset
                                      : (uint16_t)offset;
}

// The mask is the top bit of each element of `size` bytes.
static bool enabled(const uint8_t *mask, unsigned element, unsigned size)
{
    return mask[element * size + size - 1] & 0x80;
}

// Elements are accessed in units of this size: VMASKMOV and VPMASKMOV know no #AC.
static unsigned unit(const BtCpu *cpu, unsigned size)
{
    return cpu->mmu_index == BT_MMU_USER_ALIGNED ? 1 : size;
}

// Writes the enabled elements, all or, where one of them faults, none.
static void store_masked(BtCpu *cpu, const BtInsn *insn, const uint8_t *data, const uint8_t *mask,
                         unsigned size, unsigned count)
{
    uint64_t base = bt_effective_address(cpu, insn);
    unsigned step = unit(cpu, size);
    for (unsigned at = 0; at < count * size; at += step) {
        if (enabled(mask, at / size, size))
            bt_probe_write(cpu, insn->segment, wrap(insn, base + at), step);
    }
    for (unsigned at = 0; at < count * size; at += step) {
        if (enabled(mask, at / size, size))
            bt_write_bytes(cpu, insn->segment, wrap(insn, base + at), data + at, step, 1);
    }
}

// The byte forms. This host checks the whole operand, whatever the mask, where the manual leaves
// it open.
static void store_bytes(BtCpu *cpu, const BtInsn *insn, const uint8_t *data, const uint8_t *mask,
                        unsigned count)
{
    uint64_t base = bt_effective_address(cpu, insn);
    bt_probe_write(cpu, insn->segment, base,
                   cpu->mmu_index == BT_MMU_USER_ALIGNED ? count : 1);
    for (unsigned i = 1; i < count; i++) {
        uint64_t offset = wrap(insn, base + i);
        if ((cpu->segment[insn->segment].base + offset) % 4096 == 0)
            bt_probe_write(cpu, insn->segment, offset, 1);
    }
    store_masked(cpu, insn, data, mask, 1, count);
}

static void maskmovdqu(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    store_bytes(cpu, insn, cpu->fpu.vector[insn->reg[0]], cpu->fpu.vector[insn->reg[1]], 16);
    BT_NEXT(cpu, insn);
}

static void maskmovq(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    bt_mmx_begin(cpu);
    bt_mmx_end(cpu); // this host does so even where the store faults
    store_bytes(cpu, insn, cpu->fpu.st[insn->reg[0]], cpu->fpu.st[insn->reg[1]], 8);
    BT_NEXT(cpu, insn);
}

static void maskmov_store(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    store_masked(cpu, insn, cpu->fpu.vector[insn->reg[0]], cpu->fpu.vector[insn->reg[1]],
                 insn->operand_size, insn->memory_size / insn->operand_size);
    BT_NEXT(cpu, insn);
}

static BT_APART void maskmov_load_body(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    uint64_t base = bt_effective_address(cpu, insn);
    const uint8_t *mask = cpu->fpu.vector[insn->reg[1]];
    unsigned size = insn->operand_size;
    uint8_t value[32] = {0};
    unsigned step = unit(cpu, size);
    for (unsigned at = 0; at < insn->memory_size; at += step) {
        if (enabled(mask, at / size, size))
            bt_read_bytes(cpu, insn->segment, wrap(insn, base + at), value + at, step, 1);
    }
    memcpy(cpu->fpu.vector[insn->reg[0]], value, sizeof value);
}

static void maskmov_load(BtCpu *cpu, const BtInsn *insn)
{
    maskmov_load_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static BT_APART void gather_body(BtCpu *cpu, const BtInsn *insn)
{
    begin(cpu, insn);
    uint64_t base = bt_effective_address(cpu, insn);
    uint8_t *data = cpu->fpu.vector[insn->reg[0]], *mask = cpu->fpu.vector[insn->reg[1]];
    const uint8_t *index = cpu->fpu.vector[insn->reg[2]];
    unsigned size = insn->operand_size;
    unsigned count = insn->immediate >> MASKED_SHIFT & 0xff;
    // A fault in between leaves the elements done and the masks so far cleared: the instruction
    // then goes on where it stopped.
    for (unsigned i = 0; i < count; i++) {
        if (!enabled(mask, i, size)) {
            memset(mask + size * i, 0, size);
            continue;
        }
        int64_t offset;
        if (insn->immediate & MASKED_INDEX64) {
            memcpy(&offset, index + 8 * i, 8);
        } else {
            int32_t narrow;
            memcpy(&narrow, index + 4 * i, 4);
            offset = narrow;
        }
        uint64_t at = wrap(insn, base + ((uint64_t)offset << insn->scale));
        uint8_t value[8];
        bt_read_bytes(cpu, insn->segment, at, value, size, 1);
        memcpy(data + size * i, value, size);
        memset(mask + size * i, 0, size);
    }
    memset(data + size * count, 0, 32 - size * count);
    memset(mask, 0, 32);
}

static void gather(BtCpu *cpu, const BtInsn *insn)
{
    gather_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static bool select_gather(const BtDecoded *d, BtInsn *out, unsigned size, bool index64)
{
    // Operands: data (ModRM.reg), memory (VSIB), mask (vvvv); all three registers must differ.
    ZydisRegister index = d->operand[1].mem.index;
    unsigned data_id = (unsigned)ZydisRegisterGetId(d->operand[0].reg.value);
    unsigned mask_id = (unsigned)ZydisRegisterGetId(d->operand[2].reg.value);
    unsigned index_id = (unsigned)ZydisRegisterGetId(index);
    if (data_id == mask_id || data_id == index_id || mask_id == index_id)
        return false;
    unsigned bits = d->insn.raw.vex.L ? 256 : 128;
    unsigned count = bits / 8 / (size == 8 || index64 ? 8 : 4);
    out->reg[0] = (uint8_t)data_id;
    out->reg[1] = (uint8_t)mask_id;
    out->reg[2] = (uint8_t)index_id;
    out->index = BT_REG_ZERO;
    out->scale = (uint8_t)__builtin_ctz(d->operand[1].mem.scale | 8);
    out->operand_size = (uint8_t)size;
    out->immediate = (index64 ? MASKED_INDEX64 : 0) | (uint64_t)count << MASKED_SHIFT;
    out->handler = gather;
    return true;
}

static bool select_maskmov(const BtDecoded *d, BtInsn *out, unsigned size)
{
    bool store = d->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    // Load: data, mask, memory. Store: memory, mask, data.
    out->reg[0] = (uint8_t)ZydisRegisterGetId(d->operand[store ? 2 : 0].reg.value);
    out->reg[1] = (uint8_t)ZydisRegisterGetId(d->operand[1].reg.value);
    out->operand_size = (uint8_t)size;
    out->memory_size = d->insn.raw.vex.L ? 32 : 16;
    out->handler = store ? maskmov_store : maskmov_load;
    return true;
}

// The implicit operand [rDI], whose segment may be overridden.
static void select_rdi(const BtDecoded *d, BtInsn *out)
{
    ZydisRegister segment = d->operand[2].mem.segment;
    bool flat = d->cpu->mode == BT_MODE_LONG && segment != ZYDIS_REGISTER_FS &&
                segment != ZYDIS_REGISTER_GS;
    out->segment = flat ? BT_SEG_FLAT : (uint8_t)ZydisRegisterGetId(segment);
    out->base = VCPU_RDI;
    out->index = BT_REG_ZERO;
    out->scale = 0;
    out->displacement = 0;
    out->rip_relative = false;
    out->reg[0] = (uint8_t)ZydisRegisterGetId(d->operand[0].reg.value);
    out->reg[1] = (uint8_t)ZydisRegisterGetId(d->operand[1].reg.value);
}

bool bt_select_simd_masked(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
        select_rdi(d, out);
        out->handler = maskmovq;
        return true;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        select_rdi(d, out);
        out->handler = maskmovdqu;
        return true;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
        return select_maskmov(d, out, 4);
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        return select_maskmov(d, out, 8);
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDD:
        return select_gather(d, out, 4, false);
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VPGATHERQD:
        return select_gather(d, out, 4, true);
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
        return select_gather(d, out, 8, false);
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
        return select_gather(d, out, 8, true);
    default:
        return false;
    }
}
