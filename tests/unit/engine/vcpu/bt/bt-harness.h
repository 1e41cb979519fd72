// SPDX-License-Identifier: GPL-2.0-or-later
// A machine of one vCPU and 16 MiB of RAM for tests of the whole interpreter: put code, set state,
// run until HLT, look at the state. Works through VcpuBackendOps, so that it shows what a user of
// the backend sees.
//
//     BtHarness *h = bt_harness_new();
//     VcpuState *state = bt_harness_state(h, BT_HARNESS_LONG);
//     state->gpr[VCPU_RAX] = 41;
//     bt_harness_code(h, BT_HARNESS_CODE, "\x48\xff\xc0", 3); // inc %rax; HLT is put behind it
//     bt_harness_run(h);
//     g_assert_cmpuint(state->gpr[VCPU_RAX], ==, 42);
//     bt_harness_free(h);
#pragma once

#include "engine/memory/ram.h"
#include "engine/vcpu/vcpu-backend.h"

typedef enum {
    BT_HARNESS_REAL,
    BT_HARNESS_PROTECTED_16, // flat segments of 4 GiB, CS and SS of 16 bits
    BT_HARNESS_PROTECTED_32, // flat, no paging
    BT_HARNESS_LONG,         // 64-bit code, first 16 MiB mapped one to one for CPL 0 and 3
} BtHarnessMode;

enum {
    BT_HARNESS_RAM = 16 << 20,
    BT_HARNESS_TABLES = 0x1000, // page tables: PML4, PDPT, PD with 2 MiB pages; GDT at 0x800
    BT_HARNESS_GDT = 0x800,
    BT_HARNESS_CODE = 0x8000, // where RIP starts; also reachable in real mode, CS = 0
    BT_HARNESS_STACK = 0x20000, // top; 0xf000 in 16-bit modes
    BT_HARNESS_DATA = 0x30000,
};

// Selectors of the GDT.
enum {
    BT_HARNESS_CODE_64 = 0x08,
    BT_HARNESS_DATA_32 = 0x10,
    BT_HARNESS_CODE_32 = 0x18,
    BT_HARNESS_CODE_16 = 0x20,
    BT_HARNESS_DATA_16 = 0x28,
};

typedef struct {
    GuestMemory *memory;
    RamBlock *ram;
    CpuidModel cpuid;
    BackendVm *vm;
    BackendVcpu *cpu;
    VcpuState state;
    VcpuExit exit; // why the last run returned
    int vector;    // what acknowledge answers; the interrupt goes away with it
    // Ports and MMIO: the last access, and what reads answer.
    VcpuExit last;
    unsigned accesses;
    uint64_t answer;
    int64_t now; // what now_ns answers
} BtHarness;

BtHarness *bt_harness_new(void);
void bt_harness_free(BtHarness *h);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BtHarness, bt_harness_free)

// A state to start from in the mode: zero registers but RSP and RIP. Returns &h->state.
VcpuState *bt_harness_state(BtHarness *h, BtHarnessMode mode);

// Puts code, and HLT behind it.
void bt_harness_code(BtHarness *h, uint64_t address, const void *code, size_t size);
// Host address of guest-physical memory.
void *bt_harness_at(BtHarness *h, uint64_t address);

// Sets h->state, runs until an exit, gets h->state. Anything but HALT fails the test.
void bt_harness_run(BtHarness *h);
// The same, for tests that look at h->exit themselves.
void bt_harness_run_any(BtHarness *h);
