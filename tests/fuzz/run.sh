#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Each fuzz target under libFuzzer: run.sh BUILD-FOLDER [SECONDS-EACH, default 60]
set -eu
cd "$(dirname "$(readlink -f "$0")")/../.."
folder=$1 seconds=${2:-60} status=0
for target in "$folder"/tests/fuzz/fuzz-*; do
    [ -x "$target" ] && [ -f "$target" ] || continue
    name=${target##*/fuzz-}
    mkdir -p "$folder/corpus/$name" "$folder/crashes"
    echo "== $name, $seconds s"
    "$target" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$folder/crashes/$name-" \
        "$folder/corpus/$name" || status=1
done
[ $status -eq 0 ] || echo "Something was found: see $folder/crashes; run a target with the file's name."
exit $status
