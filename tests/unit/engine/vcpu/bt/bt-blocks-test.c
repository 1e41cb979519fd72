// SPDX-License-Identifier: GPL-2.0-or-later
// Random straight-line integer code, a conditional branch at its end, run natively and by the whole
// interpreter from the same state: what bt-fuse.c makes of blocks must leave the same registers,
// flags and memory. The guest's page tables put its code and data at the host's own addresses, so
// that pointers are equal. One in four runs is stopped by a fault in the middle: then the guest's
// registers and flags must be those of the native code cut off at that place.
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, DATA = 0x400000, CODE = 0x401000 };

// Seen by the assembly below.
struct BlockContext {
    uint64_t gpr[16];
    uint64_t rflags, code;
};
struct BlockContext block_context __attribute__((visibility("hidden")));
void block_enter(void) __attribute__((visibility("hidden")));
extern const char block_back[] __attribute__((visibility("hidden")));

#define EACH(op)                                                                                   \
    op("rax", 0) op("rcx", 1) op("rdx", 2) op("rbx", 3) op("rbp", 5) op("rsi", 6) op("rdi", 7)     \
        op("r8", 8) op("r9", 9) op("r10", 10) op("r11", 11) op("r12", 12) op("r13", 13)            \
            op("r14", 14) op("r15", 15)
#define LOAD(reg, n) "mov block_context+8*" #n "(%rip), %" reg "\n"
#define SAVE(reg, n) "mov %" reg ", block_context+8*" #n "(%rip)\n"
__asm__(".pushsection .text\nblock_enter:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "push block_context+128(%rip); popfq\n" EACH(LOAD) "jmp *block_context+136(%rip)\n"
        ".globl block_back\n.hidden block_back\nblock_back:\n" EACH(SAVE)
        "pushfq; pop block_context+128(%rip)\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n.popsection\n");

static uint8_t *data_page, *code_page;
static GRand *random_source;
static BtHarness *h;

static uint32_t below(uint32_t limit)
{
    return g_rand_int(random_source) % limit;
}

static uint64_t random64(void)
{
    uint64_t value = (uint64_t)g_rand_int(random_source) << 32 | g_rand_int(random_source);
    switch (below(4)) {
    case 0: return value >> below(64);
    case 1: return (uint64_t)((int64_t)value >> 63) ^ below(3);
    default: return value;
    }
}

// ---- code ----

typedef struct {
    uint8_t bytes[512];
    unsigned length;
    unsigned start[32]; // of each instruction
    unsigned count;
} Code;

// Writes RSP, or RBX or R11, which hold the data's address, or is one that may fault.
static bool unwanted(const uint8_t *bytes, unsigned *ret_length)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, 15, &insn, operand)))
        return true;
    for (unsigned i = 0; i < insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        ZydisRegister whole =
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o->reg.value);
        if (whole == ZYDIS_REGISTER_RSP ||
            ((o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
             (whole == ZYDIS_REGISTER_RBX || whole == ZYDIS_REGISTER_R11)))
            return true;
    }
    *ret_length = insn.length;
    return false;
}

// An opcode (0F as high byte) with a ModRM byte, and the size of its immediate.
typedef struct {
    uint16_t opcode;
    uint8_t immediate; // 0xff: as wide as the operand, up to 4
    uint8_t reg_low, reg_high; // the ModRM's reg field
} Template;

static const Template templates[] = {
    {0x01, 0, 0, 7}, {0x03, 0, 0, 7}, {0x09, 0, 0, 7}, {0x0b, 0, 0, 7}, {0x11, 0, 0, 7},
    {0x13, 0, 0, 7}, {0x19, 0, 0, 7}, {0x1b, 0, 0, 7}, {0x21, 0, 0, 7}, {0x23, 0, 0, 7},
    {0x29, 0, 0, 7}, {0x2b, 0, 0, 7}, {0x31, 0, 0, 7}, {0x33, 0, 0, 7}, {0x39, 0, 0, 7},
    {0x3b, 0, 0, 7}, {0x85, 0, 0, 7}, {0x89, 0, 0, 7}, {0x8b, 0, 0, 7}, {0x87, 0, 0, 7},
    {0x38, 0, 0, 7}, {0x3a, 0, 0, 7}, {0x84, 0, 0, 7}, {0x28, 0, 0, 7}, {0x02, 0, 0, 7},
    {0x88, 0, 0, 7}, {0x8a, 0, 0, 7}, {0x63, 0, 0, 7}, {0x8d, 0, 0, 7},
    {0x80, 1, 0, 7}, {0x81, 0xff, 0, 7}, {0x83, 1, 0, 7}, {0x83, 1, 0, 7}, {0xc1, 1, 0, 7},
    {0xc1, 1, 4, 7}, {0xd1, 0, 0, 7}, {0xd3, 0, 0, 7}, {0xf6, 1, 0, 0}, {0xf7, 0xff, 0, 0},
    {0xf7, 0, 2, 3}, {0xff, 0, 0, 1}, {0xff, 0, 0, 1}, {0xc7, 0xff, 0, 0}, {0x69, 0xff, 0, 7},
    {0x0faf, 0, 0, 7}, {0x0fb6, 0, 0, 7}, {0x0fb7, 0, 0, 7}, {0x0fbe, 0, 0, 7},
    {0x0f44, 0, 0, 7}, {0x0f4c, 0, 0, 7}, {0x0f42, 0, 0, 7}, {0x0f94, 0, 0, 7},
    {0x0f9c, 0, 0, 7}, {0x0f92, 0, 0, 7}, {0x0fa3, 0, 0, 7}, {0x0fbc, 0, 0, 7},
};

