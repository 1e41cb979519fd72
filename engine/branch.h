// SPDX-License-Identifier: GPL-2.0-or-later
// The store of a machine that branches off a running one.
#pragma once

// STORE NODE NAME FILE: a new store, FILE, that goes on from a node of STORE which has memory and
// is protected, while an engine may run from STORE; NAME is for its first node. Returns an exit
// status; an error is one line on standard error, and nothing is left behind.
int branch_command(int argc, char **argv);
