// SPDX-License-Identifier: GPL-2.0-or-later
// Cases on the real CPU. A child maps the window (native-case.h), and for each case loads the whole
// state, jumps to the code and waits for the exception that ends it: the code is followed by INT3
// or by an unmapped page. The kernel's signal frame then holds the state. The handler does not
// return from the signal; it goes back into the child's loop.
//
// The child is in seccomp's strict mode: a system call that the code makes by accident ends it. It
// has a limit of CPU time for code that does not end. The case that was running then is lost, and
// the next child goes on behind it.
#include "tests/native/native-host.h"

#include <glib.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#define HWCAP2_FSGSBASE 2

enum { CPU_SECONDS = 2 };

// Seen by the assembly below. FS is the C library's while C runs.
struct NativeContext {
    uint64_t gpr[16];
    uint64_t rflags;
    uint64_t code;
    uint64_t host_rsp;
    uint64_t fs_base, gs_base, host_fs_base;
    uint32_t far_offset;
    uint16_t far_selector;
    uint16_t unused;
    uint64_t mode_32;
    uint16_t es, ds, fs, gs;
    uint8_t xsave[4096] __attribute__((aligned(64)));
};
struct NativeContext native_host_context __attribute__((visibility("hidden")));
void native_host_enter(void) __attribute__((visibility("hidden")));
void native_host_signal(int, siginfo_t *, void *) __attribute__((visibility("hidden")));
void native_host_caught(int, siginfo_t *, void *) __attribute__((visibility("hidden")));

G_STATIC_ASSERT(offsetof(struct NativeContext, far_offset) == 8 * 22);
G_STATIC_ASSERT(offsetof(struct NativeContext, mode_32) == 8 * 23);
G_STATIC_ASSERT(offsetof(struct NativeContext, xsave) == 256);
G_STATIC_ASSERT(offsetof(struct NativeContext, es) == 8 * 24);

#define AT(n) "native_host_context+8*" #n "(%rip)"
#define LOAD(reg, n) "mov " AT(n) ", %" reg "\n"
__asm__(".pushsection .text\n"
        ".globl native_host_enter\n.hidden native_host_enter\nnative_host_enter:\n"
        "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
        "mov %rsp, " AT(18) "\n"
        "rdfsbase %rax; mov %rax, " AT(21) "\n"
        "mov $7, %eax; xor %edx, %edx\n"
        "xrstor64 native_host_context+256(%rip)\n"
        LOAD("rax", 19) "wrfsbase %rax\n" LOAD("rax", 20) "wrgsbase %rax\n"
        "cmpq $0, " AT(23) "\n"
        "jne 1f\n"
        "push " AT(16) "; popfq\n"
        LOAD("rax", 0) LOAD("rcx", 1) LOAD("rdx", 2) LOAD("rbx", 3) LOAD("rsp", 4) LOAD("rbp", 5)
        LOAD("rsi", 6) LOAD("rdi", 7) LOAD("r8", 8) LOAD("r9", 9) LOAD("r10", 10) LOAD("r11", 11)
        LOAD("r12", 12) LOAD("r13", 13) LOAD("r14", 14) LOAD("r15", 15)
        "jmp *" AT(17) "\n"
        "1: push " AT(16) "; popfq\n"
        LOAD("rax", 0) LOAD("rcx", 1) LOAD("rdx", 2) LOAD("rbx", 3) LOAD("rsp", 4) LOAD("rbp", 5)
        LOAD("rsi", 6) LOAD("rdi", 7)
        "ljmpl *" AT(22) "\n"
        // Flags that would disturb C: AC and NT stay as they were in the case.
        ".globl native_host_signal\n.hidden native_host_signal\nnative_host_signal:\n"
        "push $2; popfq\n"
        "rdfsbase %rax; mov %rax, " AT(19) "\n"
        "rdgsbase %rax; mov %rax, " AT(20) "\n"
        "mov %es, native_host_context+192(%rip); mov %ds, native_host_context+194(%rip)\n"
        "mov %fs, native_host_context+196(%rip); mov %gs, native_host_context+198(%rip)\n"
        "xor %eax, %eax; mov %eax, %fs; mov %eax, %gs\n"
        LOAD("rax", 21) "wrfsbase %rax\n"
        "sub $8, %rsp; call native_host_caught\n"
        LOAD("rsp", 18)
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
        "ret\n.popsection\n");

