#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that writes garbage to every port and register leaves the engine alive, free of sanitizer
reports, and within its bounds of memory and log.

garbage.py LODGECTL IMAGE SECONDS [SEED]

SECONDS are shared by three machines: a plain one, one with every kind of disk and network card,
and one with two CPUs. The last one runs on the translator, the others on the interpreter. The seed
is printed; the same one makes the same accesses, though not at the same times."""
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

SEED_OFFSET = 506
MOST_MEMORY = 700 << 20  # of the host, for a guest of 64M
MOST_LOG = 18 << 20  # the engine stops at 16 MiB
LEAST_ACCESSES = 20000  # fewer, and the guest sat still
REPORT = re.compile(r"Sanitizer|runtime error:|assertion|Assertion|GLib|CRITICAL|\*\*")


def make_image(source, path, seed):
    shutil.copyfile(source, path)
    with open(path, "r+b") as image:
        image.seek(SEED_OFFSET)
        image.write(seed.to_bytes(4, "little"))
    return path


def everything(lodgectl):
    """Options for every kind of device, each with a medium."""
    options = []
    for name, size in (("ide.img", 4), ("virtio.img", 4)):
        with open(lodgectl.path(name), "wb") as disk:
            disk.truncate(size << 20)
    iso = lodgectl.path("disc.iso")
    with open(iso, "wb") as disc:
        disc.write(bytes(16 * 2048) + b"\x01CD001\x01" + bytes(2041) + b"\xffCD001\x01")
        disc.truncate(1 << 20)
    for assignment in (f"disk0.path={lodgectl.path('ide.img')}",
                       f"disk1.path={lodgectl.path('virtio.img')}", "disk1.interface=virtio",
                       f"cdrom0.path={iso}", "network0.mode=nat", "network0.model=virtio",
                       "network1.mode=nat", "network1.model=e1000", "board.virtio-console=true",
                       "serial1.mode=file", f"serial1.path={lodgectl.path('serial1')}"):
        options += ["--set", assignment]
    return options


def peak_memory(process, peak):
    """Keeps the largest VmHWM of a process and its children (the engine may be one) in peak[0]."""
    while process.poll() is None:
        for pid in [process.pid, *children(process.pid)]:
            try:
                with open(f"/proc/{pid}/status") as status:
                    found = re.search(r"VmHWM:\s*(\d+) kB", status.read())
            except OSError:
                continue
            if found:
                peak[0] = max(peak[0], int(found.group(1)) << 10)
        time.sleep(0.25)


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as listed:
            return [int(child) for child in listed.read().split()]
    except OSError:
        return []


def one_run(lodgectl, engine, seed, seconds, options):
    """One machine until its time is over or the garbage switches it off."""
    image = make_image(sys.argv[2], lodgectl.path("garbage.img"), seed)
    paths = {name: lodgectl.path(name) for name in ("log", "stats", "serial", "errors")}
    for path in paths.values():
        if os.path.exists(path):
            os.unlink(path)
    command = [lodgectl.program, "run", "--floppy", image, "--memory", "64M", "--engine",
               engine, "--serial", paths["serial"], "--display", "none",
               "--set", "boot.order=floppy", "--set", "floppy0.read-only=true",
               "--timeout", str(seconds), "--log", paths["log"], "--stats", paths["stats"],
               *options]
    peak = [0]
    # Leaks are the unit tests' affair: the engine's sandbox lets nobody attach to it, and that is
    # how LeakSanitizer works.
    environment = dict(lodgectl.environment, ASAN_OPTIONS="detect_leaks=0",
                       UBSAN_OPTIONS="print_stacktrace=1")
    result = {"late": False}
    with open(paths["errors"], "wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=output, stderr=output)
        watcher = threading.Thread(target=peak_memory, args=(process, peak))
        watcher.start()
        try:
            process.wait(seconds + 60)
        except subprocess.TimeoutExpired:
            result["late"] = True
            process.kill()
        watcher.join()
    text = {}
    for name, path in paths.items():
        text[name] = open(path, errors="replace").read() if os.path.exists(path) else ""
    exits = json.loads(text["stats"])["exits"] if text["stats"] else {}
    result.update(status=process.returncode, errors=text["errors"], memory=peak[0],
                  starts=text["serial"].count("GARBAGE"), messages=len(text["log"]),
                  accesses=sum(exits.get(kind, 0) for kind in ("port I/O", "memory-mapped I/O")))
    return result


def machine(tap, lodgectl, what, engine, seed, seconds, options):
    end = time.monotonic() + seconds
    runs = []
    while not runs or (runs[-1]["status"] == 0 and time.monotonic() < end - 2):
        left = max(round(end - time.monotonic(), 1), 1)
        runs.append(one_run(lodgectl, engine, seed + 500 * len(runs), left, options))
    last = runs[-1]
    what = f"{what}, seed {seed:#x}, {len(runs)} runs"
    tap.check(not last["late"] and last["status"] in (0, 124), f"{what}: the engine answers", last)
    reports = "".join(run["errors"] for run in runs if REPORT.search(run["errors"]))
    tap.check(not reports, f"{what}: no report on standard error", reports)
    accesses, starts = (sum(run[key] for run in runs) for key in ("accesses", "starts"))
    tap.check(accesses > LEAST_ACCESSES and starts > 0,
              f"{what}: {accesses} accesses, {starts} starts seen", last)
    memory = max(run["memory"] for run in runs)
    tap.check(0 < memory < MOST_MEMORY, f"{what}: {memory >> 20} MiB of memory at most")
    messages = max(run["messages"] + len(run["errors"]) for run in runs)
    tap.check(messages < MOST_LOG, f"{what}: {messages} bytes of messages")


def run(tap, lodgectl):
    seconds = max(int(sys.argv[3]) // 3, 1)
    seed = int(sys.argv[4], 0) if len(sys.argv) > 4 else int(time.time()) & 0xfffffff
    machine(tap, lodgectl, "plain", "interpreter", seed, seconds, ["--net", "none"])
    machine(tap, lodgectl, "every device", "interpreter", seed + 10000, seconds, everything(lodgectl))
    machine(tap, lodgectl, "two CPUs", "translator", seed + 20000, seconds, ["--cpus", "2"])


harness.main(run)
