// SPDX-License-Identifier: GPL-2.0-or-later
// Which file of the integer family has the handlers of a mnemonic.
#include "engine/vcpu/bt/bt-select.h"

typedef bool Selector(const BtDecoded *d, BtInsn *out);

#define M(name) [ZYDIS_MNEMONIC_##name]

// Indexed by ZydisMnemonic; NULL: not of this family.
static Selector *const selectors[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    M(ADD) = bt_select_alu, M(OR) = bt_select_alu, M(ADC) = bt_select_alu,
    M(SBB) = bt_select_alu, M(AND) = bt_select_alu, M(SUB) = bt_select_alu,
    M(XOR) = bt_select_alu, M(CMP) = bt_select_alu, M(TEST) = bt_select_alu,
    M(INC) = bt_select_alu, M(DEC) = bt_select_alu, M(NEG) = bt_select_alu,
    M(NOT) = bt_select_alu,

    M(MOV) = bt_select_move, M(MOVZX) = bt_select_move, M(MOVSX) = bt_select_move,
    M(MOVSXD) = bt_select_move, M(LEA) = bt_select_move, M(XLAT) = bt_select_move,
    M(CBW) = bt_select_move, M(CWDE) = bt_select_move, M(CDQE) = bt_select_move,
    M(CWD) = bt_select_move, M(CDQ) = bt_select_move, M(CQO) = bt_select_move,
    M(CMOVO) = bt_select_move, M(CMOVNO) = bt_select_move, M(CMOVB) = bt_select_move,
    M(CMOVNB) = bt_select_move, M(CMOVZ) = bt_select_move, M(CMOVNZ) = bt_select_move,
    M(CMOVBE) = bt_select_move, M(CMOVNBE) = bt_select_move, M(CMOVS) = bt_select_move,
    M(CMOVNS) = bt_select_move, M(CMOVP) = bt_select_move, M(CMOVNP) = bt_select_move,
    M(CMOVL) = bt_select_move, M(CMOVNL) = bt_select_move, M(CMOVLE) = bt_select_move,
    M(CMOVNLE) = bt_select_move,
    M(SETO) = bt_select_move, M(SETNO) = bt_select_move, M(SETB) = bt_select_move,
    M(SETNB) = bt_select_move, M(SETZ) = bt_select_move, M(SETNZ) = bt_select_move,
    M(SETBE) = bt_select_move, M(SETNBE) = bt_select_move, M(SETS) = bt_select_move,
    M(SETNS) = bt_select_move, M(SETP) = bt_select_move, M(SETNP) = bt_select_move,
    M(SETL) = bt_select_move, M(SETNL) = bt_select_move, M(SETLE) = bt_select_move,
    M(SETNLE) = bt_select_move,

    M(SHL) = bt_select_shift, M(SHR) = bt_select_shift, M(SAR) = bt_select_shift,
    M(ROL) = bt_select_shift, M(ROR) = bt_select_shift, M(RCL) = bt_select_shift,
    M(RCR) = bt_select_shift, M(SHLD) = bt_select_shift, M(SHRD) = bt_select_shift,

    M(MUL) = bt_select_muldiv, M(IMUL) = bt_select_muldiv, M(DIV) = bt_select_muldiv,
    M(IDIV) = bt_select_muldiv,

    M(BT) = bt_select_bit, M(BTS) = bt_select_bit, M(BTR) = bt_select_bit,
    M(BTC) = bt_select_bit, M(BSF) = bt_select_bit, M(BSR) = bt_select_bit,
    M(LZCNT) = bt_select_bit, M(TZCNT) = bt_select_bit, M(POPCNT) = bt_select_bit,
    M(ADCX) = bt_select_bit, M(ADOX) = bt_select_bit, M(ANDN) = bt_select_bit,
    M(BEXTR) = bt_select_bit, M(BLSI) = bt_select_bit, M(BLSMSK) = bt_select_bit,
    M(BLSR) = bt_select_bit, M(BZHI) = bt_select_bit, M(MULX) = bt_select_bit,
    M(PDEP) = bt_select_bit, M(PEXT) = bt_select_bit, M(RORX) = bt_select_bit,
    M(SARX) = bt_select_bit, M(SHLX) = bt_select_bit, M(SHRX) = bt_select_bit,
    M(MOVBE) = bt_select_bit, M(BSWAP) = bt_select_bit, M(CRC32) = bt_select_bit,

    M(MOVSB) = bt_select_string, M(MOVSW) = bt_select_string, M(MOVSD) = bt_select_string,
    M(MOVSQ) = bt_select_string, M(CMPSB) = bt_select_string, M(CMPSW) = bt_select_string,
    M(CMPSD) = bt_select_string, M(CMPSQ) = bt_select_string, M(STOSB) = bt_select_string,
    M(STOSW) = bt_select_string, M(STOSD) = bt_select_string, M(STOSQ) = bt_select_string,
    M(LODSB) = bt_select_string, M(LODSW) = bt_select_string, M(LODSD) = bt_select_string,
    M(LODSQ) = bt_select_string, M(SCASB) = bt_select_string, M(SCASW) = bt_select_string,
    M(SCASD) = bt_select_string, M(SCASQ) = bt_select_string,

    M(JO) = bt_select_branch, M(JNO) = bt_select_branch, M(JB) = bt_select_branch,
    M(JNB) = bt_select_branch, M(JZ) = bt_select_branch, M(JNZ) = bt_select_branch,
    M(JBE) = bt_select_branch, M(JNBE) = bt_select_branch, M(JS) = bt_select_branch,
    M(JNS) = bt_select_branch, M(JP) = bt_select_branch, M(JNP) = bt_select_branch,
    M(JL) = bt_select_branch, M(JNL) = bt_select_branch, M(JLE) = bt_select_branch,
    M(JNLE) = bt_select_branch, M(JCXZ) = bt_select_branch, M(JECXZ) = bt_select_branch,
    M(JRCXZ) = bt_select_branch, M(LOOP) = bt_select_branch, M(LOOPE) = bt_select_branch,
    M(LOOPNE) = bt_select_branch, M(JMP) = bt_select_branch, M(CALL) = bt_select_branch,
    M(RET) = bt_select_branch, M(BOUND) = bt_select_branch,

    M(PUSH) = bt_select_stack, M(POP) = bt_select_stack, M(PUSHA) = bt_select_stack,
    M(PUSHAD) = bt_select_stack, M(POPA) = bt_select_stack, M(POPAD) = bt_select_stack,
    M(PUSHF) = bt_select_stack, M(PUSHFD) = bt_select_stack, M(PUSHFQ) = bt_select_stack,
    M(POPF) = bt_select_stack, M(POPFD) = bt_select_stack, M(POPFQ) = bt_select_stack,
    M(ENTER) = bt_select_stack, M(LEAVE) = bt_select_stack,

    M(XCHG) = bt_select_atomic, M(XADD) = bt_select_atomic, M(CMPXCHG) = bt_select_atomic,
    M(CMPXCHG8B) = bt_select_atomic, M(CMPXCHG16B) = bt_select_atomic,

    M(AAA) = bt_select_decimal, M(AAS) = bt_select_decimal, M(DAA) = bt_select_decimal,
    M(DAS) = bt_select_decimal, M(AAM) = bt_select_decimal, M(AAD) = bt_select_decimal,

    M(CLC) = bt_select_misc, M(STC) = bt_select_misc, M(CMC) = bt_select_misc,
    M(CLD) = bt_select_misc, M(STD) = bt_select_misc, M(LAHF) = bt_select_misc,
    M(SAHF) = bt_select_misc, M(SALC) = bt_select_misc, M(NOP) = bt_select_misc,
    M(PAUSE) = bt_select_misc, M(PREFETCH) = bt_select_misc, M(PREFETCHW) = bt_select_misc,
    M(PREFETCHNTA) = bt_select_misc, M(PREFETCHT0) = bt_select_misc,
    M(PREFETCHT1) = bt_select_misc, M(PREFETCHT2) = bt_select_misc,
    M(PREFETCHWT1) = bt_select_misc, M(LFENCE) = bt_select_misc, M(SFENCE) = bt_select_misc,
    M(MFENCE) = bt_select_misc, M(CLFLUSH) = bt_select_misc, M(CLFLUSHOPT) = bt_select_misc,
    M(RDRAND) = bt_select_misc, M(RDSEED) = bt_select_misc,
};

bool bt_select_integer(const BtDecoded *d, BtInsn *out)
{
    // MOVSD and CMPSD name SSE instructions too.
    if (d->insn.meta.isa_ext >= ZYDIS_ISA_EXT_SSE && d->insn.meta.isa_ext <= ZYDIS_ISA_EXT_SSE2 &&
        (d->insn.mnemonic == ZYDIS_MNEMONIC_MOVSD || d->insn.mnemonic == ZYDIS_MNEMONIC_CMPSD))
        return false;
    Selector *selector = selectors[d->insn.mnemonic];
    return selector && selector(d, out);
}
