// SPDX-License-Identifier: GPL-2.0-or-later
// The CPUID model: what leaves say, and that they agree with one another.
#include "engine/vcpu/cpuid.h"

#include <glib.h>
#include <string.h>

#define HZ UINT64_C(1000000000)

static void query(const CpuidModel *model, uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
    cpuid_query(model, 2, leaf, subleaf, 7, 1u << 18, r);
}

static CpuidModel make(unsigned cpus)
{
    CpuidModel model;
    cpuid_model_build(&model, (UINT64_C(1) << CPU_FEATURE_COUNT) - 1, cpus, HZ);
    return model;
}

static void test_vendor(void)
{
    CpuidModel model = make(1);
    uint32_t r[4];
    query(&model, 0, 0, r);
    char vendor[13] = { 0 };
    memcpy(vendor, &r[1], 4);
    memcpy(vendor + 4, &r[3], 4);
    memcpy(vendor + 8, &r[2], 4);
    g_assert_cmpstr(vendor, ==, "GenuineIntel");
    char brand[49] = { 0 };
    for (unsigned i = 0; i < 3; i++) {
        query(&model, 0x80000002 + i, 0, r);
        memcpy(brand + 16 * i, r, 16);
    }
    g_assert_cmpstr(brand, ==, "Lodge Virtual CPU");
    query(&model, 0x40000000, 0, r);
    g_assert_cmpmem(&r[1], 12, "LodgeLodgeVM", 12);
}

// The model fits its table, whatever is in it.
static void test_capacity(void)
{
    CpuidModel model = make(255);
    g_assert_cmpuint(model.count, <=, CPUID_MAX_ENTRIES);
}

static void test_out_of_range(void)
{
    CpuidModel model = make(1);
    uint32_t highest[4], r[4];
    query(&model, 0x16, 0, highest);
    query(&model, 0x17, 0, r);
    g_assert_cmpmem(r, sizeof r, highest, sizeof highest);
    query(&model, 0x80000009, 0, r);
    g_assert_cmpmem(r, sizeof r, highest, sizeof highest);
    query(&model, 0x60000000, 0, r);
    g_assert_cmpmem(r, sizeof r, highest, sizeof highest);
}

static void test_unknown_within_range(void)
{
    CpuidModel model = make(1);
    uint32_t r[4], zero[4] = { 0 };
    query(&model, 0xa, 0, r); // no performance counters
    g_assert_cmpmem(r, sizeof r, zero, sizeof zero);
    query(&model, 7, 1, r);
    g_assert_cmpmem(r, sizeof r, zero, sizeof zero);
}

