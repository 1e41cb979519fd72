// SPDX-License-Identifier: GPL-2.0-or-later
// See bt-native.h. The native side loads the whole state with XRSTOR, jumps to the instruction, and
// comes back either by the jump behind it or through a signal, whose frame holds the state.

#include "tests/unit/engine/vcpu/bt/bt-native.h"

#include "engine/base/bytes.h"
#include "engine/vcpu/bt/bt-block.h"
#include "engine/vcpu/bt/bt-flags.h"
#include "engine/vcpu/bt/bt-fpu.h"
#include "engine/vcpu/bt/bt-memory.h"

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

// Seen by the assembly below.
struct NativeContext {
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t code, back;
    uint64_t host_rsp;
    uint8_t area[4096] __attribute__((aligned(64)));
};
struct NativeContext native_context __attribute__((visibility("hidden")));
void native_enter(void) __attribute__((visibility("hidden")));
extern const char native_back[] __attribute__((visibility("hidden")));

#define GPR(op, reg, n) op " " reg ", native_context+8*" #n "(%rip)\n"
#define LOAD(reg, n) "mov native_context+8*" #n "(%rip), %" reg "\n"
#define SAVE(reg, n) "mov %" reg ", native_context+8*" #n "(%rip)\n"
__asm__(".pushsection .text\n.globl native_enter\n.hidden native_enter\nnative_enter:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov $7, %eax; xor %edx, %edx\n"
        "fninit; xrstor64 native_context+192(%rip)\n"
        "push native_context+128(%rip); popfq\n" LOAD("rax", 0) LOAD("rcx", 1) LOAD("rdx", 2)
            LOAD("rbx", 3) LOAD("rbp", 5) LOAD("rsi", 6) LOAD("rdi", 7) LOAD("r8", 8)
                LOAD("r9", 9) LOAD("r10", 10) LOAD("r11", 11) LOAD("r12", 12) LOAD("r13", 13)
                    LOAD("r14", 14) LOAD("r15", 15) "jmp *native_context+136(%rip)\n"
        ".globl native_back\n.hidden native_back\nnative_back:\n" SAVE("rax", 0) SAVE("rcx", 1)
            SAVE("rdx", 2) SAVE("rbx", 3) SAVE("rbp", 5) SAVE("rsi", 6) SAVE("rdi", 7)
                SAVE("r8", 8) SAVE("r9", 9) SAVE("r10", 10) SAVE("r11", 11) SAVE("r12", 12)
                    SAVE("r13", 13) SAVE("r14", 14) SAVE("r15", 15)
        "pushfq; pop native_context+128(%rip)\n"
        "cld\n"
        "mov $7, %eax; xor %edx, %edx\n"
        "xsave64 native_context+192(%rip)\n"
        "fninit; movl $0x1f80, -8(%rsp); ldmxcsr -8(%rsp)\n"
        "vzeroupper\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n.popsection\n");

G_STATIC_ASSERT(offsetof(struct NativeContext, area) == 192);
G_STATIC_ASSERT(offsetof(struct NativeContext, code) == 136);

static uint8_t *data_page, *code_page;
static sigjmp_buf native_leave;
static uint64_t random_state;
static int native_vector;

