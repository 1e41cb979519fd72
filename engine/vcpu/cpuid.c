// SPDX-License-Identifier: GPL-2.0-or-later
// The CPUID model (SDM vol. 2A, CPUID; the hypervisor leaf by the convention of the vendors).
//
// The vendor is GenuineIntel, because the interpreter follows Intel's manual where the vendors
// differ (SYSENTER in long mode, SYSCALL only in 64-bit code, SYSRET's SS). One package, one
// thread a core, a power of two of APIC ids.
//
// Family 6, model 36h is a processor that guests know to execute in order: Linux then leaves out
// its defences against speculation, which would cost an interpreter much and protect nothing. Where
// guest instructions run on the host's own pipeline the model is one that is known to speculate.
// ARCH_CAPABILITIES says the same to guests that go by bits.
#include "engine/vcpu/cpuid.h"

#include <cpuid.h>
#include <string.h>

enum { EAX, EBX, ECX, EDX };

#define BIT(n) (UINT32_C(1) << (n))

#define SIGNATURE_IN_ORDER 0x00030661
#define SIGNATURE_SPECULATING 0x000506e3
#define HYPERVISOR_LEAF 0x40000000u

// ---- What the host's user mode offers ----

typedef struct {
    CpuFeature feature;
    uint32_t leaf;
    uint8_t reg, bit;
} FeatureBit;

// Features whose instructions the interpreter executes by the host's own.
static const FeatureBit host_bits[] = {
    { CPU_FEATURE_SSE3, 1, ECX, 0 },    { CPU_FEATURE_PCLMUL, 1, ECX, 1 },
    { CPU_FEATURE_SSSE3, 1, ECX, 9 },   { CPU_FEATURE_SSE4_1, 1, ECX, 19 },
    { CPU_FEATURE_SSE4_2, 1, ECX, 20 }, { CPU_FEATURE_POPCNT, 1, ECX, 23 },
    { CPU_FEATURE_AES, 1, ECX, 25 },    { CPU_FEATURE_CX16, 1, ECX, 13 },
    { CPU_FEATURE_BMI1, 7, EBX, 3 },    { CPU_FEATURE_BMI2, 7, EBX, 8 },
    { CPU_FEATURE_ADX, 7, EBX, 19 },    { CPU_FEATURE_SHA, 7, EBX, 29 },
    { CPU_FEATURE_LZCNT, 0x80000001, ECX, 5 },
};

// The same, where the host's kernel also saves the upper halves of the registers.
static const FeatureBit host_avx_bits[] = {
    { CPU_FEATURE_AVX, 1, ECX, 28 },
    { CPU_FEATURE_FMA, 1, ECX, 12 },
    { CPU_FEATURE_F16C, 1, ECX, 29 },
    { CPU_FEATURE_AVX2, 7, EBX, 5 },
};

static CpuFeatureSet host_features(const FeatureBit *rows, unsigned count)
{
    CpuFeatureSet set = 0;
    for (unsigned i = 0; i < count; i++) {
        uint32_t r[4];
        if (__get_cpuid_count(rows[i].leaf, 0, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) &&
            (r[rows[i].reg] & BIT(rows[i].bit)))
            set |= UINT64_C(1) << rows[i].feature;
    }
    return set;
}

static bool host_saves_avx(void)
{
    uint32_t r[4];
    if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] & BIT(27)))
        return false;
    uint32_t low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