static void add_instruction(Code *code, bool registers)
{
    for (;;) {
        const Template *t = &templates[below(G_N_ELEMENTS(templates))];
        bool bit_test = t->opcode == 0x0fa3; // its index would leave the page
        uint8_t bytes[16];
        unsigned n = 0;
        unsigned width = below(8);
        if (width == 0)
            bytes[n++] = 0x66;
        if (width >= 3)
            bytes[n++] = (uint8_t)(0x40 | (width >= 5 ? 8 : 0) | below(8));
        if (t->opcode > 0xff)
            bytes[n++] = 0x0f;
        bytes[n++] = (uint8_t)t->opcode;
        unsigned reg = t->reg_low + below(t->reg_high - t->reg_low + 1u);
        bool memory = t->opcode == 0x8d || (!registers && !bit_test && below(3) == 0);
        bytes[n++] = (uint8_t)(memory ? 0x43 | reg << 3 : 0xc0 | reg << 3 | below(8));
        for (unsigned i = n; i < 16; i++)
            bytes[i] = (uint8_t)g_rand_int(random_source);
        unsigned length;
        if (unwanted(bytes, &length))
            continue;
        memcpy(code->bytes + code->length, bytes, length);
        code->start[code->count++] = code->length;
        code->length += length;
        return;
    }
}

static void make_code(Code *code)
{
    code->length = code->count = 0;
    bool registers = below(2);
    unsigned count = 1 + below(10);
    for (unsigned i = 0; i < count; i++)
        add_instruction(code, registers);
    // Jcc over an INC R8 (49 FF C0)
    code->start[code->count++] = code->length;
    code->bytes[code->length++] = (uint8_t)(0x70 | below(16));
    code->bytes[code->length++] = 3;
    code->start[code->count++] = code->length;
    memcpy(code->bytes + code->length, "\x49\xff\xc0", 3);
    code->length += 3;
}

// ---- the two sides ----

static void run_native(const uint8_t *code, unsigned length, uint64_t gpr[16], uint64_t *rflags)
{
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
    uint64_t back = (uintptr_t)block_back;
    memcpy(code_page, code, length);
    memcpy(code_page + length, jump, sizeof jump);
    memcpy(code_page + length + sizeof jump, &back, sizeof back);
    memcpy(block_context.gpr, gpr, sizeof block_context.gpr);
    block_context.rflags = *rflags;
    block_context.code = (uintptr_t)code_page;
    block_enter();
    memcpy(gpr, block_context.gpr, sizeof block_context.gpr);
    *rflags = block_context.rflags;
}

static void run_guest(const uint8_t *code, unsigned length, uint64_t gpr[16], uint64_t *rflags)
{
    memcpy(bt_harness_at(h, CODE), code, length);
    *(uint8_t *)bt_harness_at(h, CODE + length) = 0xf4;
    guest_memory_written(h->memory, CODE, PAGE);
    memcpy(h->state.gpr, gpr, sizeof h->state.gpr);
    h->state.gpr[VCPU_RSP] = BT_HARNESS_STACK;
    h->state.rflags = *rflags & ~UINT64_C(0x200);
    h->state.rip = (uintptr_t)code_page;
    h->state.segment[VCPU_CS].selector = BT_HARNESS_CODE_64;
    bt_harness_run(h);
    memcpy(gpr, h->state.gpr, sizeof h->state.gpr);
    *rflags = h->state.rflags;
}

static void fail(const Code *code, const uint64_t before[16], const uint64_t native[16],
                 const uint64_t ours[16], uint64_t flags_before, uint64_t native_flags,
                 uint64_t our_flags)
{
    for (unsigned i = 0; i < code->count; i++) {
        unsigned end = i + 1 < code->count ? code->start[i + 1] : code->length;
        g_autoptr(GString) text = g_string_new("#");
        for (unsigned b = code->start[i]; b < end; b++)
            g_string_append_printf(text, " %02x", code->bytes[b]);
        g_printerr("%s\n", text->str);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (i != VCPU_RSP && native[i] != ours[i])
            g_printerr("# register %u: %016" PRIx64 " native %016" PRIx64 " ours %016" PRIx64 "\n",
                       i, before[i], native[i], ours[i]);
    }
    g_printerr("# flags %03" PRIx64 " native %03" PRIx64 " ours %03" PRIx64 "\n",
               flags_before & 0xcd5, native_flags & 0x8d5, our_flags & 0x8d5);
    g_test_fail();
}