static void on_signal(int signal, siginfo_t *info, void *frame)
{
    static const int vectors[][2] = {
        {SIGILL, BT_UD}, {SIGFPE, BT_XM}, {SIGSEGV, BT_GP}, {SIGBUS, BT_GP}, {SIGTRAP, BT_DB}};
    const ucontext_t *u = frame;
    static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                  REG_R12, REG_R13, REG_R14, REG_R15};
    for (unsigned i = 0; i < 16; i++)
        native_context.gpr[i] = (uint64_t)u->uc_mcontext.gregs[order[i]];
    native_context.rflags = (uint64_t)u->uc_mcontext.gregs[REG_EFL];
    memcpy(native_context.area, u->uc_mcontext.fpregs, NATIVE_AREA);
    native_vector = -2;
    for (unsigned i = 0; i < G_N_ELEMENTS(vectors); i++) {
        if (vectors[i][0] == signal)
            native_vector = vectors[i][1];
    }
    // Trap 14 is a page fault, 16 an x87 error.
    if (signal == SIGSEGV && u->uc_mcontext.gregs[REG_TRAPNO] == 14)
        native_vector = BT_PF;
    if (signal == SIGFPE && u->uc_mcontext.gregs[REG_TRAPNO] == 16)
        native_vector = BT_MF;
    if (signal == SIGFPE && u->uc_mcontext.gregs[REG_TRAPNO] == 0)
        native_vector = BT_DE;
    siglongjmp(native_leave, 1);
}

bool native_is_amd(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_is("amd");
}

