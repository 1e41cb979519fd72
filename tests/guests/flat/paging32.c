// SPDX-License-Identifier: GPL-2.0-or-later
// 32-bit paging (SDM vol. 3A, section 4.3): 4 KiB and 4 MiB pages, WP, accessed and dirty bits,
// error codes, INVLPG, global pages.
#include "tests/guests/flat/flat.h"

static uint32_t directory[1024] __attribute__((aligned(4096)));
static uint32_t table[1024] __attribute__((aligned(4096)));
static uint8_t page_a[4096] __attribute__((aligned(4096)));
static uint8_t page_b[4096] __attribute__((aligned(4096)));

#define WINDOW 0x40000000u // linear, mapped by `table`
#define AT(page) ((volatile uint32_t *)(WINDOW + (page) * 4096))

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };

static void read_0(void)
{
    (void)*AT(0);
}

static void write_0(void)
{
    *AT(0) = 1;
}

static void read_crossing(void)
{
    (void)*(volatile uint32_t *)(WINDOW + 4096 - 2);
}

static void write_crossing(void)
{
    *(volatile uint32_t *)(WINDOW + 4096 - 2) = 0x44332211;
}

static void map(unsigned index, void *page, uint32_t flags)
{
    table[index] = (uint32_t)page | flags;
    invlpg(AT(index));
}

static void test_present_and_write(void)
{
    map(0, page_a, 0);
    check_fault(read_0, 14, 0, "read of a page that is not present");
    check_equal(fault_address, WINDOW, "CR2 after it");
    check_fault(write_0, 14, 2, "write to a page that is not present");
    map(0, page_a, P);
    check_no_fault(read_0, "read of a read-only page");
    check_no_fault(write_0, "supervisor write to a read-only page, WP = 0");
    write_cr0(read_cr0() | 1 << 16);
    map(0, page_a, P);
    check_fault(write_0, 14, 3, "supervisor write to a read-only page, WP = 1");
    write_cr0(read_cr0() & ~(1 << 16));
}

static void test_accessed_dirty(void)
{
    map(0, page_a, P | W);
    check_equal(table[0] & (A | D), 0, "no A or D before an access");
    read_0();
    check_equal(table[0] & (A | D), A, "A after a read");
    write_0();
    check_equal(table[0] & (A | D), A | D, "A and D after a write");
    check(directory[WINDOW >> 22] & A, "A of the directory entry");
}

static void test_crossing(void)
{
    map(0, page_a, P | W);
    map(1, page_b, 0);
    page_a[4094] = page_a[4095] = 0x77;
    check_fault(read_crossing, 14, 0, "read into a missing second page");
    check_equal(fault_address, WINDOW + 4096, "CR2 is the second page");
    check_fault(write_crossing, 14, 2, "write into a missing second page");
    check_equal(page_a[4094], 0x77, "nothing was written to the first page");
    map(1, page_b, P | W);
    check_no_fault(write_crossing, "write across two pages");
    check_equal(page_a[4095], 0x22, "last byte of the first page");
    check_equal(page_b[0], 0x33, "first byte of the second page");
}

static void test_invlpg(void)
{
    page_a[0] = 1;
    page_b[0] = 2;
    map(0, page_a, P | W);
    check_equal(*AT(0) & 0xff, 1, "first mapping");
    map(0, page_b, P | W);
    check_equal(*AT(0) & 0xff, 2, "second mapping after INVLPG");
    table[0] = (uint32_t)page_a | P | W;
    write_cr3(read_cr3());
    check_equal(*AT(0) & 0xff, 1, "third mapping after a CR3 load");
}

static void test_global(void)
{
    write_cr4(read_cr4() | 0x80);
    page_a[0] = 1;
    page_b[0] = 2;
    map(0, page_a, P | W | G);
    (void)*AT(0);
    write_cr4(read_cr4() & ~0x80);
    table[0] = (uint32_t)page_b | P | W;
    write_cr4(read_cr4() | 0x80);
    check_equal(*AT(0) & 0xff, 2, "a change of CR4.PGE drops global pages");
    write_cr4(read_cr4() & ~0x80);
}

static void test_large(void)
{
    directory[0x200] = 0 | P | W | PS; // 80000000h -> 0
    write_cr3(read_cr3());
    volatile uint32_t *low = (volatile uint32_t *)(0x80000000u + (uint32_t)page_a);
    *low = 0x12345678;
    check_equal(*(uint32_t *)page_a, 0x12345678, "write through a 4 MiB page");
    check(directory[0x200] & D, "D of the 4 MiB page");
}

void guest_main(void)
{
    idt_load();
    write_cr4(read_cr4() | 0x10); // PSE
    for (unsigned i = 0; i < 1024; i++)
        directory[i] = i << 22 | P | W | PS; // identity
    directory[WINDOW >> 22] = (uint32_t)table | P | W;
    write_cr3((uint32_t)directory);
    write_cr0(read_cr0() | 0x80000000);
    test_present_and_write();
    test_accessed_dirty();
    test_crossing();
    test_invlpg();
    test_global();
    test_large();
    guest_end();
}
