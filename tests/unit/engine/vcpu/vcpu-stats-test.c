// SPDX-License-Identifier: GPL-2.0-or-later
// Call-outs by mnemonic: rows are found again by name, and the most frequent stay.
#include "engine/vcpu/vcpu-backend.h"

static uint64_t count_of(const VcpuCallOut *rows, const char *name)
{
    for (unsigned i = 0; i < VCPU_CALL_OUTS && rows[i].name; i++) {
        if (g_str_equal(rows[i].name, name))
            return rows[i].count;
    }
    return 0;
}

static void test_sum(void)
{
    VcpuCallOut rows[VCPU_CALL_OUTS] = { 0 };
    vcpu_call_outs_add(rows, "cpuid", 3);
    vcpu_call_outs_add(rows, "iretq", 2);
    vcpu_call_outs_add(rows, "cpuid", 4);
    g_assert_cmpuint(count_of(rows, "cpuid"), ==, 7);
    g_assert_cmpuint(count_of(rows, "iretq"), ==, 2);
    g_assert_null(rows[2].name);
}

static void test_most_frequent(void)
{
    VcpuCallOut rows[VCPU_CALL_OUTS] = { 0 };
    enum { NAMES = 2 * VCPU_CALL_OUTS };
    char names[NAMES][8];
    for (unsigned i = 0; i < NAMES; i++) {
        g_snprintf(names[i], sizeof names[i], "n%u", i);
        vcpu_call_outs_add(rows, names[i], i % 2 ? 1000 + i : 1 + i);
    }
    for (unsigned i = 1; i < NAMES; i += 2)
        g_assert_cmpuint(count_of(rows, names[i]), ==, 1000 + i);
    g_assert_cmpuint(count_of(rows, names[0]), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu-stats/call-outs/sum", test_sum);
    g_test_add_func("/vcpu-stats/call-outs/most-frequent", test_most_frequent);
    return g_test_run();
}
