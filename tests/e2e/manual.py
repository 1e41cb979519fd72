#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command has --help, and every option of every command is in its manual page.
manual.py LODGECTL MANUAL-FOLDER"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness


def run(tap, lodgectl):
    with open(os.path.join(sys.argv[2], "lodgectl.1")) as file:
        manual = file.read().replace("\\-", "-")
    usage = lodgectl("--help")
    commands = re.findall(r"^  ([a-z]+) ", usage.stdout, re.M)
    tap.check(usage.returncode == 0 and len(commands) >= 16, "lodgectl --help", usage)
    for command in commands:
        result = lodgectl(command, "--help")
        tap.check(result.returncode == 0 and result.stdout.startswith("Usage: lodgectl " + command),
                  f"{command} --help", result)
        tap.check(re.search(rf"^\.BR? {command}|, \" {command} |\" {command} \"", manual, re.M),
                  f"{command} is in the manual")
        for option in sorted(set(re.findall(r"--[a-z-]+", result.stdout)) - {"--help"}):
            tap.check(option in manual, f"{command} {option} is in the manual")
        for line in result.stdout.splitlines():
            if len(line) > 100:
                tap.check(False, f"{command} --help fits into 100 columns", line)
    result = lodgectl("nonsense")
    tap.check(result.returncode == 2 and "nonsense" in result.stderr, "an unknown command", result)
    result = lodgectl("--version")
    tap.check(result.returncode == 0 and re.match(r"lodgectl \d", result.stdout), "--version", result)


harness.main(run)
