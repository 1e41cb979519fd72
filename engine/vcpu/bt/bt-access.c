// SPDX-License-Identifier: GPL-2.0-or-later
// Memory accesses that the inline path of bt-memory.h does not do: those that cross a page, reach a
// device, a page with decoded code, a dirty-logged page, a page with a data breakpoint, or must be
// aligned. Translation itself is bt-mmu.c's.
//
// Order within one access: every check of every byte (alignment, translation, breakpoint, own
// block), then the transfer. So an access either happens whole or leaves nothing behind.
#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-registers.h"

#define PAGE_OFFSET(address) ((unsigned)((address) & 0xfff))

// One page's part of an access, checked.
typedef struct {
    uint64_t physical;
    unsigned size;
} Piece;

// ---- Devices ----

static uint64_t mmio(BtCpu *cpu, uint64_t physical, unsigned size, bool write, uint64_t value)
{
    VcpuExit exit = {
        .reason = VCPU_EXIT_MMIO,
        .mmio = { .address = physical, .size = (uint8_t)size, .write = write, .value = value },
    };
    cpu->stats.exits[VCPU_EXIT_MMIO]++;
    bt_fpu_leave(cpu);
    cpu->config->handler.exit(cpu->config->handler.opaque, cpu->index, &exit);
    // The device may have changed the memory map; the rest of this block must not see the old one.
    if (__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) & (BT_REQUEST_TLB_FLUSH | BT_REQUEST_A20))
        bt_mmu_service(cpu);
    return size == 8 ? exit.mmio.value : exit.mmio.value & (BT_BIT(8 * size) - 1);
}

