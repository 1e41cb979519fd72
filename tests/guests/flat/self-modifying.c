// SPDX-License-Identifier: GPL-2.0-or-later
// Code that changes while it is used (SDM vol. 3A, section 12.1.3): within its own block, ahead of
// itself, in another page, through another linear address, and by a string instruction.
#include "tests/guests/flat/flat.h"

static uint8_t code[8192] __attribute__((aligned(4096)));

typedef uint32_t Function(void);

// mov eax, imm32; ret
static void emit_return(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    for (unsigned i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(value >> i * 8);
    at[5] = 0xc3;
}

static uint32_t call(uint8_t *at)
{
    Function *function = (Function *)at;
    return function();
}

static void test_rewritten(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        emit_return(code, i);
        sum += call(code);
    }
    check_equal(sum, 499500, "a function rewritten before each call");
}

// mov byte ptr [next + 1], 42; next: mov al, 7; movzx eax, al; ret. Address size by mode.
static void test_next_instruction(void)
{
    uint8_t *at = code + 256;
    unsigned n = 0;
    at[n++] = 0xc6;
#ifdef __x86_64__
    at[n++] = 0x04;
    at[n++] = 0x25;
#else
    at[n++] = 0x05;
#endif
    uint32_t target = (uint32_t)(word)(at + n + 4 + 1 + 1);
    for (unsigned i = 0; i < 4; i++)
        at[n++] = (uint8_t)(target >> i * 8);
    at[n++] = 42;
    at[n++] = 0xb0;
    at[n++] = 7;
    at[n++] = 0x0f;
    at[n++] = 0xb6;
    at[n++] = 0xc0;
    at[n++] = 0xc3;
    check_equal(call(at), 42, "a store into the next instruction");
}

static void test_string_store(void)
{
    emit_return(code + 512, 1);
    check_equal(call(code + 512), 1, "before REP MOVSB");
    uint8_t other[6];
    emit_return(other, 2);
    void *from = other, *to = code + 512;
    word count = 6;
    asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
    check_equal(call(code + 512), 2, "after REP MOVSB wrote over it");
}

static void test_page_crossing(void)
{
    uint8_t *at = code + 4096 - 3; // the immediate lies in the second page
    emit_return(at, 0x11111111);
    check_equal(call(at), 0x11111111, "code over a page boundary");
    code[4096] = 0x22;
    check_equal(call(at), 0x11221111 | 0x11, "after a store to its second page");
}

void guest_main(void)
{
    idt_load();
    test_rewritten();
    test_next_instruction();
    test_string_store();
    test_page_crossing();
    guest_end();
}
