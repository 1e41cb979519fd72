// SPDX-License-Identifier: GPL-2.0-or-later
// Paging: which accesses fault with which error code, accessed and dirty bits, page sizes, and what
// invalidations do.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

enum { READ, WRITE, EXECUTE };
enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (UINT64_C(1) << 63)
#define CR4_SMEP (1u << 20)
#define CR4_SMAP (1u << 21)
#define CR0_WP (1u << 16)
#define FLAG_AC (1u << 18)

// A machine with paging of one kind; entry: where the page-table entry of MACHINE_DATA lies.
typedef struct {
    const char *name;
    void (*make)(Machine *m);
    unsigned entry_size;
    bool nx;
} Kind;

static const Kind kinds[] = {
    { "32-bit", machine_paging, 4, false },
    { "pae", machine_pae, 8, true },
    { "long", machine_long, 8, true },
};

static uint64_t entry_address(const Kind *kind, uint64_t linear)
{
    return MACHINE_PT + (linear >> 12) * kind->entry_size;
}

static void set_entry(Machine *m, const Kind *kind, uint64_t linear, uint64_t value)
{
    machine_write(m, entry_address(kind, linear), kind->entry_size, value);
}

static uint64_t get_entry(Machine *m, const Kind *kind, uint64_t linear)
{
    return machine_read(m, entry_address(kind, linear), kind->entry_size);
}

// All pages are the supervisor's, apart from the user's code and stack.
static void make(Machine *m, const Kind *kind, bool user)
{
    kind->make(m);
    for (uint64_t page = 0; page < MACHINE_DATA + 0x10000; page += 0x1000)
        set_entry(m, kind, page, page | W | P);
    if (user) {
        machine_user(m);
        set_entry(m, kind, MACHINE_CODE, MACHINE_CODE | U | W | P);
        set_entry(m, kind, MACHINE_STACK - 0x1000, (MACHINE_STACK - 0x1000) | U | W | P);
    }
}

// Accesses `linear`; vector 6 says that it went well.
static void do_access(Machine *m, const Kind *kind, unsigned how, uint32_t linear)
{
    uint8_t code[16];
    unsigned n = 0;
    bool long_mode = kind->make == machine_long;
    if (how == EXECUTE) {
        code[n++] = 0xb8; // mov eax, linear
        memcpy(code + n, &linear, 4);
        n += 4;
        code[n++] = 0xff; // jmp eax
        code[n++] = 0xe0;
        machine_write(m, linear, 2, 0x0b0f);
    } else {
        code[n++] = how == READ ? 0x8b : 0x89; // mov eax, [linear]; mov [linear], eax
        code[n++] = long_mode ? 0x04 : 0x05;
        if (long_mode)
            code[n++] = 0x25;
        memcpy(code + n, &linear, 4);
        n += 4;
    }
    code[n++] = 0x0f;
    code[n++] = 0x0b;
    machine_run(m, code, n);
}

typedef struct {
    unsigned how;
    bool user, wp, smep, smap, ac;
    uint64_t entry;
} Case;

// SDM vol. 3A, 4.6.1, written down case by case.
static bool allowed(const Case *c)
{
    bool user_page = c->entry & U;
    if (!(c->entry & P))
        return false;
    if (c->user) {
        if (!user_page)
            return false;
        return c->how == READ || (c->how == WRITE ? (c->entry & W) != 0 : !(c->entry & NX));
    }
    if (c->how == EXECUTE)
        return !(c->entry & NX) && !(user_page && c->smep);
    if (user_page && c->smap && !c->ac)
        return false;
    return c->how == READ || (c->entry & W) || !c->wp;
}

static uint32_t error_code(const Case *c, const Kind *kind)
{
    uint32_t error = (c->entry & P ? 1 : 0) | (c->how == WRITE ? 2 : 0) | (c->user ? 4 : 0);
    if (c->how == EXECUTE && (kind->nx || c->smep))
        error |= 16;
    return error;
}

