// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-machine.h.
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include "tests/unit/engine/vcpu/bt/bt-engine.h"

#include <string.h>

#define OPS bt_test_engine()

static void serve_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    Machine *m = opaque;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&m->lock);
    if (m->most_exits && --m->most_exits == 0)
        OPS->kick(m->vcpu[cpu]);
    if (exit->reason == VCPU_EXIT_PORT) {
        if (m->port_count < G_N_ELEMENTS(m->ports))
            m->ports[m->port_count++] = (MachinePort){ exit->port.port, exit->port.size,
                                                       exit->port.write, exit->port.count,
                                                       exit->port.value };
        if (exit->port.data && !exit->port.write)
            memset(exit->port.data, (int)m->port_input, exit->port.count * exit->port.size);
        else if (!exit->port.write)
            exit->port.value = m->port_input;
    } else if (exit->reason == VCPU_EXIT_MMIO) {
        m->mmio_count++;
        m->mmio_address = exit->mmio.address;
        m->mmio_size = exit->mmio.size;
        m->mmio_write = exit->mmio.write;
        m->mmio_value = exit->mmio.value;
        if (!exit->mmio.write)
            exit->mmio.value = m->mmio_input;
    } else if (exit->reason == VCPU_EXIT_MSR) {
        exit->msr.fault = exit->msr.index != 0x1b;
        exit->msr.value = 0xfee00900;
    } else if (exit->reason == VCPU_EXIT_CR8) {
        exit->cr8.value = exit->cr8.write ? exit->cr8.value : 5;
    }
}

static int acknowledge(void *opaque, unsigned cpu)
{
    Machine *m = opaque;
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&m->lock);
    int vector = m->interrupt;
    m->interrupt = -1;
    OPS->set_interrupt(m->vcpu[cpu], false);
    return vector;
}

static int64_t now_ns(void *opaque)
{
    return ((Machine *)opaque)->now;
}

