// SPDX-License-Identifier: GPL-2.0-or-later
// The local APICs: registers, priorities, local vector table, and the border to the vCPUs
// (engine/bus/apic.h). lapic-ipi.c has the messages, lapic-timer.c the timer. The version is that
// of an integrated APIC with six LVT entries; SMM's and CMCI's parts are not there, nor is EOI
// broadcast suppression. Follows the Intel SDM vol. 3A (325384-079), chapter 11.
#include "engine/devices/chipset/lapic-private.h"

#include "engine/base/guest-log.h"

#include <gio/gio.h>

#define VERSION          0x00050014u // LVT entries 0..5, integrated APIC
#define BASE_ADDRESS     UINT64_C(0xfee00000)
#define BASE_ADDRESS_MASK UINT64_C(0x000ffffffffff000)
#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC       0x800
#define ICR_WRITABLE     0x000ccfffu
#define LINT_EXTINT      (DELIVER_EXTINT << 8)

static int highest_bit(const uint32_t *words)
{
    for (int i = 7; i >= 0; i--) {
        if (words[i])
            return i * 32 + 31 - __builtin_clz(words[i]);
    }
    return -1;
}

static void set_bit(uint32_t *words, uint8_t vector)
{
    words[vector >> 5] |= 1u << (vector & 31);
}

static void clear_bit(uint32_t *words, uint8_t vector)
{
    words[vector >> 5] &= ~(1u << (vector & 31));
}

static bool test_bit(const uint32_t *words, uint8_t vector)
{
    return words[vector >> 5] >> (vector & 31) & 1;
}

uint32_t lapic_ppr(const LapicCpu *cpu)
{
    int in_service = highest_bit(cpu->regs->isr);
    uint32_t service_class = in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;
    return (cpu->regs->tpr & 0xf0) >= service_class ? cpu->regs->tpr & 0xff : service_class;
}

// The vector that the CPU would take now, or -1.
static int deliverable(const LapicCpu *cpu)
{
    if (!cpu_enabled(cpu) || !(cpu->regs->svr & SVR_ENABLE))
        return -1;
    int vector = highest_bit(cpu->regs->irr);
    return vector >= 0 && ((uint32_t)vector & 0xf0) > (lapic_ppr(cpu) & 0xf0) ? vector : -1;
}

// Virtual wire: LINT0 passes the PICs' INTR on. With the APIC disabled by its MSR the pin is the
// CPU's INTR itself (SDM vol. 3A, 11.4.3).
static bool extint_pending(const LapicCpu *cpu)
{
    uint32_t lint0 = cpu->regs->lvt[LVT_LINT0];
    if (!cpu->lapic->pic_level)
        return false;
    if (!cpu_enabled(cpu))
        return cpu->index == 0;
    return (lint0 & (LVT_MASKED | 0x700)) == LINT_EXTINT;
}

void lapic_update(LapicCpu *cpu)
{
    const CpuWires *wires = &cpu->lapic->config.wires;
    bool output = deliverable(cpu) >= 0 || extint_pending(cpu);
    if (output == cpu->output)
        return;
    cpu->output = output;
    if (wires->interrupt)
        wires->interrupt(wires->opaque, cpu->index, output);
}

void lapic_accept(LapicCpu *cpu, uint8_t vector, bool level)
{
    if (!(cpu->regs->svr & SVR_ENABLE))
        return;
    if (vector < 16) {
        lapic_error(cpu, ERROR_RECEIVE_ILLEGAL);
        return;
    }
    set_bit(cpu->regs->irr, vector);
    if (level)
        set_bit(cpu->regs->tmr, vector);
    else
        clear_bit(cpu->regs->tmr, vector);
    lapic_update(cpu);
}

