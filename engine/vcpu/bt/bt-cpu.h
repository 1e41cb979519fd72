// SPDX-License-Identifier: GPL-2.0-or-later
// The interpreter's CPU: registers in the form that is fastest to execute on. bt-backend.c converts
// to and from VcpuState. Shared by the files of this folder only.
//
// Conventions that every handler keeps:
//  - A handler is `void h(BtCpu *cpu, const BtInsn *insn)`. It does its work and ends with
//    BT_NEXT(cpu, insn) (a tail call to the next instruction of the block) or, where it changed
//    control flow, mode, paging, or may have, sets cpu->rip and returns to the run loop.
//  - While a block runs, cpu->block_rip is RIP of the block's first instruction; an instruction's
//    own RIP is block_rip + insn->offset. cpu->rip is exact only between blocks. A handler that can
//    fault, exit or end the block starts with BT_BEGIN(cpu, insn).
//  - Faults leave by longjmp: bt_raise and friends never return. So a handler commits nothing
//    (registers, flags) before its last access that can fault, and holds no lock or allocation
//    across an access.
#pragma once

#include "engine/vcpu/bt/bt-insn.h"
#include "engine/vcpu/bt/bt-tlb.h"
#include "engine/vcpu/vcpu-backend.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct BtVm BtVm;
typedef struct BtBlock BtBlock;
typedef struct BtCpu BtCpu;
typedef struct BtTranslator BtTranslator;
typedef struct BtFollow BtFollow;

// The jump table of generated code (translator/unit.h): from RIP to code.
#define BT_JUMP_BITS 15
#define BT_GROUPS 24
typedef struct {
    uint64_t tag; // RIP xor cpu->jump_salt (translator/units.c)
    const uint8_t *code;
} BtJump;

// Register numbers beyond the 16 of the architecture, for addressing without branches.
enum {
    BT_REG_ZERO = 16, // always 0
    BT_REG_RIP = 17,  // block_rip: base of RIP-relative operands
    BT_REG_COUNT = 18,
};

// Segments 0..5 as VCPU_ES.., and one that is always flat, for addresses without segmentation.
enum { BT_SEG_FLAT = 6, BT_SEGMENTS = 7 };

typedef enum {
    BT_MODE_REAL,    // real address mode, unreal included: 16-bit unless CS.D (then as protected)
    BT_MODE_V86,     // virtual-8086
    BT_MODE_PROTECTED, // 16 or 32 bits by CS.D
    BT_MODE_COMPAT,  // long mode, CS.L = 0
    BT_MODE_LONG,    // long mode, CS.L = 1
} BtMode;

typedef struct {
    uint64_t base;      // what addresses add: 0 for ES, CS, SS, DS in 64-bit mode
    uint64_t true_base; // the descriptor's
    uint32_t limit;
    uint16_t selector;
    uint16_t access; // as VcpuSegment.access
    bool unusable;
    // Derived (bt_segment_update): accesses with offset + size - 1 inside [low, high] and the right
    // bit in `allows` need no further check.
    uint8_t allows; // BT_ALLOW_*
    uint64_t low, high;
} BtSegment;

enum { BT_ALLOW_READ = 1, BT_ALLOW_WRITE = 2 };

// Reasons to leave the block chain, polled between blocks. Set by any thread with an atomic OR.
enum {
    BT_REQUEST_INTERRUPT = 1 << 0, // INTR is high (level; cleared by set_interrupt(false))
    BT_REQUEST_NMI = 1 << 1,
    BT_REQUEST_KICK = 1 << 2,
    BT_REQUEST_TLB_FLUSH = 1 << 3,  // the memory map changed
    BT_REQUEST_A20 = 1 << 4,
    BT_REQUEST_STEP = 1 << 5,   // TF, or a data breakpoint matched: one instruction at a time
    BT_REQUEST_SHADOW = 1 << 6, // an interrupt shadow holds for one instruction
    BT_REQUEST_HALT = 1 << 7,   // HLT was executed: cpu->halted is set
    BT_REQUEST_CODE = 1 << 8,   // code was written: no block follows another unchecked
    BT_REQUEST_COUNT = 1 << 9,  // back to the run loop after every block (bt-follow.h)
    BT_REQUEST_SAMPLE = 1 << 10, // fill `sample`
};

