#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Twelve linked clones of one machine: what each costs at birth, and RUNNING of them at once, none of
which sees what another writes.  clones.py LODGECTL RUNNING"""
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

CLONES = 12
DISK = 16 << 20

# A boot sector that fills the next one with the number of ticks since midnight, by BIOS, says READY
# on the first serial port and waits for keys; q powers off.
#   xor ax, ax; mov ds, ax; mov es, ax; mov di, 8000h; mov ah, 0; int 1ah; mov ax, dx
#   mov cx, 256; rep stosw; mov ax, 0301h; mov bx, 8000h; mov cx, 2; mov dx, 80h; int 13h
#   mov si, text; print: lodsb; test al, al; jz keys; mov dx, 3f8h; out dx, al; jmp print
#   keys: mov ah, 0; int 16h; cmp al, 'q'; jne keys; mov dx, 604h; mov ax, 2000h; out dx, ax; jmp keys
WRITER = bytes.fromhex("31c0 8ed8 8ec0 bf0080 b400 cd1a 89d0 b90001 f3ab"
                       "b80103 bb0080 b90200 ba8000 cd13 be4a7c"
                       "ac 84c0 7406 baf803 ee ebf5"
                       "b400 cd16 3c71 75f8 ba0406 b80020 ef ebef"
                       .replace(" ", "")).ljust(0x4a, b"\x90") + b"READY\r\n\0"


def folder_room(folder):
    """Bytes that a machine takes on the disk."""
    return sum(os.lstat(os.path.join(where, name)).st_blocks * 512
               for where, _, names in os.walk(folder) for name in names)


def states(lodgectl):
    return {m["name"]: m["state"] for m in json.loads(lodgectl("list", "--json").stdout)}


def disk_of(lodgectl, name):
    path = lodgectl.path(name + ".raw")
    result = lodgectl("disk", "export", name, path)
    if result.returncode:
        return result.stderr
    with open(path, "rb") as file:
        data = file.read()
    os.unlink(path)
    return data


def is_refused_on_the_bus(lodgectl):
    name = "org.lodge.Store.m" + json.loads(
        lodgectl("show", "m", "--json").stdout)["machine.uuid"].replace("-", "")
    node = str(json.loads(lodgectl("snapshot", "show", "m", "One", "--json").stdout)["id"])
    said = []

    def is_answered():
        lodgectl("snapshot", "list", "m")  # the service ends when it is idle
        result = subprocess.run(
            ["gdbus", "call", "--session", "--dest", name, "--object-path", "/org/lodge/Snapshots",
             "--method", "org.lodge.Snapshots1.SetProtected", node, "false"],
            env=lodgectl.environment, text=True, capture_output=True, timeout=60)
        said[:] = [result.stderr]
        return result.returncode == 0 or "reads what it shares" in result.stderr
    return harness.wait_until(is_answered, 60) and "reads what it shares" in said[0]


def births(tap, lodgectl):
    made = []
    for i in range(CLONES):
        result = lodgectl("clone", "m", f"c{i}", "--linked", "--node", "One", "--json")
        made.append(json.loads(result.stdout) if result.returncode == 0 else {})
        room = folder_room(os.path.join(lodgectl.home, f"c{i}.lodge"))
        tap.check(result.returncode == 0 and 0 < room <= 1 << 20, f"clone {i}: {room >> 10} KiB",
                  result)
    shown = [json.loads(lodgectl("show", f"c{i}", "--json").stdout) for i in range(CLONES)]
    tap.check(len({s["machine.uuid"] for s in shown}) == CLONES, "each is a machine of its own")
    result = lodgectl("snapshot", "protect", "m", "One", "--off")
    tap.check(result.returncode == 1 and "reads what it shares from this snapshot" in result.stderr,
              "the snapshot that they stand on stays protected", result)
    tap.check(is_refused_on_the_bus(lodgectl), "also for who asks on the bus")
    tap.check([(m.get("name"), m.get("uuid")) for m in made] ==
              [(f"c{i}", shown[i]["machine.uuid"]) for i in range(CLONES)], "clone --json says which",
              made)


def run(tap, lodgectl):
    running = [f"c{i}" for i in range(int(sys.argv[2]))]
    source = lodgectl.path("source.raw")
    random.seed(11)
    with open(source, "wb") as file:
        file.write(WRITER.ljust(510, b"\0") + b"\x55\xaa" + random.randbytes(DISK - 512))
    lodgectl("create", "m", "--memory", "32M", "--engine", "interpreter", "--set", "boot.order=disk",
             "--set", "network0.mode=none")
    result = lodgectl("disk", "import", "m", source)
    tap.check(result.returncode == 0, "a machine", result)
    result = lodgectl("snapshot", "take", "m", "One", "--note", "for clones", "--json")
    node = json.loads(result.stdout) if result.returncode == 0 else {}
    tap.check((node.get("name"), node.get("note"), node.get("here")) == ("One", "for clones", True),
              "snapshot take --json says what was taken", result)
    births(tap, lodgectl)
    lodgectl("snapshot", "take", "m", "Two")
    result = lodgectl("clone", "m", "now", "--linked")
    result = lodgectl("snapshot", "protect", "m", "Two", "--off")
    tap.check(result.returncode == 0, "a snapshot that none stands on does not have to", result)
    for name in running:
        lodgectl("set", name, "serial0.mode=file", f"serial0.path={lodgectl.path(name)}")
        result = lodgectl("start", name, timeout=240)
        tap.check(result.returncode == 0, f"{name} starts", result)

    def is_ready(name):
        with open(lodgectl.path(name), "rb") as file:
            return b"READY" in file.read()
    tap.check(harness.wait_until(lambda: all(map(is_ready, running)), 240), "all are through")
    now = states(lodgectl)
    tap.check(all(now[name] == "running" for name in running), f"{len(running)} run at once", now)
    for name in running:
        lodgectl("type", name, "q")
    tap.check(harness.wait_until(lambda: all(states(lodgectl)[name] == "off" for name in running), 240),
              "all power off", states(lodgectl))
    with open(source, "rb") as file:
        before = file.read()
    for name in running:
        data = disk_of(lodgectl, name)
        sector = data[512:1024]
        tap.check(len(data) == DISK and sector == sector[:2] * 256 and data[:512] == before[:512] and
                  data[1024:] == before[1024:], f"{name}: its own sector, the rest is the machine's")
    tap.check(disk_of(lodgectl, "m") == before, "the machine's disk is what it was")


harness.main(run)
