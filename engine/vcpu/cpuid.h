// SPDX-License-Identifier: GPL-2.0-or-later
// What the guest's CPUID says. One model for all backends, computed once per machine: exactly what
// every part below implements, never more.
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t leaf, subleaf;
    bool indexed; // subleaf matters
    uint32_t eax, ebx, ecx, edx;
} CpuidEntry;

#define CPUID_MAX_ENTRIES 64

// Features that a backend can run, as one bit a feature; the model is built from the set.
typedef enum {
    CPU_FEATURE_SSE3, CPU_FEATURE_SSSE3, CPU_FEATURE_SSE4_1, CPU_FEATURE_SSE4_2, CPU_FEATURE_POPCNT,
    CPU_FEATURE_AES, CPU_FEATURE_PCLMUL, CPU_FEATURE_SHA, CPU_FEATURE_MOVBE, CPU_FEATURE_ADX,
    CPU_FEATURE_BMI1, CPU_FEATURE_BMI2, CPU_FEATURE_LZCNT, CPU_FEATURE_CX16, CPU_FEATURE_RDTSCP,
    CPU_FEATURE_FSGSBASE, CPU_FEATURE_SMEP, CPU_FEATURE_SMAP, CPU_FEATURE_UMIP, CPU_FEATURE_NX,
    CPU_FEATURE_PCID, CPU_FEATURE_INVPCID, CPU_FEATURE_PAGE_1G, CPU_FEATURE_XSAVE, CPU_FEATURE_AVX,
    CPU_FEATURE_AVX2, CPU_FEATURE_FMA, CPU_FEATURE_F16C, CPU_FEATURE_RDRAND, CPU_FEATURE_RDSEED,
    CPU_FEATURE_X2APIC, CPU_FEATURE_TSC_DEADLINE, CPU_FEATURE_LONG_MODE, CPU_FEATURE_CLFLUSHOPT,
    CPU_FEATURE_RDPID, CPU_FEATURE_XSAVEOPT, CPU_FEATURE_XSAVEC, CPU_FEATURE_LAHF_LM,
    // No guest instruction is executed ahead of its time by guessing, so none of the attacks on
    // speculation exist: the model then is one that guests know not to need their defences.
    CPU_FEATURE_NO_SPECULATION,
    CPU_FEATURE_COUNT
} CpuFeature;

typedef uint64_t CpuFeatureSet;
#define CPU_FEATURE_BIT(name) (UINT64_C(1) << CPU_FEATURE_##name)

typedef struct {
    CpuidEntry entry[CPUID_MAX_ENTRIES];
    unsigned count;
    CpuFeatureSet features; // what the leaves say, after what depends on what
    unsigned cpus;        // logical processors, one core each
    uint64_t tsc_hz;
    unsigned physical_bits; // MAXPHYADDR
    uint64_t xcr0_mask;   // XCR0 bits that may be set
    uint32_t signature;   // leaf 1 EAX
} CpuidModel;

// Leaf 15h's crystal; the local APIC's timer counts at this rate, which guests take from there.
#define CPUID_CRYSTAL_HZ UINT64_C(1000000000)

// All features of the set that the host CPU offers as instructions to user mode (for those that
// are executed by host instructions) or that need no host support.
CpuFeatureSet cpuid_features_interpreter(void);

// Builds the model. cpus 1..255; tsc_hz > 0.
void cpuid_model_build(CpuidModel *model, CpuFeatureSet features, unsigned cpus, uint64_t tsc_hz);

bool cpuid_model_has(const CpuidModel *model, CpuFeature feature);

// IA32_ARCH_CAPABILITIES; 0: the model does not have the MSR.
uint64_t cpuid_arch_capabilities(const CpuidModel *model);

// What CPUID answers on CPU `cpu` (APIC ids) with the given XCR0 and CR4 (OSXSAVE bit and the
// XSAVE sizes follow them).
void cpuid_query(const CpuidModel *model, unsigned cpu, uint32_t leaf, uint32_t subleaf,
                 uint64_t xcr0, uint64_t cr4, uint32_t regs[4]);
