// SPDX-License-Identifier: GPL-2.0-or-later
// x87 arithmetic, comparison, and conversion between formats, by the host's instructions under the
// guest's control word (bt_x87_enter has loaded it, all exceptions masked). The host's stack is
// empty before and after each. SDM vol. 1, 8.3; opcodes: vol. 2, appendix B.17.

#include "engine/vcpu/bt/bt-x87-private.h"

// ---- d = d op s ----

#define X87_CLOBBERS "st", "st(1)"

#define DEFINE_OPERATION(name, registers, single, dword)                                           \
    static inline uint16_t name##_register(X87Value *d, const X87Value *s)                         \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[s]\n\tfldt %[d]\n\t" registers                                    \
                         " %%st(1), %%st\n\tfnstsw %[sw]\n\tfstpt %[d]\n\tfstp %%st(0)"            \
                         : [sw] "=a"(sw), [d] "+m"(*d)                                             \
                         : [s] "m"(*s)                                                             \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }                                                                                              \
    DEFINE_OPERATION_MEMORY(name, single "s", m32, uint32_t)                                       \
    DEFINE_OPERATION_MEMORY(name, single "l", m64, uint64_t)                                       \
    DEFINE_OPERATION_MEMORY(name, dword "l", i32, uint32_t)                                        \
    DEFINE_OPERATION_MEMORY(name, dword "s", i16, uint16_t)

#define DEFINE_OPERATION_MEMORY(name, mnemonic, kind, type)                                        \
    static inline uint16_t name##_##kind(X87Value *d, type s)                                      \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[d]\n\t" mnemonic " %[s]\n\tfnstsw %[sw]\n\tfstpt %[d]"            \
                         : [sw] "=a"(sw), [d] "+m"(*d)                                             \
                         : [s] "m"(s)                                                              \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }

DEFINE_OPERATION(add, "fadd", "fadd", "fiadd")
DEFINE_OPERATION(mul, "fmul", "fmul", "fimul")
DEFINE_OPERATION(sub, "fsub", "fsub", "fisub")
DEFINE_OPERATION(subr, "fsubr", "fsubr", "fisubr")
DEFINE_OPERATION(div, "fdiv", "fdiv", "fidiv")
DEFINE_OPERATION(divr, "fdivr", "fdivr", "fidivr")

#define DEFINE_MEMORY_HANDLER(name, kind, bits)                                                    \
    static void f##name##_##kind(BtCpu *cpu, const BtInsn *insn)                                   \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {                                        \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                          \
        x87_merge(fpu, name##_##kind(x87_st(fpu, 0), value));                                      \
        x87_track_memory(cpu, insn, offset);                                                       \
        BT_NEXT(cpu, insn);                                                                        \
    }

// to, from: stack indices of destination and source; pops: 0 or 1.
#define DEFINE_REGISTER_HANDLER(name, suffix, to, from, pops)                                      \
    static void f##name##suffix(BtCpu *cpu, const BtInsn *insn)                                    \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0) || !x87_in_use(fpu, insn->reg[0])) {      \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        x87_merge(fpu, name##_register(x87_st(fpu, to), x87_st(fpu, from)));                       \
        if (pops)                                                                                  \
            x87_pop(fpu);                                                                          \
        x87_track(cpu, insn);                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }

#define DEFINE_HANDLERS(name)                                                                      \
    DEFINE_REGISTER_HANDLER(name, _st0_sti, 0, insn->reg[0], 0)                                    \
    DEFINE_REGISTER_HANDLER(name, _sti_st0, insn->reg[0], 0, 0)                                    \
    DEFINE_REGISTER_HANDLER(name, _sti_st0_pop, insn->reg[0], 0, 1)                                \
    DEFINE_MEMORY_HANDLER(name, m32, 32)                                                           \
    DEFINE_MEMORY_HANDLER(name, m64, 64)                                                           \
    DEFINE_MEMORY_HANDLER(name, i32, 32)                                                           \
    DEFINE_MEMORY_HANDLER(name, i16, 16)

DEFINE_HANDLERS(add)
DEFINE_HANDLERS(mul)
DEFINE_HANDLERS(sub)
DEFINE_HANDLERS(subr)
DEFINE_HANDLERS(div)
DEFINE_HANDLERS(divr)

// ---- comparison: condition codes of a against b ----

enum { CONDITIONS = BT_X87_C0 | BT_X87_C2 | BT_X87_C3 };

