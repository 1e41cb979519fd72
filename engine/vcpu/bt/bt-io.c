// SPDX-License-Identifier: GPL-2.0-or-later
// Port I/O: IN, OUT, INS, OUTS with the permission bitmap of the TSS (SDM vol. 1, 18.5). Repeated
// string I/O goes to the handler a page's worth at a time; between pieces the instruction can be
// interrupted and goes on where it was.
#include "engine/vcpu/bt/bt-io.h"

#include "engine/vcpu/bt/bt-debug.h"
#include "engine/vcpu/bt/bt-follow.h"
#include "engine/vcpu/bt/bt-mmu.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-segment.h"

#define VMWARE_BACKDOOR_PORT 0x5658

// ---- Permission ----

static void check_bitmap(BtCpu *cpu, uint16_t port, unsigned size)
{
    unsigned type = bt_access_type(cpu->tr.access) & ~2u;
    if (cpu->tr.unusable || type != BT_TYPE_TSS || cpu->tr.limit < 103)
        bt_raise_error(cpu, BT_GP, 0);
    unsigned map = (unsigned)bt_system_read(cpu, cpu->tr.base + 102, 2);
    unsigned byte = map + port / 8;
    if (byte + 1 > cpu->tr.limit)
        bt_raise_error(cpu, BT_GP, 0);
    unsigned bits = (unsigned)bt_system_read(cpu, cpu->tr.base + byte, 2);
    if (bits >> (port & 7) & ((1u << size) - 1))
        bt_raise_error(cpu, BT_GP, 0);
}

static void check_port(BtCpu *cpu, uint16_t port, unsigned size)
{
    unsigned iopl = cpu->rflags_rest >> BT_FLAG_IOPL_SHIFT & 3;
    if (cpu->mode == BT_MODE_V86 || (cpu->mode != BT_MODE_REAL && cpu->cpl > iopl))
        check_bitmap(cpu, port, size);
    bt_debug_watch_port(cpu, port, size);
}

// ---- Exits ----

static void exit_port(BtCpu *cpu, VcpuExit *exit)
{
    cpu->stats.exits[VCPU_EXIT_PORT]++;
    bt_fpu_leave(cpu);
    cpu->config->handler.exit(cpu->config->handler.opaque, cpu->index, exit);
    // A20, PAM and BARs change by port writes.
    if (__atomic_load_n(&cpu->request, __ATOMIC_ACQUIRE) & (BT_REQUEST_TLB_FLUSH | BT_REQUEST_A20))
        bt_mmu_service(cpu);
}

static void merge_register(uint64_t *reg, unsigned size, uint32_t value)
{
    if (size == 4)
        *reg = value;
    else if (size == 2)
        *reg = (*reg & ~UINT64_C(0xffff)) | (value & 0xffff);
    else
        *reg = (*reg & ~UINT64_C(0xff)) | (value & 0xff);
}

// IN and OUT: the operand size is 1, 2 or 4. reg[0] is 1 where DX has the port, else `immediate`.
static uint16_t operand_port(const BtCpu *cpu, const BtInsn *insn)
{
    return insn->reg[0] ? (uint16_t)cpu->gpr[VCPU_RDX] : (uint8_t)insn->immediate;
}

void bt_op_in(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    static const uint8_t backdoor_order[6] = { VCPU_RAX, VCPU_RBX, VCPU_RCX, VCPU_RDX, VCPU_RSI,
                                               VCPU_RDI };
    uint16_t port = operand_port(cpu, insn);
    unsigned size = insn->operand_size;
    check_port(cpu, port, size);
    VcpuExit exit = {
        .reason = VCPU_EXIT_PORT, .port = { .port = port, .size = (uint8_t)size, .count = 1 },
    };
    uint32_t registers[6], before[6];
    bool backdoor = port == VMWARE_BACKDOOR_PORT && size == 4;
    if (backdoor) {
        for (unsigned i = 0; i < 6; i++)
            registers[i] = before[i] = (uint32_t)cpu->gpr[backdoor_order[i]];
        exit.port.registers = registers;
    }
    exit_port(cpu, &exit);
    for (unsigned i = 1; backdoor && i < 6; i++) {
        if (registers[i] != before[i])
            cpu->gpr[backdoor_order[i]] = registers[i];
    }
    merge_register(&cpu->gpr[VCPU_RAX], size, exit.port.value);
    BT_NEXT(cpu, insn);
}

void bt_op_out(BtCpu *cpu, const BtInsn *insn)
{
    BT_BEGIN(cpu, insn);
    uint16_t port = operand_port(cpu, insn);
    unsigned size = insn->operand_size;
    check_port(cpu, port, size);
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    VcpuExit exit = {
        .reason = VCPU_EXIT_PORT,
        .port = { .port = port, .size = (uint8_t)size, .write = true, .count = 1,
                  .value = (uint32_t)cpu->gpr[VCPU_RAX] & mask },
    };
    exit_port(cpu, &exit);
    BT_NEXT(cpu, insn);
}