void lapic_error(LapicCpu *cpu, uint32_t bit)
{
    uint32_t row = cpu->regs->lvt[LVT_ERROR];
    if (cpu->regs->esr_latched & bit)
        return;
    cpu->regs->esr_latched |= bit;
    // An error LVT with an illegal vector does not report itself again.
    if (!(row & LVT_MASKED) && (row & 0xff) >= 16)
        lapic_accept(cpu, (uint8_t)row, false);
}

void lapic_local_interrupt(LapicCpu *cpu, unsigned row)
{
    const CpuWires *wires = &cpu->lapic->config.wires;
    uint32_t lvt = cpu->regs->lvt[row];
    if (!cpu_enabled(cpu) || (lvt & LVT_MASKED))
        return;
    unsigned mode = row == LVT_TIMER || row == LVT_ERROR ? DELIVER_FIXED : lvt >> 8 & 7;
    if (mode == DELIVER_FIXED)
        lapic_accept(cpu, (uint8_t)lvt, false);
    else if (mode == DELIVER_NMI && wires->nmi)
        wires->nmi(wires->opaque, cpu->index);
}

// Everything but the base MSR (SDM vol. 3A, 11.4.7: INIT keeps it too).
void lapic_init_reset(LapicCpu *cpu)
{
    uint64_t base = cpu->regs->base_msr;
    timer_cancel(cpu->timer);
    *cpu->regs = (LapicRegisters){ .base_msr = base, .dfr = 0xffffffff, .svr = 0xff,
                                   .deadline = -1 };
    for (unsigned i = 0; i < LVT_COUNT; i++)
        cpu->regs->lvt[i] = LVT_MASKED;
    // Firmware that never touches the APIC needs the PICs to reach the bootstrap processor.
    if (cpu->index == 0)
        cpu->regs->lvt[LVT_LINT0] = LINT_EXTINT;
    lapic_update(cpu);
}

static void end_of_interrupt(LapicCpu *cpu)
{
    int vector = highest_bit(cpu->regs->isr);
    if (vector < 0)
        return;
    clear_bit(cpu->regs->isr, (uint8_t)vector);
    if (test_bit(cpu->regs->tmr, (uint8_t)vector) && cpu->lapic->eoi)
        cpu->lapic->eoi(cpu->lapic->eoi_opaque, (uint8_t)vector);
    lapic_update(cpu);
}

static void write_lvt(LapicCpu *cpu, unsigned row, uint32_t value)
{
    static const uint32_t writable[LVT_COUNT] = {
        [LVT_TIMER] = 0x000700ff, [LVT_THERMAL] = 0x000107ff, [LVT_PERFORMANCE] = 0x000107ff,
        [LVT_LINT0] = 0x0001a7ff, [LVT_LINT1] = 0x0001a7ff,   [LVT_ERROR] = 0x000100ff,
    };
    uint32_t old = cpu->regs->lvt[row];
    value &= writable[row];
    if (!(cpu->regs->svr & SVR_ENABLE))
        value |= LVT_MASKED;
    if (row == LVT_TIMER && LVT_TIMER_MODE(value) == TIMER_TSC_DEADLINE &&
        !cpu->lapic->config.tsc_deadline)
        value &= ~(2u << 17);
    cpu->regs->lvt[row] = value;
    if (row == LVT_TIMER)
        lapic_timer_lvt_changed(cpu, old);
}

static void write_svr(LapicCpu *cpu, uint32_t value)
{
    cpu->regs->svr = value & 0x1ff;
    if (value & SVR_ENABLE)
        return;
    for (unsigned i = 0; i < LVT_COUNT; i++)
        cpu->regs->lvt[i] |= LVT_MASKED;
}

