// SPDX-License-Identifier: GPL-2.0-or-later
// A unit in the making: the guest's instructions as decoded, and where its code goes. Shared by
// form.c (which instructions, which flags are wanted), emit.c (the order of things) and the
// emitters, which are asked in turn for the instructions that they know:
//   emit-copy.c    anything that the host does the same way on mapped registers
//   emit-simd.c, emit-x87.c  SIMD and x87 on the host's own registers (residency.c)
//   emit-divide.c  DIV, IDIV
//   emit-stack.c   PUSH, POP, LEAVE
//   emit-branch.c  near control transfers
// checked.c puts a check before them in pages whose code changes again and again.
// What they put into code and what depends on the unit's RIP or index they note by relocate.c.
// An emitter returns false, having emitted nothing, for what is not its own; the rest is called
// out. Accesses to guest memory all go through emit-memory.c.
#pragma once

#include "engine/vcpu/bt/translator/host.h"
#include "engine/vcpu/bt/translator/unit.h"

#define BT_STATUS_FLAGS 0x8d5u // CF PF AF ZF SF OF in RFLAGS

// One guest instruction.
typedef struct {
    BtDecoded decoded;
    int32_t rip;      // from the unit's
    uint8_t memory;   // which operand is the memory operand that it accesses, 0xff: none
    bool known;       // the guest has it
    bool inverted;    // a conditional branch that the unit goes on at the target of
    uint32_t reads_flags, writes_flags; // of BT_STATUS_FLAGS; writes: sets in every case
    bool changes_flags;  // may set some
    bool flags_live;     // wanted before it: code may not change the host's unless they are saved
    uint32_t live_after; // of BT_STATUS_FLAGS
    bool varies;       // its immediate is read from the guest's code (checked.c)
    bool window;       // an STI that runs inline: a poll follows behind the next instruction
    bool fpu;          // emit-simd.c or emit-x87.c knows it
    uint8_t classes;   // what it needs: of BT_GATE_UNIT
    uint8_t alignment; // of the memory operand, minus one
    uint8_t *start;   // its code
    uint8_t *poll;    // behind it, where it ends the shadow of an STI, or NULL
} BtGuestInsn;

// The last x87 instruction that computed, until its place is noted in BtFpu (emit-x87.c).
typedef struct {
    bool present, memory; // memory: since then one had a memory operand, in `segment`
    uint8_t segment;
    uint16_t insn;
} BtX87Last;

// An access to guest memory.
typedef struct {
    uint8_t base, index; // guest registers, BT_REG_ZERO where absent
    uint8_t scale;       // shift
    int64_t displacement;
    uint8_t segment;     // VCPU_*; what its base is, the emitter knows
    uint8_t address_size; // bytes: 4 or 8
    uint16_t size;       // bytes of the access
    bool write;
    bool of_rip;         // base and index absent: the displacement is made from the unit's RIP
    uint8_t alignment;   // that is demanded, minus one
} BtAccess;

// An access as groups.c foresees it, and the group that it belongs to.
#define BT_GROUP_NONE 0xff
typedef struct {
    BtAccess access;
    bool planned;
    uint8_t group;
    uint64_t roots; // what base and index come from, the scale
    int64_t offset; // from these
} BtPlace;

typedef struct {
    uint64_t roots;     // as those of its places
    int64_t low, high;  // the window
    unsigned count;     // accesses
    bool write;         // one of them is a store
    bool off;           // not worth a group
    bool checked;       // the window's check is emitted
    uint8_t alignment;  // emitted tests have shown this alignment (minus one) ...
    int64_t aligned;    // ... at this offset
} BtGroup;

