// SPDX-License-Identifier: GPL-2.0-or-later
// What a monitor says about itself: VESA E-EDID release A, EDID 1.4, with one CTA-861 extension.
#pragma once

#include <stdint.h>

#define EDID_SIZE 256

// Fills a base block and an extension for a flat panel whose preferred mode is width x height at
// 60 Hz. width, height: clamped to 64..4095, what a detailed timing can say.
void edid_fill(uint8_t edid[EDID_SIZE], uint32_t width, uint32_t height);
