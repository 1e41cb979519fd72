// SPDX-License-Identifier: GPL-2.0-or-later
// What integer handlers are made of: registers by width, the host's own ALU instructions with their
// flags, and memory in two kinds.
//
//  - flat, base: the segment starts at 0 and covers everything, so the offset is the linear address
//    (base: it has no index register). Such a handler has no slow path of its own: where the TLB
//    does not hit, it tail-calls its "any" twin, which starts over. So it needs no stack frame and
//    no BT_BEGIN.
//  - any: every segment, every fault.
#pragma once

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-memory.h"

#define BT_LIKELY(x) __builtin_expect(!!(x), 1)
#define BT_UNLIKELY(x) __builtin_expect(!!(x), 0)

// ---- Registers. 8 bits: byte offset into gpr, else register number ----

static inline uint8_t bt_get8(const BtCpu *cpu, unsigned reg)
{
    return *((const uint8_t *)cpu->gpr + reg);
}

static inline uint16_t bt_get16(const BtCpu *cpu, unsigned reg)
{
    return (uint16_t)cpu->gpr[reg];
}

static inline uint32_t bt_get32(const BtCpu *cpu, unsigned reg)
{
    return (uint32_t)cpu->gpr[reg];
}

static inline uint64_t bt_get64(const BtCpu *cpu, unsigned reg)
{
    return cpu->gpr[reg];
}

// Narrow writes store all 64 bits: a later wide read of a narrow store would wait for it to reach
// the cache.
static inline void bt_set8(BtCpu *cpu, unsigned reg, uint8_t value)
{
    if (BT_UNLIKELY(reg & 1)) { // AH CH DH BH
        *((uint8_t *)cpu->gpr + reg) = value;
        return;
    }
    uint64_t *whole = (uint64_t *)((uint8_t *)cpu->gpr + reg);
    *whole = (*whole & ~UINT64_C(0xff)) | value;
}

static inline void bt_set16(BtCpu *cpu, unsigned reg, uint16_t value)
{
    cpu->gpr[reg] = (cpu->gpr[reg] & ~UINT64_C(0xffff)) | value;
}

static inline void bt_set32(BtCpu *cpu, unsigned reg, uint32_t value)
{
    cpu->gpr[reg] = value;
}

static inline void bt_set64(BtCpu *cpu, unsigned reg, uint64_t value)
{
    cpu->gpr[reg] = value;
}

// ---- The host's ALU. *f: flags_status in and out ----

#define BT_HOST_BINARY(op, bits, suffix)                                                           \
    static inline uint##bits##_t bt_host_##op##bits(uint##bits##_t a, uint##bits##_t b,            \
                                                    uint16_t *f)                                   \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__(#op #suffix " %[b], %[a]\n\tlahf\n\tseto %%al"                                     \
                : [a] "+r"(a), "=&a"(status)                                                       \
                : [b] "rm"(b)                                                                      \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return a;                                                                                  \
    }

#define BT_HOST_CARRY(op, bits, suffix)                                                            \
    static inline uint##bits##_t bt_host_##op##bits(uint##bits##_t a, uint##bits##_t b,            \
                                                    uint16_t *f)                                   \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__("btw $8, %[f]\n\t" #op #suffix " %[b], %[a]\n\tlahf\n\tseto %%al"                  \
                : [a] "+&r"(a), "=&a"(status)                                                      \
                : [b] "rm"(b), [f] "rm"(*f)                                                        \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return a;                                                                                  \
    }

#define BT_HOST_COMPARE(op, bits, suffix)                                                          \
    static inline void bt_host_##op##bits(uint##bits##_t a, uint##bits##_t b, uint16_t *f)         \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__(#op #suffix " %[b], %[a]\n\tlahf\n\tseto %%al"                                     \
                : "=&a"(status)                                                                    \
                : [a] "r"(a), [b] "rm"(b)                                                          \
                : "cc");                                                                           \
        *f = status;                                                                               \
    }

// INC and DEC keep CF.
#define BT_HOST_STEP(op, bits, suffix)                                                             \
    static inline uint##bits##_t bt_host_##op##bits(uint##bits##_t a, uint16_t *f)                 \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__("btw $8, %[f]\n\t" #op #suffix " %[a]\n\tlahf\n\tseto %%al"                        \
                : [a] "+&r"(a), "=&a"(status)                                                      \
                : [f] "rm"(*f)                                                                     \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return a;                                                                                  \
    }