// What goes behind the unit's straight code.
typedef struct {
    uint8_t *distance_at; // of the jump that leads here
    uint32_t site;        // BT_COLD_SITE: its index
    bool address_known;   // T1 holds the linear address; else it is `address`
    HostMemory address;
    BtAccess access;      // BT_COLD_SITE with a range: what to look up in the TLB
    uint8_t *back;        // ... and where to go on with T2 = addend
    enum { BT_COLD_SITE, BT_COLD_LINK, BT_COLD_STUB } kind;
    uint64_t rip;         // BT_COLD_LINK: target
    unsigned rest;        // instructions of the unit that do not run
    bool poll;            // BT_COLD_LINK: at the entry: is never patched
    bool flags_live;      // BT_COLD_LINK: the target wants flags
    bool flags_saved;     // BT_COLD_LINK, poll: the guest's flags are saved
    uint32_t link;        // BT_COLD_STUB: which leaves; also from `stale`, if that is not NULL
    uint8_t *stale;
    BtX87Last x87_last;   // BT_COLD_SITE: to be noted before it leaves
} BtCold;

enum { BT_FIXUPS_MOST = 2048 };

typedef struct BtDraft {
    BtCpu *cpu;
    BtTranslator *t;
    BtUnit *unit;
    uint32_t unit_index;
    HostCode code;
    BtGuestInsn *insn; // [BT_UNIT_MAX]
    unsigned count;
    unsigned at; // the instruction that is emitted
    bool repeats; // a loop's end, or a switch, as in an interpreter of a program
    BtCold cold[4 * BT_UNIT_MAX + 4];
    unsigned colds;
    uint16_t site_insn[4 * BT_UNIT_MAX]; // whose the unit's sites are
    uint32_t first_site;
    const BtDecoders *decoders;
    const uint8_t *host; // the first byte of the guest's page
    enum { BT_FLAGS_NATIVE, BT_FLAGS_SAVED } flags; // emit-flags.c
    // The one of R12-R15 that is in T3 as well as in BtCpu.gpr (HOST_NONE: none): here, and at the
    // present instruction's beginning. Only emitters that say so (hold) may make or use it.
    uint8_t held, held_before;
    bool hold;
    BtPlace place[BT_UNIT_MAX][2]; // of each instruction: load, store
    BtGroup group[BT_GROUPS];
    unsigned groups;
    uint8_t open;         // classes that are open here (residency.c)
    BtX87Last x87_last;
    BtFixup fixup[BT_FIXUPS_MOST];
    unsigned fixups;
} BtDraft;

static inline BtGuestInsn *bt_draft_insn(BtDraft *d)
{
    return &d->insn[d->at];
}

// The present instruction is the one that the shadow of an STI covers.
static inline bool bt_draft_in_shadow(const BtDraft *d)
{
    return d->at > 0 && d->insn[d->at - 1].window;
}

// Offset of a place in the code.
static inline uint32_t bt_draft_offset(const BtDraft *d, const uint8_t *at)
{
    return (uint32_t)(at - d->t->writable);
}

static inline bool bt_draft_long(const BtDraft *d)
{
    return d->cpu->mode == BT_MODE_LONG;
}

static inline unsigned bt_draft_width(const BtDraft *d) // of addresses and the stack, bytes
{
    return bt_draft_long(d) ? 8 : 4;
}

// The stack is flat and as wide as the mode.
static inline bool bt_stack_is_plain(const BtDraft *d)
{
    return d->cpu->stack_bits == 8 * bt_draft_width(d) &&
           (d->unit->key >> (BT_KEY_FLAT_SHIFT + VCPU_SS) & 1);
}

// What a stack operation reads or writes there, from a general register on.
static inline BtAccess bt_stack_access(const BtDraft *d, unsigned base, int displacement,
                                       unsigned size, bool write)
{
    return (BtAccess){ .base = (uint8_t)base, .index = BT_REG_ZERO, .displacement = displacement,
                       .segment = VCPU_SS, .address_size = (uint8_t)bt_draft_width(d),
                       .size = (uint16_t)size, .write = write };
}

