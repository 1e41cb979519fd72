// SPDX-License-Identifier: GPL-2.0-or-later
// Vector and x87 registers across everything that a program can meet between two instructions that
// use them: on the translator they are in the host's registers, and C must not lose them. Also what
// the CPU refuses, and what the state tells afterwards. Every engine has to pass.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"

#include "engine/base/bytes.h"

#include <string.h>

#define GUEST(name, text)                                                                          \
    __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection\n");          \
    extern const uint8_t name[], name##_end[];
#define PUT(h, name) bt_harness_code(h, BT_HARNESS_CODE, name, (size_t)(name##_end - name))

enum {
    DATA = BT_HARNESS_DATA,
    DEVICE = 0xe00000, // leads to no RAM
    HANDLER = 0x7000,
    IDT = 0x600,
    AT_MXCSR = 24, AT_XMM = 160, AT_YMM = 576, // in VcpuState.xsave
};

// Long mode with AVX; every vector leads to a HLT. The program finds DATA in RDI, DEVICE in RSI.
static VcpuState *begin(BtHarness *h)
{
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    for (unsigned vector = 0; vector < 32; vector++) {
        uint8_t *gate = bt_harness_at(h, IDT + 16 * vector);
        memset(gate, 0, 16);
        le16_write(gate, (uint16_t)(HANDLER + vector));
        le16_write(gate + 2, BT_HARNESS_CODE_64);
        gate[5] = 0x8e;
        *(uint8_t *)bt_harness_at(h, HANDLER + vector) = 0xf4;
    }
    s->idtr = (VcpuTable){ .base = IDT, .limit = 0x1ff };
    s->cr4 |= 1 << 18; // OSXSAVE
    s->xcr0 = 7;
    le16_write(s->xsave, 0x37f);
    s->xsave[4] = 0; // the x87 stack is empty
    s->xsave[512] = 7;
    le64_write(bt_harness_at(h, BT_HARNESS_TABLES + 0x2000 + 8 * (DEVICE >> 21)), 0x4000087);
    s->gpr[VCPU_RDI] = DATA;
    s->gpr[VCPU_RSI] = DEVICE;
    for (unsigned i = 0; i < 64; i++)
        ((uint8_t *)bt_harness_at(h, DATA))[i] = (uint8_t)(i + 1);
    return s;
}

// The vector that the program ended with, 0: none; *ret_rip: of the instruction.
static unsigned vector_of(const BtHarness *h)
{
    uint64_t rip = h->state.rip - 1;
    return rip >= HANDLER && rip < HANDLER + 32 ? (unsigned)(rip - HANDLER) : 0;
}

static uint64_t faulting_rip(BtHarness *h, bool error)
{
    return le64_read(bt_harness_at(h, h->state.gpr[VCPU_RSP] + (error ? 8 : 0)));
}

// ---- Kept ----

#define LOAD_ALL                                                                                   \
    "vmovdqu (%rdi), %ymm0\n vmovdqu (%rdi), %ymm7\n vmovdqu (%rdi), %ymm15\n"                     \
    "fldl (%rdi)\n fldpi\n"
#define CHECK_ALL                                                                                  \
    "vpcmpeqb (%rdi), %ymm0, %ymm1\n vpcmpeqb (%rdi), %ymm7, %ymm2\n"                              \
    "vpcmpeqb (%rdi), %ymm15, %ymm3\n vpand %ymm1, %ymm2, %ymm2\n vpand %ymm2, %ymm3, %ymm3\n"     \
    "vpmovmskb %ymm3, %eax\n fstp %st(0)\n fstpl 128(%rdi)\n"

GUEST(across_call_out, LOAD_ALL "cpuid\n" CHECK_ALL)
GUEST(across_device, LOAD_ALL "mov (%rsi), %rbx\n movups (%rsi), %xmm4\n fldl (%rsi)\n"
                              "fstp %st(0)\n" CHECK_ALL)
GUEST(across_device_write, LOAD_ALL "movups %xmm0, (%rsi)\n fstl 8(%rsi)\n" CHECK_ALL)
GUEST(across_port, LOAD_ALL "in $0x60, %al\n" CHECK_ALL)
GUEST(across_pages, LOAD_ALL "movups 0x1fff8(%rdi), %xmm5\n vmovdqu %ymm0, 0x2fff0(%rdi)\n"
                             "fstl 0x3fffc(%rdi)\n" CHECK_ALL)
