// SPDX-License-Identifier: GPL-2.0-or-later
// From bytes to BtInsn.
#pragma once

#include "engine/vcpu/bt/bt-decode-cache.h"
#include "engine/vcpu/bt/bt-insn.h"
#include "engine/vcpu/cpuid.h"

// One decoder for each machine mode, set up for what the guest's CPUID offers. bt_decoders_init
// makes no cache.
enum { BT_DECODER_REAL, BT_DECODER_16, BT_DECODER_32, BT_DECODER_COMPAT_16, BT_DECODER_COMPAT_32,
       BT_DECODER_LONG, BT_DECODERS };

typedef struct {
    ZydisDecoder decoder[BT_DECODERS];
    CpuFeatureSet features;
    BtDecodeCache *cache; // the owner's; NULL: Zydis decodes all
} BtDecoders;

void bt_decoders_init(BtDecoders *decoders, const CpuidModel *model);

// Decodes one instruction of `available` bytes (up to 15) for the CPU's present mode. out->offset
// is set by the caller; the rest is filled. Bytes that are no instruction give one that raises #UD
// or #GP. False where more bytes are needed to tell.
bool bt_decode(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes, unsigned available,
               BtInsn *out);

// As Zydis decodes it, for the CPU's present mode, its mistakes mended. False: no instruction, or
// bytes are missing. *ret_known: the guest has it.
bool bt_decode_operands(BtCpu *cpu, const BtDecoders *decoders, const uint8_t *bytes,
                        unsigned available, BtDecoded *ret_decoded, bool *ret_known);

// Whether the instruction may write to memory: also the stack, by a string, or an image of state.
bool bt_decode_stores(const BtDecoded *d);

// bt-decode-table.c: whether the guest's CPUID has what the instruction belongs to, and whether it
// exists in the CPU's mode as this guest has it.
bool bt_decode_allowed(const BtDecoders *decoders, const ZydisDecodedInstruction *insn);

// bt-decode-table.c: instructions of the system family after which the block may go on.
bool bt_decode_harmless(const BtDecoded *d);
