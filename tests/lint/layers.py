#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Include directions: reads every local #include and fails on an edge that LAYERS does not have.

A row says which folders (or single headers) a folder's files may include besides their own
folder. The first row whose folder is a prefix of the file's path holds. "*" allows everything.
"""
import os
import re
import subprocess
import sys

BASE, MEMORY, LOOP, BUS = "engine/base", "engine/memory", "engine/loop", "engine/bus"
BORDERS = [BUS + "/char-backend.h", BUS + "/net-backend.h", BUS + "/display.h", BUS + "/input.h"]
VCPU = ["engine/vcpu/vcpu-backend.h", "engine/vcpu/vcpu-state.h", "engine/vcpu/vcpu-exit.h",
        "engine/vcpu/cpuid.h"]

LAYERS = [
    ("tests", ["*"]),
    ("engine/base", []),
    ("engine/config", [BASE]),
    ("engine/loop", [BASE]),
    ("engine/memory", [BASE]),
    # The one list of all devices.
    ("engine/bus/device-table.c", [BASE, MEMORY, LOOP, "engine/devices"]),
    ("engine/bus", [BASE, MEMORY, LOOP]),
    ("engine/vcpu/kvm", [BASE, MEMORY] + VCPU),
    ("engine/vcpu/bt/translator", [BASE, MEMORY, "engine/vcpu/bt"] + VCPU),
    ("engine/vcpu/bt", [BASE, MEMORY, "engine/vcpu/bt/translator/translator.h"] + VCPU),
    ("engine/vcpu", [BASE, MEMORY, LOOP, BUS]),
    ("engine/firmware", [BASE, BUS, MEMORY, LOOP]),
    ("engine/devices/storage", [BASE, BUS, MEMORY, LOOP, "snapshots/block.h"]),
    ("engine/devices/virtio", [BASE, BUS, MEMORY, LOOP, "snapshots/block.h"]),
    ("engine/devices", [BASE, BUS, MEMORY, LOOP]),
    ("engine/spice", [BASE, LOOP] + BORDERS),
    ("engine/netd", [BASE, LOOP, BUS + "/net-backend.h"]),
    ("engine/dbus", [BASE, "engine/config", "engine/lifecycle.h", "engine/machine.h",
                     "engine/char-stream.h", "engine/guest-trace.h", "engine/key-feeder.h",
                     "engine/run-stats.h",
                     "data/dbus", "snapshots", "usb"]),
    ("snapshots/filesystems", [BASE]),
    ("snapshots/store", [BASE, LOOP, "snapshots"]),
    ("snapshots/formats", [BASE, LOOP, "snapshots"]),
    ("snapshots", [BASE, LOOP]),
    ("usb", [BASE, LOOP, MEMORY, BUS]),
    ("appliances", [BASE, "engine/config", "snapshots"]),
    ("app/client", ["engine/config", "data/dbus", BASE]),
    ("app/cli", ["app/client", "engine/config", "data/dbus", BASE]),
    ("app/console", []),
    ("app/snapshots", ["app/client", "app/lodge-dialogs.h", "engine/config"]),
    ("app/wizard", ["app/client", "app/lodge-dialogs.h", "engine/config", BASE]),
    ("app", ["app", "engine/config", "data/dbus", BASE]),
    ("data/man", ["engine/config"]),
    ("bench", ["*"]),
    # main, machine, lifecycle, sandbox: the composition of everything.
    ("engine", [BASE, MEMORY, LOOP, BUS, "engine", "snapshots", "usb", "appliances"]),
]

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def row_for(path):
    for folder, allowed in LAYERS:
        if path == folder or path.startswith(folder + "/"):
            return folder, allowed
    return None, None


def allowed_edge(path, target):
    row, allowed = row_for(path)
    if row is None:
        return False
    own = os.path.dirname(path)
    if os.path.dirname(target) == own or "*" in allowed:
        return True
    return any(target == a or target.startswith(a + "/") for a in allowed)


def self_test():
    assert allowed_edge("engine/bus/bus.c", "engine/base/bytes.h")
    assert not allowed_edge("engine/bus/bus.c", "engine/vcpu/vcpu.h")
    assert not allowed_edge("engine/devices/chipset/lapic.c", "engine/devices/input/i8042.h")
    assert not allowed_edge("engine/vcpu/bt/bt-mmu.c", "engine/bus/bus.h")
    assert allowed_edge("engine/vcpu/vcpu.c", "engine/bus/bus.h")
    assert not allowed_edge("app/main.c", "snapshots/block.h")


def main():
    self_test()
    files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "*.c", "*.h"],
                                    text=True).split()
    problems = []
    for path in files:
        if not os.path.exists(path):
            continue
        text = open(path, encoding="utf-8").read()
        for target in INCLUDE.findall(text):
            if "/" not in target:
                # Generated headers and a file's neighbours in the build folder.
                if os.path.exists(os.path.join(os.path.dirname(path), target)):
                    problems.append(f'{path}: "{target}" must be included by its path from the top')
                continue
            if not os.path.exists(target):
                continue  # generated, or a library's
            if target.startswith("tests/") and not path.startswith("tests/"):
                problems.append(f"{path}: nothing may include tests ({target})")
            elif not allowed_edge(path, target):
                problems.append(f"{path} must not include {target}")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} forbidden edges")
    return 1 if problems else 0


sys.exit(main())
