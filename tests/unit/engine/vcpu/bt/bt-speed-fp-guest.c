// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's side of bt-speed-fp.c: floating-point and integer-SIMD programs as a compiler makes
// them, in one section that is copied into the guest. The same bytes run natively.
#include "tests/unit/engine/vcpu/bt/bt-speed-fp-guest.h"

#define GUEST __attribute__((section("guest_fp"), noinline))

enum { SIZE = 32, BODIES = 5 };

GUEST static double matrix(const BtSpeedConstants *k, double *m)
{
    double *a = m, *b = m + SIZE * SIZE, *c = b + SIZE * SIZE, x = k->half;
    for (int i = 0; i < 2 * SIZE * SIZE; i++) {
        m[i] = x;
        x = x * k->half + k->one;
    }
    for (int i = 0; i < SIZE; i++) {
        for (int j = 0; j < SIZE; j++) {
            double sum = k->zero;
            for (int l = 0; l < SIZE; l++)
                sum += a[i * SIZE + l] * b[l * SIZE + j];
            c[i * SIZE + j] = sum;
        }
    }
    return c[SIZE + 1] + c[SIZE * SIZE - 1];
}

GUEST static double nbody(const BtSpeedConstants *k, double *m)
{
    double *x = m, *v = m + 3 * BODIES;
    for (int i = 0; i < 3 * BODIES; i++) {
        x[i] = (i * 7 % 11) * k->half + k->small;
        v[i] = (i * 5 % 7) * k->small;
    }
    for (int step = 0; step < 20; step++) {
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++) {
                double d[3], square = k->small;
                for (int l = 0; l < 3; l++) {
                    d[l] = x[3 * i + l] - x[3 * j + l];
                    square += d[l] * d[l];
                }
                double scale = k->small / (square * __builtin_sqrt(square));
                for (int l = 0; l < 3; l++) {
                    v[3 * i + l] -= d[l] * scale;
                    v[3 * j + l] += d[l] * scale;
                }
            }
        }
        for (int i = 0; i < 3 * BODIES; i++)
            x[i] += v[i] * k->small;
    }
    return x[0] + x[7];
}

GUEST static double mandelbrot(const BtSpeedConstants *k)
{
    long count = 0;
    for (int py = 0; py < 16; py++) {
        for (int px = 0; px < 16; px++) {
            double cx = px * k->small * k->four - k->two, cy = py * k->small * k->four - k->one;
            double x = k->zero, y = k->zero;
            for (int i = 0; i < 50; i++) {
                double xx = x * x, yy = y * y;
                if (xx + yy > k->four)
                    break;
                y = k->two * x * y + cy;
                x = xx - yy + cx;
                count++;
            }
        }
    }
    return (double)count;
}

// Apart and not vectorized: that would take constants out of memory.
GUEST __attribute__((optimize("no-tree-vectorize")))
static void fill(const BtSpeedConstants *k, float *a, float *b, uint8_t *c, uint8_t *d)
{
    for (int i = 0; i < 1024; i++) {
        a[i] = (float)i;
        b[i] = (float)k->one;
    }
    for (int i = 0; i < 4096; i++) {
        c[i] = (uint8_t)i;
        d[i] = (uint8_t)(i >> 3);
    }
}

GUEST __attribute__((target("avx2,fma"), optimize("O3", "fast-math")))
static double avx2(const BtSpeedConstants *k, float *restrict a, float *restrict b)
{
    float half = (float)k->half;
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1024; i++)
            b[i] = a[i] * half + b[i];
    }
    return b[17] + b[1000];
}

GUEST __attribute__((optimize("O3")))
static double blend(uint8_t *restrict a, uint8_t *restrict b, uint8_t *restrict c)
{
    for (int i = 0; i < 4096; i++) {
        uint8_t sum = (uint8_t)(a[i] + b[i]), low = a[i] < b[i] ? a[i] : b[i];
        c[i] = sum ^ low;
    }
    return c[77] + c[4000];
}

GUEST static double x87(const BtSpeedConstants *k)
{
    long double sum = k->zero, x = k->small;
    for (int i = 1; i < 400; i++) {
        long double term = k->one;
        for (int j = 0; j < 6; j++)
            term = term * x + k->half;
        sum += term / i;
        x = -x * k->half + k->one;
    }
    return (double)sum;
}

GUEST uint64_t bt_speed_fp_guest(uint64_t which, uint64_t repeat, uint8_t *memory)
{
    const BtSpeedConstants *k = (const BtSpeedConstants *)memory;
    double *m = (double *)(memory + 4096);
    double result = k->zero;
    fill(k, (float *)m, (float *)m + 1024, memory + 16384, memory + 20480);
    for (uint64_t i = 0; i < repeat; i++) {
        if (which == BT_SPEED_FP_MATRIX)
            result += matrix(k, m);
        else if (which == BT_SPEED_FP_NBODY)
            result += nbody(k, m);
        else if (which == BT_SPEED_FP_MANDELBROT)
            result += mandelbrot(k);
        else if (which == BT_SPEED_FP_AVX2)
            result += avx2(k, (float *)m, (float *)m + 1024);
        else if (which == BT_SPEED_FP_BLEND)
            result += blend(memory + 16384, memory + 20480, memory + 24576);
        else
            result += x87(k);
    }
    uint64_t bits;
    __builtin_memcpy(&bits, &result, sizeof bits);
    return bits;
}
