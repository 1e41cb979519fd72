// SPDX-License-Identifier: GPL-2.0-or-later
// The x87 path that is right for everything and quick for nothing: the host FPU is loaded with the
// guest's whole x87 state, control word and tags included, executes the instruction, and its state
// is stored again. Stack faults, unmasked exceptions, condition codes and rare instructions are
// thereby the host's own. An exception that becomes pending on the host does no harm, because
// only non-waiting instructions follow before FNINIT drops it.

#include "engine/vcpu/bt/bt-x87-private.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-simd-private.h"

#include <string.h>

// rdi: 512-byte image, esi: flags in the form of bt-flags.h, rdx: memory operand. Returns flags.
typedef uint32_t ExactForm(uint8_t *image, uint32_t flags, void *memory);

static void load_host(const BtFpu *fpu)
{
    uint16_t control = fpu->control | BT_X87_EXCEPTIONS;
    __asm__ volatile("fninit\n\tfldcw %0" : : "m"(control));
}

void bt_x87_enter(BtCpu *cpu)
{
    BtFpu *fpu = &cpu->fpu;
    if (!(fpu->gate & BT_GATE_X87))
        bt_raise(cpu, BT_NM);
    if (fpu->status & BT_X87_ES)
        bt_raise(cpu, BT_MF);
    if (!(fpu->live & BT_LIVE_X87)) {
        load_host(fpu);
        fpu->live |= BT_LIVE_X87;
        bt_fpu_update(cpu);
    }
}

void *bt_x87_compile(BtCpu *cpu, const BtInsn *insn)
{
    uint8_t escape = (uint8_t)(0xd8 | insn->immediate >> 8);
    uint8_t modrm = (uint8_t)insn->immediate;
    if (modrm < 0xc0)
        modrm = (uint8_t)((modrm & 0x38) | 2); // [rdx]
    const uint8_t code[] = {
        0x89, 0xf0,             // mov eax, esi
        0x04, 0x7f,             // add al, 127: OF = bit 0
        0x9e,                   // sahf
        0x48, 0x0f, 0xae, 0x0f, // fxrstor64 [rdi]
        escape, modrm,          //
        0x48, 0x0f, 0xae, 0x07, // fxsave64 [rdi]
        0xdb, 0xe3,             // fninit
        0x9f,                   // lahf
        0x0f, 0x90, 0xc0,       // seto al
        0xc3,
    };
    const BtSimd *simd = cpu->simd_private;
    return bt_code_memory_add(simd->code, code, sizeof code);
}

static ExactForm *find_form(BtCpu *cpu, const BtInsn *insn)
{
    if (insn->data)
        return (ExactForm *)insn->data;
    BtSimd *simd = cpu->simd_private; // there was no room when it was decoded
    BtCodeMemory *blocks = simd->code;
    simd->code = simd->spare;
    void *form = bt_x87_compile(cpu, insn);
    if (!form) {
        bt_code_memory_reset(simd->spare);
        form = bt_x87_compile(cpu, insn);
    }
    simd->code = blocks;
    return (ExactForm *)form;
}

static void store_image(const BtFpu *fpu, uint8_t *image)
{
    memset(image, 0, 512);
    le16_write(image, fpu->control);
    le16_write(image + 2, fpu->status);
    image[4] = fpu->tags;
    le32_write(image + 24, __builtin_ia32_stmxcsr());
    for (unsigned i = 0; i < 8; i++)
        memcpy(image + 32 + 16 * i, fpu->st[(bt_x87_top(fpu) + i) & 7], 10);
}

static void load_image(BtFpu *fpu, const uint8_t *image)
{
    fpu->status = le16_read(image + 2);
    fpu->tags = image[4];
    for (unsigned i = 0; i < 8; i++)
        memcpy(fpu->st[(bt_x87_top(fpu) + i) & 7], image + 32 + 16 * i, 10);
    bt_x87_update_summary(fpu);
}

static BT_APART void run_exact(BtCpu *cpu, const BtInsn *insn)
{
    BtFpu *fpu = &cpu->fpu;
    uint8_t image[512] __attribute__((aligned(16))), operand[16] = {0};
    BT_BEGIN(cpu, insn);
    bt_x87_enter(cpu);
    bool memory = insn->flags & BT_INSN_HAS_MEMORY;
    uint64_t offset = memory ? bt_effective_address(cpu, insn) : 0;
    if (memory && !insn->extra)
        bt_read_bytes(cpu, insn->segment, offset, operand, insn->memory_size, 1);
    store_image(fpu, image);
    uint32_t flags = find_form(cpu, insn)(image, cpu->flags_status, operand);
    load_host(fpu);
    if (memory && insn->extra) {
        // An unmasked exception other than inexact result keeps memory as it is, but the address
        // is checked all the same.
        uint16_t raised = le16_read(image + 2) & ~fpu->control & BT_X87_EXCEPTIONS & ~BT_X87_PE;
        if (raised)
            bt_probe_write(cpu, insn->segment, offset, insn->memory_size);
        else
            bt_write_bytes(cpu, insn->segment, offset, operand, insn->memory_size, 1);
    }
    load_image(fpu, image);
    cpu->flags_status = (uint16_t)flags;
    if (memory)
        x87_track_memory(cpu, insn, offset);
    else
        x87_track(cpu, insn);
}

void bt_x87_exact(BtCpu *cpu, const BtInsn *insn)
{
    run_exact(cpu, insn);
    BT_NEXT(cpu, insn);
}
