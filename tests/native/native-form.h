// SPDX-License-Identifier: GPL-2.0-or-later
// What there is to compare: every (opcode, operand form) of 64-bit and compatibility mode, found by
// walking the opcode maps.
#pragma once

#include "engine/vcpu/bt/bt-decode.h"

#include <glib.h>

typedef enum { NATIVE_MAP_BASE, NATIVE_MAP_0F, NATIVE_MAP_0F38, NATIVE_MAP_0F3A } NativeMap;

typedef enum { NATIVE_KIND_INTEGER, NATIVE_KIND_X87, NATIVE_KIND_VECTOR } NativeKind;

typedef struct {
    uint8_t map, opcode;
    uint8_t prefix; // 0, 66h, F2h or F3h
    uint8_t modrm;  // of the first instruction of this form
    bool has_modrm, fixed_rm; // fixed_rm: mod and rm choose the instruction too
    bool fixed_reg;
    bool vex, w, l;
    bool mode_32;
    bool invalid; // no such instruction: #UD
    uint8_t kind; // NativeKind
    uint16_t mnemonic;
} NativeForm;

typedef struct {
    ZydisDecoder decoder_64, decoder_32;
    BtDecoders guest; // what the interpreter's CPU has
    GArray *forms;    // NativeForm: instructions
    GArray *invalid;  // NativeForm: bytes that are none
    GArray *absent;   // NativeForm: instructions that this CPU model does not offer
    unsigned left_out;
} NativeForms;

// only: a mnemonic to be left alone with, or NULL.
NativeForms *native_forms_new(const char *only);
void native_forms_free(NativeForms *forms);

const ZydisDecoder *native_forms_decoder(const NativeForms *forms, bool mode_32);

// Whether the guest has the instruction, and its outcome depends on nothing but the case's state:
// the kernel does not serve it, and it is no question about this machine.
bool native_form_comparable(const NativeForms *forms, const ZydisDecodedInstruction *insn,
                            const ZydisDecodedOperand *operands);
