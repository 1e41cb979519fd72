#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: each gives status 1, one line on standard error that names what was wrong, and leaves no
half-made machine and no file behind.  bad-input.py LODGECTL"""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

SECTOR = 2048


def make_iso(path, bootable, truncated=False):
    """The smallest ISO 9660 image: descriptors and, if asked, an El Torito record."""
    image = bytearray(24 * SECTOR)
    primary = bytearray(SECTOR)
    primary[0:8] = b"\x01CD001\x01\0"
    primary[80:88] = (24).to_bytes(4, "little") + (24).to_bytes(4, "big")
    primary[120:124] = b"\x01\0\0\x01"
    primary[124:128] = b"\x01\0\0\x01"
    primary[128:132] = b"\0\x08\x08\0"
    image[16 * SECTOR:17 * SECTOR] = primary
    image[17 * SECTOR:17 * SECTOR + 7] = b"\xffCD001\x01"
    with open(path, "wb") as file:
        file.write(image[:18 * SECTOR] if truncated else image)
    return path


def one_line(result, *words):
    lines = result.stderr.splitlines()
    return (result.returncode == 1 and len(lines) == 1 and lines[0].startswith("lodgectl: ") and
            all(word in lines[0] for word in words))


def run(tap, lodgectl):
    missing = lodgectl.path("missing.iso")
    folder = lodgectl.path("folder")
    os.mkdir(folder)
    truncated = make_iso(lodgectl.path("truncated.iso"), False, truncated=True)
    unbootable = make_iso(lodgectl.path("data.iso"), False)
    text = lodgectl.path("text.txt")
    with open(text, "w") as file:
        file.write("not a kernel\n" * 400)
    before = sorted(os.listdir(lodgectl.folder))

    # What the machine is made of: refused alike by create and by run.
    cases = [
        ("a missing ISO", ["--iso", missing], [missing]),
        ("a truncated ISO", ["--iso", truncated], [truncated]),
        ("an ISO that is not bootable", ["--iso", unbootable], [unbootable, "boot"]),
        ("a directory as a disk", ["--disk", folder], [folder, "directory"]),
        ("a directory as an ISO", ["--iso", folder], [folder, "directory"]),
        ("no memory", ["--iso", missing, "--memory", "0"], ["--memory 0", "16M to 512G"]),
        ("10 TiB of memory", ["--iso", missing, "--memory", "10T"], ["--memory 10T", "512G"]),
        ("memory without a unit", ["--iso", missing, "--memory", "512"], ["--memory 512", "unit"]),
        ("1000 CPUs", ["--iso", missing, "--cpus", "1000"], ["--cpus 1000", "1 to 64"]),
        ("no CPUs", ["--iso", missing, "--cpus", "0"], ["--cpus 0", "1 to 64"]),
        ("CPUs in words", ["--iso", missing, "--cpus", "two"], ["--cpus two", "whole number"]),
        ("an unknown engine", ["--iso", missing, "--engine", "warp"], ["--engine warp", "auto"]),
        ("an unknown key", ["--iso", missing, "--set", "cpu.cuont=2"], ["cpu.cuont"]),
        ("a setting that is none", ["--iso", missing, "--set", "cpu"], ["key=value"]),
    ]
    for what, arguments, words in cases:
        result = lodgectl("create", "bad", *arguments)
        tap.check(one_line(result, *words), f"create: {what}", result)
        tap.check(lodgectl.machines() == [], f"create: {what}: nothing is left",
                  lodgectl.machines())
        result = lodgectl("run", "--net", "none", *arguments)
        tap.check(one_line(result, *words), f"run: {what}", result)

    # Only run has these.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    empty = harness.floppy(lodgectl.path("floppy.img"), b"\xf4")
    before += ["floppy.img", "home"]
    cases = [
        ("nothing to boot", [], ["--iso"]),
        ("an unknown option", ["--isso", missing], ["--isso"]),
        ("an option without its value", ["--iso"], ["--iso needs a value"]),
        ("a file that is no kernel", ["--kernel", text], [text, "bzImage"]),
        ("an initrd without a kernel", ["--initrd", text, "--floppy", empty], ["kernel"]),
        ("a floppy of no floppy's size", ["--floppy", text], [text]),
        ("a port already taken", ["--floppy", empty, "--forward", f"{port}:80"], [str(port)]),
        ("a forward that is none", ["--floppy", empty, "--forward", "80"], ["HOST:GUEST"]),
        ("a time that is none", ["--floppy", empty, "--timeout", "soon"], ["--timeout soon"]),
        ("a screenshot without a time", ["--floppy", empty, "--screenshot", "a.png"], ["@SECONDS"]),
        ("a serial file in no folder", ["--floppy", empty, "--serial", missing + "/x"], [missing]),
        ("a picture in no folder", ["--floppy", empty, "--display", missing + "/x.png"], [missing]),
        ("text that no key types", ["--floppy", empty, "--type", "é@1"], ["é", "keyboard"]),
        ("nine disks", ["--disk", empty] * 9, ["--disk"]),
    ]
    for what, arguments, words in cases:
        network = [] if "--forward" in arguments else ["--net", "none"]
        result = lodgectl("run", "--timeout", "20", *network, *arguments)
        tap.check(one_line(result, *words), f"run: {what}", result)
    taken.close()
    tap.check(sorted(os.listdir(lodgectl.folder)) == sorted(before), "run leaves no file behind",
              os.listdir(lodgectl.folder))

    machine_conf(tap, lodgectl)
    names(tap, lodgectl)
    full_disk(tap, lodgectl)


def machine_conf(tap, lodgectl):
    tap.check(lodgectl("create", "good", "--disk", "1M").returncode == 0, "a good machine is made")
    path = os.path.join(lodgectl.home, "good.lodge", "machine.conf")
    with open(path) as file:
        good = file.read()
    cases = [
        ("an unknown key", "[cpu]\ncuont=2\n", ["machine.conf line", "cpu.cuont"]),
        ("a wrong type", "[cpu]\ncount=two\n", ["machine.conf line", "cpu.count = two"]),
        ("an unknown group", "[gpu]\ncount=1\n", ["machine.conf line", "[gpu]"]),
        ("too much memory", "[memory]\nsize=10T\n", ["memory.size = 10T"]),
        ("no syntax", "[cpu\n", ["machine.conf"]),
        ("bytes that are no text", "\udcff\udcfe", ["UTF-8"]),
    ]
    for what, addition, words in cases:
        with open(path, "w", errors="surrogateescape") as file:
            file.write(good + "\n" + addition)
        for command in ["show", "start", "set"]:
            arguments = ["board.rng=true"] if command == "set" else []
            result = lodgectl(command, "good", *arguments)
            tap.check(one_line(result, *words), f"{command}: machine.conf with {what}", result)
        result = lodgectl("list")
        tap.check(result.returncode == 0 and "broken" in result.stdout,
                  f"list: machine.conf with {what}", result)
    with open(path, "w") as file:
        file.write(good)
    result = lodgectl("set", "good", "cpu.count=1000")
    tap.check(one_line(result, "cpu.count = 1000", "1 to 64"), "set: 1000 CPUs", result)
    with open(path) as file:
        tap.check(file.read() == good, "a refused setting leaves machine.conf as it was")
    tap.check(lodgectl("delete", "good").returncode == 0, "the machine is deleted")


def names(tap, lodgectl):
    for name in ["", ".hidden", "a/b", "x" * 65]:
        result = lodgectl("create", "--", name)
        tap.check(one_line(result, "name"), f"create: name {name[:8]!r}", result)
    for command in ["start", "stop", "show", "delete", "pause", "console"]:
        result = lodgectl(command, "nobody")
        tap.check(one_line(result, "there is no machine nobody"), f"{command}: no such machine",
                  result)
    lodgectl("create", "twin")
    result = lodgectl("create", "twin")
    tap.check(one_line(result, "twin already"), "create: a name that is taken", result)
    lodgectl("delete", "twin")
    tap.check(lodgectl.machines() == [], "nothing is left", lodgectl.machines())


def full_disk(tap, lodgectl):
    """A file system of 64 KiB, in a mount namespace of our own."""
    what = "create: no room on disk"
    mount = lodgectl.path("full")
    os.mkdir(mount)
    script = (f"mount -t tmpfs -o size=64k tmpfs {mount} && head -c 60000 /dev/zero >{mount}/fill; "
              f"LODGE_HOME={mount}/home {lodgectl.program} create full --disk 20G; echo status $?; "
              f"ls -A {mount}/home 2>/dev/null | grep -v '^$' && echo left")
    result = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script],
                            env=lodgectl.environment, capture_output=True, text=True)
    if "status" not in result.stdout:
        tap.skip(what, "no mount namespace for this user: " + result.stderr.strip()[:60])
        return
    lines = [line for line in result.stderr.splitlines() if line.startswith("lodgectl")]
    tap.check("status 1" in result.stdout and len(lines) == 1, what, result)
    tap.check("left" not in result.stdout, what + ": nothing is left", result)


harness.main(run)