static void check(Machine *m, const Kind *kind, const Case *c)
{
    make(m, kind, c->user);
    m->state.cr0 |= c->wp ? CR0_WP : 0;
    m->state.cr4 |= (c->smep ? CR4_SMEP : 0) | (c->smap ? CR4_SMAP : 0);
    m->state.rflags |= c->ac ? FLAG_AC : 0;
    set_entry(m, kind, MACHINE_DATA, MACHINE_DATA | c->entry);
    do_access(m, kind, c->how, MACHINE_DATA);
    uint64_t after = get_entry(m, kind, MACHINE_DATA) & (A | D);
    unsigned size = kind->make == machine_long ? 8 : 4;
    if (allowed(c)) {
        assert_vector(m, 6);
        g_assert_cmphex(after, ==, c->how == WRITE ? A | D : A);
    } else {
        assert_fault(m, 14, error_code(c, kind), size);
        g_assert_cmphex(m->state.cr2, ==, MACHINE_DATA);
        g_assert_cmphex(after, ==, 0);
    }
}

static void test_permissions(gconstpointer data)
{
    const Kind *kind = data;
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned bits = 0; bits < 512; bits++) {
        Case c = {
            .user = bits & 1, .wp = bits & 2, .smep = bits & 4, .smap = bits & 8, .ac = bits & 16,
            .entry = bits >> 5 & 7,
        };
        c.entry |= bits & 256 && kind->nx ? NX : 0;
        for (c.how = READ; c.how <= EXECUTE; c.how++)
            check(m, kind, &c);
    }
}

// The permissions of all levels are combined: here each table in turn takes a right away.
// CR2 is the address of the byte, not its page's.
static void test_fault_address(void)
{
    for (unsigned how = READ; how <= EXECUTE; how++) {
        g_autoptr(Machine) m = machine_new(1);
        make(m, &kinds[2], false);
        set_entry(m, &kinds[2], MACHINE_DATA, 0);
        do_access(m, &kinds[2], how, MACHINE_DATA + 0x123);
        assert_vector(m, 14);
        g_assert_cmphex(m->state.cr2, ==, MACHINE_DATA + 0x123);
    }
}

static void test_levels(void)
{
    const Kind *kind = &kinds[2];
    static const uint64_t tables[] = { MACHINE_PML4, MACHINE_PDPT, MACHINE_PD };
    g_autoptr(Machine) m = machine_new(1);
    for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
        make(m, kind, true);
        machine_write(m, tables[i], 8, machine_read(m, tables[i], 8) & ~(uint64_t)U);
        do_access(m, kind, READ, MACHINE_DATA);
        assert_fault(m, 14, 0x15, 8); // the first fetch already
        g_assert_cmphex(m->state.cr2, ==, MACHINE_CODE);

        make(m, kind, true);
        machine_write(m, tables[i], 8, machine_read(m, tables[i], 8) & ~(uint64_t)W);
        set_entry(m, kind, MACHINE_DATA, MACHINE_DATA | U | W | P);
        do_access(m, kind, WRITE, MACHINE_DATA);
        assert_fault(m, 14, 7, 8);
    }
}

static void test_reserved(gconstpointer data)
{
    const Kind *kind = data;
    g_autoptr(Machine) m = machine_new(1);
    make(m, kind, false);
    set_entry(m, kind, MACHINE_DATA, MACHINE_DATA | UINT64_C(1) << 45 | W | P);
    do_access(m, kind, READ, MACHINE_DATA);
    assert_fault(m, 14, 9, kind->make == machine_long ? 8 : 4);
    // XD is reserved while NXE is off.
    make(m, kind, false);
    m->state.efer &= ~UINT64_C(0x800);
    set_entry(m, kind, MACHINE_DATA, MACHINE_DATA | NX | W | P);
    do_access(m, kind, WRITE, MACHINE_DATA);
    assert_fault(m, 14, 11, kind->make == machine_long ? 8 : 4);
}

static void test_reserved_in_large(void)
{
    g_autoptr(Machine) m = machine_new(1);
    const Kind *kind = &kinds[2];
    make(m, kind, false);
    machine_write(m, MACHINE_PD + 8, 8, 0x200000 | 0x2000 | PS | W | P); // bit 13
    do_access(m, kind, READ, 0x200000);
    assert_fault(m, 14, 9, 8);
    make(m, kind, false);
    machine_write(m, MACHINE_PML4, 8, MACHINE_PDPT | W | P);
    machine_write(m, MACHINE_PML4 + 8, 8, MACHINE_PDPT | PS | W | P);
    machine_run_bytes(m, 0x48, 0xb8, 0, 0, 0, 0, 0x80, 0, 0, 0, // mov rax, 8000000000h
                      0x8b, 0x00, 0x0f, 0x0b);
    assert_fault(m, 14, 9, 8);
}

