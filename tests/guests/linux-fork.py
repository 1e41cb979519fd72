#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Branches of a Linux guest at work: each goes on with what it was doing, with an address and a
generation ID of its own, and sees nothing of the others; nothing is left of a fork that fails or is
given up.  linux-fork.py LODGECTL DEMO-FOLDER ENGINE"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "e2e")]
import harness  # noqa: E402
from guest_console import Console  # noqa: E402

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

BRANCHES = 3
WORK = "(i=0; while :; do i=$((i+1)); echo STEP $i; sleep 0.2; done) &"
# The network card's driver asks for the address when it starts.
LOOK = ("cd /sys/bus/virtio/drivers/virtio_net; for d in virtio*; do echo $d >unbind; echo $d >bind; "
        "done; cd /; echo MAC=$(cat /sys/class/net/eth*/address) ID=$(devmem 0xfef00000 64) "
        "EVENTS=$(cat /sys/firmware/acpi/interrupts/gpe05 | sed 's/ *\\([0-9]*\\).*/\\1/').")
SEEN = r"(?m)^MAC=([0-9a-f:]{17}) ID=(0x[0-9A-F]{16}) EVENTS=(\d+)\."


def call(lodgectl, *words):
    return lodgectl(*words, timeout=240)


def steps(console):
    with console.arrived:
        return [int(step) for step in re.findall(r"(?m)^STEP (\d+)$", console.text)]


def works(console):
    """Waits for two more steps; whether they came."""
    before = len(steps(console))
    return harness.wait_until(lambda: len(steps(console)) >= before + 2, 240)


def went_back(console, since):
    """Waits until the steps from that index on do not ascend; whether that came."""
    def is_so():
        seen = steps(console)[since:]
        return any(b <= a for a, b in zip(seen, seen[1:]))
    return harness.wait_until(is_so, 240)


def look(tap, console, what):
    console.type(LOOK)
    found = console.wait(SEEN, 240)
    tap.check(found, f"{what} tells who it is", console.text[-1500:])
    return found.groups() if found else (None, None, None)


def nodes(lodgectl, name):
    return json.loads(call(lodgectl, "snapshot", "list", name, "--json").stdout)


def ids(lodgectl):
    return [node["id"] for node in nodes(lodgectl, "m")]


def disk_of(lodgectl, name):
    path = lodgectl.path(name + ".raw")
    result = call(lodgectl, "disk", "export", name, path)
    if result.returncode:
        return result.stderr
    with open(path, "rb") as file:
        return file.read(16)


def branches_go_on(tap, lodgectl, console):
    before = steps(console)[-1]
    result = call(lodgectl, "fork", "m", str(BRANCHES), "--json")
    tap.check(result.returncode == 0, f"{BRANCHES} branches", result)
    made = json.loads(result.stdout)
    names = [branch["name"] for branch in made]
    tap.check(names == [f"m-{i + 1}" for i in range(BRANCHES)], "their names", made)
    tap.check(all(0 < branch["bytes"] <= 1000000 for branch in made), "and the room they take", made)
    tap.check(works(console), "the machine goes on", console.text[-1500:])
    consoles = {name: Console(lodgectl, name) for name in names}
    for name in names:
        tap.check(works(consoles[name]) and steps(consoles[name])[0] > before, f"{name} goes on",
                  (before, consoles[name].text[-1500:]))
    seen = {name: look(tap, consoles[name], name) for name in names}
    for branch in made:
        mac, _, events = seen[branch["name"]]
        tap.check(mac == branch["mac"][0], f"{branch['name']} has its own address", (branch, mac))
        tap.check(events != "0", "and was told that it is another one", seen)
    seen["m"] = look(tap, console, "the machine")
    tap.check(len({s[0] for s in seen.values()}) == len(seen), "no address twice", seen)
    tap.check(len({s[1] for s in seen.values()}) == len(seen), "no generation ID twice", seen)
    tap.check(seen["m"][2] == "0", "the machine's has not changed", seen)
    return consoles


def disks_are_apart(tap, lodgectl, consoles):
    for name, console in consoles.items():
        console.type(f"echo 'disk of {name}' | dd of=/dev/vda conv=fsync 2>/dev/null; echo WRIT''TEN")
        tap.check(console.wait(r"(?m)^WRITTEN", 240), f"{name} writes to its disk")
    for name in consoles:
        found = disk_of(lodgectl, name)
        tap.check(found.startswith(b"disk of %s\n" % name.encode()), "which is its own", found)
    found = disk_of(lodgectl, "m")
    tap.check(found == bytes(16), "the machine's disk has nothing of it", found)


