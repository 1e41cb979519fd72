// SPDX-License-Identifier: GPL-2.0-or-later
// Why a backend stopped running guest instructions, or what it asks its handler to do in between.
// The same reasons and fields in every backend and in the kernel module's uapi header.
#pragma once

#include <stdbool.h>
#include <stdint.h>

// X(name, text)
#define VCPU_EXIT_REASONS(X)                                                                       \
    X(NONE, "none")                                                                                \
    X(PORT, "port I/O")                                                                            \
    X(MMIO, "memory-mapped I/O")                                                                   \
    X(MSR, "model-specific register")                                                              \
    X(CR8, "task priority")                                                                        \
    X(HALT, "halt")                                                                                \
    X(SHUTDOWN, "triple fault")                                                                    \
    X(WINDOW, "interrupt window open")                                                             \
    X(KICK, "kicked")                                                                              \
    X(INTERNAL_ERROR, "internal error")

typedef enum {
#define VCPU_EXIT_ENUM(name, text) VCPU_EXIT_##name,
    VCPU_EXIT_REASONS(VCPU_EXIT_ENUM)
#undef VCPU_EXIT_ENUM
    VCPU_EXIT_COUNT
} VcpuExitReason;

typedef struct {
    VcpuExitReason reason;
    union {
        struct {
            uint16_t port;
            uint8_t size; // 1, 2, 4
            bool write;
            uint32_t count; // elements; 1 unless data is set
            uint32_t value; // data NULL: what is written, or filled by the handler
            void *data;     // REP INS/OUTS: count * size bytes of host memory
            // For the VMware backdoor (port 5658h): EAX EBX ECX EDX ESI EDI, in and out; NULL
            // where the backend cannot give them.
            uint32_t *registers;
        } port;
        struct {
            uint64_t address; // guest physical
            uint8_t size;     // 1, 2, 4, 8
            bool write;
            uint64_t value;
        } mmio;
        struct {
            uint32_t index;
            bool write;
            bool fault; // set by the handler: raise #GP(0)
            uint64_t value;
        } msr;
        struct {
            bool write;
            uint64_t value; // 0..15
        } cr8;
        struct {
            uint64_t code;    // the backend's raw code
            const char *text; // constant
        } internal_error;
    };
} VcpuExit;

// Constant text, for logs and statistics.
const char *vcpu_exit_name(VcpuExitReason reason);
