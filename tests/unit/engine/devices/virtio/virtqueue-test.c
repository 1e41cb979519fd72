// SPDX-License-Identifier: GPL-2.0-or-later
// Hand-built rings: what a sound driver writes, and what a hostile one might.
#include "engine/devices/virtio/virtqueue.h"

#include "engine/base/bytes.h"

#include <glib.h>

#define RAM_SIZE    (1u << 20)
#define DESCRIPTORS 0x1000u
#define AVAILABLE   0x3000u
#define USED        0x4000u
#define TABLE       0x5000u // an indirect table
#define DATA        0x8000u
#define SIZE        8u

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

typedef struct {
    uint8_t *ram;
    GuestMemory *memory;
    Virtqueue queue;
    unsigned broken;
} Fixture;

static void on_broken(void *opaque)
{
    ((Fixture *)opaque)->broken++;
}

static void setup(Fixture *f, gconstpointer data)
{
    f->ram = g_aligned_alloc0(1, RAM_SIZE, GUEST_PAGE_SIZE);
    f->memory = guest_memory_new(UINT64_C(1) << 40);
    guest_memory_map(f->memory, "ram", 0, RAM_SIZE, f->ram, GUEST_SLOT_READ | GUEST_SLOT_WRITE);
    virtqueue_init(&f->queue, "test", f->memory, SIZE, on_broken, f);
    f->queue.state.descriptors = DESCRIPTORS;
    f->queue.state.available = AVAILABLE;
    f->queue.state.used = USED;
    f->queue.state.enabled = 1;
    f->queue.indirect = true;
}

static void teardown(Fixture *f, gconstpointer data)
{
    virtqueue_clear(&f->queue);
    guest_memory_free(f->memory);
    g_aligned_free(f->ram);
}

static void descriptor(Fixture *f, uint32_t table, unsigned index, uint64_t address,
                       uint32_t length, uint16_t flags, uint16_t next)
{
    uint8_t *d = f->ram + table + index * 16;
    le64_write(d, address);
    le32_write(d + 8, length);
    le16_write(d + 12, flags);
    le16_write(d + 14, next);
}

static void offer(Fixture *f, uint16_t head)
{
    uint16_t index = le16_read(f->ram + AVAILABLE + 2);
    le16_write(f->ram + AVAILABLE + 4 + 2 * (index % SIZE), head);
    le16_write(f->ram + AVAILABLE + 2, (uint16_t)(index + 1));
}

