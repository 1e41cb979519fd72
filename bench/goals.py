#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured beside what is aimed at, as one table: goals.py RESULTS-FOLDER ENGINE...

A figure of a class is the geometric mean over its workloads of the VMM's CPU seconds over native CPU
seconds, medians over rounds. Boots are CPU seconds, and in brackets their part of QEMU's TCG's.
Memory is what was resident at the end of the largest run, without the guest's RAM. The first engine
is the one that is held against the goals."""
import json
import math
import os
import statistics
import sys

CLASSES = {"int_": 1.6, "x32_": 1.6, "fp_": 1.4, "cry_": 1.5, "mem_": 1.6, "sys_": 2.5, "sh_": 3,
           "jit_": 5, "app_": 1.8}
BOOTS = {("iso", "init"): ("power-on to /init, small ISO, CPU s", 0.45),
         ("debian", "login"): ("systemd Debian to login prompt, CPU s", 0.40)}
RESIDENT_MIB = 192
PEERS = ["qemu", "bochs"]  # their guests' memory is not shared memory: it cannot be told apart
SLOWER_ALLOWED = {"int_atomic"}  # TCG drops LOCK on one CPU


def load(folder, name):
    path = os.path.join(folder, name)
    return [json.loads(line) for line in open(path)] if os.path.exists(path) else []


def medians(rows):
    """{tag: {workload: median CPU seconds}}"""
    seconds = {}
    for row in rows:
        if "name" in row and "cpu" in row and not row.get("rc"):
            seconds.setdefault(row["tag"], {}).setdefault(row["name"], []).append(row["cpu"])
    return {tag: {name: statistics.median(values) for name, values in names.items()}
            for tag, names in seconds.items()}


def geomean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def ratios(measured, tag, prefix):
    native = measured.get("native", {})
    return [seconds / native[name] for name, seconds in measured.get(tag, {}).items()
            if name.startswith(prefix) and native.get(name) and seconds]


def judge(figure, goal):
    if figure is None:
        return "not measured"
    if not goal:
        return f"no, {figure}" if figure else "yes"
    return "yes" if figure <= goal else f"no, {figure / goal:.1f} times the goal"


def row(name, goal, cells, figure, limit):
    print(f"| {name} | {goal} | {' | '.join(cells)} | {judge(figure, limit)} |")


def class_rows(measured, columns):
    for prefix, goal in CLASSES.items():
        values = [ratios(measured, column, prefix) for column in columns]
        figures = [geomean(v) if v else None for v in values]
        row(f"`{prefix}` ({len(values[0])})", goal,
            ["-" if f is None else f"{f:.2f}" for f in figures], figures[0], goal)


def boot_cpu(rows, tag, mark):
    values = [r["marks"][mark]["cpu"] for r in rows
              if r.get("final") and r["tag"] == tag and mark in r["marks"]]
    return statistics.median(values) if values else None


def boot_rows(rows, columns):
    for (image, mark), (name, goal) in BOOTS.items():
        seconds = [boot_cpu(rows, f"{column}/{image}", mark) for column in columns]
        tcg = boot_cpu(rows, f"qemu/{image}", mark)
        parts = [s / tcg if s and tcg else None for s in seconds]
        row(name, f"{goal} of TCG's",
            ["-" if s is None else f"{s:.2f}" + (f" ({p:.2f})" if p else "")
             for s, p in zip(seconds, parts)], parts[0], goal)


def memory_row(rows, columns):
    def resident(column):
        values = [r.get("RssAnon", 0) + r.get("RssFile", 0) for r in rows
                  if r.get("final") and r["tag"].split("/")[0] == column]
        return max(values) / 1024 if values and column not in PEERS and max(values) else None

    figures = [resident(column) for column in columns]
    row("resident beside guest RAM, MiB", RESIDENT_MIB,
        ["-" if f is None else f"{f:.0f}" for f in figures], figures[0], RESIDENT_MIB)


def slower_row(measured, columns):
    tcg = measured.get("qemu", {})

    def slower(column):
        own = measured.get(column, {})
        return [name for name in own
                if tcg.get(name) and own[name] > tcg[name] and name not in SLOWER_ALLOWED]

    lists = [slower(column) for column in columns]
    row("workloads slower than TCG", 0,
        ["-" if c == "qemu" or not tcg or c not in measured else str(len(names))
         for c, names in zip(columns, lists)], len(lists[0]) if tcg else None, 0)
    for column, names in zip(columns, lists):
        if names and column not in PEERS:
            yield f"slower than TCG on {column}: " + ", ".join(
                f"{n} ({measured[column][n] / tcg[n]:.1f} times)" for n in sorted(names))


def main():
    folder, engines = sys.argv[1], sys.argv[2:]
    main_rows, boots = load(folder, "main.jsonl"), load(folder, "boot.jsonl")
    measured = medians(main_rows)
    tags = {r["tag"].split("/")[0] for r in main_rows + boots}
    columns = engines + [peer for peer in PEERS if peer in tags]
    print(f"| | goal | {' | '.join(columns)} | reached by {columns[0]} |")
    print("|---" * (len(columns) + 3) + "|")
    class_rows(measured, columns)
    boot_rows(boots, columns)
    memory_row(main_rows + boots, columns)
    notes = list(slower_row(measured, columns))
    print("", *notes, sep="\n")


main()