// The largest access of 8, 4, 2 or 1 bytes that fits.
static unsigned access_size(unsigned left)
{
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// ---- One page ----

static uint64_t load(const void *host, unsigned size)
{
    switch (size) {
    case 1: return *(const uint8_t *)host;
    case 2: { uint16_t v; memcpy(&v, host, 2); return v; }
    case 4: { uint32_t v; memcpy(&v, host, 4); return v; }
    default: { uint64_t v; memcpy(&v, host, 8); return v; }
    }
}

static void store(void *host, unsigned size, uint64_t value)
{
    switch (size) {
    case 1: *(uint8_t *)host = (uint8_t)value; break;
    case 2: { uint16_t v = (uint16_t)value; memcpy(host, &v, 2); break; }
    case 4: { uint32_t v = (uint32_t)value; memcpy(host, &v, 4); break; }
    default: memcpy(host, &value, 8); break;
    }
}

static void piece_read(BtCpu *cpu, Piece piece, uint8_t *buffer)
{
    GuestPage page = guest_memory_page(cpu->config->memory, piece.physical);
    if (page.host_read) {
        memcpy(buffer, page.host_read + PAGE_OFFSET(piece.physical), piece.size);
        return;
    }
    for (unsigned done = 0; done < piece.size;) {
        unsigned size = access_size(piece.size - done);
        uint64_t value = mmio(cpu, piece.physical + done, size, false, 0);
        memcpy(buffer + done, &value, size);
        done += size;
    }
}

// Tells the dirty log and the block caches, after the store.
static void page_stored(BtCpu *cpu, const GuestPage *page, uint64_t physical, unsigned size)
{
    if (page->dirty)
        __atomic_store_n(page->dirty, 1, __ATOMIC_RELEASE);
    bt_vm_code_written(cpu->vm, physical, size);
}

static void piece_write(BtCpu *cpu, Piece piece, const uint8_t *buffer)
{
    GuestPage page = guest_memory_page(cpu->config->memory, piece.physical);
    if (page.host_write) {
        memcpy(page.host_write + PAGE_OFFSET(piece.physical), buffer, piece.size);
        page_stored(cpu, &page, piece.physical, piece.size);
        return;
    }
    if (page.rom)
        return;
    for (unsigned done = 0; done < piece.size;) {
        unsigned size = access_size(piece.size - done);
        mmio(cpu, piece.physical + done, size, true, load(buffer + done, size));
        done += size;
    }
}

// ---- Checks ----

// #AC checks the natural alignment of the operand (vol. 3A, table 6-7); sizes that are not a power
// of two are far pointers, table registers (4) and 80-bit values (8).
static void check_alignment(BtCpu *cpu, uint64_t linear, unsigned size)
{
    unsigned natural = size >= 16 ? 16 : size >= 8 ? 8 : size >= 4 ? 4 : size;
    if (size == 28 || size == 108 || size == 6)
        natural = 4;
    if (size == 14 || size == 94)
        natural = 2;
    if (linear & (natural - 1))
        bt_raise_error(cpu, BT_AC, 0);
}

static unsigned effective_mmu(BtCpu *cpu, uint64_t linear, unsigned size, unsigned mmu)
{
    if (mmu != BT_MMU_USER_ALIGNED)
        return mmu;
    check_alignment(cpu, linear, size);
    return BT_MMU_USER;
}

// Translates [linear, linear + size) into one or two pieces. Raises what the access must raise.
static unsigned pieces(BtCpu *cpu, uint64_t linear, unsigned size, unsigned access, unsigned mmu,
                       Piece piece[2])
{
    unsigned room = 0x1000 - PAGE_OFFSET(linear);
    unsigned first = MIN(size, room);
    uint64_t frame = bt_tlb_physical(bt_mmu_note(cpu, linear, access, mmu));
    piece[0] = (Piece){ frame | PAGE_OFFSET(linear), first };
    unsigned count = 1;
    if (size > room) {
        uint64_t next = linear + room;
        if (!(cpu->efer & BT_EFER_LMA))
            next = (uint32_t)next;
        else if (next == UINT64_C(0x0000800000000000))
            bt_raise_error(cpu, BT_GP, 0);
        piece[1] = (Piece){ bt_tlb_physical(bt_mmu_note(cpu, next, access, mmu)), size - room };
        count = 2;
    }
    if (cpu->dr7 & BT_DR7_ENABLED)
        bt_debug_watch(cpu, linear, size, access == BT_TLB_MAY_WRITE);
    if (access == BT_TLB_MAY_WRITE && cpu->insn) {
        for (unsigned i = 0; i < count; i++) {
            if (bt_code_is_written(cpu) || bt_vm_page_has_code(cpu->vm, piece[i].physical))
                bt_vm_check_own_block(cpu, piece[i].physical, piece[i].size);
        }
    }
    return count;
}

// ---- Accesses by linear address ----

static void linear_read(BtCpu *cpu, uint64_t linear, uint8_t *buffer, unsigned size, unsigned mmu)
{
    Piece piece[2];
    unsigned count = pieces(cpu, linear, size, BT_TLB_MAY_READ, mmu, piece);
    piece_read(cpu, piece[0], buffer);
    if (count == 2)
        piece_read(cpu, piece[1], buffer + piece[0].size);
}

static void linear_write(BtCpu *cpu, uint64_t linear, const uint8_t *buffer, unsigned size,
                         unsigned mmu)
{
    Piece piece[2];
    unsigned count = pieces(cpu, linear, size, BT_TLB_MAY_WRITE, mmu, piece);
    piece_write(cpu, piece[0], buffer);
    if (count == 2)
        piece_write(cpu, piece[1], buffer + piece[0].size);
}

uint64_t bt_read_slow(BtCpu *cpu, uint64_t linear, unsigned size, unsigned mmu)
{
    mmu = effective_mmu(cpu, linear, size, mmu);
    Piece piece[2];
    unsigned count = pieces(cpu, linear, size, BT_TLB_MAY_READ, mmu, piece);
    if (count == 1) {
        GuestPage page = guest_memory_page(cpu->config->memory, piece[0].physical);
        if (page.host_read)
            return load(page.host_read + PAGE_OFFSET(linear), size);
        return mmio(cpu, piece[0].physical, size, false, 0);
    }
    uint64_t value = 0;
    piece_read(cpu, piece[0], (uint8_t *)&value);
    piece_read(cpu, piece[1], (uint8_t *)&value + piece[0].size);
    return value;
}

void bt_write_slow(BtCpu *cpu, uint64_t linear, unsigned size, uint64_t value, unsigned mmu)
{
    mmu = effective_mmu(cpu, linear, size, mmu);
    Piece piece[2];
    unsigned count = pieces(cpu, linear, size, BT_TLB_MAY_WRITE, mmu, piece);
    if (count == 1) {
        GuestPage page = guest_memory_page(cpu->config->memory, piece[0].physical);
        if (page.host_write) {
            store(page.host_write + PAGE_OFFSET(linear), size, value);
            page_stored(cpu, &page, piece[0].physical, size);
            if (page.host_read == page.host_write && guest_page_is_noted(&page) &&
                !bt_vm_page_has_code(cpu->vm, piece[0].physical))
                bt_mmu_regain_write(cpu, linear, mmu);
        } else if (!page.rom) {
            mmio(cpu, piece[0].physical, size, true,
                 size == 8 ? value : value & (BT_BIT(8 * size) - 1));
        }
        return;
    }
    piece_write(cpu, piece[0], (const uint8_t *)&value);
    piece_write(cpu, piece[1], (const uint8_t *)&value + piece[0].size);
}

uint64_t bt_system_read(BtCpu *cpu, uint64_t linear, unsigned size)
{
    if (!(cpu->efer & BT_EFER_LMA))
        linear = (uint32_t)linear;
    switch (size) {
    case 1: return bt_read_linear8(cpu, linear, BT_MMU_SUPERVISOR);
    case 2: return bt_read_linear16(cpu, linear, BT_MMU_SUPERVISOR);
    case 4: return bt_read_linear32(cpu, linear, BT_MMU_SUPERVISOR);
    default: return bt_read_linear64(cpu, linear, BT_MMU_SUPERVISOR);
    }
}

void bt_system_write(BtCpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
    if (!(cpu->efer & BT_EFER_LMA))
        linear = (uint32_t)linear;
    switch (size) {
    case 1: bt_write_linear8(cpu, linear, (uint8_t)value, BT_MMU_SUPERVISOR); break;
    case 2: bt_write_linear16(cpu, linear, (uint16_t)value, BT_MMU_SUPERVISOR); break;
    case 4: bt_write_linear32(cpu, linear, (uint32_t)value, BT_MMU_SUPERVISOR); break;
    default: bt_write_linear64(cpu, linear, value, BT_MMU_SUPERVISOR); break;
    }
}

// ---- Accesses by segment and offset ----

uint64_t bt_segment_fault(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size, bool write)
{
    const BtSegment *s = &cpu->segment[segment];
    unsigned vector = segment == VCPU_SS ? BT_SS : BT_GP;
    // A wrong type or a null selector is #GP even in SS, which cannot have either but in v86 and
    // compatibility mode.
    if (cpu->mode != BT_MODE_LONG &&
        (s->unusable || !(s->allows & (write ? BT_ALLOW_WRITE : BT_ALLOW_READ))))
        vector = BT_GP;
    bt_raise_error(cpu, vector, 0);
}

// bt_linear, with the last byte's address checked too.
static uint64_t linear_range(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size,
                             bool write)
{
    uint64_t linear = bt_linear(cpu, segment, offset, size, write);
    if (cpu->mode == BT_MODE_LONG)
        bt_linear(cpu, segment, offset + size - 1, 1, write);
    return linear;
}

void bt_read_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, void *buffer, unsigned size,
                   unsigned alignment)
{
    uint64_t linear = linear_range(cpu, segment, offset, size, false);
    if (linear & (alignment - 1))
        bt_raise_error(cpu, BT_GP, 0);
    const BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, linear);
    if (e->read == (linear & ~UINT64_C(0xfff)) && PAGE_OFFSET(linear) + size <= 0x1000) {
        memcpy(buffer, (const void *)(linear + e->addend), size);
        return;
    }
    linear_read(cpu, linear, buffer, size, effective_mmu(cpu, linear, size, cpu->mmu_index));
}

