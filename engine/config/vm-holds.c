// SPDX-License-Identifier: GPL-2.0-or-later
// See vm-holds.h. A note is the file hold.NODE.PID; in it stands when that process was started
// (field 22 of /proc/PID/stat), by which it differs from a later one of the same number.
#include "engine/config/vm-holds.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "hold."
#define MADE " made"

// Free with g_free; NULL: there is no such process.
static char *started(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
    g_autofree char *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    const char *rest = strrchr(text, ')'); // the name before it may hold anything
    g_auto(GStrv) fields = g_strsplit(rest ? rest + 1 : "", " ", -1);
    return g_strv_length(fields) > 20 ? g_strdup(fields[20]) : NULL;
}

static char *note_path(const char *folder, uint64_t node)
{
    return g_strdup_printf("%s/" PREFIX "%" G_GUINT64_FORMAT ".%d", folder, node, (int)getpid());
}

bool vm_hold_add(const char *folder, uint64_t node, bool made, GError **error)
{
    g_autofree char *path = note_path(folder, node), *start = started(getpid());
    g_autofree char *text = g_strconcat(start ? start : "", made ? MADE : "", NULL);
    return g_file_set_contents(path, text, -1, error);
}

void vm_hold_remove(const char *folder, uint64_t node)
{
    g_autofree char *path = note_path(folder, node);
    g_unlink(path);
}

static void hold_free(gpointer data)
{
    VmHold *hold = data;
    g_free(hold->path);
    g_free(hold);
}

// NULL: no note, or one of a process that is still there.
static VmHold *read_note(const char *folder, const char *name)
{
    g_auto(GStrv) parts = g_strsplit(name, ".", -1);
    guint64 node, pid;
    if (g_strv_length(parts) != 3 || !g_str_has_prefix(name, PREFIX) ||
        !g_ascii_string_to_unsigned(parts[1], 10, 1, G_MAXUINT64, &node, NULL) ||
        !g_ascii_string_to_unsigned(parts[2], 10, 1, G_MAXINT32, &pid, NULL))
        return NULL;
    g_autofree char *path = g_build_filename(folder, name, NULL), *text = NULL;
    if (!g_file_get_contents(path, &text, NULL, NULL))
        return NULL;
    bool made = g_str_has_suffix(text, MADE);
    if (made)
        text[strlen(text) - strlen(MADE)] = 0;
    g_autofree char *start = started((pid_t)pid);
    if (start && strcmp(start, text) == 0)
        return NULL;
    VmHold *hold = g_new0(VmHold, 1);
    *hold = (VmHold){ g_steal_pointer(&path), node, made };
    return hold;
}

GPtrArray *vm_holds_left(const char *folder)
{
    GPtrArray *left = g_ptr_array_new_with_free_func(hold_free);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    for (const char *name; dir && (name = g_dir_read_name(dir));) {
        VmHold *hold = read_note(folder, name);
        if (hold)
            g_ptr_array_add(left, hold);
    }
    return left;
}