void native_init(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx"))
        exit(77); // meson: skipped
    const char *seed = g_getenv("BT_SEED");
    random_state = seed ? g_ascii_strtoull(seed, NULL, 0) : (uint64_t)g_get_real_time() | 1;
    g_test_message("BT_SEED=%" G_GUINT64_FORMAT, random_state);
    g_print("# BT_SEED=%" G_GUINT64_FORMAT "\n", random_state);
    uint8_t *area = mmap(NULL, 3 * NATIVE_PAGE, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    g_assert_true(area != MAP_FAILED);
    data_page = area + NATIVE_PAGE;
    g_assert_cmpint(mprotect(data_page, NATIVE_PAGE, PROT_READ | PROT_WRITE), ==, 0);
    code_page = mmap(NULL, NATIVE_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(code_page != MAP_FAILED);
    static uint8_t stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_sigaction = on_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    static const int signals[] = {SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP};
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &action, NULL);
}

uint8_t *native_data(void)
{
    return data_page;
}

uint64_t native_code_address(void)
{
    return (uintptr_t)code_page;
}

uint64_t native_random(void)
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return random_state * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned native_below(unsigned limit)
{
    return (unsigned)(native_random() >> 33) % limit;
}

static void interesting_float(uint8_t *to, unsigned exponent_bits, unsigned mantissa_bits)
{
    uint64_t max = (UINT64_C(1) << exponent_bits) - 1, exponent, mantissa;
    uint64_t ones = (UINT64_C(1) << mantissa_bits) - 1;
    switch (native_below(8)) {
    case 0: exponent = 0; break;
    case 1: exponent = max; break;
    case 2: exponent = max - 1; break;
    case 3: exponent = 1 + native_below(30); break;
    case 4: exponent = native_random() & max; break;
    default: exponent = max / 2 + native_below(70) - 5; break;
    }
    switch (native_below(7)) {
    case 0: mantissa = 0; break;
    case 1: mantissa = 1; break;
    case 2: mantissa = ones; break;
    case 3: mantissa = UINT64_C(1) << (mantissa_bits - 1); break;
    case 4: mantissa = native_random() << (mantissa_bits / 2) & ones; break;
    default: mantissa = native_random() & ones; break;
    }
    exponent &= max;
    uint64_t value = native_random() << 63 >> (63 - exponent_bits - mantissa_bits) |
                     exponent << mantissa_bits | mantissa;
    memcpy(to, &value, (1 + exponent_bits + mantissa_bits) / 8);
}

static void interesting_extended(uint8_t *to)
{
    uint64_t mantissa = native_random();
    uint16_t exponent;
    switch (native_below(10)) {
    case 0: exponent = 0; break;
    case 1: exponent = 0x7fff; break;
    case 2: exponent = 0x7ffe; break;
    case 3: exponent = (uint16_t)(1 + native_below(80)); break;
    case 4: exponent = (uint16_t)native_random() & 0x7fff; break;
    case 5: exponent = (uint16_t)(0x3fff - 1023 - 60 + native_below(120)); break;
    default: exponent = (uint16_t)(0x3fff - 5 + native_below(75)); break;
    }
    switch (native_below(8)) {
    case 0: mantissa = 0; break;
    case 1: mantissa = UINT64_C(1) << 63; break;
    case 2: mantissa = UINT64_MAX; break;
    case 3: mantissa = UINT64_C(3) << 62; break;
    case 4: mantissa |= UINT64_C(1) << 63; mantissa &= UINT64_MAX << 40; break;
    default: mantissa |= UINT64_C(1) << 63; break;
    }
    if (exponent == 0 && native_below(4))
        mantissa &= INT64_MAX;
    exponent |= (uint16_t)(native_random() & 0x8000);
    memcpy(to, &mantissa, 8);
    memcpy(to + 8, &exponent, 2);
}

void native_interesting(uint8_t *bytes, unsigned size)
{
    if (size == 10) {
        interesting_extended(bytes);
        return;
    }
    unsigned kind = native_below(6);
    for (unsigned i = 0; i + 8 <= size; i += 8) {
        uint64_t value = native_random();
        switch (kind) {
        case 0: break;
        case 1: value = (uint64_t)((int64_t)value >> native_below(64)); break;
        case 2:
        case 3:
            interesting_float((uint8_t *)&value, 8, 23);
            interesting_float((uint8_t *)&value + 4, 8, 23);
            break;
        default: interesting_float((uint8_t *)&value, 11, 52); break;
        }
        memcpy(bytes + i, &value, 8);
    }
}

void native_run(const uint8_t *code, unsigned length, NativeState *state)
{
    static const uint8_t jump[] = {0xff, 0x25, 0, 0, 0, 0};
    uint64_t back = (uintptr_t)native_back;
    memcpy(code_page, code, length);
    memcpy(code_page + length, jump, sizeof jump);
    memcpy(code_page + length + sizeof jump, &back, sizeof back);
    memcpy(native_context.gpr, state->gpr, sizeof state->gpr);
    memcpy(native_context.area, state->area, NATIVE_AREA);
    native_context.rflags = state->rflags;
    native_context.code = (uintptr_t)code_page;
    native_vector = -1;
    if (sigsetjmp(native_leave, 1) == 0)
        native_enter();
    memcpy(state->gpr, native_context.gpr, sizeof state->gpr);
    memcpy(state->area, native_context.area, NATIVE_AREA);
    state->rflags = native_context.rflags;
    state->vector = native_vector;
}

// ---- the interpreter's side ----

// Around the instruction: it must leave the stack as it was, or a long chain of blocks would use it
// up. That takes tail calls (BT_NEXT), which the compiler refuses where a local's address escapes.
static uintptr_t frame_before, frame_after;

static void __attribute__((noinline)) finish(BtCpu *cpu, const BtInsn *insn)
{
    frame_after = (uintptr_t)__builtin_frame_address(0);
}

static void __attribute__((noinline)) start(BtCpu *cpu, const BtInsn *insn)
{
    frame_before = (uintptr_t)__builtin_frame_address(0);
    BT_NEXT(cpu, insn);
}

bool native_decode(BtCpu *cpu, const uint8_t *code, unsigned length, BtDecoded *d, BtInsn *insn)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder,
                     cpu->code_bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
                     : cpu->code_bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                            : ZYDIS_MACHINE_MODE_LEGACY_16,
                     cpu->code_bits == 64   ? ZYDIS_STACK_WIDTH_64
                     : cpu->code_bits == 32 ? ZYDIS_STACK_WIDTH_32
                                            : ZYDIS_STACK_WIDTH_16);
    *d = (BtDecoded){.bytes = code, .cpu = cpu};
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, length, &d->insn, d->operand)))
        return false;
    *insn = (BtInsn){.length = d->insn.length, .operand_size = d->insn.operand_width / 8,
                     .address_bits = d->insn.address_width, .mnemonic = d->insn.mnemonic,
                     .base = BT_REG_ZERO, .index = BT_REG_ZERO,
                     // Flat both, but only the first is taken for it.
                     .segment = native_below(4) ? VCPU_DS : BT_SEG_FLAT};
    memcpy(insn->bytes, code, d->insn.length);
    for (unsigned i = 0; i < d->insn.operand_count; i++) {
        const ZydisDecodedOperand *o = &d->operand[i];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        insn->flags |= BT_INSN_HAS_MEMORY;
        insn->memory_size = (uint8_t)MIN(o->size / 8, 255);
        insn->displacement = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
        if (o->mem.base == ZYDIS_REGISTER_RIP) {
            insn->base = BT_REG_RIP;
            insn->displacement += d->insn.length;
        } else if (o->mem.base)
            insn->base = (uint8_t)ZydisRegisterGetId(o->mem.base);
        if (o->mem.index && ZydisRegisterGetClass(o->mem.index) <= ZYDIS_REGCLASS_GPR64)
            insn->index = (uint8_t)ZydisRegisterGetId(o->mem.index);
        insn->scale = o->mem.scale ? (uint8_t)__builtin_ctz(o->mem.scale) : 0;
    }
    return true;
}

