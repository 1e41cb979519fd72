#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What was measured beside what is aimed at: goals.py RESULTS-FOLDER ENGINE...

A figure of a class is the geometric mean over its workloads of the VMM's CPU seconds over native CPU
seconds, medians over rounds. Boots are CPU seconds over those of QEMU's TCG."""
import json
import math
import os
import statistics
import sys

CLASSES = {"int_": 1.6, "x32_": 1.6, "fp_": 1.4, "cry_": 1.5, "mem_": 1.6, "sys_": 2.5, "sh_": 3,
           "jit_": 5, "app_": 1.8}
BOOTS = {("iso", "init"): ("power-on to /init, small ISO", 0.45),
         ("debian", "login"): ("systemd Debian to login prompt", 0.40)}
RESIDENT_MIB = 192
PEERS = ["qemu", "bochs"]
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
            if name.startswith(prefix) and native.get(name)]


def cell(values):
    return f"{geomean(values):.2f}" if values else "-"


def classes(measured, columns, leader):
    print("| class | goal | " + " | ".join(columns) + " | reached |")
    print("|---" * (len(columns) + 3) + "|")
    for prefix, goal in CLASSES.items():
        own = ratios(measured, leader, prefix)
        if not own:
            continue
        reached = "yes" if geomean(own) <= goal else f"no, {geomean(own) / goal:.1f} times the goal"
        print(f"| `{prefix}` ({len(own)}) | {goal} | " +
              " | ".join(cell(ratios(measured, c, prefix)) for c in columns) + f" | {reached} |")


def slower_than_tcg(measured, leader):
    own, tcg = measured.get(leader, {}), measured.get("qemu", {})
    return [f"{name} ({own[name] / tcg[name]:.1f} times)" for name in own
            if tcg.get(name) and own[name] > tcg[name] and name not in SLOWER_ALLOWED]


def boots(rows, engines):
    runs = {}
    for row in rows:
        if row.get("final"):
            runs.setdefault(row["tag"], []).append(row)

    def cpu(tag, mark):
        values = [r["marks"][mark]["cpu"] for r in runs.get(tag, []) if mark in r["marks"]]
        return statistics.median(values) if values else None

    for (image, mark), (text, goal) in BOOTS.items():
        tcg = cpu(f"qemu/{image}", mark)
        for engine in engines:
            own = cpu(f"{engine}/{image}", mark)
            if own and tcg:
                print(f"{text}: {engine} {own:.2f} s, TCG {tcg:.2f} s, {own / tcg:.2f} of it "
                      f"(goal {goal})")
    for tag, row in sorted(runs.items()):
        if tag.startswith("qemu"):
            continue  # its guest's memory is not shared memory, so it cannot be told apart
        resident = (row[-1].get("RssAnon", 0) + row[-1].get("RssFile", 0)) / 1024
        print(f"{tag}: {resident:.0f} MiB resident beside guest memory (goal {RESIDENT_MIB})")


def main():
    folder, engines = sys.argv[1], sys.argv[2:]
    measured = medians(load(folder, "main.jsonl"))
    columns = [c for c in engines + PEERS if c in measured]
    classes(measured, columns, engines[0])
    slower = slower_than_tcg(measured, engines[0])
    if "qemu" in measured:
        print(f"\nslower than TCG on {engines[0]}: {', '.join(slower) or 'none'}")
    boots(load(folder, "boot.jsonl"), engines)


main()
