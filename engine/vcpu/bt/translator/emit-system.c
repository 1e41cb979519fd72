// SPDX-License-Identifier: GPL-2.0-or-later
// System instructions that a kernel executes all the time, as generated code: CLI, STI, PUSHF,
// CLAC, STAC, SWAPGS, reads of control and segment registers; and CLD, STD of all programs. Only
// where they cannot fault: what ring 0 may do is translated for ring 0 alone (BT_KEY_RING_0), and
// in 64-bit mode alone where the mode decides. Everything else about them is called out
// (bt-system.c tells what they do).
//
// STI, where IF was 0, holds interrupts off until the instruction behind it is done. Generated code
// polls between two instructions only where it says so, so nothing has to be done for that; behind
// the other instruction a poll follows, for programs that open a window of two instructions. Where
// C runs the other instruction, cpu->shadow says that the shadow holds (slow.c), should it have to
// be run again.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-registers.h"
#include "engine/vcpu/bt/bt-select.h"

static bool ring_0(const BtDraft *d)
{
    return d->unit->key & BT_KEY_RING_0;
}

static ZydisRegisterClass class_of(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(o->reg.value)
                                                  : ZYDIS_REGCLASS_INVALID;
}

static bool reads_special(const BtDraft *d, const BtGuestInsn *g)
{
    const ZydisDecodedOperand *to = &g->decoded.operand[0], *from = &g->decoded.operand[1];
    if (class_of(to) != ZYDIS_REGCLASS_GPR32 && class_of(to) != ZYDIS_REGCLASS_GPR64)
        return false;
    if (class_of(from) == ZYDIS_REGCLASS_SEGMENT)
        return true;
    if (class_of(from) != ZYDIS_REGCLASS_CONTROL || !ring_0(d))
        return false;
    unsigned number = (unsigned)ZydisRegisterGetId(from->reg.value);
    return number == 0 || number == 2 || number == 3 || number == 4;
}

bool bt_system_known(const BtDraft *d, const BtGuestInsn *g)
{
    if (!g->known)
        return false;
    switch (g->decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_STD:
        return true;
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
        return ring_0(d);
    case ZYDIS_MNEMONIC_CLAC:
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_SWAPGS:
        return ring_0(d) && bt_draft_long(d);
    case ZYDIS_MNEMONIC_PUSHFQ:
        return bt_draft_long(d) && g->decoded.insn.operand_width == 64;
    case ZYDIS_MNEMONIC_MOV:
        return reads_special(d, g);
    default:
        return false;
    }
}

// op byte [field + at], value: changes flags.
static void emit_byte_op(HostCode *c, unsigned op, size_t offset, unsigned value)
{
    host_op_memory(c, 1, 0x80, op, HOST_CPU_AT(offset));
    host_byte(c, value);
}

enum { OP_OR = 1, OP_AND = 4 };

#define IF_BYTE (offsetof(BtCpu, rflags_rest) + 1)
#define DF_BYTE IF_BYTE
#define AC_BYTE (offsetof(BtCpu, rflags_rest) + 2)
enum { IF_IN_BYTE = BT_FLAG_IF >> 8, DF_IN_BYTE = BT_FLAG_DF >> 8, AC_IN_BYTE = BT_FLAG_AC >> 16 };

static void emit_constant_32(HostCode *c, size_t offset, uint32_t value)
{
    host_op_memory(c, 4, 0xc7, 0, HOST_CPU_AT(offset));
    host_32(c, value);
}

static void emit_cli(BtDraft *d)
{
    HostCode *c = &d->code;
    bt_emit_flags_begin(d);
    emit_byte_op(c, OP_AND, IF_BYTE, (uint8_t)~IF_IN_BYTE);
    emit_constant_32(c, offsetof(BtCpu, request_mask), ~(uint32_t)BT_REQUEST_INTERRUPT);
}

// The host's DF stays 0: string instructions run in C.
static void emit_set_df(BtDraft *d, bool set)
{
    bt_emit_flags_begin(d);
    emit_byte_op(&d->code, set ? OP_OR : OP_AND, DF_BYTE,
                 set ? DF_IN_BYTE : (uint8_t)~DF_IN_BYTE);
}

// The instruction behind an STI: one that goes on behind itself, or a branch to a polling entry.
static bool fits_window(const BtDraft *d, unsigned at)
{
    const BtGuestInsn *g = &d->insn[at];
    uint64_t target;
    switch (bt_branch_flow(d, g, &target)) {
    case BT_FLOW_NEXT:
        return g->decoded.insn.mnemonic != ZYDIS_MNEMONIC_STI;
    case BT_FLOW_END:
        return g->decoded.insn.mnemonic == ZYDIS_MNEMONIC_RET;
    default:
        return false;
    }
}

static bool emit_sti(BtDraft *d)
{
    HostCode *c = &d->code;
    if (d->at + 1 >= d->count || !fits_window(d, d->at + 1))
        return false;
    bt_emit_flags_begin(d);
    emit_byte_op(c, OP_OR, IF_BYTE, IF_IN_BYTE);
    emit_constant_32(c, offsetof(BtCpu, request_mask), UINT32_MAX);
    d->insn[d->at].window = true;
    return true;
}