// cpu->shadow.
enum { BT_SHADOW_STI = 1, BT_SHADOW_MOV_SS = 2 };

#define BT_MC_BANKS 4 // machine-check banks, which never report

// Why a fault left a handler; the argument of longjmp.
typedef enum {
    BT_LEAVE_EXCEPTION = 1, // cpu->fault says which
    BT_LEAVE_BLOCK,         // the instruction is complete and cpu->rip right: go on at the run loop
    BT_LEAVE_RETRY_ALONE,   // run the instruction at cpu->rip again as a block of one (it writes
                            // into its own block)
    BT_LEAVE_RUN,           // return from run; cpu->exit is filled
} BtLeave;

typedef struct {
    uint8_t vector;
    bool has_error;
    uint32_t error;
} BtFault;

// x87, MMX, SSE, AVX. bt-fpu.c, bt-x87*.c, bt-simd*.c and bt-xsave.c own the fields; others go
// through bt-fpu.h. The alignment makes BtCpu's 64: allocate it with aligned_alloc.
typedef struct {
    uint8_t vector[16][64] __attribute__((aligned(64))); // XMM, YMM (ZMM later), little-endian
    uint8_t st[8][16];  // physical registers R0..R7, 80 bits each; MMX aliases the mantissa
    uint16_t control, status; // status holds TOP in bits 11..13, ES and B kept up to date
    uint8_t tags;       // abridged: bit set = register in use (as FXSAVE)
    uint8_t gate;       // BT_GATE_* (bt-fpu.h): which instruction classes may run now
    uint8_t live;       // BT_LIVE_* (bt-fpu.h): what of the host's FPU is the guest's
    uint8_t resident;   // a unit runs, and `vector` is in the host's registers
    uint8_t shut;       // BT_GATE_*: what generated code cannot run as things are
    uint16_t opcode;
    uint64_t instruction_pointer, data_pointer;
    uint16_t instruction_selector, data_selector;
    uint32_t mxcsr;
    uint64_t xcr0;
    uint8_t buffer[64] __attribute__((aligned(32))); // memory operands that RAM cannot serve
    uint64_t unit_address; // of an x87 operand, while a unit checks the access
} BtFpu;

// Units run with RSP in BtCpu, at the guest's R12: that and what stands behind it have short
// addresses. In front of it are registers of the guest's that are the host's meanwhile, and in
// front of BtCpu is this much: a return address goes over the former, the frames of signals, 128
// bytes further down, into the latter.
#define BT_UNIT_RSP 96
#define BT_UNIT_STACK ((size_t)256 << 10)

struct BtCpu {
    // The hot part.
    union {
        uint64_t gpr[BT_REG_COUNT];
        struct {
            uint64_t gpr_and_zero[17];
            uint64_t block_rip; // gpr[BT_REG_RIP]
        };
    };
    // What generated code uses most: up to BT_UNIT_RSP + 127 its place takes a single byte.
    uint32_t request_mask; // requests that can be served now; kept by the run loop
    uint32_t request;    // BT_REQUEST_*, atomic
    uint64_t instructions; // retired; while a block runs, all of that block's are counted already
    BtTlb *data_tlb;     // tlb[mmu_index]; kept by bt-mmu.c and bt-segment.c
    uint64_t chain_key;  // bt-block.h
    uint64_t jump_salt;  // of generated code's jump table; 0: not for this chain_key, and no entry
                         // has it
    uint32_t unit_flags; // status flags across a check, in the form of flags_status
    bool unit_continues; // the instruction that ran in C goes on behind itself
    uint64_t unit_group[BT_GROUPS]; // addends of the unit's groups (translator/groups.c)

