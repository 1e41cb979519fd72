#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""failures.py TESTLOG.json: each test of meson's log that failed, with the end of what it said.

A run of the suite prints thousands of lines, and whoever reads a record of it may see just the
last of them: what failed is said there again, checks that failed first."""

import json
import sys

LINES = 40  # of what a failed test said, its last


def tell(test):
    print(f"FAILED {test['name']}: {test['result'].lower()}, {test['duration']:.0f} s")
    said = (test.get("stdout") or "").splitlines()
    complaints = [line for line in said if line.startswith(("not ok", "Bail out"))]
    rest = said + (test.get("stderr") or "").splitlines()
    for line in complaints[:LINES] + ["its last lines:"] + rest[-LINES:]:
        print("  " + line[:200])


def main():
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            if test["result"] in ("FAIL", "TIMEOUT", "ERROR", "UNEXPECTEDPASS", "INTERRUPT"):
                tell(test)


main()
