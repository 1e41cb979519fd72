#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest suspended and resumed in the middle of its work, from engine to engine.

linux-suspend.py LODGECTL DEMO-FOLDER ENGINE...   Each resume takes the next engine of the list."""
import hashlib
import json
import os
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
# In the background until it is told to stop. Never twice the same bytes, so that a page from another
# moment shows in the sum.
WORK = (f"(i=0; while [ ! -e /tmp/stop ]; do (echo $i; dd if=/dev/zero bs={BLOCK} count=1 "
        "2>/dev/null) >>/tmp/file; i=$((i+1)); echo STEP $i; sleep 0.1; done; "
        "echo \"SUM $i $(md5sum </tmp/file | cut -d' ' -f1)\") &")


def expected(steps):
    return hashlib.md5(b"".join(b"%d\n" % i + bytes(BLOCK) for i in range(steps))).hexdigest()


def run(tap, lodgectl):
    demo, engines = os.path.abspath(sys.argv[2]), sys.argv[3:]
    port = serve()
    result = lodgectl("create", "m", "--memory", "256M", "--cpus", "2", "--engine", engines[0],
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

    for engine in engines[1:]:
        begin = time.monotonic()
        result = lodgectl("suspend", "m", timeout=240)
        tap.check(result.returncode == 0, f"suspend ({time.monotonic() - begin:.1f} s)", result)
        console.close()
        lodgectl("set", "m", f"cpu.engine={engine}")
        begin = time.monotonic()
        result = lodgectl("start", "m")
        took = time.monotonic() - begin
        tap.check(result.returncode == 0, f"start under {engine} ({took:.2f} s)", result)
        shown = json.loads(lodgectl("show", "m", "--json").stdout)
        tap.check(shown["engine"] == engine, "it runs there", shown)
        console = Console(lodgectl)
        tap.check(console.wait(r"(?m)^STEP \d+$"), "its work goes on", console.text)

    console.type("touch /tmp/stop")
    found = console.wait(r"SUM (\d+) ([0-9a-f]{32})")
    tap.check(found and found.group(2) == expected(int(found.group(1))), "its sum is right",
              console.text[-2000:])
    # The network is there without DHCP.
    console.type(f"echo \"PAGE $(wget -q -O - http://10.0.2.2:{port}/page | sha256sum)\"")
    found = console.wait(r"PAGE ([0-9a-f]{64})")
    tap.check(found and found.group(1) == hashlib.sha256(PAGE).hexdigest(),
              "its address is still good", console.text)

    # The real-time clock is the host's.
    console.type("cat /sys/class/rtc/rtc0/since_epoch | sed 's/^/CLOCK /'")
    found = console.wait(r"CLOCK (\d+)\n")
    tap.check(found and abs(int(found.group(1)) - time.time()) < 30,
              "its real-time clock shows the host's time", (time.time(), console.text))
    console.type("poweroff -f")
    tap.check(harness.wait_until(lambda: not console.process.poll() is None, 60), "it powers off")


def run_and_stop(tap, lodgectl):
    try:
        run(tap, lodgectl)
    finally:
        lodgectl("stop", "m", "--force")


harness.main(run_and_stop)
