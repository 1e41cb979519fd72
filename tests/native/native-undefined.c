// SPDX-License-Identifier: GPL-2.0-or-later
// See native-undefined.h.
#include "tests/native/native-undefined.h"

#include "engine/base/bytes.h"

// AMD's processors store zeros for the x87 pointers while no unmasked exception is pending (APM
// vol. 2, 11.5.10); Intel's, which the interpreter follows, always store what they hold.
static bool pointers_hidden(const NativeResult *host)
{
    const uint8_t *x = host->end.xsave;
    return !(le16_read(x + 2) & 0x80) && !le16_read(x + 6) && !le64_read(x + 8) &&
           !le64_read(x + 16);
}

static bool has_repeat_prefix(const ZydisDecodedInstruction *insn)
{
    for (unsigned i = 0; i < insn->raw.prefix_count; i++) {
        if (insn->raw.prefixes[i].value == 0xf2 || insn->raw.prefixes[i].value == 0xf3)
            return true;
    }
    return false;
}

// Where AMD's processors, of which the host may be one, differ from Intel's by their manuals.
static void ignore_vendor(const NativeCase *c, const ZydisDecodedInstruction *insn,
                          const ZydisDecodedOperand *operands, const NativeResult *host,
                          const NativeResult *guest, NativeIgnored *ignored)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
        // 0F 0D with a register: Intel's NOP, #UD at AMD.
        if (insn->opcode_map == ZYDIS_OPCODE_MAP_0F && insn->opcode == 0x0d)
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
        if (host->vector == 13 && guest->vector == 17)
            ignored->everything = true; // SDM, FXSAVE: either, by implementation
        ignored->memory |= UINT64_C(1) << (32 + 17); // MXCSR_MASK.MM
        break;
    case ZYDIS_MNEMONIC_PUSH:
        // Intel's write 16 bits and leave the others as they were, AMD's zero them.
        if (c->mode_32 && insn->operand_width == 32 &&
            operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(operands[0].reg.value) == ZYDIS_REGCLASS_SEGMENT)
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_CALL:
        // Not canonical, and the stack cannot be written: Intel's look at the target first.
        if ((host->vector == 12 || host->vector == 14) && guest->vector == 13)
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_RET:
        // To a selector of another ring: AMD's read the new stack before they look at it.
        if (insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR && guest->vector == 13 &&
            (host->vector == 14 || host->vector == 17))
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_LOOPE:
    case ZYDIS_MNEMONIC_LOOPNE:
        // Reserved: AMD's take the condition from a repeat prefix.
        if (has_repeat_prefix(insn))
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        // Elements behind 4 GiB from a 32-bit address in 64-bit code: AMD's address each of them
        // by itself, so that it wraps.
        if (!c->mode_32 && insn->address_width == 32 && guest->vector == 14 &&
            guest->address >> 32)
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_INT1:
        // A hypervisor below may report it before the instruction instead of behind it.
        if (host->vector == 1)
            ignored->everything = true;
        break;
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
        // MXCSR.MM, which Intel's do not have; and as for FXSAVE.
        if (host->vector == 13 && guest->vector == 17)
            ignored->everything = true;
        if (le32_read(host->end.xsave + 24) & 1 << 17)
            ignored->everything = true;
        break;
    default:
        break;
    }
    // Far pointers of 64 bits: AMD's take 32.
    for (unsigned i = 0; i < insn->operand_count_visible; i++) {
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[i].size == 80 &&
            insn->meta.isa_set != ZYDIS_ISA_SET_X87)
            ignored->everything = true;
    }
    // Near branches in 64-bit code: AMD's obey an operand-size prefix, Intel's ignore it.
    if (!c->mode_32 && insn->meta.branch_type != ZYDIS_BRANCH_TYPE_NONE &&
        (insn->attributes & ZYDIS_ATTRIB_HAS_OPERANDSIZE))
        ignored->everything = true;
}

// What the interpreter does not do exactly (bt-simd-fp.c says so): beside an unmasked underflow or
// overflow PE tells of the rounded result with its own exponent range; and the dot products have
// the flags of all their steps where the CPU stops at the first that raises one.
// Also, which of the byte-masked stores #AC judges is not known in full.
static void ignore_known(const ZydisDecodedInstruction *insn, const NativeResult *host,
                         const NativeResult *guest, NativeIgnored *ignored)
{
    enum { UE_OE = 0x18, PE = 0x20, FLAGS = 0x3f, MASK_SHIFT = 7 };
    bool masked = insn->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
                  insn->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
                  insn->mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
    if (masked && (host->vector == 17) != (guest->vector == 17))
        ignored->everything = true;
    if (host->vector != 19)
        return;
    uint32_t mxcsr = le32_read(host->end.xsave + 24);
    if (mxcsr & ~(mxcsr >> MASK_SHIFT) & UE_OE)
        ignored->mxcsr |= PE;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_DPPS:
    case ZYDIS_MNEMONIC_DPPD:
    case ZYDIS_MNEMONIC_VDPPS:
    case ZYDIS_MNEMONIC_VDPPD:
        ignored->mxcsr = FLAGS;
        if (guest->vector != 19)
            ignored->everything = true;
        break;
    default:
        break;
    }
}

static bool is_operand_fault(int vector)
{
    return vector == 12 || vector == 13 || vector == 14 || vector == 17;
}

// Which of its operands, or which of the words that it pops, an instruction judges first when more
// than one faults: the SDM leaves the order of faults of one class to the implementation (vol. 3A,
// 6.9), and processors of one name with other microcode have been seen to differ.
static bool operands_fault(const ZydisDecodedInstruction *insn, uint64_t rip,
                           const NativeResult *host, const NativeResult *guest)
{
    if (host->end.rip != rip || guest->end.rip != rip || !is_operand_fault(host->vector) ||
        !is_operand_fault(guest->vector))
        return false;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD: // SSE2's of that name has one operand in memory: nothing to order
        return insn->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    case ZYDIS_MNEMONIC_CMPSQ:
    case ZYDIS_MNEMONIC_CMPXCHG16B: // neither aligned nor canonical
    case ZYDIS_MNEMONIC_MASKMOVQ: // bytes on an absent page, others beyond the limit
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_IRET:
    case ZYDIS_MNEMONIC_IRETD:
    case ZYDIS_MNEMONIC_IRETQ:
        return true;
    case ZYDIS_MNEMONIC_RET:
        return insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    default:
        return false;
    }
}

// An opcode that does not exist as a page's last bytes, or with operands of more than 15 bytes:
// whether a CPU looks at them before it says so is its own affair.
static bool fetched_on(const NativeResult *host, const NativeResult *guest)
{
    if (guest->vector != 6 || host->end.rip != guest->end.rip)
        return false;
    return host->vector == 13 ||
           (host->vector == 14 && host->address == NATIVE_CODE + NATIVE_PAGE);
}

NativeIgnored native_ignored(const NativeForms *forms, const NativeCase *c,
                             const NativeResult *host, const NativeResult *guest)
{
    NativeIgnored ignored = { .pointers = pointers_hidden(host),
                              .everything = fetched_on(host, guest) };
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    for (unsigned at = 0; at < c->length; at += insn.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(native_forms_decoder(forms, c->mode_32),
                                                 c->code + at, c->length - at, &insn, operands)))
            break;
        ignore_vendor(c, &insn, operands, host, guest, &ignored);
        ignore_known(&insn, host, guest, &ignored);
        if (operands_fault(&insn, c->start.rip + at, host, guest))
            ignored.which_fault = true;
    }
    return ignored;
}
