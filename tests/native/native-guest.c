// SPDX-License-Identifier: GPL-2.0-or-later
// See native-guest.h. Every exception goes through an IDT to a HLT of its own in ring 0, so that
// the vCPU's exit tells the vector, and the ring-0 stack the rest.
#include "tests/native/native-guest.h"

#include "engine/base/bytes.h"
#include "engine/memory/ram.h"
#include "engine/vcpu/vcpu-backend.h"
#include "tests/unit/engine/vcpu/bt/bt-engine.h"

#include <glib.h>
#include <string.h>

#define SYSTEM UINT64_C(0xffff800000000000) // where supervisor code sees physical memory

// Physical pages.
enum {
    PAGE_PML4 = 1, PAGE_PDPT, PAGE_PD, PAGE_PT, // the window
    PAGE_SYSTEM_PDPT, PAGE_SYSTEM_PD, PAGE_SYSTEM_PT,
    PAGE_GDT, PAGE_IDT, PAGE_TSS, PAGE_STUBS, PAGE_RING_0_STACK,
    PAGE_CODE,
    PAGE_IMAGE, // data, const, stack
    PAGES = PAGE_IMAGE + 4,
};

enum { SELECTOR_RING_0 = 0x10, SELECTOR_TSS = 0x40 };

enum {
    PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40,
    PTE_SYSTEM = PTE_P | PTE_W | PTE_A | PTE_D,
    PTE_CONST = PTE_P | PTE_U | PTE_A | PTE_D,
    PTE_USER = PTE_CONST | PTE_W,
};
#define PTE_NX (UINT64_C(1) << 63)

struct NativeGuest {
    GuestMemory *memory;
    RamBlock *ram;
    CpuidModel cpuid;
    BackendVm *vm;
    BackendVcpu *cpu;
    VcpuState state, base;
};

static uint8_t *page_at(NativeGuest *g, unsigned page)
{
    return g->ram->host + page * NATIVE_PAGE;
}

static void serve_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    if (exit->reason == VCPU_EXIT_MSR)
        exit->msr.fault = true;
}

static int acknowledge(void *opaque, unsigned cpu)
{
    return -1;
}

static int64_t now_ns(void *opaque)
{
    return 0;
}

static void link_table(NativeGuest *g, unsigned from, uint64_t address, unsigned shift, unsigned to,
                       uint64_t flags)
{
    le64_write(page_at(g, from) + 8 * (address >> shift & 511), to * NATIVE_PAGE | flags);
}

static void put_tables(NativeGuest *g)
{
    link_table(g, PAGE_PML4, NATIVE_CODE, 39, PAGE_PDPT, PTE_USER);
    link_table(g, PAGE_PDPT, NATIVE_CODE, 30, PAGE_PD, PTE_USER);
    link_table(g, PAGE_PD, NATIVE_CODE, 21, PAGE_PT, PTE_USER);
    link_table(g, PAGE_PT, NATIVE_CODE, 12, PAGE_CODE, PTE_CONST);
    link_table(g, PAGE_PT, NATIVE_DATA, 12, PAGE_IMAGE, PTE_USER | PTE_NX);
    link_table(g, PAGE_PT, NATIVE_DATA + NATIVE_PAGE, 12, PAGE_IMAGE + 1, PTE_USER | PTE_NX);
    link_table(g, PAGE_PT, NATIVE_CONST, 12, PAGE_IMAGE + 2, PTE_CONST | PTE_NX);
    link_table(g, PAGE_PT, NATIVE_STACK, 12, PAGE_IMAGE + 3, PTE_USER | PTE_NX);

    link_table(g, PAGE_PML4, SYSTEM, 39, PAGE_SYSTEM_PDPT, PTE_SYSTEM);
    link_table(g, PAGE_SYSTEM_PDPT, SYSTEM, 30, PAGE_SYSTEM_PD, PTE_SYSTEM);
    link_table(g, PAGE_SYSTEM_PD, SYSTEM, 21, PAGE_SYSTEM_PT, PTE_SYSTEM);
    for (unsigned i = 1; i < PAGE_CODE; i++)
        link_table(g, PAGE_SYSTEM_PT, SYSTEM + i * NATIVE_PAGE, 12, i, PTE_SYSTEM);
}

