// SPDX-License-Identifier: GPL-2.0-or-later
// Lending the host's x87 registers to the guest. While they are lent (fpu.live has BT_LIVE_X87)
// they hold the guest's registers, tags, TOP, flags and rounding, with every exception masked, and
// the copies in BtFpu are old; control word, opcode and pointers are always BtFpu's. That is only
// done while the guest masks every exception itself, so nothing can become pending.
//
// Nothing else on this thread uses x87 meanwhile: the compiler does not for x86-64 without long
// double, MMX forms ask for the registers back first, the kernel gives signal handlers a state of
// their own, and bt_fpu_leave stands before all code outside of this folder.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/base/bytes.h"

#include <string.h>

void bt_x87_store_image(const BtFpu *fpu, uint8_t image[512])
{
    memset(image, 0, 512);
    le16_write(image, fpu->control);
    le16_write(image + 2, fpu->status);
    image[4] = fpu->tags;
    le32_write(image + 24, __builtin_ia32_stmxcsr()); // FXRSTOR loads it, too
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + 32 + 16 * i, fpu->st[(bt_x87_top(fpu) + i) & 7], 10);
}

void bt_x87_load_image(BtFpu *fpu, const uint8_t image[512])
{
    fpu->status = le16_read(image + 2);
    fpu->tags = image[4];
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpu->st[(bt_x87_top(fpu) + i) & 7], image + 32 + 16 * i, 10);
}

static void lend(BtFpu *fpu)
{
    uint8_t image[512] __attribute__((aligned(16)));
    bt_x87_store_image(fpu, image);
    image[0] |= BT_X87_EXCEPTIONS;
    // What FXRSTOR does to the vector registers, the compiler must know.
    __asm__ volatile("fxrstor64 %0"
                     :
                     : "m"(image)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

void bt_x87_enter(BtCpu *cpu)
{
    BtFpu *fpu = &cpu->fpu;
    if (!(fpu->gate & BT_GATE_X87))
        bt_raise(cpu, BT_NM);
    if (fpu->live & BT_LIVE_X87)
        return;
    if (fpu->status & BT_X87_ES)
        bt_raise(cpu, BT_MF);
    if (bt_x87_all_masked(fpu)) {
        lend(fpu);
        fpu->live |= BT_LIVE_X87;
        bt_fpu_update(cpu);
    }
}

void bt_x87_sync(BtFpu *fpu)
{
    if (!(fpu->live & BT_LIVE_X87))
        return;
    uint8_t image[512] __attribute__((aligned(16)));
    __asm__ volatile("fxsave64 %0" : "=m"(image));
    bt_x87_load_image(fpu, image);
}

void bt_x87_leave(BtCpu *cpu)
{
    if (!(cpu->fpu.live & BT_LIVE_X87))
        return;
    bt_x87_sync(&cpu->fpu);
    bt_x87_changed(cpu);
}

void bt_x87_changed(BtCpu *cpu)
{
    BtFpu *fpu = &cpu->fpu;
    if (fpu->live & BT_LIVE_X87) {
        __asm__ volatile("fninit");
        fpu->live &= (uint8_t)~BT_LIVE_X87;
    }
    bool pending = fpu->status & ~fpu->control & BT_X87_EXCEPTIONS;
    fpu->status = (uint16_t)((fpu->status & ~(BT_X87_ES | BT_X87_BUSY)) |
                             (pending ? BT_X87_ES | BT_X87_BUSY : 0));
    bt_fpu_update(cpu);
}
