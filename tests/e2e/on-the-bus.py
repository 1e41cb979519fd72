#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's life through lodgectl and a private session bus; the engine outlives its callers and
may be killed at any time.  on-the-bus.py LODGECTL"""
import json
import os
import signal
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])


def state(lodgectl, name="m"):
    return {m["name"]: m["state"] for m in json.loads(lodgectl("list", "--json").stdout)}[name]


def console(lodgectl):
    return subprocess.Popen([lodgectl.program, "console", "m"], env=lodgectl.environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def read_until(process, text):
    seen = ""
    while text not in seen:
        byte = process.stdout.read(1)
        if not byte:
            break
        seen += byte
    return text in seen


def run(tap, lodgectl):
    guest = harness.floppy(lodgectl.path("guest.img"), harness.KEY_GUEST)
    result = lodgectl("create", "m", "--memory", "32M", "--engine", "interpreter", "--disk", "1M",
                      "--set", f"floppy0.path={guest}", "--set", "boot.order=floppy",
                      "--set", "network0.mode=none")
    tap.check(result.returncode == 0 and result.stdout.strip().endswith("m.lodge"), "create", result)
    tap.check(state(lodgectl) == "off", "a new machine is off")
    result = lodgectl("pause", "m")
    tap.check(result.returncode == 1 and "is off" in result.stderr, "pause of what is off", result)

    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start", result)
    tap.check(state(lodgectl) == "running", "it runs, its starter is gone")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 1 and "running already" in result.stderr, "start twice", result)

    first = console(lodgectl)
    tap.check(read_until(first, "READY"), "the console shows what the guest says")
    second = console(lodgectl)
    tap.check(read_until(second, "READY"), "a console that joins late gets what was said")
    result = lodgectl("type", "m", "Hello,")
    tap.check(result.returncode == 0 and read_until(first, "Hello,"), "type", result)
    tap.check(read_until(second, "Hello,"), "both consoles hear it")
    result = lodgectl("key", "m", "shift+a", "b", "space")
    tap.check(result.returncode == 0 and read_until(first, "Ab "), "key", result)
    result = lodgectl("key", "m", "ctrl+nothing")
    tap.check(result.returncode == 1 and "nothing" in result.stderr, "a key that there is not")
    first.kill()
    first.wait()
    result = lodgectl("type", "m", "still")
    tap.check(read_until(second, "still"), "a console that dies takes nothing with it", result)

    picture = lodgectl.path("screen.png")
    result = lodgectl("screenshot", "m", picture)
    with open(picture, "rb") as file:
        head = file.read(24)
    tap.check(head[1:4] == b"PNG" and int.from_bytes(head[16:20], "big") >= 640, "screenshot", result)
    result = lodgectl("screenshot", "m", lodgectl.path("no/folder.png"))
    tap.check(result.returncode == 1 and len(result.stderr.splitlines()) == 1,
              "screenshot into no folder", result)

    tap.check(lodgectl("pause", "m").returncode == 0 and state(lodgectl) == "paused", "pause")
    result = lodgectl("pause", "m")
    tap.check(result.returncode == 1 and "paused" in result.stderr, "pause twice", result)
    tap.check(lodgectl("resume", "m").returncode == 0 and state(lodgectl) == "running", "resume")
    tap.check(lodgectl("reset", "m").returncode == 0 and read_until(second, "READY"), "reset")
    result = lodgectl("set", "m", "cpu.count=2")
    tap.check(result.returncode == 0 and "next start" in result.stderr, "set while it runs", result)
    result = lodgectl("delete", "m")
    tap.check(result.returncode == 1 and "running" in result.stderr, "delete of what runs", result)
    shown = json.loads(lodgectl("show", "m", "--json").stdout)
    tap.check(shown["state"] == "running" and shown["engine"] == "interpreter", "show", shown)
    tap.check(os.path.exists(shown["spice.socket"]), "its SPICE socket is there", shown)

    # The sandbox does not loosen with use: the engine's own view of its confinement.
    with open(f"/proc/{shown['engine.pid']}/status") as file:
        status = file.read()
    tap.check("NoNewPrivs:\t1" in status and "Seccomp:\t2" in status, "the engine is locked in",
              status)

    tap.check(lodgectl("stop", "m").returncode == 0 and state(lodgectl) == "stopping", "stop")
    lodgectl("type", "m", "q")
    tap.check(harness.wait_until(lambda: state(lodgectl) == "off"), "the guest powers off")
    second.wait(10)
    # "off" is said before everything is tidied up; a start at once waits for that.
    tap.check(harness.wait_until(lambda: not os.path.exists(shown["spice.socket"])),
              "its sockets are gone")
    lodgectl("start", "m")
    tap.check(harness.wait_until(lambda: lodgectl("type", "m", "q") and state(lodgectl) == "off"),
              "the guest powers off again")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "a start right behind the end", result)
    lodgectl("stop", "m", "--force")

    # Where there is systemd, each engine asks for a scope of its own.
    log = lodgectl.path("systemd.log")
    mock = subprocess.Popen([sys.executable, os.path.join(os.path.dirname(__file__),
                                                          "mock-systemd.py"), log],
                            stdout=subprocess.PIPE, text=True)
    mock.stdout.readline()
    lodgectl("start", "m")
    shown = json.loads(lodgectl("show", "m", "--json").stdout)
    lodgectl("stop", "m", "--force")
    mock.kill()
    with open(log) as file:
        asked = file.read()
    tap.check(f"app-lodge-{shown['machine.uuid']}.scope fail" in asked and
              shown["engine.pid"] in asked and "app.slice" in asked, "a systemd scope", asked)

    # Killed in mid-run: nothing is in the way of the next start.
    lodgectl("start", "m")
    shown = json.loads(lodgectl("show", "m", "--json").stdout)
    os.kill(int(shown["engine.pid"]), signal.SIGKILL)
    tap.check(harness.wait_until(lambda: state(lodgectl) == "off"), "an engine is killed")
    tap.check(harness.wait_until(lambda: not os.path.exists(shown["spice.socket"])),
              "its supervisor tidies up")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "it starts again", result)
    result = lodgectl("stop", "m", "--force")
    tap.check(result.returncode == 0 and state(lodgectl) == "off", "stop --force", result)
    tap.check(lodgectl("delete", "m").returncode == 0 and lodgectl.machines() == [], "delete")

    # A port of the host that is taken.
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = str(taken.getsockname()[1])
    lodgectl("create", "m", "--set", f"floppy0.path={guest}", "--engine", "interpreter",
             "--set", f"network0.forward={port}:80")
    result = lodgectl("start", "m")
    tap.check(result.returncode == 1 and len(result.stderr.splitlines()) == 1 and
              port in result.stderr, "start with a port that is taken", result)
    taken.close()
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start when the port is free", result)
    lodgectl("stop", "m", "--force")
    lodgectl("delete", "m")

    # A machine that cannot start says why, once, and is not left half-started.
    lodgectl("create", "m", "--set", f"floppy0.path={guest}")
    os.unlink(guest)
    result = lodgectl("start", "m")
    tap.check(result.returncode == 1 and len(result.stderr.splitlines()) == 1 and
              "guest.img" in result.stderr, "start without its floppy", result)
    tap.check(state(lodgectl) == "off", "it is off")


harness.main(run)
