// SPDX-License-Identifier: GPL-2.0-or-later
// See opcodes.h.
#include "tests/unit/engine/vcpu/bt/translator/opcodes.h"

#include <stdbool.h>
#include <string.h>

enum { MAP_ONE_BYTE, MAP_0F, MAP_0F38, MAP_0F3A, MAPS };

static const uint8_t prefixes[] = { 0, 0x66, 0xf3, 0xf2 };

typedef struct {
    const ZydisDecoder *decoder;
    void (*visit)(void *opaque, const OpcodeForm *form);
    void *opaque;
    OpcodeForm form;
} Walk;

static void try_bytes(Walk *walk, unsigned count)
{
    OpcodeForm *form = &walk->form;
    memset(form->bytes + count, 0, sizeof form->bytes - count);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(walk->decoder, form->bytes, 15, &form->insn,
                                            form->operand)))
        walk->visit(walk->opaque, form);
}

// Behind the opcode: each ModRM.reg, memory and register, and for registers each rm, which some
// opcodes take for a further opcode.
static void try_operands(Walk *walk, unsigned count)
{
    for (unsigned reg = 0; reg < 8; reg++) {
        walk->form.bytes[count] = (uint8_t)(reg << 3 | 3);
        try_bytes(walk, count + 1);
        for (unsigned rm = 0; rm < 8; rm++) {
            walk->form.bytes[count] = (uint8_t)(0xc0 | reg << 3 | rm);
            try_bytes(walk, count + 1);
        }
    }
}

static void try_legacy(Walk *walk, unsigned map, unsigned opcode, uint8_t prefix, bool wide)
{
    uint8_t *bytes = walk->form.bytes;
    unsigned count = 0;
    if (prefix)
        bytes[count++] = prefix;
    if (wide)
        bytes[count++] = 0x48;
    if (map != MAP_ONE_BYTE)
        bytes[count++] = 0x0f;
    if (map > MAP_0F)
        bytes[count++] = map == MAP_0F38 ? 0x38 : 0x3a;
    bytes[count++] = (uint8_t)opcode;
    try_operands(walk, count);
}

static void try_vex(Walk *walk, unsigned map, unsigned opcode, unsigned pp, bool wide)
{
    for (unsigned length = 0; length < 2; length++) {
        walk->form.bytes[0] = 0xc4;
        walk->form.bytes[1] = (uint8_t)(0xe0 | map);
        walk->form.bytes[2] = (uint8_t)(wide << 7 | 0x78 | length << 2 | pp);
        walk->form.bytes[3] = (uint8_t)opcode;
        try_operands(walk, 4);
    }
}

void opcodes_for_each(const ZydisDecoder *decoder, unsigned mode,
                      void (*visit)(void *opaque, const OpcodeForm *form), void *opaque)
{
    Walk walk = { .decoder = decoder, .visit = visit, .opaque = opaque, .form.mode = mode };
    bool long_mode = decoder->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
    for (unsigned map = 0; map < MAPS; map++) {
        for (unsigned opcode = 0; opcode < 256; opcode++) {
            for (unsigned pp = 0; pp < 4; pp++) {
                for (unsigned wide = 0; wide < (long_mode ? 2 : 1); wide++) {
                    try_legacy(&walk, map, opcode, prefixes[pp], wide);
                    if (map != MAP_ONE_BYTE)
                        try_vex(&walk, map, opcode, pp, wide);
                }
            }
        }
    }
}