static uint32_t read_register(LapicCpu *cpu, unsigned reg)
{
    const LapicRegisters *r = cpu->regs;
    switch (reg) {
    case REG_ID:
        return cpu_x2apic(cpu) ? cpu->index : cpu->index << 24;
    case REG_VERSION:
        return VERSION;
    case REG_TPR:
        return r->tpr;
    case REG_APR:
    case REG_PPR:
        return lapic_ppr(cpu);
    case REG_LDR:
        return cpu_x2apic(cpu) ? cpu->index >> 4 << 16 | 1u << (cpu->index & 15) : r->ldr;
    case REG_DFR:
        return r->dfr;
    case REG_SVR:
        return r->svr;
    case REG_ISR ... REG_ISR + 7:
        return r->isr[reg - REG_ISR];
    case REG_TMR ... REG_TMR + 7:
        return r->tmr[reg - REG_TMR];
    case REG_IRR ... REG_IRR + 7:
        return r->irr[reg - REG_IRR];
    case REG_ESR:
        return r->esr;
    case REG_ICR:
        return (uint32_t)r->icr;
    case REG_ICR_HIGH:
        return (uint32_t)(r->icr >> 32);
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
        return r->lvt[reg - REG_LVT];
    case REG_INITIAL_COUNT:
        return r->initial_count;
    case REG_CURRENT_COUNT:
        return lapic_timer_read_count(cpu);
    case REG_DIVIDE:
        return r->divide;
    default:
        lapic_error(cpu, ERROR_ILLEGAL_REGISTER);
        return 0;
    }
}

static void write_register(LapicCpu *cpu, unsigned reg, uint32_t value)
{
    LapicRegisters *r = cpu->regs;
    switch (reg) {
    case REG_TPR:
        r->tpr = value & 0xff;
        break;
    case REG_EOI:
        end_of_interrupt(cpu);
        break;
    case REG_LDR:
        r->ldr = value & 0xff000000;
        break;
    case REG_DFR:
        r->dfr = value | 0x0fffffff;
        break;
    case REG_SVR:
        write_svr(cpu, value);
        break;
    case REG_ESR:
        r->esr = r->esr_latched;
        r->esr_latched = 0;
        break;
    case REG_ICR:
        r->icr = (r->icr & ~UINT64_C(0xffffffff)) | (value & ICR_WRITABLE);
        lapic_send_icr(cpu);
        break;
    case REG_ICR_HIGH:
        r->icr = (r->icr & 0xffffffff) | (uint64_t)(value & 0xff000000) << 32;
        break;
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
        write_lvt(cpu, reg - REG_LVT, value);
        break;
    case REG_INITIAL_COUNT:
        lapic_timer_write_count(cpu, value);
        break;
    case REG_DIVIDE:
        lapic_timer_write_divide(cpu, value);
        break;
    case REG_ID: // read-only on every part with this version
    case REG_VERSION:
    case REG_APR:
    case REG_PPR:
    case REG_CURRENT_COUNT:
        break;
    default:
        lapic_error(cpu, ERROR_ILLEGAL_REGISTER);
        break;
    }
    lapic_update(cpu);
}

static LapicCpu *find_cpu(void *device, unsigned cpu)
{
    Lapic *lapic = device;
    return &lapic->cpus[cpu < lapic->config.cpus ? cpu : 0];
}

static uint32_t border_read(void *device, unsigned cpu, uint32_t offset)
{
    if (offset & 12) // bytes 4 to 15 of a register's slot are reserved
        return 0;
    return read_register(find_cpu(device, cpu), offset >> 4 & 0xff) >> (offset & 3) * 8;
}

static void border_write(void *device, unsigned cpu, uint32_t offset, uint32_t value)
{
    if (offset & 15) {
        guest_log_once(lapic_ops.name, "unaligned", "write at offset %x", offset);
        return;
    }
    write_register(find_cpu(device, cpu), offset >> 4 & 0xff, value);
}

// Which registers exist in x2APIC mode, and whether they can be read and written (table 11-6).
static bool x2apic_allows(unsigned reg, bool write)
{
    switch (reg) {
    case REG_ID:
    case REG_VERSION:
    case REG_PPR:
    case REG_LDR:
    case REG_ISR ... REG_IRR + 7:
    case REG_CURRENT_COUNT:
        return !write;
    case REG_EOI:
    case REG_SELF_IPI:
        return write;
    case REG_TPR:
    case REG_SVR:
    case REG_ESR:
    case REG_ICR:
    case REG_LVT ... REG_LVT + LVT_COUNT - 1:
    case REG_INITIAL_COUNT:
    case REG_DIVIDE:
        return true;
    default:
        return false;
    }
}