static inline void set_conditions(BtFpu *fpu, uint16_t sw)
{
    fpu->status = (uint16_t)((fpu->status & ~(CONDITIONS | BT_X87_C1)) |
                             (sw & (CONDITIONS | BT_X87_EXCEPTIONS | BT_X87_C1)));
}

#define DEFINE_COMPARE(name, mnemonic)                                                             \
    static inline uint16_t name(const X87Value *a, const X87Value *b)                              \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" mnemonic                                     \
                         "\n\tfnstsw %[sw]\n\tfstp %%st(0)\n\tfstp %%st(0)"                        \
                         : [sw] "=a"(sw)                                                           \
                         : [a] "m"(*a), [b] "m"(*b)                                                \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }

DEFINE_COMPARE(com, "fcom %%st(1)")
DEFINE_COMPARE(ucom, "fucom %%st(1)")

#define DEFINE_COMPARE_MEMORY(kind, mnemonic, type)                                                \
    static inline uint16_t com_##kind(const X87Value *a, type b)                                   \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[a]\n\t" mnemonic " %[b]\n\tfnstsw %[sw]\n\tfstp %%st(0)"          \
                         : [sw] "=a"(sw)                                                           \
                         : [a] "m"(*a), [b] "m"(b)                                                 \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }

DEFINE_COMPARE_MEMORY(m32, "fcoms", uint32_t)
DEFINE_COMPARE_MEMORY(m64, "fcoml", uint64_t)
DEFINE_COMPARE_MEMORY(i32, "ficoml", uint32_t)
DEFINE_COMPARE_MEMORY(i16, "ficoms", uint16_t)

#define DEFINE_COMPARE_HANDLER(name, operation, other, pops)                                       \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0) || !x87_in_use(fpu, other)) {             \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        set_conditions(fpu, operation(x87_st(fpu, 0), x87_st(fpu, other)));                        \
        for (int i = 0; i < pops; i++)                                                             \
            x87_pop(fpu);                                                                          \
        x87_track(cpu, insn);                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_COMPARE_HANDLER(fcom, com, insn->reg[0], 0)
DEFINE_COMPARE_HANDLER(fcomp, com, insn->reg[0], 1)
DEFINE_COMPARE_HANDLER(fcompp, com, 1, 2)
DEFINE_COMPARE_HANDLER(fucom, ucom, insn->reg[0], 0)
DEFINE_COMPARE_HANDLER(fucomp, ucom, insn->reg[0], 1)
DEFINE_COMPARE_HANDLER(fucompp, ucom, 1, 2)