void bt_write_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, const void *buffer,
                    unsigned size, unsigned alignment)
{
    uint64_t linear = linear_range(cpu, segment, offset, size, true);
    if (linear & (alignment - 1))
        bt_raise_error(cpu, BT_GP, 0);
    const BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, linear);
    if (e->write == (linear & ~UINT64_C(0xfff)) && PAGE_OFFSET(linear) + size <= 0x1000) {
        memcpy((void *)(linear + e->addend), buffer, size);
        return;
    }
    linear_write(cpu, linear, buffer, size, effective_mmu(cpu, linear, size, cpu->mmu_index));
}

void bt_read_far_pointer(BtCpu *cpu, unsigned segment, uint64_t offset, uint8_t *bytes,
                         unsigned size)
{
    if (size == 2 && cpu->mmu_index == BT_MMU_USER_ALIGNED) {
        bt_read_bytes(cpu, segment, offset, bytes, 2, 1);
        bt_read_bytes(cpu, segment, offset + 2, bytes + 2, 2, 1);
    } else {
        bt_read_bytes(cpu, segment, offset, bytes, size + 2, 1);
    }
}

void bt_probe_write(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size)
{
    uint64_t linear = linear_range(cpu, segment, offset, size, true);
    const BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, linear);
    if (e->write == (linear & ~UINT64_C(0xfff)) && PAGE_OFFSET(linear) + size <= 0x1000)
        return;
    Piece piece[2];
    pieces(cpu, linear, size, BT_TLB_MAY_WRITE, effective_mmu(cpu, linear, size, cpu->mmu_index),
           piece);
}