static void put_descriptors(NativeGuest *g, uint64_t cpu_segment)
{
    static const uint64_t gdt[] = {
        0,
        UINT64_C(0x00cf9b000000ffff), // 32-bit ring-0 code
        UINT64_C(0x00af9b000000ffff), // 64-bit ring-0 code
        UINT64_C(0x00cf93000000ffff), // ring-0 data
        UINT64_C(0x00cffb000000ffff), // 32-bit user code
        UINT64_C(0x00cff3000000ffff), // user data
        UINT64_C(0x00affb000000ffff), // 64-bit user code
    };
    memcpy(page_at(g, PAGE_GDT), gdt, sizeof gdt);
    le64_write(page_at(g, PAGE_GDT) + (NATIVE_CPU_SEGMENT & ~7), cpu_segment);
    le64_write(page_at(g, PAGE_TSS) + 4, SYSTEM + (PAGE_RING_0_STACK + 1) * NATIVE_PAGE);
    le16_write(page_at(g, PAGE_TSS) + 102, 0x68); // behind the limit: no ports for user code
    for (unsigned vector = 0; vector < 256; vector++) {
        uint64_t handler = SYSTEM + PAGE_STUBS * NATIVE_PAGE + 16 * vector;
        unsigned dpl = vector == 3 || vector == 4 ? 3 : 0;
        uint8_t *gate = page_at(g, PAGE_IDT) + 16 * vector;
        le64_write(gate, (handler & 0xffff) | SELECTOR_RING_0 << 16 |
                             (uint64_t)(0x8e00 | dpl << 13) << 32 |
                             (handler >> 16 & 0xffff) << 48);
        le64_write(gate + 8, handler >> 32);
        page_at(g, PAGE_STUBS)[16 * vector] = 0xf4;
    }
}

static VcpuSegment segment(uint16_t selector, uint16_t access)
{
    return (VcpuSegment){ .limit = UINT32_MAX, .selector = selector, .access = access };
}

static void set_base(NativeGuest *g)
{
    VcpuState *s = &g->base;
    vcpu_state_reset(s, g->cpuid.signature);
    memset(s->gpr, 0, sizeof s->gpr);
    s->segment[VCPU_CS] = segment(NATIVE_CS_64, 0xa0fb);
    s->segment[VCPU_SS] = segment(NATIVE_DS, 0xc0f3);
    s->segment[VCPU_DS] = s->segment[VCPU_ES] = s->segment[VCPU_SS];
    s->segment[VCPU_FS] = s->segment[VCPU_GS] = (VcpuSegment){ .unusable = true };
    s->tr = (VcpuSegment){ .base = SYSTEM + PAGE_TSS * NATIVE_PAGE, .limit = 0x67,
                           .selector = SELECTOR_TSS, .access = 0x8b };
    s->ldtr = (VcpuSegment){ .unusable = true };
    s->gdtr = (VcpuTable){ SYSTEM + PAGE_GDT * NATIVE_PAGE, 0x7f };
    s->idtr = (VcpuTable){ SYSTEM + PAGE_IDT * NATIVE_PAGE, 0xfff };
    s->cr0 = 0x80050033; // PG AM WP NE ET MP PE
    s->cr3 = PAGE_PML4 * NATIVE_PAGE;
    s->cr4 = 0x50620; // OSXSAVE FSGSBASE OSXMMEXCPT OSFXSR PAE
    s->efer = 0xd01;  // NXE LMA LME SCE
    s->xcr0 = 7;
}

