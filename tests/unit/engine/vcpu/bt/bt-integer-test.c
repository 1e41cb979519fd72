// SPDX-License-Identifier: GPL-2.0-or-later
// Tests the handlers of bt-interp-*.c against the host CPU: every opcode of the integer maps, with
// registers and with memory (handlers of both kinds), every prefix that changes the operation, from
// random and edge states. Registers, memory, exceptions and all six flags must agree, those that
// the manual calls undefined too. Branches and stack instructions are in bt-run-test.c.
#include "tests/unit/engine/vcpu/bt/bt-native.h"

#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-memory.h"
#include "engine/vcpu/bt/bt-parts.h"
#include "engine/vcpu/bt/bt-select.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t bytes[16];
    unsigned length;
    bool memory, flat, repeat;
} Encoding;

static BtCpu *cpu;
static uint64_t compared;

// ---- what the rest of the interpreter would do ----

void *bt_atomic_pointer(BtCpu *c, unsigned segment, uint64_t offset, unsigned size)
{
    bt_probe_write(c, segment, offset, size);
    return native_below(2) ? (void *)(uintptr_t)offset : NULL;
}

void bt_atomic_lock(BtCpu *c)
{
}

void bt_atomic_unlock(BtCpu *c)
{
}

void bt_push(BtCpu *c, unsigned size, uint64_t value)
{
    g_assert_not_reached();
}

uint64_t bt_pop(BtCpu *c, unsigned size)
{
    g_assert_not_reached();
}

void bt_debug_update(BtCpu *c)
{
}

void bt_update_mode(BtCpu *c)
{
}

void bt_select_memory(const ZydisDecodedOperand *operand, BtInsn *out)
{
}

// What bt_decode fills in and native_decode does not.
static bool select_integer(const BtDecoded *d, BtInsn *out)
{
    out->segment = VCPU_DS;
    if (d->insn.attributes & ZYDIS_ATTRIB_HAS_LOCK)
        out->flags |= BT_INSN_LOCK;
    if (d->insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE))
        out->flags |= BT_INSN_REP;
    if (d->insn.attributes & ZYDIS_ATTRIB_HAS_REPNE)
        out->flags |= BT_INSN_REPNE;
    for (unsigned i = d->insn.operand_count_visible; i-- > 0;) {
        if (d->operand[i].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
            out->immediate = d->operand[i].imm.value.u;
    }
    return bt_select_integer(d, out);
}

// ---- states ----

static uint64_t interesting(void)
{
    static const uint64_t values[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
                                      0x80000000, 0xffffffff, INT64_MAX, UINT64_C(1) << 63};
    switch (native_below(5)) {
    case 0: return values[native_below(G_N_ELEMENTS(values))];
    case 1: return -values[native_below(G_N_ELEMENTS(values))];
    case 2: return native_random() >> native_below(64);
    default: return native_random();
    }
}

static uint64_t place(void)
{
    unsigned offset = native_below(3) ? native_below(NATIVE_PAGE - 64)
                                      : NATIVE_PAGE - 1 - native_below(24);
    return (uintptr_t)native_data() + offset;
}

static void random_state(NativeState *s, const Encoding *e)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < 16; i++)
        s->gpr[i] = interesting();
    s->rflags = 0x202 | (native_random() & BT_FLAGS_STATUS);
    s->gpr[VCPU_RBX] = s->gpr[VCPU_R11] = place();
    s->gpr[VCPU_RSI] = place();
    s->gpr[VCPU_RDI] = place();
    if (e->repeat) {
        s->gpr[VCPU_RCX] = native_below(100);
        if (native_below(2))
            s->rflags |= BT_FLAG_DF;
    }
    s->area[24] = 0x80;
    s->area[25] = 0x1f;
    s->area[1] = 3;
    s->area[0] = 0x7f;
}

// ---- encodings ----

static bool uses_rsp(const BtDecoded *d)
{
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &d->operand[i];
        ZydisRegister reg = o->type == ZYDIS_OPERAND_TYPE_REGISTER ? o->reg.value
                            : o->type == ZYDIS_OPERAND_TYPE_MEMORY ? o->mem.base
                                                                   : ZYDIS_REGISTER_NONE;
        if (reg && ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) ==
                       ZYDIS_REGISTER_RSP)
            return true;
    }
    return false;
}

// Not run here: it would leave the code, or give another answer each time.
static bool excluded(const BtDecoded *d)
{
    switch (d->insn.meta.category) {
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_RET:
        return true;
    default:
        break;
    }
    // Prefetches of a register: #UD on some processors, NOP on others.
    if (d->insn.meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP && d->insn.raw.modrm.mod == 3)
        return true;
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED:
        return true;
    default:
        return uses_rsp(d);
    }
}

