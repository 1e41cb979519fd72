// SPDX-License-Identifier: GPL-2.0-or-later
// VcpuState as a field table (engine/base/state-table.h). MSRs are taken apart into two arrays, so
// that no padding gets into the record.
#include "engine/machine-state-cpu.h"

#include "engine/base/state-table.h"

#include <gio/gio.h>

typedef struct {
    VcpuState cpu;
    uint32_t msr_index[VCPU_MSR_MAX];
    uint64_t msr_value[VCPU_MSR_MAX];
    bool init_pending, startup_pending;
    uint8_t startup_vector;
} CpuRecord;

static void cpu_pre_save(void *object)
{
    CpuRecord *record = object;
    for (unsigned i = 0; i < record->cpu.msr_count; i++) {
        record->msr_index[i] = record->cpu.msr[i].index;
        record->msr_value[i] = record->cpu.msr[i].value;
    }
}

static gboolean cpu_post_load(void *object, GError **error)
{
    CpuRecord *record = object;
    if (record->cpu.msr_count > VCPU_MSR_MAX) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'cpu': %u model-specific registers are more than %u",
                    record->cpu.msr_count, VCPU_MSR_MAX);
        return FALSE;
    }
    for (unsigned i = 0; i < record->cpu.msr_count; i++)
        record->cpu.msr[i] = (VcpuMsr){ record->msr_index[i], record->msr_value[i] };
    return TRUE;
}

#define FIELD(member, kind) STATE_SCALAR(CpuRecord, member, kind)
#define SEGMENT(member)                                                                            \
    FIELD(member.base, STATE_U64), FIELD(member.limit, STATE_U32),                                 \
        FIELD(member.selector, STATE_U16), FIELD(member.access, STATE_U16),                        \
        FIELD(member.unusable, STATE_BOOL)

static const StateField cpu_fields[] = {
    STATE_ARRAY(CpuRecord, cpu.gpr, STATE_U64),
    FIELD(cpu.rip, STATE_U64),
    FIELD(cpu.rflags, STATE_U64),
    SEGMENT(cpu.segment[VCPU_ES]),
    SEGMENT(cpu.segment[VCPU_CS]),
    SEGMENT(cpu.segment[VCPU_SS]),
    SEGMENT(cpu.segment[VCPU_DS]),
    SEGMENT(cpu.segment[VCPU_FS]),
    SEGMENT(cpu.segment[VCPU_GS]),
    SEGMENT(cpu.ldtr),
    SEGMENT(cpu.tr),
    FIELD(cpu.gdtr.base, STATE_U64),
    FIELD(cpu.gdtr.limit, STATE_U16),
    FIELD(cpu.idtr.base, STATE_U64),
    FIELD(cpu.idtr.limit, STATE_U16),
    FIELD(cpu.cr0, STATE_U64),
    FIELD(cpu.cr2, STATE_U64),
    FIELD(cpu.cr3, STATE_U64),
    FIELD(cpu.cr4, STATE_U64),
    FIELD(cpu.cr8, STATE_U64),
    FIELD(cpu.efer, STATE_U64),
    FIELD(cpu.msr_count, STATE_U32),
    STATE_ARRAY(CpuRecord, msr_index, STATE_U32),
    STATE_ARRAY(CpuRecord, msr_value, STATE_U64),
    FIELD(cpu.tsc, STATE_U64),
    FIELD(cpu.xcr0, STATE_U64),
    STATE_ARRAY(CpuRecord, cpu.xsave, STATE_U8),
    STATE_ARRAY(CpuRecord, cpu.dr, STATE_U64),
    FIELD(cpu.dr6, STATE_U64),
    FIELD(cpu.dr7, STATE_U64),
    FIELD(cpu.events.halted, STATE_BOOL),
    FIELD(cpu.events.wait_for_sipi, STATE_BOOL),
    FIELD(cpu.events.nmi_blocked, STATE_BOOL),
    FIELD(cpu.events.nmi_pending, STATE_BOOL),
    FIELD(cpu.events.interrupt_shadow, STATE_BOOL),
    FIELD(cpu.events.exception_pending, STATE_BOOL),
    FIELD(cpu.events.exception_vector, STATE_U8),
    FIELD(cpu.events.exception_has_error, STATE_BOOL),
    FIELD(cpu.events.exception_error, STATE_U32),
    FIELD(init_pending, STATE_BOOL),
    FIELD(startup_pending, STATE_BOOL),
    FIELD(startup_vector, STATE_U8),
};

static const StateTable cpu_table = {
    "cpu", 1, cpu_fields, G_N_ELEMENTS(cpu_fields), cpu_post_load, cpu_pre_save,
};

GBytes *machine_state_save_cpu(VcpuSet *vcpus, unsigned cpu)
{
    CpuRecord record = { .startup_vector = 0 };
    vcpu_set_get_state(vcpus, cpu, &record.cpu);
    VcpuPending pending = vcpu_set_pending(vcpus, cpu);
    record.init_pending = pending.init;
    record.startup_pending = pending.startup;
    record.startup_vector = pending.vector;
    return state_save(&cpu_table, &record);
}

bool machine_state_load_cpu(VcpuSet *vcpus, unsigned cpu, GBytes *bytes, GError **error)
{
    CpuRecord record = { .startup_vector = 0 };
    if (!state_load(&cpu_table, &record, bytes, error))
        return false;
    if (!vcpu_set_set_state(vcpus, cpu, &record.cpu, VCPU_STATE_ALL)) {
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
                    "saved state of 'cpu': no processor of this machine can be in the state of "
                    "CPU %u", cpu);
        return false;
    }
    vcpu_set_set_pending(vcpus, cpu, (VcpuPending){ record.init_pending, record.startup_pending,
                                                    record.startup_vector });
    return true;
}