// ---- INS, OUTS ----

static uint64_t address_mask(const BtInsn *insn)
{
    return insn->address_bits == 64 ? UINT64_MAX : BT_BIT(insn->address_bits) - 1;
}

static void set_masked(uint64_t *reg, uint64_t value, unsigned bits)
{
    if (bits == 16)
        *reg = (*reg & ~UINT64_C(0xffff)) | (value & 0xffff);
    else
        *reg = bits == 32 ? (uint32_t)value : value;
}

// How many elements from `offset` on can be moved as one piece: upwards, within the page, the
// segment and the address width; 1 where the piece must be looked at element by element.
static unsigned piece_length(const BtCpu *cpu, const BtInsn *insn, unsigned segment,
                             uint64_t offset, uint64_t count)
{
    const BtSegment *s = &cpu->segment[segment];
    unsigned size = insn->operand_size;
    if (cpu->rflags_rest & BT_FLAG_DF)
        return 1;
    uint64_t room = 0x1000 - ((offset + s->base) & 0xfff);
    if (cpu->mode != BT_MODE_LONG) {
        if (offset < s->low || offset > s->high)
            return 1;
        room = MIN(room, s->high - offset + 1);
    }
    if (address_mask(insn) - offset < room)
        room = address_mask(insn) - offset + 1;
    return (unsigned)MAX(MIN(count, room / size), 1);
}

// One piece of INS or OUTS; returns the elements moved.
static unsigned move_piece(BtCpu *cpu, const BtInsn *insn, bool input, uint64_t count)
{
    unsigned index = input ? VCPU_RDI : VCPU_RSI;
    unsigned segment = input ? VCPU_ES : insn->segment;
    uint16_t port = (uint16_t)cpu->gpr[VCPU_RDX];
    unsigned size = insn->operand_size;
    uint64_t offset = cpu->gpr[index] & address_mask(insn);
    unsigned elements = piece_length(cpu, insn, segment, offset, count);
    uint8_t buffer[4096];
    VcpuExit exit = {
        .reason = VCPU_EXIT_PORT,
        .port = { .port = port, .size = (uint8_t)size, .write = !input, .count = elements,
                  .data = buffer },
    };
    if (input) {
        // Where the memory cannot take it, the device must not be read.
        bt_probe_write(cpu, segment, offset, elements * size);
        exit_port(cpu, &exit);
        bt_write_bytes(cpu, segment, offset, buffer, elements * size, 1);
    } else {
        bt_read_bytes(cpu, segment, offset, buffer, elements * size, 1);
        exit_port(cpu, &exit);
    }
    uint64_t step = (uint64_t)elements * size;
    if (cpu->rflags_rest & BT_FLAG_DF)
        step = -step;
    set_masked(&cpu->gpr[index], cpu->gpr[index] + step, insn->address_bits);
    return elements;
}

static bool string_io(BtCpu *cpu, const BtInsn *insn, bool input)
{
    BT_BEGIN(cpu, insn);
    check_port(cpu, (uint16_t)cpu->gpr[VCPU_RDX], insn->operand_size);
    if (!(insn->flags & (BT_INSN_REP | BT_INSN_REPNE))) {
        move_piece(cpu, insn, input, 1);
        return true;
    }
    uint64_t mask = address_mask(insn);
    while (cpu->gpr[VCPU_RCX] & mask) {
        unsigned done = move_piece(cpu, insn, input, cpu->gpr[VCPU_RCX] & mask);
        set_masked(&cpu->gpr[VCPU_RCX], cpu->gpr[VCPU_RCX] - done, insn->address_bits);
        uint32_t request = __atomic_load_n(&cpu->request, __ATOMIC_RELAXED);
        if ((cpu->gpr[VCPU_RCX] & mask) &&
            (request & (cpu->request_mask | BT_REQUEST_STEP | BT_REQUEST_KICK) &
             bt_follow_string_requests(cpu)))
            return false;
    }
    return true;
}

static void finish(BtCpu *cpu, const BtInsn *insn, bool done)
{
    if (done) {
        BT_NEXT(cpu, insn);
    } else {
        cpu->rip = bt_insn_rip(cpu, insn) & cpu->rip_mask;
        cpu->insn = NULL;
    }
}

void bt_op_ins(BtCpu *cpu, const BtInsn *insn)
{
    finish(cpu, insn, string_io(cpu, insn, true));
}

void bt_op_outs(BtCpu *cpu, const BtInsn *insn)
{
    finish(cpu, insn, string_io(cpu, insn, false));
}
