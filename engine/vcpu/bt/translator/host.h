// SPDX-License-Identifier: GPL-2.0-or-later
// The host's side of generated code: which host register holds what, and an encoder for the few
// instruction shapes that the emitters need (SDM vol. 2A, chapter 2). Nothing here knows about
// guests but the register plan.
//
// Register plan. While a unit runs:
//   rax rcx rdx rbx rbp rsi rdi r8-r11   the guest's registers of the same name
//   r15                                  the guest's RSP
//   r12 r13 r14                          scratch within one guest instruction
//   rsp                                  BT_UNIT_RSP in BtCpu; below it is room for a return
//                                        address and for signals
//   GS base                              BtCpu; the guest's R12-R15 stay in BtCpu.gpr
// FS stays glibc's, so that C can be called at any time, on its own stack (thunks.c). Processors
// forward a store to a load through RSP and the same displacement at once, as they do for spilled
// registers, but not one through GS: fields that units use are reached by RSP (HOST_CPU), and by GS
// (HOST_GS) in thunks, where RSP moves.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    HOST_RAX, HOST_RCX, HOST_RDX, HOST_RBX, HOST_RSP, HOST_RBP, HOST_RSI, HOST_RDI,
    HOST_R8, HOST_R9, HOST_R10, HOST_R11, HOST_R12, HOST_R13, HOST_R14, HOST_R15,
    HOST_NONE,
};

enum { HOST_T1 = HOST_R12, HOST_T2 = HOST_R13, HOST_T3 = HOST_R14, HOST_GUEST_RSP = HOST_R15 };

// Condition codes as the low four bits of a Jcc's opcode.
enum { HOST_O = 0, HOST_B = 2, HOST_AE = 3, HOST_E = 4, HOST_NE = 5, HOST_BE = 6, HOST_A = 7,
       HOST_S = 8 };

// A memory operand. gs: the address is relative to GS, which is BtCpu.
typedef struct {
    bool gs;
    uint8_t base, index, scale; // scale: shift
    int32_t displacement;
} HostMemory;

#define HOST_CPU_AT(offset)                                                                        \
    ((HostMemory){ .base = HOST_RSP, .index = HOST_NONE,                                           \
                   .displacement = (int32_t)(offset) - BT_UNIT_RSP })
#define HOST_CPU(field) HOST_CPU_AT(offsetof(BtCpu, field))
#define HOST_GS_AT(offset)                                                                         \
    ((HostMemory){ .gs = true, .base = HOST_NONE, .index = HOST_NONE,                              \
                   .displacement = (int32_t)(offset) })
#define HOST_GS(field) HOST_GS_AT(offsetof(BtCpu, field))

// Where code goes: `at` moves up. Writes past `end` are dropped and noted.
typedef struct HostCode {
    uint8_t *at, *end;
    bool full;
} HostCode;

static inline void host_bytes(HostCode *c, const void *bytes, size_t count)
{
    if ((size_t)(c->end - c->at) < count) {
        c->full = true;
        return;
    }
    memcpy(c->at, bytes, count);
    c->at += count;
}

static inline void host_byte(HostCode *c, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    host_bytes(c, &b, 1);
}

static inline void host_32(HostCode *c, uint32_t value)
{
    host_bytes(c, &value, sizeof value);
}

static inline void host_64(HostCode *c, uint64_t value)
{
    host_bytes(c, &value, sizeof value);
}

// ModRM, SIB and displacement.
static inline void host_modrm(HostCode *c, unsigned reg, HostMemory m)
{
    reg = (reg & 7) << 3;
    if (m.base == HOST_NONE) { // absolute or index only: SIB without base, 32-bit displacement
        unsigned index = m.index == HOST_NONE ? 4 : m.index & 7;
        host_byte(c, reg | 4);
        host_byte(c, (unsigned)m.scale << 6 | index << 3 | 5);
        host_32(c, (uint32_t)m.displacement);
        return;
    }
    unsigned base = m.base & 7;
    unsigned mod = m.displacement == 0 && base != 5                           ? 0
                   : m.displacement >= -128 && m.displacement <= 127 ? 1
                                                                              : 2;
    if (m.index != HOST_NONE || base == 4) {
        unsigned index = m.index == HOST_NONE ? 4 : m.index & 7;
        host_byte(c, mod << 6 | reg | 4);
        host_byte(c, (unsigned)m.scale << 6 | index << 3 | base);
    } else {
        host_byte(c, mod << 6 | reg | base);
    }
    if (mod == 1)
        host_byte(c, (uint8_t)m.displacement);
    else if (mod == 2)
        host_32(c, (uint32_t)m.displacement);
}

// REX bits X and B of a memory operand.
static inline unsigned host_memory_rex(HostMemory m)
{
    return (m.index != HOST_NONE ? (m.index >> 3 & 1u) << 1 : 0) |
           (m.base != HOST_NONE ? m.base >> 3 & 1u : 0);
}

