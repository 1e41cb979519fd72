// SPDX-License-Identifier: GPL-2.0-or-later
// A machine of RAM and vCPUs for tests of the interpreter's system half: descriptor tables, page
// tables and handlers are laid out here, the code under test is a few bytes, and what happened is
// read from the state and from memory.
//
// Every vector's handler is a HLT at MACHINE_HANDLERS + 16 * vector, so a run ends at the first
// event and machine_vector says which.
#pragma once

#include "engine/memory/ram.h"
#include "engine/vcpu/vcpu-backend.h"

#define MACHINE_RAM (UINT64_C(4) << 20)
#define MACHINE_CPUS 4 // at most
enum {
    MACHINE_CODE = 0x1000,
    MACHINE_GDT = 0x2000,
    MACHINE_IDT = 0x3000,
    MACHINE_TSS = 0x4000, // ring 0 stack: MACHINE_STACK0, IST1: MACHINE_IST1
    MACHINE_TSS2 = 0x4800, // of a second task
    MACHINE_LDT = 0x5000,
    MACHINE_STACK = 0x7000, // of the code under test, grows down
    MACHINE_HANDLERS = 0x8000,
    MACHINE_STACK0 = 0xb000,
    MACHINE_IST1 = 0xc000,
    MACHINE_STACK1 = 0xd000,
    MACHINE_PML4 = 0x10000, // or page directory, or PDPT
    MACHINE_PDPT = 0x11000,
    MACHINE_PD = 0x12000,
    MACHINE_PT = 0x13000, // maps the first 2 MiB in 4 KiB pages
    MACHINE_DATA = 0x100000,
};

// Selectors of the GDT.
enum {
    SEL_CODE32 = 0x08, SEL_DATA32 = 0x10, SEL_USER_CODE32 = 0x1b, SEL_USER_DATA32 = 0x23,
    SEL_CODE16 = 0x28, SEL_DATA16 = 0x30, SEL_TSS = 0x38 /* 16 bytes */, SEL_LDT = 0x48,
    SEL_CODE64 = 0x58, SEL_USER_CODE64 = 0x63, SEL_TSS2 = 0x68, SEL_FREE = 0x78, SEL_FREE2 = 0x80,
    SEL_FREE3 = 0x88, SEL_FREE4 = 0x90,
};

typedef struct {
    uint16_t port;
    uint8_t size;
    bool write;
    uint32_t count;
    uint32_t value;
} MachinePort;

typedef struct {
    GuestMemory *memory;
    RamBlock *ram;
    CpuidModel cpuid;
    BackendVm *vm;
    BackendVcpu *vcpu[MACHINE_CPUS];
    unsigned cpus;
    GMutex lock; // while exits are served: tests may run several CPUs at once
    int64_t now;
    int interrupt; // vector that acknowledge gives, once; -1 none
    unsigned most_exits; // that are served before the CPU is kicked; 0: no bound
    MachinePort ports[64];
    unsigned port_count;
    uint32_t port_input;
    uint64_t mmio_address, mmio_value, mmio_input;
    unsigned mmio_count, mmio_size;
    bool mmio_write;
    VcpuExit exit;   // of the last run
    VcpuState state; // after it
} Machine;

Machine *machine_new(unsigned cpus);
void machine_free(Machine *m);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Machine, machine_free)

// Flat state in one of the modes, CPL 0, interrupts off, code at MACHINE_CODE.
void machine_real(Machine *m);
void machine_protected(Machine *m); // 32 bits, no paging
void machine_pae(Machine *m);       // with PAE paging, identity
void machine_paging(Machine *m);    // with 32-bit paging, identity
void machine_long(Machine *m);      // 64 bits, identity
// CPL 3, with flat user segments; before machine_run.
void machine_user(Machine *m);
void machine_v86(Machine *m); // CS = SS = DS.. = 0, IP = MACHINE_CODE, IOPL 0
// The same from a new machine, and other modes for fuzzing.
void machine_long_user(Machine *m);
void machine_compatibility(Machine *m); // CPL 0
void machine_protected_user(Machine *m); // with paging
void machine_protected_16(Machine *m);
void machine_protected_v86(Machine *m);

// Copies code to MACHINE_CODE. The state (with what the test changed in it) is set, and CPU 0 runs
// until it exits.
void machine_run(Machine *m, const void *code, size_t size);
#define machine_run_bytes(m, ...)                                                                  \
    machine_run((m), (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))
// Goes on after a HLT.
void machine_continue(Machine *m);

// Vector of the handler in which the run halted, or -1.
int machine_vector(const Machine *m);

uint64_t machine_read(Machine *m, uint64_t address, unsigned size);
void machine_write(Machine *m, uint64_t address, unsigned size, uint64_t value);

// Descriptors. access: as VcpuSegment.access.
void machine_descriptor(Machine *m, uint64_t table, unsigned selector, uint32_t base,
                        uint32_t limit_field, uint16_t access);
// An IDT or call gate: type and DPL as in a descriptor's byte 5.
void machine_gate(Machine *m, uint64_t address, uint16_t selector, uint64_t offset, uint8_t type,
                  unsigned parameters);
void machine_idt_gate(Machine *m, unsigned vector, uint16_t selector, uint64_t offset,
                      uint8_t type);

// Asserts: halted in the handler of `vector`; with the error code on top of the stack.
#define assert_vector(m, v) g_assert_cmpint(machine_vector(m), ==, (v))
#define assert_fault(m, v, error, size)                                                            \
    do {                                                                                           \
        assert_vector((m), (v));                                                                   \
        g_assert_cmphex(machine_read((m), machine_stack(m), (size)), ==, (error));                 \
    } while (0)
// Linear address of the top of the stack.
uint64_t machine_stack(const Machine *m);
