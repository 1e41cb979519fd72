// SPDX-License-Identifier: GPL-2.0-or-later
// One case of the comparison: code, the state it starts from, and what came of it. Both sides see
// the same linear addresses with the same contents and the same rights.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// Linear addresses. What lies between the pages is not mapped.
enum {
    NATIVE_PAGE = 4096,
    NATIVE_CODE = 0x20000000,  // read and execute; INT3 around the case's own code
    NATIVE_DATA = 0x20010000,  // two pages read and write, one read-only behind them
    NATIVE_CONST = 0x20012000, // that one
    NATIVE_STACK = 0x20014000, // one page, read and write
};

// The pages as one image: data, const, stack. The const page never changes.
enum {
    NATIVE_IMAGE_CONST = 2 * NATIVE_PAGE,
    NATIVE_IMAGE_STACK = 3 * NATIVE_PAGE,
    NATIVE_IMAGE = 4 * NATIVE_PAGE,
};

enum {
    NATIVE_XSAVE = 832, // standard format: x87, SSE, AVX
    NATIVE_CODE_MAX = 64,
    NATIVE_SEQUENCE = 4, // instructions of a case
    NATIVE_PATCH = 64,
    NATIVE_PATCHES = 8,
    NATIVE_BATCH = 1024,
};

// Selectors that Linux gives user code; the interpreter's GDT has the same.
enum { NATIVE_CS_64 = 0x33, NATIVE_CS_32 = 0x23, NATIVE_DS = 0x2b, NATIVE_CPU_SEGMENT = 0x7b };

typedef struct {
    uint64_t gpr[16];
    uint64_t rip, rflags;
    uint64_t fs_base, gs_base;
    uint16_t selector[6]; // in the order of VCPU_ES..
    uint8_t xsave[NATIVE_XSAVE] __attribute__((aligned(64)));
} NativeRegisters;

typedef struct {
    uint32_t address; // linear
    uint8_t bytes[NATIVE_PATCH];
} NativePatch;

typedef struct {
    bool mode_32; // compatibility mode, else 64-bit code
    bool absent;  // the host may have it, the guest must not: #UD
    uint8_t code[NATIVE_CODE_MAX];
    uint8_t length; // of the code
    NativeRegisters start; // rip: where the code is put
    NativePatch patch[NATIVE_PATCHES]; // differences of memory from the common image
    unsigned patches;
    uint64_t index; // for the report
} NativeCase;

typedef struct {
    bool lost;     // the case did not come back: it is not compared
    int vector;    // exception that ended it
    uint64_t error;
    uint64_t address; // CR2 of a page fault
    NativeRegisters end;
    uint8_t memory[NATIVE_IMAGE];
} NativeResult;

// Puts the case's patches over the image.
void native_case_memory(const NativeCase *c, const uint8_t *common, uint8_t *memory);

// XSAVE leaves out what is in its initial state: writes that out, and marks all as present.
void native_registers_normalize(NativeRegisters *registers);

// xorshift*; every case has its own state, made of the seed and its number.
typedef struct {
    uint64_t state;
} NativeRandom;

uint64_t native_random(NativeRandom *r);
unsigned native_below(NativeRandom *r, unsigned limit);
NativeRandom native_random_for(uint64_t seed, uint64_t index);