GUEST(across_state, LOAD_ALL "fxsave 0x100(%rdi)\n"
                             "mov $7, %eax\n xor %edx, %edx\n xsave 0x400(%rdi)\n"
                             "vpxor %ymm0, %ymm0, %ymm0\n vpxor %ymm15, %ymm15, %ymm15\n"
                             "fldz\n xrstor 0x400(%rdi)\n" CHECK_ALL)
GUEST(across_gather, LOAD_ALL "vpcmpeqb %ymm4, %ymm4, %ymm4\n vpxor %ymm5, %ymm5, %ymm5\n"
                              "vpgatherdd %ymm4, (%rdi,%ymm5), %ymm6\n"
                              "vmaskmovps %ymm0, %ymm4, 0x200(%rdi)\n" CHECK_ALL)
GUEST(across_calls, LOAD_ALL "mov $50, %ecx\n1: push %rcx\n call 2f\n pop %rcx\n dec %ecx\n"
                             "jnz 1b\n jmp 3f\n2: rdtsc\n mov %cr0, %rax\n mov %rax, %cr0\n ret\n"
                             "3:\n" CHECK_ALL)
GUEST(across_own_code, LOAD_ALL "lea 1f(%rip), %rbx\n movb $0x90, (%rbx)\n jmp 1f\n"
                                "1: nop\n movups %xmm0, 0x8000-0x30000+0xf00(%rdi)\n" CHECK_ALL)

typedef struct {
    const char *name;
    const uint8_t *code, *end;
} Kept;

#define KEPT(name) { #name, name, name##_end }
static const Kept kept[] = {
    KEPT(across_call_out), KEPT(across_device), KEPT(across_device_write), KEPT(across_port),
    KEPT(across_pages), KEPT(across_state), KEPT(across_gather), KEPT(across_calls),
    KEPT(across_own_code),
};

static void test_kept(gconstpointer data)
{
    const Kept *k = data;
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    bt_harness_code(h, BT_HARNESS_CODE, k->code, (size_t)(k->end - k->code));
    bt_harness_run(h);
    g_assert_cmpuint(vector_of(h), ==, 0);
    g_assert_cmphex((uint32_t)s->gpr[VCPU_RAX], ==, 0xffffffff);
    g_assert_cmphex(le64_read(bt_harness_at(h, DATA + 128)), ==, le64_read(bt_harness_at(h, DATA)));
}

// ---- The state ----

GUEST(changes, "vaddps %ymm1, %ymm2, %ymm3\n vmovdqa %ymm1, %ymm14\n movaps %xmm1, %xmm5\n")

// What set_state gives is what the program sees, and the other way round; twice, so that the second
// run must not find the first's registers.
static void test_state(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    for (unsigned run = 0; run < 2; run++) {
        VcpuState *s = begin(h);
        for (unsigned i = 0; i < 8; i++) {
            float a = (float)(i + run), b = 100.0f;
            memcpy(s->xsave + (i < 4 ? AT_XMM : AT_YMM) + 16 + 4 * (i & 3), &a, 4);
            memcpy(s->xsave + (i < 4 ? AT_XMM : AT_YMM) + 32 + 4 * (i & 3), &b, 4);
        }
        memset(s->xsave + AT_YMM + 16 * 5, 0xee, 16);
        PUT(h, changes);
        bt_harness_run(h);
        for (unsigned i = 0; i < 8; i++) {
            float sum;
            memcpy(&sum, s->xsave + (i < 4 ? AT_XMM : AT_YMM) + 48 + 4 * (i & 3), 4);
            g_assert_cmpfloat(sum, ==, 100.0f + (float)(i + run));
        }
        g_assert_cmpmem(s->xsave + AT_XMM + 16 * 14, 16, s->xsave + AT_XMM + 16, 16);
        g_assert_cmpmem(s->xsave + AT_YMM + 16 * 14, 16, s->xsave + AT_YMM + 16, 16);
        g_assert_cmpmem(s->xsave + AT_XMM + 16 * 5, 16, s->xsave + AT_XMM + 16, 16);
        g_assert_cmphex(le64_read(s->xsave + AT_YMM + 16 * 5), ==, UINT64_C(0xeeeeeeeeeeeeeeee));
    }
}

GUEST(sticky, "cvtsi2sd %eax, %xmm0\n mov $3, %ecx\n cvtsi2sd %ecx, %xmm1\n mov $1, %ecx\n"
              "cvtsi2sd %ecx, %xmm2\n divsd %xmm1, %xmm2\n divsd %xmm0, %xmm1\n stmxcsr (%rdi)\n")

