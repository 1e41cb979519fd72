#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lodgectl disk: information, check, conversion between all formats, resizing, Ctrl+C.
disk-images.py LODGECTL"""
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

SIZE = 40 << 20
JUDGES = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "raw": "raw"}


def make_disk(path):
    """Islands of data, the first and the last sector among them."""
    random.seed(7)
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for place in [0, SIZE - 512] + [random.randrange(SIZE >> 9) << 9 for _ in range(40)]:
            file.seek(place)
            file.write(random.randbytes(min(9728, SIZE - place)))


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(
            hashlib, "file_digest") else hashlib.sha256(file.read()).hexdigest()


def one_line(result, *words):
    lines = result.stderr.splitlines()
    return (result.returncode == 1 and len(lines) == 1 and lines[0].startswith("lodgectl: ") and
            all(word in lines[0] for word in words))


def conversions(tap, lodgectl, source):
    """From raw through every format and back."""
    wanted, before = digest(source), source
    for ending, judge in JUDGES.items():
        made = lodgectl.path("made." + ending)
        result = lodgectl("disk", "convert", before, made)
        tap.check(result.returncode == 0 and result.stdout == "", f"convert to {ending}", result)
        result = lodgectl("disk", "info", made, "--json")
        info = json.loads(result.stdout) if result.returncode == 0 else {}
        tap.check(info.get("format") == ending and info.get("size") == SIZE, f"{ending}: info",
                  result)
        result = lodgectl("disk", "check", made, "--json")
        report = json.loads(result.stdout) if result.stdout else {}
        tap.check(result.returncode == 0 and report.get("errors") == 0, f"{ending}: check", result)
        if shutil.which("qemu-img"):
            result = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", judge, source, made],
                                    capture_output=True, text=True)
            tap.check(result.returncode == 0, f"{ending}: qemu-img agrees", result)
        before = made
    tap.check(digest(before) == wanted, "back to raw: the same bytes")
    for method in ["zlib", "zstd"]:
        made = lodgectl.path(method + ".img")
        result = lodgectl("disk", "convert", source, made, "--format", "qcow2", "--compress", method,
                          "--json")
        said = json.loads(result.stdout) if result.returncode == 0 else {}
        tap.check(said == {"disk": None, "file": made, "format": "qcow2", "size": SIZE},
                  f"convert to qcow2 with {method}", result)
        result = lodgectl("disk", "info", made)
        tap.check("qcow2" in result.stdout, f"{method}: info looks where the name says nothing",
                  result)


def resizing(tap, lodgectl):
    for ending in ["qcow2", "vdi", "raw"]:
        made = lodgectl.path("made." + ending)
        result = lodgectl("disk", "resize", made, "+24M", "--json")
        info = json.loads(lodgectl("disk", "info", made, "--json").stdout)
        said = json.loads(result.stdout) if result.returncode == 0 else {}
        tap.check(info["size"] == 64 << 20 and said.get("size") == 64 << 20 and
                  said.get("format") == ending, f"{ending}: resize", result)
        result = lodgectl("disk", "resize", made, "32M")
        tap.check(one_line(result, "smaller"), f"{ending}: not smaller", result)
    result = lodgectl("disk", "resize", lodgectl.path("zlib.img"), "+1G")
    tap.check(one_line(result, "--format qcow2"), "resize does not guess", result)


def refusals(tap, lodgectl, source):
    made = lodgectl.path("made.qcow2")
    cases = [
        ("an image that is not there", ["info", lodgectl.path("none.qcow2")], ["does not exist"]),
        ("a new image that is there", ["convert", source, made], ["exists already"]),
        ("a format that is not written", ["convert", source, lodgectl.path("x.vhdx")], ["use qcow2"]),
        ("a format that is none", ["info", source, "--format", "img"], ["img is no format"]),
        ("a size without a unit", ["resize", made, "100"], ["unit"]),
        ("the wrong format", ["info", made, "--format", "vdi"], ["not a VDI image"]),
        ("a folder that is not there", ["convert", source, lodgectl.path("no/x.qcow2")], ["folder"]),
    ]
    for what, arguments, words in cases:
        result = lodgectl("disk", *arguments)
        tap.check(one_line(result, *words), f"refused: {what}", result)
    for arguments in [[], ["paint"], ["info"], ["info", "a", "b", "c"], ["info", "--frob", "a"]]:
        result = lodgectl("disk", *arguments)
        tap.check(result.returncode == 2 and "--help" in result.stderr,
                  f"wrong usage: disk {' '.join(arguments)}", result)


def cancelling(tap, lodgectl):
    """Ctrl+C and kill -9 in the middle: no new file, the source as it was."""
    big = lodgectl.path("big.raw")
    with open(big, "wb") as file:
        block = random.randbytes(1 << 20)
        for _ in range(192):
            file.write(block)
    before = set(os.listdir(lodgectl.folder))
    for number, name in [(signal.SIGINT, "Ctrl+C"), (signal.SIGKILL, "kill -9")]:
        process = subprocess.Popen([lodgectl.program, "disk", "convert", big,
                                    lodgectl.path("cut.qcow2"), "--compress", "zlib"],
                                   env=lodgectl.environment, stderr=subprocess.PIPE, text=True)
        process.stderr.readline()  # the first percent
        process.send_signal(number)
        process.stderr.read()
        status = process.wait(60)
        wanted = 1 if number == signal.SIGINT else -9
        tap.check(status == wanted, f"{name}: status", status)
        tap.check(set(os.listdir(lodgectl.folder)) == before, f"{name}: nothing is left",
                  os.listdir(lodgectl.folder))


def run(tap, lodgectl):
    source = lodgectl.path("source.raw")
    make_disk(source)
    conversions(tap, lodgectl, source)
    resizing(tap, lodgectl)
    refusals(tap, lodgectl, source)
    cancelling(tap, lodgectl)


harness.main(run)
