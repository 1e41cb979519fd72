#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build-image.sh BITS OUTPUT LINKER-SCRIPT INCLUDE-FOLDER SOURCES...: a 1.44 MB floppy image
set -euo pipefail
bits=$1 output=$2 script=$3 top=$4
shift 4
gcc "-m$bits" -O1 -Wall -Wextra -Wno-unused-parameter -ffreestanding -fno-pic -fno-pie \
    -fno-stack-protector -fcf-protection=none -fno-asynchronous-unwind-tables -mno-red-zone \
    -mgeneral-regs-only -nostdlib -static "-I$top" \
    "-Wl,-T,$script,--build-id=none,-z,noexecstack,--no-warn-rwx-segments,--oformat=binary" \
    -o "$output" "$@"
truncate -s 1474560 "$output"