static int run_alone(BtCpu *cpu, const BtInsn *insns)
{
    // The CPU's own longjmp target, and for host instructions that the host does not know.
    if (sigsetjmp(native_leave, 1))
        return native_vector;
    if (setjmp(cpu->leave))
        return cpu->fault.vector;
    const BtInsn *insn = insns;
    do {
        cpu->next = NULL; // where handlers do not call the next one
        insn->handler(cpu, insn);
    } while ((insn = cpu->next));
    if (BT_TAIL_CALLS && frame_before != frame_after) {
        g_printerr("%s does not end in a tail call\n", ZydisMnemonicGetString(insns[1].mnemonic));
        g_test_fail();
    }
    return -1;
}

void native_load(BtCpu *cpu, const NativeState *state)
{
    memcpy(cpu->gpr, state->gpr, sizeof state->gpr);
    bt_flags_set_status(cpu, state->rflags);
    uint8_t image[VCPU_XSAVE_SIZE] = {0};
    memcpy(image, state->area, NATIVE_AREA);
    g_assert_true(bt_fpu_set(cpu, image));
}

void native_store(const BtCpu *cpu, NativeState *state)
{
    uint8_t image[VCPU_XSAVE_SIZE];
    memcpy(state->gpr, cpu->gpr, sizeof state->gpr);
    state->rflags = bt_flags_get_status(cpu);
    bt_fpu_get(cpu, image);
    memcpy(state->area, image, NATIVE_AREA);
}

static NativeResult step(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out),
                         const uint8_t *code, unsigned length, uint64_t rip, int *ret_vector)
{
    static BtInsn insns[NATIVE_MAX + 2];
    unsigned count = 1, at = 0;
    do {
        BtDecoded d;
        BtInsn *insn = &insns[count++];
        g_assert_cmpuint(count, <, G_N_ELEMENTS(insns));
        if (!native_decode(cpu, code + at, length - at, &d, insn))
            return NATIVE_UNDECODED;
        insn->offset = (uint16_t)at;
        if (!select(&d, insn))
            return NATIVE_UNSELECTED;
        at += insn->length;
    } while (at < length);
    insns[0] = (BtInsn){.handler = start};
    insns[count] = (BtInsn){.handler = finish};
    cpu->block_rip = rip;
    *ret_vector = run_alone(cpu, insns);
    return NATIVE_RAN;
}

NativeResult native_interpret(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out),
                              const uint8_t *code, unsigned length, NativeState *state)
{
    native_load(cpu, state);
    NativeResult result = step(cpu, select, code, length, (uintptr_t)code_page, &state->vector);
    if (result == NATIVE_RAN)
        native_store(cpu, state);
    bt_fpu_leave(cpu);
    return result;
}