// Host register of a guest's, or HOST_NONE where it is in BtCpu.gpr.
static inline unsigned bt_host_of(unsigned guest)
{
    return guest == 4 ? HOST_GUEST_RSP : guest >= 12 ? HOST_NONE : guest;
}

// Puts a guest register of R12-R15 into T3 and notes that it is there.
void bt_emit_hold(BtDraft *d, unsigned guest); // emit-copy.c

#define BT_GPR_AT(guest) HOST_CPU_AT(offsetof(BtCpu, gpr) + 8 * (size_t)(guest))

// The instruction's RIP, and the one behind it.
static inline uint64_t bt_draft_rip(const BtDraft *d, const BtGuestInsn *g)
{
    uint64_t rip = d->unit->rip + (uint64_t)(int64_t)g->rip;
    return bt_draft_long(d) ? rip : (uint32_t)rip;
}

static inline uint64_t bt_draft_next_rip(const BtDraft *d, const BtGuestInsn *g)
{
    uint64_t rip = bt_draft_rip(d, g) + g->decoded.insn.length;
    return bt_draft_long(d) ? rip : (uint32_t)rip;
}

// ---- emit-memory.c ----

// The access of a decoded memory operand; false where this file cannot do it inline (the caller
// calls the instruction out).
bool bt_access_of_operand(const BtDraft *d, const BtGuestInsn *g, unsigned operand,
                          BtAccess *ret_access);

// Emits the check and the address; *ret_memory is where the host finds the bytes. It uses T2, and
// T1 or a guest register; T3 is free behind it. Where the TLB has no fitting entry the code leaves
// by a site, so nothing of the instruction may be committed before. Between bt_emit_flags_begin and
// bt_emit_flags_end.
void bt_emit_access(BtDraft *d, const BtAccess *access, HostMemory *ret_memory);

// A jump (its distance at `distance_at`) that leads to a site of the present instruction. address:
// how to get the linear address, NULL where T1 holds it (or there is none).
void bt_emit_site(BtDraft *d, uint8_t *distance_at, unsigned flags, unsigned size,
                  const HostMemory *address);

// Behind the straight code: what the site does first, with the linear address in T1. False: it
// falls through, T1 as it was, where C must help. True: the slow thunk is called, too; the site's
// number has to follow.
bool bt_emit_cold_access(BtDraft *d, const BtCold *cold);
// Part of the thunks, behind the slow one: t->lookup.
void bt_lookup_thunks_emit(BtTranslator *t, HostCode *c);

// ---- relocate.c ----

// What was emitted last (4 or 8 bytes) is of this kind.
void bt_note_fixup(BtDraft *d, BtFixupKind kind);
// reg = value, an address of guest code or made from one.
void bt_emit_of_rip(BtDraft *d, unsigned reg, uint64_t value);
// Calls or jumps to a thunk; distance_at: of that.
void bt_reach_thunk(BtDraft *d, uint8_t *distance_at, uint32_t thunk);

// ---- checked.c ----

// Whether the instruction's immediate has changed before, and can be read when it runs.
bool bt_immediate_varies(const BtDraft *d, const BtGuestInsn *g);
// At the unit's beginning, what a checked one needs to be sure of its bytes.
void bt_emit_check(BtDraft *d);

// ---- groups.c ----

// Finds the unit's groups; before it is emitted, d->count instructions being there.
void bt_groups_plan(BtDraft *d);
// The group that the present instruction's access belongs to; NULL: none.
BtPlace *bt_group_place(BtDraft *d, const BtAccess *access);
// Whether tests in front of it have shown that the place is aligned as it must be.
bool bt_group_aligned(const BtDraft *d, const BtPlace *place);
// The present instruction's access needs no check and so changes no flags.
bool bt_group_quiet(const BtDraft *d);

// ---- emit-flags.c ----

