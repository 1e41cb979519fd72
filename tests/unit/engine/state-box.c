// SPDX-License-Identifier: GPL-2.0-or-later
// See state-box.h.
#include "tests/unit/engine/state-box.h"

#include "engine/base/bytes.h"
#include "engine/machine-private.h"

#include <glib/gstdio.h>
#include <string.h>

#define FLOPPY_SIZE (1440 * 1024)
#define SEED 12345u
#define FACTOR 1664525u
#define SUMMAND 1013904223u

static void machine_event(void *opaque, MachineEvent event, uint32_t value, const char *text)
{
    StateBox *box = opaque;
    if (event != MACHINE_DEBUG_EXIT)
        return;
    box->exited = true;
    box->value = value;
    g_main_loop_quit(box->loop);
}

void state_box_init(StateBox *box, const void *code, size_t size)
{
    *box = (StateBox){ .folder = g_dir_make_tmp("lodge-state-XXXXXX", NULL) };
    box->floppy = g_build_filename(box->folder, "floppy.img", NULL);
    box->disk = g_build_filename(box->folder, "disk.img", NULL);
    box->loop = g_main_loop_new(NULL, FALSE);
    g_autofree char *image = g_malloc0(FLOPPY_SIZE);
    memcpy(image, code, size);
    memcpy(image + 510, "\x55\xaa", 2);
    g_assert_true(g_file_set_contents(box->floppy, image, FLOPPY_SIZE, NULL));
    box->config = config_new();
    static const char *const settings[] = {
        "machine.uuid=7c9e6679-7425-40de-944b-e07fc1f90ae7",
        "memory.size=32M", "cpu.engine=interpreter", "network0.mode=none", "boot.order=floppy",
        "floppy0.path=floppy.img", "display.vram=1M",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(settings); i++)
        g_assert_true(config_set_assignment(box->config, settings[i], NULL));
}

void state_box_build(StateBox *box, const MachineStateSource *resume, GError **error)
{
    MachineOptions options = {
        .config = box->config,
        .folder = box->folder,
        .debug_exit_port = STATE_BOX_EXIT_PORT,
        .resume = resume,
        .event = machine_event,
        .opaque = box,
    };
    box->machine = machine_new(&options, error);
}

void state_box_clear(StateBox *box)
{
    machine_free(box->machine);
    config_free(box->config);
    g_main_loop_unref(box->loop);
    g_unlink(box->floppy);
    g_unlink(box->disk);
    g_rmdir(box->folder);
    g_free(box->floppy);
    g_free(box->disk);
    g_free(box->folder);
}

void state_box_run_until_exit(StateBox *box)
{
    while (!box->exited)
        g_main_loop_run(box->loop);
}

static gboolean quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_CONTINUE;
}

void state_box_run_for(StateBox *box, unsigned ms)
{
    guint timer = g_timeout_add(ms, quit, box->loop);
    g_main_loop_run(box->loop);
    g_source_remove(timer);
}

static GBytes *source_form(void *opaque, GError **error)
{
    return g_bytes_ref(((HeldState *)opaque)->form);
}

static uint64_t source_memory_size(void *opaque, MachineMemoryBlock block)
{
    return ((HeldState *)opaque)->memory[block]->len;
}

static bool source_memory(void *opaque, MachineMemoryBlock block, uint8_t *host, uint64_t size,
                          bool replace, GError **error)
{
    memcpy(host, ((HeldState *)opaque)->memory[block]->data, size);
    return true;
}

static void source_filled(void *opaque, const uint8_t *ram)
{
    ((HeldState *)opaque)->filled++;
}

static bool source_consume(void *opaque, GError **error)
{
    ((HeldState *)opaque)->consumed++;
    return true;
}

void held_state_take(HeldState *state, Machine *machine)
{
    *state = (HeldState){ .source = { source_form, source_memory_size, source_memory,
                                      source_filled, source_consume, state } };
    machine_drain_storage(machine);
    g_mutex_lock(machine_mutex(machine));
    g_autoptr(StateForm) form = machine_state_collect(machine);
    g_mutex_unlock(machine_mutex(machine));
    state->form = state_form_encode(form);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        uint64_t size;
        uint8_t *host = machine_state_block(machine, block, &size);
        state->memory[block] = g_byte_array_sized_new((guint)size);
        g_byte_array_append(state->memory[block], host, (guint)size);
    }
}

void held_state_clear(HeldState *state)
{
    g_bytes_unref(state->form);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        g_byte_array_unref(state->memory[block]);
}

size_t state_box_sum_code(uint8_t code[64], uint32_t rounds)
{
    static const uint8_t form[] = {
        0x66, 0xb9, 0, 0, 0, 0,       // mov ecx, rounds
        0x66, 0xb8, 0, 0, 0, 0,       // mov eax, seed
        0x66, 0x69, 0xc0, 0, 0, 0, 0, // again: imul eax, eax, factor
        0x66, 0x05, 0, 0, 0, 0,       // add eax, summand
        0x66, 0x49, 0x75, 0xef,       // dec ecx; jnz again
        0x66, 0xc1, 0xe8, 0x18,       // shr eax, 24
        0xba, 0x01, 0x05, 0xee,       // out 501h, al
        0xf4, 0xeb, 0xfd,             // hlt; jmp
    };
    memcpy(code, form, sizeof form);
    le32_write(code + 2, rounds);
    le32_write(code + 8, SEED);
    le32_write(code + 15, FACTOR);
    le32_write(code + 21, SUMMAND);
    return sizeof form;
}

uint8_t state_box_result(uint32_t rounds)
{
    uint32_t value = SEED;
    while (rounds--)
        value = value * FACTOR + SUMMAND;
    return (uint8_t)(value >> 24);
}