typedef struct {
    NativeBatch *batch;
    uint8_t *code, *constant; // writable views of the pages that the case cannot write
} HostChild;

// Where the handler puts things; only the child has one.
static NativeResult *host_result;

void native_host_caught(int signal, siginfo_t *info, void *frame)
{
    static const int order[16] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15 };
    const ucontext_t *u = frame;
    const greg_t *g = u->uc_mcontext.gregs;
    NativeResult *r = host_result;
    for (unsigned i = 0; i < 16; i++)
        r->end.gpr[i] = (uint64_t)g[order[i]];
    r->end.rip = (uint64_t)g[REG_RIP];
    r->end.rflags = (uint64_t)g[REG_EFL];
    r->end.fs_base = native_host_context.fs_base;
    r->end.gs_base = native_host_context.gs_base;
    uint64_t selectors = (uint64_t)g[REG_CSGSFS]; // CS, GS, FS, SS
    uint16_t all[] = { native_host_context.es, (uint16_t)selectors, (uint16_t)(selectors >> 48),
                       native_host_context.ds, native_host_context.fs, native_host_context.gs };
    memcpy(r->end.selector, all, sizeof all);
    r->vector = (int)g[REG_TRAPNO];
    r->error = (uint64_t)g[REG_ERR];
    r->address = r->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    memcpy(r->end.xsave, u->uc_mcontext.fpregs, NATIVE_XSAVE);
}

static void *map_at(uint64_t address, size_t size, int protection, int flags, int fd)
{
    void *got = mmap((void *)address, size, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
    if (got != (void *)address)
        _exit(3);
    return got;
}

// A page at an address with another view of it that can be written.
static uint8_t *map_twice(uint64_t address, int protection)
{
    int fd = memfd_create("page", 0);
    if (fd < 0 || ftruncate(fd, NATIVE_PAGE))
        _exit(3);
    uint8_t *view = mmap(NULL, NATIVE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (view == MAP_FAILED)
        _exit(3);
    map_at(address, NATIVE_PAGE, protection, MAP_SHARED | MAP_POPULATE, fd);
    return view;
}

static void set_window(HostChild *child)
{
    child->code = map_twice(NATIVE_CODE, PROT_READ | PROT_EXEC);
    memset(child->code, 0xcc, NATIVE_PAGE);
    child->constant = map_twice(NATIVE_CONST, PROT_READ);
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    map_at(NATIVE_DATA, 2 * NATIVE_PAGE, PROT_READ | PROT_WRITE, flags, -1);
    map_at(NATIVE_STACK, NATIVE_PAGE, PROT_READ | PROT_WRITE, flags, -1);
}

static void set_signals(void)
{
    static const int signals[] = { SIGILL, SIGFPE, SIGSEGV, SIGBUS, SIGTRAP };
    static uint8_t stack[65536] __attribute__((aligned(64)));
    sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof stack }, NULL);
    struct sigaction action = { .sa_sigaction = native_host_signal,
                                .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++)
        sigaction(signals[i], &action, NULL);
    struct itimerval limit = { .it_value.tv_sec = CPU_SECONDS };
    signal(SIGPROF, SIG_DFL);
    setitimer(ITIMER_PROF, &limit, NULL);
}

// Compatibility mode uses DS and ES, which are null in a 64-bit process.
static void set_segments(void)
{
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(NATIVE_DS));
}

// The host may well have the instruction: what it would do without it.
static void expect_undefined(const NativeCase *c, NativeResult *result)
{
    result->end = c->start;
    result->end.rflags |= 0x10000; // RF, as in every fault
    result->vector = 6;
    result->error = result->address = 0;
    result->lost = false;
}

