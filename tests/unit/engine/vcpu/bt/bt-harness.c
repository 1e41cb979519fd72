// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-harness.h.
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "tests/unit/engine/vcpu/bt/bt-engine.h"

#include "engine/base/bytes.h"

#include <string.h>

static void serve_exit(void *opaque, unsigned cpu, VcpuExit *exit)
{
    BtHarness *h = opaque;
    h->accesses++;
    switch (exit->reason) {
    case VCPU_EXIT_PORT:
        if (!exit->port.write && !exit->port.data)
            exit->port.value = (uint32_t)h->answer;
        break;
    case VCPU_EXIT_MMIO:
        if (!exit->mmio.write)
            exit->mmio.value = h->answer;
        break;
    case VCPU_EXIT_MSR:
        exit->msr.fault = true;
        break;
    default:
        break;
    }
    h->last = *exit;
}

static int acknowledge(void *opaque, unsigned cpu)
{
    BtHarness *h = opaque;
    bt_test_engine()->set_interrupt(h->cpu, false);
    return h->vector;
}

static int64_t now_ns(void *opaque)
{
    return ((BtHarness *)opaque)->now;
}

BtHarness *bt_harness_new(void)
{
    g_autoptr(GError) error = NULL;
    BtHarness *h = g_new0(BtHarness, 1);
    h->memory = guest_memory_new(UINT64_C(1) << 40);
    h->ram = ram_block_new("ram", BT_HARNESS_RAM, &error);
    g_assert_no_error(error);
    guest_memory_map(h->memory, "ram", 0, BT_HARNESS_RAM, h->ram->host,
                     GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    cpuid_model_build(&h->cpuid, bt_test_engine()->features(), 1, 1000000000);
    BackendVmConfig config = {
        .memory = h->memory,
        .cpuid = &h->cpuid,
        .handler = {.exit = serve_exit, .acknowledge = acknowledge, .opaque = h},
        .now_ns = now_ns,
        .now_opaque = h,
    };
    h->vm = bt_test_engine()->vm_create(&config, &error);
    g_assert_no_error(error);
    h->cpu = bt_test_engine()->vcpu_create(h->vm, 0, &error);
    g_assert_no_error(error);
    bt_test_engine()->get_state(h->cpu, &h->state, VCPU_STATE_ALL);
    return h;
}

void bt_harness_free(BtHarness *h)
{
    if (!h)
        return;
    bt_test_engine()->vcpu_destroy(h->cpu);
    bt_test_engine()->vm_destroy(h->vm);
    guest_memory_free(h->memory);
    ram_block_free(h->ram);
    g_free(h);
}

void *bt_harness_at(BtHarness *h, uint64_t address)
{
    g_assert_cmpuint(address, <, BT_HARNESS_RAM);
    return h->ram->host + address;
}

static void put_tables(BtHarness *h)
{
    static const uint64_t gdt[] = {
        0,
        UINT64_C(0x00af9b000000ffff), // 64-bit code
        UINT64_C(0x00cf93000000ffff), // 32-bit data
        UINT64_C(0x00cf9b000000ffff), // 32-bit code
        UINT64_C(0x008f9b000000ffff), // 16-bit code
        UINT64_C(0x008f93000000ffff), // 16-bit data
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(gdt); i++)
        le64_write(bt_harness_at(h, BT_HARNESS_GDT + 8 * i), gdt[i]);
    le64_write(bt_harness_at(h, BT_HARNESS_TABLES), (BT_HARNESS_TABLES + 0x1000) | 7);
    le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 0x1000), (BT_HARNESS_TABLES + 0x2000) | 7);
    for (unsigned i = 0; i < BT_HARNESS_RAM >> 21; i++)
        le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 0x2000 + 8 * i),
                   (uint64_t)i << 21 | 0x87);
}

static VcpuSegment flat_segment(uint16_t selector, uint16_t access)
{
    return (VcpuSegment){.limit = UINT32_MAX, .selector = selector, .access = access};
}

VcpuState *bt_harness_state(BtHarness *h, BtHarnessMode mode)
{
    VcpuState *s = &h->state;
    vcpu_state_reset(s, h->cpuid.signature);
    put_tables(h);
    memset(s->gpr, 0, sizeof s->gpr);
    s->rip = BT_HARNESS_CODE;
    s->gpr[VCPU_RSP] = mode == BT_HARNESS_REAL || mode == BT_HARNESS_PROTECTED_16
                           ? 0xf000
                           : BT_HARNESS_STACK;
    s->gdtr = (VcpuTable){.base = BT_HARNESS_GDT, .limit = 6 * 8 - 1};
    if (mode == BT_HARNESS_REAL) {
        s->segment[VCPU_CS].selector = 0;
        s->segment[VCPU_CS].base = 0;
        return s;
    }
    bool wide = mode != BT_HARNESS_PROTECTED_16;
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        s->segment[i] = wide ? flat_segment(BT_HARNESS_DATA_32, 0xc093)
                             : flat_segment(BT_HARNESS_DATA_16, 0x8093);
    s->segment[VCPU_CS] = mode == BT_HARNESS_LONG ? flat_segment(BT_HARNESS_CODE_64, 0xa09b)
                          : wide                  ? flat_segment(BT_HARNESS_CODE_32, 0xc09b)
                                                  : flat_segment(BT_HARNESS_CODE_16, 0x809b);
    s->cr0 = (s->cr0 & ~UINT64_C(0x60000000)) | 0x21; // PE, NE
    s->cr4 = 0x600;                                   // OSFXSR, OSXMMEXCPT
    if (mode == BT_HARNESS_LONG) {
        s->cr0 |= 0x80010000; // PG, WP
        s->cr4 |= 0x20;       // PAE
        s->cr3 = BT_HARNESS_TABLES;
        s->efer = 0xd01; // SCE, LME, LMA, NXE
    }
    return s;
}

void bt_harness_code(BtHarness *h, uint64_t address, const void *code, size_t size)
{
    memcpy(bt_harness_at(h, address), code, size);
    *(uint8_t *)bt_harness_at(h, address + size) = 0xf4;
    // As a device's write would be: decoded code there goes.
    guest_memory_written(h->memory, address, size + 1);
}

void bt_harness_run_any(BtHarness *h)
{
    h->accesses = 0;
    h->state.events.halted = false;
    g_assert_true(bt_test_engine()->set_state(h->cpu, &h->state, VCPU_STATE_ALL));
    bt_test_engine()->run(h->cpu, &h->exit);
    bt_test_engine()->get_state(h->cpu, &h->state, VCPU_STATE_ALL);
}

void bt_harness_run(BtHarness *h)
{
    bt_harness_run_any(h);
    g_assert_cmpstr(vcpu_exit_name(h->exit.reason), ==, vcpu_exit_name(VCPU_EXIT_HALT));
}
