// SPDX-License-Identifier: GPL-2.0-or-later
// The status flags CF PF AF ZF SF OF. They are not lazy: guest and host are the same architecture,
// so an ALU handler runs the host's own instruction and keeps what LAHF and SETO say, two cheap
// instructions. flags_status is that word: AH = SF ZF 0 AF 0 PF 1 CF in bits 8..15, OF in bit 0.
// Flags that the manual calls undefined come out as this host's processor makes them.
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"
#include "engine/vcpu/bt/bt-registers.h"

enum {
    BT_STATUS_OF = 1 << 0,
    BT_STATUS_CF = 1 << 8,
    BT_STATUS_ONE = 1 << 9,
    BT_STATUS_PF = 1 << 10,
    BT_STATUS_AF = 1 << 12,
    BT_STATUS_ZF = 1 << 14,
    BT_STATUS_SF = 1 << 15,
};

static inline uint64_t bt_status_to_rflags(uint16_t status)
{
    return (status >> 8 & 0xd5) | (uint64_t)(status & 1) << 11;
}

static inline uint16_t bt_status_from_rflags(uint64_t rflags)
{
    return (uint16_t)((rflags & 0xd5) << 8 | BT_STATUS_ONE | (rflags >> 11 & 1));
}

// The six flags at their places in RFLAGS.
static inline uint64_t bt_flags_get_status(const BtCpu *cpu)
{
    return bt_status_to_rflags(cpu->flags_status);
}

static inline void bt_flags_set_status(BtCpu *cpu, uint64_t rflags)
{
    cpu->flags_status = bt_status_from_rflags(rflags);
}

// Sets the flags of `mask` (of the six) to those of `value`.
static inline void bt_flags_change(BtCpu *cpu, uint64_t mask, uint64_t value)
{
    bt_flags_set_status(cpu, (bt_flags_get_status(cpu) & ~mask) | (value & mask));
}

// Conditions as the low four bits of a Jcc's opcode number them.
#define BT_CONDITIONS(X)                                                                           \
    X(0, o, f & BT_STATUS_OF)                                                                      \
    X(1, no, !(f & BT_STATUS_OF))                                                                  \
    X(2, b, f & BT_STATUS_CF)                                                                      \
    X(3, ae, !(f & BT_STATUS_CF))                                                                  \
    X(4, e, f & BT_STATUS_ZF)                                                                      \
    X(5, ne, !(f & BT_STATUS_ZF))                                                                  \
    X(6, be, f & (BT_STATUS_CF | BT_STATUS_ZF))                                                    \
    X(7, a, !(f & (BT_STATUS_CF | BT_STATUS_ZF)))                                                  \
    X(8, s, f & BT_STATUS_SF)                                                                      \
    X(9, ns, !(f & BT_STATUS_SF))                                                                  \
    X(10, p, f & BT_STATUS_PF)                                                                     \
    X(11, np, !(f & BT_STATUS_PF))                                                                 \
    X(12, l, (f >> 15 ^ f) & 1)                                                                    \
    X(13, ge, !((f >> 15 ^ f) & 1))                                                                \
    X(14, le, (f >> 14 | (f >> 15 ^ f)) & 1)                                                       \
    X(15, g, !((f >> 14 | (f >> 15 ^ f)) & 1))
