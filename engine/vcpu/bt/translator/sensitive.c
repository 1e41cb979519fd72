// SPDX-License-Identifier: GPL-2.0-or-later
// See sensitive.h. A row says why its instruction must not run natively. Rows of MOV, PUSH, POP,
// CALL, JMP and RET are for forms with a segment, control or debug register or a far pointer; the
// other forms of these are ordinary instructions.
#include "engine/vcpu/bt/translator/sensitive.h"

#include <stddef.h>

#define CALL_OUT BT_SENSITIVE_CALL_OUT
#define INLINE BT_SENSITIVE_INLINE
#define ROW(name, traps, treatment, why) { ZYDIS_MNEMONIC_##name, traps, treatment, why }

static const BtSensitive rows[] = {
    // Tables and registers that user mode may read: without UMIP the host's own would be told.
    ROW(SGDT, false, CALL_OUT, "stores GDTR, unless UMIP forbids"),
    ROW(SIDT, false, CALL_OUT, "stores IDTR, unless UMIP forbids"),
    ROW(SLDT, false, CALL_OUT, "tells LDTR, unless UMIP forbids"),
    ROW(STR, false, CALL_OUT, "tells TR, unless UMIP forbids"),
    ROW(SMSW, false, CALL_OUT, "tells CR0, unless UMIP forbids"),
    ROW(LGDT, true, CALL_OUT, "loads GDTR"),
    ROW(LIDT, true, CALL_OUT, "loads IDTR"),
    ROW(LLDT, true, CALL_OUT, "loads LDTR from the GDT"),
    ROW(LTR, true, CALL_OUT, "loads TR and marks the TSS busy"),
    ROW(LMSW, true, CALL_OUT, "changes CR0"),
    ROW(CLTS, true, CALL_OUT, "changes CR0.TS"),

    // Descriptors are looked up in the host's tables.
    ROW(LAR, false, CALL_OUT, "reads a descriptor's rights"),
    ROW(LSL, false, CALL_OUT, "reads a descriptor's limit"),
    ROW(VERR, false, CALL_OUT, "judges a descriptor for reading"),
    ROW(VERW, false, CALL_OUT, "judges a descriptor for writing"),
    ROW(LDS, false, CALL_OUT, "loads a segment register"),
    ROW(LES, false, CALL_OUT, "loads a segment register"),
    ROW(LFS, false, CALL_OUT, "loads a segment register"),
    ROW(LGS, false, CALL_OUT, "loads a segment register"),
    ROW(LSS, false, CALL_OUT, "loads a segment register"),
    ROW(MOV, false, INLINE, "tells or loads a segment, control or debug register"),
    ROW(PUSH, false, INLINE, "tells a selector, with its RPL"),
    ROW(POP, false, CALL_OUT, "loads a segment register"),
    ROW(RDFSBASE, false, INLINE, "tells a segment's base"),
    ROW(RDGSBASE, false, INLINE, "tells a segment's base"),
    ROW(WRFSBASE, false, INLINE, "changes the base by which the host's C code finds its thread"),
    ROW(WRGSBASE, false, INLINE, "changes the base by which units find BtCpu"),
    ROW(SWAPGS, true, INLINE, "changes a segment's base"),

    // Flags that the host does not show or let change as the guest must see it.
    ROW(PUSHF, false, INLINE, "tells IF, IOPL, NT, RF, VM and TF"),
    ROW(PUSHFD, false, INLINE, "tells IF, IOPL, NT, RF, VM and TF"),
    ROW(PUSHFQ, false, INLINE, "tells IF, IOPL, NT, RF, VM and TF"),
    ROW(POPF, false, INLINE, "changes IF and IOPL by ring, else passes over them; TF, AC, NT"),
    ROW(POPFD, false, INLINE, "changes IF and IOPL by ring, else passes over them; TF, AC, NT"),
    ROW(POPFQ, false, INLINE, "changes IF and IOPL by ring, else passes over them; TF, AC, NT"),
    ROW(CLI, false, INLINE, "changes IF where IOPL allows, else #GP"),
    ROW(STI, false, INLINE, "changes IF where IOPL allows, else #GP"),
    ROW(CLAC, true, INLINE, "changes AC, by which SMAP decides"),
    ROW(STAC, true, INLINE, "changes AC, by which SMAP decides"),

    // Transfers to other rings, segments and tasks.
    ROW(INT, false, CALL_OUT, "goes through the IDT"),
    ROW(INT1, false, CALL_OUT, "goes through the IDT"),
    ROW(INT3, false, CALL_OUT, "goes through the IDT"),
    ROW(INTO, false, CALL_OUT, "goes through the IDT"),
    ROW(BOUND, false, CALL_OUT, "goes through the IDT"),
    ROW(UD0, false, CALL_OUT, "goes through the IDT"),
    ROW(UD1, false, CALL_OUT, "goes through the IDT"),
    ROW(UD2, false, CALL_OUT, "goes through the IDT"),
    ROW(IRET, false, CALL_OUT, "loads CS, SS and flags"),
    ROW(IRETD, false, CALL_OUT, "loads CS, SS and flags"),
    ROW(IRETQ, false, CALL_OUT, "loads CS, SS and flags"),
    ROW(CALL, false, CALL_OUT, "loads CS, maybe through a gate or a task"),
    ROW(JMP, false, CALL_OUT, "loads CS, maybe through a gate or a task"),
    ROW(RET, false, CALL_OUT, "loads CS, and SS where it leaves the ring"),
    ROW(RSM, true, CALL_OUT, "ends system management mode, which no guest is in: #UD"),
    ROW(SYSCALL, false, INLINE, "enters the host's kernel"),
    ROW(SYSENTER, false, INLINE, "enters the host's kernel"),
    ROW(SYSRET, true, INLINE, "leaves ring 0"),
    ROW(SYSEXIT, true, INLINE, "leaves ring 0"),

    // Ports; user mode may, where IOPL or the TSS's bitmap says so.
    ROW(IN, false, CALL_OUT, "reads a device"),
    ROW(OUT, false, CALL_OUT, "writes a device"),
    ROW(INSB, false, CALL_OUT, "reads a device"),
    ROW(INSW, false, CALL_OUT, "reads a device"),
    ROW(INSD, false, CALL_OUT, "reads a device"),
    ROW(OUTSB, false, CALL_OUT, "writes a device"),
    ROW(OUTSW, false, CALL_OUT, "writes a device"),
    ROW(OUTSD, false, CALL_OUT, "writes a device"),

    // The processor itself.
    ROW(HLT, true, CALL_OUT, "stops the processor"),
    ROW(CPUID, false, CALL_OUT, "tells what the host has"),
    ROW(RDTSC, false, INLINE, "tells the host's time; CR4.TSD"),
    ROW(RDTSCP, false, INLINE, "tells the host's time and CPU number; CR4.TSD"),
    ROW(RDPMC, false, CALL_OUT, "tells the host's counters; CR4.PCE"),
    ROW(RDPID, false, CALL_OUT, "tells the host's CPU number"),
    ROW(RDMSR, true, CALL_OUT, "reads an MSR"),
    ROW(WRMSR, true, CALL_OUT, "writes an MSR"),
    ROW(INVD, true, CALL_OUT, "drops caches"),
    ROW(WBINVD, true, CALL_OUT, "writes caches back"),
    ROW(INVLPG, true, CALL_OUT, "drops TLB entries"),
    ROW(INVPCID, true, CALL_OUT, "drops TLB entries"),
    ROW(MONITOR, true, CALL_OUT, "waits for memory"),
    ROW(MWAIT, true, CALL_OUT, "waits for memory"),

    // Extended states: the host has components that the guest does not, and another XCR0.
    ROW(XGETBV, false, CALL_OUT, "tells XCR0"),
    ROW(XSETBV, true, CALL_OUT, "changes XCR0"),
    ROW(XSAVE, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XSAVE64, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XSAVEC, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XSAVEC64, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XSAVEOPT, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XSAVEOPT64, false, CALL_OUT, "saves what XCR0 names"),
    ROW(XRSTOR, false, CALL_OUT, "loads what XCR0 names"),
    ROW(XRSTOR64, false, CALL_OUT, "loads what XCR0 names"),
};

static bool has_system_register(const ZydisDecodedInstruction *insn,
                                const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < insn->operand_count_visible; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(operands[i].reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT:
        case ZYDIS_REGCLASS_CONTROL:
        case ZYDIS_REGCLASS_DEBUG:
        case ZYDIS_REGCLASS_TEST:
            return true;
        default:
            break;
        }
    }
    return false;
}

static bool is_ordinary_form(const ZydisDecodedInstruction *insn,
                             const ZydisDecodedOperand *operands)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_POP:
        return !has_system_register(insn, operands);
    case ZYDIS_MNEMONIC_CALL:
    case ZYDIS_MNEMONIC_JMP:
    case ZYDIS_MNEMONIC_RET:
        return insn->meta.branch_type != ZYDIS_BRANCH_TYPE_FAR;
    default:
        return false;
    }
}

const BtSensitive *bt_sensitive(const ZydisDecodedInstruction *insn,
                                const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].mnemonic == insn->mnemonic)
            return is_ordinary_form(insn, operands) ? NULL : &rows[i];
    }
    return NULL;
}

const BtSensitive *bt_sensitive_rows(unsigned *ret_count)
{
    *ret_count = sizeof rows / sizeof rows[0];
    return rows;
}
