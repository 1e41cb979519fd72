// SPDX-License-Identifier: GPL-2.0-or-later
// 4-level paging (SDM vol. 3A, sections 4.5 to 4.7): execute-disable, SMEP, SMAP, reserved bits,
// 2 MiB and 1 GiB pages, user accesses, non-canonical addresses, PCID.
#include "tests/guests/flat/flat.h"

extern uint64_t boot_pml4[], boot_pdpt[];
static uint64_t directory[512] __attribute__((aligned(4096)));
static uint64_t table[512] __attribute__((aligned(4096)));
static uint8_t page_a[4096] __attribute__((aligned(4096)));
static uint8_t page_b[4096] __attribute__((aligned(4096)));

#define WINDOW 0x140000000ull // 5 GiB: PDPT entry 5
#define AT ((volatile uint64_t *)WINDOW)

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80 };
#define NX (1ull << 63)

static void read_0(void)
{
    (void)*AT;
}

static void write_0(void)
{
    *AT = 1;
}

static void execute_0(void)
{
    asm volatile("call *%0" ::"r"(WINDOW) : "memory");
}

static void read_non_canonical(void)
{
    (void)*(volatile uint64_t *)0x800000000000;
}

static void read_stac(void)
{
    asm volatile("stac");
    (void)*AT;
    asm volatile("clac");
}

static void map(void *page, uint64_t flags)
{
    table[0] = (word)page | flags;
    invlpg(AT);
}

static void test_execute_disable(void)
{
    page_a[0] = 0xc3; // ret
    map(page_a, P | W);
    check_no_fault(execute_0, "execution without NX");
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
    map(page_a, P | W | NX);
    check_fault(execute_0, 14, 0x11, "execution of an NX page");
    check_no_fault(read_0, "an NX page can be read");
    wrmsr(0xc0000080, rdmsr(0xc0000080) & ~(1ull << 11));
    write_cr3(read_cr3());
    check_fault(read_0, 14, 9, "NX is a reserved bit without EFER.NXE");
    wrmsr(0xc0000080, rdmsr(0xc0000080) | 1 << 11);
    write_cr3(read_cr3());
}

static void test_reserved(void)
{
    map(page_a, P | W | 1ull << 51);
    check_fault(read_0, 14, 9, "a reserved address bit");
    directory[1] = 0x201000 | P | W | PS; // bit 12 is PAT, 13..20 reserved
    directory[2] = 0x202000 | P | W | PS;
    check_fault(read_non_canonical, 13, 0, "a non-canonical address");
}

static void test_smep_smap(void)
{
    uint32_t r[4];
    cpuid(7, 0, r);
    if (!(r[1] & 1 << 7) || !(r[1] & 1 << 20)) {
        print("# no SMEP or SMAP in CPUID\n");
        return;
    }
    map(page_a, P | W | U);
    check_no_fault(execute_0, "supervisor execution of a user page");
    write_cr4(read_cr4() | 1 << 20);
    check_fault(execute_0, 14, 0x11, "SMEP stops it");
    write_cr4((read_cr4() & ~(1ull << 20)) | 1 << 21);
    check_fault(read_0, 14, 1, "SMAP stops a read of a user page");
    check_fault(write_0, 14, 3, "and a write");
    check_no_fault(read_stac, "but not with EFLAGS.AC set");
    asm volatile("clac");
    write_cr4(read_cr4() & ~(1ull << 21));
}

static void test_large(void)
{
    page_a[8] = 0x5a;
    boot_pdpt[6] = 0 | P | W | PS; // 1 GiB page at 6 GiB
    volatile uint8_t *high = (volatile uint8_t *)(0x180000000ull + (word)page_a + 8);
    check_equal(*high, 0x5a, "a 1 GiB page");
    *high = 0x5b;
    check_equal(page_a[8], 0x5b, "a write through it");
    check(boot_pdpt[6] & D, "its D bit");
}

static void test_accessed_dirty(void)
{
    map(page_b, P | W);
    check_equal(table[0] & (A | D), 0, "no A or D before an access");
    asm volatile("lock addq $1, (%0)" ::"r"(AT) : "memory");
    check_equal(table[0] & (A | D), A | D, "A and D after a locked addition");
    check_equal(page_b[0], 1, "which reached the page");
    map(page_b, P);
    write_cr0(read_cr0() | 1 << 16);
    check_fault(write_0, 14, 3, "a write to a read-only page, WP = 1");
    check_equal(table[0] & D, 0, "leaves D alone");
    write_cr0(read_cr0() & ~(1ull << 16));
}

static void test_pcid(void)
{
    uint32_t r[4];
    cpuid(1, 0, r);
    if (!(r[2] & 1 << 17)) {
        print("# no PCID in CPUID\n");
        return;
    }
    write_cr4(read_cr4() | 1 << 17);
    page_a[0] = 1;
    page_b[0] = 2;
    map(page_a, P | W);
    check_equal(*AT & 0xff, 1, "PCID 0");
    table[0] = (word)page_b | P | W;
    write_cr3(((word)boot_pml4) | 5);
    check_equal(*AT & 0xff, 2, "PCID 5 has translations of its own");
    write_cr3((word)boot_pml4);
    write_cr4(read_cr4() & ~(1ull << 17));
}

void guest_main(void)
{
    idt_load();
    boot_pdpt[5] = (word)directory | P | W | U;
    boot_pml4[0] |= U;
    directory[0] = (word)table | P | W | U;
    write_cr3(read_cr3());
    test_accessed_dirty();
    test_execute_disable();
    test_reserved();
    test_smep_smap();
    test_large();
    test_pcid();
    guest_end();
}