static void test_pae_pdpte(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_pae(m);
    machine_run_bytes(m, 0xc7, 0x05, (MACHINE_PML4 + 8) & 0xff, MACHINE_PML4 >> 8 & 0xff,
                      MACHINE_PML4 >> 16, 0, 3, 0, 0, 0, // mov dword [PML4 + 8], 3: bit 1
                      0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x0f, 0x0b); // reload CR3
    assert_fault(m, 13, 0, 4);
    // PDPTEs are read with CR3, not with each walk.
    machine_pae(m);
    machine_run_bytes(m, 0xc7, 0x05, MACHINE_PML4 & 0xff, MACHINE_PML4 >> 8 & 0xff,
                      MACHINE_PML4 >> 16, 0, 0, 0, 0, 0, // mov dword [PML4], 0
                      0x0f, 0x01, 0x3d, 0, 0, 0x10, 0,   // invlpg [100000h]
                      0xa1, 0, 0, 0x10, 0, 0x0f, 0x0b);
    assert_vector(m, 6);
}

// 2 MiB, 4 MiB (with PSE-36 bits) and 1 GiB pages give the right physical address.
static void test_large_pages(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_write(m, 0x223456, 4, 0x11112222);
    machine_write(m, 0x23458, 4, 0x33334444);

    make(m, &kinds[2], false);
    do_access(m, &kinds[2], READ, 0x223456);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x11112222);
    g_assert_cmphex(machine_read(m, MACHINE_PD + 8, 8) & (A | D), ==, A);

    make(m, &kinds[2], false);
    machine_write(m, MACHINE_PDPT + 8, 8, PS | W | P); // 1 GiB at 40000000h
    do_access(m, &kinds[2], READ, 0x40223456);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x11112222);

    make(m, &kinds[0], false);
    machine_write(m, MACHINE_PML4 + 4, 4, PS | W | P); // 4 MiB at 400000h
    do_access(m, &kinds[0], WRITE, 0x423458);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, 0x23458, 4), ==, 0);
    g_assert_cmphex(machine_read(m, MACHINE_PML4 + 4, 4) & (A | D), ==, A | D);

    make(m, &kinds[0], false);
    machine_write(m, MACHINE_PML4 + 4, 4, 1u << 13 | PS | W | P); // physical bit 32
    m->mmio_input = 0x5555;
    do_access(m, &kinds[0], READ, 0x400010);
    g_assert_cmphex(m->mmio_address, ==, UINT64_C(0x100000010));
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, 0x5555);
}

// mov eax, [DATA]; change the entry to the next page; `middle`; mov ebx, [DATA]; ud2
static void remap(Machine *m, const uint8_t *middle, unsigned size, uint64_t extra)
{
    const Kind *kind = &kinds[0];
    make(m, kind, false);
    m->state.cr4 |= 0x80; // PGE
    set_entry(m, kind, MACHINE_DATA, MACHINE_DATA | W | P | extra);
    machine_write(m, MACHINE_DATA, 4, 1);
    machine_write(m, MACHINE_DATA + 0x1000, 4, 2);
    uint32_t at = (uint32_t)entry_address(kind, MACHINE_DATA);
    uint32_t value = (uint32_t)((MACHINE_DATA + 0x1000) | W | P | extra);
    uint8_t code[64] = { 0xa1, 0, 0, 0x10, 0, 0xc7, 0x05 };
    memcpy(code + 7, &at, 4);
    memcpy(code + 11, &value, 4);
    memcpy(code + 15, middle, size);
    const uint8_t tail[] = { 0x8b, 0x1d, 0, 0, 0x10, 0, 0x0f, 0x0b };
    memcpy(code + 15 + size, tail, sizeof tail);
    machine_run(m, code, sizeof code);
    assert_vector(m, 6);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
}