static void expect_broken(Fixture *f)
{
    VirtChain chain;
    g_assert_false(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(f->broken, ==, 1);
    g_assert_false(virtqueue_ready(&f->queue));
    // A broken queue stays broken, says it once and takes nothing back.
    g_assert_false(virtqueue_pop(&f->queue, &chain));
    virtqueue_push(&f->queue, 0, 1);
    g_assert_cmpuint(f->broken, ==, 1);
    g_assert_cmpuint(le16_read(f->ram + USED + 2), ==, 0);
}

static void empty(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    g_assert_false(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(f->broken, ==, 0);
}

static void chain_of_three(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    descriptor(f, DESCRIPTORS, 5, DATA, 10, NEXT, 2);
    descriptor(f, DESCRIPTORS, 2, DATA + 100, 6, NEXT, 7);
    descriptor(f, DESCRIPTORS, 7, DATA + 200, 4, WRITE, 0);
    memcpy(f->ram + DATA, "0123456789", 10);
    memcpy(f->ram + DATA + 100, "abcdef", 6);
    offer(f, 5);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(chain.head, ==, 5);
    g_assert_cmpuint(chain.out_size, ==, 16);
    g_assert_cmpuint(chain.in_size, ==, 4);
    char text[17] = "";
    g_assert_cmpuint(virtqueue_read(&f->queue, &chain, 8, text, 16), ==, 8);
    g_assert_cmpstr(text, ==, "89abcdef");
    g_assert_cmpuint(virtqueue_write(&f->queue, &chain, 1, "xyzzy", 5), ==, 3);
    g_assert_cmpmem(f->ram + DATA + 200, 5, "\0xyz\0", 5);
    virtqueue_push(&f->queue, chain.head, 4);
    g_assert_cmpuint(le16_read(f->ram + USED + 2), ==, 1);
    g_assert_cmpuint(le32_read(f->ram + USED + 4), ==, 5);
    g_assert_cmpuint(le32_read(f->ram + USED + 8), ==, 4);
}

static void indices_wrap(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    f->queue.state.next_available = f->queue.state.used_index = 0xfffe;
    le16_write(f->ram + AVAILABLE + 2, 0xfffe);
    for (unsigned i = 0; i < 5; i++) {
        descriptor(f, DESCRIPTORS, i, DATA, 1, 0, 0);
        offer(f, (uint16_t)i);
    }
    for (unsigned i = 0; i < 5; i++) {
        g_assert_true(virtqueue_pop(&f->queue, &chain));
        g_assert_cmpuint(chain.head, ==, i);
        virtqueue_push(&f->queue, chain.head, 0);
    }
    g_assert_false(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(le16_read(f->ram + USED + 2), ==, 3);
    g_assert_cmpuint(le32_read(f->ram + USED + 4 + 8 * 2), ==, 4);
}

static void indirect_table(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    descriptor(f, DESCRIPTORS, 1, TABLE, 3 * 16, INDIRECT, 0);
    descriptor(f, TABLE, 0, DATA, 3, NEXT, 2);
    descriptor(f, TABLE, 2, DATA + 8, 5, NEXT, 1);
    descriptor(f, TABLE, 1, DATA + 16, 7, WRITE, 0);
    offer(f, 1);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(chain.head, ==, 1);
    g_assert_cmpuint(chain.out_count, ==, 2);
    g_assert_cmpuint(chain.out_size, ==, 8);
    g_assert_cmpuint(chain.in_size, ==, 7);
}

static void indirect_after_direct(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    descriptor(f, DESCRIPTORS, 0, DATA, 3, NEXT, 1);
    descriptor(f, DESCRIPTORS, 1, TABLE, 16, INDIRECT, 0);
    descriptor(f, TABLE, 0, DATA + 16, 7, WRITE, 0);
    offer(f, 0);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(chain.out_size, ==, 3);
    g_assert_cmpuint(chain.in_size, ==, 7);
}

static void direct_loop(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, DATA, 1, NEXT, 1);
    descriptor(f, DESCRIPTORS, 1, DATA, 1, NEXT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_loop(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
    descriptor(f, TABLE, 0, DATA, 0, NEXT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_in_indirect(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
    descriptor(f, TABLE, 0, TABLE, 16, INDIRECT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_with_next(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, TABLE, 16, INDIRECT | NEXT, 1);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_odd_length(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, TABLE, 24, INDIRECT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_not_negotiated(Fixture *f, gconstpointer data)
{
    f->queue.indirect = false;
    descriptor(f, DESCRIPTORS, 0, TABLE, 16, INDIRECT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void indirect_outside_ram(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, UINT64_C(0xfffffffffffffff8), 0xfffffff0, INDIRECT, 0);
    offer(f, 0);
    expect_broken(f);
}

static void next_outside_table(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, DATA, 1, NEXT, SIZE);
    offer(f, 0);
    expect_broken(f);
}

static void head_outside_table(Fixture *f, gconstpointer data)
{
    offer(f, SIZE);
    expect_broken(f);
}

static void available_jumped(Fixture *f, gconstpointer data)
{
    le16_write(f->ram + AVAILABLE + 2, SIZE + 1);
    expect_broken(f);
}

static void readable_after_writable(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, DATA, 1, NEXT | WRITE, 1);
    descriptor(f, DESCRIPTORS, 1, DATA, 1, 0, 0);
    offer(f, 0);
    expect_broken(f);
}

static void buffer_wraps(Fixture *f, gconstpointer data)
{
    descriptor(f, DESCRIPTORS, 0, UINT64_MAX - 3, 5, 0, 0);
    offer(f, 0);
    expect_broken(f);
}

static void rings_outside_ram(Fixture *f, gconstpointer data)
{
    f->queue.state.available = UINT64_C(1) << 39;
    expect_broken(f);
}

static void descriptors_outside_ram(Fixture *f, gconstpointer data)
{
    f->queue.state.descriptors = UINT64_MAX - 4;
    descriptor(f, DESCRIPTORS, 0, DATA, 1, 0, 0);
    offer(f, 0);
    expect_broken(f);
}

// A buffer outside RAM is the driver's loss, not the queue's: bus reads of nothing give ones.
static void buffer_outside_ram(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    uint8_t bytes[4] = { 0 };
    descriptor(f, DESCRIPTORS, 0, UINT64_C(1) << 41, 4, NEXT, 1);
    descriptor(f, DESCRIPTORS, 1, UINT64_C(1) << 41, 4, WRITE, 0);
    offer(f, 0);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(virtqueue_read(&f->queue, &chain, 0, bytes, 4), ==, 4);
    g_assert_cmphex(le32_read(bytes), ==, 0xffffffff);
    g_assert_cmpuint(virtqueue_write(&f->queue, &chain, 0, bytes, 4), ==, 4);
    g_assert_cmpuint(f->broken, ==, 0);
}

// The longest chain that is taken, through an indirect table, and one descriptor more.
static void longest_chain(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    for (unsigned i = 0; i < VIRTQUEUE_MAX_CHAIN; i++)
        descriptor(f, 0x20000, i, DATA, 1, NEXT, (uint16_t)(i + 1));
    descriptor(f, 0x20000, VIRTQUEUE_MAX_CHAIN - 2, DATA, 1, 0, 0);
    descriptor(f, DESCRIPTORS, 0, 0x20000, VIRTQUEUE_MAX_CHAIN * 16, INDIRECT, 0);
    offer(f, 0);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(chain.out_count, ==, VIRTQUEUE_MAX_CHAIN - 1);
    descriptor(f, 0x20000, VIRTQUEUE_MAX_CHAIN - 2, DATA, 1, NEXT, VIRTQUEUE_MAX_CHAIN - 1);
    offer(f, 0);
    expect_broken(f);
}

static void interrupt_flag(Fixture *f, gconstpointer data)
{
    virtqueue_push(&f->queue, 0, 0);
    g_assert_true(virtqueue_wants_interrupt(&f->queue));
    le16_write(f->ram + AVAILABLE, 1);
    virtqueue_push(&f->queue, 1, 0);
    g_assert_false(virtqueue_wants_interrupt(&f->queue));
}

// With the event index, the driver names the used entry that it wants to hear of.
static void event_index(Fixture *f, gconstpointer data)
{
    uint8_t *used_event = f->ram + AVAILABLE + 4 + 2 * SIZE;
    f->queue.event_index = true;
    le16_write(used_event, 0);
    virtqueue_push(&f->queue, 0, 0);
    g_assert_true(virtqueue_wants_interrupt(&f->queue));
    le16_write(used_event, 2);
    virtqueue_push(&f->queue, 0, 0);
    g_assert_false(virtqueue_wants_interrupt(&f->queue));
    virtqueue_push(&f->queue, 0, 0);
    g_assert_true(virtqueue_wants_interrupt(&f->queue));
    virtqueue_push(&f->queue, 0, 0);
    g_assert_false(virtqueue_wants_interrupt(&f->queue));
}

static void event_index_asks_for_kick(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    uint8_t *available_event = f->ram + USED + 4 + 8 * SIZE;
    f->queue.event_index = true;
    descriptor(f, DESCRIPTORS, 0, DATA, 1, 0, 0);
    offer(f, 0);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_false(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(le16_read(available_event), ==, 1);
}

static void unpop_gives_the_same_chain(Fixture *f, gconstpointer data)
{
    VirtChain chain;
    descriptor(f, DESCRIPTORS, 3, DATA, 1, 0, 0);
    offer(f, 3);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    virtqueue_unpop(&f->queue, 1);
    g_assert_true(virtqueue_pop(&f->queue, &chain));
    g_assert_cmpuint(chain.head, ==, 3);
}

// Entries that were filled ahead become visible together.
static void filled_together(Fixture *f, gconstpointer data)
{
    virtqueue_fill(&f->queue, 0, 4, 10);
    virtqueue_fill(&f->queue, 1, 6, 20);
    g_assert_cmpuint(le16_read(f->ram + USED + 2), ==, 0);
    virtqueue_publish(&f->queue, 2);
    g_assert_cmpuint(le16_read(f->ram + USED + 2), ==, 2);
    g_assert_cmpuint(le32_read(f->ram + USED + 12), ==, 6);
    g_assert_cmpuint(le32_read(f->ram + USED + 16), ==, 20);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(path, function)                                                                        \
    g_test_add("/virtqueue/" path, Fixture, NULL, setup, function, teardown)
    ADD("empty", empty);
    ADD("chain-of-three", chain_of_three);
    ADD("indices-wrap", indices_wrap);
    ADD("indirect/table", indirect_table);
    ADD("indirect/after-direct", indirect_after_direct);
    ADD("indirect/loop", indirect_loop);
    ADD("indirect/in-indirect", indirect_in_indirect);
    ADD("indirect/with-next", indirect_with_next);
    ADD("indirect/odd-length", indirect_odd_length);
    ADD("indirect/not-negotiated", indirect_not_negotiated);
    ADD("indirect/outside-ram", indirect_outside_ram);
    ADD("hostile/direct-loop", direct_loop);
    ADD("hostile/next-outside-table", next_outside_table);
    ADD("hostile/head-outside-table", head_outside_table);
    ADD("hostile/available-jumped", available_jumped);
    ADD("hostile/readable-after-writable", readable_after_writable);
    ADD("hostile/buffer-wraps", buffer_wraps);
    ADD("hostile/rings-outside-ram", rings_outside_ram);
    ADD("hostile/descriptors-outside-ram", descriptors_outside_ram);
    ADD("hostile/buffer-outside-ram", buffer_outside_ram);
    ADD("longest-chain", longest_chain);
    ADD("interrupt/flag", interrupt_flag);
    ADD("interrupt/event-index", event_index);
    ADD("event-index-asks-for-kick", event_index_asks_for_kick);
    ADD("unpop", unpop_gives_the_same_chain);
    ADD("filled-together", filled_together);
    return g_test_run();
}
