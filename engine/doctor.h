// SPDX-License-Identifier: GPL-2.0-or-later
// `lodgectl doctor`: what this computer offers to virtual machines.
#pragma once

// [--json]. Returns an exit status: 0 where a machine can run, 1 where something it needs is
// missing.
int doctor_command(int argc, char **argv);
