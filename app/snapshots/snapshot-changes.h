// SPDX-License-Identifier: GPL-2.0-or-later
// What differs between two snapshots, as rows: a heading for each disk and partition, what could
// not be read there, and the files. No widgets, so that tests reach it.
#pragma once

#include <gio/gio.h>

G_BEGIN_DECLS

typedef enum {
    SNAPSHOT_CHANGE_DISK,      // a heading: how much of the disk differs
    SNAPSHOT_CHANGE_PARTITION, // a heading: which file system, how many files
    SNAPSHOT_CHANGE_NOTE,
    SNAPSHOT_CHANGE_FILE,
} SnapshotChangeKind;

#define SNAPSHOT_TYPE_CHANGE (snapshot_change_get_type())
G_DECLARE_FINAL_TYPE(SnapshotChange, snapshot_change, SNAPSHOT, CHANGE, GObject)

struct _SnapshotChange {
    GObject parent_instance;
    SnapshotChangeKind kind;
    const char *word; // FILE: what happened to it, for people; else ""
    char *title;      // FILE: the path, with what a display would take for an order made harmless
    char *detail;     // "": none
};

// blocks, files: of snapshots_compare. Elements SnapshotChange, owned by the array.
GPtrArray *snapshot_changes_rows(GVariant *blocks, GVariant *files);

// The rows of which the title or the detail holds the text, letter case aside, below the headings
// that they belong to; without notes. All of them for an empty text.
GPtrArray *snapshot_changes_filter(GPtrArray *rows, const char *text);

G_END_DECLS
