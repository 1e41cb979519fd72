#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest that compiles, compresses, forks, signals and writes code for minutes on several CPUs: every
checksum must be right and the engine's own memory must not grow.

soak.py LODGECTL BUNDLE [--engine translator] [--minutes 10] [--cpus 2] [--scale 5]
BUNDLE: the built guest bundle of bench/run.sh (build/bench). Memory is what is not the guest's RAM;
its highest value in the last quarter may be 5 percent above that of the second."""
import argparse
import os
import re
import subprocess
import sys
import threading
import time

BENCHES = "app_*,sh_*,jit_*,sys_*,int_*,fp_*"
GROWTH = 1.05
LEAST_SAMPLES = 8


def expected(bundle):
    sums = {}
    for line in open(os.path.join(bundle, "guest/expected.tsv")):
        words = line.split()
        if len(words) == 3 and not line.startswith("#"):
            sums[words[0], words[1]] = words[2]
    return sums


def descendants(pid):
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            for child in open(f"/proc/{pid}/task/{task}/children").read().split():
                found += descendants(int(child))
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def resident_kib(pid):
    """Without shared memory, which the guest's RAM is."""
    total = 0
    for process in descendants(pid):
        try:
            for line in open(f"/proc/{process}/status"):
                if line.startswith(("RssAnon:", "RssFile:")):
                    total += int(line.split()[1])
        except FileNotFoundError:
            pass
    return total


class Watch(threading.Thread):
    def __init__(self, process, seconds):
        super().__init__(daemon=True)
        self.process, self.seconds, self.samples = process, seconds, []

    def run(self):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end and self.process.poll() is None:
            time.sleep(min(5, self.seconds / 40))
            self.samples.append(resident_kib(self.process.pid))
        self.process.terminate()

    def growth(self):
        quarter = len(self.samples) // 4
        return max(self.samples[-quarter:]) / max(self.samples[quarter:2 * quarter])


def read_results(stream, sums):
    """(results, wrong ones); a result's line: RESULT name seconds user= sys= rc= units= sum"""
    results, wrong = 0, []
    for line in stream:
        words = line.split()
        if not words or words[0] != "RESULT" or len(words) < 8:
            if re.search(r"Kernel panic|BUG:|Oops|segfault", line):
                wrong.append(line.strip())
            continue
        values = dict(w.split("=", 1) for w in words[3:7])
        results += 1
        if values["rc"] != "0" or sums.get((words[1], values["units"]), words[7]) != words[7]:
            wrong.append(line.strip())
    return results, wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lodgectl")
    parser.add_argument("bundle")
    parser.add_argument("--engine", default="translator")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--cpus", default="2")
    parser.add_argument("--scale", default="5")
    options = parser.parse_args()
    out = os.path.join(options.bundle, "out")
    append = f"console=ttyS0,115200 mode=bench bench={BENCHES} scale={options.scale} rounds=100000"
    process = subprocess.Popen(
        [options.lodgectl, "run", "--engine", options.engine, "--kernel", f"{out}/vmlinuz",
         "--initrd", f"{out}/initrd-full.cpio", "--append", append, "--memory", "1024M", "--cpus",
         options.cpus, "--serial", "stdio", "--display", "none", "--net", "none"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    watch = Watch(process, 60 * options.minutes)
    watch.start()
    results, wrong = read_results(process.stdout, expected(options.bundle))
    early = process.wait() not in (130, 143, -15)  # lodgectl, asked to end: as by Ctrl+C
    watch.join()
    print(f"{results} results, {len(wrong)} wrong; resident {watch.samples[-1] // 1024} MiB beside "
          "the guest's memory" if watch.samples else "the engine did not start")
    for line in wrong[:20]:
        print("  " + line)
    if early:
        print(f"the engine ended by itself, status {process.returncode}")
    print("MiB over time:", [s // 1024 for s in watch.samples[::6]])
    flat = len(watch.samples) >= LEAST_SAMPLES and watch.growth() <= GROWTH
    if not flat:
        print("memory grows")
    sys.exit(0 if results and not wrong and not early and flat else 1)


main()