CpuFeatureSet cpuid_features_interpreter(void)
{
    CpuFeatureSet own =
        CPU_FEATURE_BIT(MOVBE) | CPU_FEATURE_BIT(RDTSCP) | CPU_FEATURE_BIT(FSGSBASE) |
        CPU_FEATURE_BIT(SMEP) | CPU_FEATURE_BIT(SMAP) | CPU_FEATURE_BIT(UMIP) |
        CPU_FEATURE_BIT(NX) | CPU_FEATURE_BIT(PCID) | CPU_FEATURE_BIT(INVPCID) |
        CPU_FEATURE_BIT(PAGE_1G) | CPU_FEATURE_BIT(XSAVE) | CPU_FEATURE_BIT(RDRAND) |
        CPU_FEATURE_BIT(RDSEED) | CPU_FEATURE_BIT(X2APIC) | CPU_FEATURE_BIT(TSC_DEADLINE) |
        CPU_FEATURE_BIT(LONG_MODE) | CPU_FEATURE_BIT(CLFLUSHOPT) | CPU_FEATURE_BIT(RDPID) |
        CPU_FEATURE_BIT(XSAVEOPT) | CPU_FEATURE_BIT(XSAVEC) | CPU_FEATURE_BIT(LAHF_LM) |
        CPU_FEATURE_BIT(NO_SPECULATION);
    own |= host_features(host_bits, sizeof host_bits / sizeof host_bits[0]);
    if (host_saves_avx())
        own |= host_features(host_avx_bits, sizeof host_avx_bits / sizeof host_avx_bits[0]);
    return own;
}

// ---- The model ----

// Features that mean nothing without another one.
static CpuFeatureSet consistent(CpuFeatureSet set)
{
    static const struct {
        CpuFeature feature, needs;
    } rules[] = {
        { CPU_FEATURE_XSAVEOPT, CPU_FEATURE_XSAVE }, { CPU_FEATURE_XSAVEC, CPU_FEATURE_XSAVE },
        { CPU_FEATURE_AVX, CPU_FEATURE_XSAVE },      { CPU_FEATURE_AVX2, CPU_FEATURE_AVX },
        { CPU_FEATURE_FMA, CPU_FEATURE_AVX },        { CPU_FEATURE_F16C, CPU_FEATURE_AVX },
        { CPU_FEATURE_PCID, CPU_FEATURE_LONG_MODE }, { CPU_FEATURE_LAHF_LM, CPU_FEATURE_LONG_MODE },
        { CPU_FEATURE_PAGE_1G, CPU_FEATURE_LONG_MODE },
    };
    for (unsigned i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!(set >> rules[i].needs & 1))
            set &= ~(UINT64_C(1) << rules[i].feature);
    }
    return set;
}

static CpuidEntry *add(CpuidModel *model, uint32_t leaf, uint32_t subleaf, bool indexed,
                       uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx)
{
    CpuidEntry *entry = &model->entry[model->count++];
    *entry = (CpuidEntry){ leaf, subleaf, indexed, eax, ebx, ecx, edx };
    return entry;
}