// Around code that changes host flags: keeps the guest's where they are live. begin: uses T1.
// end: uses the scratch register; the instruction's own host instruction may follow.
void bt_emit_flags_begin(BtDraft *d);
void bt_emit_flags_end(BtDraft *d, unsigned scratch);
// Saves them: BT_FLAGS_SAVED from here on. Uses T1; the host's stay what they are.
void bt_emit_flags_save(BtDraft *d);
// The host's flags are the guest's from here on. Uses the scratch register.
void bt_emit_flags_native(BtDraft *d, unsigned scratch);
// The code for that.
void bt_emit_flags_restore(HostCode *c, unsigned scratch);
// The instruction reads flags, or leaves some as they are that are wanted behind it.
bool bt_flags_wanted_native(const BtGuestInsn *g);

// ---- emit-copy.c ----

// NOP and what only hints: no code, no access.
bool bt_copy_is_nothing(ZydisMnemonic mnemonic);

bool bt_emit_copy(BtDraft *d);
// The instruction, its memory operand apart, can take its immediate from memory: then *ret_size is
// how many bytes that has, which end the instruction.
bool bt_copy_takes_immediate(const BtGuestInsn *g, unsigned *ret_size);
// Whether the instruction is one of those that emit-copy.c knows (translated alike or not).
bool bt_copy_known(const ZydisDecodedInstruction *insn);

// ---- emit-divide.c ----

bool bt_emit_divide(BtDraft *d);
bool bt_divide_known(const ZydisDecodedInstruction *insn);

// ---- emit-simd.c, emit-x87.c ----

// Sets fpu, classes and alignment where the instruction is one of those (translated alike or not).
void bt_note_simd(BtGuestInsn *g);
void bt_note_x87(BtGuestInsn *g);
bool bt_emit_simd(BtDraft *d);
bool bt_emit_x87(BtDraft *d);
// Notes the place of the last x87 instruction in BtFpu. Uses T3, keeps flags.
void bt_emit_note_x87(BtDraft *d, BtX87Last last);
// The same in the straight code: before it can be left other than by a site.
void bt_emit_settle_x87(BtDraft *d);

// ---- residency.c ----

// Whether the present instruction needs a class that is not known to be open.
bool bt_opens(const BtDraft *d);
// Makes sure that its classes are open. Changes flags: between bt_emit_flags_begin and _end.
void bt_emit_open(BtDraft *d);

// ---- emit-system.c ----

bool bt_emit_system(BtDraft *d);
// Whether the instruction is one of those that emit-system.c knows, as things are.
bool bt_system_known(const BtDraft *d, const BtGuestInsn *g);

// ---- emit-stack.c, emit-branch.c ----

bool bt_emit_stack(BtDraft *d);
bool bt_emit_branch(BtDraft *d);
// Whether the JMP, CALL or RET is one of those that emit-branch.c knows (translated alike or not).
bool bt_branch_known(const BtDraft *d, const BtGuestInsn *g);
// Whether the instruction ends the unit (form.c), and where a direct branch leads.
typedef enum {
    BT_FLOW_NEXT,
    BT_FLOW_CONDITIONAL,
    BT_FLOW_JUMP,
    BT_FLOW_CALL, // direct; ends the unit
    BT_FLOW_END,
} BtFlow;
BtFlow bt_branch_flow(const BtDraft *d, const BtGuestInsn *g, uint64_t *ret_target);
// Notes that the jump at `distance_at` leads to rip with the unit's present instruction done.
void bt_note_link(BtDraft *d, uint8_t *distance_at, uint64_t rip);

// ---- form.c ----

// Whether the instruction runs without a call of C, but for sites.
bool bt_runs_inline(const BtDraft *d, const BtGuestInsn *g);

// ---- emit.c ----

// Goes on at rip with the unit's present instruction done.
void bt_emit_link(BtDraft *d, uint64_t rip);
// Emits the whole unit; false where it does not fit.
bool bt_emit_unit(BtDraft *d);
// Runs the present instruction in C.
void bt_emit_call_out(BtDraft *d);
