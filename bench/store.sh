#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# store.sh [--quick]
# The snapshot store beside qcow2 through qemu-img, in one run: create, apply and delete of a
# snapshot with 2 GiB and 512 GiB mapped, and random-like 4 KiB writes and reads.
set -euo pipefail
top=$(readlink -f "$(dirname "$0")/..")
quick=
[ "${1:-}" = --quick ] && quick=yes
ninja -C "$top/build" bench/store-bench >&2
work=$(mktemp -d "$top/build/store-bench-XXXXXX")
trap 'rm -rf "$work"' EXIT

row() { printf '%s\t%s\t%s\t%s\n' "$@"; }
milliseconds() { # command: its median of three, in ms
    local times=() start end
    for _ in 1 2 3; do
        [ -z "${before:-}" ] || $before >/dev/null
        start=$(date +%s%N)
        "$@" >/dev/null
        end=$(date +%s%N)
        times+=($(((end - start) / 1000)))
    done
    printf '%s\n' "${times[@]}" | sort -n | sed -n 2p | awk '{ printf "%.4g", $1 / 1000 }'
}

# Each call starts a qemu-img, opens the image and closes it; `qemu-img info` says what that costs.
qcow2_snapshots() { # size, label
    local image=$work/bench.qcow2
    qemu-img create -q -f qcow2 -o preallocation=metadata "$image" "$1"
    row "qcow2 qemu-img info" "$2" "$(milliseconds qemu-img info "$image")" ms
    row "qcow2 create" "$2" "$(before="" milliseconds qemu-img snapshot -c s "$image")" ms
    row "qcow2 apply" "$2" "$(milliseconds qemu-img snapshot -a s "$image")" ms
    row "qcow2 delete" "$2" "$(milliseconds qemu-img snapshot -d s "$image")" ms
    rm -f "$image"
}

qemu_transfers() { # format
    local image=$work/bench.$1 kind option seconds
    qemu-img create -q -f "$1" "$image" 1G
    qemu-img bench -q -f "$1" -c 1024 -d 16 -s 1048576 -S 1048576 -w "$image" >/dev/null
    for kind in read write; do
        option=
        [ $kind = read ] || option=-w
        # An odd step makes every block of the image come up, far from the one before.
        seconds=$(qemu-img bench -f "$1" -c 60000 -d 16 -s 4096 -S 405807104 -i io_uring $option \
            --flush-interval=60000 "$image" 2>/dev/null | sed -n 's/Run completed in \(.*\) seconds./\1/p' ||
            true)
        [ -n "$seconds" ] || seconds=$(qemu-img bench -f "$1" -c 60000 -d 16 -s 4096 -S 405807104 $option \
            "$image" | sed -n 's/Run completed in \(.*\) seconds./\1/p')
        row "qemu-img bench $1 4K $kind" fresh "$(awk -v s="$seconds" 'BEGIN { printf "%.4g", 60000 / s }')" 1/s
    done
    rm -f "$image"
}

"$top/build/bench/store-bench" --folder "$work" ${quick:+--rounds 3 --count 20000 --nodes 200}
qcow2_snapshots 2G "2 GiB"
[ -n "$quick" ] || qcow2_snapshots 512G "512 GiB"
qemu_transfers raw
qemu_transfers qcow2