int native_step(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out), const uint8_t *code,
                unsigned length, uint64_t rip)
{
    int vector;
    g_assert_cmpint(step(cpu, select, code, length, rip, &vector), ==, NATIVE_RAN);
    bt_fpu_leave(cpu);
    return vector;
}

static void normalize(NativeState *s)
{
    s->gpr[4] = 0;
    s->rflags &= BT_FLAGS_STATUS;
    s->area[5] = 0;
    memset(s->area + 6, 0, 18);
    memset(s->area + 28, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        memset(s->area + 32 + 16 * i + 10, 0, 6);
    memset(s->area + 416, 0, 576 - 416);
}

static void set_tlb(BtCpu *cpu, bool hit)
{
    uint64_t page = (uintptr_t)data_page;
    BtTlbEntry *e = bt_tlb_entry(cpu->data_tlb, page);
    e->read = e->write = hit ? page : bt_tlb_none(bt_tlb_index(page));
    e->addend = 0;
}

void native_both(BtCpu *cpu, bool (*select)(const BtDecoded *d, BtInsn *out), const uint8_t *code,
                 unsigned length, const uint8_t *initial, NativeRun *r)
{
    r->native = r->ours = r->before;
    memcpy(data_page, initial, NATIVE_PAGE);
    native_run(code, length, &r->native);
    memcpy(r->data_native, data_page, NATIVE_PAGE);
    memcpy(data_page, initial, NATIVE_PAGE);
    set_tlb(cpu, native_below(2));
    if (native_interpret(cpu, select, code, length, &r->ours) != NATIVE_RAN)
        r->ours.vector = BT_UD;
    memcpy(r->data_ours, data_page, NATIVE_PAGE);
    normalize(&r->native);
    normalize(&r->ours);
}

bool native_same(const NativeRun *r, const BtDecoded *d)
{
    if (r->native.vector == r->ours.vector && r->native.rflags == r->ours.rflags &&
        memcmp(r->native.gpr, r->ours.gpr, sizeof r->native.gpr) == 0 &&
        memcmp(r->native.area, r->ours.area, NATIVE_AREA) == 0 &&
        memcmp(r->data_native, r->data_ours, NATIVE_PAGE) == 0)
        return true;
    char text[256];
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&formatter, &d->insn, d->operand,
                                    d->insn.operand_count_visible, text, sizeof text, 0, NULL);
    g_printerr("%s:", text);
    for (unsigned i = 0; i < d->insn.length; i++)
        g_printerr(" %02x", d->bytes[i]);
    g_printerr("\nmxcsr %08x, vector native %d ours %d\n", le32_read(r->before.area + 24),
               r->native.vector, r->ours.vector);
    for (unsigned i = 0; i < 16; i++) {
        if (r->native.gpr[i] != r->ours.gpr[i])
            g_printerr("gpr %u: before %016" PRIx64 " native %016" PRIx64 " ours %016" PRIx64 "\n",
                       i, r->before.gpr[i], r->native.gpr[i], r->ours.gpr[i]);
    }
    if (r->native.rflags != r->ours.rflags)
        g_printerr("rflags: native %03" PRIx64 " ours %03" PRIx64 "\n", r->native.rflags,
                   r->ours.rflags);
    for (unsigned i = 0; i < NATIVE_AREA; i += 8) {
        uint64_t n = le64_read(r->native.area + i), o = le64_read(r->ours.area + i);
        if (n != o)
            g_printerr("area %u: before %016" PRIx64 " native %016" PRIx64 " ours %016" PRIx64
                       "\n", i, le64_read(r->before.area + i), n, o);
    }
    for (unsigned i = 0; i < NATIVE_PAGE; i++) {
        if (r->data_native[i] != r->data_ours[i])
            g_printerr("data %u: native %02x ours %02x\n", i, r->data_native[i], r->data_ours[i]);
    }
    return false;
}

