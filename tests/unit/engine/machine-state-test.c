// SPDX-License-Identifier: GPL-2.0-or-later
// Whole machines saved and loaded: nothing is lost on the way, and what does not fit is refused
// with a sentence.
#include "engine/base/bytes.h"
#include "engine/devices/chipset/rtc-mc146818.h"
#include "engine/machine-private.h"
#include "tests/unit/engine/state-box.h"

#include <string.h>

#define ROUNDS 60000000u

static void set(StateBox *box, const char *assignment)
{
    g_autoptr(GError) error = NULL;
    config_set_assignment(box->config, assignment, &error);
    g_assert_no_error(error);
}

// A machine with one of everything that needs nothing of the host.
static void plug_in_everything(StateBox *box)
{
    g_autofree char *zeros = g_malloc0(1 << 20);
    g_assert_true(g_file_set_contents(box->disk, zeros, 1 << 20, NULL));
    set(box, "disk0.path=disk.img");
    set(box, "disk1.path=floppy.img");
    set(box, "disk1.read-only=true");
    set(box, "floppy0.read-only=true");
    set(box, "disk1.interface=virtio");
    set(box, "cpu.count=3");
    set(box, "board.virtio-console=true");
    set(box, "serial0.mode=console");
}

static void build(StateBox *box, const MachineStateSource *resume)
{
    g_autoptr(GError) error = NULL;
    state_box_build(box, resume, &error);
    g_assert_no_error(error);
    g_assert_nonnull(box->machine);
}

static void rebuild(StateBox *box, const MachineStateSource *resume)
{
    g_clear_pointer(&box->machine, machine_free);
    build(box, resume);
}

// What follows the host's clock, which goes on between two states.
static bool is_wall_time(const char *name, GBytes *record)
{
    gsize size;
    const void *data = g_bytes_get_data(record, &size);
    return strcmp(name, "time") == 0 || memmem(data, size, "rtc-mc146818", 12);
}

// Record by record, so that a failure names it.
static void assert_same(GBytes *a, GBytes *b)
{
    g_autoptr(StateForm) first = state_form_decode(a, NULL), second = state_form_decode(b, NULL);
    g_assert_cmpuint(state_form_count(first), ==, state_form_count(second));
    for (unsigned i = 0; i < state_form_count(first); i++) {
        const char *name = state_form_name(first, i);
        if (!is_wall_time(name, state_form_get(first, name)) &&
            !g_bytes_equal(state_form_get(first, name), state_form_get(second, name)))
            g_error("record %s differs after a load", name);
    }
}

static void save_load_save(void)
{
    StateBox box;
    HeldState first, second;
    state_box_init(&box, "\xf4\xeb\xfd", 3); // hlt; jmp
    plug_in_everything(&box);
    build(&box, NULL);
    for (unsigned round = 0; round < 3; round++) {
        machine_run(box.machine);
        state_box_run_for(&box, 400);
        machine_pause(box.machine);
        held_state_take(&first, box.machine);
        rebuild(&box, &first.source);
        g_assert_cmpuint(first.filled, ==, 1);
        held_state_take(&second, box.machine);
        assert_same(first.form, second.form);
        for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
            g_assert_cmpmem(first.memory[block]->data, first.memory[block]->len,
                            second.memory[block]->data, second.memory[block]->len);
        held_state_clear(&first);
        held_state_clear(&second);
    }
    state_box_clear(&box);
}

// The guest computes on from machine to machine.
static void computes_on(void)
{
    StateBox box;
    uint8_t code[128];
    state_box_init(&box, code, state_box_sum_code(code, ROUNDS));
    build(&box, NULL);
    for (unsigned moves = 0; moves < 5 && !box.exited; moves++) {
        HeldState state;
        machine_run(box.machine);
        state_box_run_for(&box, moves ? 60 : 700);
        machine_pause(box.machine);
        held_state_take(&state, box.machine);
        rebuild(&box, &state.source);
        held_state_clear(&state);
    }
    machine_run(box.machine);
    state_box_run_until_exit(&box);
    g_assert_cmphex(box.value, ==, state_box_result(ROUNDS));
    state_box_clear(&box);
}

