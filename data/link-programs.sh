#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# link-programs.sh FOLDER STAMP PROGRAM...: puts the built programs into one folder. Hard links, not
# symbolic ones: a program looks for the others beside the name it was started by.
set -e
folder=$1 stamp=$2
shift 2
mkdir -p "$folder"
for program in "$@"; do
    ln -f "$program" "$folder/" 2>/dev/null || cp -f "$program" "$folder/"
done
touch "$stamp"
