#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one flat guest on one engine and prints its checks as TAP.

run-flat.py LODGECTL IMAGE ENGINE [--cpus N] [--skip TEXT]... [--timeout S] [--slow]
--slow: the guest is run even where the engine is emulated in software and slow.
--skip: a check whose line contains TEXT may fail (what the engine cannot do, with the reason)."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

DEBUG_EXIT = "0xf4"
PASSED = 0x10 << 1 | 1
TIMED_OUT = 124
SLOWEST = 20e6  # instructions a second


def why_not(lodgectl, engine, slow):
    """The reason why the engine cannot run on this host, or None."""
    report = subprocess.run([lodgectl, "doctor", "--json"], capture_output=True, text=True)
    try:
        engines = {e["name"]: e for e in json.loads(report.stdout)["engines"]}
    except (ValueError, KeyError) as e:
        sys.exit(f"lodgectl doctor --json gave no list of engines: {e}\n{report.stderr}")
    if engine not in engines:
        sys.exit(f"lodgectl doctor does not know the engine '{engine}'")
    if not engines[engine]["available"]:
        return engines[engine]["reason"]
    speed = engines[engine]["instructions_per_second"]
    if speed < SLOWEST and not slow:
        return (f"runs {speed / 1e6:.1f} million instructions a second here: no VT-x or AMD-V is "
                "behind it, and its emulation gets this part wrong; run it on such a host")
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lodgectl")
    parser.add_argument("image")
    parser.add_argument("engine")
    parser.add_argument("--cpus", default="1")
    parser.add_argument("--skip", action="append", default=[])
    parser.add_argument("--timeout", type=int, default=60)
    parser.add_argument("--slow", action="store_true")
    options = parser.parse_args()
    reason = why_not(options.lodgectl, options.engine, options.slow)
    if reason:
        print(f"1..0 # SKIP {options.engine}: {reason}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        serial = os.path.join(folder, "serial")
        run = subprocess.run(
            [options.lodgectl, "run", "--disk", options.image, "--engine", options.engine,
             "--memory", "64M", "--cpus", options.cpus, "--net", "none", "--display", "none",
             "--serial", serial, "--debug-exit", DEBUG_EXIT, "--timeout", str(options.timeout)],
            capture_output=True, text=True)
        lines = open(serial, errors="replace").read().splitlines() if os.path.exists(serial) else []
    count = failed = 0
    for line in lines:
        if line.startswith(("ok - ", "not ok - ")):
            count += 1
            ok, _, text = line.partition(" - ")
            skip = next((s for s in options.skip if s in text), None)
            if ok != "ok" and skip:
                print(f"ok {count} - {text} # SKIP {options.engine} does not do this")
                continue
            failed += ok != "ok"
            print(f"{ok} {count} - {text}")
        elif line.startswith("#"):
            print(line)
    count += 1
    if run.returncode == TIMED_OUT and not failed and options.slow:
        print(f"ok {count} - the guest ended by itself # SKIP {options.engine} is too slow here")
        print(f"1..{count}")
        return 0
    ended = run.returncode == PASSED or (run.returncode == PASSED + 2 and not failed)
    print(f"{'ok' if ended and count > 1 else 'not ok'} {count} - the guest ended by itself "
          f"(exit status {run.returncode})")
    if not ended:
        for line in (run.stderr.splitlines() + lines[-5:]):
            print(f"# {line}")
    print(f"1..{count}")
    return 0


sys.exit(main())
