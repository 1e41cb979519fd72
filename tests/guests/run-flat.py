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

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import tap  # noqa: E402

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
        return tap.skip_all(f"{options.engine}: {reason}")
    with tempfile.TemporaryDirectory() as folder:
        serial = os.path.join(folder, "serial")
        run = subprocess.run(
            [options.lodgectl, "run", "--disk", options.image, "--engine", options.engine,
             "--memory", "64M", "--cpus", options.cpus, "--net", "none", "--display", "none",
             "--serial", serial, "--debug-exit", DEBUG_EXIT, "--timeout", str(options.timeout)],
            capture_output=True, text=True)
        lines = open(serial, errors="replace").read().splitlines() if os.path.exists(serial) else []
    checks = tap.Tap()
    for line in lines:
        if line.startswith(("ok - ", "not ok - ")):
            ok, _, text = line.partition(" - ")
            if ok != "ok" and any(s in text for s in options.skip):
                checks.skip(text, f"{options.engine} does not do this")
            else:
                checks.check(ok == "ok", text)
        elif line.startswith("#"):
            print(line)
    what = "the guest ended by itself"
    if run.returncode == TIMED_OUT and not checks.failed and options.slow:
        checks.skip(what, f"{options.engine} is too slow here")
    else:
        ended = run.returncode == PASSED or (run.returncode == PASSED + 2 and not checks.failed)
        checks.check(ended and checks.number > 0, f"{what} (exit status {run.returncode})",
                     run.stderr + "\n".join(lines[-5:]))
    return checks.end()


sys.exit(main())
