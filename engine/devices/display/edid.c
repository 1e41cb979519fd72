// SPDX-License-Identifier: GPL-2.0-or-later
// A monitor's EDID made from a preferred size. Follows VESA E-EDID Standard release A, revision 2
// (EDID 1.4) and CTA-861-D for the extension. It describes no real panel: blanking is that of CVT
// with reduced blanking, and the physical size assumes 96 dots per inch.
#include "engine/devices/display/edid.h"

#include "engine/base/bytes.h"

#include <glib.h>

// Reduced blanking of VESA CVT 1.1, section 5.
#define H_BLANK 160u
#define H_FRONT 48u
#define H_SYNC 32u
#define V_FRONT 3u
#define V_SYNC 6u
#define V_BLANK_MIN 31u

typedef struct {
    uint16_t width;
    uint16_t height;
} Size;

// Standard timings (section 3.9), 60 Hz each.
static const Size standard_sizes[] = {
    { 2048, 1152 }, { 1920, 1080 }, { 1600, 1200 }, { 1680, 1050 },
    { 1440, 900 },  { 1280, 1024 }, { 1280, 960 },  { 1280, 800 },
};

static void put_checksum(uint8_t block[128])
{
    uint8_t sum = 0;
    for (unsigned i = 0; i < 127; i++)
        sum = (uint8_t)(sum + block[i]);
    block[127] = (uint8_t)-sum;
}

// Section 3.10.2.
static void put_detailed_timing(uint8_t *at, uint32_t width, uint32_t height)
{
    uint32_t v_blank = MAX(V_BLANK_MIN, height / 24);
    uint64_t pixel_clock = (uint64_t)(width + H_BLANK) * (height + v_blank) * 60;
    uint32_t mm_width = width * 254 / 960, mm_height = height * 254 / 960;

    le16_write(at, (uint16_t)MIN(pixel_clock / 10000, 0xffff));
    at[2] = (uint8_t)width;
    at[3] = (uint8_t)H_BLANK;
    at[4] = (uint8_t)((width >> 8) << 4 | H_BLANK >> 8);
    at[5] = (uint8_t)height;
    at[6] = (uint8_t)v_blank;
    at[7] = (uint8_t)((height >> 8) << 4 | v_blank >> 8);
    at[8] = (uint8_t)H_FRONT;
    at[9] = (uint8_t)H_SYNC;
    at[10] = (uint8_t)(V_FRONT << 4 | V_SYNC);
    at[11] = 0;
    at[12] = (uint8_t)mm_width;
    at[13] = (uint8_t)mm_height;
    at[14] = (uint8_t)((mm_width >> 8) << 4 | mm_height >> 8);
    at[17] = 0x18; // digital separate sync, both polarities negative
}

// Section 3.10.3: a display descriptor of at most 13 text bytes, ended by LF, filled with blanks.
static void put_text(uint8_t *at, uint8_t tag, const char *text)
{
    at[3] = tag;
    size_t length = MIN(strlen(text), 13);
    memset(at + 5, ' ', 13);
    memcpy(at + 5, text, length);
    if (length < 13)
        at[5 + length] = '\n';
}

static void put_standard_timings(uint8_t *at)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(standard_sizes); i++) {
        Size s = standard_sizes[i];
        unsigned aspect = 0; // 16:10
        if (s.width * 3 == s.height * 4)
            aspect = 1;
        else if (s.width * 4 == s.height * 5)
            aspect = 2;
        else if (s.width * 9 == s.height * 16)
            aspect = 3;
        at[2 * i] = (uint8_t)(s.width / 8 - 31);
        at[2 * i + 1] = (uint8_t)(aspect << 6);
    }
}

void edid_fill(uint8_t edid[EDID_SIZE], uint32_t width, uint32_t height)
{
    static const uint8_t magic[8] = { 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0 };
    width = CLAMP(width, 64, 4095);
    height = CLAMP(height, 64, 4095);

    memset(edid, 0, EDID_SIZE);
    memcpy(edid, magic, sizeof magic);
    be16_write(edid + 8, ('L' - 64) << 10 | ('D' - 64) << 5 | ('G' - 64)); // section 3.4.1
    le16_write(edid + 10, 1);
    edid[16] = 0; // week: not given
    edid[17] = 2025 - 1990;
    edid[18] = 1;
    edid[19] = 4;
    edid[20] = 0xa5; // digital, 8 bits a colour, DisplayPort
    edid[21] = (uint8_t)MIN(width * 254 / 9600, 255);
    edid[22] = (uint8_t)MIN(height * 254 / 9600, 255);
    edid[23] = 120;  // gamma 2.2
    edid[24] = 0x06; // sRGB, and the first detailed timing is the native one
    // sRGB primaries and white point, section 3.7.
    static const uint8_t chromaticity[10] = { 0xee, 0x91, 0xa3, 0x54, 0x4c,
                                              0x99, 0x26, 0x0f, 0x50, 0x54 };
    memcpy(edid + 25, chromaticity, sizeof chromaticity);
    edid[35] = 0x21; // 640x480 and 800x600 at 60 Hz
    edid[36] = 0x08; // 1024x768 at 60 Hz
    put_standard_timings(edid + 38);
    put_detailed_timing(edid + 54, width, height);
    uint8_t *range = edid + 72;
    range[3] = 0xfd; // section 3.10.3.3: 50-125 Hz, 30-160 kHz, up to 2550 MHz
    range[5] = 50;
    range[6] = 125;
    range[7] = 30;
    range[8] = 160;
    range[9] = 255;
    range[10] = 0x01; // limits only
    range[11] = '\n';
    memset(range + 12, ' ', 6);
    put_text(edid + 90, 0xfc, "Lodge");
    put_text(edid + 108, 0xff, "1");
    edid[126] = 1;
    put_checksum(edid);

    uint8_t *cta = edid + 128; // CTA-861-D, section 7.5: no data blocks, no timings
    cta[0] = 0x02;
    cta[1] = 0x03;
    cta[2] = 4;
    put_checksum(cta);
}
