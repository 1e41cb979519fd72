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

void state_box_remove_files(StateBox *box)
{
    g_unlink(box->floppy);
    g_unlink(box->disk);
    g_rmdir(box->folder);
}

void state_box_clear(StateBox *box)
{
    machine_free(box->machine);
    config_free(box->config);
    g_main_loop_unref(box->loop);
    state_box_remove_files(box);
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

static bool sink_begin(void *opaque, const uint64_t sizes[MACHINE_MEMORY_BLOCKS], GError **error)
{
    HeldState *state = opaque;
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++) {
        state->memory[block] = g_byte_array_new();
        g_byte_array_set_size(state->memory[block], (guint)sizes[block]);
        memset(state->memory[block]->data, 0, sizes[block]);
    }
    return true;
}

static bool sink_pages(void *opaque, MachineMemoryBlock block, uint64_t offset, const void *data,
                       size_t size, GError **error)
{
    HeldState *state = opaque;
    g_assert_cmpuint(offset % 4096, ==, 0);
    g_assert_cmpuint(size % 4096, ==, 0);
    g_assert_cmpuint(offset + size, <=, state->memory[block]->len);
    if (data)
        memcpy(state->memory[block]->data + offset, data, size);
    else
        memset(state->memory[block]->data + offset, 0, size);
    if (state->fail_after && --state->fail_after == 0) {
        g_set_error_literal(error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "no room in this test");
        return false;
    }
    return true;
}

static bool sink_commit(void *opaque, GBytes *form, const uint32_t *hot, size_t hot_count,
                        GError **error)
{
    HeldState *state = opaque;
    state->form = g_bytes_ref(form);
    state->hot_count = hot_count;
    return true;
}

static void sink_discard(void *opaque)
{
    ((HeldState *)opaque)->discarded = true;
}

MachineStateSink held_state_sink(HeldState *state)
{
    state->source = (MachineStateSource){ source_form, source_memory_size, source_memory,
                                          source_filled, source_consume, state };
    return (MachineStateSink){ .begin = sink_begin, .pages = sink_pages, .commit = sink_commit,
                               .discard = sink_discard, .opaque = state };
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
    g_clear_pointer(&state->form, g_bytes_unref);
    for (MachineMemoryBlock block = 0; block < MACHINE_MEMORY_BLOCKS; block++)
        g_clear_pointer(&state->memory[block], g_byte_array_unref);
}

size_t state_box_sum_code(uint8_t code[128], uint32_t rounds)
{
    static const uint8_t form[] = {
        0xb8, 0x00, 0x20, 0x8e, 0xc0,       // mov ax, 2000h; mov es, ax
        0x31, 0xff, 0xb9, 0x00, 0x40,       // xor di, di; mov cx, 4000h
        0x66, 0x31, 0xc0, 0xfc, 0xf3, 0x66, 0xab, // xor eax, eax; cld; rep stosd
        0x66, 0xb9, 0, 0, 0, 0,             // (17) mov ecx, rounds
        0x66, 0xb8, 0, 0, 0, 0,             // (23) mov eax, seed
        0x66, 0x69, 0xc0, 0, 0, 0, 0,       // (29) again: imul eax, eax, factor
        0x66, 0x05, 0, 0, 0, 0,             // (36) add eax, summand
        0x26, 0x66, 0x89, 0x05,             // mov es:[di], eax
        0x83, 0xc7, 0x04,                   // add di, 4
        0x66, 0x49, 0x75, 0xe8,             // dec ecx; jnz again
        0x66, 0x31, 0xdb,                   // xor ebx, ebx
        0x31, 0xff, 0xb9, 0x00, 0x40,       // xor di, di; mov cx, 4000h
        0x26, 0x66, 0x33, 0x1d,             // sum: xor ebx, es:[di]
        0x83, 0xc7, 0x04, 0x49, 0x75, 0xf6, // add di, 4; dec cx; jnz sum
        0x66, 0x89, 0xd8,                   // mov eax, ebx
        0x66, 0xc1, 0xe8, 0x10, 0x31, 0xd8, // shr eax, 16; xor ax, bx
        0x30, 0xe0, 0xba, 0x01, 0x05, 0xee, // xor al, ah; out 501h, al
        0xf4, 0xeb, 0xfd,                   // hlt; jmp
    };
    G_STATIC_ASSERT(sizeof form <= 128);
    memcpy(code, form, sizeof form);
    le32_write(code + 19, rounds);
    le32_write(code + 25, SEED);
    le32_write(code + 32, FACTOR);
    le32_write(code + 38, SUMMAND);
    return sizeof form;
}

uint8_t state_box_result(uint32_t rounds)
{
    static uint32_t memory[0x4000];
    memset(memory, 0, sizeof memory);
    uint32_t value = SEED, sum = 0;
    for (uint32_t i = 0; i < rounds; i++)
        memory[i % 0x4000] = value = value * FACTOR + SUMMAND;
    for (unsigned i = 0; i < 0x4000; i++)
        sum ^= memory[i];
    sum ^= sum >> 16;
    return (uint8_t)(sum ^ sum >> 8);
}