static void one_round(bool with_fault)
{
    static uint8_t before_data[PAGE];
    Code code;
    make_code(&code);
    uint64_t before[16], native[16], ours[16];
    for (unsigned i = 0; i < 16; i++)
        before[i] = random64();
    before[VCPU_RBX] = before[VCPU_R11] = (uintptr_t)data_page + 200 + below(3600);
    uint64_t flags = 0x202 | (g_rand_int(random_source) & 0x8d5);
    uint64_t native_flags = flags, our_flags = flags;
    for (unsigned i = 0; i < PAGE; i += 8)
        le64_write(before_data + i, random64());

    // A fault: UD2 in place of the instructions from `cut` on; the native code just ends there.
    unsigned cut = with_fault ? code.start[below(code.count - 1)] : code.length;
    memcpy(native, before, sizeof native);
    memcpy(data_page, before_data, PAGE);
    run_native(code.bytes, cut, native, &native_flags);

    memcpy(ours, before, sizeof ours);
    memcpy(bt_harness_at(h, DATA), before_data, PAGE);
    uint8_t guest_code[sizeof code.bytes];
    memcpy(guest_code, code.bytes, code.length);
    if (with_fault) {
        // Not #UD, which would end the block in the decoder: a load that the TLB refuses.
        memcpy(guest_code + cut, "\x48\x8b\x04\x25\0\0\0\x70", 8); // mov 0x70000000, %rax
        memcpy(guest_code + cut + 8, "\x48\x85\xc0\x90", 4);        // test %rax, %rax
        run_guest(guest_code, cut + 12, ours, &our_flags);
        our_flags = le64_read(bt_harness_at(h, h->state.gpr[VCPU_RSP] + 24));
    } else {
        run_guest(guest_code, code.length, ours, &our_flags);
    }
    bool same = memcmp(data_page, bt_harness_at(h, DATA), PAGE) == 0 &&
                ((native_flags ^ our_flags) & 0x8d5) == 0;
    for (unsigned i = 0; i < 16; i++)
        same &= i == VCPU_RSP || native[i] == ours[i];
    if (!same)
        fail(&code, before, native, ours, flags, native_flags, our_flags);
}

static unsigned rounds(void)
{
    const char *text = g_getenv("BT_ROUNDS");
    return text ? (unsigned)atoi(text) : 3000;
}

static void test_whole(void)
{
    for (unsigned i = 0; i < rounds() && !g_test_failed(); i++)
        one_round(false);
}

static void test_cut_off(void)
{
    for (unsigned i = 0; i < rounds() / 3 && !g_test_failed(); i++)
        one_round(true);
}

// ---- setup ----

// The tables of one page at a host address.
static void map_page(uint64_t linear, uint64_t physical)
{
    static uint64_t next_table = 0x50000;
    uint64_t table = BT_HARNESS_TABLES;
    for (unsigned shift = 39; shift > 12; shift -= 9) {
        uint8_t *entry = bt_harness_at(h, table + 8 * (linear >> shift & 511));
        if (!(le64_read(entry) & 1)) {
            le64_write(entry, next_table | 7);
            next_table += 0x1000;
        }
        table = le64_read(entry) & ~UINT64_C(0xfff);
    }
    le64_write(bt_harness_at(h, table + 8 * (linear >> 12 & 511)), physical | 7);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    const char *seed = g_getenv("BT_SEED");
    uint32_t number = seed ? (uint32_t)g_ascii_strtoull(seed, NULL, 0) : g_random_int();
    g_test_message("BT_SEED=%u", number);
    random_source = g_rand_new_with_seed(number);
    data_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    code_page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
                     -1, 0);
    h = bt_harness_new();
    bt_harness_state(h, BT_HARNESS_LONG);
    map_page((uintptr_t)data_page, DATA);
    map_page((uintptr_t)code_page, CODE);
    // #PF leads to a HLT at 0x7000.
    uint8_t *gate = bt_harness_at(h, 0x600 + 16 * 14);
    le16_write(gate, 0x7000);
    le16_write(gate + 2, BT_HARNESS_CODE_64);
    gate[5] = 0x8e;
    *(uint8_t *)bt_harness_at(h, 0x7000) = 0xf4;
    h->state.idtr = (VcpuTable){.base = 0x600, .limit = 0x1ff};

    g_test_add_func("/bt-blocks/whole", test_whole);
    g_test_add_func("/bt-blocks/cut-off-by-a-fault", test_cut_off);
    int status = g_test_run();
    bt_harness_free(h);
    g_rand_free(random_source);
    return status;
}
