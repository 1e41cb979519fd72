// SPDX-License-Identifier: GPL-2.0-or-later
// Every opcode there is in one mode: all of the one-byte, 0F, 0F38, 0F3A and VEX maps, with each
// mandatory prefix, W and ModRM.reg, as register and as memory form.
#pragma once

#include <Zydis/Zydis.h>

#include <stdint.h>

typedef struct {
    unsigned mode;      // as the caller named it
    uint8_t bytes[16];  // displacements and immediates are 0
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
} OpcodeForm;

// Calls visit for each byte pattern that decodes; several may be the same instruction.
void opcodes_for_each(const ZydisDecoder *decoder, unsigned mode,
                      void (*visit)(void *opaque, const OpcodeForm *form), void *opaque);