static void test_invalidation(void)
{
    static const uint8_t invlpg[] = { 0x0f, 0x01, 0x3d, 0, 0, 0x10, 0 };
    static const uint8_t reload_cr3[] = { 0x0f, 0x20, 0xd9, 0x0f, 0x22, 0xd9 };
    static const uint8_t toggle_pge[] = { 0x0f, 0x20, 0xe1, 0x80, 0xf1, 0x80, 0x0f, 0x22, 0xe1 };
    g_autoptr(Machine) m = machine_new(1);
    remap(m, invlpg, sizeof invlpg, 0);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 2);
    remap(m, invlpg, sizeof invlpg, G);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 2);
    remap(m, reload_cr3, sizeof reload_cr3, 0);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 2);
    remap(m, reload_cr3, sizeof reload_cr3, G);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 1); // a global translation stays
    remap(m, toggle_pge, sizeof toggle_pge, G);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 2);
}

static void test_invlpg_in_large_page(void)
{
    g_autoptr(Machine) m = machine_new(1);
    make(m, &kinds[2], false);
    machine_write(m, 0x200000, 4, 7);
    machine_write(m, 0, 4, 9);
    // mov eax, [200000h]; mov dword [PD + 8], 87h (now at 0); invlpg [3ff000h]; mov ebx, [200000h]
    machine_run_bytes(m, 0x8b, 0x04, 0x25, 0, 0, 0x20, 0, //
                      0xc7, 0x04, 0x25, 0x08, 0x20, 0x01, 0, 0x87, 0, 0, 0, //
                      0x0f, 0x01, 0x3c, 0x25, 0, 0xf0, 0x3f, 0, //
                      0x8b, 0x1c, 0x25, 0, 0, 0x20, 0, 0x0f, 0x0b);
    assert_vector(m, 6);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 7);
    g_assert_cmpuint(m->state.gpr[VCPU_RBX], ==, 9);
}

// A write over a page boundary whose second page may not be written changes nothing.
static void test_crossing_write(void)
{
    g_autoptr(Machine) m = machine_new(1);
    const Kind *kind = &kinds[0];
    make(m, kind, false);
    set_entry(m, kind, MACHINE_DATA + 0x1000, 0);
    m->state.gpr[VCPU_RAX] = 0xffffffff;
    machine_write(m, MACHINE_DATA + 0xffc, 4, 0);
    do_access(m, kind, WRITE, MACHINE_DATA + 0xffe);
    assert_fault(m, 14, 2, 4);
    g_assert_cmphex(m->state.cr2, ==, MACHINE_DATA + 0x1000);
    g_assert_cmphex(machine_read(m, MACHINE_DATA + 0xffc, 4), ==, 0);
}

static void test_crossing_to_elsewhere(void)
{
    g_autoptr(Machine) m = machine_new(1);
    const Kind *kind = &kinds[0];
    make(m, kind, false);
    set_entry(m, kind, MACHINE_DATA + 0x1000, (MACHINE_DATA + 0x5000) | W | P);
    m->state.gpr[VCPU_RAX] = 0x44332211;
    do_access(m, kind, WRITE, MACHINE_DATA + 0xffe);
    assert_vector(m, 6);
    g_assert_cmphex(machine_read(m, MACHINE_DATA + 0xffe, 2), ==, 0x2211);
    g_assert_cmphex(machine_read(m, MACHINE_DATA + 0x5000, 2), ==, 0x4433);
}

static void test_a20(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    machine_write(m, 0x100500, 4, 1);
    machine_write(m, 0x500, 4, 2);
    bt_test_engine()->set_a20(m->vm, false);
    machine_run_bytes(m, 0xa1, 0, 5, 0x10, 0, 0x0f, 0x0b);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 2);
    bt_test_engine()->set_a20(m->vm, true);
    machine_protected(m);
    machine_run_bytes(m, 0xa1, 0, 5, 0x10, 0, 0x0f, 0x0b);
    g_assert_cmpuint(m->state.gpr[VCPU_RAX], ==, 1);
}

