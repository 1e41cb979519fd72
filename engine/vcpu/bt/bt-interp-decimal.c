// SPDX-License-Identifier: GPL-2.0-or-later
// DAA DAS AAA AAS AAM AAD (SDM vol. 2, with the flags that the manual calls undefined as 64-bit
// processors set them in 32-bit code: AAA and AAS as an addition to AX would, DAA and DAS clear OF).
#include "engine/vcpu/bt/bt-handler.h"
#include "engine/vcpu/bt/bt-select.h"

static inline bool carry(const BtCpu *cpu)
{
    return cpu->flags_status & BT_STATUS_CF;
}

static inline bool adjust(const BtCpu *cpu)
{
    return cpu->flags_status & BT_STATUS_AF;
}

// SF, ZF and PF of a byte; CF and AF as given; OF 0.
static void set_flags(BtCpu *cpu, uint8_t result, bool cf, bool af)
{
    uint16_t f;
    bt_host_test8(result, result, &f);
    f &= (uint16_t) ~(BT_STATUS_CF | BT_STATUS_AF | BT_STATUS_OF);
    cpu->flags_status = (uint16_t)(f | (cf ? BT_STATUS_CF : 0) | (af ? BT_STATUS_AF : 0));
}

static void daa(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t al = bt_get8(cpu, 0);
    bool low = (al & 15) > 9 || adjust(cpu);
    bool high = al > 0x99 || carry(cpu);
    al = (uint8_t)(al + (low ? 6 : 0) + (high ? 0x60 : 0));
    bt_set8(cpu, 0, al);
    set_flags(cpu, al, high, low);
    BT_NEXT(cpu, insn);
}

static void das(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t old = bt_get8(cpu, 0);
    bool low = (old & 15) > 9 || adjust(cpu);
    bool high = old > 0x99 || carry(cpu);
    uint8_t al = (uint8_t)(old - (low ? 6 : 0) - (high ? 0x60 : 0));
    bt_set8(cpu, 0, al);
    set_flags(cpu, al, high || (low && old < 6), low);
    BT_NEXT(cpu, insn);
}

static void aaa(BtCpu *cpu, const BtInsn *insn)
{
    bool fix = (bt_get8(cpu, 0) & 15) > 9 || adjust(cpu);
    uint16_t ax = bt_get16(cpu, VCPU_RAX);
    if (fix)
        ax = (uint16_t)(ax + 0x106);
    ax &= 0xff0f;
    bt_set16(cpu, VCPU_RAX, ax);
    set_flags(cpu, (uint8_t)ax, fix, fix);
    BT_NEXT(cpu, insn);
}

static void aas(BtCpu *cpu, const BtInsn *insn)
{
    bool fix = (bt_get8(cpu, 0) & 15) > 9 || adjust(cpu);
    uint16_t ax = bt_get16(cpu, VCPU_RAX);
    if (fix)
        ax = (uint16_t)(ax - 0x106);
    ax &= 0xff0f;
    bt_set16(cpu, VCPU_RAX, ax);
    set_flags(cpu, (uint8_t)ax, fix, fix);
    BT_NEXT(cpu, insn);
}

static void aam(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t base = (uint8_t)insn->immediate;
    if (base == 0) {
        BT_BEGIN(cpu, insn);
        bt_raise(cpu, BT_DE);
    }
    uint8_t al = bt_get8(cpu, 0);
    bt_set16(cpu, VCPU_RAX, (uint16_t)((al / base) << 8 | al % base));
    set_flags(cpu, al % base, false, false);
    BT_NEXT(cpu, insn);
}

static void aad(BtCpu *cpu, const BtInsn *insn)
{
    uint16_t ax = bt_get16(cpu, VCPU_RAX);
    uint8_t al = (uint8_t)((ax & 0xff) + (ax >> 8) * (uint8_t)insn->immediate);
    bt_set16(cpu, VCPU_RAX, al);
    set_flags(cpu, al, false, false);
    BT_NEXT(cpu, insn);
}

bool bt_select_decimal(const BtDecoded *d, BtInsn *out)
{
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_DAA: out->handler = daa; return true;
    case ZYDIS_MNEMONIC_DAS: out->handler = das; return true;
    case ZYDIS_MNEMONIC_AAA: out->handler = aaa; return true;
    case ZYDIS_MNEMONIC_AAS: out->handler = aas; return true;
    case ZYDIS_MNEMONIC_AAM: out->handler = aam; return true;
    case ZYDIS_MNEMONIC_AAD: out->handler = aad; return true;
    default: return false;
    }
}
