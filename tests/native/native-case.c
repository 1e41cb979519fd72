// SPDX-License-Identifier: GPL-2.0-or-later
// See native-case.h.
#include "tests/native/native-case.h"

#include <string.h>

static uint8_t *image_at(uint8_t *memory, uint32_t address)
{
    if (address >= NATIVE_DATA && address < NATIVE_CONST + NATIVE_PAGE)
        return memory + (address - NATIVE_DATA);
    if (address >= NATIVE_STACK && address < NATIVE_STACK + NATIVE_PAGE)
        return memory + NATIVE_IMAGE_STACK + (address - NATIVE_STACK);
    return NULL;
}

void native_case_memory(const NativeCase *c, const uint8_t *common, uint8_t *memory)
{
    memcpy(memory, common, NATIVE_IMAGE);
    for (unsigned i = 0; i < c->patches; i++) {
        for (unsigned j = 0; j < NATIVE_PATCH; j++) {
            uint8_t *to = image_at(memory, c->patch[i].address + j);
            if (to)
                *to = c->patch[i].bytes[j];
        }
    }
}

void native_registers_normalize(NativeRegisters *registers)
{
    uint8_t *x = registers->xsave;
    uint8_t present = x[512];
    if (!(present & 1)) {
        static const uint8_t initial[24] = { 0x7f, 0x03 };
        memcpy(x, initial, sizeof initial);
        memset(x + 32, 0, 128);
    }
    if (!(present & 2))
        memset(x + 160, 0, 256);
    if (!(present & 4))
        memset(x + 576, 0, 256);
    memset(x + 28, 0, 4); // MXCSR_MASK
    for (unsigned i = 0; i < 8; i++)
        memset(x + 32 + 16 * i + 10, 0, 6);
    memset(x + 416, 0, 160); // unused, and the header
    x[512] = 7;
}

uint64_t native_random(NativeRandom *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned native_below(NativeRandom *r, unsigned limit)
{
    return (unsigned)(native_random(r) >> 33) % limit;
}

NativeRandom native_random_for(uint64_t seed, uint64_t index)
{
    uint64_t z = seed * UINT64_C(0xd1342543de82ef95) + (index + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (NativeRandom){ (z ^ z >> 31) | 1 };
}