// The timer's interrupt ends a HLT in the machine that was loaded: hlt until the BIOS's tick count
// has moved by 6, then exit.
static void halted_cpu_wakes(void)
{
    static const uint8_t code[] = {
        0x31, 0xc0, 0x8e, 0xd8, 0xfb,       // xor ax, ax; mov ds, ax; sti
        0x8b, 0x1e, 0x6c, 0x04,             // mov bx, [46ch]
        0x83, 0xc3, 0x06,                   // add bx, 6
        0xf4, 0x39, 0x1e, 0x6c, 0x04,       // again: hlt; cmp [46ch], bx
        0x78, 0xf9,                         // js again
        0xba, 0x01, 0x05, 0xb0, 0x2a, 0xee, // out 501h, 42
        0xf4, 0xeb, 0xfd,
    };
    StateBox box;
    HeldState state;
    state_box_init(&box, code, sizeof code);
    build(&box, NULL);
    machine_run(box.machine);
    while (!box.exited) {
        state_box_run_for(&box, 150);
        if (box.exited)
            break;
        machine_pause(box.machine);
        held_state_take(&state, box.machine);
        rebuild(&box, &state.source);
        held_state_clear(&state);
        machine_run(box.machine);
    }
    g_assert_cmpuint(box.value, ==, 42);
    state_box_clear(&box);
}

static void assert_refused(StateBox *box, HeldState *state, const char *part)
{
    g_clear_pointer(&box->machine, machine_free);
    g_autoptr(GError) error = NULL;
    state_box_build(box, &state->source, &error);
    g_assert_null(box->machine);
    if (!error || !strstr(error->message, part))
        g_error("\"%s\" is not in \"%s\"", part, error ? error->message : "");
}

// What ran under KVM goes on under the interpreter, with the processor that it had. The other way
// KVM would have to offer a processor that does not speculate, which it refuses by name.
static void from_kvm(void)
{
    g_autofree char *reason = vcpu_backend_kvm.probe();
    CpuFeatureSet lacks = vcpu_backend_kvm.features() & ~vcpu_backend_interpreter.features();
    if (reason || lacks) {
        g_autofree char *names = machine_state_feature_names(lacks);
        g_test_skip(reason ? reason : names);
        return;
    }
    StateBox box;
    HeldState state;
    uint8_t code[128];
    state_box_init(&box, code, state_box_sum_code(code, 1000));
    set(&box, "cpu.engine=kvm");
    build(&box, NULL);
    machine_run(box.machine);
    state_box_run_for(&box, 1000);
    machine_pause(box.machine);
    held_state_take(&state, box.machine);
    set(&box, "cpu.engine=interpreter");
    rebuild(&box, &state.source);
    g_assert_cmpuint(box.machine->cpuid.features, ==, vcpu_backend_kvm.features());
    machine_run(box.machine);
    if (!box.exited)
        state_box_run_until_exit(&box);
    g_assert_cmphex(box.value, ==, state_box_result(1000));
    held_state_clear(&state);
    rebuild(&box, NULL);
    held_state_take(&state, box.machine);
    set(&box, "cpu.engine=kvm");
    assert_refused(&box, &state, "no-speculation");
    held_state_clear(&state);
    state_box_clear(&box);
}

static void does_not_fit(void)
{
    StateBox box;
    HeldState state;
    state_box_init(&box, "\xf4", 1);
    build(&box, NULL);
    held_state_take(&state, box.machine);
    set(&box, "memory.size=48M");
    assert_refused(&box, &state, "memory.size=32M, now there is memory.size=48M");
    set(&box, "memory.size=32M");
    set(&box, "cpu.count=2");
    assert_refused(&box, &state, "cpu.count=1");
    set(&box, "cpu.count=1");
    set(&box, "board.hpet=false");
    assert_refused(&box, &state, "hpet");
    set(&box, "board.hpet=true");
    rebuild(&box, &state.source);
    held_state_clear(&state);
    state_box_clear(&box);
}

// The form with one record replaced.
static void replace_record(HeldState *state, const char *name, const void *data, size_t size)
{
    g_autoptr(StateForm) old = state_form_decode(state->form, NULL), new = state_form_new();
    for (unsigned i = 0; i < state_form_count(old); i++) {
        const char *at = state_form_name(old, i);
        g_autoptr(GBytes) bytes = strcmp(at, name) == 0 ? g_bytes_new(data, size)
                                                         : g_bytes_ref(state_form_get(old, at));
        state_form_add(new, at, bytes);
    }
    g_bytes_unref(state->form);
    state->form = state_form_encode(new);
}

static void lacking_feature(void)
{
    StateBox box;
    HeldState state;
    state_box_init(&box, "\xf4", 1);
    build(&box, NULL);
    held_state_take(&state, box.machine);
    g_autoptr(StateForm) form = state_form_decode(state.form, NULL);
    gsize size = g_bytes_get_size(state_form_get(form, "cpu-model"));
    g_autofree uint8_t *model =
        g_memdup2(g_bytes_get_data(state_form_get(form, "cpu-model"), NULL), size);
    model[7] |= 0x80; // a feature that nobody has
    replace_record(&state, "cpu-model", model, size);
    assert_refused(&box, &state, "feature 63");
    held_state_clear(&state);
    state_box_clear(&box);
}

