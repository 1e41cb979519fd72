// SPDX-License-Identifier: GPL-2.0-or-later
// The guest's side of bt-speed.c: integer programs as a compiler makes them, position independent,
// without calls to a library, all in one section that is copied into the guest. The same bytes run
// natively.
#include "tests/unit/engine/vcpu/bt/bt-speed-guest.h"

#define GUEST __attribute__((section("guest_code"), noinline))
#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

GUEST static unsigned fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

GUEST static void quicksort(int *a, long left, long right)
{
    while (left < right) {
        int pivot = a[(left + right) >> 1];
        long i = left, j = right;
        while (i <= j) {
            while (a[i] < pivot)
                i++;
            while (a[j] > pivot)
                j--;
            if (i <= j) {
                int t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (j - left < right - i) {
            quicksort(a, left, j);
            left = i;
        } else {
            quicksort(a, i, right);
            right = j;
        }
    }
}

GUEST static void sha_block(uint32_t *h, const uint32_t *k, const uint32_t *in, uint32_t *w)
{
    for (int i = 0; i < 16; i++)
        w[i] = __builtin_bswap32(in[i]);
    for (int i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (ROTATE(x, 7) ^ ROTATE(x, 18) ^ x >> 3) +
               (ROTATE(y, 17) ^ ROTATE(y, 19) ^ y >> 10);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], z = h[7];
    for (int i = 0; i < 64; i++) {
        uint32_t t = z + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) + ((e & f) ^ (~e & g)) +
                     k[i] + w[i];
        uint32_t u = (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) +
                     ((a & b) ^ (a & c) ^ (b & c));
        z = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + u;
    }
    h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += z;
}

GUEST static uint64_t compress(const uint8_t *s, uint64_t n, uint8_t *d, uint32_t *table)
{
    uint64_t i = 0, out = 0, literal = 0;
    for (int k = 0; k < 1 << 12; k++)
        table[k] = 0;
    while (i + 12 < n) {
        uint32_t v = *(const uint32_t *)(s + i);
        uint32_t hash = (v * 2654435761u) >> 20;
        uint64_t c = table[hash];
        table[hash] = (uint32_t)i;
        if (c && i - c < 65536 && *(const uint32_t *)(s + c) == v) {
            uint64_t length = 4;
            while (i + length < n - 8 && s[c + length] == s[i + length] && length < 255)
                length++;
            d[out++] = (uint8_t)(i - literal);
            for (uint64_t k = literal; k < i; k++)
                d[out++] = s[k];
            d[out++] = (uint8_t)length;
            d[out++] = (uint8_t)(i - c);
            i += length;
            literal = i;
        } else {
            i++;
        }
    }
    return out;
}

typedef struct Node {
    struct Node *left, *right;
    uint64_t key, value;
} Node;

GUEST static uint64_t search_tree(Node *pool)
{
    uint64_t state = 12345, sum = 0;
    unsigned used = 0;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t key = next_random(&state);
        Node **at = used ? &pool[0].left : (Node **)0;
        if (at) {
            Node *t = &pool[0];
            do {
                at = key < t->key ? &t->left : &t->right;
                t = *at;
            } while (t);
            *at = &pool[used];
        }
        pool[used++] = (Node){.key = key, .value = i};
    }
    state = 12345;
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t key = next_random(&state);
        const Node *t = &pool[0];
        while (t && t->key != key) {
            t = key < t->key ? t->left : t->right;
            sum++;
        }
    }
    return sum;
}

GUEST static uint32_t checksum(const uint8_t *p, uint64_t n, uint32_t *table)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
        table[i] = c;
    }
    uint32_t c = ~0u;
    while (n--)
        c = table[(uint8_t)(c ^ *p++)] ^ c >> 8;
    return ~c;
}

GUEST static uint64_t strings(char *a, char *b)
{
    uint64_t sum = 0;
    for (int i = 0; i < 4000; i++)
        a[i] = (char)('a' + i % 23);
    a[4000] = 0;
    for (int k = 0; k < 4; k++) {
        char *d = b;
        const char *s = a;
        while ((*d++ = *s++))
            ;
        for (s = b; *s; s++)
            sum++;
        const char *x = a, *y = b;
        while (*x && *x == *y)
            x++, y++;
        sum += (uint64_t)(x - a);
    }
    return sum;
}

GUEST static uint64_t add_one(uint64_t x) { return x + 1; }
GUEST static uint64_t times_three(uint64_t x) { return x * 3; }
GUEST static uint64_t exor_seven(uint64_t x) { return x ^ 7; }
GUEST static uint64_t minus_nine(uint64_t x) { return x - 9; }

GUEST static uint64_t calls(unsigned n)
{
    uint64_t (*volatile f[4])(uint64_t) = {add_one, times_three, exor_seven, minus_nine};
    uint64_t x = n;
    for (unsigned i = 0; i < n; i++)
        x = f[x >> 3 & 3](x);
    return x;
}

GUEST static uint64_t sieve(uint8_t *composite, unsigned n)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < n; i++)
        composite[i] = 0;
    for (unsigned i = 2; i < n; i++) {
        if (composite[i])
            continue;
        count++;
        for (unsigned j = 2 * i; j < n; j += i)
            composite[j] = 1;
    }
    return count;
}

GUEST uint64_t bt_speed_guest(uint64_t which, uint64_t repeat, uint8_t *memory)
{
    uint64_t result = 0;
    uint64_t state = 88172645463325252u;
    uint32_t *words = (uint32_t *)memory;
    for (uint64_t n = 0; n < repeat; n++) {
        if (which == BT_SPEED_FIBONACCI) {
            result += fibonacci(20);
        } else if (which == BT_SPEED_QUICKSORT) {
            for (int i = 0; i < 8192; i++)
                words[i] = (uint32_t)next_random(&state) >> 1;
            quicksort((int *)words, 0, 8191);
            result += words[5];
        } else if (which == BT_SPEED_SHA) {
            for (uint32_t i = 0; i < 96; i++)
                words[i] = i * 2654435761u;
            for (int i = 0; i < 100; i++)
                sha_block(words, words + 16, words + 80, words + 128);
            result += words[0];
        } else if (which == BT_SPEED_COMPRESS) {
            for (unsigned i = 0; i < 32768; i++) {
                uint64_t x = next_random(&state);
                memory[i] = (uint8_t)(x & 15 ? 'a' + i % 25 : x >> 8);
            }
            result += compress(memory, 32768, memory + 65536, words + 65536);
        } else if (which == BT_SPEED_TREE) {
            result += search_tree((Node *)memory);
        } else if (which == BT_SPEED_CHECKSUM) {
            result += checksum(memory, 32768, words + 16384);
        } else if (which == BT_SPEED_STRINGS) {
            result += strings((char *)memory, (char *)memory + 8192);
        } else if (which == BT_SPEED_CALLS) {
            result += calls(10000);
        } else {
            result += sieve(memory, 30000);
        }
    }
    return result;
}
