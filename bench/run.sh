#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# run.sh [--rounds N] [--bench NAMES] [--scale PERCENT] [--engines LIST] [--peers LIST]
#        [--boot|--no-boot] | --store [--quick]
# Interleaved rounds of native, Lodge's engines, QEMU TCG and Bochs over the guest bundle, then tables:
# each workload, and the goals. Boots are measured too unless --bench limits the run.
set -euo pipefail
top=$(readlink -f "$(dirname "$0")/..")
if [ "${1:-}" = --store ]; then
    shift
    exec "$top/bench/store.sh" "$@"
fi
bundle=${LODGE_BENCH_BUNDLE:-$top/../shared/bench}
rounds=1 names=all scale=5 boot= engines=translator,interpreter peers=qemu,bochs
while [ $# -gt 0 ]; do
    case "$1" in
    --rounds) rounds=$2; shift 2 ;;
    --bench) names=$2; shift 2 ;;
    --scale) scale=$2; shift 2 ;;
    --engines) engines=$2; shift 2 ;;
    --peers) peers=$2; shift 2 ;;
    --boot) boot=yes; shift ;;
    --no-boot) boot=no; shift ;;
    *) sed -n 3,6p "$0" | cut -c3- >&2; exit 2 ;;
    esac
done
[ -n "$boot" ] || { [ "$names" = all ] && boot=yes || boot=no; }
IFS=, read -ra engines <<<"$engines"
IFS=, read -ra peers <<<"$peers"
[ -d "$bundle" ] || { echo "the guest bundle is not at $bundle; set LODGE_BENCH_BUNDLE" >&2; exit 1; }

work=$top/build/bench
mkdir -p "$work"
cp -r "$bundle/." "$work/"
cd "$work"
[ -f out/initrd-full.cpio ] || NOAPT=1 ./build.sh

# Lodge's command for an engine and a way to boot, with measure.py's places to fill in.
lodge() { # engine, options
    echo "$top/build/bin/lodgectl run --engine $1 $2 --memory {MEM}M --serial stdio --display none --net none"
}
direct='--kernel {KERNEL} --initrd {INITRD} --append "{APPEND}"'
mkdir -p results
rm -f results/*.jsonl
measure() { host/measure.py "$@" >>results/log 2>&1 || echo "measure.py $* failed; see $work/results/log" >&2; }

guest_args="mode=bench bench=$names scale=$scale"
columns=()
for engine in "${engines[@]}"; do columns+=("$engine:native"); done
for peer in "${peers[@]}"; do columns+=("$peer:native"); done
for round in $(seq 1 "$rounds"); do
    echo "round $round of $rounds" >&2
    measure --out results/main.jsonl --engine native --tag native --append "$guest_args"
    for engine in "${engines[@]}"; do
        measure --out results/main.jsonl --engine cmd --cmd "$(lodge "$engine" "$direct")" --tag "$engine" \
            --append "$guest_args"
    done
    for peer in "${peers[@]}"; do
        measure --out results/main.jsonl --engine "$peer" --tag "$peer" --append "$guest_args"
    done
done

# Power-on to the login prompt: the small ISO, and a Debian with systemd on an IDE disk where the
# bundle has one (its host/mkdebian.sh makes it).
boot() { # tag, image, engine options
    local tag=$1 image=$2
    shift 2
    case "$image" in
    iso) measure --out results/boot.jsonl --tag "$tag" --mem 512 --initrd out/initrd-mini.gz --append mode=login \
        --marks 'kernel=Linux version;init=INIT started;login=login:' --until 'login:' --linger 1 --timeout 300 "$@" ;;
    debian) measure --out results/boot.jsonl --tag "$tag" --mem 512 --kernel out/debian-vmlinuz \
        --initrd out/debian-initrd --rawappend --append "root=/dev/sda rw console=ttyS0" \
        --marks 'kernel=Linux version;init=Run /init;login=login:' --until 'login:' --linger 1 --timeout 400 "$@" ;;
    esac
}
boot_all() { # image
    local image=$1 engine
    for engine in "${engines[@]}"; do
        if [ "$image" = iso ]; then
            boot "$engine/iso" iso --engine cmd --cmd "$(lodge "$engine" '--iso {ISO}')"
        else
            cp --sparse=always out/debian.img out/debian-copy.img
            boot "$engine/debian" debian --engine cmd \
                --cmd "$(lodge "$engine" "$direct --disk $work/out/debian-copy.img")"
            rm -f out/debian-copy.img
        fi
    done
    for peer in "${peers[@]}"; do
        case "$peer-$image" in
        qemu-iso) boot qemu/iso iso --engine qemu-iso ;;
        bochs-iso) boot bochs/iso iso --engine bochs ;;
        qemu-debian)
            boot qemu/debian debian --engine qemu \
                --extra "-drive file=out/debian.img,format=raw,if=ide,snapshot=on" ;;
        esac
    done
}
if [ "$boot" = yes ]; then
    [ -f out/debian.img ] || echo "no $work/out/debian.img: its host/mkdebian.sh makes it; Debian is left out" >&2
    for round in $(seq 1 "$rounds"); do
        boot_all iso
        if [ -f out/debian.img ]; then boot_all debian; fi
    done
fi

python3 host/report.py "${columns[@]}"
echo
python3 "$top/bench/goals.py" "$work/results" "${engines[@]}"
