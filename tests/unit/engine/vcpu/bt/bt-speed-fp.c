// SPDX-License-Identifier: GPL-2.0-or-later
// How fast the interpreter runs compiled floating-point and SIMD code, as bt-speed.c does for
// integer code: the same bytes natively and in a guest of one vCPU. `bt-speed-fp [program]`. A
// benchmark, not a test; but it fails where the results differ.
#include "tests/unit/engine/vcpu/bt/bt-engine.h"
#include "tests/unit/engine/vcpu/bt/bt-harness.h"
#include "tests/unit/engine/vcpu/bt/bt-speed-fp-guest.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { GUEST_CODE = 0x100000, GUEST_MEMORY = 0x400000, MEMORY_SIZE = 1 << 16 };

static const char *const names[BT_SPEED_FP_PROGRAMS] = {"matrix", "nbody", "mandelbrot",
                                                        "avx2",   "blend", "x87"};

// CPU time of this thread, in seconds.
static double cpu_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void set_memory(uint8_t *memory)
{
    BtSpeedConstants k = {0.0, 0.5, 1.0, 2.0, 4.0, 0.0625};
    memset(memory, 0, MEMORY_SIZE);
    memcpy(memory, &k, sizeof k);
}

static double native_round(unsigned which, uint64_t repeat, uint8_t *memory, uint64_t *ret_result)
{
    set_memory(memory);
    double start = cpu_time();
    *ret_result = bt_speed_fp_guest(which, repeat, memory);
    return cpu_time() - start;
}

static double guest_round(BtHarness *h, unsigned which, uint64_t repeat, uint64_t *ret_result)
{
    set_memory(bt_harness_at(h, GUEST_MEMORY));
    VcpuState *s = bt_harness_state(h, BT_HARNESS_LONG);
    s->cr4 |= 1 << 18; // OSXSAVE
    s->xcr0 = 7;
    s->gpr[VCPU_RDI] = which;
    s->gpr[VCPU_RSI] = repeat;
    s->gpr[VCPU_RDX] = GUEST_MEMORY;
    s->rip = GUEST_CODE + (uint64_t)((const char *)bt_speed_fp_guest - __start_guest_fp);
    s->gpr[VCPU_RSP] = BT_HARNESS_STACK - 8; // a return address to HLT
    uint16_t control = 0x37f;
    memcpy(s->xsave, &control, sizeof control);
    s->xsave[4] = 0; // the x87 stack is empty
    uint64_t back = BT_HARNESS_CODE;
    memcpy(bt_harness_at(h, BT_HARNESS_STACK - 8), &back, 8);
    double start = cpu_time();
    bt_harness_run(h);
    *ret_result = h->state.gpr[VCPU_RAX];
    return cpu_time() - start;
}

static double measure(BtHarness *h, unsigned which, uint8_t *memory)
{
    uint64_t repeat = 1, expected, result;
    while (native_round(which, repeat, memory, &expected) < 2e-3 && repeat < 1 << 20)
        repeat *= 2;
    double native = 1e9, guest = 1e9;
    VcpuStats before, after;
    for (unsigned i = 0; i < 5; i++) {
        native = fmin(native, native_round(which, repeat, memory, &expected));
        bt_test_engine()->stats(h->cpu, &before);
        guest = fmin(guest, guest_round(h, which, repeat, &result));
        bt_test_engine()->stats(h->cpu, &after);
        g_assert_cmphex(expected, ==, result);
    }
    double instructions = (double)(after.instructions - before.instructions);
    printf("%-10s native %6.2f ms  guest %7.2f ms  ratio %5.1f  %6.1f MIPS  %4.2f ns/insn\n",
           names[which], native * 1e3, guest * 1e3, guest / native, instructions / guest / 1e6,
           guest * 1e9 / instructions);
    return guest / native;
}

int main(int argc, char **argv)
{
    BtHarness *h = bt_harness_new();
    bt_harness_code(h, GUEST_CODE, __start_guest_fp, (size_t)(__stop_guest_fp - __start_guest_fp));
    bt_harness_code(h, BT_HARNESS_CODE, "", 0);
    uint8_t *memory = g_malloc(MEMORY_SIZE);
    double sum = 0;
    unsigned count = 0;
    for (unsigned i = 0; i < BT_SPEED_FP_PROGRAMS; i++) {
        if (argc > 1 && strcmp(argv[1], names[i]) != 0)
            continue;
        sum += log(measure(h, i, memory));
        count++;
    }
    if (count)
        printf("geometric mean %.1f\n", exp(sum / count));
    g_free(memory);
    bt_harness_free(h);
    return 0;
}
