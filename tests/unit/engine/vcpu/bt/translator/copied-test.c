// SPDX-License-Identifier: GPL-2.0-or-later
// What units are made of: every opcode of every mode is translated, and the host code that comes of
// it is disassembled. No sensitive instruction may be in it, whatever the guest wrote.
#include "engine/vcpu/bt/translator/sensitive.h"
#include "engine/vcpu/bt/translator/unit.h"

#include "engine/vcpu/bt/bt-cache.h"
#include "tests/unit/engine/vcpu/bt/bt-machine.h"
#include "tests/unit/engine/vcpu/bt/translator/opcodes.h"

#include <string.h>

typedef struct {
    Machine *machine;
    BtCpu *cpu;
    const BtDecoders *decoders;
    GHashTable *seen; // forms; which registers there are makes no difference
    uint64_t units, instructions, copied, faults;
} Check;

static bool is_lookup(const BtTranslator *t, const uint8_t *code)
{
    for (unsigned i = 0; i < 2 * BT_LOOKUP_SIZES; i++) {
        if (code == t->executable + t->lookup[i / BT_LOOKUP_SIZES][i % BT_LOOKUP_SIZES])
            return true;
    }
    return false;
}

static void check_host_code(Check *check, const OpcodeForm *form, const uint8_t *from,
                            const uint8_t *to)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const BtTranslator *t = check->cpu->translator;
    for (const uint8_t *at = from; at < to; at += insn.length) {
        g_assert_true(ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder, at, (size_t)(to - at), &insn, operands)));
        check->instructions++;
        // The number of the site stands behind its call (emit.c), or behind the jump that follows
        // the call of a look-up (emit-memory.c).
        if (insn.mnemonic == ZYDIS_MNEMONIC_CALL && operands[0].imm.is_relative) {
            const uint8_t *called = at + insn.length + operands[0].imm.value.s;
            if (called == t->executable + t->slow)
                at += 4;
            else if (is_lookup(t, called))
                at += 5 + 4;
        }
        // PUSHFQ and POP R14 at once: the status flags, which are the guest's; the other bits that
        // it gives are known and taken off (emit-system.c).
        if (insn.mnemonic == ZYDIS_MNEMONIC_PUSHFQ && memcmp(at + 1, "\x41\x5e", 2) == 0)
            continue;
        const BtSensitive *row = bt_sensitive(&insn, operands);
        check->copied += insn.mnemonic == form->insn.mnemonic;
        if (!row)
            continue;
        check->faults++;
        g_test_message("mode %u: %s of the guest's gives %s on the host", form->mode,
                       ZydisMnemonicGetString(form->insn.mnemonic),
                       ZydisMnemonicGetString(insn.mnemonic));
    }
}

static void translate(void *opaque, const OpcodeForm *form)
{
    Check *check = opaque;
    BtCpu *cpu = check->cpu;
    Machine *m = check->machine;
    const ZydisDecodedInstruction *insn = &form->insn;
    uint64_t key = insn->mnemonic | (uint64_t)insn->opcode << 16 |
                   (uint64_t)insn->opcode_map << 24 | (uint64_t)insn->operand_width << 32 |
                   (uint64_t)insn->raw.modrm.reg << 40 |
                   (uint64_t)(insn->raw.modrm.mod == 3) << 44 | (uint64_t)insn->encoding << 48;
    if (!bt_decode_allowed(check->decoders, &form->insn) ||
        !g_hash_table_add(check->seen, g_memdup2(&key, sizeof key)))
        return;
    // Twice over, so that the second follows the first in one unit; then a jump to itself.
    uint8_t code[64] = { 0 };
    memcpy(code, form->bytes, form->insn.length);
    memcpy(code + form->insn.length, form->bytes, form->insn.length);
    memcpy(code + 2 * form->insn.length, "\xeb\xfe", 2);
    guest_memory_write(m->memory, MACHINE_CODE, code, sizeof code);
    cpu->rip = MACHINE_CODE;
    BtTranslator *t = cpu->translator;
    memset(t->writable + t->used, 0x90, MIN(t->size - t->used, 16384)); // what stays of it: NOPs
    BtUnit *unit = bt_unit_form(cpu, check->decoders, bt_cache_find(cpu, false), MACHINE_CODE,
                                MACHINE_CODE, m->ram->host + MACHINE_CODE);
    if (!unit)
        return;
    check->units++;
    check_host_code(check, form, t->executable + unit->entry, t->executable + t->used);
}

// The run loop derives what units depend on: a HLT makes it.
static void check_mode(void (*set_mode)(Machine *m), bool user, unsigned decoder)
{
    g_autoptr(Machine) m = machine_new(1);
    set_mode(m);
    if (user)
        machine_user(m);
    m->state.cr4 |= 0x40600;
    m->state.xcr0 = 7;
    machine_run_bytes(m, 0xf4);
    BtCpu *cpu = (BtCpu *)m->vcpu[0];
    if (!cpu->translator) {
        g_test_skip("LODGE_TEST_ENGINE is not translator");
        return;
    }
    const BtCache *cache = cpu->block_cache;
    set_mode(m);
    if (user)
        machine_user(m);
    Check check = { .machine = m, .cpu = cpu, .decoders = &cache->decoders,
                    .seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL) };
    opcodes_for_each(&cache->decoders.decoder[decoder], decoder, translate, &check);
    g_hash_table_unref(check.seen);
    g_test_message("%" G_GUINT64_FORMAT " units, %" G_GUINT64_FORMAT " host instructions, %"
                   G_GUINT64_FORMAT " of the guest's mnemonic", check.units, check.instructions,
                   check.copied);
    g_assert_cmpuint(check.units, >, 1000);
    g_assert_cmpuint(check.copied, >, 1000);
    g_assert_cmpuint(check.faults, ==, 0);
}

static void test_long_kernel(void)
{
    check_mode(machine_long, false, BT_DECODER_LONG);
}

static void test_long_user(void)
{
    check_mode(machine_long, true, BT_DECODER_LONG);
}

static void test_protected_kernel(void)
{
    check_mode(machine_protected, false, BT_DECODER_32);
}

static void test_protected_user(void)
{
    check_mode(machine_protected, true, BT_DECODER_32);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/bt/copied/long-kernel", test_long_kernel);
    g_test_add_func("/bt/copied/long-user", test_long_user);
    g_test_add_func("/bt/copied/protected-kernel", test_protected_kernel);
    g_test_add_func("/bt/copied/protected-user", test_protected_user);
    return g_test_run();
}
