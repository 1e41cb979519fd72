// SPDX-License-Identifier: GPL-2.0-or-later
// The code between C and units: entering, leaving, and calling C out of the middle of a unit. Made
// once at the beginning of the code memory. Units run with RSP in BtCpu; C runs on its own stack.
// What calls a thunk has its return address where `spill` puts a register: it is taken first.
#include "engine/vcpu/bt/translator/draft.h"

// Guest registers that live in host registers.
static const uint8_t resident[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 };

static HostMemory gpr_at(unsigned guest)
{
    return HOST_GS_AT(offsetof(BtCpu, gpr) + 8 * (size_t)guest);
}

static void spill(HostCode *c)
{
    for (unsigned i = 0; i < sizeof resident; i++)
        host_store(c, 8, gpr_at(resident[i]), bt_host_of(resident[i]));
    host_bytes(c, "\x9f\x0f\x90\xc0", 4); // lahf; seto al: the form of bt-flags.h
    host_store(c, 2, HOST_GS(flags_status), HOST_RAX);
}

static void reload(HostCode *c)
{
    host_op_memory(c, 4, 0x0fb7, HOST_RAX, HOST_GS(flags_status)); // movzx eax, word
    host_bytes(c, "\x04\x7f\x9e", 3);                                // add al, 7fh; sahf
    for (unsigned i = 0; i < sizeof resident; i++)
        host_load(c, 8, bt_host_of(resident[i]), gpr_at(resident[i]));
}

static void call_c(HostCode *c, uintptr_t function)
{
    host_load_constant(c, HOST_RAX, function);
    host_bytes(c, "\xff\xd0", 2);
}

static void to_unit_stack(HostCode *c)
{
    host_load(c, 8, HOST_RSP, HOST_GS(unit_rsp));
}

static void to_c_stack(HostCode *c)
{
    host_load(c, 8, HOST_RSP, HOST_GS(unit_stack));
}

// Back to who called `enter`.
static void epilogue(HostCode *c)
{
    host_alu_constant(c, 8, 0, HOST_RSP, 8);
    host_bytes(c, "\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3", 11); // pop r15..r12, rbp, rbx
}

// What C answered is in RAX: code to go on with, or 0 to leave.
static void go_on_or_leave(BtTranslator *t, HostCode *c)
{
    host_bytes(c, "\x48\x85\xc0", 3); // test rax, rax
    uint8_t *leaves = host_jump_if(c, HOST_E);
    host_move(c, HOST_T1, HOST_RAX);
    host_load(c, 8, HOST_T3, HOST_GS(unit_held));
    bt_residency_restore(t, c);
    to_unit_stack(c);
    reload(c);
    host_bytes(c, "\x41\xff\xe4", 3); // jmp r12
    host_reach(leaves, c->at);
    epilogue(c);
}

static uint32_t here(const BtTranslator *t, const HostCode *c)
{
    return (uint32_t)(c->at - t->writable);
}

// void enter(const uint8_t *code)
static void emit_enter(HostCode *c)
{
    host_bytes(c, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57", 10); // push rbx, rbp, r12..r15
    host_alu_constant(c, 8, 5, HOST_RSP, 8);
    host_store(c, 8, HOST_GS(unit_stack), HOST_RSP);
    host_move(c, HOST_T1, HOST_RDI);
    to_unit_stack(c);
    reload(c);
    host_bytes(c, "\x41\xff\xe4", 3); // jmp r12
}

// Jumped to with the link's number in T2.
static void emit_leave(BtTranslator *t, HostCode *c)
{
    spill(c);
    to_c_stack(c);
    bt_residency_keep(t, c);
    host_op_registers(c, 4, 0x89, HOST_T2, HOST_RSI);
    host_load(c, 8, HOST_RDI, HOST_GS(self));
    call_c(c, (uintptr_t)bt_unit_follow);
    go_on_or_leave(t, c);
}

// Called with the linear address in T1 and the site's number behind the call; goes on elsewhere.
static void emit_slow(BtTranslator *t, HostCode *c)
{
    host_load(c, 8, HOST_T2, host_based(HOST_RSP, 0));
    spill(c);
    to_c_stack(c);
    bt_residency_keep(t, c);
    host_load(c, 4, HOST_RSI, host_based(HOST_T2, 0));
    host_load(c, 8, HOST_RDI, HOST_GS(self));
    host_move(c, HOST_RDX, HOST_T1);
    call_c(c, (uintptr_t)bt_unit_slow);
    go_on_or_leave(t, c);
}

// Called with the call-out in T1; returns, or leaves.
static void emit_call_out(BtTranslator *t, HostCode *c)
{
    host_op_memory(c, 4, 0x8f, 0, HOST_GS(unit_return)); // pop
    spill(c);
    to_c_stack(c);
    bt_residency_keep(t, c);
    host_load(c, 8, HOST_RDI, HOST_GS(self));
    host_move(c, HOST_RSI, HOST_T1);
    call_c(c, (uintptr_t)bt_unit_call_out);
    host_alu_constant(c, 8, 7, HOST_RAX, 1); // BT_UNIT_GOES_ON
    uint8_t *elsewhere = host_jump_if(c, HOST_NE);
    to_unit_stack(c);
    reload(c);
    host_op_memory(c, 4, 0xff, 6, HOST_GS(unit_return)); // push
    host_byte(c, 0xc3);
    host_reach(elsewhere, c->at);
    go_on_or_leave(t, c);
}

void bt_thunks_emit(BtTranslator *t)
{
    HostCode c = { t->writable + 16, t->writable + t->size, false };
    bt_residency_emit(t, &c);
    t->enter = here(t, &c);
    emit_enter(&c);
    t->leave = here(t, &c);
    emit_leave(t, &c);
    t->slow = here(t, &c);
    emit_slow(t, &c);
    bt_lookup_thunks_emit(t, &c);
    t->call_out = here(t, &c);
    emit_call_out(t, &c);
    t->start = t->used = (here(t, &c) + 63) & ~63u;
}
