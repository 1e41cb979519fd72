// SPDX-License-Identifier: GPL-2.0-or-later
// Saved machine states. An input either is a state form as it stands, or edits a sound one: records
// keep their checksum, their values do not stay what a machine was in. What is accepted then runs
// for a moment.
#include "engine/base/bytes.h"
#include "engine/machine-private.h"
#include "tests/unit/engine/state-box.h"

#include <stdlib.h>

#define EDITS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static StateBox box;
static GBytes *sound;

static void ignore(const char *domain, GLogLevelFlags level, const char *text, gpointer opaque)
{
}

static void tear_down(void)
{
    g_bytes_unref(sound);
    state_box_clear(&box);
}

// The temporary folder is gone again once the files are open.
static void set_up(void)
{
    g_log_set_handler("lodge", G_LOG_LEVEL_MASK & ~G_LOG_LEVEL_ERROR, ignore, NULL);
    state_box_init(&box, "\xf4\xeb\xfd", 3);
    config_set(box.config, "memory.size", "16M", NULL);
    config_set(box.config, "cpu.count", "2", NULL);
    config_set(box.config, "board.virtio-console", "true", NULL);
    g_autoptr(GError) error = NULL;
    state_box_build(&box, NULL, &error);
    if (!box.machine)
        g_error("%s", error->message);
    state_box_remove_files(&box);
    machine_run(box.machine);
    state_box_run_for(&box, 300);
    machine_pause(box.machine);
    machine_drain_storage(box.machine);
    bus_lock(box.machine->bus);
    g_autoptr(StateForm) form = machine_state_collect(box.machine);
    bus_unlock(box.machine->bus);
    sound = state_form_encode(form);
    atexit(tear_down);
}

// Bytes of one record are overwritten, each with its place in the input.
static GBytes *edit_record(GBytes *record, ByteReader *input)
{
    gsize size;
    const void *from = g_bytes_get_data(record, &size);
    uint8_t *bytes = g_memdup2(from, size);
    unsigned edits = byte_reader_u8(input) % EDITS_MAX;
    for (unsigned i = 0; i < edits && size; i++) {
        uint32_t at = byte_reader_le32(input) % (uint32_t)size;
        bytes[at] = byte_reader_u8(input);
    }
    if (byte_reader_u8(input) == 0x5a && size)
        size = byte_reader_le32(input) % size;
    return g_bytes_new_take(bytes, size);
}

static StateForm *edited_form(ByteReader *input)
{
    g_autoptr(StateForm) from = state_form_decode(sound, NULL);
    StateForm *to = state_form_new();
    unsigned count = state_form_count(from);
    unsigned which = byte_reader_u8(input) % count, also = byte_reader_u8(input) % count;
    for (unsigned i = 0; i < count; i++) {
        const char *name = state_form_name(from, i);
        g_autoptr(GBytes) record = i == which || i == also
                                       ? edit_record(state_form_get(from, name), input)
                                       : g_bytes_ref(state_form_get(from, name));
        state_form_add(to, name, record);
    }
    return to;
}

static void apply(const StateForm *form)
{
    bool touched;
    g_autoptr(GError) error = NULL;
    if (machine_state_apply(box.machine, form, &touched, &error)) {
        machine_run(box.machine);
        g_usleep(300);
        machine_pause(box.machine);
        machine_drain_storage(box.machine);
    } else if (!error) {
        g_error("a state was refused without a word");
    }
    machine_reset(box.machine, true);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!sound)
        set_up();
    ByteReader input = byte_reader(data, size);
    if (byte_reader_u8(&input) % 8 == 0) {
        g_autoptr(GBytes) bytes = g_bytes_new(data, size);
        g_autoptr(StateForm) form = state_form_decode(bytes, NULL);
        if (form)
            apply(form);
        return 0;
    }
    g_autoptr(StateForm) form = edited_form(&input);
    apply(form);
    while (g_main_context_iteration(NULL, FALSE))
        ;
    return 0;
}
