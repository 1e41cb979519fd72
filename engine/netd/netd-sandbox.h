// SPDX-License-Identifier: GPL-2.0-or-later
// What lodge-netd gives up before it looks at a byte that a guest sent. Both calls are final and
// inherited by children; both set no_new_privs.
#pragma once

#include <stdbool.h>

// The supervisor: may start and await workers, besides what a worker may. 0 or -errno.
int netd_sandbox_supervisor(void);

// The worker: Internet sockets, its inherited descriptors, and reading /etc/resolv.conf,
// /etc/hosts and /dev/urandom; anything else kills it. ret_files: whether the kernel also bounds
// which files can be read (Landlock); without it, any file may be read but none written. 0 or
// -errno.
int netd_sandbox_worker(bool *ret_files);
