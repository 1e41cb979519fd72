// SPDX-License-Identifier: GPL-2.0-or-later
// The table of sensitive instructions against Zydis' own knowledge: every opcode of the maps in
// every mode that a guest of ours has, whose instruction is privileged, touches a system register
// or flag, or belongs to a system category, has a row; and every row is some opcode's.
#include "engine/vcpu/bt/translator/sensitive.h"

#include "engine/vcpu/bt/bt-decode.h"
#include "engine/vcpu/vcpu-backend.h"
#include "tests/unit/engine/vcpu/bt/translator/opcodes.h"

#include <glib.h>

#define SYSTEM_FLAGS                                                                               \
    (ZYDIS_CPUFLAG_TF | ZYDIS_CPUFLAG_IF | ZYDIS_CPUFLAG_IOPL | ZYDIS_CPUFLAG_NT |                 \
     ZYDIS_CPUFLAG_RF | ZYDIS_CPUFLAG_VM | ZYDIS_CPUFLAG_AC | ZYDIS_CPUFLAG_VIF |                  \
     ZYDIS_CPUFLAG_VIP)

typedef struct {
    BtDecoders guest;
    GHashTable *seen; // mnemonics with a row that came up
    unsigned opcodes, missing;
} Check;

static bool touches_system_register(const ZydisDecodedInstruction *insn,
                                    const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < insn->operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(operands[i].reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT:
        case ZYDIS_REGCLASS_TABLE:
        case ZYDIS_REGCLASS_TEST:
        case ZYDIS_REGCLASS_CONTROL:
        case ZYDIS_REGCLASS_DEBUG:
            return true;
        default:
            break;
        }
    }
    return false;
}

static bool is_system_category(const ZydisDecodedInstruction *insn)
{
    switch (insn->meta.category) {
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_RDPID:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_SMAP:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_VTX:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
        return true;
    default:
        return false;
    }
}

static bool looks_sensitive(const ZydisDecodedInstruction *insn,
                            const ZydisDecodedOperand *operands)
{
    const ZydisAccessedFlags *flags = insn->cpu_flags;
    bool system_flags = flags && ((flags->tested | flags->modified | flags->set_0 | flags->set_1 |
                                   flags->undefined) & SYSTEM_FLAGS);
    return (insn->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) || system_flags ||
           insn->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || is_system_category(insn) ||
           touches_system_register(insn, operands);
}

// Of a system category, and yet the same for guest and host: FXSAVE and FXRSTOR name no XCR0; ARPL
// looks at two numbers only (and is not an instruction of 64-bit code, so never copied as it is).
static bool is_harmless(const ZydisDecodedInstruction *insn)
{
    switch (insn->mnemonic) {
    case ZYDIS_MNEMONIC_ARPL:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
        return true;
    default:
        return false;
    }
}

static void look(void *opaque, const OpcodeForm *form)
{
    Check *check = opaque;
    if (!bt_decode_allowed(&check->guest, &form->insn))
        return;
    check->opcodes++;
    const BtSensitive *row = bt_sensitive(&form->insn, form->operand);
    if (row)
        g_hash_table_add(check->seen, GUINT_TO_POINTER(row->mnemonic));
    if (row || is_harmless(&form->insn) || !looks_sensitive(&form->insn, form->operand))
        return;
    check->missing++;
    g_test_message("mode %u, opcode %02x of map %u: %s has no row", form->mode, form->insn.opcode,
                   form->insn.opcode_map, ZydisMnemonicGetString(form->insn.mnemonic));
}

static void check_table(Check *check)
{
    CpuidModel model;
    cpuid_model_build(&model, vcpu_backend_interpreter.features(), 1, 1000000000);
    *check = (Check){ .seen = g_hash_table_new(NULL, NULL) };
    bt_decoders_init(&check->guest, &model);
    for (unsigned mode = 0; mode < BT_DECODERS; mode++)
        opcodes_for_each(&check->guest.decoder[mode], mode, look, check);
}

static void test_every_opcode_has_its_row(void)
{
    Check check;
    check_table(&check);
    g_assert_cmpuint(check.opcodes, >, 10000);
    g_assert_cmpuint(check.missing, ==, 0);
    g_hash_table_unref(check.seen);
}

// What no guest has (bt-decode-table.c) cannot come up; such a row is there for the day it does.
static bool is_offered(ZydisMnemonic mnemonic)
{
    return mnemonic != ZYDIS_MNEMONIC_MONITOR && mnemonic != ZYDIS_MNEMONIC_MWAIT;
}

static void test_every_row_is_an_opcode(void)
{
    Check check;
    check_table(&check);
    unsigned count;
    const BtSensitive *rows = bt_sensitive_rows(&count);
    for (unsigned i = 0; i < count; i++) {
        bool seen = g_hash_table_contains(check.seen, GUINT_TO_POINTER(rows[i].mnemonic));
        if (seen != is_offered(rows[i].mnemonic))
            g_test_message("%s", ZydisMnemonicGetString(rows[i].mnemonic));
        g_assert_true(seen == is_offered(rows[i].mnemonic));
        g_assert_nonnull(rows[i].why);
    }
    g_hash_table_unref(check.seen);
}

static void test_no_row_twice(void)
{
    unsigned count;
    const BtSensitive *rows = bt_sensitive_rows(&count);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < i; j++)
            g_assert_cmpint(rows[i].mnemonic, !=, rows[j].mnemonic);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt/sensitive/every-opcode-has-its-row", test_every_opcode_has_its_row);
    g_test_add_func("/bt/sensitive/every-row-is-an-opcode", test_every_row_is_an_opcode);
    g_test_add_func("/bt/sensitive/no-row-twice", test_no_row_twice);
    return g_test_run();
}
