// SPDX-License-Identifier: GPL-2.0-or-later
// No page of the process is writable and executable while units are made and run, and units are
// really made: /proc/self/maps is read again and again beside a guest that runs, writes its own
// code, and runs that.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"

#include <string.h>

#define OPS bt_test_engine()

enum { LOOKS = 100, LEAST_INSTRUCTIONS = 100000 };

// mov edi, DATA; mov ecx, 100; a: add eax, ecx; loop a; add byte [edi+1], 1; call edi; jmp start
static const uint8_t code[] = {
    0xbf, 0, 0, 0x10, 0, 0xb9, 100, 0, 0, 0, 0x01, 0xc8, 0xe2, 0xfc,
    0x80, 0x47, 0x01, 0x01, 0xff, 0xd7, 0xeb, 0xea,
};
// mov edx, imm32; ret
static const uint8_t written_code[] = { 0xba, 0, 0, 0, 0, 0xc3 };

static unsigned count_mappings(const char *rights)
{
    g_autofree char *maps = NULL;
    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    unsigned count = 0;
    for (unsigned i = 0; lines[i]; i++) {
        const char *at = strchr(lines[i], ' ');
        bool all = at != NULL;
        for (const char *right = rights; *right && all; right++)
            all = memchr(at + 1, *right, 4);
        count += all;
    }
    return count;
}

static void *run_guest(void *opaque)
{
    machine_continue(opaque);
    return NULL;
}

static void test_never_both(void)
{
    g_autoptr(Machine) m = machine_new(1);
    machine_protected(m);
    guest_memory_write(m->memory, MACHINE_CODE, code, sizeof code);
    guest_memory_write(m->memory, MACHINE_DATA, written_code, sizeof written_code);
    g_assert_true(OPS->set_state(m->vcpu[0], &m->state, VCPU_STATE_ALL));
    GThread *thread = g_thread_new("guest", run_guest, m);
    VcpuStats stats = { 0 };
    for (unsigned i = 0; i < LOOKS || stats.instructions < LEAST_INSTRUCTIONS; i++) {
        g_assert_cmpuint(count_mappings("wx"), ==, 0);
        g_usleep(1000);
        OPS->stats(m->vcpu[0], &stats);
    }
    OPS->kick(m->vcpu[0]);
    g_thread_join(thread);
    g_assert_cmpint(m->exit.reason, ==, VCPU_EXIT_KICK);
    OPS->stats(m->vcpu[0], &stats);
    g_assert_cmpuint(stats.translations, >, 1);
    g_assert_cmpuint(count_mappings("x"), >, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt/maps/never-writable-and-executable", test_never_both);
    return g_test_run();
}