Machine *machine_new(unsigned cpus)
{
    Machine *m = g_new0(Machine, 1);
    g_mutex_init(&m->lock);
    m->ram = ram_block_new("ram", MACHINE_RAM, NULL);
    m->memory = guest_memory_new(UINT64_C(1) << 40);
    guest_memory_map(m->memory, "ram", 0, MACHINE_RAM, m->ram->host,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    cpuid_model_build(&m->cpuid, OPS->features(), cpus, 1000000000);
    BackendVmConfig config = {
        .memory = m->memory, .cpuid = &m->cpuid, .handler = { serve_exit, acknowledge, m },
        .now_ns = now_ns, .now_opaque = m,
    };
    m->interrupt = -1;
    m->vm = OPS->vm_create(&config, NULL);
    m->cpus = cpus;
    for (unsigned i = 0; i < cpus; i++)
        m->vcpu[i] = OPS->vcpu_create(m->vm, i, NULL);
    for (unsigned v = 0; v < 256; v++)
        machine_write(m, MACHINE_HANDLERS + 16 * v, 1, 0xf4);
    return m;
}

void machine_free(Machine *m)
{
    for (unsigned i = 0; i < m->cpus; i++)
        OPS->vcpu_destroy(m->vcpu[i]);
    OPS->vm_destroy(m->vm);
    guest_memory_free(m->memory);
    ram_block_free(m->ram);
    g_mutex_clear(&m->lock);
    g_free(m);
}

// ---- Memory ----

uint64_t machine_read(Machine *m, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    guest_memory_read(m->memory, address, &value, size);
    return value;
}

void machine_write(Machine *m, uint64_t address, unsigned size, uint64_t value)
{
    guest_memory_write(m->memory, address, &value, size);
}

void machine_descriptor(Machine *m, uint64_t table, unsigned selector, uint32_t base,
                        uint32_t limit_field, uint16_t access)
{
    uint64_t raw = (limit_field & 0xffff) | (uint64_t)(limit_field >> 16 & 0xf) << 48 |
                   (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56 |
                   (uint64_t)(access & 0xff) << 40 | (uint64_t)(access >> 12) << 52;
    machine_write(m, table + (selector & 0xfff8), 8, raw);
}

void machine_gate(Machine *m, uint64_t address, uint16_t selector, uint64_t offset, uint8_t type,
                  unsigned parameters)
{
    machine_write(m, address, 8, (offset & 0xffff) | (uint64_t)selector << 16 |
                                     (uint64_t)parameters << 32 | (uint64_t)type << 40 |
                                     (offset & 0xffff0000) << 32);
}

void machine_idt_gate(Machine *m, unsigned vector, uint16_t selector, uint64_t offset,
                      uint8_t type)
{
    if (m->state.efer & 0x400) {
        machine_gate(m, MACHINE_IDT + 16 * vector, selector, offset, type, 0);
        machine_write(m, MACHINE_IDT + 16 * vector + 8, 8, offset >> 32);
    } else {
        machine_gate(m, MACHINE_IDT + 8 * vector, selector, offset, type, 0);
    }
}

// ---- Modes ----

static VcpuSegment segment(uint16_t selector, uint16_t access, uint32_t limit)
{
    return (VcpuSegment){ .selector = selector, .access = access, .limit = limit };
}

void machine_real(Machine *m)
{
    vcpu_state_reset(&m->state, m->cpuid.signature);
    VcpuState *s = &m->state;
    s->cr0 = 0x10;
    s->segment[VCPU_CS].selector = 0;
    s->segment[VCPU_CS].base = 0;
    s->rip = MACHINE_CODE;
    s->gpr[VCPU_RSP] = MACHINE_STACK;
    s->idtr = (VcpuTable){ 0, 0x3ff };
    for (unsigned v = 0; v < 256; v++)
        machine_write(m, 4 * v, 4, MACHINE_HANDLERS + 16 * v);
}

static void make_gdt(Machine *m)
{
    const uint64_t gdt = MACHINE_GDT;
    machine_descriptor(m, gdt, SEL_CODE32, 0, 0xfffff, 0xc09b);
    machine_descriptor(m, gdt, SEL_DATA32, 0, 0xfffff, 0xc093);
    machine_descriptor(m, gdt, SEL_USER_CODE32, 0, 0xfffff, 0xc0fb);
    machine_descriptor(m, gdt, SEL_USER_DATA32, 0, 0xfffff, 0xc0f3);
    machine_descriptor(m, gdt, SEL_CODE16, 0, 0xffff, 0x009b);
    machine_descriptor(m, gdt, SEL_DATA16, 0, 0xffff, 0x0093);
    machine_descriptor(m, gdt, SEL_TSS, MACHINE_TSS, 0x2ff, 0x008b);
    machine_descriptor(m, gdt, SEL_LDT, MACHINE_LDT, 0xff, 0x0082);
    machine_descriptor(m, gdt, SEL_CODE64, 0, 0xfffff, 0xa09b);
    machine_descriptor(m, gdt, SEL_USER_CODE64, 0, 0xfffff, 0xa0fb);
    machine_descriptor(m, gdt, SEL_TSS2, MACHINE_TSS2, 0x67, 0x0089);
}

void machine_protected(Machine *m)
{
    machine_real(m);
    VcpuState *s = &m->state;
    make_gdt(m);
    s->cr0 = 0x11;
    s->segment[VCPU_CS] = segment(SEL_CODE32, 0xc09b, UINT32_MAX);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++) {
        if (i != VCPU_CS)
            s->segment[i] = segment(SEL_DATA32, 0xc093, UINT32_MAX);
    }
    s->gdtr = (VcpuTable){ MACHINE_GDT, 0xff };
    s->idtr = (VcpuTable){ MACHINE_IDT, 0x7ff };
    s->tr = segment(SEL_TSS, 0x008b, 0x2ff);
    s->tr.base = MACHINE_TSS;
    s->ldtr = segment(SEL_LDT, 0x0082, 0xff);
    s->ldtr.base = MACHINE_LDT;
    machine_write(m, MACHINE_TSS + 4, 4, MACHINE_STACK0);
    machine_write(m, MACHINE_TSS + 8, 4, SEL_DATA32);
    machine_write(m, MACHINE_TSS + 102, 2, 0x2ff); // no I/O bitmap
    for (unsigned v = 0; v < 256; v++)
        machine_idt_gate(m, v, SEL_CODE32, MACHINE_HANDLERS + 16 * v, 0x8e);
}

void machine_paging(Machine *m)
{
    machine_protected(m);
    for (unsigned i = 0; i < 1024; i++) {
        machine_write(m, MACHINE_PML4 + 4 * i, 4, i == 0 ? MACHINE_PT | 7 : 0);
        machine_write(m, MACHINE_PT + 4 * i, 4, i << 12 | 7);
    }
    m->state.cr3 = MACHINE_PML4;
    m->state.cr4 = 0x10; // PSE
    m->state.cr0 |= 0x80000000;
}

// One page table for the first 2 MiB, then a 2 MiB page.
static void make_pae_tables(Machine *m, uint64_t directory)
{
    for (unsigned i = 0; i < 512; i++) {
        machine_write(m, MACHINE_PT + 8 * i, 8, (uint64_t)i << 12 | 7);
        machine_write(m, directory + 8 * i, 8, 0);
    }
    machine_write(m, directory, 8, MACHINE_PT | 7);
    machine_write(m, directory + 8, 8, 0x200087);
}

void machine_pae(Machine *m)
{
    machine_protected(m);
    for (unsigned i = 0; i < 4; i++)
        machine_write(m, MACHINE_PML4 + 8 * i, 8, i == 0 ? MACHINE_PD | 1 : 0);
    make_pae_tables(m, MACHINE_PD);
    m->state.cr3 = MACHINE_PML4;
    m->state.cr4 = 0x20;
    m->state.efer = 0x800;
    m->state.cr0 |= 0x80000000;
}

void machine_long(Machine *m)
{
    machine_protected(m);
    VcpuState *s = &m->state;
    for (unsigned i = 0; i < 512; i++) {
        machine_write(m, MACHINE_PML4 + 8 * i, 8, 0);
        machine_write(m, MACHINE_PDPT + 8 * i, 8, 0);
    }
    machine_write(m, MACHINE_PML4, 8, MACHINE_PDPT | 7);
    machine_write(m, MACHINE_PDPT, 8, MACHINE_PD | 7);
    make_pae_tables(m, MACHINE_PD);
    s->cr3 = MACHINE_PML4;
    s->cr4 = 0x20;
    s->efer = 0xd01; // SCE LME LMA NXE
    s->cr0 |= 0x80000000;
    s->segment[VCPU_CS] = segment(SEL_CODE64, 0xa09b, UINT32_MAX);
    s->idtr = (VcpuTable){ MACHINE_IDT, 0xfff };
    machine_write(m, MACHINE_TSS, 4, 0);
    machine_write(m, MACHINE_TSS + 4, 8, MACHINE_STACK0);
    machine_write(m, MACHINE_TSS + 36, 8, MACHINE_IST1);
    for (unsigned v = 0; v < 256; v++)
        machine_idt_gate(m, v, SEL_CODE64, MACHINE_HANDLERS + 16 * v, 0x8e);
}

void machine_user(Machine *m)
{
    VcpuState *s = &m->state;
    bool long_mode = s->efer & 0x400;
    s->segment[VCPU_CS] = long_mode ? segment(SEL_USER_CODE64, 0xa0fb, UINT32_MAX)
                                    : segment(SEL_USER_CODE32, 0xc0fb, UINT32_MAX);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++) {
        if (i != VCPU_CS)
            s->segment[i] = segment(SEL_USER_DATA32, 0xc0f3, UINT32_MAX);
    }
}

