#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes the pairs NAME-before.gz and NAME-after.gz that ntfs-test.c and exfat-test.c compare: two
# states of a file system as programs that are not ours leave them (ntfs-3g, exfat-fuse). They have
# to mount, which a test cannot count on; so the pairs are kept. What a reader never looks at
# (NTFS's table of capitals) is wiped, to keep them small.
#   make-kept.sh FOLDER, as root
set -eu
cd "$1"
mkdir -p mounted

first_state() {
    mkdir -p mounted/etc/deep/er mounted/gone mounted/many
    printf same >mounted/etc/same
    printf 'root\n' >mounted/etc/passwd
    printf 'a file\n' >mounted/etc/deep/er/old
    printf 1 >mounted/gone/inner
    printf kind >mounted/kind
    printf s >"mounted/etc/a name with ä, 🦉"
    for i in {10..59}; do : >"mounted/many/a name that takes some room $i"; done
}

second_state() {
    printf 'longer contents' >mounted/etc/same
    printf a >mounted/etc/added
    mv mounted/etc/deep/er/old mounted/etc/deep/er/renamed
    rm "mounted/many/a name that takes some room 37"
    printf y >mounted/many/zz
    rm -r mounted/gone mounted/kind
    mkdir mounted/kind
    printf b >mounted/kind/below
    printf other >mounted/etc/passwd
}

mount_it() { # the program, its options
    loop=$(losetup -f --show image)
    "$1" "$loop" mounted "${@:2}"
}

keep() { # name
    umount mounted
    sleep 1 # it writes its last once it is unmounted
    losetup -d "$loop"
    python3 - image <<'PYTHON' | gzip -9n >"$1"
import sys
image = bytearray(open(sys.argv[1], "rb").read())
at = image.find(b"\0\0\1\0\2\0\3\0\4\0\5\0")
if at >= 0 and image[3:7] == b"NTFS":
    image[at:at + 131072] = bytes(131072)
sys.stdout.buffer.write(image)
PYTHON
}

truncate -s 2M image
mkntfs -F -q -Q -c 512 -s 512 -p 0 -H 0 -S 0 image
mount_it ntfs-3g -o streams_interface=xattr,compression,norecover
first_state
# Names that fill a record, so that there is a list of attributes; a stream; a compressed file.
for i in {10..19}; do ln mounted/etc/passwd "mounted/etc/another name of passwd that is long $i"; done
mkdir mounted/packed
python3 -c 'import os
os.setxattr("mounted/etc/same", "user.stream", b"first")
os.setxattr("mounted/packed", "system.ntfs_attrib", bytes((0, 8, 0, 0)))'
head -c 100000 /dev/zero >mounted/packed/zeros
keep ntfs-before.gz
mount_it ntfs-3g -o streams_interface=xattr,compression,norecover
second_state
printf 1 >>mounted/packed/zeros
keep ntfs-after.gz
rm image

truncate -s 2M image
mkfs.exfat -c 512 -b 4K image
mount_it mount.exfat-fuse
first_state
keep exfat-before.gz
mount_it mount.exfat-fuse
second_state
keep exfat-after.gz
rm image
rmdir mounted