static void test_mmio(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    m->state.gpr[VCPU_RAX] = 0x12345678;
    machine_run_bytes(m, 0xa3, 0, 0, 0, 0xe0, 0x0f, 0x0b); // mov [e0000000h], eax
    g_assert_cmpuint(m->mmio_count, ==, 1);
    g_assert_true(m->mmio_write);
    g_assert_cmphex(m->mmio_address, ==, 0xe0000000);
    g_assert_cmpuint(m->mmio_size, ==, 4);
    g_assert_cmphex(m->mmio_value, ==, 0x12345678);
}

static void test_dirty_log(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    g_autoptr(RamBlock) video = ram_block_new("video", 0x4000, NULL);
    GuestSlot *slot = guest_memory_map(m->memory, "video", 0xd0000000, 0x4000, video->host,
                                       GUEST_SLOT_READ | GUEST_SLOT_WRITE | GUEST_SLOT_LOG_DIRTY);
    uint8_t *dirty = guest_slot_dirty(slot);
    memset(dirty, 0, 4);
    // The same page twice, with the log cleared by the reader in between.
    machine_run_bytes(m, 0xa3, 0, 0x10, 0, 0xd0, 0xf4, 0xa3, 4, 0x10, 0, 0xd0, 0xf4);
    g_assert_cmpuint(dirty[1], ==, 1);
    g_assert_cmpuint(dirty[0], ==, 0);
    dirty[1] = 0;
    m->state.events.halted = false;
    bt_test_engine()->set_state(m->vcpu[0], &m->state, VCPU_STATE_EVENTS);
    machine_continue(m);
    g_assert_cmpuint(dirty[1], ==, 1);
    guest_memory_unmap(m->memory, slot);
}

static void test_noncanonical(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_long(m);
    m->state.gpr[VCPU_RAX] = UINT64_C(0x0000800000000000);
    machine_run_bytes(m, 0x8b, 0x18);
    assert_fault(m, 13, 0, 8);
    machine_long(m);
    m->state.gpr[VCPU_RBP] = UINT64_C(0x8000000000000000);
    machine_run_bytes(m, 0x8b, 0x5d, 0);
    assert_fault(m, 12, 0, 8); // by RBP: the stack segment
}

static void test_alignment(void)
{
    g_autoptr(Machine) m = machine_new(1);
    make(m, &kinds[0], true);
    set_entry(m, &kinds[0], MACHINE_DATA, MACHINE_DATA | U | W | P);
    m->state.cr0 |= 1u << 18;
    m->state.rflags |= FLAG_AC;
    do_access(m, &kinds[0], READ, MACHINE_DATA + 2);
    assert_fault(m, 17, 0, 4);
    make(m, &kinds[0], true);
    m->state.cr0 |= 1u << 18;
    m->state.rflags |= FLAG_AC;
    do_access(m, &kinds[0], READ, MACHINE_DATA + 4);
    assert_fault(m, 14, 5, 4); // aligned: what the page says
}

// ---- Two CPUs ----

static void *run_second(void *opaque)
{
    Machine *m = opaque;
    VcpuExit exit;
    bt_test_engine()->run(m->vcpu[1], &exit);
    return GINT_TO_POINTER(exit.reason);
}