static void test_sticky(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    PUT(h, sticky);
    bt_harness_run(h);
    g_assert_cmphex(le32_read(bt_harness_at(h, DATA)), ==, 0x1fa4); // PE, ZE
    g_assert_cmphex(le32_read(s->xsave + AT_MXCSR), ==, 0x1fa4);
}

GUEST(rounding, "movl $0x5f80, 64(%rdi)\n ldmxcsr 64(%rdi)\n mov $0x4003333333333333, %rax\n"
                "movq %rax, %xmm0\n cvtsd2si %xmm0, %ebx\n" // up: 3
                "movl $0x1f80, 64(%rdi)\n ldmxcsr 64(%rdi)\n cvtsd2si %xmm0, %ecx\n")

static void test_rounding(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    PUT(h, rounding);
    bt_harness_run(h);
    g_assert_cmpuint(s->gpr[VCPU_RBX], ==, 3);
    g_assert_cmpuint(s->gpr[VCPU_RCX], ==, 2);
}

// ---- Refused ----

// The first instruction of each shows that the class runs, or, with a fault of its own, that what
// is refused is refused at once.
GUEST(task_switched, "addps %xmm0, %xmm0\n mov %cr0, %rax\n or $8, %eax\n mov %rax, %cr0\n"
                     "addps %xmm1, %xmm1\n")
GUEST(task_switched_x87, "fldz\n mov %cr0, %rax\n or $8, %eax\n mov %rax, %cr0\n fldz\n")
GUEST(no_fxsr, "addps %xmm0, %xmm0\n mov %cr4, %rax\n and $~0x200, %eax\n mov %rax, %cr4\n"
               "addps %xmm1, %xmm1\n")
GUEST(no_avx, "vaddps %ymm0, %ymm0, %ymm0\n mov $3, %eax\n xor %edx, %edx\n xor %ecx, %ecx\n"
              "xsetbv\n addps %xmm0, %xmm0\n vaddps %ymm1, %ymm1, %ymm1\n")
GUEST(misaligned, "movaps (%rdi), %xmm0\n addps 4(%rdi), %xmm0\n")
GUEST(misaligned_avx, "vmovups 4(%rdi), %ymm0\n vmovaps 16(%rdi), %ymm1\n")
GUEST(divides, "movl $0x1d80, 64(%rdi)\n ldmxcsr 64(%rdi)\n pxor %xmm1, %xmm1\n"
               "mov $1, %eax\n cvtsi2sd %eax, %xmm0\n divsd %xmm1, %xmm0\n")
GUEST(absent, "movups (%rdi), %xmm3\n addps 0x1000000(%rdi), %xmm3\n")
GUEST(divides_x87, "fldz\n fld1\n movw $0x37b, 64(%rdi)\n fldcw 64(%rdi)\n fdivp\n fwait\n")
GUEST(pending_x87, "fldz\n fld1\n fdivp\n movw $0x37b, 64(%rdi)\n fldcw 64(%rdi)\n fld1\n")

typedef struct {
    const char *name;
    const uint8_t *code, *end;
    unsigned vector, from_end; // the faulting instruction's distance from the end
    bool error;
} Refused;

#define REFUSED(name, ...) { #name, name, name##_end, __VA_ARGS__ }
static const Refused refused[] = {
    REFUSED(task_switched, 7, 3), REFUSED(task_switched_x87, 7, 2), REFUSED(no_fxsr, 6, 3),
    REFUSED(no_avx, 6, 4), REFUSED(misaligned, 13, 4, true), REFUSED(misaligned_avx, 13, 5, true),
    REFUSED(divides, 19, 4), REFUSED(absent, 14, 7, true), REFUSED(divides_x87, 16, 1),
    REFUSED(pending_x87, 16, 2),
};

static void test_refused(gconstpointer data)
{
    const Refused *r = data;
    g_autoptr(BtHarness) h = bt_harness_new();
    begin(h);
    bt_harness_code(h, BT_HARNESS_CODE, r->code, (size_t)(r->end - r->code));
    bt_harness_run(h);
    g_assert_cmpuint(vector_of(h), ==, r->vector);
    g_assert_cmphex(faulting_rip(h, r->error), ==,
                    BT_HARNESS_CODE + (uint64_t)(r->end - r->code) - r->from_end);
}