static void run_case(HostChild *child, const NativeCase *c, NativeResult *result)
{
    struct NativeContext *x = &native_host_context;
    uint8_t *memory = result->memory;
    native_case_memory(c, child->batch->common, memory);
    if (c->absent) {
        expect_undefined(c, result);
        return;
    }
    uint8_t *data = (uint8_t *)(uintptr_t)NATIVE_DATA, *stack = (uint8_t *)(uintptr_t)NATIVE_STACK;
    memcpy(data, memory, 2 * NATIVE_PAGE);
    memcpy(stack, memory + NATIVE_IMAGE_STACK, NATIVE_PAGE);
    memcpy(child->constant, memory + NATIVE_IMAGE_CONST, NATIVE_PAGE);
    uint8_t *code = child->code + (c->start.rip - NATIVE_CODE);
    memcpy(code, c->code, c->length);

    memcpy(x->gpr, c->start.gpr, sizeof x->gpr);
    x->rflags = c->start.rflags;
    x->code = c->start.rip;
    x->far_offset = (uint32_t)c->start.rip;
    x->far_selector = NATIVE_CS_32;
    x->mode_32 = c->mode_32;
    x->fs_base = c->start.fs_base;
    x->gs_base = c->start.gs_base;
    memcpy(x->xsave, c->start.xsave, NATIVE_XSAVE);
    set_segments();
    host_result = result;
    native_host_enter();

    memset(code, 0xcc, c->length);
    memcpy(memory, data, 2 * NATIVE_PAGE);
    memcpy(memory + NATIVE_IMAGE_STACK, stack, NATIVE_PAGE);
    result->lost = false;
}

static void run_child(NativeBatch *batch)
{
    HostChild child = { .batch = batch };
    set_window(&child);
    set_signals();
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
    while (batch->done < batch->count) {
        unsigned i = batch->done;
        run_case(&child, &batch->cases[i], &batch->results[i]);
        __atomic_store_n(&batch->done, i + 1, __ATOMIC_RELEASE);
    }
    syscall(SYS_exit, 0); // the only way out that strict mode leaves
}

NativeBatch *native_batch_new(void)
{
    NativeBatch *batch = mmap(NULL, sizeof *batch, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    g_assert(batch != MAP_FAILED);
    return batch;
}

void native_batch_free(NativeBatch *batch)
{
    munmap(batch, sizeof *batch);
}

const char *native_host_missing(void)
{
    if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE))
        return "the kernel does not let user code use RDFSBASE";
    if (!__builtin_cpu_supports("avx"))
        return "the CPU has no AVX";
    return NULL;
}

uint64_t native_host_cpu_segment(void)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(sched_getcpu(), &cpus);
    sched_setaffinity(0, sizeof cpus, &cpus);
    uint32_t limit = 0, rights = 0;
    bool is_there;
    __asm__("lsl %3, %0\n\tlar %3, %1"
            : "+r"(limit), "+r"(rights), "=@ccz"(is_there)
            : "r"((uint32_t)NATIVE_CPU_SEGMENT));
    if (!is_there)
        return 0;
    return (limit & 0xffff) | (uint64_t)(rights & 0xf0ff00) << 32 |
           (uint64_t)(limit >> 16 & 15) << 48;
}

void native_host_run(NativeBatch *batch)
{
    batch->done = 0;
    for (unsigned i = 0; i < batch->count; i++)
        batch->results[i].lost = true;
    while (batch->done < batch->count) {
        pid_t child = fork();
        g_assert(child >= 0);
        if (child == 0) {
            run_child(batch);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
            g_error("the window's addresses are not free in the child");
        if (batch->done < batch->count)
            batch->done++; // the lost one
    }
    for (unsigned i = 0; i < batch->count; i++)
        native_registers_normalize(&batch->results[i].end);
}
