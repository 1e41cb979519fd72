// SPDX-License-Identifier: GPL-2.0-or-later
// A VGA on an otherwise empty machine with manual time, and a sink that records what it is told.
#pragma once

#include "engine/bus/bus.h"
#include "engine/bus/pci.h"
#include "engine/devices/display/vga.h"

#define FIXTURE_DEVFN PCI_DEVFN(2, 0)
#define FIXTURE_BAR0 0xe0000000u
#define FIXTURE_BAR2 0xf0000000u

typedef struct {
    uint32_t x, y, width, height;
} UpdateRect;

typedef struct {
    Bus *bus;
    GuestMemory *memory;
    Clock *clock;
    PciBus *pci;
    void *vga;
    DisplaySource source;
    DisplayMode mode;
    unsigned modes;   // mode_set calls
    GArray *updates;  // UpdateRect since the last clear
} VgaFixture;

// With its BARs mapped at FIXTURE_BAR0 and FIXTURE_BAR2.
void vga_fixture_open(VgaFixture *f, uint32_t vram_size);
void vga_fixture_close(VgaFixture *f);

// A test with a fixture of the default size; data is an integer for it.
void vga_fixture_set_up(VgaFixture *f, gconstpointer data);
void vga_fixture_tear_down(VgaFixture *f, gconstpointer data);
#define VGA_TEST(path, data, function)                                                             \
    g_test_add(path, VgaFixture, GUINT_TO_POINTER(data), vga_fixture_set_up, function,             \
               vga_fixture_tear_down)

void out8(VgaFixture *f, uint16_t port, uint8_t value);
uint8_t in8(VgaFixture *f, uint16_t port);
// Index and data in one word.
void out_indexed(VgaFixture *f, uint16_t port, uint8_t index, uint8_t value);
void write_attribute(VgaFixture *f, uint8_t index, uint8_t value);
void write_dac(VgaFixture *f, uint8_t index, uint8_t r, uint8_t g, uint8_t b);
void write_dispi(VgaFixture *f, uint16_t index, uint16_t value);
uint16_t read_dispi(VgaFixture *f, uint16_t index);
void set_vbe(VgaFixture *f, uint16_t width, uint16_t height, uint16_t bpp, uint16_t flags);

// A write as a CPU makes it: to memory where the map has some, else to the bus.
void cpu_write(VgaFixture *f, uint64_t gpa, unsigned size, uint32_t value);
uint32_t cpu_read(VgaFixture *f, uint64_t gpa, unsigned size);

// The register sets of the IBM VGA BIOS.
typedef enum { MODE_TEXT_80 = 3, MODE_TEXT_40 = 1, MODE_CGA_4 = 4, MODE_CGA_2 = 6,
               MODE_TEXT_MONO = 7, MODE_PLANAR_640 = 0x12, MODE_PLANAR_320 = 0x0d,
               MODE_CHAIN_4 = 0x13 } BiosMode;
// Also fills the DAC so that entry i is { i & 63, i * 3 & 63, i * 7 & 63 }.
void set_bios_mode(VgaFixture *f, BiosMode mode);
uint32_t dac_pixel(unsigned index);

void refresh(VgaFixture *f); // clears the updates first
uint32_t pixel(const VgaFixture *f, uint32_t x, uint32_t y);
