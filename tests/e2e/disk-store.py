#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lodgectl disk import and export: images become disks of a machine's snapshot store, and come out of
it again as they were in any snapshot; Ctrl+C and kill -9 leave nothing.  disk-store.py LODGECTL"""
import fcntl
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

SIZE = 24 << 20
JUDGES = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "raw": "raw"}


def make_disk(path, seed):
    random.seed(seed)
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for place in [0, SIZE - 512] + [random.randrange(SIZE >> 9) << 9 for _ in range(40)]:
            file.seek(place)
            file.write(random.randbytes(min(9728, SIZE - place)))
    return path


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def one_line(result, *words):
    lines = result.stderr.splitlines()
    return (result.returncode == 1 and len(lines) == 1 and lines[0].startswith("lodgectl: ") and
            all(word in lines[0] for word in words))


def nodes(lodgectl):
    return json.loads(lodgectl("snapshot", "list", "m", "--json").stdout)


def importing(tap, lodgectl, source):
    image = lodgectl.path("source.qcow2")
    lodgectl("disk", "convert", source, image, "--compress", "zlib")
    result = lodgectl("disk", "import", "m", image, "--json")
    made = json.loads(result.stdout) if result.returncode == 0 else {}
    tap.check(made.get("disk") == "disk0" and made.get("format") == "qcow2" and
              made.get("size") == SIZE, "import", result)
    shown = json.loads(lodgectl("show", "m", "--json").stdout)
    tap.check(shown.get("disk0.path") == "snapshots.store", "the machine has the disk", shown)
    result = lodgectl("disk", "import", "m", image, "--disk", "disk0")
    tap.check(one_line(result, "has disk0 already"), "not over another", result)
    result = lodgectl("disk", "import", "m", image + "x")
    tap.check(one_line(result, "does not exist"), "an image that is not there", result)
    result = lodgectl("disk", "import", "m", image, "--disk", "sda")
    tap.check(one_line(result, "disk0 to disk7"), "a disk that is none", result)


def exporting(tap, lodgectl, source):
    for ending, judge in JUDGES.items():
        made = lodgectl.path("out." + ending)
        result = lodgectl("disk", "export", "m", made, "--json")
        report = json.loads(result.stdout) if result.returncode == 0 else {}
        tap.check(report.get("format") == ending and report.get("size") == SIZE,
                  f"export to {ending}", result)
        if shutil.which("qemu-img"):
            result = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", judge, source, made],
                                    capture_output=True, text=True)
            tap.check(result.returncode == 0, f"{ending}: qemu-img agrees", result)
    tap.check(digest(lodgectl.path("out.raw")) == digest(source), "raw: the same bytes")
    tap.check(nodes(lodgectl) == [], "no snapshot is left of it", nodes(lodgectl))
    result = lodgectl("disk", "export", "m", lodgectl.path("out.raw"))
    tap.check(one_line(result, "exists already"), "an existing file is not written over", result)
    result = lodgectl("disk", "export", "m", lodgectl.path("no.raw"), "--disk", "disk5")
    tap.check(one_line(result, "no disk5"), "a disk that there is not", result)
    result = lodgectl("disk", "export", "m", lodgectl.path("no.raw"), "--node", "none")
    tap.check(one_line(result, "none"), "a snapshot that there is not", result)


def at_a_node(tap, lodgectl, source):
    """A second disk comes after the snapshot; the first is exported as it was, from a linked clone
    too."""
    lodgectl("snapshot", "take", "m", "One")
    lodgectl("clone", "m", "linked", "--linked", "--node", "One")
    made = lodgectl.path("linked.raw")
    result = lodgectl("disk", "export", "linked", made)
    tap.check(result.returncode == 0 and digest(made) == digest(source), "export of a linked clone",
              result)
    other = make_disk(lodgectl.path("other.raw"), 8)
    result = lodgectl("disk", "import", "m", other)
    tap.check(result.returncode == 0, "import of a second disk", result)
    made = lodgectl.path("node.raw")
    result = lodgectl("disk", "export", "m", made, "--node", "One")
    tap.check(result.returncode == 0 and digest(made) == digest(source), "export of a node", result)
    tap.check([n["protected"] for n in nodes(lodgectl)] == [True],
              "it stays protected for its clone", nodes(lodgectl))
    lodgectl("delete", "linked")
    result = lodgectl("snapshot", "protect", "m", "One", "--off")
    tap.check(result.returncode == 0, "without it it does not have to", result)
    lodgectl("disk", "export", "m", lodgectl.path("free.raw"), "--node", "One")
    tap.check([n["protected"] for n in nodes(lodgectl)] == [False],
              "a snapshot that was not protected is not so afterwards", nodes(lodgectl))
    made = lodgectl.path("second.raw")
    result = lodgectl("disk", "export", "m", made, "--disk", "disk1")
    tap.check(result.returncode == 0 and digest(made) == digest(other), "export of disk1", result)
    result = lodgectl("disk", "export", "m", lodgectl.path("no.raw"), "--node", "One", "--disk",
                      "disk1")
    tap.check(one_line(result, "disk1"), "disk1 was not there then", result)


def while_it_runs(tap, lodgectl, source):
    guest = harness.floppy(lodgectl.path("guest.img"), harness.KEY_GUEST)
    lodgectl("create", "on", "--memory", "32M", "--engine", "interpreter", "--set",
             f"floppy0.path={guest}", "--set", "boot.order=floppy", "--set", "network0.mode=none")
    lodgectl("disk", "import", "on", source)
    result = lodgectl("start", "on")
    tap.check(result.returncode == 0, "start", result)
    result = lodgectl("disk", "import", "on", source)
    tap.check(one_line(result, "is running"), "no import into a machine that runs", result)
    made = lodgectl.path("on.raw")
    result = lodgectl("disk", "export", "on", made)
    tap.check(result.returncode == 0 and digest(made) == digest(source), "export while it runs",
              result)
    result = lodgectl("snapshot", "list", "on", "--json")
    tap.check(json.loads(result.stdout) == [], "no snapshot is left of that", result)
    lodgectl("stop", "on", "--force")


def halfway(lodgectl, arguments):
    """Started, and at its second word of progress, for which there is no room until somebody reads.
    The process and the descriptor."""
    reader, writer = os.pipe()
    room = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    first = len("0 %\n")
    os.write(writer, b"x" * (room - first))
    process = subprocess.Popen([lodgectl.program, "disk", *arguments], stderr=writer,
                               env=lodgectl.environment, start_new_session=True)
    os.close(writer)

    def is_full():
        held = bytearray(4)
        fcntl.ioctl(reader, termios.FIONREAD, held)
        return int.from_bytes(held, sys.byteorder) == room
    return process, reader, harness.wait_until(is_full)


def end(process, reader, number):
    os.killpg(process.pid, number)
    with open(reader, "rb") as file:
        said = file.read().decode().lstrip("x")
    return process.wait(60), said


def cancelling(tap, lodgectl):
    big = lodgectl.path("big.raw")
    with open(big, "wb") as file:
        block = random.randbytes(1 << 20)
        for _ in range(192):
            file.write(block)
    result = lodgectl("create", "big")
    store = os.path.join(result.stdout.strip(), "snapshots.store")
    result = lodgectl("disk", "import", "big", big)
    tap.check(result.returncode == 0, "import of a big disk", result)
    before = set(os.listdir(lodgectl.folder))
    cases = [("export", ["export", "big", lodgectl.path("cut.qcow2"), "--compress", "zlib"]),
             ("import", ["import", "big", big])]
    for what, arguments in cases:
        process, reader, ready = halfway(lodgectl, arguments)
        status, said = end(process, reader, signal.SIGINT)
        tap.check(ready and status == 1 and "cancelled" in said, f"{what}: Ctrl+C", said)
        tap.check(set(os.listdir(lodgectl.folder)) == before, f"{what}: no file is left",
                  os.listdir(lodgectl.folder))
    shown = json.loads(lodgectl("show", "big", "--json").stdout)
    tap.check("disk1.path" not in shown or not shown["disk1.path"], "no disk is left", shown)
    result = lodgectl("snapshot", "list", "big", "--json")
    tap.check(json.loads(result.stdout) == [], "no snapshot is left", result)
    room = os.stat(store).st_blocks * 512
    tap.check(room < 256 << 20, f"its room is given back: {room >> 20} MiB", room)
    process, reader, ready = halfway(lodgectl, ["import", "big", big])
    status, said = end(process, reader, signal.SIGKILL)
    tap.check(ready and status == -9, "kill -9", said)
    result = lodgectl("disk", "import", "big", big)
    tap.check(result.returncode == 0, "an import after kill -9", result)


def comparing(tap, lodgectl):
    """Ctrl+C, whenever it comes: what was protected for a comparison is not any more."""
    folder = os.path.join(lodgectl.home, "big.lodge")

    def nodes():
        found = json.loads(lodgectl("snapshot", "list", "big", "--json").stdout)
        return [(node["id"], node["in-bin"], node["protected"]) for node in found]

    def notes():
        return [name for name in os.listdir(folder) if name.startswith("hold.")]
    lodgectl("snapshot", "take", "big", "one")
    before = nodes()
    for count in (1, 2):  # notes: one for each snapshot
        process = subprocess.Popen([lodgectl.program, "snapshot", "diff", "big", "one", "--files"],
                                   env=lodgectl.environment, start_new_session=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        end = time.monotonic() + 60
        while process.poll() is None and len(notes()) < count and time.monotonic() < end:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[0]
        tap.check(process.returncode in (0, 1), f"a comparison, Ctrl+C: {process.returncode}", said)
        tap.check(nodes() == before, "leaves the snapshots as they were", (before, nodes()))
        tap.check(not notes(), "and no note", notes())


def deleting(tap, lodgectl):
    """Several at once: all of them, or none."""
    def state():
        found = json.loads(lodgectl("snapshot", "list", "big", "--json").stdout)
        return {node["name"]: (node["in-bin"], node["protected"]) for node in found}
    lodgectl("snapshot", "take", "big", "two")
    lodgectl("snapshot", "take", "big", "three")
    lodgectl("snapshot", "protect", "big", "two")
    before = state()
    result = lodgectl("snapshot", "delete", "big", "one", "two", "three")
    tap.check(result.returncode == 1 and "protected" in result.stderr and state() == before,
              "one that is protected: none is deleted", (result, state()))
    lodgectl("snapshot", "protect", "big", "two", "--off")
    result = lodgectl("snapshot", "delete", "big", "one", "two", "three", "one")
    tap.check(result.returncode == 0 and all(in_bin for in_bin, _ in state().values()),
              "all are deleted", (result, state()))


def run(tap, lodgectl):
    lodgectl("create", "m")
    source = make_disk(lodgectl.path("source.raw"), 7)
    importing(tap, lodgectl, source)
    exporting(tap, lodgectl, source)
    at_a_node(tap, lodgectl, source)
    while_it_runs(tap, lodgectl, source)
    cancelling(tap, lodgectl)
    comparing(tap, lodgectl)
    deleting(tap, lodgectl)


harness.main(run)
