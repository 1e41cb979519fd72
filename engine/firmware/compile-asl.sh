#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# compile-asl.sh IASL INPUT OUTPUT NAME: compiles ASL to a header with the array NAME_aml_code.
# Warnings fail the build.
set -e
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$1" -we -tc -p "$dir/$4" "$2" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }
grep -v Compilation "$dir/$4.hex" | sed 's/^unsigned char/static const unsigned char/' >"$3"