static uint32_t bits_of(CpuFeatureSet set, uint32_t leaf, unsigned reg)
{
    static const FeatureBit rows[] = {
        { CPU_FEATURE_SSE3, 1, ECX, 0 },      { CPU_FEATURE_PCLMUL, 1, ECX, 1 },
        { CPU_FEATURE_SSSE3, 1, ECX, 9 },     { CPU_FEATURE_FMA, 1, ECX, 12 },
        { CPU_FEATURE_CX16, 1, ECX, 13 },     { CPU_FEATURE_PCID, 1, ECX, 17 },
        { CPU_FEATURE_SSE4_1, 1, ECX, 19 },   { CPU_FEATURE_SSE4_2, 1, ECX, 20 },
        { CPU_FEATURE_X2APIC, 1, ECX, 21 },   { CPU_FEATURE_MOVBE, 1, ECX, 22 },
        { CPU_FEATURE_POPCNT, 1, ECX, 23 },   { CPU_FEATURE_TSC_DEADLINE, 1, ECX, 24 },
        { CPU_FEATURE_AES, 1, ECX, 25 },      { CPU_FEATURE_XSAVE, 1, ECX, 26 },
        { CPU_FEATURE_AVX, 1, ECX, 28 },      { CPU_FEATURE_F16C, 1, ECX, 29 },
        { CPU_FEATURE_RDRAND, 1, ECX, 30 },   { CPU_FEATURE_FSGSBASE, 7, EBX, 0 },
        { CPU_FEATURE_BMI1, 7, EBX, 3 },      { CPU_FEATURE_AVX2, 7, EBX, 5 },
        { CPU_FEATURE_SMEP, 7, EBX, 7 },      { CPU_FEATURE_BMI2, 7, EBX, 8 },
        { CPU_FEATURE_INVPCID, 7, EBX, 10 },  { CPU_FEATURE_RDSEED, 7, EBX, 18 },
        { CPU_FEATURE_ADX, 7, EBX, 19 },      { CPU_FEATURE_SMAP, 7, EBX, 20 },
        { CPU_FEATURE_CLFLUSHOPT, 7, EBX, 23 }, { CPU_FEATURE_SHA, 7, EBX, 29 },
        { CPU_FEATURE_UMIP, 7, ECX, 2 },      { CPU_FEATURE_RDPID, 7, ECX, 22 },
        { CPU_FEATURE_XSAVEOPT, 0xd, EAX, 0 }, { CPU_FEATURE_XSAVEC, 0xd, EAX, 1 },
        { CPU_FEATURE_XSAVEC, 0xd, EAX, 2 }, // XGETBV with ECX = 1
        { CPU_FEATURE_LAHF_LM, 0x80000001, ECX, 0 }, { CPU_FEATURE_LZCNT, 0x80000001, ECX, 5 },
        { CPU_FEATURE_LONG_MODE, 0x80000001, EDX, 11 }, // SYSCALL
        { CPU_FEATURE_NX, 0x80000001, EDX, 20 },     { CPU_FEATURE_PAGE_1G, 0x80000001, EDX, 26 },
        { CPU_FEATURE_RDTSCP, 0x80000001, EDX, 27 }, { CPU_FEATURE_LONG_MODE, 0x80000001, EDX, 29 },
    };
    uint32_t bits = 0;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].leaf == leaf && rows[i].reg == reg && (set >> rows[i].feature & 1))
            bits |= BIT(rows[i].bit);
    }
    return bits;
}

// Bits of an APIC id that number cores.
static unsigned core_bits(const CpuidModel *model)
{
    unsigned bits = 0;
    while (1u << bits < model->cpus)
        bits++;
    return bits;
}