// AC, and with it which view of memory ring 0 has.
static void emit_set_ac(BtDraft *d, bool set)
{
    HostCode *c = &d->code;
    bt_emit_flags_begin(d);
    emit_byte_op(c, set ? OP_OR : OP_AND, AC_BYTE, set ? AC_IN_BYTE : (uint8_t)~AC_IN_BYTE);
    uint8_t *without = NULL;
    if (set) {
        host_op_memory(c, 1, 0xf6, 0, HOST_CPU_AT(offsetof(BtCpu, cr4) + 2)); // test
        host_byte(c, (unsigned)(BT_CR4_SMAP >> 16));
        without = host_jump_if(c, HOST_E);
    }
    unsigned view = set ? BT_MMU_SUPERVISOR_NO_SMAP : BT_MMU_SUPERVISOR;
    host_op_memory(c, 1, 0xc6, 0, HOST_CPU(mmu_index));
    host_byte(c, view);
    host_load(c, 8, HOST_T1, HOST_CPU_AT(offsetof(BtCpu, tlb) + view * sizeof(BtTlb *)));
    host_store(c, 8, HOST_CPU(data_tlb), HOST_T1);
    if (without && !c->full)
        host_reach(without, c->at);
    bt_emit_flags_end(d, HOST_T1);
}

static void emit_swapgs(BtDraft *d)
{
    HostCode *c = &d->code;
    size_t gs = offsetof(BtCpu, segment) + VCPU_GS * sizeof(BtSegment);
    host_load(c, 8, HOST_T1, HOST_CPU_AT(gs + offsetof(BtSegment, base)));
    host_load(c, 8, HOST_T2, HOST_CPU(msr_kernel_gs_base));
    host_store(c, 8, HOST_CPU(msr_kernel_gs_base), HOST_T1);
    host_store(c, 8, HOST_CPU_AT(gs + offsetof(BtSegment, base)), HOST_T2);
    host_store(c, 8, HOST_CPU_AT(gs + offsetof(BtSegment, true_base)), HOST_T2);
}

// The status flags are the host's; of the others a program of the host has IF and bit 1, always.
static void emit_pushf(BtDraft *d)
{
    HostCode *c = &d->code;
    BtAccess access = bt_stack_access(d, VCPU_RSP, -8, 8, true);
    HostMemory at;
    bt_emit_flags_begin(d);
    bt_emit_access(d, &access, &at);
    bt_emit_flags_end(d, HOST_T3);
    host_bytes(c, "\x9c\x41\x5e", 3);                            // pushfq; pop T3
    host_op_registers(c, 4, 0x0fb7, HOST_T3, HOST_T3);           // movzx T3, word
    HostMemory address = at;
    unsigned free = HOST_T1;
    if (at.base == HOST_T1 || at.index == HOST_T1) { // the address in one register
        host_lea(c, 8, HOST_T2, at);
        address = host_based(HOST_T2, 0);
    }
    host_load(c, 8, free, HOST_CPU(rflags_rest));
    host_lea(c, 8, HOST_T3, (HostMemory){ .base = HOST_T3, .index = (uint8_t)free,
                                          .displacement = -0x202 });
    host_store(c, 8, address, HOST_T3);
    host_lea(c, 8, HOST_GUEST_RSP, host_based(HOST_GUEST_RSP, -8));
}

static void emit_read_special(BtDraft *d)
{
    HostCode *c = &d->code;
    const BtGuestInsn *g = bt_draft_insn(d);
    const ZydisDecodedOperand *from = &g->decoded.operand[1];
    unsigned guest = (unsigned)bt_general_register(g->decoded.operand[0].reg.value);
    unsigned number = (unsigned)ZydisRegisterGetId(from->reg.value);
    bool demoted = bt_host_of(guest) == HOST_NONE;
    unsigned to = demoted ? HOST_T1 : bt_host_of(guest);
    if (class_of(from) == ZYDIS_REGCLASS_SEGMENT) {
        host_op_memory(c, 4, 0x0fb7, to,
                       HOST_CPU_AT(offsetof(BtCpu, segment) + number * sizeof(BtSegment) +
                                   offsetof(BtSegment, selector)));
    } else {
        static const size_t place[] = { offsetof(BtCpu, cr0), 0, offsetof(BtCpu, cr2),
                                        offsetof(BtCpu, cr3), offsetof(BtCpu, cr4) };
        host_load(c, bt_draft_width(d), to, HOST_CPU_AT(place[number]));
    }
    if (demoted)
        host_store(c, 8, BT_GPR_AT(guest), to);
}

bool bt_emit_system(BtDraft *d)
{
    const BtGuestInsn *g = bt_draft_insn(d);
    if (!bt_system_known(d, g))
        return false;
    switch (g->decoded.insn.mnemonic) {
    case ZYDIS_MNEMONIC_CLD: emit_set_df(d, false); return true;
    case ZYDIS_MNEMONIC_STD: emit_set_df(d, true); return true;
    case ZYDIS_MNEMONIC_CLI: emit_cli(d); return true;
    case ZYDIS_MNEMONIC_STI: return emit_sti(d);
    case ZYDIS_MNEMONIC_CLAC: emit_set_ac(d, false); return true;
    case ZYDIS_MNEMONIC_STAC: emit_set_ac(d, true); return true;
    case ZYDIS_MNEMONIC_SWAPGS: emit_swapgs(d); return true;
    case ZYDIS_MNEMONIC_PUSHFQ: emit_pushf(d); return true;
    default: emit_read_special(d); return true;
    }
}
