#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes ntfs-before.gz and ntfs-after.gz, which ntfs-test.c compares: two states of an NTFS as
# ntfs-3g leaves them. It has to mount, which a test cannot count on; so they are kept. What the
# reader never looks at (the table of capitals) is wiped, to keep them small.
#   make-ntfs.sh FOLDER
set -eu
cd "$1"
mkdir -p mounted
mount_it() { ntfs-3g image mounted -o streams_interface=xattr,compression,norecover; }
keep() { # name
    umount mounted
    while pgrep -f "^ntfs-3g image mounted" >/dev/null; do sleep 0.1; done
    python3 - image <<'PYTHON' | gzip -9n >"$1"
import sys
image = bytearray(open(sys.argv[1], "rb").read())
at = image.find(b"\0\0\1\0\2\0\3\0\4\0\5\0")
image[at:at + 131072] = bytes(131072)
sys.stdout.buffer.write(image)
PYTHON
}
rm -f image
truncate -s 2M image
mkntfs -F -q -Q -c 512 -s 512 -p 0 image
mount_it
mkdir -p mounted/etc/deep/er mounted/gone mounted/many mounted/packed
printf same >mounted/etc/same
printf 'root\n' >mounted/etc/passwd
printf 'a file\n' >mounted/etc/deep/er/old
printf 1 >mounted/gone/inner
printf kind >mounted/kind
printf s >"mounted/etc/a name with ä, 🦉"
for i in {10..59}; do : >"mounted/many/a name that takes some room $i"; done
# Names that fill a record, so that there is a list of attributes.
for i in {10..19}; do ln mounted/etc/passwd "mounted/etc/another name of passwd that is long $i"; done
python3 -c 'import os
os.setxattr("mounted/etc/same", "user.stream", b"first")
os.setxattr("mounted/packed", "system.ntfs_attrib", bytes((0, 8, 0, 0)))'
head -c 100000 /dev/zero >mounted/packed/zeros # compressed
keep ntfs-before.gz
mount_it
printf 'longer contents' >mounted/etc/same
printf a >mounted/etc/added
mv mounted/etc/deep/er/old mounted/etc/deep/er/renamed
rm "mounted/many/a name that takes some room 37"
printf y >mounted/many/zz
rm -r mounted/gone mounted/kind
mkdir mounted/kind
printf b >mounted/kind/below
printf other >mounted/etc/passwd
printf 1 >>mounted/packed/zeros
keep ntfs-after.gz
rm image
rmdir mounted