static bool memory_is_ours(const BtDecoded *d)
{
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &d->operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue;
        switch (o->mem.base) {
        case ZYDIS_REGISTER_RBX:
        case ZYDIS_REGISTER_R11:
        case ZYDIS_REGISTER_RSI:
        case ZYDIS_REGISTER_RDI:
            break;
        default:
            return false;
        }
        if (o->mem.index || o->mem.segment == ZYDIS_REGISTER_FS ||
            o->mem.segment == ZYDIS_REGISTER_GS)
            return false;
    }
    return true;
}

static void add_operands(Encoding *e)
{
    unsigned reg = native_below(8);
    e->bytes[e->length++] =
        (uint8_t)(e->memory ? reg << 3 | 3 : 0xc0 | reg << 3 | native_below(8));
    for (unsigned i = e->length; i < 16; i++)
        e->bytes[i] = (uint8_t)(native_below(4) ? native_random() : 0);
}

static Encoding legacy(unsigned map, unsigned opcode)
{
    Encoding e = {.memory = native_below(2), .flat = native_below(2)};
    unsigned kind = native_below(8);
    if (kind == 0)
        e.bytes[e.length++] = 0x66;
    if (map == 0 && (opcode >= 0xa4 && opcode <= 0xaf) && native_below(2)) {
        e.repeat = true;
        e.bytes[e.length++] = native_below(2) ? 0xf3 : 0xf2;
    } else if (map == 1 && native_below(3) == 0) {
        e.bytes[e.length++] = 0xf3;
    } else if (map == 2 && native_below(2)) {
        e.bytes[e.length++] = native_below(2) ? 0xf2 : 0xf3;
    } else if (e.memory && native_below(4) == 0) {
        e.bytes[e.length++] = 0xf0;
    }
    if (kind >= 3)
        e.bytes[e.length++] = (uint8_t)(0x40 | (kind >= 5 ? 8 : 0) | (native_random() & 7));
    if (map >= 1)
        e.bytes[e.length++] = 0x0f;
    if (map == 2)
        e.bytes[e.length++] = 0x38;
    e.bytes[e.length++] = (uint8_t)opcode;
    add_operands(&e);
    return e;
}

static Encoding vex(unsigned map, unsigned opcode)
{
    Encoding e = {.memory = native_below(2), .flat = native_below(2)};
    unsigned vvvv = native_below(16);
    if (map == 3)
        vvvv = 15;
    e.bytes[0] = 0xc4;
    e.bytes[1] = (uint8_t)((native_random() & 0xe0) | map);
    e.bytes[2] = (uint8_t)(native_below(2) << 7 | vvvv << 3 | native_below(4));
    e.bytes[3] = (uint8_t)opcode;
    e.length = 4;
    add_operands(&e);
    return e;
}

// ---- comparing ----

static void describe(const Encoding *e, unsigned length)
{
    g_autoptr(GString) text = g_string_new("instruction:");
    for (unsigned i = 0; i < length; i++)
        g_string_append_printf(text, " %02x", e->bytes[i]);
    g_string_append(text, e->flat ? " (flat)" : " (any)");
    g_test_message("%s", text->str);
    g_printerr("# %s\n", text->str);
}

static void map_data(bool flat)
{
    uint64_t page = (uintptr_t)native_data();
    memset(cpu->data_tlb->entry, 0xff, sizeof cpu->data_tlb->entry);
    BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, page);
    e->addend = 0;
    if (flat)
        e->read = e->write = page;
    cpu->mode_key = flat ? 0xfu << BT_KEY_FLAT_SHIFT : 0;
}

