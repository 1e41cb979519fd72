// SPDX-License-Identifier: GPL-2.0-or-later
// Memory as instructions see it: segmentation, then the TLB, then RAM, MMIO or a fault. The inline
// part is the hit path; everything else is in bt-mmu.c (paging) and bt-access.c (slow accesses:
// page crossing, MMIO, code pages, dirty log, breakpoints, alignment checks).
#pragma once

#include "engine/vcpu/bt/bt-cpu.h"

#include <string.h>

// Linear address of [offset, offset + size) in the segment; raises #GP or #SS where the segment
// does not allow it, and in long mode for non-canonical addresses.
uint64_t bt_segment_fault(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size, bool write);

static inline uint64_t bt_linear(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size,
                                 bool write)
{
    const BtSegment *s = &cpu->segment[segment];
    if (cpu->mode == BT_MODE_LONG) {
        uint64_t linear = offset + s->base; // base is 0 but for FS and GS
        // Canonical: bits 47..63 equal. size - 1 cannot carry over the hole without a fault in the
        // first or last byte, which the slow path looks at again.
        if (__builtin_expect((uint64_t)(((int64_t)linear >> 47) + 1) > 1, 0))
            return bt_segment_fault(cpu, segment, offset, size, write);
        return linear;
    }
    if (__builtin_expect(offset < s->low || offset > s->high || size - 1 > s->high - offset ||
                             !(s->allows & (write ? BT_ALLOW_WRITE : BT_ALLOW_READ)),
                         0))
        return bt_segment_fault(cpu, segment, offset, size, write);
    return (uint32_t)(offset + s->base);
}

// The inline part below compares the page of the access's last byte with the entry of its first
// byte: an entry never holds another page than one of its own index, so an access over the page's
// end takes the slow path with the same compare. Tags are canonical, so a hit needs no such check.

// Slow paths. size 1, 2, 4, 8. mmu: BT_MMU_*. May raise or exit.
uint64_t bt_read_slow(BtCpu *cpu, uint64_t linear, unsigned size, unsigned mmu);
void bt_write_slow(BtCpu *cpu, uint64_t linear, unsigned size, uint64_t value, unsigned mmu);

#define BT_DEFINE_ACCESS(bits)                                                                     \
    static inline uint##bits##_t bt_read_linear##bits(BtCpu *cpu, uint64_t linear, unsigned mmu)   \
    {                                                                                              \
        const BtTlbEntry *e = bt_tlb_entry(cpu->tlb[mmu], linear);                             \
        if (__builtin_expect(e->read == ((linear + bits / 8 - 1) & ~UINT64_C(0xfff)), 1)) {       \
            uint##bits##_t value;                                                                  \
            memcpy(&value, (const void *)(linear + e->addend), sizeof value);                      \
            return value;                                                                          \
        }                                                                                          \
        return (uint##bits##_t)bt_read_slow(cpu, linear, bits / 8, mmu);                           \
    }                                                                                              \
    static inline void bt_write_linear##bits(BtCpu *cpu, uint64_t linear, uint##bits##_t value,    \
                                             unsigned mmu)                                         \
    {                                                                                              \
        const BtTlbEntry *e = bt_tlb_entry(cpu->tlb[mmu], linear);                             \
        if (__builtin_expect(e->write == ((linear + bits / 8 - 1) & ~UINT64_C(0xfff)), 1)) {      \
            memcpy((void *)(linear + e->addend), &value, sizeof value);                            \
            return;                                                                                \
        }                                                                                          \
        bt_write_slow(cpu, linear, bits / 8, value, mmu);                                          \
    }                                                                                              \
    static inline uint##bits##_t bt_read##bits(BtCpu *cpu, unsigned segment, uint64_t offset)      \
    {                                                                                              \
        return bt_read_linear##bits(cpu, bt_linear(cpu, segment, offset, bits / 8, false),         \
                                    cpu->mmu_index);                                               \
    }                                                                                              \
    static inline void bt_write##bits(BtCpu *cpu, unsigned segment, uint64_t offset,               \
                                      uint##bits##_t value)                                        \
    {                                                                                              \
        bt_write_linear##bits(cpu, bt_linear(cpu, segment, offset, bits / 8, true), value,         \
                              cpu->mmu_index);                                                     \
    }