static void test_topology(void)
{
    static const struct {
        unsigned cpus, bits;
    } rows[] = { { 1, 0 }, { 2, 1 }, { 3, 2 }, { 4, 2 }, { 5, 3 }, { 64, 6 }, { 255, 8 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        CpuidModel model = make(rows[i].cpus);
        uint32_t r[4];
        query(&model, 0xb, 0, r);
        g_assert_cmpuint(r[0], ==, 0); // a thread is a core
        g_assert_cmpuint(r[1], ==, 1);
        g_assert_cmphex(r[2], ==, 0x100);
        g_assert_cmpuint(r[3], ==, 2);
        query(&model, 0xb, 1, r);
        g_assert_cmpuint(r[0], ==, rows[i].bits);
        g_assert_cmpuint(r[1], ==, rows[i].cpus);
        g_assert_cmphex(r[2], ==, 0x201);
        query(&model, 0xb, 2, r);
        g_assert_cmpuint(r[0], ==, 0);
        g_assert_cmpuint(r[1], ==, 0);
        g_assert_cmphex(r[2], ==, 2);
        g_assert_cmpuint(r[3], ==, 2);
        query(&model, 1, 0, r);
        g_assert_cmpuint(r[1] >> 24, ==, 2);
        g_assert_cmpuint(r[3] >> 28 & 1, ==, rows[i].cpus > 1);
        query(&model, 4, 0, r);
        g_assert_cmpuint(r[0] >> 26, ==, MIN((1u << rows[i].bits) - 1, 63));
    }
}

static void test_xsave_sizes(void)
{
    CpuidModel model = make(1);
    uint32_t r[4];
    cpuid_query(&model, 0, 0xd, 0, 1, 0, r);
    g_assert_cmpuint(r[0], ==, 7);
    g_assert_cmpuint(r[1], ==, 576); // of what XCR0 has now
    g_assert_cmpuint(r[2], ==, 832); // of all
    cpuid_query(&model, 0, 0xd, 0, 7, 0, r);
    g_assert_cmpuint(r[1], ==, 832);
    cpuid_query(&model, 0, 0xd, 2, 7, 0, r);
    g_assert_cmpuint(r[0], ==, 256);
    g_assert_cmpuint(r[1], ==, 576);
}

static void test_osxsave_follows_cr4(void)
{
    CpuidModel model = make(1);
    uint32_t r[4];
    cpuid_query(&model, 0, 1, 0, 1, 0, r);
    g_assert_cmpuint(r[2] >> 27 & 1, ==, 0);
    cpuid_query(&model, 0, 1, 0, 1, 1u << 18, r);
    g_assert_cmpuint(r[2] >> 27 & 1, ==, 1);
}

static void test_dependencies(void)
{
    CpuidModel model;
    CpuFeatureSet all = (UINT64_C(1) << CPU_FEATURE_COUNT) - 1;
    cpuid_model_build(&model, all & ~CPU_FEATURE_BIT(XSAVE), 1, HZ);
    g_assert_false(cpuid_model_has(&model, CPU_FEATURE_AVX2));
    g_assert_cmphex(model.xcr0_mask, ==, 3);
    uint32_t r[4];
    query(&model, 1, 0, r);
    g_assert_cmphex(r[2] & (1u << 26 | 1u << 27 | 1u << 28), ==, 0);
    query(&model, 0xd, 0, r);
    g_assert_cmphex(r[0], ==, 0);
}

static void test_frequency(void)
{
    static const uint64_t rates[] = { 1000000000, 2500000000, 3000000000, 2400000000 };
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        CpuidModel model;
        uint32_t r[4];
        cpuid_model_build(&model, 0, 1, rates[i]);
        query(&model, 0x15, 0, r);
        g_assert_cmpuint(r[2], ==, CPUID_CRYSTAL_HZ);
        g_assert_cmpuint((uint64_t)r[2] * r[1] / r[0], ==, rates[i]);
    }
    // One that 32-bit arithmetic on kHz would get wrong is not told.
    CpuidModel model;
    uint32_t r[4];
    cpuid_model_build(&model, 0, 1, 2999999999);
    query(&model, 0x15, 0, r);
    g_assert_cmpuint(r[0] | r[1] | r[2], ==, 0);
}

static void test_speculation(void)
{
    CpuFeatureSet all = (UINT64_C(1) << CPU_FEATURE_COUNT) - 1;
    CpuidModel model;
    uint32_t r[4];
    cpuid_model_build(&model, all, 1, HZ);
    g_assert_cmphex(cpuid_arch_capabilities(&model) & 1, ==, 1);
    query(&model, 7, 0, r);
    g_assert_cmphex(r[3] >> 29 & 1, ==, 1);
    // Where the host's pipeline runs the guest, nothing of that is promised.
    cpuid_model_build(&model, all & ~CPU_FEATURE_BIT(NO_SPECULATION), 1, HZ);
    g_assert_cmphex(cpuid_arch_capabilities(&model), ==, 0);
    query(&model, 7, 0, r);
    g_assert_cmphex(r[3] >> 29 & 1, ==, 0);
}

// Not done, so not offered.
static void test_absent(void)
{
    CpuidModel model = make(1);
    uint32_t r[4];
    query(&model, 1, 0, r);
    g_assert_cmphex(r[3] & 1u << 1, ==, 0); // VME
    g_assert_cmphex(r[2] & (1u << 3 | 1u << 5), ==, 0); // MONITOR, VMX
    g_assert_cmphex(r[2] >> 31, ==, 1); // a hypervisor says so
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpuid/vendor", test_vendor);
    g_test_add_func("/cpuid/capacity", test_capacity);
    g_test_add_func("/cpuid/out-of-range", test_out_of_range);
    g_test_add_func("/cpuid/unknown-leaf", test_unknown_within_range);
    g_test_add_func("/cpuid/topology", test_topology);
    g_test_add_func("/cpuid/xsave/sizes", test_xsave_sizes);
    g_test_add_func("/cpuid/xsave/osxsave", test_osxsave_follows_cr4);
    g_test_add_func("/cpuid/dependencies", test_dependencies);
    g_test_add_func("/cpuid/frequency", test_frequency);
    g_test_add_func("/cpuid/speculation", test_speculation);
    g_test_add_func("/cpuid/absent", test_absent);
    return g_test_run();
}