// Bits of a write that raise #GP where set (11.12.1.2, reserved bits).
static uint64_t x2apic_reserved(unsigned reg)
{
    switch (reg) {
    case REG_TPR:
    case REG_SELF_IPI:
        return ~UINT64_C(0xff);
    case REG_EOI:
    case REG_ESR:
        return UINT64_MAX;
    case REG_SVR:
        return ~UINT64_C(0x13ff);
    case REG_ICR:
        return UINT64_C(0xfff32000);
    case REG_DIVIDE:
        return ~UINT64_C(0xb);
    case REG_LVT + LVT_TIMER:
        return ~UINT64_C(0x000710ff);
    case REG_LVT + LVT_ERROR:
        return ~UINT64_C(0x000110ff);
    case REG_LVT + LVT_THERMAL:
    case REG_LVT + LVT_PERFORMANCE:
        return ~UINT64_C(0x000117ff);
    case REG_LVT + LVT_LINT0:
    case REG_LVT + LVT_LINT1:
        return ~UINT64_C(0x0001f7ff);
    default:
        return ~UINT64_C(0xffffffff);
    }
}

static bool x2apic_read(LapicCpu *cpu, unsigned reg, uint64_t *ret)
{
    if (!cpu_x2apic(cpu) || !x2apic_allows(reg, false))
        return false;
    *ret = reg == REG_ICR ? cpu->regs->icr : read_register(cpu, reg);
    return true;
}

static bool x2apic_write(LapicCpu *cpu, unsigned reg, uint64_t value)
{
    if (!cpu_x2apic(cpu) || !x2apic_allows(reg, true) || (value & x2apic_reserved(reg)))
        return false;
    if (reg == REG_ICR) {
        cpu->regs->icr = value;
        lapic_send_icr(cpu);
        lapic_update(cpu);
    } else if (reg == REG_SELF_IPI) {
        lapic_accept(cpu, (uint8_t)value, false);
    } else {
        write_register(cpu, reg, (uint32_t)value);
    }
    return true;
}

// Transitions between disabled, xAPIC and x2APIC (figure 11-27).
static bool write_base(LapicCpu *cpu, uint64_t value)
{
    uint64_t old = cpu->regs->base_msr, modes = BASE_ENABLE | BASE_X2APIC;
    uint64_t known = BASE_ADDRESS_MASK | BASE_BSP | BASE_ENABLE;
    if (cpu->lapic->config.x2apic)
        known |= BASE_X2APIC;
    if ((value & ~known) || (value & modes) == BASE_X2APIC)
        return false;
    if ((old & modes) == modes && (value & modes) == BASE_ENABLE)
        return false;
    if (!(old & BASE_ENABLE) && (value & modes) == modes)
        return false;
    cpu->regs->base_msr = (value & ~BASE_BSP) | (old & BASE_BSP);
    if ((old & BASE_ENABLE) && !(value & BASE_ENABLE))
        lapic_init_reset(cpu);
    lapic_update(cpu);
    return true;
}

static bool border_msr_read(void *device, unsigned index, uint32_t msr, uint64_t *ret)
{
    LapicCpu *cpu = find_cpu(device, index);
    if (msr == MSR_APIC_BASE) {
        *ret = cpu->regs->base_msr;
        return true;
    }
    if (msr == MSR_TSC_DEADLINE && cpu->lapic->config.tsc_deadline) {
        *ret = cpu->regs->tsc_deadline;
        return true;
    }
    return msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100 &&
           x2apic_read(cpu, msr - MSR_X2APIC, ret);
}

