// SPDX-License-Identifier: GPL-2.0-or-later
// Which instruction sets this guest has: Zydis' ISA sets against the features of the CPUID model
// (SDM vol. 2, "CPUID feature flag" column of each instruction). A set that is not listed here does
// not exist in any guest: #UD. Also: which system instructions leave the decoded block valid.
#include "engine/vcpu/bt/bt-decode.h"

#define ALWAYS 0xff
#define ABSENT 0

typedef uint8_t Need; // 0: absent, 0xff: always there, else CpuFeature + 1

#define NEED(name) (CPU_FEATURE_##name + 1)

// Indexed by ZydisISASet.
static const Need needs[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_I86] = ALWAYS,
    [ZYDIS_ISA_SET_I186] = ALWAYS,
    [ZYDIS_ISA_SET_I286REAL] = ALWAYS,
    [ZYDIS_ISA_SET_I286PROTECTED] = ALWAYS,
    [ZYDIS_ISA_SET_I386] = ALWAYS,
    [ZYDIS_ISA_SET_I486] = ALWAYS,
    [ZYDIS_ISA_SET_I486REAL] = ALWAYS,
    [ZYDIS_ISA_SET_PENTIUMREAL] = ALWAYS,
    [ZYDIS_ISA_SET_PENTIUMMMX] = ALWAYS,
    [ZYDIS_ISA_SET_PPRO] = ALWAYS,
    [ZYDIS_ISA_SET_CMOV] = ALWAYS,
    [ZYDIS_ISA_SET_FCMOV] = ALWAYS,
    [ZYDIS_ISA_SET_FAT_NOP] = ALWAYS,
    [ZYDIS_ISA_SET_PREFETCH_NOP] = ALWAYS,
    [ZYDIS_ISA_SET_PAUSE] = ALWAYS,
    [ZYDIS_ISA_SET_RDPMC] = ALWAYS,
    [ZYDIS_ISA_SET_X87] = ALWAYS,
    [ZYDIS_ISA_SET_FXSAVE] = ALWAYS,
    [ZYDIS_ISA_SET_FXSAVE64] = ALWAYS,
    [ZYDIS_ISA_SET_SSE] = ALWAYS,
    [ZYDIS_ISA_SET_SSEMXCSR] = ALWAYS,
    [ZYDIS_ISA_SET_SSE_PREFETCH] = ALWAYS,
    [ZYDIS_ISA_SET_SSE2] = ALWAYS,
    [ZYDIS_ISA_SET_SSE2MMX] = ALWAYS,
    [ZYDIS_ISA_SET_CLFSH] = ALWAYS,
    [ZYDIS_ISA_SET_LAHF] = ALWAYS, // bt_decode_allowed: not so in long mode
    [ZYDIS_ISA_SET_AMD] = NEED(LONG_MODE), // SYSCALL and SYSRET outside 64-bit code
    [ZYDIS_ISA_SET_LONGMODE] = NEED(LONG_MODE),
    [ZYDIS_ISA_SET_SSE3] = NEED(SSE3),
    [ZYDIS_ISA_SET_SSE3X87] = NEED(SSE3),
    [ZYDIS_ISA_SET_SSSE3] = NEED(SSSE3),
    [ZYDIS_ISA_SET_SSSE3MMX] = NEED(SSSE3),
    [ZYDIS_ISA_SET_SSE4] = NEED(SSE4_1),
    [ZYDIS_ISA_SET_SSE42] = NEED(SSE4_2),
    [ZYDIS_ISA_SET_POPCNT] = NEED(POPCNT),
    [ZYDIS_ISA_SET_AES] = NEED(AES),
    [ZYDIS_ISA_SET_PCLMULQDQ] = NEED(PCLMUL),
    [ZYDIS_ISA_SET_SHA] = NEED(SHA),
    [ZYDIS_ISA_SET_MOVBE] = NEED(MOVBE),
    [ZYDIS_ISA_SET_ADOX_ADCX] = NEED(ADX),
    [ZYDIS_ISA_SET_BMI1] = NEED(BMI1),
    [ZYDIS_ISA_SET_BMI2] = NEED(BMI2),
    [ZYDIS_ISA_SET_LZCNT] = NEED(LZCNT),
    [ZYDIS_ISA_SET_CMPXCHG16B] = NEED(CX16),
    [ZYDIS_ISA_SET_RDTSCP] = NEED(RDTSCP),
    [ZYDIS_ISA_SET_RDWRFSGS] = NEED(FSGSBASE),
    [ZYDIS_ISA_SET_SMAP] = NEED(SMAP),
    [ZYDIS_ISA_SET_INVPCID] = NEED(INVPCID),
    [ZYDIS_ISA_SET_XSAVE] = NEED(XSAVE),
    [ZYDIS_ISA_SET_XSAVEOPT] = NEED(XSAVEOPT),
    [ZYDIS_ISA_SET_XSAVEC] = NEED(XSAVEC),
    [ZYDIS_ISA_SET_AVX] = NEED(AVX),
    [ZYDIS_ISA_SET_AVX2] = NEED(AVX2),
    [ZYDIS_ISA_SET_AVX2GATHER] = NEED(AVX2),
    [ZYDIS_ISA_SET_AVXAES] = NEED(AES), // bt_decode_allowed: and AVX
    [ZYDIS_ISA_SET_FMA] = NEED(FMA),
    [ZYDIS_ISA_SET_F16C] = NEED(F16C),
    [ZYDIS_ISA_SET_RDRAND] = NEED(RDRAND),
    [ZYDIS_ISA_SET_RDSEED] = NEED(RDSEED),
    [ZYDIS_ISA_SET_CLFLUSHOPT] = NEED(CLFLUSHOPT),
    [ZYDIS_ISA_SET_RDPID] = NEED(RDPID),
};

bool bt_decode_allowed(const BtDecoders *decoders, const ZydisDecodedInstruction *insn)
{
    Need need = needs[insn->meta.isa_set];
    if (need == ABSENT)
        return false;
    if (need != ALWAYS && !(decoders->features >> (need - 1) & 1))
        return false;
    switch (insn->meta.isa_set) {
    case ZYDIS_ISA_SET_LAHF:
        return insn->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 ||
               decoders->features & CPU_FEATURE_BIT(LAHF_LM);
    case ZYDIS_ISA_SET_AVXAES:
        return decoders->features & CPU_FEATURE_BIT(AVX);
    case ZYDIS_ISA_SET_PCLMULQDQ: // the VEX form is in the same set
        return insn->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX ||
               decoders->features & CPU_FEATURE_BIT(AVX);
    default:
        return true;
    }
}

bool bt_decode_harmless(const BtDecoded *d)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_RDMSR:
    case ZYDIS_MNEMONIC_RDTSC:
    case ZYDIS_MNEMONIC_RDTSCP:
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_SGDT:
    case ZYDIS_MNEMONIC_SIDT:
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SWAPGS:
    case ZYDIS_MNEMONIC_VERR:
    case ZYDIS_MNEMONIC_VERW:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
        return true;
    case ZYDIS_MNEMONIC_MOV: // reads of segment, control and debug registers
        return d->operand[0].type == ZYDIS_OPERAND_TYPE_MEMORY ||
               ZydisRegisterGetClass(d->operand[0].reg.value) == ZYDIS_REGCLASS_GPR16 ||
               ZydisRegisterGetClass(d->operand[0].reg.value) == ZYDIS_REGCLASS_GPR32 ||
               ZydisRegisterGetClass(d->operand[0].reg.value) == ZYDIS_REGCLASS_GPR64;
    default:
        return false;
    }
}
