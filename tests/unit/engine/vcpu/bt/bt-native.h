// SPDX-License-Identifier: GPL-2.0-or-later
// Runs one instruction on the host CPU and in the interpreter's handlers from the same state, and
// compares what both left. Shared by the tests of x87, SIMD and XSAVE. The interpreter's memory and
// faults are stood in for: a guest address is a host address, and only NATIVE_DATA can be reached.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <glib.h>

enum { NATIVE_PAGE = 4096, NATIVE_AREA = 832, NATIVE_MAX = 32 };

typedef struct {
    uint64_t gpr[16]; // RSP is not used
    uint64_t rflags;
    uint8_t area[NATIVE_AREA] __attribute__((aligned(64))); // XSAVE, standard form
    int vector; // exception, -1: none
} NativeState;

// A page that both sides read and write; the pages around it fault.
uint8_t *native_data(void);
// Where the instruction is put, for relative addresses and FPU instruction pointers.
uint64_t native_code_address(void);

// Once per program. Ends it as skipped where the host has no AVX to compare with.
void native_init(void);
// Where the manuals leave a choice the interpreter does as AMD processors do; on another host such
// choices are not compared.
bool native_is_amd(void);
BtCpu *native_cpu_new(void);
void native_cpu_free(BtCpu *cpu);

// xorshift64*, seeded by native_init; the seed is printed.
uint64_t native_random(void);
unsigned native_below(unsigned limit);

// 10 bytes that are likely to be interesting as float, double, x87 or integer.
void native_interesting(uint8_t *bytes, unsigned size);

void native_run(const uint8_t *code, unsigned length, NativeState *state);

typedef enum { NATIVE_RAN, NATIVE_UNDECODED, NATIVE_UNSELECTED } NativeResult;

// The same in the interpreter: decoded by Zydis, selected by `select`. The code may be a sequence
// of up to NATIVE_MAX - 1 instructions, which run without a break.
NativeResult native_interpret(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out),
                              const uint8_t *code, unsigned length, NativeState *state);
// Runs one instruction at `rip` from what the CPU holds; the exception's vector, -1: none.
int native_step(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out), const uint8_t *code,
                unsigned length, uint64_t rip);

// One instruction on both sides.
typedef struct {
    NativeState before, native, ours;
    uint8_t data_native[NATIVE_PAGE], data_ours[NATIVE_PAGE];
} NativeRun;

// Runs it from run->before and the data page `initial`; whether the TLB hits is random. What
// `select` does not take counts as #UD. In the results everything is zeroed that may differ: RSP,
// the FPU's instruction and data pointers, unused and reserved bytes, the XSAVE header.
void native_both(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out), const uint8_t *code,
                 unsigned length, const uint8_t *initial, NativeRun *run);
// Prints what differs.
bool native_same(const NativeRun *run, const BtDecoded *d);

// Only the decoding, so that a test may look at the operands before it runs them.
bool native_decode(BtCpu *cpu, const uint8_t *code, unsigned length, BtDecoded *ret, BtInsn *insn);

// Between a CPU and a state.
void native_load(BtCpu *cpu, const NativeState *state);
void native_store(const BtCpu *cpu, NativeState *state);