BtCpu *native_cpu_new(void)
{
    BtCpu *cpu = aligned_alloc(64, (sizeof *cpu + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    cpu->mode = BT_MODE_LONG;
    cpu->code_bits = 64;
    cpu->cr0 = 0x80000033;
    cpu->cr4 = BT_CR4_OSFXSR | BT_CR4_OSXMMEXCPT | BT_CR4_OSXSAVE | BT_CR4_PAE;
    cpu->data_tlb = aligned_alloc(64, sizeof(BtTlb));
    memset(cpu->data_tlb, 0xff, sizeof(BtTlb)); // no tag is page-aligned
    for (unsigned i = 0; i < BT_MMU_INDEXES; i++)
        cpu->tlb[i] = cpu->data_tlb;
    cpu->flat_mask = cpu->rip_mask = UINT64_MAX;
    cpu->mode_key = 15u << BT_KEY_FLAT_SHIFT;
    for (unsigned i = 0; i < BT_SEGMENTS; i++) {
        cpu->segment[i].selector = i == VCPU_CS ? 0x33 : 0; // as Linux has them
        cpu->segment[i].high = UINT64_MAX;
        cpu->segment[i].allows = BT_ALLOW_READ | BT_ALLOW_WRITE;
    }
    bt_fpu_reset(cpu);
    cpu->fpu.xcr0 = 7;
    bt_fpu_update(cpu);
    g_assert_true(bt_simd_create(cpu, NULL));
    return cpu;
}

void native_cpu_free(BtCpu *cpu)
{
    bt_simd_destroy(cpu);
    free(cpu->data_tlb);
    free(cpu);
}

// ---- what the rest of the interpreter would do ----

void bt_raise(BtCpu *cpu, unsigned vector)
{
    cpu->fault.vector = (uint8_t)vector;
    longjmp(cpu->leave, 1);
}

void bt_raise_error(BtCpu *cpu, unsigned vector, uint32_t error)
{
    bt_raise(cpu, vector);
}

uint64_t bt_segment_fault(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size, bool write)
{
    bt_raise(cpu, BT_GP);
}

// Whether the access stays in the page that exists.
static void check(BtCpu *cpu, uint64_t linear, unsigned size)
{
    if (linear - (uintptr_t)data_page > NATIVE_PAGE - size)
        bt_raise(cpu, BT_PF);
}

uint64_t bt_read_slow(BtCpu *cpu, uint64_t linear, unsigned size, unsigned mmu)
{
    uint64_t value = 0;
    check(cpu, linear, size);
    memcpy(&value, (const void *)(uintptr_t)linear, size);
    return value;
}

void bt_write_slow(BtCpu *cpu, uint64_t linear, unsigned size, uint64_t value, unsigned mmu)
{
    check(cpu, linear, size);
    memcpy((void *)(uintptr_t)linear, &value, size);
}

void bt_read_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, void *buffer, unsigned size,
                   unsigned alignment)
{
    uint64_t linear = bt_linear(cpu, segment, offset, size, false);
    if (linear & (alignment - 1))
        bt_raise(cpu, BT_GP);
    check(cpu, linear, size);
    memcpy(buffer, (const void *)(uintptr_t)linear, size);
}

void bt_write_bytes(BtCpu *cpu, unsigned segment, uint64_t offset, const void *buffer,
                    unsigned size, unsigned alignment)
{
    uint64_t linear = bt_linear(cpu, segment, offset, size, true);
    if (linear & (alignment - 1))
        bt_raise(cpu, BT_GP);
    check(cpu, linear, size);
    memcpy((void *)(uintptr_t)linear, buffer, size);
}

void bt_probe_write(BtCpu *cpu, unsigned segment, uint64_t offset, unsigned size)
{
    check(cpu, bt_linear(cpu, segment, offset, size, true), size);
}