    uint64_t rip;        // exact between blocks; offset in CS
    const BtInsn *insn;  // the one that runs, for faults
    uint64_t flat_mask;  // what addresses in a flat segment wrap to; kept by the run loop
    uint64_t rip_mask;   // what RIP wraps to: code_bits; kept by the run loop
    uint64_t block_key;  // bt-block.h; BT_NO_BLOCK_KEY: none follows the one that runs
    BtBlock *block;      // the one that runs, or NULL between blocks
    BtBlock *link;       // the block that the run loop links the next one to, or NULL
    uint8_t link_way;
    BtBlock **jump_cache; // bt-cache.c: by linear address
    uint16_t flags_status; // CF PF AF ZF SF OF in the form of bt-flags.h
    uint64_t rflags_rest; // RFLAGS without CF PF AF ZF SF OF (bt-flags.h)
    uint8_t cpl;
    uint8_t mode;        // BtMode
    uint8_t code_bits;   // 16, 32, 64: default operand size as CS says
    uint8_t stack_bits;  // 16, 32, 64: SS.B
    uint8_t mmu_index;   // which TLB data accesses use (bt-tlb.h)
    uint32_t mode_key;   // what decoded blocks depend on (bt-block.h); kept by the run loop
    BtSegment segment[BT_SEGMENTS];
    BtTlb *tlb[BT_MMU_INDEXES]; // into mmu
    struct BtMmu *mmu;   // bt-tlb.h

    // The rest of the architecture.
    uint64_t cr0, cr2, cr3, cr4, efer;
    BtSegment ldtr, tr;
    VcpuTable gdtr, idtr;
    uint64_t dr[4], dr6, dr7;
    uint64_t pdpte[4]; // PAE: loaded with CR3
    uint64_t msr_star, msr_lstar, msr_cstar, msr_fmask, msr_kernel_gs_base, msr_tsc_aux;
    uint64_t msr_sysenter_cs, msr_sysenter_esp, msr_sysenter_eip;
    uint64_t msr_pat, msr_misc_enable, msr_mtrr_def_type, msr_mtrr_physical[16];
    uint64_t msr_mtrr_fixed[11];
    uint64_t msr_tsc_adjust, msr_mcg_status;
    uint64_t msr_mc[BT_MC_BANKS * 4]; // CTL, STATUS, ADDR, MISC of each bank
    int64_t tsc_offset;
    BtFpu fpu;
    uint64_t a20_mask; // ANDed to physical addresses

    // Events.
    bool halted;
    bool wait_for_sipi;
    bool nmi_blocked;
    bool nmi_pending;
    uint8_t shadow; // interrupts (and for MOV SS also debug traps) held off for one instruction
    BtFault fault;
    bool injected;         // fault came with the state and is yet to be delivered
    bool delivering;       // an exception is being delivered: a second one is a double fault
    BtFault delivered;     // what is being delivered, for the double-fault table
    bool delivered_soft;   // INT n, INT3, INTO
    bool delivered_exception; // neither that nor an interrupt
    uint8_t debug_hits;    // data and I/O breakpoints that the instruction hit, and bt-debug.h's

    jmp_buf leave;
    VcpuExit exit;
    unsigned instructions_left; // of run_some; 0: no limit
    unsigned index; // CPU number
    BtVm *vm;
    const BackendVmConfig *config;
    VcpuStats stats;
    VcpuSample sample; // written by the CPU after BT_REQUEST_SAMPLE, the number last
    void *block_cache;  // bt-cache.c
    const BtInsn *next;  // builds without tail calls: what to run next
    BtFollow *follow;    // bt-follow.h, or NULL
    bool always_miss;    // tests: no access finds data_tlb filled (translator.c, LODGE_TRANSLATOR)
    bool alone;          // the next block is one instruction (BT_LEAVE_RETRY_ALONE)
    bool stepping, stepping_tf; // bt_debug_after is due; RFLAGS.TF before the instruction
    uint32_t chain_limit; // CS limit that chain_key was made for
    uint32_t chain_epoch[2], chain_epoch_last; // bt-block.h
    uint32_t block_writes; // bt-block.h: times that code was written, under the translator
    void *simd_private; // bt-simd.c: compiled forms
    BtRange range[BT_RANGES]; // bt-range.h