// One CPU adds to and subtracts from the bits of an entry that belong to software, with locked
// instructions, while the other one uses the page, so that A is set behind the first one's back
// again and again. No addition may be lost.
static void test_two_cpus_and_one_entry(void)
{
    g_autoptr(Machine) m = machine_new(2);
    const Kind *kind = &kinds[2];
    make(m, kind, false);
    VcpuState second = m->state;
    second.rip = MACHINE_CODE + 0x100;
    second.gpr[VCPU_RSP] = MACHINE_STACK1;
    g_assert_true(bt_test_engine()->set_state(m->vcpu[1], &second, VCPU_STATE_ALL));
    uint32_t at = (uint32_t)entry_address(kind, MACHINE_DATA);
    // loop: mov eax, [DATA]; lock btr dword [at], 5; invlpg [DATA]; jmp loop
    uint8_t user[] = { 0x8b, 0x04, 0x25, 0, 0, 0x10, 0, 0xf0, 0x0f, 0xba, 0x34, 0x25, 0, 0, 0, 0, 5,
                       0x0f, 0x01, 0x3c, 0x25, 0, 0, 0x10, 0, 0xeb, 0xe5 };
    memcpy(user + 12, &at, 4);
    guest_memory_write(m->memory, MACHINE_CODE + 0x100, user, sizeof user);
    // loop: lock add qword [at], rbx (1 << 52); neg rbx; dec ecx; jnz loop; hlt
    uint8_t counter[] = { 0xf0, 0x48, 0x01, 0x1c, 0x25, 0, 0, 0, 0, 0x48, 0xf7, 0xdb,
                          0xff, 0xc9, 0x75, 0xf0, 0xf4 };
    memcpy(counter + 5, &at, 4);
    m->state.gpr[VCPU_RBX] = UINT64_C(1) << 52;
    m->state.gpr[VCPU_RCX] = 4000000;
    GThread *thread = g_thread_new("cpu-1", run_second, m);
    VcpuStats stats;
    do {
        g_thread_yield();
        bt_test_engine()->stats(m->vcpu[1], &stats);
    } while (stats.tlb_misses < 1000);
    machine_run(m, counter, sizeof counter);
    bt_test_engine()->kick(m->vcpu[1]);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, VCPU_EXIT_KICK);
    g_assert_cmphex(get_entry(m, kind, MACHINE_DATA) & ~(uint64_t)A, ==, MACHINE_DATA | W | P);
}

// A page table that is code: a store's walk sets A and D in its entry, which is the immediate of
// the next instruction.
static void test_table_is_code(void)
{
    enum { PAGE = 0x180 };
    static const uint8_t code[] = {
        0xc6, 0x05, 0, 0, 0x18, 0, 0x55, // mov byte ptr [180000h], 55h
        0xb8, 0x07, 0, 0x18, 0,          // mov eax, the entry
        0xf4,
    };
    g_autoptr(Machine) m = machine_new(1);
    machine_paging(m);
    guest_memory_write(m->memory, MACHINE_PT + 4 * (PAGE - 2), code, sizeof code);
    m->state.rip = MACHINE_PT + 4 * (PAGE - 2);
    machine_run_bytes(m, 0xf4);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_HALT);
    g_assert_cmphex(m->state.rip, ==, MACHINE_PT + 4 * (PAGE + 1) + 1);
    g_assert_cmphex(m->state.gpr[VCPU_RAX], ==, PAGE << 12 | 0x67);
    g_assert_cmphex(machine_read(m, PAGE << 12, 1), ==, 0x55);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *path = g_strdup_printf("/bt-mmu/permissions/%s", kinds[i].name);
        g_test_add_data_func(path, &kinds[i], test_permissions);
        if (kinds[i].entry_size == 8) {
            g_autofree char *reserved = g_strdup_printf("/bt-mmu/reserved/%s", kinds[i].name);
            g_test_add_data_func(reserved, &kinds[i], test_reserved);
        }
    }
    g_test_add_func("/bt-mmu/levels", test_levels);
    g_test_add_func("/bt-mmu/fault-address", test_fault_address);
    g_test_add_func("/bt-mmu/reserved/large", test_reserved_in_large);
    g_test_add_func("/bt-mmu/pae/pdpte", test_pae_pdpte);
    g_test_add_func("/bt-mmu/large-pages", test_large_pages);
    g_test_add_func("/bt-mmu/invalidation", test_invalidation);
    g_test_add_func("/bt-mmu/invalidation/large", test_invlpg_in_large_page);
    g_test_add_func("/bt-mmu/crossing/fault", test_crossing_write);
    g_test_add_func("/bt-mmu/crossing/scattered", test_crossing_to_elsewhere);
    g_test_add_func("/bt-mmu/a20", test_a20);
    g_test_add_func("/bt-mmu/mmio", test_mmio);
    g_test_add_func("/bt-mmu/dirty-log", test_dirty_log);
    g_test_add_func("/bt-mmu/non-canonical", test_noncanonical);
    g_test_add_func("/bt-mmu/alignment", test_alignment);
    g_test_add_func("/bt-mmu/two-cpus", test_two_cpus_and_one_entry);
    g_test_add_func("/bt-mmu/table-is-code", test_table_is_code);
    return g_test_run();
}
