// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-generation.h. Follows Microsoft's "Virtual Machine Generation ID" (August 2012): the ID
// lies in an 8-byte aligned buffer of ROM that no address range for the operating system covers,
// and stays over every reset. Who changes it, and when, is the machine's business.
#include "engine/devices/chipset/vm-generation.h"

#include "engine/memory/ram.h"

#include <string.h>

typedef struct {
    uint8_t id[VM_GENERATION_SIZE];
    uint64_t address;
    RamBlock *page;
    GuestMemory *memory;
    GuestSlot *slot;
    void (*changed)(void *opaque);
    void *opaque;
} VmGeneration;

static void show(VmGeneration *generation)
{
    memcpy(generation->page->host, generation->id, VM_GENERATION_SIZE);
    guest_memory_written(generation->memory, generation->address, VM_GENERATION_SIZE);
}

static void vm_generation_destroy(void *device)
{
    VmGeneration *generation = device;
    if (!generation)
        return;
    guest_memory_unmap(generation->memory, generation->slot);
    g_clear_pointer(&generation->page, ram_block_free);
    g_free(generation);
}

static void *vm_generation_create(const void *config, const DeviceHost *host, GError **error)
{
    const VmGenerationConfig *c = config;
    VmGeneration *generation = g_new0(VmGeneration, 1);
    generation->memory = host->memory;
    generation->address = c->address;
    generation->changed = c->changed;
    generation->opaque = c->opaque;
    memcpy(generation->id, c->id, VM_GENERATION_SIZE);
    generation->page = ram_block_new("vm-generation", VM_GENERATION_PAGE, error);
    if (!generation->page) {
        vm_generation_destroy(generation);
        return NULL;
    }
    generation->slot = guest_memory_map(host->memory, "vm-generation", c->address,
                                        VM_GENERATION_PAGE, generation->page->host,
                                        GUEST_SLOT_READ | GUEST_SLOT_ROM);
    show(generation);
    return generation;
}

static void vm_generation_reset(void *device, ResetKind kind)
{
}

static gboolean vm_generation_post_load(void *device, GError **error)
{
    show(device);
    return TRUE;
}

static const StateField vm_generation_fields[] = {
    STATE_ARRAY(VmGeneration, id, STATE_U8),
};

static const StateTable vm_generation_state = {
    .name = "vm-generation",
    .version = 1,
    .fields = vm_generation_fields,
    .field_count = G_N_ELEMENTS(vm_generation_fields),
    .post_load = vm_generation_post_load,
};

const DeviceOps vm_generation_ops = {
    .name = "vm-generation",
    .spec = "Microsoft Virtual Machine Generation ID, August 2012",
    .create = vm_generation_create,
    .reset = vm_generation_reset,
    .state = &vm_generation_state,
    .destroy = vm_generation_destroy,
};

void vm_generation_get(const void *generation, uint8_t ret_id[VM_GENERATION_SIZE])
{
    memcpy(ret_id, ((const VmGeneration *)generation)->id, VM_GENERATION_SIZE);
}

void vm_generation_set(void *device, const uint8_t id[VM_GENERATION_SIZE])
{
    VmGeneration *generation = device;
    memcpy(generation->id, id, VM_GENERATION_SIZE);
    show(generation);
    if (generation->changed)
        generation->changed(generation->opaque);
}
