#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make-installer-iso.sh amd64|i386 OUTPUT.iso: the packaged Debian installer as a bootable ISO, in
# VGA text mode, with a serial log.
set -euo pipefail
arch=$1 output=$2
[ -f "$output" ] && exit 0
from=/usr/lib/debian-installer/images/12/$arch/text/debian-installer/$arch
if [ ! -f "$from/linux" ]; then
    echo "the Debian installer is not there; install the package debian-installer-12-netboot-$arch" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/boot/grub"
cp "$from/linux" "$from/initrd.gz" "$folder/boot/"
cat >"$folder/boot/grub/grub.cfg" <<'GRUB'
set timeout=0
menuentry "Debian installer" {
    linux /boot/linux vga=normal fb=false priority=low
    initrd /boot/initrd.gz
}
GRUB
grub-mkrescue -d /usr/lib/grub/i386-pc --locales= --fonts= --themes= -o "$output.part" "$folder" \
    >"$output.log" 2>&1 || { cat "$output.log" >&2; exit 1; }
mv "$output.part" "$output"
