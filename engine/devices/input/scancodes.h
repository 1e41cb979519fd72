// SPDX-License-Identifier: GPL-2.0-or-later
// The three scan code sets of PC keyboards (IBM PS/2 Hardware Interface Technical Reference,
// "Keyboards", and Microsoft's Keyboard Scan Code Specification 1.3a, appendix C).
#pragma once

#include <stdbool.h>
#include <stdint.h>

// What the 8042 makes of a byte of set 2 (translation on); break prefix and direction bit are the
// caller's.
uint8_t scancode_2_to_1(uint8_t code);
// The set 2 code of a key given by its set 1 code (without the E0 prefix); 0 where there is none.
uint8_t scancode_1_to_2(uint8_t code);
// The set 3 code, which has no prefixes; 0 where there is none.
uint8_t scancode_1_to_3(uint8_t code, bool extended);