static void impossible_cpu(void)
{
    StateBox box;
    HeldState state;
    state_box_init(&box, "\xf4", 1);
    build(&box, NULL);
    held_state_take(&state, box.machine);
    g_autoptr(StateForm) form = state_form_decode(state.form, NULL);
    GBytes *record = state_form_get(form, "cpu.0");
    gsize size = g_bytes_get_size(record);
    g_autofree uint8_t *cpu = g_memdup2(g_bytes_get_data(record, NULL), size);
    // Behind the field's name: kind, length, value. Paging without protection does not exist.
    uint8_t *field = memmem(cpu, size, "cpu.cr0", 7);
    g_assert_nonnull(field);
    le32_write(field + 7 + 1 + 4, 0x80000000u);
    replace_record(&state, "cpu.0", cpu, size);
    assert_refused(&box, &state, "CPU 0");
    replace_record(&state, "cpu.0", "garbage", 7);
    assert_refused(&box, &state, "'cpu'");
    held_state_clear(&state);
    state_box_clear(&box);
}

// A state that lay for two days: the real-time clock shows the host's time again, virtual time has
// stood still.
static void clocks(void)
{
    StateBox box;
    HeldState state;
    state_box_init(&box, "\xf4\xeb\xfd", 3);
    build(&box, NULL);
    machine_run(box.machine);
    state_box_run_for(&box, 300);
    machine_pause(box.machine);
    held_state_take(&state, box.machine);
    int64_t virtual_time = clock_now(box.machine->clock);
    uint8_t time[16];
    le64_write(time, (uint64_t)virtual_time);
    le64_write(time + 8, (uint64_t)(g_get_real_time() - INT64_C(2) * 86400 * 1000000));
    replace_record(&state, "time", time, sizeof time);
    int64_t shown = rtc_mc146818_time(box.machine->rtc);
    rebuild(&box, &state.source);
    g_assert_cmpint(clock_now(box.machine->clock), ==, virtual_time);
    int64_t gone = rtc_mc146818_time(box.machine->rtc) - shown - 2 * 86400;
    g_assert_cmpint(gone, >=, 0);
    g_assert_cmpint(gone, <, 3600);
    memset(time, 0xff, 8);
    replace_record(&state, "time", time, sizeof time);
    assert_refused(&box, &state, "time is impossible");
    held_state_clear(&state);
    state_box_clear(&box);
}

// A load that fails in a machine that lives leaves one that can be reset and run.
static void failed_load_leaves_a_machine(void)
{
    StateBox box;
    HeldState state;
    uint8_t code[128];
    state_box_init(&box, code, state_box_sum_code(code, 1000));
    build(&box, NULL);
    held_state_take(&state, box.machine);
    replace_record(&state, "device.5", "garbage", 7);
    g_autoptr(StateForm) form = state_form_decode(state.form, NULL);
    bool touched = false;
    g_autoptr(GError) error = NULL;
    g_assert_false(machine_state_apply(box.machine, form, &touched, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_true(touched);
    machine_reset(box.machine, true);
    machine_run(box.machine);
    state_box_run_until_exit(&box);
    g_assert_cmphex(box.value, ==, state_box_result(1000));
    held_state_clear(&state);
    state_box_clear(&box);
}

// What a load refuses before it begins costs the machine that lives nothing.
static void refused_load_changes_nothing(void)
{
    StateBox box;
    HeldState state;
    uint8_t code[128], time[16];
    state_box_init(&box, code, state_box_sum_code(code, 1000));
    build(&box, NULL);
    held_state_take(&state, box.machine);
    memset(time, 0xff, sizeof time);
    replace_record(&state, "time", time, sizeof time);
    g_autoptr(GError) error = NULL;
    g_assert_false(machine_state_load(box.machine, &state.source, &error));
    g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA);
    g_assert_false(box.machine->ram->foreign);
    machine_run(box.machine);
    state_box_run_until_exit(&box);
    g_assert_cmphex(box.value, ==, state_box_result(1000));
    held_state_clear(&state);
    state_box_clear(&box);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/machine-state/save-load-save", save_load_save);
    g_test_add_func("/machine-state/computes-on", computes_on);
    g_test_add_func("/machine-state/from-kvm", from_kvm);
    g_test_add_func("/machine-state/halted-cpu-wakes", halted_cpu_wakes);
    g_test_add_func("/machine-state/does-not-fit", does_not_fit);
    g_test_add_func("/machine-state/lacking-feature", lacking_feature);
    g_test_add_func("/machine-state/impossible-cpu", impossible_cpu);
    g_test_add_func("/machine-state/clocks", clocks);
    g_test_add_func("/machine-state/failed-load", failed_load_leaves_a_machine);
    g_test_add_func("/machine-state/refused-load-changes-nothing", refused_load_changes_nothing);
    return g_test_run();
}