// A fault leaves the registers as they were before its instruction.
static void test_fault_keeps(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    PUT(h, absent);
    bt_harness_run(h);
    g_assert_cmphex(s->cr2, ==, DATA + 0x1000000);
    g_assert_cmpmem(s->xsave + AT_XMM + 48, 16, bt_harness_at(h, DATA), 16);
}

// ---- x87's pointers ----

GUEST(pointers, "fldz\n fld1\n" // at 8000h
                "fldl (%rdi)\n" // at 8004h: the last with an operand
                "faddp\n"       // at 8006h: the last of all
                "mov %rdi, %rax\n fnstsw 80(%rdi)\n test %eax, %eax\n jz 1f\n1: fnstenv 96(%rdi)\n")

static void test_pointers(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    begin(h);
    PUT(h, pointers);
    bt_harness_run(h);
    const uint8_t *environment = bt_harness_at(h, DATA + 96);
    g_assert_cmphex(le32_read(environment + 12), ==, BT_HARNESS_CODE + 6);
    g_assert_cmphex(le16_read(environment + 16), ==, BT_HARNESS_CODE_64);
    g_assert_cmphex(le16_read(environment + 18), ==, 0x6c1);
    g_assert_cmphex(le32_read(environment + 20), ==, DATA);
    g_assert_cmphex(le16_read(environment + 24), ==, BT_HARNESS_DATA_32);
}

// A fault between two x87 instructions: the pointers are the first's.
GUEST(pointer_before_fault, "fld1\n fldl (%rdi)\n mov 0x1000000(%rdi), %eax\n fldz\n")
GUEST(tell_pointers, "fnstenv 96(%rdi)\n")

static void test_pointer_before_fault(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    PUT(h, pointer_before_fault);
    bt_harness_run(h);
    g_assert_cmpuint(vector_of(h), ==, 14);
    bt_harness_code(h, 0x9000, tell_pointers, (size_t)(tell_pointers_end - tell_pointers));
    s->rip = 0x9000;
    bt_harness_run(h);
    const uint8_t *environment = bt_harness_at(h, DATA + 96);
    g_assert_cmphex(le32_read(environment + 12), ==, BT_HARNESS_CODE + 2);
    g_assert_cmphex(le32_read(environment + 20), ==, DATA);
}

GUEST(control_word, "fnstcw 64(%rdi)\n movzwl 64(%rdi), %eax\n or $0xc00, %ax\n"
                    "mov %ax, 66(%rdi)\n mov $0x4005999999999999, %rbx\n mov %rbx, 72(%rdi)\n"
                    "fldl 72(%rdi)\n fldcw 66(%rdi)\n fistl 80(%rdi)\n fnstcw 68(%rdi)\n"
                    "fldcw 64(%rdi)\n fistpl 84(%rdi)\n xor %eax, %eax\n fnstsw %ax\n")

static void test_control_word(void)
{
    g_autoptr(BtHarness) h = bt_harness_new();
    VcpuState *s = begin(h);
    PUT(h, control_word);
    bt_harness_run(h);
    g_assert_cmpuint(le32_read(bt_harness_at(h, DATA + 80)), ==, 2); // to zero
    g_assert_cmpuint(le32_read(bt_harness_at(h, DATA + 84)), ==, 3); // to nearest
    g_assert_cmphex(le16_read(bt_harness_at(h, DATA + 68)), ==, 0xf7f);
    g_assert_cmphex(le16_read(s->xsave), ==, 0x37f);
    g_assert_cmphex(s->gpr[VCPU_RAX] & 0x3f, ==, 0x20); // inexact
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(kept); i++) {
        g_autofree char *path = g_strdup_printf("/bt-residency/kept/%s", kept[i].name);
        g_test_add_data_func(path, &kept[i], test_kept);
    }
    g_test_add_func("/bt-residency/state", test_state);
    g_test_add_func("/bt-residency/sticky-flags", test_sticky);
    g_test_add_func("/bt-residency/rounding", test_rounding);
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_autofree char *path = g_strdup_printf("/bt-residency/refused/%s", refused[i].name);
        g_test_add_data_func(path, &refused[i], test_refused);
    }
    g_test_add_func("/bt-residency/fault-keeps-registers", test_fault_keeps);
    g_test_add_func("/bt-residency/x87/pointers", test_pointers);
    g_test_add_func("/bt-residency/x87/pointer-before-fault", test_pointer_before_fault);
    g_test_add_func("/bt-residency/x87/control-word", test_control_word);
    return g_test_run();
}
