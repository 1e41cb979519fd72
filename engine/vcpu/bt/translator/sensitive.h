// SPDX-License-Identifier: GPL-2.0-or-later
// Instructions that mean something else to the host than to the guest: privileged ones, and those
// that user code may run but that tell of, or change, the host's system state (SDM vol. 3A, 5.9
// and 25.1.3 name them). A unit never holds one of them as the guest wrote it.
//
// Instructions that no guest of ours has (VMX, SVM, SGX, CET, TSX ..) raise #UD in every mode
// before anybody asks here (bt-decode-table.c).
#pragma once

#include <Zydis/Zydis.h>

#include <stdbool.h>

typedef enum {
    BT_SENSITIVE_CALL_OUT, // the interpreter's handler runs
    BT_SENSITIVE_INLINE,   // host code of another shape may stand for it, on the guest's state
} BtSensitiveTreatment;

typedef struct {
    ZydisMnemonic mnemonic;
    bool traps; // in user mode the hardware faults, whatever the state; else it would just run
    BtSensitiveTreatment treatment;
    const char *why;
} BtSensitive;

// The instruction's row, or NULL: it may be copied. operands: all, hidden ones included.
const BtSensitive *bt_sensitive(const ZydisDecodedInstruction *insn,
                                const ZydisDecodedOperand *operands);

// Every row, in no order; *ret_count how many.
const BtSensitive *bt_sensitive_rows(unsigned *ret_count);
