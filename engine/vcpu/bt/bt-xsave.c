// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that load and store images of the FPU state: FXSAVE, FXRSTOR, XSAVE, XSAVEOPT,
// XSAVEC, XRSTOR, and LDMXCSR, STMXCSR. Follows the SDM vol. 1, chapter 13 and 10.5. Components:
// x87, SSE, AVX. XGETBV and XSETBV are bt-control.c's.
//
// Where the manuals leave a choice, as AMD processors do: x87 always counts as in use, and FXSAVE
// and XSAVE store the x87 pointers only while an exception is pending, else zeros.

#include "engine/vcpu/bt/bt-fpu-private.h"
#include "engine/vcpu/bt/bt-memory.h"

#include "engine/base/bytes.h"

#include <string.h>

enum {
    X87 = 1 << 0,
    SSE = 1 << 1,
    AVX = 1 << 2,
};

// Offsets in the legacy area.
enum {
    AT_MXCSR = 24,
    AT_ST = 32,
    AT_XMM = 160,
    LEGACY_SIZE = 512,
    HEADER_SIZE = 64,
};

#define COMPACTED (UINT64_C(1) << 63)

static unsigned vector_count(const BtCpu *cpu)
{
    return cpu->mode == BT_MODE_LONG ? 16 : 8;
}

// ---- legacy area, into and out of a buffer ----

static void store_x87(BtFpu *fpu, bool wide, uint8_t *area)
{
    bt_x87_sync(fpu);
    memset(area, 0, AT_MXCSR);
    le16_write(area, fpu->control);
    le16_write(area + 2, fpu->status);
    area[4] = fpu->tags;
    if (fpu->status & BT_X87_ES) {
        le16_write(area + 6, fpu->opcode);
        if (wide) {
            le64_write(area + 8, fpu->instruction_pointer);
            le64_write(area + 16, fpu->data_pointer);
        } else {
            le32_write(area + 8, (uint32_t)fpu->instruction_pointer);
            le16_write(area + 12, fpu->instruction_selector);
            le32_write(area + 16, (uint32_t)fpu->data_pointer);
            le16_write(area + 20, fpu->data_selector);
        }
    }
    memset(area + AT_ST, 0, 128);
    for (unsigned i = 0; i < 8; i++)
        memcpy(area + AT_ST + 16 * i, fpu->st[(bt_x87_top(fpu) + i) & 7], 10);
}

// The registers hold 57 bits, sign-extended.
static uint64_t wide_pointer(uint64_t value)
{
    return (uint64_t)((int64_t)(value << 7) >> 7);
}

static void load_x87(BtCpu *cpu, bool wide, const uint8_t *area)
{
    BtFpu *fpu = &cpu->fpu;
    fpu->control = bt_x87_control(le16_read(area));
    fpu->status = le16_read(area + 2);
    fpu->tags = area[4];
    fpu->opcode = le16_read(area + 6) & 0x7ff;
    if (wide) {
        fpu->instruction_pointer = wide_pointer(le64_read(area + 8));
        fpu->data_pointer = wide_pointer(le64_read(area + 16));
        fpu->instruction_selector = fpu->data_selector = 0;
    } else {
        fpu->instruction_pointer = le32_read(area + 8);
        fpu->instruction_selector = le16_read(area + 12);
        fpu->data_pointer = le32_read(area + 16);
        fpu->data_selector = le16_read(area + 20);
    }
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpu->st[(bt_x87_top(fpu) + i) & 7], area + AT_ST + 16 * i, 10);
    bt_x87_changed(cpu);
}

static void clear_x87(BtCpu *cpu)
{
    memset(cpu->fpu.st, 0, sizeof cpu->fpu.st);
    bt_x87_init(&cpu->fpu);
    bt_x87_changed(cpu);
}

static void store_mxcsr(BtCpu *cpu, uint8_t *area)
{
    bt_fpu_collect(cpu);
    le32_write(area + AT_MXCSR, cpu->fpu.mxcsr);
    le32_write(area + AT_MXCSR + 4, BT_MXCSR_MASK);
}

// ---- FXSAVE, FXRSTOR ----

static unsigned area_size(unsigned components)
{
    return components & AVX ? BT_XSAVE_AVX_OFFSET + 256 : LEGACY_SIZE + HEADER_SIZE;
}

// The area's last byte, which this host looks at before what is in between: CR2 tells. Before
// either comes the alignment.
static void probe_end(BtCpu *cpu, const BtInsn *insn, uint64_t offset, unsigned size, bool write)
{
    if (write)
        bt_probe_write(cpu, insn->segment, offset + size - 1, 1);
    else
        bt_read8(cpu, insn->segment, offset + size - 1);
}

