#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the demo guest from the distribution's packages: build.sh OUTPUT-FOLDER
# gives vmlinuz, initrd and demo.iso (GRUB, serial and VGA console). Packages are downloaded and
# unpacked, never installed. Nothing is done when the output is newer than these files.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
out=$(mkdir -p "$1" && readlink -f "$1")
[ "$out/demo.iso" -nt "$here/init" ] && [ "$out/demo.iso" -nt "$here/build.sh" ] && exit 0

work=$out/work
mkdir -p "$work"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9]\S*\).*/\1/p' | head -n 1)
[ -n "$kernel" ] || { echo "the package lists know no linux-image-cloud-amd64; run apt-get update" >&2; exit 1; }
for package in "$kernel" busybox-static; do
    [ -d "$work/$package" ] && continue
    (cd "$work" && apt-get download -q "$package" >/dev/null)
    dpkg-deb -x "$work/$package"_*.deb "$work/$package.part"
    mv "$work/$package.part" "$work/$package"
done

# Load order: each after what it needs.
modules="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover
    net_failover virtio_net virtio_blk virtio_console scsi_common scsi_mod libata ata_piix
    t10-pi crc64 crc64-rocksoft crc-t10dif crct10dif_common sd_mod cdrom sr_mod isofs evdev"
root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,sbin,proc,sys,dev,tmp,etc,modules}
cp "$work/busybox-static/bin/busybox" "$root/bin/"
for applet in $("$root/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
done
for module in $modules; do
    file=$(find "$work/$kernel/lib/modules" -name "$module.ko" -print -quit)
    [ -n "$file" ] || continue # built into this kernel
    cp "$file" "$root/modules/"
    echo "$module" >>"$root/modules.list"
done
# Without these the static C library looks for plug-ins that are not there.
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
echo '127.0.0.1 localhost' >"$root/etc/hosts"
install -m 755 "$here/init" "$root/init"
install -m 755 "$here/udhcpc.sh" "$root/etc/udhcpc.sh"
find "$root" -exec touch -hd @0 {} +
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet --reproducible) | gzip -1n >"$out/initrd"
cp "$work/$kernel"/boot/vmlinuz-* "$out/vmlinuz"

iso=$work/iso
rm -rf "$iso"
mkdir -p "$iso/boot/grub"
cp "$out/vmlinuz" "$out/initrd" "$iso/boot/"
cat >"$iso/boot/grub/grub.cfg" <<'GRUB'
serial --unit=0 --speed=115200
terminal_output console serial
terminal_input console serial
set timeout=0
menuentry "Lodge demo guest" {
    linux /boot/vmlinuz console=tty0 console=ttyS0,115200 quiet
    initrd /boot/initrd
}
GRUB
# -volid: what the wizard shows.
grub-mkrescue -d /usr/lib/grub/i386-pc --locales= --fonts= --themes= -o "$out/demo.iso.part" "$iso" \
    -- -volid LODGE_DEMO >"$work/mkrescue.log" 2>&1 || { cat "$work/mkrescue.log" >&2; exit 1; }
mv "$out/demo.iso.part" "$out/demo.iso"
