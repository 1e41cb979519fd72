// SPDX-License-Identifier: GPL-2.0-or-later
// See draft.h.
#include "app/wizard/draft.h"

#include "app/client/vm-client.h"
#include "app/client/vm-create.h"

#include <glib/gi18n.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1024 * 1024LL)
#define GIB (1024 * MIB)
#define MEMORY_LEAST 16u                // MiB, as memory.size
#define MEMORY_MOST (512u * 1024)       // MiB
#define CPUS_MOST 64u
#define DISK_MOST (1024u * 1024)        // GiB
#define KEEP_FREE (64 * (uint64_t)MIB)  // for machine.conf, logs and the host

static uint64_t free_bytes(void)
{
    struct statvfs status;
    g_autofree char *path = vm_folder_root();
    // The folder may not be there yet: then its nearest parent is where it will be.
    while (statvfs(path, &status) < 0) {
        char *parent = g_path_get_dirname(path);
        gboolean end = g_str_equal(parent, path);
        g_free(path);
        path = parent;
        if (end)
            return 0;
    }
    return (uint64_t)status.f_bavail * status.f_frsize;
}

Draft *draft_new(void)
{
    Draft *draft = g_new0(Draft, 1);
    draft->host.memory =
        (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / MIB;
    draft->host.cpus = g_get_num_processors();
    draft->host.disk = free_bytes();
    draft->start = true;
    draft_set_medium(draft, NULL);
    return draft;
}

void draft_free(Draft *draft)
{
    if (!draft)
        return;
    medium_free(draft->medium);
    g_free(draft->name);
    g_free(draft);
}

// Suggestions.

static bool exists(const char *name)
{
    g_autofree char *folder = vm_folder_find(name, NULL);
    return folder != NULL;
}

// A name that no machine has: the system's, else the file's.
static char *suggest_name(const Medium *medium)
{
    g_autofree char *base = NULL;
    if (medium && medium->system.name) {
        base = g_strdup(medium->system.name);
    } else if (medium) {
        base = g_path_get_basename(medium->path);
        char *dot = strrchr(base, '.');
        if (dot && dot != base)
            *dot = 0;
    } else {
        base = g_strdup(_("New machine"));
    }
    g_strdelimit(base, "/", '-');
    if (g_utf8_strlen(base, -1) > 48)
        *g_utf8_offset_to_pointer(base, 48) = 0;
    if (!vm_name_check(base, NULL)) {
        g_free(base);
        base = g_strdup(_("New machine"));
    }
    g_autofree char *name = g_strdup(base);
    for (unsigned number = 2; exists(name) && number < 1000; number++) {
        g_free(name);
        name = g_strdup_printf("%s %u", base, number);
    }
    return g_steal_pointer(&name);
}

// No more than leaves the host well.
static void suggest_resources(Draft *draft, const GuestNeeds *needs)
{
    draft->memory = MAX(MIN(needs->memory, draft->host.memory / 2), MEMORY_LEAST);
    draft->cpus = MAX(MIN(needs->cpus, draft->host.cpus), 1);
    uint64_t room = draft->host.disk > KEEP_FREE ? (draft->host.disk - KEEP_FREE) / GIB : 0;
    draft->disk = MIN(needs->disk, room);
    if (draft->medium && draft->medium->kind != MEDIUM_DISC)
        draft->disk = 0;
}

void draft_set_medium(Draft *draft, Medium *medium)
{
    medium_free(draft->medium);
    draft->medium = medium;
    draft->family = medium ? medium->system.family : GUEST_OTHER;
    g_free(draft->name);
    draft->name = suggest_name(medium);
    GuestNeeds needs = medium ? medium->system.needs : guest_family_needs(GUEST_OTHER);
    suggest_resources(draft, &needs);
}

void draft_set_family(Draft *draft, GuestFamily family)
{
    if (family == draft->family)
        return;
    draft->family = family;
    GuestNeeds needs = guest_family_needs(family);
    if (draft->medium && draft->medium->system.family == family)
        needs = draft->medium->system.needs;
    suggest_resources(draft, &needs);
}

// Checks.

char *draft_check_name(const Draft *draft, bool *ret_stops)
{
    g_autoptr(GError) error = NULL;
    *ret_stops = true;
    if (!vm_name_check(draft->name, &error))
        return vm_client_sentence(error->message);
    if (exists(draft->name))
        return g_strdup_printf(_("There is a machine “%s” already. Choose another name."),
                               draft->name);
    return NULL;
}

static char *format_mib(uint64_t mib)
{
    return g_format_size_full(mib * (uint64_t)MIB, G_FORMAT_SIZE_IEC_UNITS);
}

char *draft_check_memory(const Draft *draft, bool *ret_stops)
{
    g_autofree char *host = format_mib(draft->host.memory);
    *ret_stops = true;
    if (draft->memory < MEMORY_LEAST)
        return g_strdup_printf(_("A machine needs at least %u MiB of memory."), MEMORY_LEAST);
    if (draft->memory > draft->host.memory)
        return g_strdup_printf(_("This computer has %s of memory. Give the machine less."), host);
    if (draft->memory > MEMORY_MOST)
        return g_strdup_printf(_("A machine can have at most %u GiB of memory."),
                               MEMORY_MOST / 1024);
    *ret_stops = false;
    if (draft->memory > draft->host.memory / 4 * 3)
        return g_strdup_printf(_("This computer has %s of memory. It may become slow while the "
                                 "machine runs."), host);
    const Medium *medium = draft->medium;
    uint32_t least = medium && medium->system.family == draft->family
                         ? medium->system.needs.memory_least
                         : guest_family_needs(draft->family).memory_least;
    if (draft->memory < least) {
        g_autofree char *wanted = format_mib(least);
        return g_strdup_printf(_("The system wants at least %s of memory."), wanted);
    }
    return NULL;
}

char *draft_check_cpus(const Draft *draft, bool *ret_stops)
{
    *ret_stops = true;
    if (draft->cpus < 1 || draft->cpus > CPUS_MOST)
        return g_strdup_printf(_("A machine has 1 to %u processors."), CPUS_MOST);
    *ret_stops = false;
    if (draft->cpus > draft->host.cpus)
        return g_strdup_printf(g_dngettext(NULL, "This computer has %u processor. More make the "
                                                 "machine slower.",
                                           "This computer has %u processors. More make the "
                                           "machine slower.", draft->host.cpus),
                               draft->host.cpus);
    return NULL;
}

char *draft_check_disk(const Draft *draft, bool *ret_stops)
{
    *ret_stops = true;
    if (draft->disk == 0)
        return NULL;
    if (draft->disk > DISK_MOST)
        return g_strdup_printf(_("A disk can have at most %u TiB."), DISK_MOST / 1024);
    uint64_t room = draft->host.disk > KEEP_FREE ? draft->host.disk - KEEP_FREE : 0;
    if (draft->disk * (uint64_t)GIB > room) {
        g_autofree char *free_space = g_format_size_full(room, G_FORMAT_SIZE_IEC_UNITS);
        return g_strdup_printf(_("There is no room for this disk: %s are free. Make it smaller, or "
                                 "free some space."), free_space);
    }
    return NULL;
}

// Making.

static bool set_medium(const Medium *medium, Config *config, GError **error)
{
    static const char *const keys[] = {
        [MEDIUM_DISC] = "cdrom0.path",
        [MEDIUM_DISK] = "disk0.path",
        [MEDIUM_FLOPPY] = "floppy0.path",
    };
    // A disc is for installing: once the disk can be started from, it comes first.
    const char *order = medium->kind == MEDIUM_FLOPPY ? "floppy,disk,cdrom,network"
                                                      : "disk,cdrom,floppy,network";
    return config_set(config, keys[medium->kind], medium->path, error) &&
           config_set(config, "boot.order", order, error) &&
           (!medium->system.id || config_set(config, "machine.os", medium->system.id, error));
}

static bool fill(Config *config, const char *folder, void *data, GError **error)
{
    const Draft *draft = data;
    g_autofree char *memory = g_strdup_printf("%" G_GUINT64_FORMAT "M", draft->memory);
    g_autofree char *cpus = g_strdup_printf("%" G_GUINT64_FORMAT, draft->cpus);
    g_autofree char *disk = g_strdup_printf("%" G_GUINT64_FORMAT "G", draft->disk);
    if (!config_set(config, "memory.size", memory, error) ||
        !config_set(config, "cpu.count", cpus, error) ||
        (draft->medium && !set_medium(draft->medium, config, error)))
        return false;
    if (guest_family_has_virtio(draft->family) &&
        (!config_set(config, "network0.model", "virtio", error) ||
         !config_set(config, "disk0.interface", "virtio", error)))
        return false;
    // A disk image that was chosen is disk 0.
    unsigned number = draft->medium && draft->medium->kind == MEDIUM_DISK ? 1 : 0;
    return draft->disk == 0 || vm_create_disk(config, folder, number, disk, error);
}

char *draft_create(const Draft *draft, GError **error)
{
    return vm_create(draft->name, fill, (void *)draft, error);
}