static uint64_t fxsave_offset(BtCpu *cpu, const BtInsn *insn, bool write)
{
    uint64_t offset = bt_effective_address(cpu, insn);
    if (bt_linear(cpu, insn->segment, offset, LEGACY_SIZE, write) & 15)
        bt_raise_error(cpu, cpu->mmu_index == BT_MMU_USER_ALIGNED ? BT_AC : BT_GP, 0);
    probe_end(cpu, insn, offset, LEGACY_SIZE, write);
    return offset;
}

static void require_fxsave(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    if (cpu->cr0 & (BT_CR0_EM | BT_CR0_TS))
        bt_raise(cpu, BT_NM);
}

static BT_APART void fxsave_body(BtCpu *cpu, const BtInsn *insn)
{
    require_fxsave(cpu, insn);
    uint8_t area[LEGACY_SIZE];
    unsigned count = vector_count(cpu);
    store_x87(&cpu->fpu, insn->extra, area);
    store_mxcsr(cpu, area);
    for (unsigned i = 0; i < count; i++)
        memcpy(area + AT_XMM + 16 * i, cpu->fpu.vector[i], 16);
    uint64_t offset = fxsave_offset(cpu, insn, true);
    // What follows the registers is the software's; it is only checked.
    bt_probe_write(cpu, insn->segment, offset, LEGACY_SIZE);
    bt_write_bytes(cpu, insn->segment, offset, area, AT_XMM + 16 * count, 16);
}

