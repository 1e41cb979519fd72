// SPDX-License-Identifier: GPL-2.0-or-later
// See lockstep-log.h.
#include "engine/vcpu/bt/translator/lockstep-log.h"

#include <string.h>

static void clear_effect(void *data)
{
    g_clear_pointer(&((LockstepEffect *)data)->bytes, g_bytes_unref);
}

static void free_exit(void *data)
{
    LockstepExit *record = data;
    g_clear_pointer(&record->written, g_bytes_unref);
    g_clear_pointer(&record->read, g_bytes_unref);
    g_clear_pointer(&record->effects, g_array_unref);
    g_free(record);
}

void lockstep_log_init(LockstepLog *log)
{
    *log = (LockstepLog){
        .exits = g_ptr_array_new_with_free_func(free_exit),
        .interrupts = g_array_new(FALSE, FALSE, sizeof(LockstepInterrupt)),
        .times = g_array_new(FALSE, FALSE, sizeof(int64_t)),
    };
}

void lockstep_log_finish(LockstepLog *log)
{
    g_ptr_array_unref(log->exits);
    g_array_unref(log->interrupts);
    g_array_unref(log->times);
}

void lockstep_log_trim(LockstepLog *log)
{
    g_ptr_array_set_size(log->exits, 0);
    g_array_set_size(log->interrupts, 0);
    g_array_set_size(log->times, 0);
    log->exit = log->interrupt = log->time = 0;
}

static size_t data_size(const VcpuExit *exit)
{
    return exit->reason == VCPU_EXIT_PORT && exit->port.data
               ? (size_t)exit->port.count * exit->port.size
               : 0;
}

LockstepExit *lockstep_log_ask(LockstepLog *log, const VcpuExit *exit)
{
    LockstepExit *record = g_new0(LockstepExit, 1);
    record->before = *exit;
    if (data_size(exit) && exit->port.write)
        record->written = g_bytes_new(exit->port.data, data_size(exit));
    if (exit->reason == VCPU_EXIT_PORT && exit->port.registers)
        memcpy(record->registers_before, exit->port.registers, sizeof record->registers_before);
    g_ptr_array_add(log->exits, record);
    return record;
}

void lockstep_log_answer(LockstepExit *record, const VcpuExit *exit)
{
    record->after = *exit;
    if (data_size(exit) && !exit->port.write)
        record->read = g_bytes_new(exit->port.data, data_size(exit));
    if (exit->reason == VCPU_EXIT_PORT && exit->port.registers)
        memcpy(record->registers_after, exit->port.registers, sizeof record->registers_after);
}

void lockstep_log_effect(LockstepExit *record, LockstepEffect effect)
{
    if (!record->effects) {
        record->effects = g_array_new(FALSE, FALSE, sizeof(LockstepEffect));
        g_array_set_clear_func(record->effects, clear_effect);
    }
    g_array_append_val(record->effects, effect);
}

static bool same_port(const LockstepExit *record, const VcpuExit *exit)
{
    const VcpuExit *was = &record->before;
    if (was->port.port != exit->port.port || was->port.size != exit->port.size ||
        was->port.write != exit->port.write || was->port.count != exit->port.count ||
        !was->port.data != !exit->port.data || !was->port.registers != !exit->port.registers)
        return false;
    if (exit->port.registers &&
        memcmp(record->registers_before, exit->port.registers, sizeof record->registers_before))
        return false;
    if (!exit->port.write)
        return true;
    return record->written ? !memcmp(g_bytes_get_data(record->written, NULL), exit->port.data,
                                     data_size(exit))
                           : was->port.value == exit->port.value;
}

static bool same_question(const LockstepExit *record, const VcpuExit *exit)
{
    const VcpuExit *was = &record->before;
    if (was->reason != exit->reason)
        return false;
    switch (exit->reason) {
    case VCPU_EXIT_PORT:
        return same_port(record, exit);
    case VCPU_EXIT_MMIO:
        return was->mmio.address == exit->mmio.address && was->mmio.size == exit->mmio.size &&
               was->mmio.write == exit->mmio.write &&
               (!exit->mmio.write || was->mmio.value == exit->mmio.value);
    case VCPU_EXIT_MSR:
        return was->msr.index == exit->msr.index && was->msr.write == exit->msr.write &&
               (!exit->msr.write || was->msr.value == exit->msr.value);
    case VCPU_EXIT_CR8:
        return was->cr8.write == exit->cr8.write &&
               (!exit->cr8.write || was->cr8.value == exit->cr8.value);
    default:
        return true;
    }
}

const LockstepExit *lockstep_log_replay(LockstepLog *log, VcpuExit *exit)
{
    if (log->exit >= log->exits->len)
        return NULL;
    const LockstepExit *record = log->exits->pdata[log->exit];
    if (!same_question(record, exit))
        return NULL;
    log->exit++;
    void *data = exit->reason == VCPU_EXIT_PORT ? exit->port.data : NULL;
    uint32_t *registers = exit->reason == VCPU_EXIT_PORT ? exit->port.registers : NULL;
    *exit = record->after;
    if (exit->reason != VCPU_EXIT_PORT)
        return record;
    exit->port.data = data;
    exit->port.registers = registers;
    if (record->read)
        memcpy(data, g_bytes_get_data(record->read, NULL), g_bytes_get_size(record->read));
    if (registers)
        memcpy(registers, record->registers_after, sizeof record->registers_after);
    return record;
}
