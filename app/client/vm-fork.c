// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-fork.h. First the snapshot, while the machine goes on; then every branch is made, as
// linked clones are; then they are started, one after the other. What is there when something fails
// is taken away in the opposite order.
#include "app/client/vm-fork.h"

#include "app/client/engine-launcher.h"
#include "app/client/vm-client.h"
#include "app/client/vm-clone.h"
#include "app/client/vm-create.h"
#include "engine/config/vm-holds.h"

#define OFF_TRIES 300
#define OFF_INTERVAL_US (50 * 1000)

typedef struct {
    const char *source;
    LodgeSnapshots1 *snapshots;
    Config *settings;
    guint64 node;
    GPtrArray *branches;
    GCancellable *cancellable;
} Fork;

static void branch_free(gpointer data)
{
    VmBranch *branch = data;
    g_free(branch->name);
    g_free(branch->folder);
    g_free(branch);
}

// ---- Making ----

static bool make_store(const Fork *fork, const char *folder, GError **error)
{
    g_autofree char *from = g_build_filename(fork->source, VM_STORE_FILE, NULL);
    g_autofree char *to = g_build_filename(folder, VM_STORE_FILE, NULL);
    g_autofree char *node = g_strdup_printf("%" G_GUINT64_FORMAT, fork->node);
    g_autofree char *title = g_strdup_printf("Where it left %s",
                                             config_string(fork->settings, "machine.name"));
    const char *arguments[] = { "--branch", from, node, title, to, NULL };
    return engine_call(arguments, error);
}

static bool fill(Config *config, const char *folder, void *data, GError **error)
{
    const Fork *fork = data;
    if (!vm_clone_settings(fork->source, fork->settings, VM_CLONE_BRANCH, config, error) ||
        !vm_clone_set_node(config, fork->node, error) || !make_store(fork, folder, error))
        return false;
    vm_folder_note_state(folder, true);
    return true;
}

// The source's name with the lowest number from `number` on that makes no machine's name. Free with
// g_free. NULL and error: there is no room for it.
static char *free_name(const Fork *fork, unsigned *number, GError **error)
{
    for (;; ++*number) {
        g_autofree char *name = g_strdup_printf(
            "%s-%u", config_string(fork->settings, "machine.name"), *number);
        if (!vm_name_check(name, error))
            return NULL;
        g_autofree char *folder = vm_folder_find(name, NULL);
        if (!folder)
            return g_steal_pointer(&name);
    }
}

static bool make_branches(Fork *fork, unsigned count, GError **error)
{
    vm_hold_remove(fork->source, fork->node); // from here on there may be one that stands on it
    for (unsigned number = 1; fork->branches->len < count; number++) {
        if (g_cancellable_set_error_if_cancelled(fork->cancellable, error))
            return false;
        g_autofree char *name = free_name(fork, &number, error);
        g_autofree char *folder = name ? vm_create(name, fill, fork, error) : NULL;
        if (!folder)
            return false;
        VmBranch *branch = g_new0(VmBranch, 1);
        branch->bytes = vm_clone_room(folder);
        branch->name = g_steal_pointer(&name);
        branch->folder = g_steal_pointer(&folder);
        g_ptr_array_add(fork->branches, branch);
    }
    return true;
}

static bool start_branches(const Fork *fork, GError **error)
{
    for (guint i = 0; i < fork->branches->len; i++) {
        const VmBranch *branch = fork->branches->pdata[i];
        if (g_cancellable_set_error_if_cancelled(fork->cancellable, error))
            return false;
        if (!engine_start(branch->folder, NULL, error)) {
            g_prefix_error(error, "%s cannot be started: ", branch->name);
            return false;
        }
    }
    return true;
}

// ---- Taking away ----

static void stop(const VmBranch *branch)
{
    g_autoptr(Config) config = vm_client_config(branch->folder, NULL);
    g_autoptr(LodgeVm1) proxy = config ? vm_client_connect(config, NULL) : NULL;
    if (!proxy)
        return;
    lodge_vm1_call_stop_sync(proxy, TRUE, NULL, NULL);
    for (int tries = 0; tries < OFF_TRIES; tries++) {
        g_autoptr(LodgeVm1) still = vm_client_connect(config, NULL);
        if (!still)
            return;
        g_usleep(OFF_INTERVAL_US);
    }
}

static void take_away(Fork *fork)
{
    for (guint i = fork->branches->len; i-- > 0;) {
        const VmBranch *branch = fork->branches->pdata[i];
        g_autoptr(GError) error = NULL;
        stop(branch);
        if (!vm_folder_delete(branch->folder, &error))
            g_warning("%s is left behind: %s", branch->folder, error->message);
    }
    g_autoptr(GError) error = NULL;
    vm_hold_remove(fork->source, fork->node);
    if (fork->node &&
        (!lodge_snapshots1_call_set_protected_sync(fork->snapshots, fork->node, FALSE, NULL,
                                                   &error) ||
         !lodge_snapshots1_call_delete_sync(fork->snapshots, fork->node, NULL, &error) ||
         !lodge_snapshots1_call_purge_sync(fork->snapshots, fork->node, NULL, &error)))
        g_warning("a snapshot is left behind: %s", error->message);
}

// ---- All of it ----

static bool check_state(const Fork *fork, GError **error)
{
    const char *name = config_string(fork->settings, "machine.name");
    g_autofree char *state = vm_client_state(fork->settings);
    if (g_str_equal(state, "running") || g_str_equal(state, "paused"))
        return true;
    if (g_str_equal(state, "off"))
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "the machine %s is off; start it, or make linked clones (lodgectl clone "
                    "--linked)", name);
    else
        g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
                    "the machine %s is %s; wait until it runs, or is off", name, state);
    return false;
}

// Before anything is done for it: whether there are names and settings for branches.
static bool check_settings(const Fork *fork, GError **error)
{
    g_autoptr(Config) trial = config_new();
    g_autofree char *longest = g_strdup_printf("%s-%d", config_string(fork->settings,
                                                                      "machine.name"),
                                               10 * VM_FORK_MAX);
    return vm_name_check(longest, error) &&
           vm_clone_settings(fork->source, fork->settings, VM_CLONE_BRANCH, trial, error);
}

static bool take_snapshot(Fork *fork, unsigned count, GError **error)
{
    g_autofree char *name = g_strdup_printf(count == 1 ? "%u branch leaves" : "%u branches leave",
                                            count);
    const char *note = "Branches read what they share from this snapshot: it cannot be deleted "
                       "before they are.";
    return snapshots_take(fork->snapshots, name, note, true, fork->cancellable, &fork->node,
                          error) &&
           vm_hold_add(fork->source, fork->node, true, error) &&
           lodge_snapshots1_call_set_protected_sync(fork->snapshots, fork->node, TRUE, NULL, error);
}

GPtrArray *vm_fork(const char *source, LodgeSnapshots1 *snapshots, unsigned count,
                   GCancellable *cancellable, GError **error)
{
    g_autoptr(Config) settings = vm_client_config(source, error);
    if (!settings)
        return NULL;
    g_autoptr(GPtrArray) branches = g_ptr_array_new_with_free_func(branch_free);
    Fork fork = { .source = source, .snapshots = snapshots, .settings = settings,
                  .branches = branches, .cancellable = cancellable };
    if (!check_state(&fork, error) || !check_settings(&fork, error))
        return NULL;
    if (take_snapshot(&fork, count, error) && make_branches(&fork, count, error) &&
        start_branches(&fork, error))
        return g_steal_pointer(&branches);
    take_away(&fork);
    return NULL;
}