#define DEFINE_COMPARE_MEMORY_HANDLER(name, kind, bits, pops)                                      \
    static void name##_##kind(BtCpu *cpu, const BtInsn *insn)                                      \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {                                        \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                          \
        set_conditions(fpu, com_##kind(x87_st(fpu, 0), value));                                    \
        if (pops)                                                                                  \
            x87_pop(fpu);                                                                          \
        x87_track_memory(cpu, insn, offset);                                                       \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_COMPARE_MEMORY_HANDLER(fcom, m32, 32, 0)
DEFINE_COMPARE_MEMORY_HANDLER(fcom, m64, 64, 0)
DEFINE_COMPARE_MEMORY_HANDLER(fcom, i32, 32, 0)
DEFINE_COMPARE_MEMORY_HANDLER(fcom, i16, 16, 0)
DEFINE_COMPARE_MEMORY_HANDLER(fcomp, m32, 32, 1)
DEFINE_COMPARE_MEMORY_HANDLER(fcomp, m64, 64, 1)
DEFINE_COMPARE_MEMORY_HANDLER(fcomp, i32, 32, 1)
DEFINE_COMPARE_MEMORY_HANDLER(fcomp, i16, 16, 1)

// FCOMI and its kin answer in CF, PF, ZF and clear OF, SF, AF. C1 stays, as AMD processors have it.
#define DEFINE_COMPARE_FLAGS(name, mnemonic)                                                       \
    static inline uint16_t name(const X87Value *a, const X87Value *b, uint16_t *ret_sw)            \
    {                                                                                              \
        uint16_t sw;                                                                               \
        uint32_t flags;                                                                            \
        __asm__ volatile("fldt %[b]\n\tfldt %[a]\n\t" mnemonic                                     \
                         " %%st(1), %%st\n\tlahf\n\tmovl %%eax, %[flags]\n\tfnstsw %[sw]\n\t"      \
                         "fstp %%st(0)\n\tfstp %%st(0)"                                            \
                         : [sw] "=&a"(sw), [flags] "=&r"(flags)                                    \
                         : [a] "m"(*a), [b] "m"(*b)                                                \
                         : X87_CLOBBERS, "cc");                                                    \
        *ret_sw = sw;                                                                              \
        return (uint16_t)flags;                                                                    \
    }

DEFINE_COMPARE_FLAGS(comi, "fcomi")
DEFINE_COMPARE_FLAGS(ucomi, "fucomi")

#define DEFINE_COMPARE_FLAGS_HANDLER(name, operation, pops)                                        \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0) || !x87_in_use(fpu, insn->reg[0])) {      \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint16_t sw;                                                                               \
        uint16_t flags = operation(x87_st(fpu, 0), x87_st(fpu, insn->reg[0]), &sw);                \
        cpu->flags_status =                                                                        \
            (flags & (BT_STATUS_CF | BT_STATUS_PF | BT_STATUS_ZF)) | BT_STATUS_ONE;                \
        fpu->status |= sw & BT_X87_EXCEPTIONS;                                                     \
        if (pops)                                                                                  \
            x87_pop(fpu);                                                                          \
        x87_track(cpu, insn);                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_COMPARE_FLAGS_HANDLER(fcomi, comi, 0)
DEFINE_COMPARE_FLAGS_HANDLER(fcomip, comi, 1)
DEFINE_COMPARE_FLAGS_HANDLER(fucomi, ucomi, 0)
DEFINE_COMPARE_FLAGS_HANDLER(fucomip, ucomi, 1)

// ---- loads and stores that convert ----

#define DEFINE_LOAD(name, mnemonic, bits)                                                          \
    static inline uint16_t name##_value(X87Value *to, uint##bits##_t value)                        \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile(mnemonic " %[value]\n\tfnstsw %[sw]\n\tfstpt %[to]"                       \
                         : [sw] "=a"(sw), [to] "=m"(*to)                                           \
                         : [value] "m"(value)                                                      \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }                                                                                              \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || x87_in_use(fpu, 7)) {                                         \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        uint##bits##_t value = bt_read##bits(cpu, insn->segment, offset);                          \
        x87_merge(fpu, name##_value(x87_push(fpu), value));                                        \
        x87_track_memory(cpu, insn, offset);                                                       \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_LOAD(fld_m32, "flds", 32)
DEFINE_LOAD(fld_m64, "fldl", 64)
DEFINE_LOAD(fild_i16, "filds", 16)
DEFINE_LOAD(fild_i32, "fildl", 32)
DEFINE_LOAD(fild_i64, "fildll", 64)

// The host always pops; whether the guest does is the handler's. Nothing may fault once the host
// has raised flags, so a store that RAM cannot serve at once is done exactly.
#define DEFINE_STORE(name, mnemonic, bits, pops)                                                   \
    static inline uint16_t name##_value(const X87Value *from, void *to)                            \
    {                                                                                              \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[from]\n\t" mnemonic " %[to]\n\tfnstsw %[sw]"                      \
                         : [sw] "=a"(sw), [to] "=m"(*(uint8_t(*)[bits / 8])to)                     \
                         : [from] "m"(*from)                                                       \
                         : X87_CLOBBERS);                                                          \
        return sw;                                                                                 \
    }                                                                                              \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {                                        \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint64_t offset = bt_effective_address(cpu, insn);                                         \
        void *memory = x87_writable(cpu, insn, offset, bits / 8);                                  \
        if (__builtin_expect(!memory, 0)) {                                                        \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        x87_merge(fpu, name##_value(x87_st(fpu, 0), memory));                                      \
        if (pops)                                                                                  \
            x87_pop(fpu);                                                                          \
        x87_track_memory(cpu, insn, offset);                                                       \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_STORE(fst_m32, "fstps", 32, 0)
DEFINE_STORE(fstp_m32, "fstps", 32, 1)
DEFINE_STORE(fst_m64, "fstpl", 64, 0)
DEFINE_STORE(fstp_m64, "fstpl", 64, 1)
DEFINE_STORE(fist_i16, "fistps", 16, 0)
DEFINE_STORE(fistp_i16, "fistps", 16, 1)
DEFINE_STORE(fist_i32, "fistpl", 32, 0)
DEFINE_STORE(fistp_i32, "fistpl", 32, 1)
DEFINE_STORE(fistp_i64, "fistpll", 64, 1)
DEFINE_STORE(fisttp_i16, "fisttps", 16, 1)
DEFINE_STORE(fisttp_i32, "fisttpl", 32, 1)
DEFINE_STORE(fisttp_i64, "fisttpll", 64, 1)

// ---- one operand ----

#define DEFINE_UNARY(name, mnemonic)                                                               \
    static void name(BtCpu *cpu, const BtInsn *insn)                                               \
    {                                                                                              \
        BtFpu *fpu = &cpu->fpu;                                                                    \
        if (!x87_begin(cpu, insn) || !x87_in_use(fpu, 0)) {                                        \
            bt_x87_exact(cpu, insn);                                                               \
            return;                                                                                \
        }                                                                                          \
        uint16_t sw;                                                                               \
        __asm__ volatile("fldt %[value]\n\t" mnemonic "\n\tfnstsw %[sw]\n\tfstpt %[value]"         \
                         : [sw] "=a"(sw), [value] "+m"(*x87_st(fpu, 0))                            \
                         :                                                                         \
                         : X87_CLOBBERS);                                                          \
        x87_merge(fpu, sw);                                                                        \
        x87_track(cpu, insn);                                                                      \
        BT_NEXT(cpu, insn);                                                                        \
    }

DEFINE_UNARY(fsqrt, "fsqrt")
DEFINE_UNARY(frndint, "frndint")

// ---- rows: SDM vol. 2, tables A-7 to A-22 ----

#define COLUMN(form)                                                                               \
    {                                                                                              \
        fadd##form, fmul##form, NULL, NULL, fsub##form, fsubr##form, fdiv##form, fdivr##form       \
    }
// With ST(i) as destination the manual's rows of SUB and SUBR, DIV and DIVR change places.
#define COLUMN_REVERSED(form)                                                                      \
    {                                                                                              \
        fadd##form, fmul##form, NULL, NULL, fsubr##form, fsub##form, fdivr##form, fdiv##form       \
    }

static BtHandler *const registers[8][8] = {
    [0] = COLUMN(_st0_sti),
    [4] = COLUMN_REVERSED(_sti_st0),
    [6] = COLUMN_REVERSED(_sti_st0_pop),
};
static BtHandler *const memories[8][8] = {
    [0] = COLUMN(_m32),
    [2] = COLUMN(_i32),
    [4] = COLUMN(_m64),
    [6] = COLUMN(_i16),
};

#define ROW(escape, reg) ((escape) << 4 | (reg))

static BtHandler *register_row(unsigned escape, unsigned reg)
{
    switch (ROW(escape, reg)) {
    case ROW(0, 2): return fcom;
    case ROW(0, 3): return fcomp;
    case ROW(3, 5): return fucomi;
    case ROW(3, 6): return fcomi;
    case ROW(5, 4): return fucom;
    case ROW(5, 5): return fucomp;
    case ROW(7, 5): return fucomip;
    case ROW(7, 6): return fcomip;
    default: return registers[escape][reg];
    }
}

static BtHandler *memory_row(unsigned escape, unsigned reg)
{
    switch (ROW(escape, reg)) {
    case ROW(0, 2): return fcom_m32;
    case ROW(0, 3): return fcomp_m32;
    case ROW(1, 0): return fld_m32;
    case ROW(1, 2): return fst_m32;
    case ROW(1, 3): return fstp_m32;
    case ROW(2, 2): return fcom_i32;
    case ROW(2, 3): return fcomp_i32;
    case ROW(3, 0): return fild_i32;
    case ROW(3, 1): return fisttp_i32;
    case ROW(3, 2): return fist_i32;
    case ROW(3, 3): return fistp_i32;
    case ROW(4, 2): return fcom_m64;
    case ROW(4, 3): return fcomp_m64;
    case ROW(5, 0): return fld_m64;
    case ROW(5, 1): return fisttp_i64;
    case ROW(5, 2): return fst_m64;
    case ROW(5, 3): return fstp_m64;
    case ROW(6, 2): return fcom_i16;
    case ROW(6, 3): return fcomp_i16;
    case ROW(7, 0): return fild_i16;
    case ROW(7, 1): return fisttp_i16;
    case ROW(7, 2): return fist_i16;
    case ROW(7, 3): return fistp_i16;
    case ROW(7, 5): return fild_i64;
    case ROW(7, 7): return fistp_i64;
    default: return memories[escape][reg];
    }
}

BtHandler *bt_x87_arithmetic(unsigned escape, unsigned modrm)
{
    unsigned reg = modrm >> 3 & 7;
    if (modrm < 0xc0)
        return memory_row(escape, reg);
    switch (escape << 8 | modrm) { // opcodes without a register field
    case 0x1fa: return fsqrt;
    case 0x1fc: return frndint;
    case 0x2e9: return fucompp;
    case 0x6d9: return fcompp;
    default: return escape == 1 || escape == 2 ? NULL : register_row(escape, reg);
    }
}