def both_can_go_back(tap, lodgectl, console, branch):
    birth = nodes(lodgectl, "m-1")[0]
    tap.check(birth["has-memory"], "a branch's birth is its first snapshot", birth)
    for name, where in (("m-1", branch), ("m", console)):
        first = nodes(lodgectl, name)[0]["id"]
        since = len(steps(where)) - 1
        result = call(lodgectl, "snapshot", "goto", name, str(first), "--discard")
        tap.check(result.returncode == 0, f"{name} goes back to where they parted", result)
        tap.check(went_back(where, since), "and goes on from there", where.text[-1500:])


def nothing_is_left(tap, lodgectl, initrd):
    """Of one that is given up, and of one that fails in the middle."""
    machines, before = lodgectl.machines(), ids(lodgectl)
    process = subprocess.Popen([lodgectl.program, "fork", "m", "3"], env=lodgectl.environment,
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    harness.wait_until(lambda: process.poll() is not None or
                       len(lodgectl.machines()) > len(machines), 240)
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=240)[0]
    if process.returncode == 0:  # it was done before
        tap.check(len(lodgectl.machines()) == len(machines) + 3, "it was faster than Ctrl+C")
        for name in (m[:-len(".lodge")] for m in lodgectl.machines() if m not in machines):
            call(lodgectl, "stop", name, "--force")
            call(lodgectl, "delete", name)
        machines, before = lodgectl.machines(), ids(lodgectl)
    else:
        tap.check(lodgectl.machines() == machines and ids(lodgectl) == before,
                  "Ctrl+C leaves nothing behind", (output, lodgectl.machines()))
    os.unlink(initrd)
    result = call(lodgectl, "fork", "m", "2")
    tap.check(result.returncode == 1 and initrd in result.stderr, "it fails where a file is gone",
              result)
    tap.check(lodgectl.machines() == machines and ids(lodgectl) == before,
              "and leaves nothing behind", lodgectl.machines())


def the_machine_is_needed(tap, lodgectl):
    stands_on = str(nodes(lodgectl, "m")[0]["id"])
    result = call(lodgectl, "snapshot", "delete", "m", stands_on)
    tap.check(result.returncode == 1 and "protected" in result.stderr,
              "what they stand on is not deleted", result)
    call(lodgectl, "stop", "m", "--force")
    result = call(lodgectl, "delete", "m")
    tap.check(result.returncode == 1 and "m-1" in result.stderr, "nor is the machine", result)
    result = call(lodgectl, "fork", "m", "2")
    tap.check(result.returncode == 1 and "is off" in result.stderr, "one that is off has none",
              result)


def run(tap, lodgectl):
    demo, engine = os.path.abspath(sys.argv[2]), sys.argv[3]
    initrd = lodgectl.path("initrd")
    shutil.copy(f"{demo}/initrd", initrd)
    result = call(lodgectl, "create", "m", "--memory", "160M", "--engine", engine, "--disk", "8M",
                      "--set", "disk0.interface=virtio",
                      "--set", f"boot.kernel={demo}/vmlinuz", "--set", f"boot.initrd={initrd}",
                      "--set", "boot.append=console=ttyS0,115200 quiet",
                      "--set", "network0.mode=nat", "--set", "network0.model=virtio")
    tap.check(result.returncode == 0, "create", result)
    result = call(lodgectl, "start", "m")
    tap.check(result.returncode == 0, "start", result)
    console = Console(lodgectl)
    tap.check(console.wait("Ready", 240), "the guest is up", console.text)
    tap.check(console.wait(r"\n/ # ", 240), "with a shell", console.text)
    console.type(WORK)
    tap.check(works(console), "it works", console.text[-1500:])
    consoles = branches_go_on(tap, lodgectl, console)
    disks_are_apart(tap, lodgectl, consoles)
    both_can_go_back(tap, lodgectl, console, consoles["m-1"])
    nothing_is_left(tap, lodgectl, initrd)
    the_machine_is_needed(tap, lodgectl)


def run_and_stop(tap, lodgectl):
    try:
        run(tap, lodgectl)
    finally:
        for folder in lodgectl.machines():
            call(lodgectl, "stop", folder[:-len(".lodge")], "--force")


harness.main(run_and_stop)
