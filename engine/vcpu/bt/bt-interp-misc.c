// SPDX-License-Identifier: GPL-2.0-or-later
// Flag instructions (CLC STC CMC CLD STD LAHF SAHF SALC), hints and fences (NOP PAUSE PREFETCHh
// LFENCE SFENCE MFENCE CLFLUSH CLFLUSHOPT) and random numbers (RDRAND RDSEED) (SDM vol. 2).
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

#include <sys/random.h>

#define SIMPLE(name, statement)                                                                    \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        statement;                                                                                 \
        BT_NEXT(cpu, insn);                                                                        \
    }

SIMPLE(clc, cpu->flags_status &= (uint16_t)~BT_STATUS_CF)
SIMPLE(stc, cpu->flags_status |= BT_STATUS_CF)
SIMPLE(cmc, cpu->flags_status ^= BT_STATUS_CF)
SIMPLE(cld, cpu->rflags_rest &= ~(uint64_t)BT_FLAG_DF)
SIMPLE(std_, cpu->rflags_rest |= BT_FLAG_DF)
SIMPLE(nop, (void)0)
SIMPLE(pause_, __builtin_ia32_pause())
// Ordering against other vCPUs and device threads, whose stores are plain host stores.
SIMPLE(fence, __atomic_thread_fence(__ATOMIC_SEQ_CST))
SIMPLE(salc, bt_set8(cpu, 0, cpu->flags_status & BT_STATUS_CF ? 0xff : 0))

// AH is byte 1 of RAX; bits 1, 3 and 5 read as 1, 0, 0.
SIMPLE(lahf, bt_set8(cpu, 1, (uint8_t)(cpu->flags_status >> 8)))
SIMPLE(sahf, cpu->flags_status = (uint16_t)((bt_get8(cpu, 1) & 0xd5) << 8 | BT_STATUS_ONE |
                                            (cpu->flags_status & BT_STATUS_OF)))

// Caches are coherent with everything that could look; the address is checked as a load's.
static void clflush(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint64_t offset = bt_effective_address(cpu, insn);
    uint64_t linear = bt_linear(cpu, insn->segment, offset, 1, false);
    if (!bt_flat_readable(cpu, linear, 1))
        bt_read8(cpu, insn->segment, offset);
    BT_NEXT(cpu, insn);
}

// CF says that a number is there, which it always is; the other five flags are 0.
static void rdrand(BtCpu *cpu, const BtInsn *insn)
{
    uint64_t value = 0;
    bool good = getrandom(&value, sizeof value, GRND_NONBLOCK) == sizeof value;
    if (!good)
        value = 0;
    if (insn->operand_size == 2)
        bt_set16(cpu, insn->reg[0], (uint16_t)value);
    else
        cpu->gpr[insn->reg[0]] = insn->operand_size == 4 ? (uint32_t)value : value;
    cpu->flags_status = BT_STATUS_ONE | (good ? BT_STATUS_CF : 0);
    BT_NEXT(cpu, insn);
}

static bool take(BtInsn *out, BtHandler *handler)
{
    out->handler = handler;
    return true;
}

bool bt_select_misc(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLC: return take(out, clc);
    case ZYDIS_MNEMONIC_STC: return take(out, stc);
    case ZYDIS_MNEMONIC_CMC: return take(out, cmc);
    case ZYDIS_MNEMONIC_CLD: return take(out, cld);
    case ZYDIS_MNEMONIC_STD: return take(out, std_);
    case ZYDIS_MNEMONIC_LAHF: return take(out, lahf);
    case ZYDIS_MNEMONIC_SAHF: return take(out, sahf);
    case ZYDIS_MNEMONIC_SALC: return take(out, salc);
    case ZYDIS_MNEMONIC_PAUSE: return take(out, pause_);
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_MFENCE: return take(out, fence);
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT: return take(out, clflush);
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
        out->reg[0] = bt_operand_register(&d->operand[0]);
        return take(out, rdrand);
    default: return take(out, nop); // NOP and prefetches: no access, no fault
    }
}