void *bt_atomic_pointer(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size)
{
    uint64_t linear = linear_range(cpu, segment, offset, size, true);
    const BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, linear);
    if (e->write == (linear & ~UINT64_C(0xfff)) && PAGE_OFFSET(linear) + size <= 0x1000)
        return (void *)(linear + e->addend);

    Piece piece[2];
    if (pieces(cpu, linear, size, BT_TLB_MAY_WRITE,
               effective_mmu(cpu, linear, size, cpu->mmu_index), piece) == 2)
        return NULL;
    GuestPage page = guest_memory_page(cpu->config->memory, piece[0].physical);
    if (!page.host_write || page.host_write != page.host_read)
        return NULL;
    // The store follows in the caller, a few instructions from here. Dropping the code before it is
    // enough: another CPU that decodes these very bytes in between executes either version, as
    // unsynchronised cross-modifying code may.
    page_stored(cpu, &page, piece[0].physical, size);
    return page.host_write + PAGE_OFFSET(linear);
}

void bt_atomic_lock(BtCpu *cpu)
{
    pthread_mutex_lock(&cpu->vm->atomic_lock);
}

void bt_atomic_unlock(BtCpu *cpu)
{
    pthread_mutex_unlock(&cpu->vm->atomic_lock);
}

// ---- The stack ----

static uint64_t stack_mask(const BtCpu *cpu)
{
    return cpu->stack_bits == 64 ? UINT64_MAX : BT_BIT(cpu->stack_bits) - 1;
}

static void set_stack_pointer(BtCpu *cpu, uint64_t value)
{
    if (cpu->stack_bits == 16)
        cpu->gpr[VCPU_RSP] = (cpu->gpr[VCPU_RSP] & ~UINT64_C(0xffff)) | (value & 0xffff);
    else
        cpu->gpr[VCPU_RSP] = value & stack_mask(cpu);
}

void bt_push(BtCpu *cpu, unsigned size, uint64_t value)
{
    uint64_t sp = (cpu->gpr[VCPU_RSP] - size) & stack_mask(cpu);
    switch (size) {
    case 2: bt_write16(cpu, VCPU_SS, sp, (uint16_t)value); break;
    case 4: bt_write32(cpu, VCPU_SS, sp, (uint32_t)value); break;
    default: bt_write64(cpu, VCPU_SS, sp, value); break;
    }
    set_stack_pointer(cpu, sp);
}

uint64_t bt_pop(BtCpu *cpu, unsigned size)
{
    uint64_t sp = cpu->gpr[VCPU_RSP] & stack_mask(cpu);
    uint64_t value;
    switch (size) {
    case 2: value = bt_read16(cpu, VCPU_SS, sp); break;
    case 4: value = bt_read32(cpu, VCPU_SS, sp); break;
    default: value = bt_read64(cpu, VCPU_SS, sp); break;
    }
    set_stack_pointer(cpu, sp + size);
    return value;
}

// ---- Physical addresses ----

uint64_t bt_physical_read(BtCpu *cpu, uint64_t physical, unsigned size)
{
    physical &= cpu->a20_mask;
    GuestPage page = guest_memory_page(cpu->config->memory, physical);
    if (page.host_read)
        return load(page.host_read + PAGE_OFFSET(physical), size);
    return mmio(cpu, physical, size, false, 0);
}

void bt_physical_write(BtCpu *cpu, uint64_t physical, unsigned size, uint64_t value)
{
    physical &= cpu->a20_mask;
    GuestPage page = guest_memory_page(cpu->config->memory, physical);
    if (page.host_write) {
        store(page.host_write + PAGE_OFFSET(physical), size, value);
        page_stored(cpu, &page, physical, size);
    } else if (!page.rom) {
        mmio(cpu, physical, size, true, value);
    }
}
