#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A whole Linux boot of the demo guest on one engine with the interpreter behind it, instruction for
instruction with the same inputs (LODGE_LOCKSTEP in engine/vcpu/vcpu-backend.h).

lockstep.py LODGECTL DEMO-FOLDER ENGINE [WORDS]
WORDS: for LODGE_LOCKSTEP; a first difference is printed with both states and the code."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import Tap  # noqa: E402

SECONDS = 900
LEAST_COMPARISONS = 1000


def main():
    lodgectl, demo, engine = sys.argv[1:4]
    words = sys.argv[4] if len(sys.argv) > 4 else "memory=20"
    tap = Tap()
    run = subprocess.run(
        [os.path.abspath(lodgectl), "run", "--kernel", f"{demo}/vmlinuz", "--initrd",
         f"{demo}/initrd", "--append", "console=ttyS0,115200 quiet poweroff", "--memory", "128M",
         "--engine", engine, "--net", "none", "--display", "none", "--serial", "stdio",
         "--timeout", str(SECONDS)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
        env={**os.environ, "LODGE_LOCKSTEP": words})
    detail = run.stdout[-2000:] + run.stderr[-12000:]
    tap.check(run.returncode == 0 and "POWEROFF" in run.stdout,
              f"Linux boots and powers off ({run.returncode})", detail)
    found = re.search(r"lockstep: (\d+) comparisons, no difference", run.stderr)
    tap.check(found and int(found.group(1)) >= LEAST_COMPARISONS,
              f"the interpreter agrees at every stop ({found.group(1) if found else 'none'})",
              detail)
    return tap.end()


sys.exit(main())
