// SPDX-License-Identifier: GPL-2.0-or-later
#include "engine/devices/chipset/vm-generation.h"
#include "tests/unit/engine/devices/chipset/chip-rig.h"

static const uint8_t first[VM_GENERATION_SIZE] = "the first one, 1";
static const uint8_t second[VM_GENERATION_SIZE] = "another one is 2";

static void count_change(void *opaque)
{
    (*(unsigned *)opaque)++;
}

static void plug(ChipRig *rig, unsigned *changes)
{
    VmGenerationConfig config = { .address = VM_GENERATION_ADDRESS, .changed = count_change,
                                  .opaque = changes };
    memcpy(config.id, first, sizeof first);
    rig_open(rig);
    rig_plug(rig, &vm_generation_ops, &config);
}

static void shows(ChipRig *rig, const uint8_t *id)
{
    uint8_t bytes[VM_GENERATION_SIZE];
    g_assert_true(guest_memory_read(rig->host.memory, VM_GENERATION_ADDRESS, bytes, sizeof bytes));
    g_assert_cmpmem(bytes, sizeof bytes, id, VM_GENERATION_SIZE);
}

static void change(void)
{
    ChipRig rig;
    unsigned changes = 0;
    plug(&rig, &changes);
    shows(&rig, first);
    g_assert_cmpuint(changes, ==, 0);
    vm_generation_set(rig.chip, second);
    shows(&rig, second);
    g_assert_cmpuint(changes, ==, 1);
    rig_close(&rig);
}

static void read_only(void)
{
    ChipRig rig;
    unsigned changes = 0;
    plug(&rig, &changes);
    guest_memory_write(rig.host.memory, VM_GENERATION_ADDRESS, second, sizeof second);
    shows(&rig, first);
    rig_close(&rig);
}

static void kept_over_reset(void)
{
    ChipRig rig;
    unsigned changes = 0;
    plug(&rig, &changes);
    vm_generation_set(rig.chip, second);
    vm_generation_ops.reset(rig.chip, RESET_WARM);
    vm_generation_ops.reset(rig.chip, RESET_COLD);
    shows(&rig, second);
    g_assert_cmpuint(changes, ==, 1);
    rig_close(&rig);
}

// Loading alone is no news: a suspended machine goes on once.
static void saved(void)
{
    ChipRig rig, other;
    unsigned changes = 0;
    g_autoptr(GError) error = NULL;
    plug(&rig, &changes);
    vm_generation_set(rig.chip, second);
    g_autoptr(GBytes) record = state_save(vm_generation_ops.state, rig.chip);
    rig_close(&rig);
    changes = 0;
    plug(&other, &changes);
    g_assert_true(state_load(vm_generation_ops.state, other.chip, record, &error));
    shows(&other, second);
    g_assert_cmpuint(changes, ==, 0);
    rig_close(&other);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vm-generation/change", change);
    g_test_add_func("/vm-generation/read-only", read_only);
    g_test_add_func("/vm-generation/kept-over-reset", kept_over_reset);
    g_test_add_func("/vm-generation/saved", saved);
    return g_test_run();
}