static void add_caches(CpuidModel *model)
{
    // Level, type (1 data, 2 code, 3 both), ways, sets, shared by all cores. 64-byte lines.
    static const struct {
        uint8_t level, type;
        uint16_t ways, sets;
        bool shared;
    } caches[] = {
        { 1, 1, 8, 64, false }, { 1, 2, 8, 64, false }, { 2, 3, 8, 1024, false },
        { 3, 3, 16, 8192, true },
    };
    uint32_t ids = (1u << core_bits(model)) - 1;
    uint32_t cores = ids < 63 ? ids : 63;
    for (unsigned i = 0; i < sizeof caches / sizeof caches[0]; i++)
        add(model, 4, i, true,
            caches[i].type | caches[i].level << 5 | 1 << 8 | (caches[i].shared ? ids << 14 : 0) |
                cores << 26,
            (caches[i].ways - 1u) << 22 | 63, caches[i].sets - 1u, 0);
    add(model, 4, sizeof caches / sizeof caches[0], true, 0, 0, 0, 0);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// Leaves 15h and 16h. Guests multiply the crystal's kHz with the numerator in 32 bits; a rate for
// which that would not do is left for them to measure.
static void add_frequencies(CpuidModel *model)
{
    uint64_t divisor = gcd(model->tsc_hz, CPUID_CRYSTAL_HZ);
    uint64_t numerator = model->tsc_hz / divisor, denominator = CPUID_CRYSTAL_HZ / divisor;
    if (numerator * (CPUID_CRYSTAL_HZ / 1000) > UINT32_MAX)
        add(model, 0x15, 0, false, 0, 0, 0, 0);
    else
        add(model, 0x15, 0, false, (uint32_t)denominator, (uint32_t)numerator,
            (uint32_t)CPUID_CRYSTAL_HZ, 0);
    uint32_t mhz = (uint32_t)(model->tsc_hz / 1000000) & 0xffff;
    add(model, 0x16, 0, false, mhz, mhz, 100, 0);
}

static void add_text(CpuidModel *model, uint32_t first_leaf, const char *text, unsigned leaves)
{
    char padded[48] = { 0 };
    strncpy(padded, text, sizeof padded - 1);
    for (unsigned i = 0; i < leaves; i++) {
        uint32_t r[4];
        memcpy(r, padded + 16 * i, 16);
        add(model, first_leaf + i, 0, false, r[0], r[1], r[2], r[3]);
    }
}

static void add_basic(CpuidModel *model, CpuFeatureSet set)
{
    bool capabilities = set & CPU_FEATURE_BIT(NO_SPECULATION);
    add(model, 0, 0, false, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69); // GenuineIntel
    // FPU VME- DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE-36 CLFSH MMX FXSR SSE
    // SSE2 SS
    uint32_t edx = BIT(0) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(9) |
                   BIT(11) | BIT(12) | BIT(13) | BIT(14) | BIT(15) | BIT(16) | BIT(17) | BIT(19) |
                   BIT(23) | BIT(24) | BIT(25) | BIT(26) | BIT(27);
    if (model->cpus > 1)
        edx |= BIT(28); // HTT: the count in EBX is valid
    // EBX: CLFLUSH line in 8 bytes, ids in the package. ECX bit 31: a hypervisor.
    uint32_t ids = core_bits(model) < 8 ? 1u << core_bits(model) : 255;
    add(model, 1, 0, false, model->signature, 8u << 8 | ids << 16,
        bits_of(set, 1, ECX) | BIT(31), edx);
    add(model, 2, 0, false, 0x00feff01, 0x000000f0, 0, 0); // "see leaf 4", 64-byte prefetch
    add_caches(model);
    add(model, 6, 0, false, BIT(2), 0, 0, 0); // the APIC timer always runs
    // ERMS and FSRM: REP MOVSB and STOSB are the fastest copies there are here.
    uint32_t edx7 = BIT(4);
    if (capabilities)
        edx7 |= BIT(29); // ARCH_CAPABILITIES; no IBRS or IBPB: there is nothing to restrict
    add(model, 7, 0, true, 0, bits_of(set, 7, EBX) | BIT(1) | BIT(9), bits_of(set, 7, ECX), edx7);
    add(model, 0xb, 0, true, 0, 1, 0 | 1 << 8, 0);
    add(model, 0xb, 1, true, core_bits(model), model->cpus, 1 | 2 << 8, 0);
    if (set & CPU_FEATURE_BIT(XSAVE)) {
        uint32_t size = model->xcr0_mask & 4 ? 832 : 576;
        add(model, 0xd, 0, true, (uint32_t)model->xcr0_mask, 576, size, 0);
        add(model, 0xd, 1, true, bits_of(set, 0xd, EAX), 0, 0, 0);
        if (model->xcr0_mask & 4)
            add(model, 0xd, 2, true, 256, 576, 0, 0);
    }
    add_frequencies(model);
}

void cpuid_model_build(CpuidModel *model, CpuFeatureSet features, unsigned cpus, uint64_t tsc_hz)
{
    CpuFeatureSet set = consistent(features);
    *model = (CpuidModel){
        .features = set,
        .cpus = cpus,
        .tsc_hz = tsc_hz,
        .physical_bits = 40,
        .xcr0_mask = set & CPU_FEATURE_BIT(AVX) ? 7 : 3,
        .signature = set & CPU_FEATURE_BIT(NO_SPECULATION) ? SIGNATURE_IN_ORDER
                                                           : SIGNATURE_SPECULATING,
    };
    add_basic(model, set);
    add(model, HYPERVISOR_LEAF, 0, false, HYPERVISOR_LEAF, 0, 0, 0);
    memcpy(&model->entry[model->count - 1].ebx, "LodgeLodgeVM", 12);

    bool long_mode = set & CPU_FEATURE_BIT(LONG_MODE);
    add(model, 0x80000000, 0, false, 0x80000008, 0, 0, 0);
    add(model, 0x80000001, 0, false, 0, 0,
        bits_of(set, 0x80000001, ECX) | BIT(8), // PREFETCHW
        bits_of(set, 0x80000001, EDX));
    add_text(model, 0x80000002, "Lodge Virtual CPU", 3);
    add(model, 0x80000005, 0, false, 0, 0, 0, 0);
    add(model, 0x80000006, 0, false, 0, 0, 512u << 16 | 6u << 12 | 64, 0); // L2: 512 KiB, 8 ways
    add(model, 0x80000007, 0, false, 0, 0, 0, BIT(8)); // invariant TSC
    add(model, 0x80000008, 0, false, model->physical_bits | (long_mode ? 48u : 32u) << 8, 0, 0, 0);
}

bool cpuid_model_has(const CpuidModel *model, CpuFeature feature)
{
    return model->features >> feature & 1;
}

uint64_t cpuid_arch_capabilities(const CpuidModel *model)
{
    if (!cpuid_model_has(model, CPU_FEATURE_NO_SPECULATION))
        return 0;
    // RDCL_NO SKIP_L1DFL_VMENTRY SSB_NO MDS_NO PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO
    // BHI_NO PBRSB_NO GDS_NO RFDS_NO, and ITS_NO far above.
    return BIT(0) | BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(8) | BIT(13) | BIT(14) |
           BIT(15) | BIT(20) | BIT(24) | BIT(26) | BIT(27) | UINT64_C(1) << 62;
}

// ---- Answers ----

static const CpuidEntry *find(const CpuidModel *model, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < model->count; i++) {
        const CpuidEntry *e = &model->entry[i];
        if (e->leaf == leaf && (!e->indexed || e->subleaf == subleaf))
            return e;
    }
    return NULL;
}

