// SPDX-License-Identifier: GPL-2.0-or-later
// Between the files that build a machine: machine.c (life), machine-board.c (chips and wires),
// machine-firmware.c (what firmware is told), machine-boot.c (a kernel without firmware),
// machine-storage.c, machine-network.c, machine-display.c, machine-serial.c, machine-generation.c.
#pragma once

#include "engine/bus/device.h"
#include "engine/bus/pci.h"
#include "engine/char-stream.h"
#include "engine/char-tee.h"
#include "engine/devices/chipset/isa-irq.h"
#include "engine/firmware/acpi-tables.h"
#include "engine/firmware/fw-cfg.h"
#include "engine/firmware/linux-boot.h"
#include "engine/machine.h"
#include "engine/memory/ram.h"
#include "engine/vcpu/vcpu.h"
#include "snapshots/block.h"
#include "snapshots/store/store.h"

// Where things are on board classic-1: an on-disk contract, never changed.
enum {
    SLOT_HOST = 0,
    SLOT_ISA = 1, // functions: 0 ISA bridge, 1 IDE, 3 power management
    SLOT_VGA = 2,
    SLOT_NETWORK = 3, // ..6
    SLOT_RNG = 7,
    SLOT_DISK = 8, // ..15: virtio disks
    SLOT_CONSOLE = 16,
};

// Where SeaBIOS puts the power management ports when ACPI tables come from fw_cfg, and so we do
// for a kernel that is started without it.
#define PM_BASE 0x600

enum { DISKS_MAX = 8, CDROMS_MAX = 2, FLOPPIES_MAX = 2, NETWORKS_MAX = 4, IDE_PLACES = 4 };

// What stands at an IDE place (channel * 2 + unit).
typedef struct {
    BlockDevice *block;
    bool cdrom;
    unsigned number; // N of diskN or cdromN
} IdePlace;

struct Machine {
    MachineOptions options;
    Config *config;
    char *folder;
    char *spice_socket, *scanout_socket;

    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    PciBus *pci;
    RamBlock *ram;
    RamBlock *bios;
    GBytes *vga_bios;
    DeviceHost host;
    IsaIrqWires isa;
    InputRouter *input;

    const VcpuBackendOps *backend;
    char *backend_why;
    CpuidModel cpuid;
    unsigned cpus;
    VcpuSet *vcpus;
    bool running;

    GArray *devices; // of Device, in order of creation
    void *lapic, *ioapic, *pic, *piix3, *pm, *rtc, *dma, *fw_cfg, *vga;
    void *backdoor, *generation; // NULL: none
    AcpiTables *acpi;

    BlockDevice *disks[DISKS_MAX], *cdroms[CDROMS_MAX], *floppies[FLOPPIES_MAX];
    IdePlace ide[IDE_PLACES];
    Store *store;     // what disks are volumes of, or NULL
    char *store_path;
    struct StoreState *store_state; // what memory is mapped from, or NULL

    DisplayHub *display;
    CharTee *serial[MACHINE_SERIAL_MAX];       // NULL: no such port
    CharStream *serial_file[MACHINE_SERIAL_MAX];
    struct LodgeSpice *spice;
    struct NetNat *nat[NETWORKS_MAX];

    // A kernel booted without firmware; kernel is NULL otherwise.
    GBytes *kernel, *initrd;
    char *kernel_name;

    bool debug_exit_engaged;
    GAsyncQueue *events;
};

// Posts to the main thread. Any thread, any lock. text is copied.
void machine_post(Machine *machine, MachineEvent event, uint32_t value, const char *text);

// Creates a device, adds it to the list. NULL and error where it refuses. Machine lock held.
void *machine_add_device(Machine *machine, const DeviceOps *ops, const void *config,
                         GError **error);

uint64_t machine_ram_size(const Machine *machine);

// Each builds its part; false and error where something is missing.
bool machine_build_board(Machine *machine, GError **error);    // machine lock held
bool machine_build_firmware(Machine *machine, GError **error); // machine lock held
bool machine_open_storage(Machine *machine, GError **error);   // lock not held
// machine-store.c: opens the disk's volume in the store at `file`. Lock not held.
BlockDevice *machine_open_volume(Machine *machine, unsigned disk, const char *file,
                                 GError **error);
void machine_close_store(Machine *machine); // every volume is closed
// machine-store.c: whether a run that keeps nothing really would. After machine_open_storage.
bool machine_check_disposable(Machine *machine, GError **error);
// machine-store.c: where the store's current holds a state, the machine resumes from it. False and
// error where that cannot be read. Lock not held.
bool machine_find_state(Machine *machine, GError **error);
bool machine_build_storage(Machine *machine, GError **error);  // machine lock held
bool machine_open_network(Machine *machine, GError **error);
bool machine_build_network(Machine *machine, GError **error);
bool machine_open_display_server(Machine *machine, GError **error);
bool machine_build_display(Machine *machine, GError **error);
bool machine_open_serial(Machine *machine, GError **error);
bool machine_build_serial(Machine *machine, GError **error);
bool machine_open_kernel(Machine *machine, GError **error);

// After every reset, devices and vCPUs being reset: puts the kernel in place where there is one.
// Machine lock held.
bool machine_enter_kernel(Machine *machine, GError **error);

// machine-generation.c: the generation ID's device, where there is one. Machine lock held.
bool machine_build_generation(Machine *machine, GError **error);
// The machine was put into a state that it, or another one, may be in again: it has another ID, and
// the guest is told. Lock not held.
void machine_renew_generation(Machine *machine);

// Waits for disk requests in flight. Lock not held.
void machine_drain_storage(Machine *machine);

void machine_close_display(Machine *machine); // lock not held
void machine_close_storage(Machine *machine); // lock not held, devices gone
void machine_close_network(Machine *machine);
void machine_close_serial(Machine *machine);
