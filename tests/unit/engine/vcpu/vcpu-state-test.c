// SPDX-License-Identifier: GPL-2.0-or-later
// States after RESET, INIT and a startup IPI.
#include "engine/vcpu/vcpu-exit.h"
#include "engine/vcpu/vcpu-state.h"

#include <glib.h>
#include <string.h>

static void test_reset(void)
{
    VcpuState s;
    memset(&s, 0xaa, sizeof s);
    vcpu_state_reset(&s, 0x12345);
    g_assert_cmphex(s.rip, ==, 0xfff0);
    g_assert_cmphex(s.rflags, ==, 2);
    g_assert_cmphex(s.gpr[VCPU_RDX], ==, 0x12345);
    g_assert_cmphex(s.segment[VCPU_CS].selector, ==, 0xf000);
    g_assert_cmphex(s.segment[VCPU_CS].base, ==, 0xffff0000);
    g_assert_cmphex(s.segment[VCPU_DS].limit, ==, 0xffff);
    g_assert_cmphex(s.cr0, ==, 0x60000010);
    g_assert_cmphex(s.dr6, ==, 0xffff0ff0);
    g_assert_cmphex(s.dr7, ==, 0x400);
    g_assert_cmphex(s.xsave[0] | s.xsave[1] << 8, ==, 0x40);
    g_assert_cmphex(s.xcr0, ==, 1);
    g_assert_cmpuint(s.msr_count, <=, VCPU_MSR_MAX);
}

static void test_init_keeps(void)
{
    VcpuState s;
    vcpu_state_reset(&s, 1);
    s.cr0 = 0x80000011; // caches on
    s.msr[0].value = 77;
    s.tsc = 1234;
    s.xsave[0] = 0x7f;
    s.gpr[VCPU_RAX] = 5;
    s.efer = 0x500;
    s.events.halted = true;
    vcpu_state_init(&s, 1);
    g_assert_cmphex(s.cr0, ==, 0x10);
    g_assert_cmphex(s.msr[0].value, ==, 77);
    g_assert_cmphex(s.tsc, ==, 1234);
    g_assert_cmphex(s.xsave[0], ==, 0x7f);
    g_assert_cmphex(s.gpr[VCPU_RAX], ==, 0);
    g_assert_cmphex(s.efer, ==, 0);
    g_assert_false(s.events.halted);
    g_assert_cmphex(s.rip, ==, 0xfff0);
}

static void test_startup(void)
{
    VcpuState s;
    vcpu_state_reset(&s, 1);
    s.events.wait_for_sipi = true;
    vcpu_state_startup(&s, 0x9f);
    g_assert_cmphex(s.segment[VCPU_CS].selector, ==, 0x9f00);
    g_assert_cmphex(s.segment[VCPU_CS].base, ==, 0x9f000);
    g_assert_cmphex(s.rip, ==, 0);
    g_assert_false(s.events.wait_for_sipi);
}

static void test_exit_names(void)
{
    for (unsigned i = 0; i < VCPU_EXIT_COUNT; i++)
        g_assert_cmpuint(strlen(vcpu_exit_name(i)), >, 0);
    g_assert_cmpstr(vcpu_exit_name(VCPU_EXIT_SHUTDOWN), ==, "triple fault");
    g_assert_cmpstr(vcpu_exit_name(VCPU_EXIT_COUNT), ==, "unknown");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu-state/reset", test_reset);
    g_test_add_func("/vcpu-state/init", test_init_keeps);
    g_test_add_func("/vcpu-state/startup", test_startup);
    g_test_add_func("/vcpu-exit/names", test_exit_names);
    return g_test_run();
}
