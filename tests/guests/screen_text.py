#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads the text off a PNG of a text screen, by the glyphs of the VGA BIOS' own 8x16 font.

screen_text.py FILE.png prints the lines; text_of(path) returns them. A cell that matches no glyph
reads as '?', line drawing as '+', '-' or '|'."""
import struct
import sys
import zlib

VGABIOS = ["/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/vgabios/vgabios.bin"]
# 'A' and 'B' in the IBM 8x16 font: where the table lies in the ROM image.
GLYPH_A = bytes([0, 0, 0x10, 0x38, 0x6c, 0xc6, 0xc6, 0xfe, 0xc6, 0xc6, 0xc6, 0xc6, 0, 0, 0, 0])
BOX = {0xc4: "-", 0xcd: "-", 0xb3: "|", 0xba: "|"}


def read_png(path):
    """Width, height, and rows of (r, g, b) tuples of an 8-bit RGB or RGBA PNG."""
    data = open(path, "rb").read()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is not a PNG file")
    at, chunks, header = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            chunks += body
        at += 12 + size
    width, height, depth, colour = header[:4]
    channels = {2: 3, 6: 4}.get(colour)
    if depth != 8 or not channels or header[6]:
        raise ValueError(f"{path}: depth {depth}, colour type {colour} is not read here")
    raw, stride = zlib.decompress(chunks), width * channels
    rows, previous = [], bytes(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = line[i - channels] if i >= channels else 0
            up = previous[i]
            corner = previous[i - channels] if i >= channels else 0
            if kind == 1:
                add = left
            elif kind == 2:
                add = up
            elif kind == 3:
                add = (left + up) // 2
            else:
                p = left + up - corner
                pa, pb, pc = abs(p - left), abs(p - up), abs(p - corner)
                add = left if pa <= pb and pa <= pc else up if pb <= pc else corner
            line[i] = (line[i] + add) & 255
        rows.append([tuple(line[x:x + 3]) for x in range(0, stride, channels)])
        previous = bytes(line)
    return width, height, rows


def load_font():
    for path in VGABIOS:
        try:
            rom = open(path, "rb").read()
        except OSError:
            continue
        at = rom.find(GLYPH_A)
        if at >= 65 * 16:
            table = rom[at - 65 * 16:at + (256 - 65) * 16]
            return {table[c * 16:c * 16 + 16]: c for c in range(255, -1, -1)}
    raise FileNotFoundError("no VGA BIOS with an 8x16 font; install the package seabios")


def cell_text(rows, x, y, font):
    colours = {}
    for row in rows[y:y + 16]:
        for pixel in row[x:x + 8]:
            colours[pixel] = colours.get(pixel, 0) + 1
    if len(colours) == 1:
        return " "
    for ink in colours:
        glyph = bytes(sum(1 << 7 - i for i in range(8) if row[x + i] == ink)
                      for row in rows[y:y + 16])
        code = font.get(glyph)
        if code is not None:
            if code in BOX:
                return BOX[code]
            if 0xb0 <= code <= 0xdf:
                return "+"
            return chr(code) if 32 <= code < 127 else " " if code in (0, 255) else "?"
    return "?"


def text_of(path):
    """The screen's lines: a VGA text mode, or a console of 8x16 cells on a framebuffer."""
    width, height, rows = read_png(path)
    cell = 9 if width == 720 else 8
    font = load_font()
    return ["".join(cell_text(rows, x, y, font) for x in range(0, width - 7, cell)).rstrip()
            for y in range(0, height - 15, 16)]


if __name__ == "__main__":
    print("\n".join(text_of(sys.argv[1])))
