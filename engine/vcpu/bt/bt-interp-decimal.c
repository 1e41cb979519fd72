// SPDX-License-Identifier: GPL-2.0-or-later
// DAA DAS AAA AAS AAM AAD (SDM vol. 2, with the flags that the manual calls undefined as 64-bit
// processors set them in 32-bit code: as the addition or subtraction does that corrects AL, or for
// AAA and AAS the whole of AX).
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

// The flags of the host's arithmetic, but CF and AF as given.
static void set_flags(BtCpu *cpu, uint16_t f, bool cf, bool af)
{
    f &= (uint16_t) ~(BT_STATUS_CF | BT_STATUS_AF);
    cpu->flags_status = (uint16_t)(f | (cf ? BT_STATUS_CF : 0) | (af ? BT_STATUS_AF : 0));
}

static void daa(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t al = bt_get8(cpu, 0);
    bool low = (al & 15) > 9 || adjust(cpu);
    bool high = al > 0x99 || carry(cpu);
    uint16_t f = 0;
    bt_set8(cpu, 0, bt_host_add8(al, (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0)), &f));
    set_flags(cpu, f, high, low);
    BT_NEXT(cpu, insn);
}

static void das(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t al = bt_get8(cpu, 0);
    bool low = (al & 15) > 9 || adjust(cpu);
    bool high = al > 0x99 || carry(cpu);
    uint16_t f = 0;
    bt_set8(cpu, 0, bt_host_sub8(al, (uint8_t)((low ? 6 : 0) + (high ? 0x60 : 0)), &f));
    set_flags(cpu, f, high || (low && al < 6), low);
    BT_NEXT(cpu, insn);
}

static void aaa(BtCpu *cpu, const BtInsn *insn)
{
    bool fix = (bt_get8(cpu, 0) & 15) > 9 || adjust(cpu);
    uint16_t f = 0;
    uint16_t ax = bt_host_add16(bt_get16(cpu, VCPU_RAX), fix ? 0x106 : 0, &f);
    bt_set16(cpu, VCPU_RAX, ax & 0xff0f);
    set_flags(cpu, f, fix, fix);
    BT_NEXT(cpu, insn);
}

static void aas(BtCpu *cpu, const BtInsn *insn)
{
    bool fix = (bt_get8(cpu, 0) & 15) > 9 || adjust(cpu);
    uint16_t f = 0;
    uint16_t ax = bt_host_sub16(bt_get16(cpu, VCPU_RAX), fix ? 0x106 : 0, &f);
    bt_set16(cpu, VCPU_RAX, ax & 0xff0f);
    set_flags(cpu, f, fix, fix);
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
    uint16_t f = 0;
    bt_host_test8(al % base, al % base, &f);
    set_flags(cpu, f, false, false);
    BT_NEXT(cpu, insn);
}

static void aad(BtCpu *cpu, const BtInsn *insn)
{
    uint16_t ax = bt_get16(cpu, VCPU_RAX);
    uint16_t f = 0;
    uint8_t product = (uint8_t)((ax >> 8) * (uint8_t)insn->immediate);
    uint8_t al = bt_host_add8((uint8_t)ax, product, &f);
    bt_set16(cpu, VCPU_RAX, al);
    cpu->flags_status = f;
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
