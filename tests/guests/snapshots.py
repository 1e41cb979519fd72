#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest's disks through a tree of snapshots: what it wrote is there again after going back,
over and forth, after its node's ancestors are deleted, and in a linked clone. Prints TAP.
snapshots.py LODGECTL DEMO-FOLDER ENGINE"""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
import harness  # noqa: E402


def run(tap, lodgectl):
    demo, engine = os.path.abspath(sys.argv[2]), sys.argv[3]
    serial = lodgectl.path("serial")

    def create(name):
        return lodgectl(
            "create", name, "--memory", "192M", "--engine", engine, "--disk", "32M", "--disk", "32M",
            *[word for setting in (
                "disk1.interface=virtio", "network0.mode=none", f"boot.kernel={demo}/vmlinuz",
                f"boot.initrd={demo}/initrd", "serial0.mode=file", f"serial0.path={serial}")
              for word in ("--set", setting)])

    def boot(name, words):
        """The checksums of both disks at the end of a guest that does what the words say."""
        if os.path.exists(serial):
            os.unlink(serial)
        lodgectl("set", name, f"boot.append=console=ttyS0,115200 quiet {words} poweroff")
        started = lodgectl("start", name)
        tap.check(started.returncode == 0, f"{name} starts: {words}", started.stderr)

        def is_off():
            listed = json.loads(lodgectl("list", "--json").stdout)
            return any(m["name"] == name and m["state"] == "off" for m in listed)
        tap.check(harness.wait_until(is_off, 240), f"{name} powers off")
        with open(serial, errors="replace") as file:
            return re.findall(r"SUM (\S+ [0-9a-f]{64})", file.read())

    def call(*words):
        result = lodgectl(*words)
        tap.check(result.returncode == 0, " ".join(words), result.stderr)
        return result.stdout.strip()

    made = create("m")
    tap.check(made.returncode == 0, "a machine with two disks in its store", made.stderr)
    first = boot("m", "disktest disksum")
    tap.check(len(first) == 2, "it writes both", first)
    call("snapshot", "take", "m", "one", "--note", "after the first write")
    second = boot("m", "disktest disksum")
    tap.check(len(second) == 2 and second != first, "it writes something else", second)
    call("snapshot", "take", "m", "two")
    changes = json.loads(call("snapshot", "diff", "m", "one", "two", "--json"))
    changed = {disk: sum(length for _, length in ranges) for disk, ranges in changes.items()}
    tap.check(all(2 << 20 <= changed.get(disk, 0) <= 4 << 20 for disk in ("disk0", "disk1")),
              "the difference is what it wrote", changes)

    call("snapshot", "goto", "m", "one")
    tap.check(boot("m", "disksum") == first, "back: what it wrote first")
    call("snapshot", "goto", "m", "two")
    call("snapshot", "delete", "m", "one")
    call("snapshot", "empty-bin", "m")
    tap.check(boot("m", "disksum") == second, "forth, its parent deleted: what it wrote then")
    call("clone", "m", "twin", "--linked", "--node", "two")
    size = os.stat(os.path.join(lodgectl.home, "twin.lodge", "snapshots.store"))
    tap.check(size.st_blocks * 512 <= 1 << 20, f"a linked clone takes {size.st_blocks * 512} bytes")
    tap.check(boot("twin", "disksum") == second, "and has the same disks")
    result = lodgectl("snapshot", "delete", "m", "two")
    tap.check(result.returncode == 1 and "protect" in result.stderr,
              "what a clone stands on cannot be deleted", result.stderr)


harness.main(run)