#define BT_HOST_NEGATE(bits, suffix)                                                               \
    static inline uint##bits##_t bt_host_neg##bits(uint##bits##_t a, uint16_t *f)                  \
    {                                                                                              \
        uint16_t status;                                                                           \
        __asm__("neg" #suffix " %[a]\n\tlahf\n\tseto %%al"                                         \
                : [a] "+r"(a), "=&a"(status)                                                       \
                :                                                                                  \
                : "cc");                                                                           \
        *f = status;                                                                               \
        return a;                                                                                  \
    }                                                                                              \
    static inline uint##bits##_t bt_host_not##bits(uint##bits##_t a, uint16_t *f)                  \
    {                                                                                              \
        return (uint##bits##_t)~a;                                                                 \
    }

#define BT_HOST_ALL(bits, suffix)                                                                  \
    BT_HOST_BINARY(add, bits, suffix)                                                              \
    BT_HOST_BINARY(sub, bits, suffix)                                                              \
    BT_HOST_BINARY(and, bits, suffix)                                                              \
    BT_HOST_BINARY(or, bits, suffix)                                                               \
    BT_HOST_BINARY(xor, bits, suffix)                                                              \
    BT_HOST_CARRY(adc, bits, suffix)                                                               \
    BT_HOST_CARRY(sbb, bits, suffix)                                                               \
    BT_HOST_COMPARE(cmp, bits, suffix)                                                             \
    BT_HOST_COMPARE(test, bits, suffix)                                                            \
    BT_HOST_STEP(inc, bits, suffix)                                                                \
    BT_HOST_STEP(dec, bits, suffix)                                                                \
    BT_HOST_NEGATE(bits, suffix)

BT_HOST_ALL(8, b)
BT_HOST_ALL(16, w)
BT_HOST_ALL(32, l)
BT_HOST_ALL(64, q)

// ---- Memory ----

static inline uint64_t bt_flat_address(const BtCpu *cpu, const BtInsn *insn)
{
    return (cpu->gpr[insn->base] + (cpu->gpr[insn->index] << insn->scale) +
            (uint64_t)insn->displacement) &
           cpu->flat_mask;
}

// Where there is no index register.
static inline uint64_t bt_base_address(const BtCpu *cpu, const BtInsn *insn)
{
    return (cpu->gpr[insn->base] + (uint64_t)insn->displacement) & cpu->flat_mask;
}

static inline const BtTlbEntry *bt_flat_entry(const BtCpu *cpu, uint64_t linear)
{
    return bt_tlb_entry(cpu->data_tlb, linear);
}

// The page of an access's last byte: equal to the tag of the first byte's entry or no hit.
#define BT_LAST_PAGE(linear, size) (((linear) + (size) - 1) & ~UINT64_C(0xfff))
#define BT_WRITE_TAG(entry) __atomic_load_n(&(entry)->write, __ATOMIC_RELAXED)

// Host address of `size` bytes that may be read (written), or NULL: take the "any" twin.
static inline const void *bt_flat_readable(const BtCpu *cpu, uint64_t linear, unsigned size)
{
    const BtTlbEntry *e = bt_flat_entry(cpu, linear);
    if (BT_LIKELY(e->read == BT_LAST_PAGE(linear, size)))
        return (const void *)(linear + e->addend);
    return NULL;
}

static inline void *bt_flat_writable(const BtCpu *cpu, uint64_t linear, unsigned size)
{
    const BtTlbEntry *e = bt_flat_entry(cpu, linear);
    if (BT_LIKELY(BT_WRITE_TAG(e) == BT_LAST_PAGE(linear, size)))
        return (void *)(linear + e->addend);
    return NULL;
}

#define BT_DEFINE_HOST(bits)                                                                       \
    static inline uint##bits##_t bt_host_load##bits(const void *p)                                 \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof v);                                                                   \
        return v;                                                                                  \
    }                                                                                              \
    static inline void bt_host_store##bits(void *p, uint##bits##_t v) { memcpy(p, &v, sizeof v); }

BT_DEFINE_HOST(8)
BT_DEFINE_HOST(16)
BT_DEFINE_HOST(32)
BT_DEFINE_HOST(64)

// For read-modify-write in any segment: host address, or NULL after all of a write's faults have
// been raised that there are; then bt_read and bt_write do it.
static inline void *bt_any_writable(BtCpu *cpu, const BtInsn *insn, uint64_t offset, unsigned size)
{
    uint64_t linear = bt_linear(cpu, insn->segment, offset, size, true);
    void *p = bt_flat_writable(cpu, linear, size);
    if (BT_UNLIKELY(!p))
        bt_probe_write(cpu, insn->segment, offset, size);
    return p;
}

// ---- Leaving a block before its end ----

static inline unsigned bt_block_index(const BtCpu *cpu, const BtInsn *insn)
{
    return (unsigned)(insn - cpu->block->insn);
}

// For `return`: on to the run loop with this instruction complete (the rest of the block, which is
// counted already, does not run).
static inline void bt_stop_after(BtCpu *cpu, const BtInsn *insn, uint64_t rip)
{
    cpu->rip = rip;
    cpu->instructions -= cpu->block->count - bt_block_index(cpu, insn) - 1;
}

// With this instruction to be run again.
static inline void bt_stop_before(BtCpu *cpu, const BtInsn *insn)
{
    cpu->rip = bt_insn_rip(cpu, insn) & cpu->rip_mask;
    cpu->instructions -= cpu->block->count - bt_block_index(cpu, insn);
}

#define BT_COLD __attribute__((cold, noinline))

