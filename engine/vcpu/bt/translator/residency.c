// SPDX-License-Identifier: GPL-2.0-or-later
// Whose the host's vector and x87 registers are, and when that changes.
//
// While BtFpu.resident is set, XMM and YMM registers of the guest are in the host's of the same
// name, and BtFpu.vector is old. That is only so while generated code runs: whatever calls C or
// leaves stores them first (bt_residency_keep), so C never has to know. They come back when an
// instruction wants them. MXCSR and the x87 registers stay the guest's in C too, as in the
// interpreter (BtFpu.live).
//
// BtFpu.shut has a bit for every class of instructions that cannot run on the host's registers now:
// they are not there, CR0, CR4 or XCR0 forbid it, or the guest wants to see exceptions. Before the
// first instruction of a class a unit tests the bits of all that it will want until it calls C
// (bt_emit_open); where one is set the code leaves by a site. C then opens the classes and the
// thunk loads the registers, or, where they cannot be opened, the interpreter runs the instruction,
// with its exceptions, and the unit is left. What a unit has open (BtDraft.open) stays so behind
// the calls of other sites: these open it again.
#include "engine/vcpu/bt/translator/draft.h"

#include "engine/vcpu/bt/bt-fpu.h"

static unsigned implied(unsigned classes)
{
    if (classes & BT_GATE_SSE_FP)
        classes |= BT_GATE_SSE;
    if (classes & BT_GATE_AVX_FP)
        classes |= BT_GATE_AVX;
    return classes;
}

// What the unit is going to want from the present instruction on, as far as it can be had.
static unsigned wanted_ahead(const BtDraft *d)
{
    unsigned wanted = 0, possible = bt_fpu_possible(d->cpu) & BT_GATE_SIMD;
    for (unsigned i = d->at; i < d->count; i++) {
        const BtGuestInsn *g = &d->insn[i];
        uint64_t target;
        if (!bt_runs_inline(d, g) && bt_branch_flow(d, g, &target) == BT_FLOW_NEXT)
            break;
        wanted |= g->classes;
    }
    return wanted & possible;
}

bool bt_opens(const BtDraft *d)
{
    return d->insn[d->at].classes & ~d->open;
}

void bt_emit_open(BtDraft *d)
{
    unsigned classes = d->insn[d->at].classes;
    if (!(classes & ~d->open))
        return;
    if (classes & BT_GATE_SIMD)
        classes |= wanted_ahead(d);
    HostCode *c = &d->code;
    host_op_memory(c, 1, 0xf6, 0, HOST_CPU(fpu.shut)); // test byte [shut], classes
    host_byte(c, classes);
    uint8_t *closed = host_jump_if(c, HOST_NE);
    bt_emit_site(d, closed, BT_SITE_OPEN, classes, NULL);
    d->open |= (uint8_t)implied(classes);
}

// ---- Thunks' parts ----

enum { REGISTERS = 16 };

static HostMemory vector_at(unsigned n, unsigned part)
{
    return HOST_GS_AT(offsetof(BtCpu, fpu.vector) + 64 * (size_t)n + part);
}

// VMOVDQA between YMM n and its place: opcode 6Fh, 7Fh.
static void emit_wide(HostCode *c, unsigned opcode, unsigned n)
{
    host_byte(c, 0x65);
    host_byte(c, 0xc5);
    host_byte(c, n < 8 ? 0xfd : 0x7d);
    host_byte(c, opcode);
    host_modrm(c, n, vector_at(n, 0));
}

// MOVAPS between XMM n and its place: opcode 28h, 29h.
static void emit_narrow(HostCode *c, unsigned opcode, unsigned n)
{
    host_byte(c, 0x65);
    if (n >= 8)
        host_byte(c, 0x44);
    host_byte(c, 0x0f);
    host_byte(c, opcode);
    host_modrm(c, n, vector_at(n, 0));
}

static void emit_store(BtTranslator *t, HostCode *c)
{
    for (unsigned i = 0; i < REGISTERS; i++) {
        if (t->avx)
            emit_wide(c, 0x7f, i);
        else
            emit_narrow(c, 0x29, i);
    }
    if (t->avx)
        host_bytes(c, "\xc5\xf8\x77", 3);              // vzeroupper: for C's sake
    host_op_memory(c, 1, 0xc6, 0, HOST_GS(fpu.resident)); // mov byte [resident], 0
    host_byte(c, 0);
    host_op_memory(c, 1, 0x80, 1, HOST_GS(fpu.shut)); // or byte [shut], SIMD
    host_byte(c, BT_GATE_SIMD);
    host_byte(c, 0xc3);
}

// Where all upper halves are zero they stay unused: some hosts run SSE code slowly else.
static void emit_load(BtTranslator *t, HostCode *c)
{
    uint8_t *wide = NULL;
    if (t->avx) {
        for (unsigned i = 0; i < REGISTERS; i++) { // vmovdqa, vpor xmm0, xmm0, [upper half]
            host_bytes(c, i ? "\x65\xc5\xf9\xeb" : "\x65\xc5\xf9\x6f", 4);
            host_modrm(c, 0, vector_at(i, 16));
        }
        host_bytes(c, "\xc4\xe2\x79\x17\xc0", 5); // vptest xmm0, xmm0
        wide = host_jump_if(c, HOST_NE);
    }
    for (unsigned i = 0; i < REGISTERS; i++)
        emit_narrow(c, 0x28, i);
    host_byte(c, 0xc3);
    if (!wide)
        return;
    host_reach(wide, c->at);
    for (unsigned i = 0; i < REGISTERS; i++)
        emit_wide(c, 0x6f, i);
    host_byte(c, 0xc3);
}

void bt_residency_emit(BtTranslator *t, HostCode *c)
{
    t->vectors_store = (uint32_t)(c->at - t->writable);
    emit_store(t, c);
    t->vectors_load = (uint32_t)(c->at - t->writable);
    emit_load(t, c);
}

static void call_if_resident(BtTranslator *t, HostCode *c, uint32_t part)
{
    host_op_memory(c, 1, 0x80, 7, HOST_GS(fpu.resident)); // cmp byte [resident], 0
    host_byte(c, 0);
    uint8_t *absent = host_jump_if(c, HOST_E);
    host_reach(host_call(c), t->writable + part);
    host_reach(absent, c->at);
}

void bt_residency_keep(BtTranslator *t, HostCode *c)
{
    call_if_resident(t, c, t->vectors_store);
    if (!t->options.clobber)
        return;
    for (unsigned i = 0; i < REGISTERS; i++) { // pcmpeqd: all ones
        host_byte(c, 0x66);
        if (i >= 8)
            host_byte(c, 0x45);
        host_bytes(c, "\x0f\x76", 2);
        host_byte(c, 0xc0 | (i & 7) << 3 | (i & 7));
    }
}

void bt_residency_restore(BtTranslator *t, HostCode *c)
{
    call_if_resident(t, c, t->vectors_load);
}