static bool border_msr_write(void *device, unsigned index, uint32_t msr, uint64_t value)
{
    LapicCpu *cpu = find_cpu(device, index);
    if (msr == MSR_APIC_BASE)
        return write_base(cpu, value);
    if (msr == MSR_TSC_DEADLINE && cpu->lapic->config.tsc_deadline) {
        lapic_timer_write_deadline(cpu, value);
        return true;
    }
    return msr >= MSR_X2APIC && msr < MSR_X2APIC + 0x100 &&
           x2apic_write(cpu, msr - MSR_X2APIC, value);
}

static uint64_t border_base(void *device, unsigned index)
{
    const LapicCpu *cpu = find_cpu(device, index);
    if (!cpu_enabled(cpu) || cpu_x2apic(cpu))
        return UINT64_MAX;
    return cpu->regs->base_msr & BASE_ADDRESS_MASK;
}

static unsigned border_get_cr8(void *device, unsigned cpu)
{
    return find_cpu(device, cpu)->regs->tpr >> 4;
}

static void border_set_cr8(void *device, unsigned index, unsigned value)
{
    LapicCpu *cpu = find_cpu(device, index);
    cpu->regs->tpr = (value & 15) << 4;
    lapic_update(cpu);
}

static int border_acknowledge(void *device, unsigned index)
{
    Lapic *lapic = device;
    LapicCpu *cpu = find_cpu(device, index);
    int vector = deliverable(cpu);
    if (vector >= 0) {
        clear_bit(cpu->regs->irr, (uint8_t)vector);
        set_bit(cpu->regs->isr, (uint8_t)vector);
    } else if (extint_pending(cpu) && lapic->pic_acknowledge) {
        vector = lapic->pic_acknowledge(lapic->pic_opaque);
    }
    lapic_update(cpu);
    return vector;
}

static const LocalApicOps border = {
    .read = border_read,
    .write = border_write,
    .msr_read = border_msr_read,
    .msr_write = border_msr_write,
    .base = border_base,
    .get_cr8 = border_get_cr8,
    .set_cr8 = border_set_cr8,
    .acknowledge = border_acknowledge,
};

static void receive_msi(void *opaque, uint64_t address, uint32_t data)
{
    if (address >> 20 != 0xfee) {
        guest_log_once(lapic_ops.name, "msi-address", "message to %" G_GINT64_MODIFIER "x",
                       address);
        return;
    }
    bool level = data >> 15 & 1, assert_level = data >> 14 & 1;
    if (level && !assert_level)
        return;
    lapic_deliver(opaque, address >> 12 & 0xff, address >> 2 & 1, data >> 8 & 7, (uint8_t)data,
                  level, true);
}

static void set_pic_level(void *opaque, unsigned line, bool level)
{
    Lapic *lapic = opaque;
    lapic->pic_level = level;
    for (unsigned i = 0; i < lapic->config.cpus; i++)
        lapic_update(&lapic->cpus[i]);
}

static void *lapic_create(const void *config, const DeviceHost *host, GError **error)
{
    const LapicConfig *c = config;
    if (c->cpus < 1 || c->cpus > LAPIC_MAX_CPUS) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
                    "%u CPUs asked for; 1 to %u are possible", c->cpus, LAPIC_MAX_CPUS);
        return NULL;
    }
    Lapic *lapic = g_new0(Lapic, 1);
    lapic->host = *host;
    lapic->config = *c;
    for (unsigned i = 0; i < c->cpus; i++) {
        LapicCpu *cpu = &lapic->cpus[i];
        *cpu = (LapicCpu){ .lapic = lapic, .regs = &lapic->regs[i], .index = i };
        cpu->timer = timer_new(host->clock, lapic_timer_expired, cpu);
    }
    return lapic;
}

static void lapic_reset(void *device, ResetKind kind)
{
    Lapic *lapic = device;
    lapic->last_lowest = 0;
    for (unsigned i = 0; i < lapic->config.cpus; i++) {
        lapic->regs[i].base_msr = BASE_ADDRESS | BASE_ENABLE | (i == 0 ? BASE_BSP : 0);
        lapic_init_reset(&lapic->cpus[i]);
    }
}

