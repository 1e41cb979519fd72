// SPDX-License-Identifier: GPL-2.0-or-later
// PAE paging (SDM vol. 3A, section 4.4): PDPTEs are loaded with CR3, 2 MiB pages, reserved bits of
// a PDPTE raise #GP at the load.
#include "tests/guests/flat/flat.h"

static uint64_t pointers[4] __attribute__((aligned(32)));
static uint64_t bad_pointers[4] __attribute__((aligned(32)));
static uint64_t directories[4][512] __attribute__((aligned(4096)));
static uint64_t table[512] __attribute__((aligned(4096)));
static uint8_t page_a[4096] __attribute__((aligned(4096)));

#define WINDOW 0x40000000u
#define AT ((volatile uint32_t *)WINDOW)

enum { P = 1, W = 2, PS = 0x80 };

static void load_bad(void)
{
    write_cr3((uint32_t)bad_pointers);
}

static void read_0(void)
{
    (void)*AT;
}

void guest_main(void)
{
    idt_load();
    write_cr4(read_cr4() | 0x20);
    for (unsigned d = 0; d < 4; d++) {
        for (unsigned i = 0; i < 512; i++)
            directories[d][i] = ((uint64_t)d << 30 | i << 21) | P | W | PS;
        pointers[d] = (uint32_t)directories[d] | P;
        bad_pointers[d] = pointers[d];
    }
    bad_pointers[2] |= 2; // R/W is reserved in a PDPTE
    directories[1][0] = (uint32_t)table | P | W;
    table[0] = (uint32_t)page_a | P | W;
    write_cr3((uint32_t)pointers);
    write_cr0(read_cr0() | 0x80000000);
    check(true, "paging is on");
    *AT = 0x1234;
    check_equal(*(uint32_t *)page_a, 0x1234, "a 4 KiB page");
    check_fault(load_bad, 13, 0, "a PDPTE with a reserved bit");
    check_equal(read_cr3(), (uint32_t)pointers, "CR3 is as before");
    pointers[1] = 0; // takes effect with the next load of CR3 only
    invlpg(AT);
    check_no_fault(read_0, "a changed PDPTE does not count before CR3 is loaded");
    write_cr3((uint32_t)pointers);
    check_fault(read_0, 14, 0, "but does afterwards");
    guest_end();
}
