#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh [--rounds N] [--bench NAMES] [--scale PERCENT] [--boot]
# Interleaved rounds of native, Lodge, QEMU TCG and Bochs over the guest bundle, then the tables.
set -euo pipefail
top=$(readlink -f "$(dirname "$0")/..")
bundle=${LODGE_BENCH_BUNDLE:-$top/../shared/bench}
rounds=1 names=all scale=5 boot=
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds) rounds=$2; shift 2 ;;
    --bench) names=$2; shift 2 ;;
    --scale) scale=$2; shift 2 ;;
    --boot) boot=yes; shift ;;
    *) sed -n 3,4p "$0" | cut -c3- >&2; exit 2 ;;
    esac
done
[ -d "$bundle" ] || { echo "the guest bundle is not at $bundle; set LODGE_BENCH_BUNDLE" >&2; exit 1; }

work=$top/build/bench
mkdir -p "$work"
cp -r "$bundle/." "$work/"
cd "$work"
[ -f out/initrd-full.cpio ] || NOAPT=1 ./build.sh

lodge="$top/build/bin/lodgectl run --engine ${LODGE_ENGINE:-interpreter} --kernel {KERNEL} --initrd {INITRD}"
lodge="$lodge --append \"{APPEND}\" --memory {MEM}M --serial stdio --display none --net none"
results=results/main.jsonl
mkdir -p results
rm -f results/*.jsonl
measure() { host/measure.py "$@" >>results/log 2>&1 || echo "measure.py $* failed; see $work/results/log" >&2; }

guest_args="mode=bench bench=$names scale=$scale"
for round in $(seq 1 "$rounds"); do
    echo "round $round of $rounds" >&2
    measure --out $results --engine native --tag native --append "$guest_args"
    measure --out $results --engine cmd --cmd "$lodge" --tag lodge --append "$guest_args"
    measure --out $results --engine qemu --tag qemu --append "$guest_args"
    measure --out $results --engine bochs --tag bochs --append "$guest_args"
done
python3 host/report.py lodge:native qemu:native bochs:native

[ -n "$boot" ] || exit 0
rm -f results/boot.jsonl
direct="$lodge"
iso="$top/build/bin/lodgectl run --engine ${LODGE_ENGINE:-interpreter} --iso {ISO} --memory {MEM}M"
iso="$iso --serial stdio --display none --net none"
boot() { # tag, engine options
    local tag=$1
    shift
    measure --out results/boot.jsonl --tag "$tag" --mem 512 --initrd out/initrd-mini.gz --append mode=login \
        --marks 'kernel=Linux version;init=INIT started;login=login:' --until 'login:' --timeout 300 "$@"
}
for round in $(seq 1 "$rounds"); do
    boot lodge/direct --engine cmd --cmd "$direct"
    boot qemu/direct --engine qemu
    boot lodge/iso --engine cmd --cmd "$iso"
    boot qemu/iso --engine qemu-iso
done
python3 host/report.py lodge:native | sed -n '/^boot/,$p'
