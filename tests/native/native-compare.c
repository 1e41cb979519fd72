// SPDX-License-Identifier: GPL-2.0-or-later
// See native-compare.h.
#include "tests/native/native-compare.h"

#include "tests/native/native-undefined.h"

#include "engine/base/bytes.h"

#include <inttypes.h>
#include <string.h>

static void add_number(GString *text, const char *name, uint64_t host, uint64_t guest)
{
    if (host != guest)
        g_string_append_printf(text, " %s %" PRIx64 "!=%" PRIx64, name, host, guest);
}

static void add_bytes(GString *text, const char *name, unsigned number, const uint8_t *host,
                      const uint8_t *guest, unsigned size)
{
    if (!memcmp(host, guest, size))
        return;
    g_string_append_printf(text, " %s%u ", name, number);
    for (unsigned i = size; i--;)
        g_string_append_printf(text, "%02x", host[i]);
    g_string_append(text, "!=");
    for (unsigned i = size; i--;)
        g_string_append_printf(text, "%02x", guest[i]);
}

static void compare_general(const NativeCase *c, const NativeResult *host,
                            const NativeResult *guest, uint64_t ignored_flags, GString *text)
{
    static const char *const names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
    uint64_t mask = c->mode_32 ? UINT32_MAX : UINT64_MAX;
    for (unsigned i = 0; i < (c->mode_32 ? 8 : 16); i++)
        add_number(text, names[i], host->end.gpr[i] & mask, guest->end.gpr[i] & mask);
    add_number(text, "rip", host->end.rip, guest->end.rip);
    add_number(text, "rflags", host->end.rflags & ~ignored_flags,
               guest->end.rflags & ~ignored_flags);
    static const char *const segments[6] = { "es", "cs", "ss", "ds", "fs", "gs" };
    for (unsigned i = 0; i < 6; i++) {
        // The kernel's IRET to the signal handler made all null selectors 0.
        uint16_t ours = guest->end.selector[i];
        add_number(text, segments[i], host->end.selector[i], ours < 4 ? 0 : ours);
    }
    if (!c->mode_32) {
        add_number(text, "fs base", host->end.fs_base, guest->end.fs_base);
        add_number(text, "gs base", host->end.gs_base, guest->end.gs_base);
    }
}

static void compare_fpu(const NativeCase *c, const uint8_t *host, const uint8_t *guest,
                        NativeIgnored ignored, GString *text)
{
    add_number(text, "fcw", le16_read(host), le16_read(guest));
    add_number(text, "fsw", le16_read(host + 2), le16_read(guest + 2));
    add_number(text, "ftw", host[4], guest[4]);
    if (!ignored.pointers) {
        add_number(text, "fop", le16_read(host + 6), le16_read(guest + 6));
        add_number(text, "fip", le64_read(host + 8), le64_read(guest + 8));
        add_number(text, "fdp", le64_read(host + 16), le64_read(guest + 16));
    }
    add_number(text, "mxcsr", le32_read(host + 24) & ~ignored.mxcsr,
               le32_read(guest + 24) & ~ignored.mxcsr);
    for (unsigned i = 0; i < 8; i++)
        add_bytes(text, "st", i, host + 32 + 16 * i, guest + 32 + 16 * i, 10);
    for (unsigned i = 0; i < (c->mode_32 ? 8 : 16); i++) {
        add_bytes(text, "xmm", i, host + 160 + 16 * i, guest + 160 + 16 * i, 16);
        add_bytes(text, "ymmh", i, host + 576 + 16 * i, guest + 576 + 16 * i, 16);
    }
}

static void compare_memory(const uint8_t *host, const uint8_t *guest, uint64_t ignored,
                           GString *text)
{
    unsigned shown = 0;
    for (unsigned i = 0; i < NATIVE_IMAGE && shown < 4; i += 8) {
        if (i >= NATIVE_IMAGE_CONST && i < NATIVE_IMAGE_STACK)
            continue;
        if (!((le64_read(host + i) ^ le64_read(guest + i)) & ~ignored))
            continue;
        unsigned address = i < NATIVE_IMAGE_STACK ? NATIVE_DATA + i
                                                  : NATIVE_STACK + (i - NATIVE_IMAGE_STACK);
        g_string_append_printf(text, " [%x]", address);
        add_bytes(text, "", 0, host + i, guest + i, 8);
        shown++;
    }
}

// Linux tells user code nothing about the kernel's half: every page there looks present.
static uint64_t page_fault_error(const NativeResult *r)
{
    return r->vector == 14 && r->address >> 47 ? r->error | 1 : r->error;
}

static void compare_fault(const NativeResult *host, const NativeResult *guest, GString *text)
{
    if (host->vector != guest->vector) {
        g_string_append_printf(text, " vector %d!=%d", host->vector, guest->vector);
        return;
    }
    add_number(text, "error", page_fault_error(host), page_fault_error(guest));
    add_number(text, "cr2", host->address, guest->address);
}

void native_compare(const NativeForms *forms, const NativeCase *c, const NativeResult *host,
                    const NativeResult *guest, GString *text)
{
    NativeIgnored ignored = native_ignored(forms, c, host, guest);
    if (ignored.everything)
        return;
    if (!ignored.which_fault)
        compare_fault(host, guest, text);
    compare_general(c, host, guest, ignored.flags, text);
    compare_fpu(c, host->end.xsave, guest->end.xsave, ignored, text);
    compare_memory(host->memory, guest->memory, ignored.memory, text);
}

void native_describe(const NativeForms *forms, const NativeCase *c, GString *text)
{
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    for (unsigned i = 0; i < c->length; i++)
        g_string_append_printf(text, "%02x", c->code[i]);
    for (unsigned at = 0; at < c->length; at += insn.length) {
        char disassembly[128] = "";
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(native_forms_decoder(forms, c->mode_32),
                                                 c->code + at, c->length - at, &insn, operands))) {
            g_string_append(text, " (invalid)");
            break;
        }
        ZydisFormatterFormatInstruction(&formatter, &insn, operands, insn.operand_count_visible,
                                        disassembly, sizeof disassembly, c->start.rip + at, NULL);
        g_string_append_printf(text, "%s%s", at ? "; " : " ", disassembly);
    }
}