// A bit string's index reaches memory around the operand: keep it near.
static void tame_bit_index(const BtDecoded *d, NativeState *s)
{
    if (d->insn.raw.modrm.mod == 3 || d->operand[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return;
    switch (d->insn.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        s->gpr[ZydisRegisterGetId(d->operand[1].reg.value)] = (uint64_t)native_below(2000) - 1000;
        s->gpr[VCPU_RBX] = s->gpr[VCPU_R11] = (uintptr_t)native_data() + 200 + native_below(3000);
        break;
    default:
        break;
    }
}

static void compare_one(const Encoding *e)
{
    static uint8_t before[NATIVE_PAGE], native_after[NATIVE_PAGE];
    BtDecoded d;
    BtInsn insn;
    if (!native_decode(cpu, e->bytes, 15, &d, &insn) || excluded(&d) || !memory_is_ours(&d))
        return;
    BtInsn probe = insn;
    if (!select_integer(&d, &probe))
        return;

    NativeState start, native, ours;
    random_state(&start, e);
    tame_bit_index(&d, &start);
    for (unsigned i = 0; i < NATIVE_PAGE; i += 8) {
        uint64_t value = interesting();
        memcpy(native_data() + i, &value, 8);
    }
    memcpy(before, native_data(), NATIVE_PAGE);
    native = ours = start;
    native_run(e->bytes, d.insn.length, &native);
    memcpy(native_after, native_data(), NATIVE_PAGE);
    memcpy(native_data(), before, NATIVE_PAGE);

    map_data(e->flat);
    cpu->rflags_rest = start.rflags & ~(uint64_t)BT_FLAGS_STATUS;
    cpu->gpr[BT_REG_ZERO] = 0;
    NativeResult result =
        native_interpret(cpu, select_integer, e->bytes, d.insn.length, &ours);
    g_assert_cmpint(result, ==, NATIVE_RAN);

    bool same = native.vector == ours.vector &&
                memcmp(native_data(), native_after, NATIVE_PAGE) == 0 &&
                ((native.rflags ^ ours.rflags) & BT_FLAGS_STATUS) == 0;
    for (unsigned i = 0; i < 16; i++)
        same &= i == VCPU_RSP || native.gpr[i] == ours.gpr[i];
    if (native.vector == -1)
        same &= ((native.rflags ^ cpu->rflags_rest) & BT_FLAG_DF) == 0;
    compared++;
    if (same)
        return;
    describe(e, d.insn.length);
    for (unsigned i = 0; i < 16; i++) {
        if (i != VCPU_RSP && native.gpr[i] != ours.gpr[i])
            g_printerr("# register %u: %016" PRIx64 " native %016" PRIx64 " ours %016" PRIx64 "\n",
                       i, start.gpr[i], native.gpr[i], ours.gpr[i]);
    }
    g_printerr("# flags %03x native %03x ours %03x, vector native %d ours %d, memory %s\n",
               (unsigned)(start.rflags & 0xcd5), (unsigned)(native.rflags & 0xcd5),
               (unsigned)(ours.rflags & 0xcd5), native.vector, ours.vector,
               memcmp(native_data(), native_after, NATIVE_PAGE) ? "differs" : "same");
    g_test_fail();
}

static unsigned rounds(void)
{
    const char *text = g_getenv("BT_ROUNDS");
    return text ? (unsigned)atoi(text) : 60;
}

static void test_one_byte(void)
{
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        bool prefix = (opcode & 0xe7) == 0x26 || (opcode & 0xf0) == 0x40 ||
                      (opcode & 0xfc) == 0x64 || opcode == 0x0f || opcode == 0xf0 ||
                      opcode == 0xf2 || opcode == 0xf3;
        for (unsigned i = 0; !prefix && i < rounds() && !g_test_failed(); i++) {
            Encoding e = legacy(0, opcode);
            compare_one(&e);
        }
    }
    g_assert_cmpuint(compared, >, 1000);
}

static void test_two_byte(void)
{
    for (unsigned opcode = 0; opcode < 256; opcode++) {
        for (unsigned i = 0; i < rounds() && !g_test_failed(); i++) {
            Encoding e = legacy(1, opcode);
            compare_one(&e);
        }
    }
}

static void test_three_byte(void)
{
    static const uint8_t opcodes[] = {0xf0, 0xf1, 0xf6};
    for (unsigned n = 0; n < G_N_ELEMENTS(opcodes); n++) {
        for (unsigned i = 0; i < rounds() * 10 && !g_test_failed(); i++) {
            Encoding e = legacy(2, opcodes[n]);
            compare_one(&e);
        }
    }
}

static void test_vex(void)
{
    static const uint8_t opcodes[] = {0xf2, 0xf3, 0xf5, 0xf6, 0xf7};
    for (unsigned n = 0; n < G_N_ELEMENTS(opcodes); n++) {
        for (unsigned i = 0; i < rounds() * 10 && !g_test_failed(); i++) {
            Encoding e = vex(2, opcodes[n]);
            compare_one(&e);
        }
    }
    for (unsigned i = 0; i < rounds() * 10 && !g_test_failed(); i++) {
        Encoding e = vex(3, 0xf0);
        compare_one(&e);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    native_init();
    cpu = native_cpu_new();
    g_test_add_func("/bt-integer/one-byte-opcodes", test_one_byte);
    g_test_add_func("/bt-integer/two-byte-opcodes", test_two_byte);
    g_test_add_func("/bt-integer/three-byte-opcodes", test_three_byte);
    g_test_add_func("/bt-integer/vex-opcodes", test_vex);
    int status = g_test_run();
    native_cpu_free(cpu);
    return status;
}
