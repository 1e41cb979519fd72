// SPDX-License-Identifier: GPL-2.0-or-later
// Keeps KVM's memory slots equal to the guest memory map: after a change the wanted slots are
// listed anew, those that differ are deleted, then the new ones are set. What KVM has no slot for
// comes back as an MMIO exit.
#include "engine/vcpu/kvm/kvm-private.h"

#include <string.h>

typedef struct {
    GuestRange range[KVM_SLOTS_MAX];
    unsigned count;
} Wanted;

static void note_range(void *opaque, const GuestRange *range)
{
    Wanted *wanted = opaque;
    if (wanted->count < KVM_SLOTS_MAX)
        wanted->range[wanted->count++] = *range;
    else
        g_warning("kvm: more than %u memory slots; the rest of memory is slow", KVM_SLOTS_MAX);
}

// log_dirty may differ: KVM changes that in place, and keeps what it has mapped.
static bool same_place(const GuestRange *a, const GuestRange *b)
{
    return a->gpa == b->gpa && a->size == b->size && a->host == b->host &&
           a->writable == b->writable;
}

static void set_slot(BackendVm *vm, unsigned index, const GuestRange *range, bool present)
{
    struct kvm_userspace_memory_region region = {
        .slot = index,
        .guest_phys_addr = range->gpa,
        .memory_size = present ? range->size : 0,
        .userspace_addr = (uintptr_t)range->host,
        .flags = (range->log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0) |
                 (range->writable ? 0 : KVM_MEM_READONLY),
    };
    int result = kvm_call(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
    if (result < 0)
        g_warning("kvm: memory slot %u at %" G_GINT64_MODIFIER "x: %s", index, range->gpa,
                  g_strerror(-result));
    g_clear_pointer(&vm->dirty_bitmap[index], g_free);
    vm->slot[index] = present ? *range : (GuestRange){ 0 };
    if (present && range->log_dirty)
        vm->dirty_bitmap[index] = g_malloc0((range->size / GUEST_PAGE_SIZE + 63) / 64 * 8);
}

static void sync_dirty(void *opaque);

static void map_changed(void *opaque, uint64_t gpa, uint64_t size)
{
    BackendVm *vm = opaque;
    sync_dirty(vm);
    Wanted wanted = { .count = 0 };
    guest_memory_for_each(vm->config.memory, note_range, &wanted);
    bool have[KVM_SLOTS_MAX] = { false };
    for (unsigned s = 0; s < KVM_SLOTS_MAX; s++) {
        if (!vm->slot[s].size)
            continue;
        bool keep = false;
        for (unsigned w = 0; w < wanted.count && !keep; w++) {
            keep = same_place(&vm->slot[s], &wanted.range[w]);
            have[w] |= keep;
            if (keep && vm->slot[s].log_dirty != wanted.range[w].log_dirty)
                set_slot(vm, s, &wanted.range[w], true);
        }
        if (!keep)
            set_slot(vm, s, &vm->slot[s], false);
    }
    for (unsigned w = 0, s = 0; w < wanted.count; w++) {
        if (have[w])
            continue;
        while (s < KVM_SLOTS_MAX && vm->slot[s].size)
            s++;
        if (s < KVM_SLOTS_MAX)
            set_slot(vm, s, &wanted.range[w], true);
    }
}

// Carries KVM's dirty bits over to the map's dirty bytes.
static void sync_dirty(void *opaque)
{
    BackendVm *vm = opaque;
    for (unsigned s = 0; s < KVM_SLOTS_MAX; s++) {
        GuestRange *range = &vm->slot[s];
        if (!range->size || !range->log_dirty)
            continue;
        struct kvm_dirty_log log = { .slot = s, .dirty_bitmap = vm->dirty_bitmap[s] };
        if (kvm_call(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
            continue;
        for (uint64_t page = 0; page < range->size / GUEST_PAGE_SIZE; page++) {
            if (!(vm->dirty_bitmap[s][page / 64] >> page % 64 & 1))
                continue;
            uint8_t *dirty =
                guest_memory_page(vm->config.memory, range->gpa + page * GUEST_PAGE_SIZE).dirty;
            if (dirty)
                __atomic_store_n(dirty, 1, __ATOMIC_RELAXED);
        }
    }
}

// Taking the log needs nothing: KVM protects pages anew when it is asked for them.
static void log_changed(void *opaque)
{
    BackendVm *vm = opaque;
    bool logged = guest_memory_is_logged(vm->config.memory);
    if (logged == vm->logged)
        return;
    vm->logged = logged;
    map_changed(vm, 0, 0);
}

void kvm_memory_attach(BackendVm *vm)
{
    vm->listener = (GuestMemoryListener){ .changed = map_changed, .sync_dirty = sync_dirty,
                                          .log_changed = log_changed, .opaque = vm };
    guest_memory_add_listener(vm->config.memory, &vm->listener);
    map_changed(vm, 0, 0);
}

void kvm_memory_detach(BackendVm *vm)
{
    guest_memory_remove_listener(vm->config.memory, &vm->listener);
    for (unsigned s = 0; s < KVM_SLOTS_MAX; s++)
        g_free(vm->dirty_bitmap[s]);
}