    // The translator (translator/unit.h); NULL in the interpreter. The rest is what generated code
    // and its thunks use.
    BtTranslator *translator;
    BtCpu *self;
    uint8_t *unit_rsp;   // BT_UNIT_RSP in this BtCpu
    void *unit_stack;    // C's RSP while a unit runs
    uint64_t unit_return; // where an instruction that runs in C was called from
    uint64_t unit_target; // of an indirect call, or what PUSH read, while the stack is checked
    uint64_t unit_held;  // what T3 holds where a unit goes on
    BtJump jump[1u << BT_JUMP_BITS];
};

_Static_assert(offsetof(BtCpu, gpr[12]) == BT_UNIT_RSP, "generated code relies on it");
_Static_assert(offsetof(BtCpu, unit_group) <= BT_UNIT_RSP + 96, "within reach of a byte");

// The next instruction of the block: a tail call where the compiler makes one (bt-interp.c checks
// nothing: a build without them would run out of stack), else a note for the run loop.
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define BT_TAIL_CALLS 1
#define BT_RUN(cpu, insn) return (insn)->handler((cpu), (insn))
#else
#define BT_TAIL_CALLS 0
#define BT_RUN(cpu, insn)                                                                          \
    do {                                                                                           \
        (cpu)->next = (insn);                                                                      \
        return;                                                                                    \
    } while (0)
#endif
#define BT_NEXT(cpu, insn) BT_RUN((cpu), (insn) + 1)

// Runs handlers from this instruction on until one returns to C.
static inline void bt_run_from(BtCpu *cpu, const BtInsn *insn)
{
#if BT_TAIL_CALLS
    insn->handler(cpu, insn);
#else
    do {
        cpu->next = NULL;
        insn->handler(cpu, insn);
        insn = cpu->next;
    } while (insn);
#endif
}

#define BT_BEGIN(cpu_, insn_) ((cpu_)->insn = (insn_))

static inline uint64_t bt_insn_rip(const BtCpu *cpu, const BtInsn *insn)
{
    return cpu->block_rip + insn->offset;
}

// RIP after this instruction, wrapped to the code segment's width.
static inline uint64_t bt_next_rip(const BtCpu *cpu, const BtInsn *insn)
{
    return (cpu->block_rip + insn->offset + insn->length) & cpu->rip_mask;
}

// bt-fault.c: raises an exception at the current instruction (cpu->insn, or cpu->rip between
// blocks when cpu->insn is NULL).
_Noreturn void bt_raise(BtCpu *cpu, unsigned vector);
_Noreturn void bt_raise_error(BtCpu *cpu, unsigned vector, uint32_t error);
_Noreturn void bt_raise_page_fault(BtCpu *cpu, uint64_t linear, uint32_t error);
_Noreturn void bt_leave(BtCpu *cpu, BtLeave why);

enum {
    BT_DE = 0, BT_DB = 1, BT_NMI = 2, BT_BP = 3, BT_OF = 4, BT_BR = 5, BT_UD = 6, BT_NM = 7,
    BT_DF = 8, BT_TS = 10, BT_NP = 11, BT_SS = 12, BT_GP = 13, BT_PF = 14, BT_MF = 16, BT_AC = 17,
    BT_MC = 18, BT_XM = 19,
};

// bt-fault.c: delivers an interrupt or exception through the IVT or IDT; cpu->rip is what is
// pushed. soft: INT n, INT3, INTO (DPL check). May raise.
void bt_deliver(BtCpu *cpu, unsigned vector, bool has_error, uint32_t error, bool soft);

// bt-segment.c / bt-system.c: recomputes mode, code_bits, stack_bits, mmu_index and the derived
// parts of segments after CR0, CR4, EFER, CS, SS, CPL or RFLAGS.VM/AC changed. mode_key and what
// else depends on these follow at the run loop, so a handler that calls this must end its block.
void bt_update_mode(BtCpu *cpu);
void bt_segment_update(BtCpu *cpu, unsigned segment);

// Full RFLAGS, lazy bits computed; and the other way (bt-flags.h has the inline parts). write_mask
// is the caller's business. Sets or clears BT_REQUEST_STEP by TF.
uint64_t bt_rflags_get(const BtCpu *cpu);
void bt_rflags_set(BtCpu *cpu, uint64_t rflags);
