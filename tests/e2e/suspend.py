#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Suspend and resume through lodgectl, with the engine locked in.  suspend.py LODGECTL"""
import json
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])


def state(lodgectl):
    return json.loads(lodgectl("list", "--json").stdout)[0]["state"]


def read_until(process, text):
    seen = ""
    while text not in seen:
        byte = process.stdout.read(1)
        if not byte:
            break
        seen += byte
    return text in seen, seen


def console(lodgectl):
    return subprocess.Popen([lodgectl.program, "console", "m"], env=lodgectl.environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def goes_on(tap, lodgectl, key, what):
    """The guest answers to keys without having started anew."""
    terminal = console(lodgectl)
    lodgectl("type", "m", key)
    found, seen = read_until(terminal, key)
    terminal.kill()
    terminal.wait()
    tap.check(found and "READY" not in seen, what, seen)


def one_line(result):
    return len(result.stderr.splitlines()) == 1


def run(tap, lodgectl):
    guest = harness.floppy(lodgectl.path("guest.img"), harness.KEY_GUEST)
    folder = os.path.join(lodgectl.home, "m.lodge")
    lodgectl("create", "m", "--memory", "64M", "--engine", "interpreter", "--disk", "1M",
             "--set", f"floppy0.path={guest}", "--set", "boot.order=floppy",
             "--set", "network0.mode=nat", "--set", "network0.model=virtio")
    result = lodgectl("suspend", "m")
    tap.check(result.returncode == 1 and "is off" in result.stderr, "suspend of what is off", result)
    lodgectl("start", "m")
    terminal = console(lodgectl)
    tap.check(read_until(terminal, "READY")[0], "the guest is up")
    terminal.kill()
    terminal.wait()

    for number, key in enumerate("abc"):
        result = lodgectl("suspend", "m")
        tap.check(result.returncode == 0, f"suspend {number}", result)
        tap.check(state(lodgectl) == "suspended", "it is suspended", state(lodgectl))
        result = lodgectl("start", "m")
        tap.check(result.returncode == 0 and state(lodgectl) == "running", "start", result)
        goes_on(tap, lodgectl, key, "the guest goes on")

    lodgectl("pause", "m")
    result = lodgectl("suspend", "m")
    tap.check(result.returncode == 0 and state(lodgectl) == "suspended", "suspend of what is paused",
              result)
    files = [os.path.join(folder, "state", f) for f in os.listdir(os.path.join(folder, "state"))]
    tap.check(len(files) == 1 and os.stat(files[0]).st_blocks * 512 < 32 << 20,
              "one file, with holes where memory is empty", files)

    result = lodgectl("stop", "m")
    tap.check(result.returncode == 1 and one_line(result) and "--discard-state" in result.stderr,
              "stop of what is suspended says how", result)
    lodgectl("set", "m", "memory.size=96M")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 1 and one_line(result) and "memory.size=64M" in result.stderr,
              "a start with another memory names the difference", result)
    tap.check(state(lodgectl) == "suspended", "and it is still suspended")
    lodgectl("set", "m", "memory.size=64M")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start with the old setting", result)
    goes_on(tap, lodgectl, "d", "it goes on")

    # A state is used once: who crashes afterwards starts anew.
    shown = json.loads(lodgectl("show", "m", "--json").stdout)
    os.kill(int(shown["engine.pid"]), signal.SIGKILL)
    tap.check(harness.wait_until(lambda: state(lodgectl) == "off"), "after a crash it is off")
    tap.check(harness.wait_until(lambda: not os.path.exists(os.path.join(folder, "state"))),
              "and nothing is left behind")
    lodgectl("start", "m")
    terminal = console(lodgectl)
    tap.check(read_until(terminal, "READY")[0], "it starts anew")
    terminal.kill()
    terminal.wait()

    lodgectl("suspend", "m")
    with open(files[0] if os.path.exists(files[0]) else
              os.path.join(folder, "state", os.listdir(os.path.join(folder, "state"))[0]),
              "r+b") as file:
        file.seek(100)
        file.write(b"x")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 1 and one_line(result) and "damaged" in result.stderr,
              "a damaged state is refused", result)
    result = lodgectl("stop", "m", "--discard-state")
    tap.check(result.returncode == 0 and state(lodgectl) == "off", "stop --discard-state", result)
    lodgectl("start", "m")
    result = lodgectl("stop", "m", "--force")
    tap.check(result.returncode == 0, "it runs and stops", result)
    tap.check(harness.wait_until(lambda: not os.path.exists(os.path.join(folder, "state"))),
              "no files for a state that there is not")


harness.main(run)