// A leaf above the highest of its range is answered as the highest basic leaf.
static uint32_t effective_leaf(const CpuidModel *model, uint32_t leaf)
{
    uint32_t range = leaf & 0xf0000000;
    if (range == 0x80000000 || range == HYPERVISOR_LEAF || range == 0) {
        const CpuidEntry *first = find(model, range, 0);
        if (first && leaf <= first->eax)
            return leaf;
    }
    return model->entry[0].eax;
}

static uint32_t xsave_size(uint64_t xcr0)
{
    return xcr0 & 4 ? 832 : 576;
}

void cpuid_query(const CpuidModel *model, unsigned cpu, uint32_t leaf, uint32_t subleaf,
                 uint64_t xcr0, uint64_t cr4, uint32_t regs[4])
{
    leaf = effective_leaf(model, leaf);
    memset(regs, 0, 4 * sizeof regs[0]);
    const CpuidEntry *e = find(model, leaf, subleaf);
    if (e) {
        regs[EAX] = e->eax;
        regs[EBX] = e->ebx;
        regs[ECX] = e->ecx;
        regs[EDX] = e->edx;
    }
    switch (leaf) {
    case 1:
        regs[EBX] |= cpu << 24;
        if (cr4 & BIT(18) && regs[ECX] & BIT(26))
            regs[ECX] |= BIT(27); // OSXSAVE
        break;
    case 0xb:
        // Levels beyond the last repeat ECX's input and the id.
        if (!e)
            regs[ECX] = subleaf & 0xff;
        regs[EDX] = cpu;
        break;
    case 0xd:
        if (e && subleaf == 0)
            regs[EBX] = xsave_size(xcr0);
        if (e && subleaf == 1 && regs[EAX] & BIT(1))
            regs[EBX] = xsave_size(xcr0); // of the compacted form, which has the same parts
        break;
    default:
        break;
    }
}