BT_DEFINE_ACCESS(8)
BT_DEFINE_ACCESS(16)
BT_DEFINE_ACCESS(32)
BT_DEFINE_ACCESS(64)

// Any size up to 4096 (SIMD, FXSAVE, descriptors). A write touches nothing unless all of it can be
// written. alignment: bytes that the address must be aligned to (#GP otherwise), 1 for none.
void bt_read_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, void *buffer, unsigned size,
                   unsigned alignment);
void bt_write_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, const void *buffer,
                    unsigned size, unsigned alignment);

// An offset of `size` bytes and the selector behind it, as they are in memory. One with an offset
// of 16 bits must be aligned to 2 where alignment is checked, not to 4 (vol. 3A, table 6-7).
void bt_read_far_pointer(BtCpu *cpu, unsigned segment, uint64_t offset, uint8_t *bytes,
                         unsigned size);

// Raises now what a later write of [offset, offset + size) would raise: for read-modify-write and
// for instructions with several stores.
void bt_probe_write(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size);

// Host pointer for a locked read-modify-write of `size` bytes, or NULL where it is MMIO or crosses
// pages (the caller then takes bt_vm_atomic_lock around a plain read and write). Raises as a
// write would.
void *bt_atomic_pointer(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size);
void bt_atomic_lock(BtCpu *cpu);
void bt_atomic_unlock(BtCpu *cpu);

// Page tables and descriptor tables: supervisor accesses by linear address.
uint64_t bt_system_read(BtCpu *cpu, uint64_t linear, unsigned size);
void bt_system_write(BtCpu *cpu, uint64_t linear, unsigned size, uint64_t value);

// Physical accesses (page walks, A20 applied). MMIO goes to the handler.
uint64_t bt_physical_read(BtCpu *cpu, uint64_t physical, unsigned size);
void bt_physical_write(BtCpu *cpu, uint64_t physical, unsigned size, uint64_t value);

// bt-mmu.c: drops translations. linear: one page, global pages included, of every PCID; pcid: what
// is not global. Each renews the epochs of what it may have dropped (bt-block.h), so that no block
// is entered by way of an old translation.
void bt_tlb_flush_all(BtCpu *cpu);
void bt_tlb_flush_non_global(BtCpu *cpu);
void bt_tlb_flush_page(BtCpu *cpu, uint64_t linear);
void bt_tlb_flush_pcid(BtCpu *cpu, unsigned pcid);

// After CR3 was loaded. keep: translations of the new PCID that are known stay (CR3 bit 63).
void bt_tlb_switch(BtCpu *cpu, bool keep);

// No block follows another without a look-up, in any address space (code was written, CS changed).
void bt_mmu_renew_chains(BtCpu *cpu);

// bt-mmu.c: where the code at linear address lies: the physical page, and host pointer to its first
// byte (NULL: MMIO, fetched byte by byte with bt_physical_read). Raises #PF.
uint64_t bt_fetch_page(BtCpu *cpu, uint64_t linear, const uint8_t **ret_host);

// Effective address of the memory operand, without the segment base.
static inline uint64_t bt_effective_address(const BtCpu *cpu, const BtInsn *insn)
{
    uint64_t a = cpu->gpr[insn->base] + (cpu->gpr[insn->index] << insn->scale) +
                 (uint64_t)insn->displacement;
    return insn->address_bits == 64 ? a : insn->address_bits == 32 ? (uint32_t)a : (uint16_t)a;
}

// Stack accesses with the stack's width; rsp is updated only after the access succeeded.
void bt_push(BtCpu *cpu, unsigned size, uint64_t value);
uint64_t bt_pop(BtCpu *cpu, unsigned size);
