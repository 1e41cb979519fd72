// SPDX-License-Identifier: GPL-2.0-or-later
// What can be done faster when a block is looked at as a whole. Nothing that could be seen changes:
// a pair keeps both instructions' slots, so a fault in the first is reported as ever, and flags are
// left out only where the next instruction that writes them all is reached without one between that
// could fault, exit or end the block.
#include "engine/vcpu/bt/bt-fuse.h"

static bool is_jcc(const BtInsn *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_JO:
    case ZYDIS_MNEMONIC_JNO:
    case ZYDIS_MNEMONIC_JB:
    case ZYDIS_MNEMONIC_JNB:
    case ZYDIS_MNEMONIC_JZ:
    case ZYDIS_MNEMONIC_JNZ:
    case ZYDIS_MNEMONIC_JBE:
    case ZYDIS_MNEMONIC_JNBE:
    case ZYDIS_MNEMONIC_JS:
    case ZYDIS_MNEMONIC_JNS:
    case ZYDIS_MNEMONIC_JP:
    case ZYDIS_MNEMONIC_JNP:
    case ZYDIS_MNEMONIC_JL:
    case ZYDIS_MNEMONIC_JNL:
    case ZYDIS_MNEMONIC_JLE:
    case ZYDIS_MNEMONIC_JNLE:
        return true;
    default:
        return false;
    }
}

static void fuse_branch(BtInsn *insn, unsigned count)
{
    BtInsn *first = &insn[count - 2];
    const BtInsn *branch = &insn[count - 1];
    if (!is_jcc(branch) || branch->extra == 0)
        return;
    BtHandler *fused = bt_fused_branch(first, branch->extra - 1u);
    if (fused) {
        first->data = (void *)first->handler;
        first->handler = fused;
    }
}

// ---- Flags that nobody sees ----

typedef enum { WRITES_ALL, KEEPS, SEES } FlagUse;

static FlagUse flag_use(const BtInsn *insn)
{
    if (insn->flags & BT_INSN_QUIET)
        return KEEPS;
    if (insn->flags & (BT_INSN_HAS_MEMORY | BT_INSN_ENDS_BLOCK))
        return SEES;
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_CMP:
    case ZYDIS_MNEMONIC_TEST:
    case ZYDIS_MNEMONIC_NEG:
        return WRITES_ALL;
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
        return insn->reg[2] ? WRITES_ALL : SEES; // bt-interp-shift.c: by a constant, not 0
    default:
        return SEES;
    }
}

static void drop_flags(BtInsn *insn, unsigned count)
{
    bool seen = true;
    for (unsigned i = count; i-- > 0;) {
        if (!seen) {
            BtHandler *quiet = bt_quiet_handler(&insn[i]);
            if (quiet)
                insn[i].handler = quiet;
        }
        FlagUse use = flag_use(&insn[i]);
        if (use != KEEPS)
            seen = use == SEES;
    }
}

void bt_fuse(BtInsn *insn, unsigned count)
{
    drop_flags(insn, count);
    if (count >= 2)
        fuse_branch(insn, count);
}
