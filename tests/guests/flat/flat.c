// SPDX-License-Identifier: GPL-2.0-or-later
#include "tests/guests/flat/flat.h"

#define COM1 0x3f8
#define DEBUG_EXIT 0xf4

extern uint8_t entry_stubs[];
extern word try_stack;
void try_unwind(void);
void handle_entry(Frame *frame);

unsigned fault_vector;
uint64_t fault_error, fault_ip, fault_address;
static Handler *handlers[256];
static unsigned failures;

static void put(char c)
{
    for (unsigned i = 0; i < 100000 && !(inb(COM1 + 5) & 0x20); i++)
        ;
    outb(COM1, (uint8_t)c);
}

void print(const char *text)
{
    for (; *text; text++)
        put(*text);
}

void print_hex(uint64_t value)
{
    print("0x");
    bool started = false;
    for (int shift = 60; shift >= 0; shift -= 4) {
        unsigned digit = value >> shift & 15;
        started |= digit || shift == 0;
        if (started)
            put("0123456789abcdef"[digit]);
    }
}

void check(bool ok, const char *what)
{
    failures += !ok;
    print(ok ? "ok - " : "not ok - ");
    print(what);
    print("\n");
}

void check_equal(uint64_t got, uint64_t wanted, const char *what)
{
    check(got == wanted, what);
    if (got != wanted) {
        print("# got ");
        print_hex(got);
        print(", wanted ");
        print_hex(wanted);
        print("\n");
    }
}

void guest_end(void)
{
    print(failures ? "FAILED\n" : "PASSED\n");
    outb(DEBUG_EXIT, failures ? 0x11 : 0x10);
    for (;;)
        asm volatile("cli; hlt");
}

typedef struct __attribute__((packed)) {
    uint16_t offset_low, selector;
    uint8_t ist, type;
    uint16_t offset_middle;
#ifdef __x86_64__
    uint32_t offset_high, reserved;
#endif
} Gate;

static Gate idt[256] __attribute__((aligned(16)));

void idt_set_gate(unsigned vector, word handler, uint16_t selector, uint8_t type, uint8_t ist)
{
    idt[vector] = (Gate){
        .offset_low = (uint16_t)handler,
        .selector = selector,
        .ist = ist,
        .type = type,
        .offset_middle = (uint16_t)(handler >> 16),
#ifdef __x86_64__
        .offset_high = (uint32_t)(handler >> 32),
#endif
    };
}

void idt_load(void)
{
    uint16_t code = sizeof(word) == 8 ? 0x18 : 0x08;
    for (unsigned vector = 0; vector < 256; vector++)
        idt_set_gate(vector, (word)entry_stubs + vector * 16, code, 0x8e, 0);
    struct __attribute__((packed)) {
        uint16_t limit;
        word base;
    } pointer = { sizeof idt - 1, (word)idt };
    asm volatile("lidt %0" ::"m"(pointer));
}

void handler_set(unsigned vector, Handler *handler)
{
    handlers[vector] = handler;
}

void handle_entry(Frame *frame)
{
    if (handlers[frame->vector] && handlers[frame->vector](frame))
        return;
    fault_vector = (unsigned)frame->vector;
    fault_error = frame->error;
    fault_ip = frame->ip;
    fault_address = read_cr2();
    if (try_stack) {
        try_unwind();
        __builtin_unreachable();
    }
    print("not ok - unexpected exception ");
    print_hex(frame->vector);
    print(" error ");
    print_hex(frame->error);
    print(" at ");
    print_hex(frame->ip);
    print(" cr2 ");
    print_hex(read_cr2());
    print("\n");
    failures++;
    guest_end();
}

void check_fault(void (*body)(void), unsigned vector, uint64_t error, const char *what)
{
    fault_vector = 256;
    bool faulted = guest_try(body);
    check(faulted && fault_vector == vector && fault_error == error, what);
    if (!faulted || fault_vector != vector || fault_error != error) {
        print("# got vector ");
        print_hex(faulted ? fault_vector : 0xfff);
        print(" error ");
        print_hex(fault_error);
        print("\n");
    }
}

void check_no_fault(void (*body)(void), const char *what)
{
    bool faulted = guest_try(body);
    check(!faulted, what);
    if (faulted) {
        print("# vector ");
        print_hex(fault_vector);
        print(" error ");
        print_hex(fault_error);
        print(" address ");
        print_hex(fault_address);
        print("\n");
    }
}

uint64_t descriptor(uint32_t base, uint32_t limit, unsigned access, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}
