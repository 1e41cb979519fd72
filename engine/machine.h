// SPDX-License-Identifier: GPL-2.0-or-later
// One virtual machine: its board with everything plugged in, built from a configuration, and the
// vCPUs that run it. lifecycle.h decides when; this file does it.
//
// Lock order, outermost first:
//   1. the machine lock (machine_mutex): every device, the input router, the display hub
//   2. a vCPU's own lock (engine/vcpu/vcpu.c)
//   3. leaves: char-stream buffers, the SPICE queue, the block layer's queue, the event queue
// The main thread (GMainLoop) owns the Machine: all functions here are called on it without the
// machine lock, unless they say otherwise. vCPU and timer threads reach the main thread only by
// posting an event.
#pragma once

#include "engine/bus/char-backend.h"
#include "engine/bus/input.h"
#include "engine/config/config.h"
#include "engine/display-hub.h"
#include "engine/vcpu/vcpu-backend.h"
#include "snapshots/store/store.h"

#include <glib.h>

typedef struct Machine Machine;

typedef enum {
    MACHINE_WANTS_RESET,     // by reset register, keyboard controller
    MACHINE_WANTS_POWER_OFF, // ACPI S5
    MACHINE_TRIPLE_FAULT,    // a CPU shut down: a PC resets itself then
    MACHINE_DEBUG_EXIT,      // a write to the debug-exit port; value
    MACHINE_FAILED,          // the guest cannot go on; text says why
} MachineEvent;

// Serial ports: two UARTs, then the virtio console.
#define MACHINE_SERIAL_MAX 3
#define MACHINE_SERIAL_UARTS 2

typedef struct {
    const Config *config; // copied
    const char *folder;   // where relative paths start; NULL: the working directory
    int debug_exit_port;  // -1: none
    bool spice;           // a SPICE server
    const char *spice_socket; // where it listens for any client; NULL: only handed-over sockets
    const char *scanout_socket; // and for our own frontend
    // Goes on from a saved state instead of starting anew. Must live as long as the machine. NULL:
    // from what its snapshot store's current holds, if anything.
    const struct MachineStateSource *resume;
    // What the machine changes on its disks, which are all in its snapshot store, is thrown away
    // when it is freed. node: of the store, where the run begins; STORE_CURRENT: where the machine
    // is.
    bool disposable;
    StoreNodeId node;
    // On the main thread, no lock held; may free the machine.
    void (*event)(void *opaque, MachineEvent event, uint32_t value, const char *text);
    // A line that firmware wrote to its debug port. Any thread, machine lock held. May be NULL.
    void (*firmware_line)(void *opaque, const char *line);
    void *opaque;
} MachineOptions;

// Opens everything that the configuration names and builds the machine, powered on but not running.
// On failure NULL, nothing is left behind, and error is one sentence for the user.
Machine *machine_new(const MachineOptions *options, GError **error);
// Whether the files that the configuration names can be opened and used; builds nothing, takes no
// ports of the host. False and error as machine_new.
bool machine_check_files(const MachineOptions *options, GError **error);
// Stops it, waits for I/O in flight, closes everything. NULL is allowed.
void machine_free(Machine *machine);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Machine, machine_free)

// Virtual time and vCPUs go on, or stand still. Pausing returns when no vCPU runs any more.
void machine_run(Machine *machine);
void machine_pause(Machine *machine);
bool machine_is_running(const Machine *machine);

// Whether the machine was built from a saved state that is not used up yet; and that uses it up,
// before machine_run (true where there is none).
bool machine_is_resumed(const Machine *machine);
bool machine_use_state(Machine *machine, GError **error);

// Waits for disk requests in flight. It stands still.
void machine_drain(Machine *machine);

// Whether the machine as it is can go on from a form (machine-state.h) of its store; error says
// what does not fit.
bool machine_fits_form(Machine *machine, GBytes *form, GError **error);
// Replaces the state of a machine that stands still by what its store's current holds, and uses
// that up. False: the machine holds a mix, and can only be reset or freed.
bool machine_load_from_store(Machine *machine, GError **error);

// Presses reset, or takes the power away and gives it back. Runs on where it ran.
void machine_reset(Machine *machine, bool cold);

// Locks the process in (engine/sandbox.h), but for what this machine needs to run. Before the first
// machine_run; all that will ever be opened is open.
bool machine_enter_sandbox(Machine *machine, GError **error);

// Asks the guest to shut down (ACPI power button).
void machine_power_button(Machine *machine);

// The snapshot store that disks are in, or NULL.
Store *machine_store(Machine *machine);

// How the vCPUs are executed, and one sentence why.
const char *machine_backend_name(const Machine *machine);
const char *machine_backend_why(const Machine *machine);
const Config *machine_config(const Machine *machine);

// Counters of all vCPUs, approximate while they run.
void machine_stats(Machine *machine, VcpuStats *ret_stats);

// Where a CPU was lately (vcpu_set_sample). False where what executes the guest cannot tell, or
// there is no such CPU.
bool machine_sample(Machine *machine, unsigned cpu, VcpuSample *ret_sample);

GMutex *machine_mutex(Machine *machine);
InputRouter *machine_input(Machine *machine); // used with the lock held

// The screen as a picture. False where the guest has shown nothing yet.
bool machine_picture(Machine *machine, DisplayPicture *ret_picture);
// The screen of a text mode as UTF-8, NULL in a graphics mode. Free with g_free.
char *machine_text(Machine *machine);

// Which serial ports there are: bit N is port N.
uint32_t machine_serial_ports(const Machine *machine);
// Another listener at a serial port (copied) until it is removed. replay: it first gets the last
// 64 KiB that the guest sent. False: no such port.
bool machine_add_serial(Machine *machine, unsigned port, const CharBackend *listener, bool replay);
void machine_remove_serial(Machine *machine, unsigned port, const CharBackend *listener);

// Hands a client's connection to the SPICE server; the descriptor is taken in any case. scanout: as
// in MachineOptions. False where there is no server.
bool machine_open_display(Machine *machine, int fd, bool scanout);
