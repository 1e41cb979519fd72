#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lodgectl trace finds the loop that a guest is in.  trace.py LODGECTL"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

# From real to protected mode, then round and round in two functions at 7c40h and 7c80h:
#   cli; lgdt [7ca0h]; mov eax, cr0; or al, 1; mov cr0, eax; jmp 8:7c40h
#   7c40h: inc eax; jmp 7c80h
#   7c80h: inc edx; jmp 7c40h
#   7ca0h: limit 15, base 7ca8h; 7ca8h: a null descriptor, flat code
SPINNING_GUEST = (bytes.fromhex("fa 0f0116a07c 0f20c0 0c01 0f22c0 ea407c0800".replace(" ", "")).ljust(0x40, b"\x90") +
                  bytes.fromhex("40 e93a000000".replace(" ", "")).ljust(0x40, b"\x90") +
                  bytes.fromhex("42 e9baffffff".replace(" ", "")).ljust(0x20, b"\x90") +
                  bytes.fromhex("0f00a87c00000000 0000000000000000 ffff0000009bcf00".replace(" ", "")))
SYMBOLS = "00007c00 T boot\n00007c40 t here\n00007c80 t there\n00007ca0 D table\n00007cb0 T firmware\n"


def run(tap, lodgectl):
    guest = harness.floppy(lodgectl.path("guest.img"), SPINNING_GUEST)
    symbols = lodgectl.path("System.map")
    with open(symbols, "w") as file:
        file.write(SYMBOLS)
    lodgectl("create", "m", "--memory", "32M", "--engine", "translator", "--set", f"floppy0.path={guest}",
             "--set", "boot.order=floppy", "--set", "network0.mode=none")
    result = lodgectl("trace", "m")
    tap.check(result.returncode == 1 and "is off" in result.stderr, "trace of what is off", result)
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start", result)

    found = {}

    def spins():
        traced = lodgectl("trace", "m", "--seconds", "1", "--symbols", symbols, "--json")
        found.update(json.loads(traced.stdout))
        names = {place.get("function") for place in found["places"]}
        return names & {"here", "there"}

    tap.check(harness.wait_until(spins, 60), "the loop is found by name", found)
    places = [place for place in found["places"] if place.get("function") in ("here", "there")]
    tap.check(all(place["ring"] == 0 and place["bits"] == 32 and place["count"] > 0 for place in places),
              "with ring and width", found)
    tap.check(found["looks"] >= found["waits"] + sum(place["count"] for place in places),
              "the looks add up", found)
    result = lodgectl("trace", "m", "--seconds", "1")
    tap.check(result.returncode == 0 and "0x7c" in result.stdout, "and by address", result)

    for arguments, status, text in ((["--seconds", "0"], 2, "from 1 to 60"),
                                    (["--symbols", guest], 1, "gives no symbols"),
                                    (["--symbols", lodgectl.path("none")], 1, "gives no symbols")):
        result = lodgectl("trace", "m", *arguments)
        tap.check(result.returncode == status and text in result.stderr and
                  len(result.stderr.splitlines()) == 1, f"trace {arguments[0]} with a bad value", result)
    result = lodgectl("stop", "m", "--force")
    tap.check(result.returncode == 0, "the spinning guest is stopped", result)


harness.main(run)