// Handlers that read memory: `body` sees `value`. kind: flat or base (bt_flat_address,
// bt_base_address).
#define BT_READ_ANY(name, bits, body)                                                              \
    static void name##_any(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint##bits##_t value =                                                                     \
            bt_read##bits(cpu, insn->segment, bt_effective_address(cpu, insn));                    \
        body;                                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_READ_KIND(name, bits, kind, body)                                                       \
    static void name##_##kind(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint64_t linear = bt_##kind##_address(cpu, insn);                                          \
        const BtTlbEntry *entry = bt_flat_entry(cpu, linear);                                      \
        if (BT_UNLIKELY(entry->read != BT_LAST_PAGE(linear, bits / 8)))                            \
            return name##_any(cpu, insn);                                                          \
        uint##bits##_t value = bt_host_load##bits((const void *)(linear + entry->addend));         \
        body;                                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_READ_HANDLERS(name, bits, body)                                                         \
    BT_READ_ANY(name, bits, body)                                                                  \
    BT_READ_KIND(name, bits, flat, body)
#define BT_READ_HANDLERS_3(name, bits, body)                                                       \
    BT_READ_HANDLERS(name, bits, body)                                                             \
    BT_READ_KIND(name, bits, base, body)

// Handlers that write memory: store `expression`.
#define BT_WRITE_ANY(name, bits, expression)                                                       \
    static void name##_any(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint##bits##_t value = (uint##bits##_t)(expression);                                       \
        bt_write##bits(cpu, insn->segment, bt_effective_address(cpu, insn), value);                \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_WRITE_KIND(name, bits, kind, expression)                                                \
    static void name##_##kind(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint64_t linear = bt_##kind##_address(cpu, insn);                                          \
        const BtTlbEntry *entry = bt_flat_entry(cpu, linear);                                      \
        if (BT_UNLIKELY(BT_WRITE_TAG(entry) != BT_LAST_PAGE(linear, bits / 8)))                    \
            return name##_any(cpu, insn);                                                          \
        bt_host_store##bits((void *)(linear + entry->addend), (uint##bits##_t)(expression));       \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_WRITE_HANDLERS(name, bits, expression)                                                  \
    BT_WRITE_ANY(name, bits, expression)                                                           \
    BT_WRITE_KIND(name, bits, flat, expression)
#define BT_WRITE_HANDLERS_3(name, bits, expression)                                                \
    BT_WRITE_HANDLERS(name, bits, expression)                                                      \
    BT_WRITE_KIND(name, bits, base, expression)

// Handlers that read and write the same memory: `body` changes `value` and `f` (flags).
#define BT_MODIFY_ANY(name, bits, body)                                                            \
    static void name##_any(BtCpu *cpu, const BtInsn *insn)                                         \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        void *p = bt_any_writable(cpu, insn, offset, bits / 8);                                    \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t value =                                                                     \
            p ? bt_host_load##bits(p) : bt_read##bits(cpu, insn->segment, offset);                 \
        body;                                                                                      \
        if (p)                                                                                     \
            bt_host_store##bits(p, value);                                                         \
        else                                                                                       \
            bt_write##bits(cpu, insn->segment, offset, value);                                     \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_MODIFY_KIND(name, bits, kind, body)                                                     \
    static void name##_##kind(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        uint64_t linear = bt_##kind##_address(cpu, insn);                                          \
        const BtTlbEntry *entry = bt_flat_entry(cpu, linear);                                      \
        if (BT_UNLIKELY(BT_WRITE_TAG(entry) != BT_LAST_PAGE(linear, bits / 8)))                    \
            return name##_any(cpu, insn);                                                          \
        void *p = (void *)(linear + entry->addend);                                                \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t value = bt_host_load##bits(p);                                              \
        body;                                                                                      \
        bt_host_store##bits(p, value);                                                             \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }
#define BT_MODIFY_HANDLERS(name, bits, body)                                                       \
    BT_MODIFY_ANY(name, bits, body)                                                                \
    BT_MODIFY_KIND(name, bits, flat, body)
#define BT_MODIFY_HANDLERS_3(name, bits, body)                                                     \
    BT_MODIFY_HANDLERS(name, bits, body)                                                           \
    BT_MODIFY_KIND(name, bits, base, body)

// A locked read-modify-write of any address. `atomic` works on `p` (of the type) and sets `f`;
// `plain` changes `value` and `f`, for MMIO and addresses that cross pages.
#define BT_LOCK_HANDLER(name, bits, atomic, plain)                                                 \
    static void name##_lock(BtCpu *cpu, const BtInsn *insn)                                        \
    {                                                                                              \
        BT_BEGIN(cpu, insn);                                                                       \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint16_t f = cpu->flags_status;                                                            \
        uint##bits##_t *p = bt_atomic_pointer(cpu, insn->segment, offset, bits / 8);               \
        if (p) {                                                                                   \
            atomic;                                                                                \
        } else {                                                                                   \
            bt_atomic_lock(cpu);                                                                   \
            uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                      \
            plain;                                                                                 \
            bt_write##bits(cpu, insn->segment, offset, value);                                     \
            bt_atomic_unlock(cpu);                                                                 \
        }                                                                                          \
        cpu->flags_status = f;                                                                     \
        BT_NEXT(cpu, insn);                                                                        \
    }