NativeGuest *native_guest_new(uint64_t cpu_segment)
{
    g_autoptr(GError) error = NULL;
    NativeGuest *g = g_new0(NativeGuest, 1);
    g->memory = guest_memory_new(UINT64_C(1) << 40);
    g->ram = ram_block_new("ram", PAGES * NATIVE_PAGE, &error);
    g_assert_no_error(error);
    guest_memory_map(g->memory, "ram", 0, g->ram->size, g->ram->host,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    cpuid_model_build(&g->cpuid, bt_test_engine()->features(), 1, 1000000000);
    BackendVmConfig config = {
        .memory = g->memory,
        .cpuid = &g->cpuid,
        .handler = { .exit = serve_exit, .acknowledge = acknowledge, .opaque = g },
        .now_ns = now_ns,
    };
    g->vm = bt_test_engine()->vm_create(&config, &error);
    g_assert_no_error(error);
    g->cpu = bt_test_engine()->vcpu_create(g->vm, 0, &error);
    g_assert_no_error(error);
    put_tables(g);
    put_descriptors(g, cpu_segment);
    memset(page_at(g, PAGE_CODE), 0xcc, NATIVE_PAGE);
    set_base(g);
    return g;
}

void native_guest_free(NativeGuest *g)
{
    bt_test_engine()->vcpu_destroy(g->cpu);
    bt_test_engine()->vm_destroy(g->vm);
    guest_memory_free(g->memory);
    ram_block_free(g->ram);
    g_free(g);
}

uint64_t native_guest_units(NativeGuest *g)
{
    VcpuStats stats;
    bt_test_engine()->stats(g->cpu, &stats);
    return stats.units[VCPU_UNIT_ENTRIES];
}

bool native_guest_translates(void)
{
    return bt_test_engine() == &vcpu_backend_translator;
}

static bool has_error(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
}

// What the exception pushed (SDM vol. 3A, 6.14.2).
static void read_frame(NativeGuest *g, NativeResult *r)
{
    const uint8_t *frame = page_at(g, PAGE_RING_0_STACK + 1) - 40;
    r->error = has_error(r->vector) ? le64_read(frame - 8) : 0;
    r->end.rip = le64_read(frame);
    r->end.rflags = le64_read(frame + 16);
    r->end.gpr[VCPU_RSP] = le64_read(frame + 24);
    r->end.selector[VCPU_CS] = (uint16_t)le64_read(frame + 8);
    r->end.selector[VCPU_SS] = (uint16_t)le64_read(frame + 32);
    r->address = r->vector == 14 ? g->state.cr2 : 0;
}

void native_guest_run(NativeGuest *g, const NativeCase *c, const uint8_t *common, NativeResult *r)
{
    VcpuState *s = &g->state;
    native_case_memory(c, common, page_at(g, PAGE_IMAGE));
    unsigned offset = (unsigned)(c->start.rip - NATIVE_CODE);
    memcpy(page_at(g, PAGE_CODE) + offset, c->code, c->length);
    guest_memory_written(g->memory, PAGE_CODE * NATIVE_PAGE, NATIVE_PAGE);

    *s = g->base;
    memcpy(s->gpr, c->start.gpr, sizeof s->gpr);
    s->rip = c->start.rip;
    s->rflags = c->start.rflags;
    if (c->mode_32)
        s->segment[VCPU_CS] = segment(NATIVE_CS_32, 0xc0fb);
    s->segment[VCPU_FS].base = c->start.fs_base;
    s->segment[VCPU_GS].base = c->start.gs_base;
    memcpy(s->xsave, c->start.xsave, NATIVE_XSAVE);
    VcpuStateGroups groups = VCPU_STATE_ALL & ~(VCPU_STATE_MSRS | VCPU_STATE_DEBUG);
    g_assert_true(bt_test_engine()->set_state(g->cpu, s, groups));
    VcpuExit exit;
    bt_test_engine()->run(g->cpu, &exit);
    bt_test_engine()->get_state(g->cpu, s, groups);

    memcpy(r->end.gpr, s->gpr, sizeof s->gpr);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        r->end.selector[i] = s->segment[i].selector;
    r->end.fs_base = s->segment[VCPU_FS].base;
    r->end.gs_base = s->segment[VCPU_GS].base;
    memcpy(r->end.xsave, s->xsave, NATIVE_XSAVE);
    native_registers_normalize(&r->end);
    uint64_t stub = s->rip - 1 - (SYSTEM + PAGE_STUBS * NATIVE_PAGE);
    r->lost = exit.reason != VCPU_EXIT_HALT || stub >= NATIVE_PAGE || stub % 16;
    r->vector = r->lost ? -1 : (int)(stub / 16);
    if (!r->lost)
        read_frame(g, r);
    memcpy(r->memory, page_at(g, PAGE_IMAGE), NATIVE_IMAGE);
    memset(page_at(g, PAGE_CODE) + offset, 0xcc, c->length);
}
