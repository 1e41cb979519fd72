// SPDX-License-Identifier: GPL-2.0-or-later
// The machine's generation ID: the same over pauses, resets, suspending and new starts; another one
// after going to a snapshot, in a clone, and in a run that keeps nothing. Its disks' store
// remembers it, with what tells whether it still holds: the store's own identity, which no clone
// has, and how often its running state went to a snapshot.
#include "engine/machine-private.h"

#include "engine/base/bytes.h"
#include "engine/devices/chipset/acpi-pm.h"
#include "engine/devices/chipset/vm-generation.h"
#include "engine/firmware/e820.h"

#include <string.h>
#include <sys/random.h>

_Static_assert(E820_GENERATION_PAGE == VM_GENERATION_ADDRESS, "what is reserved is where it is");

#define RECORD_NAME "vm-generation"
#define EVENT 5 // dsdt-classic-1.asl

// The record: the ID, travels of the store (u64), the store's UUID as text.
enum { TRAVELS = VM_GENERATION_SIZE, STORE_UUID = TRAVELS + 8, RECORD_SIZE = STORE_UUID + 36 };

static void make_id(uint8_t ret_id[VM_GENERATION_SIZE])
{
    if (getrandom(ret_id, VM_GENERATION_SIZE, 0) == VM_GENERATION_SIZE)
        return;
    for (unsigned i = 0; i < VM_GENERATION_SIZE; i += 4) // a kernel without getrandom
        le32_write(ret_id + i, g_random_int());
}

static void fill_record(Store *store, const uint8_t id[VM_GENERATION_SIZE],
                        uint8_t ret_record[RECORD_SIZE])
{
    StoreInfo info;
    store_info(store, &info);
    memcpy(ret_record, id, VM_GENERATION_SIZE);
    le64_write(ret_record + TRAVELS, info.travels);
    memcpy(ret_record + STORE_UUID, info.uuid, 36);
}

static bool read_id(Store *store, uint8_t ret_id[VM_GENERATION_SIZE])
{
    g_autoptr(GBytes) bytes = store_blob_get(store, STORE_CURRENT, RECORD_NAME, NULL);
    uint8_t expected[RECORD_SIZE];
    if (!bytes || g_bytes_get_size(bytes) != RECORD_SIZE)
        return false;
    const uint8_t *record = g_bytes_get_data(bytes, NULL);
    fill_record(store, record, expected);
    memcpy(ret_id, record, VM_GENERATION_SIZE);
    return memcmp(record, expected, RECORD_SIZE) == 0;
}

// Where that fails the next start has another one, which is more news than there is, and no harm.
static void remember(Store *store, const uint8_t id[VM_GENERATION_SIZE])
{
    uint8_t record[RECORD_SIZE];
    fill_record(store, id, record);
    g_autoptr(GBytes) bytes = g_bytes_new(record, sizeof record);
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) old = store_blob_get(store, STORE_CURRENT, RECORD_NAME, NULL);
    if ((!old && !store_volume_add(store, RECORD_NAME, STORE_RECORD, 0, NULL, &error)) ||
        !store_blob_put(store, STORE_CURRENT, RECORD_NAME, bytes, &error))
        g_info("the generation ID is not remembered: %s", error->message);
}

// Of a machine that starts anew; one that goes on has it in its state.
static void first_id(Machine *machine, uint8_t ret_id[VM_GENERATION_SIZE])
{
    Store *store = machine->store;
    if (!store && *config_string(machine->config, "machine.uuid")) {
        config_uuid(machine->config, ret_id); // nothing that could go back: it tells machines apart
        return;
    }
    if (store && !machine->options.disposable && read_id(store, ret_id))
        return;
    make_id(ret_id);
    if (store && !machine->options.disposable && !machine->options.resume)
        remember(store, ret_id);
}

static void changed(void *opaque)
{
    acpi_pm_general_event(((Machine *)opaque)->pm, EVENT);
}

bool machine_build_generation(Machine *machine, GError **error)
{
    if (!config_boolean(machine->config, "board.generation-id"))
        return true;
    VmGenerationConfig config = { .address = VM_GENERATION_ADDRESS, .changed = changed,
                                  .opaque = machine };
    first_id(machine, config.id);
    machine->generation = machine_add_device(machine, &vm_generation_ops, &config, error);
    return machine->generation != NULL;
}

void machine_renew_generation(Machine *machine)
{
    uint8_t id[VM_GENERATION_SIZE];
    if (!machine->generation)
        return;
    make_id(id);
    bus_lock(machine->bus);
    vm_generation_set(machine->generation, id);
    bus_unlock(machine->bus);
    if (machine->store && !machine->options.disposable)
        remember(machine->store, id);
}