void machine_v86(Machine *m)
{
    VcpuState *s = &m->state;
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        s->segment[i] = segment(0, 0xf3, 0xffff);
    s->rflags = 0x20002;
}

// ---- Running ----

void machine_continue(Machine *m)
{
    OPS->run(m->vcpu[0], &m->exit);
    OPS->get_state(m->vcpu[0], &m->state, VCPU_STATE_ALL);
}

void machine_run(Machine *m, const void *code, size_t size)
{
    guest_memory_write(m->memory, MACHINE_CODE, code, size);
    g_assert_true(OPS->set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL));
    machine_continue(m);
}

int machine_vector(const Machine *m)
{
    uint64_t at = m->state.rip - 1 - MACHINE_HANDLERS;
    if (m->exit.reason != VCPU_EXIT_HALT || at % 16 || at / 16 > 255)
        return -1;
    return (int)(at / 16);
}

uint64_t machine_stack(const Machine *m)
{
    const VcpuState *s = &m->state;
    uint64_t sp = s->gpr[VCPU_RSP];
    if ((s->efer & 0x400) && s->segment[VCPU_CS].access & 0x2000)
        return sp;
    return s->segment[VCPU_SS].base +
           (s->segment[VCPU_SS].access & 0x4000 ? (uint32_t)sp : (uint16_t)sp);
}

void machine_long_user(Machine *m)
{
    machine_long(m);
    machine_user(m);
}

void machine_compatibility(Machine *m)
{
    machine_long(m);
    m->state.segment[VCPU_CS] = (VcpuSegment){ .selector = SEL_CODE32, .access = 0xc09b,
                                               .limit = UINT32_MAX };
}

void machine_protected_user(Machine *m)
{
    machine_paging(m);
    machine_user(m);
}

void machine_protected_16(Machine *m)
{
    machine_protected(m);
    m->state.segment[VCPU_CS] = (VcpuSegment){ .selector = SEL_CODE16, .access = 0x009b,
                                               .limit = 0xffff };
    m->state.segment[VCPU_SS] = (VcpuSegment){ .selector = SEL_DATA16, .access = 0x0093,
                                               .limit = 0xffff };
}

void machine_protected_v86(Machine *m)
{
    machine_protected(m);
    machine_v86(m);
}
