// SPDX-License-Identifier: GPL-2.0-or-later
// See lockstep-compare.h.
#include "engine/vcpu/bt/translator/lockstep-compare.h"

#include <Zydis/Zydis.h>

#include <inttypes.h>
#include <string.h>

bool lockstep_states_equal(const VcpuState *a, const VcpuState *b)
{
    return !memcmp(a->gpr, b->gpr, sizeof a->gpr) && a->rip == b->rip && a->rflags == b->rflags &&
           !memcmp(a->segment, b->segment, sizeof a->segment) &&
           !memcmp(&a->ldtr, &b->ldtr, sizeof a->ldtr) && !memcmp(&a->tr, &b->tr, sizeof a->tr) &&
           !memcmp(&a->gdtr, &b->gdtr, sizeof a->gdtr) &&
           !memcmp(&a->idtr, &b->idtr, sizeof a->idtr) && a->cr0 == b->cr0 && a->cr2 == b->cr2 &&
           a->cr3 == b->cr3 && a->cr4 == b->cr4 && a->efer == b->efer &&
           a->msr_count == b->msr_count &&
           !memcmp(a->msr, b->msr, a->msr_count * sizeof a->msr[0]) && a->xcr0 == b->xcr0 &&
           !memcmp(a->xsave, b->xsave, sizeof a->xsave) && !memcmp(a->dr, b->dr, sizeof a->dr) &&
           a->dr6 == b->dr6 && a->dr7 == b->dr7 &&
           !memcmp(&a->events, &b->events, sizeof a->events);
}

static void number(GString *text, const char *name, int index, uint64_t leader, uint64_t follower)
{
    if (leader == follower)
        return;
    g_string_append_printf(text, "  %s", name);
    if (index >= 0)
        g_string_append_printf(text, "%d", index);
    g_string_append_printf(text, ": %" PRIx64 ", interpreter %" PRIx64 "\n", leader, follower);
}

static void segment(GString *text, const char *name, const VcpuSegment *a, const VcpuSegment *b)
{
    if (!memcmp(a, b, sizeof *a))
        return;
    g_string_append_printf(text,
                           "  %s: %x base %" PRIx64 " limit %x access %x%s, interpreter %x base "
                           "%" PRIx64 " limit %x access %x%s\n",
                           name, a->selector, a->base, a->limit, a->access,
                           a->unusable ? " unusable" : "", b->selector, b->base, b->limit,
                           b->access, b->unusable ? " unusable" : "");
}

static void extended(GString *text, const uint8_t *a, const uint8_t *b)
{
    for (unsigned i = 0; i < VCPU_XSAVE_SIZE; i += 8) {
        uint64_t leader, follower;
        memcpy(&leader, a + i, 8);
        memcpy(&follower, b + i, 8);
        number(text, "xsave+", (int)i, leader, follower);
    }
}

void lockstep_describe_states(GString *text, const VcpuState *a, const VcpuState *b)
{
    static const char *const gpr[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    static const char *const segments[] = { "es", "cs", "ss", "ds", "fs", "gs" };
    for (unsigned i = 0; i < 16; i++)
        number(text, gpr[i], -1, a->gpr[i], b->gpr[i]);
    number(text, "rip", -1, a->rip, b->rip);
    number(text, "rflags", -1, a->rflags, b->rflags);
    for (unsigned i = 0; i < VCPU_SEGMENTS; i++)
        segment(text, segments[i], &a->segment[i], &b->segment[i]);
    segment(text, "ldtr", &a->ldtr, &b->ldtr);
    segment(text, "tr", &a->tr, &b->tr);
    number(text, "gdtr", -1, a->gdtr.base, b->gdtr.base);
    number(text, "idtr", -1, a->idtr.base, b->idtr.base);
    number(text, "cr0", -1, a->cr0, b->cr0);
    number(text, "cr2", -1, a->cr2, b->cr2);
    number(text, "cr3", -1, a->cr3, b->cr3);
    number(text, "cr4", -1, a->cr4, b->cr4);
    number(text, "efer", -1, a->efer, b->efer);
    number(text, "xcr0", -1, a->xcr0, b->xcr0);
    for (unsigned i = 0; i < MIN(a->msr_count, b->msr_count); i++) {
        if (a->msr[i].value != b->msr[i].value)
            g_string_append_printf(text, "  msr %x: %" PRIx64 ", interpreter %" PRIx64 "\n",
                                   a->msr[i].index, a->msr[i].value, b->msr[i].value);
    }
    for (unsigned i = 0; i < 4; i++)
        number(text, "dr", (int)i, a->dr[i], b->dr[i]);
    number(text, "dr6", -1, a->dr6, b->dr6);
    number(text, "dr7", -1, a->dr7, b->dr7);
    number(text, "halted", -1, a->events.halted, b->events.halted);
    number(text, "interrupt shadow", -1, a->events.interrupt_shadow, b->events.interrupt_shadow);
    extended(text, a->xsave, b->xsave);
}

// Without a walk: it might fault, or change accessed bits.
static const uint8_t *code_at(BtCpu *cpu, uint64_t linear)
{
    unsigned mmu = cpu->cpl == 3 ? BT_MMU_USER : BT_MMU_SUPERVISOR;
    uint64_t page = linear & ~UINT64_C(0xfff);
    const BtTlbEntry *entry = bt_tlb_entry(cpu->tlb[mmu], page);
    return entry->execute == page && entry->addend
               ? (const uint8_t *)(uintptr_t)(linear + entry->addend)
               : NULL;
}

void lockstep_describe_code(GString *text, BtCpu *cpu, uint64_t rip)
{
    enum { LINES = 24 };
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    if (cpu->code_bits == 64)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    else if (cpu->code_bits == 32)
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    else
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    for (unsigned i = 0; i < LINES; i++) {
        uint64_t linear = rip + cpu->segment[VCPU_CS].base;
        const uint8_t *bytes = code_at(cpu, linear);
        char line[128] = "";
        unsigned left = 0x1000 - (linear & 0xfff);
        if (!bytes ||
            !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, left, &insn, operands)))
            break;
        ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible,
                                        line, sizeof line, rip, NULL);
        g_string_append_printf(text, "  %" PRIx64 "  %s\n", rip, line);
        rip += insn.length;
        if (insn.meta.branch_type != ZYDIS_BRANCH_TYPE_NONE)
            break;
    }
}
