// SPDX-License-Identifier: GPL-2.0-or-later
// Which machines read from another one's snapshot store: linked clones and branches, which tell it
// in their settings. There is no list beside these to fall out of step with them.
#pragma once

#include "engine/config/config.h"

#define VM_LINKED_TO "machine.linked-to"     // UUID of the machine that is read from
#define VM_LINKED_NODE "machine.linked-node" // the snapshot's identifier, 0: nobody knows

// Whether nobody reads from the machine's store: it may be deleted. settings: that machine's. error
// (G_IO_ERROR_BUSY) names who does.
bool vm_readers_check_none(const Config *settings, GError **error);
// Whether nobody reads from that snapshot in it: its protection may be taken away.
bool vm_readers_check_node(const Config *settings, uint64_t node, GError **error);
