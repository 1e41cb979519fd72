// SPDX-License-Identifier: GPL-2.0-or-later
// The loop of lodge-netd's worker: frames and control lines on one side, the user-level network
// stack on the other.
#pragma once

#include "engine/netd/nat-stack.h"

// Runs until the control socket ends (returns 0) or the worker should be started anew
// (NETD_EXIT_RENEW). `config`'s send and opaque are set here. The descriptors stay open.
int netd_worker_run(int frames_fd, int control_fd, const NatStackConfig *config);
