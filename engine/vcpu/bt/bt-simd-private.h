// SPDX-License-Identifier: GPL-2.0-or-later
// What the bt-simd*.c files share. How a SIMD instruction runs is told at the top of bt-simd.c.
//
// Use of BtInsn's fields by this family:
//   extra      the gate bit (BT_GATE_*) that must be set
//   reg[0]     vector register that is written or stored, BT_SIMD_NO_REGISTER
//   reg[1]     general register that is written, or a further vector operand (bt-simd-memory.c)
//   reg[2]     alignment of the memory operand, minus one
//   immediate  BT_SIMD_* of the result, for exceptions; bt-simd-memory.c has its own use
//   data       the compiled form
#pragma once

#include "engine/vcpu/bt/bt-code-memory.h"
#include "engine/vcpu/bt/bt-fpu-private.h"
#include "engine/vcpu/bt/bt-memory.h"

enum { BT_SIMD_NO_REGISTER = 0xff };

// Elements of the result that an unmasked underflow has to look at.
enum {
    BT_SIMD_TINY16 = 1,
    BT_SIMD_TINY32 = 2,
    BT_SIMD_TINY64 = 3,
    BT_SIMD_TINY_KIND = 3,
    BT_SIMD_SCALAR = 1 << 2, // only the lowest element is a result
    BT_SIMD_MMX = 1 << 3,    // bits 4..6: the MMX register that is written
    BT_SIMD_MMX_SHIFT = 4,
    // Bits 8 and up: bytes of the result.
};

// The body of a compiled form. It goes on with the next instruction itself, so that the caller's
// last act is to call it; who wants to come back passes bt_simd_stop as the instruction. memory:
// host address of the memory operand.
typedef void BtSimdBody(BtCpu *cpu, const BtInsn *insn, void *memory);

extern const BtInsn bt_simd_stop[2];

typedef struct {
    BtHandler *handler; // the compiled handler, or `any`
    BtHandler *any;     // the handler in C that runs the body in every case
    void *body;
    bool mmx;    // touches MMX registers
    bool stores; // the memory operand is written
} BtSimdForm;

// cpu->simd_private.
typedef struct {
    BtCodeMemory *code, *spare; // spare: forms of bt-simd.c's overflow
    bool full;          // a form did not fit: the block cache should be emptied
    BtInsn overflow[2];
} BtSimd;

typedef enum {
    BT_SIMD_COMPILED,
    BT_SIMD_UNKNOWN, // not an instruction that can be compiled
    BT_SIMD_FULL,    // the arena is full
} BtSimdCompiled;

// bt-simd-compile.c. VEX.W and REX.W choose the width of a general register only in 64-bit mode;
// elsewhere the host, which is in 64-bit mode, must see 0.
bool bt_simd_w_is_width(ZydisMnemonic mnemonic);
// Re-encodes the instruction on fixed host registers. Of `insn` everything is
// set but handler and data. flat: its memory operand is in a flat segment.
BtSimdCompiled bt_simd_compile(const BtDecoded *d, const BtInsn *insn, bool flat,
                               BtSimdForm *form);

// bt-simd.c: handlers that find the memory operand wherever it is and run the body (insn->data).
void bt_simd_with_registers(BtCpu *cpu, const BtInsn *insn);
void bt_simd_with_source(BtCpu *cpu, const BtInsn *insn);
void bt_simd_with_destination(BtCpu *cpu, const BtInsn *insn);

// bt-simd-fp.c: raises where the gate says so, else makes the host's MXCSR the guest's.
void bt_simd_gate(BtCpu *cpu, const BtInsn *insn);
// Runs the body whether its gate is open or not, and judges the exceptions that it raised; returns.
void bt_simd_careful(BtCpu *cpu, const BtInsn *insn, void *memory);

// bt-simd-memory.c: masked moves and gathers.
bool bt_select_simd_masked(const BtDecoded *d, BtInsn *out);
// bt-simd-mmx.c: what has MMX registers; compiled forms, the rest of `out` being set, and EMMS.
void bt_simd_select_mmx(const BtSimdForm *form, BtInsn *out);
bool bt_select_emms(const BtDecoded *d, BtInsn *out);
// Raises a pending x87 exception, then makes the x87 state what every MMX instruction leaves.
void bt_mmx_begin(BtCpu *cpu);
void bt_mmx_end(BtCpu *cpu);

static inline bool bt_simd_open(const BtCpu *cpu, const BtInsn *insn)
{
    return __builtin_expect(cpu->fpu.gate & insn->extra, 1);
}

// Where a memory operand of `size` bytes can be read or written in place: RAM inside one page that
// the TLB has. Else NULL; everything that the address alone may raise is then already raised.
static inline void *bt_simd_pointer(BtCpu *cpu, const BtInsn *insn, unsigned size, bool write)
{
    uint64_t offset = bt_effective_address(cpu, insn);
    // Before the address itself, as this host does: a misaligned one in SS is #GP.
    if (__builtin_expect((offset + cpu->segment[insn->segment].base) & insn->reg[2], 0))
        bt_raise_error(cpu, BT_GP, 0);
    uint64_t linear = bt_linear(cpu, insn->segment, offset, size, write);
    const BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, linear);
    uint64_t tag = write ? e->write : e->read;
    if (__builtin_expect(tag == (linear & ~UINT64_C(0xfff)) &&
                             (linear & 0xfff) <= 0x1000 - (uint64_t)size, 1))
        return (void *)(linear + e->addend);
    return NULL;
}

static inline void *bt_simd_read(BtCpu *cpu, const BtInsn *insn, unsigned size)
{
    void *p = bt_simd_pointer(cpu, insn, size, false);
    if (__builtin_expect(!p, 0)) {
        bt_read_bytes(cpu, insn->segment, bt_effective_address(cpu, insn), cpu->fpu.buffer, size,
                      1);
        p = cpu->fpu.buffer;
    }
    return p;
}