// opcode: one byte, or 0x0fxx. size: bytes of the operand, 2, 4 or 8 (1: an 8-bit opcode; the
// register is then taken with a REX prefix, never AH..BH).
static inline void host_op_memory(HostCode *c, unsigned size, unsigned opcode, unsigned reg,
                                  HostMemory m)
{
    if (m.gs)
        host_byte(c, 0x65);
    if (size == 2)
        host_byte(c, 0x66);
    unsigned rex = (size == 8) << 3 | (reg >> 3 & 1) << 2 | host_memory_rex(m);
    if (rex || size == 1)
        host_byte(c, 0x40 | rex);
    if (opcode > 0xff)
        host_byte(c, opcode >> 8);
    host_byte(c, opcode);
    host_modrm(c, reg, m);
}

static inline void host_op_registers(HostCode *c, unsigned size, unsigned opcode, unsigned reg,
                                     unsigned rm)
{
    if (size == 2)
        host_byte(c, 0x66);
    unsigned rex = (size == 8) << 3 | (reg >> 3 & 1) << 2 | (rm >> 3 & 1);
    if (rex || size == 1)
        host_byte(c, 0x40 | rex);
    if (opcode > 0xff)
        host_byte(c, opcode >> 8);
    host_byte(c, opcode);
    host_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void host_load(HostCode *c, unsigned size, unsigned reg, HostMemory m)
{
    host_op_memory(c, size, size == 1 ? 0x8a : 0x8b, reg, m);
}

static inline void host_store(HostCode *c, unsigned size, HostMemory m, unsigned reg)
{
    host_op_memory(c, size, size == 1 ? 0x88 : 0x89, reg, m);
}

static inline void host_move(HostCode *c, unsigned to, unsigned from)
{
    if (to != from)
        host_op_registers(c, 8, 0x89, from, to);
}

// The shortest form that makes all 64 bits `value`.
static inline void host_load_constant(HostCode *c, unsigned reg, uint64_t value)
{
    if (value <= UINT32_MAX) {
        if (reg >= 8)
            host_byte(c, 0x41);
        host_byte(c, 0xb8 | (reg & 7));
        host_32(c, (uint32_t)value);
    } else if ((int64_t)value == (int32_t)value) {
        host_byte(c, 0x48 | (reg >> 3));
        host_byte(c, 0xc7);
        host_byte(c, 0xc0 | (reg & 7));
        host_32(c, (uint32_t)value);
    } else {
        host_byte(c, 0x48 | (reg >> 3));
        host_byte(c, 0xb8 | (reg & 7));
        host_64(c, value);
    }
}

// size 4: the result is cut to 32 bits.
static inline void host_lea(HostCode *c, unsigned size, unsigned reg, HostMemory m)
{
    host_op_memory(c, size, 0x8d, reg, m);
}

static inline HostMemory host_based(unsigned base, int32_t displacement)
{
    return (HostMemory){ .base = (uint8_t)base, .index = HOST_NONE, .displacement = displacement };
}

static inline HostMemory host_indexed(unsigned base, unsigned index, int32_t displacement)
{
    return (HostMemory){ .base = (uint8_t)base, .index = (uint8_t)index,
                         .displacement = displacement };
}

// Group 1 with an immediate: extension 0 ADD, 1 OR, 4 AND, 5 SUB, 6 XOR, 7 CMP.
static inline void host_alu_constant(HostCode *c, unsigned size, unsigned extension, unsigned reg,
                                     int32_t value)
{
    unsigned rex = (size == 8) << 3 | (reg >> 3 & 1);
    if (rex)
        host_byte(c, 0x40 | rex);
    bool small = value >= -128 && value <= 127;
    host_byte(c, small ? 0x83 : 0x81);
    host_byte(c, 0xc0 | extension << 3 | (reg & 7));
    if (small)
        host_byte(c, (uint8_t)value);
    else
        host_32(c, (uint32_t)value);
}

// Group 2 by a constant: extension 4 SHL, 5 SHR.
static inline void host_shift(HostCode *c, unsigned size, unsigned extension, unsigned reg,
                              unsigned count)
{
    host_byte(c, 0x40 | (size == 8) << 3 | (reg >> 3 & 1));
    host_byte(c, 0xc1);
    host_byte(c, 0xc0 | extension << 3 | (reg & 7));
    host_byte(c, count);
}

// Branches with a 32-bit distance; the return value is where the distance is, for host_reach.
static inline uint8_t *host_jump(HostCode *c)
{
    host_byte(c, 0xe9);
    host_32(c, 0);
    return c->at - 4;
}

static inline uint8_t *host_jump_if(HostCode *c, unsigned condition)
{
    host_byte(c, 0x0f);
    host_byte(c, 0x80 | condition);
    host_32(c, 0);
    return c->at - 4;
}

static inline uint8_t *host_call(HostCode *c)
{
    host_byte(c, 0xe8);
    host_32(c, 0);
    return c->at - 4;
}

static inline void host_reach(uint8_t *distance_at, const uint8_t *target)
{
    int32_t distance = (int32_t)(target - (distance_at + 4));
    memcpy(distance_at, &distance, sizeof distance);
}

// JRCXZ over what follows, until host_skip_end.
static inline uint8_t *host_skip_if_rcx_zero(HostCode *c)
{
    host_byte(c, 0xe3);
    host_byte(c, 0);
    return c->at - 1;
}

static inline void host_skip_end(HostCode *c, uint8_t *distance_at)
{
    *distance_at = (uint8_t)(c->at - (distance_at + 1));
}
