// SPDX-License-Identifier: GPL-2.0-or-later
// Which of the software engines a test runs on: each test program runs on all of them, chosen by
// the environment variable LODGE_TEST_ENGINE (default: the interpreter). "lockstep" is the
// translator with the interpreter behind it.
#pragma once

#include "engine/vcpu/vcpu-backend.h"

#include <string.h>

static inline const VcpuBackendOps *bt_test_engine(void)
{
    static const VcpuBackendOps *const engines[] = { &vcpu_backend_interpreter,
                                                   &vcpu_backend_translator };
    const char *name = g_getenv("LODGE_TEST_ENGINE");
    for (unsigned i = 0; name && i < G_N_ELEMENTS(engines); i++) {
        if (!strcmp(engines[i]->name, name))
            return engines[i];
    }
    if (name && !strcmp(name, "lockstep"))
        return vcpu_backend_lockstep(&vcpu_backend_translator);
    if (name)
        g_error("LODGE_TEST_ENGINE is %s, which is no engine of software", name);
    return engines[0];
}
