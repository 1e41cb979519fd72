// SPDX-License-Identifier: GPL-2.0-or-later
// The small library of the flat guests: output on COM1 and port 402h, checks, faults, ports, MSRs.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uintptr_t word;

// What an interrupt or exception left on the stack, and registers as pushed by boot.S.
typedef struct {
#ifdef __x86_64__
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
#else
    uint32_t es, ds, edi, esi, ebp, esp_pushed, ebx, edx, ecx, eax;
#endif
    word vector, error, ip, cs, flags, sp, ss; // sp, ss: 32-bit only from an outer ring
} Frame;

// The guest's own.
void guest_main(void);

// One line for each check; the first failure makes the guest end with failure.
void check(bool ok, const char *what);
void check_equal(uint64_t got, uint64_t wanted, const char *what);
_Noreturn void guest_end(void); // debug-exit: 10h where every check passed, 11h otherwise

void print(const char *text);
void print_hex(uint64_t value);

// The IDT: every vector goes to boot.S' stubs. A handler returns true where it dealt with the
// frame; otherwise a fault inside guest_try unwinds, and one outside ends the guest.
void idt_load(void);
void idt_set_gate(unsigned vector, word handler, uint16_t selector, uint8_t type, uint8_t ist);
typedef bool Handler(Frame *frame);
void handler_set(unsigned vector, Handler *handler);

// Runs body; true where it faulted, and then fault_* say how.
bool guest_try(void (*body)(void));
extern unsigned fault_vector;
extern uint64_t fault_error, fault_ip, fault_address;
// body must raise this vector with this error code.
void check_fault(void (*body)(void), unsigned vector, uint64_t error, const char *what);
void check_no_fault(void (*body)(void), const char *what);

extern uint64_t gdt[];
uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags);

static inline void outb(uint16_t port, uint8_t value)
{
    asm volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
    uint8_t value;
    asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void outl(uint16_t port, uint32_t value)
{
    asm volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint32_t inl(uint16_t port)
{
    uint32_t value;
    asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline uint64_t rdmsr(uint32_t index)
{
    uint32_t low, high;
    asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t index, uint64_t value)
{
    asm volatile("wrmsr" ::"a"((uint32_t)value), "d"((uint32_t)(value >> 32)), "c"(index)
                 : "memory");
}

static inline void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    asm volatile("cpuid"
                 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
                 : "a"(leaf), "c"(subleaf));
}

#define READ_REGISTER(name)                                                                        \
    static inline word read_##name(void)                                                           \
    {                                                                                              \
        word value;                                                                                \
        asm volatile("mov %%" #name ", %0" : "=r"(value));                                         \
        return value;                                                                              \
    }                                                                                              \
    static inline void write_##name(word value)                                                    \
    {                                                                                              \
        asm volatile("mov %0, %%" #name ::"r"(value) : "memory");                                  \
    }
READ_REGISTER(cr0)
READ_REGISTER(cr2)
READ_REGISTER(cr3)
READ_REGISTER(cr4)
READ_REGISTER(dr6)
READ_REGISTER(dr7)
READ_REGISTER(dr0)

static inline void invlpg(volatile void *address)
{
    asm volatile("invlpg (%0)" ::"r"(address) : "memory");
}

static inline word read_flags(void)
{
    word value;
    asm volatile("pushf; pop %0" : "=r"(value));
    return value;
}