static void lapic_pre_save(void *device)
{
    Lapic *lapic = device;
    for (unsigned i = 0; i < lapic->config.cpus; i++)
        lapic->regs[i].deadline = timer_deadline(lapic->cpus[i].timer);
}

static gboolean lapic_post_load(void *device, GError **error)
{
    Lapic *lapic = device;
    lapic->last_lowest %= lapic->config.cpus;
    for (unsigned i = 0; i < lapic->config.cpus; i++) {
        LapicRegisters *r = &lapic->regs[i];
        r->divide &= 0xb;
        if (r->base_msr & ~(BASE_ADDRESS_MASK | BASE_BSP | BASE_ENABLE | BASE_X2APIC) ||
            r->count_start < 0) {
            g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                        "saved state of 'lapic': CPU %u is in a state that does not exist", i);
            return FALSE;
        }
        timer_cancel(lapic->cpus[i].timer);
        if (r->deadline >= 0)
            timer_arm(lapic->cpus[i].timer, r->deadline);
        // The vCPU's own view was loaded apart: tell it the level in any case.
        lapic->cpus[i].output = !(deliverable(&lapic->cpus[i]) >= 0 ||
                                  extint_pending(&lapic->cpus[i]));
        lapic_update(&lapic->cpus[i]);
    }
    return TRUE;
}

static void lapic_destroy(void *device)
{
    Lapic *lapic = device;
    if (!lapic)
        return;
    for (unsigned i = 0; i < lapic->config.cpus; i++)
        timer_free(lapic->cpus[i].timer);
    g_free(lapic);
}

static const StateField lapic_fields[] = {
    { "regs", STATE_BYTES, offsetof(Lapic, regs), sizeof(((Lapic *)0)->regs) },
    STATE_SCALAR(Lapic, last_lowest, STATE_U32),
    STATE_SCALAR(Lapic, pic_level, STATE_BOOL),
};

static const StateTable lapic_state = {
    .name = "lapic",
    .version = 1,
    .fields = lapic_fields,
    .field_count = G_N_ELEMENTS(lapic_fields),
    .post_load = lapic_post_load,
    .pre_save = lapic_pre_save,
};

const DeviceOps lapic_ops = {
    .name = "lapic",
    .spec = "Intel SDM vol. 3A 325384-079, chapter 11",
    .create = lapic_create,
    .reset = lapic_reset,
    .state = &lapic_state,
    .destroy = lapic_destroy,
};

LocalApic lapic_border(void *lapic)
{
    return (LocalApic){ &border, lapic };
}

MsiSink lapic_msi_sink(void *lapic)
{
    return (MsiSink){ receive_msi, lapic };
}

IrqLine lapic_pic_line(void *lapic)
{
    return (IrqLine){ set_pic_level, lapic, 0 };
}

void lapic_connect_pic(void *device, int (*acknowledge)(void *opaque), void *opaque)
{
    Lapic *lapic = device;
    lapic->pic_acknowledge = acknowledge;
    lapic->pic_opaque = opaque;
}

void lapic_connect_ioapic(void *device, void (*eoi)(void *opaque, uint8_t vector), void *opaque)
{
    Lapic *lapic = device;
    lapic->eoi = eoi;
    lapic->eoi_opaque = opaque;
}

void lapic_nmi(void *device)
{
    Lapic *lapic = device;
    for (unsigned i = 0; i < lapic->config.cpus; i++)
        lapic_local_interrupt(&lapic->cpus[i], LVT_LINT1);
}

bool lapic_vector_waits(void *device, uint8_t vector)
{
    Lapic *lapic = device;
    for (unsigned i = 0; i < lapic->config.cpus; i++) {
        if (test_bit(lapic->regs[i].irr, vector))
            return true;
    }
    return false;
}
