#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What every file and folder must have: SPDX line, README of 10 to 30 lines beside code, at most
1,200 lines (tables exempt), 100 columns, no tab in C, no mutable file statics in devices."""
import os
import re
import subprocess
import sys

MAX_LINES = 1200
MAX_COLUMNS = 100
TABLES = ("-table.c", "-keys.c")
STATIC = re.compile(r"^static (?!const\b|inline\b|_Noreturn\b|void\b[^=;]*\(|[^=;]*\bconst\b)[^()]*[;=]")


def main():
    files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"],
                                    text=True).split("\n")
    files = [f for f in files if f and os.path.isfile(f)]
    problems = []
    folders = set()
    for path in files:
        source = path.endswith((".c", ".h", ".S", ".asl"))
        if not source and not path.endswith((".py", ".sh", "meson.build")):
            continue
        text = open(path, encoding="utf-8").read()
        lines = text.split("\n")
        if "SPDX-License-Identifier: GPL-2.0-or-later" not in "\n".join(lines[:3]):
            problems.append(f"{path}: no SPDX line")
        if path.endswith((".c", ".h", ".S", ".py", ".sh", ".asl")):
            folders.add(os.path.dirname(path))
        if not source:
            continue
        if len(lines) > MAX_LINES and not path.endswith(TABLES):
            problems.append(f"{path}: {len(lines)} lines, at most {MAX_LINES}")
        kernel = path.startswith("monitor-kmod/")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS:
                problems.append(f"{path}:{number}: {len(line)} columns")
            if "\t" in line and not kernel and not path.endswith(".S"):
                problems.append(f"{path}:{number}: tab")
            if path.startswith(("engine/devices/", "usb/")) and STATIC.match(line):
                problems.append(f"{path}:{number}: mutable file static")
    for folder in sorted(folders):
        if folder.startswith("tests/unit/"):
            continue # mirrors the tree; tests/unit/README.md speaks for all
        readme = os.path.join(folder, "README.md")
        if not os.path.exists(readme):
            problems.append(f"{folder}: no README.md")
            continue
        count = len(open(readme, encoding="utf-8").read().rstrip("\n").split("\n"))
        if folder and not 10 <= count <= 30:
            problems.append(f"{readme}: {count} lines, 10 to 30 wanted")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} problems")
    return 1 if problems else 0


sys.exit(main())