static void fxsave(BtCpu *cpu, const BtInsn *insn)
{
    fxsave_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

static BT_APART void fxrstor_body(BtCpu *cpu, const BtInsn *insn)
{
    require_fxsave(cpu, insn);
    uint8_t area[LEGACY_SIZE];
    bt_read_bytes(cpu, insn->segment, fxsave_offset(cpu, insn, false), area, LEGACY_SIZE, 16);
    uint32_t mxcsr = le32_read(area + AT_MXCSR);
    if (mxcsr & ~BT_MXCSR_MASK)
        bt_raise_error(cpu, BT_GP, 0);
    load_x87(cpu, insn->extra, area);
    for (unsigned i = 0; i < vector_count(cpu); i++)
        memcpy(cpu->fpu.vector[i], area + AT_XMM + 16 * i, 16);
    bt_fpu_set_mxcsr(cpu, mxcsr);
}

static void fxrstor(BtCpu *cpu, const BtInsn *insn)
{
    fxrstor_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

// ---- XSAVE and its kin ----

// Bytes that are not zero in the low or the upper halves of the vector registers.
static bool vectors_in_use(const BtCpu *cpu, unsigned from)
{
    for (unsigned i = 0; i < vector_count(cpu); i++) {
        uint64_t half[2];
        memcpy(half, cpu->fpu.vector[i] + from, sizeof half);
        if (half[0] | half[1])
            return true;
    }
    return false;
}

static unsigned in_use(const BtCpu *cpu)
{
    return X87 | (vectors_in_use(cpu, 0) ? SSE : 0) | (vectors_in_use(cpu, 16) ? AVX : 0);
}

// The requested components (RFBM). *ret_offset: of the area, aligned.
static unsigned begin_xsave(BtCpu *cpu, const BtInsn *insn, bool write, uint64_t *ret_offset)
{
    BT_BEGIN(cpu, insn);
    if (!(cpu->cr4 & BT_CR4_OSXSAVE))
        bt_raise(cpu, BT_UD);
    if (cpu->cr0 & BT_CR0_TS)
        bt_raise(cpu, BT_NM);
    uint64_t offset = bt_effective_address(cpu, insn);
    if ((offset + cpu->segment[insn->segment].base) & 63)
        bt_raise_error(cpu, BT_GP, 0);
    *ret_offset = offset;
    unsigned requested = (unsigned)(cpu->fpu.xcr0 & ((uint32_t)cpu->gpr[VCPU_RAX] |
                                                     cpu->gpr[VCPU_RDX] << 32));
    probe_end(cpu, insn, offset, 1, write);
    // XRSTOR looks at the header first, which says how far the area goes.
    probe_end(cpu, insn, offset, write ? area_size(requested) : LEGACY_SIZE + 1, write);
    return requested;
}

// Stores the components of `save`, and MXCSR with `mxcsr`. Every byte was probed.
static BT_APART void store_components(BtCpu *cpu, const BtInsn *insn, uint64_t offset,
                                      unsigned save, bool mxcsr)
{
    uint8_t area[LEGACY_SIZE];
    unsigned count = vector_count(cpu);
    if (save & X87) {
        store_x87(&cpu->fpu, insn->extra, area);
        bt_write_bytes(cpu, insn->segment, offset, area, AT_MXCSR, 1);
        bt_write_bytes(cpu, insn->segment, offset + AT_ST, area + AT_ST, 128, 1);
    }
    if (mxcsr) {
        store_mxcsr(cpu, area);
        bt_write_bytes(cpu, insn->segment, offset + AT_MXCSR, area + AT_MXCSR, 8, 1);
    }
    for (unsigned half = 0; half < 2; half++) {
        if (!(save & (half ? AVX : SSE)))
            continue;
        for (unsigned i = 0; i < count; i++)
            memcpy(area + 16 * i, cpu->fpu.vector[i] + 16 * half, 16);
        bt_write_bytes(cpu, insn->segment, offset + (half ? BT_XSAVE_AVX_OFFSET : AT_XMM), area,
                       16 * count, 1);
    }
}

static BT_APART void save_standard(BtCpu *cpu, const BtInsn *insn, bool optimize)
{
    uint64_t offset;
    unsigned requested = begin_xsave(cpu, insn, true, &offset);
    bt_probe_write(cpu, insn->segment, offset, area_size(requested));
    uint64_t present = bt_read64(cpu, insn->segment, offset + BT_XSAVE_HEADER_OFFSET);
    unsigned used = in_use(cpu) & requested;
    store_components(cpu, insn, offset, optimize ? used : requested, requested & (SSE | AVX));
    bt_write64(cpu, insn->segment, offset + BT_XSAVE_HEADER_OFFSET,
               (present & ~(uint64_t)requested) | used);
}

static void xsave(BtCpu *cpu, const BtInsn *insn)
{
    save_standard(cpu, insn, false);
    BT_NEXT(cpu, insn);
}

static void xsaveopt(BtCpu *cpu, const BtInsn *insn)
{
    save_standard(cpu, insn, true);
    BT_NEXT(cpu, insn);
}

static BT_APART void xsavec_body(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t offset;
    unsigned requested = begin_xsave(cpu, insn, true, &offset);
    bt_probe_write(cpu, insn->segment, offset, area_size(requested));
    bt_fpu_collect(cpu);
    // Here MXCSR belongs to the SSE component.
    unsigned used = in_use(cpu) | (cpu->fpu.mxcsr != BT_MXCSR_DEFAULT ? SSE : 0);
    used &= requested;
    store_components(cpu, insn, offset, used, used & SSE);
    bt_write64(cpu, insn->segment, offset + BT_XSAVE_HEADER_OFFSET, used);
    bt_write64(cpu, insn->segment, offset + BT_XSAVE_HEADER_OFFSET + 8, requested | COMPACTED);
}

static void xsavec(BtCpu *cpu, const BtInsn *insn)
{
    xsavec_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

// Raises #GP for a header that XRSTOR refuses (SDM vol. 1, 13.8.1 and 13.8.2).
static void check_header(BtCpu *cpu, const uint8_t *header, bool *ret_compacted)
{
    uint64_t present = le64_read(header), layout = le64_read(header + 8), rest = 0;
    bool compacted = layout & COMPACTED;
    for (unsigned i = 16; i < (compacted ? HEADER_SIZE : 24); i += 8)
        rest |= le64_read(header + i);
    uint64_t xcr0 = cpu->fpu.xcr0;
    bool bad = rest || (present & ~xcr0);
    if (compacted)
        bad |= ((layout & ~COMPACTED) & ~xcr0) || (present & ~layout);
    else
        bad |= layout != 0;
    if (bad)
        bt_raise_error(cpu, BT_GP, 0);
    *ret_compacted = compacted;
}

static BT_APART void xrstor_body(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t offset;
    unsigned requested = begin_xsave(cpu, insn, false, &offset);
    uint8_t area[BT_XSAVE_AVX_OFFSET + 256];
    bool compacted;
    unsigned count = vector_count(cpu);
    bt_read_bytes(cpu, insn->segment, offset, area, LEGACY_SIZE + HEADER_SIZE, 1);
    check_header(cpu, area + BT_XSAVE_HEADER_OFFSET, &compacted);
    unsigned present = (unsigned)le64_read(area + BT_XSAVE_HEADER_OFFSET);
    // As this host: in the standard form what is asked for, present or not.
    probe_end(cpu, insn, offset, area_size(compacted ? requested & present : requested), false);
    if (requested & present & AVX)
        bt_read_bytes(cpu, insn->segment, offset + BT_XSAVE_AVX_OFFSET, area + BT_XSAVE_AVX_OFFSET,
                      256, 1);
    // The standard form has MXCSR whatever XSTATE_BV says of SSE.
    bool mxcsr_present = compacted ? requested & present & SSE : requested & (SSE | AVX);
    uint32_t mxcsr = mxcsr_present ? le32_read(area + AT_MXCSR) : BT_MXCSR_DEFAULT;
    if (mxcsr & ~BT_MXCSR_MASK)
        bt_raise_error(cpu, BT_GP, 0);

    if (requested & present & X87)
        load_x87(cpu, insn->extra, area);
    else if (requested & X87)
        clear_x87(cpu);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *vector = cpu->fpu.vector[i];
        if (requested & present & SSE)
            memcpy(vector, area + AT_XMM + 16 * i, 16);
        else if (requested & SSE)
            memset(vector, 0, 16);
        if (requested & present & AVX)
            memcpy(vector + 16, area + BT_XSAVE_AVX_OFFSET + 16 * i, 16);
        else if (requested & AVX)
            memset(vector + 16, 0, 16);
    }
    if (compacted ? requested & SSE : requested & (SSE | AVX))
        bt_fpu_set_mxcsr(cpu, mxcsr);
}

static void xrstor(BtCpu *cpu, const BtInsn *insn)
{
    xrstor_body(cpu, insn);
    BT_NEXT(cpu, insn);
}

// ---- MXCSR ----

// extra: the gate bit.
static void require_mxcsr(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    bool undefined = insn->extra == BT_GATE_AVX
                         ? !(cpu->cr4 & BT_CR4_OSXSAVE) || (cpu->fpu.xcr0 & 6) != 6
                         : (cpu->cr0 & BT_CR0_EM) || !(cpu->cr4 & BT_CR4_OSFXSR);
    if (undefined)
        bt_raise(cpu, BT_UD);
    if (cpu->cr0 & BT_CR0_TS)
        bt_raise(cpu, BT_NM);
}

static void ldmxcsr(BtCpu *cpu, const BtInsn *insn)
{
    require_mxcsr(cpu, insn);
    uint32_t value = bt_read32(cpu, insn->segment, bt_effective_address(cpu, insn));
    if (value & ~BT_MXCSR_MASK)
        bt_raise_error(cpu, BT_GP, 0);
    bt_fpu_set_mxcsr(cpu, value);
    BT_NEXT(cpu, insn);
}

static void stmxcsr(BtCpu *cpu, const BtInsn *insn)
{
    require_mxcsr(cpu, insn);
    bt_fpu_collect(cpu);
    bt_write32(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.mxcsr);
    BT_NEXT(cpu, insn);
}

// ---- selection ----

typedef struct {
    uint16_t mnemonic;
    uint8_t extra; // images: whether the pointers have 64 bits; MXCSR: the gate
    BtHandler *handler;
} Row;

static const Row rows[] = {
    {ZYDIS_MNEMONIC_FXSAVE, 0, fxsave},
    {ZYDIS_MNEMONIC_FXSAVE64, 1, fxsave},
    {ZYDIS_MNEMONIC_FXRSTOR, 0, fxrstor},
    {ZYDIS_MNEMONIC_FXRSTOR64, 1, fxrstor},
    {ZYDIS_MNEMONIC_XSAVE, 0, xsave},
    {ZYDIS_MNEMONIC_XSAVE64, 1, xsave},
    {ZYDIS_MNEMONIC_XSAVEOPT, 0, xsaveopt},
    {ZYDIS_MNEMONIC_XSAVEOPT64, 1, xsaveopt},
    {ZYDIS_MNEMONIC_XSAVEC, 0, xsavec},
    {ZYDIS_MNEMONIC_XSAVEC64, 1, xsavec},
    {ZYDIS_MNEMONIC_XRSTOR, 0, xrstor},
    {ZYDIS_MNEMONIC_XRSTOR64, 1, xrstor},
    {ZYDIS_MNEMONIC_LDMXCSR, BT_GATE_SSE, ldmxcsr},
    {ZYDIS_MNEMONIC_STMXCSR, BT_GATE_SSE, stmxcsr},
    {ZYDIS_MNEMONIC_VLDMXCSR, BT_GATE_AVX, ldmxcsr},
    {ZYDIS_MNEMONIC_VSTMXCSR, BT_GATE_AVX, stmxcsr},
};

bool bt_select_xsave(const BtDecoded *d, BtInsn *out)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].mnemonic != d->insn.mnemonic)
            continue;
        bool vex = rows[i].extra == BT_GATE_AVX;
        if (vex && (d->cpu->mode == BT_MODE_REAL || d->cpu->mode == BT_MODE_V86))
            return false;
        out->handler = rows[i].handler;
        out->extra = rows[i].extra;
        return true;
    }
    return false;
}
