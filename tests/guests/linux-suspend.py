#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest suspended and resumed in the middle of its work, from engine to engine, while the
host's clock is set to and fro.

linux-suspend.py LODGECTL DEMO-FOLDER ENGINE...   Each resume takes the next engine of the list."""
import hashlib
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "e2e")]
import harness  # noqa: E402
from guest_console import Console  # noqa: E402
from linux import PAGE, serve  # noqa: E402

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

BLOCK = 16 << 10
DAY = 86400
OFFSETS = [DAY, -2 * DAY]  # of the host's clock, by turns: the n-th start has the n-th
# In the background until it is told to stop. Never twice the same bytes, so that a page from another
# moment shows in the sum.
WORK = (f"(i=0; while [ ! -e /tmp/stop ]; do (echo $i; dd if=/dev/zero bs={BLOCK} count=1 "
        "2>/dev/null) >>/tmp/file; i=$((i+1)); echo STEP $i; sleep 0.1; done; "
        "echo \"SUM $i $(md5sum </tmp/file | cut -d' ' -f1)\") &")


def expected(steps):
    return hashlib.md5(b"".join(b"%d\n" % i + bytes(BLOCK) for i in range(steps))).hexdigest()


def clock_is_right(tap, console, asked, offset, what):
    """Within ten minutes: this computer may be busy."""
    with console.arrived:
        before = len(re.findall(r"CLOCK \d+\n", console.text))
    console.type(f"{asked} | sed 's/^/CLOCK /'")
    found = console.wait(r"(?:CLOCK \d+\n[\s\S]*){%d}" % (before + 1))
    shown = int(re.findall(r"CLOCK (\d+)\n", console.text)[-1]) if found else 0
    tap.check(abs(shown - offset - time.time()) < 600, what,
              (time.time(), offset, console.text[-1500:]))


RTC = "cat /sys/class/rtc/rtc0/since_epoch"


def run(tap, lodgectl):
    demo, engines = os.path.abspath(sys.argv[2]), sys.argv[3:]
    port = serve()
    result = lodgectl("create", "m", "--memory", "256M", "--cpus", "2", "--engine", engines[0],
                      "--disk", "8M",
                      "--set", f"boot.kernel={demo}/vmlinuz", "--set", f"boot.initrd={demo}/initrd",
                      "--set", "boot.append=console=ttyS0,115200 quiet",
                      "--set", "network0.mode=nat", "--set", "network0.model=virtio")
    tap.check(result.returncode == 0, "create", result)
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start", result)
    console = Console(lodgectl)
    tap.check(console.wait("Ready"), "the guest is up", console.text)
    tap.check("ADDRESS 10.0.2.15" in console.text, "it has an address", console.text)
    time.sleep(1)
    console.type(WORK)
    tap.check(console.wait(r"(?m)^STEP 2$"), "it works", console.text)
    clock_is_right(tap, console, RTC, 0, "its real-time clock shows the host's time")

    for number, engine in enumerate(engines[1:]):
        begin = time.monotonic()
        result = lodgectl("suspend", "m", timeout=240)
        tap.check(result.returncode == 0, f"suspend ({time.monotonic() - begin:.1f} s)", result)
        console.close()
        lodgectl("set", "m", f"cpu.engine={engine}")
        offset = OFFSETS[number % len(OFFSETS)]
        lodgectl.environment["LODGE_CLOCK_OFFSET"] = str(offset)
        begin = time.monotonic()
        result = lodgectl("start", "m")
        took = time.monotonic() - begin
        tap.check(result.returncode == 0, f"start under {engine} ({took:.2f} s)", result)
        shown = json.loads(lodgectl("show", "m", "--json").stdout)
        tap.check(shown["engine"] == engine, "it runs there", shown)
        console = Console(lodgectl)
        tap.check(console.wait(r"(?m)^STEP \d+$"), "its work goes on", console.text)
        clock_is_right(tap, console, RTC, offset, f"its clock follows the host's ({offset} s)")
        if number == 0:
            result = lodgectl("snapshot", "take", "m", "one", timeout=240)
            tap.check(result.returncode == 0, "a snapshot in between", result)

    console.type("touch /tmp/stop")
    found = console.wait(r"SUM (\d+) ([0-9a-f]{32})")
    tap.check(found and found.group(2) == expected(int(found.group(1))), "its sum is right",
              console.text[-2000:])
    # The network is there without DHCP.
    console.type(f"echo \"PAGE $(wget -q -O - http://10.0.2.2:{port}/page | sha256sum)\"")
    found = console.wait(r"PAGE ([0-9a-f]{64})")
    tap.check(found and found.group(1) == hashlib.sha256(PAGE).hexdigest(),
              "its address is still good", console.text)

    # At the snapshot the host's clock was days ahead; Linux's own clock follows when it is told to.
    result = lodgectl("snapshot", "goto", "m", "one", "--discard", timeout=240)
    tap.check(result.returncode == 0, "back to the snapshot", result)
    clock_is_right(tap, console, RTC, offset, "its real-time clock is right there, too")
    clock_is_right(tap, console, "hwclock -s -u && date +%s", offset, "and Linux's after hwclock -s")
    console.type("poweroff -f")
    tap.check(harness.wait_until(lambda: not console.process.poll() is None, 60), "it powers off")


def run_and_stop(tap, lodgectl):
    try:
        run(tap, lodgectl)
    finally:
        lodgectl("stop", "m", "--force")


harness.main(run_and_stop)
