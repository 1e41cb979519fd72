#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots with memory through lodgectl, with the engine locked in: to and fro, from off, without
keeping changes, given up, by interval, and with the engine killed at any moment.  live-snapshots.py LODGECTL"""
import json
import os
import select
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])


class Machine:
    def __init__(self, tap, lodgectl):
        self.tap, self.lodgectl = tap, lodgectl

    def call(self, *words, status=0):
        result = self.lodgectl(*words)
        self.tap.check(result.returncode == status, " ".join(words), result)
        return result

    def state(self):
        return json.loads(self.lodgectl("list", "--json").stdout)[0]["state"]

    def is_in(self, state):
        good = harness.wait_until(lambda: self.state() == state, 60)
        self.tap.check(good, f"it is {state}", self.state())

    def nodes(self):
        return json.loads(self.lodgectl("snapshot", "list", "m", "--json").stdout)

    def pid(self):
        return int(json.loads(self.lodgectl("show", "m", "--json").stdout)["engine.pid"])

    def says(self, text, what, key=None):
        """What its console shows until that text, with that key typed."""
        terminal = subprocess.Popen([self.lodgectl.program, "console", "m"],
                                    env=self.lodgectl.environment, stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE)
        if key:
            self.lodgectl("type", "m", key)
        seen, end = "", time.monotonic() + 60
        while text not in seen and time.monotonic() < end:
            if select.select([terminal.stdout], [], [], 1)[0]:
                seen += os.read(terminal.stdout.fileno(), 4096).decode(errors="replace")
        terminal.kill()
        terminal.wait()
        self.tap.check(text in seen, what, seen)
        return seen

    def goes_on(self, key, what):
        """The guest answers to a key, which it is asked for once."""
        return self.says(key, what, key)


def to_and_fro(tap, m):
    m.call("snapshot", "take", "m", "at work", "--note", "with memory")
    m.call("snapshot", "take", "m", "disks", "--disks-only")
    nodes = {node["name"]: node for node in m.nodes()}
    tap.check(nodes["at work"]["has-memory"] and not nodes["disks"]["has-memory"],
              "one has the memory, one does not", nodes)
    shown = m.call("snapshot", "list", "m").stdout
    tap.check("at work  (with memory)" in shown, "the list says so", shown)
    for key in "ab":
        m.call("snapshot", "goto", "m", "at work")
        m.goes_on(key, "the guest goes on from there")
    m.call("pause", "m")
    m.call("snapshot", "goto", "m", "at work")
    m.goes_on("c", "from a paused machine, too")
    m.call("pause", "m")
    m.call("snapshot", "take", "m", "paused")
    m.is_in("paused")
    m.call("resume", "m")
    m.call("snapshot", "goto", "m", "disks")
    m.is_in("off")

    m.call("snapshot", "goto", "m", "at work")
    m.is_in("suspended")
    m.call("start", "m")
    seen = m.goes_on("d", "from a machine that was off")
    tap.check("READY" not in seen, "it has not started anew", seen)
    m.call("stop", "m", "--force")
    m.is_in("off")
    m.call("snapshot", "goto", "m", "at work")
    m.call("stop", "m", "--discard-state")
    m.is_in("off")
    m.call("start", "m")
    m.says("READY", "without the state it starts anew")


def does_not_fit(tap, m):
    """A state for another machine is refused, and this one is still there."""
    m.call("stop", "m", "--force")
    m.call("set", "m", "memory.size=48M")
    m.call("start", "m")
    result = m.call("snapshot", "goto", "m", "at work", status=1)
    tap.check("memory.size" in result.stderr, "the message names what differs", result.stderr)
    m.is_in("running")
    m.call("stop", "m", "--force")
    m.call("snapshot", "goto", "m", "at work")
    result = m.call("start", "m", status=1)
    tap.check("memory.size" in result.stderr, "a start says it as well", result.stderr)
    m.call("set", "m", "memory.size=64M")
    m.call("start", "m")
    m.goes_on("f", "with the right setting it goes on")


def disposable(tap, m):
    m.call("stop", "m", "--force")
    before = m.nodes()
    m.call("start", "m", "--disposable", "--node", "at work")
    m.goes_on("g", "a run that keeps nothing begins in the middle of work")
    result = m.call("suspend", "m", status=1)
    tap.check("without keeping changes" in result.stderr, "it cannot be suspended", result.stderr)
    tap.check(len(m.nodes()) == len(before) + 1, "where it goes back to is a node", m.nodes())
    m.call("stop", "m", "--force")
    m.is_in("off")
    tap.check(m.nodes() == before, "and the tree is as before", (before, m.nodes()))
    m.call("start", "m", "--disposable")
    os.kill(m.pid(), signal.SIGKILL)
    m.is_in("off")
    tap.check(len(m.nodes()) == len(before), "also where the engine was killed", m.nodes())
    result = m.call("start", "m", "--node", "at work", status=1)
    tap.check("--disposable" in result.stderr, "--node alone is refused", result.stderr)
    m.call("start", "m")


def given_up(tap, m):
    before = len(m.nodes())
    take = subprocess.Popen([m.lodgectl.program, "snapshot", "take", "m", "never"],
                            env=m.lodgectl.environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)
    time.sleep(0.05)
    take.send_signal(signal.SIGINT)
    take.communicate(timeout=60)
    names = [node["name"] for node in m.nodes()]
    tap.check(("never" in names) == (take.returncode == 0) and len(names) - before in (0, 1),
              f"Ctrl+C while it is taken leaves nothing (status {take.returncode})", names)
    m.goes_on("h", "the guest goes on")


def killed(tap, m):
    """Wherever a take is when the engine is killed: the node is there, whole, or not at all."""
    found = 0
    for number in range(6):
        name = f"killed {number}"
        pid = m.pid()
        take = subprocess.Popen([m.lodgectl.program, "snapshot", "take", "m", name],
                                env=m.lodgectl.environment, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        time.sleep(0.02 + 0.03 * number)
        os.kill(pid, signal.SIGKILL)
        take.wait(timeout=60)
        harness.wait_until(lambda: m.state() == "off", 60)
        node = [node for node in m.nodes() if node["name"] == name]
        found += bool(node)
        # Where the engine was gone before the call came, the machine that is off was taken.
        if node and not node[0]["has-memory"] and take.returncode != 0:
            tap.check(False, "a half snapshot", node)
        m.call("start", "m")
        m.says("READY", "it starts again")
    tap.check(True, f"{found} of 6 were there")
    m.call("snapshot", "goto", "m", "at work")
    m.goes_on("j", "an older one is whole")
    m.call("stop", "m", "--force")
    m.is_in("off")
    store = os.path.join(m.lodgectl.home, "m.lodge", "snapshots.store")
    result = m.call("disk", "check", store)
    tap.check("rror" not in result.stdout + result.stderr, "the store is sound", result)


def by_interval(tap, m):
    """Those that the machine takes by itself, a minute being short."""
    m.call("set", "m", "snapshots.interval=2")
    m.lodgectl.environment["LODGE_SNAPSHOT_MINUTE"] = "100"
    m.call("start", "m")
    del m.lodgectl.environment["LODGE_SNAPSHOT_MINUTE"]
    m.says("READY", "the guest is up again")
    before = {node["id"] for node in m.nodes()}  # some of the time before that, perhaps

    def new():
        return [node for node in m.nodes() if node["id"] not in before]
    tap.check(harness.wait_until(lambda: len(new()) >= 3, 120), "one comes, and others", new())
    found = new()
    tap.check(all(node["automatic"] and node["has-memory"] for node in found),
              "with memory, and known for what they are", found)

    def went_there():
        """Not while the next one is being taken."""
        words = ["snapshot", "goto", "m", str(found[-1]["id"]), "--discard"]
        return m.lodgectl(*words).returncode == 0
    tap.check(harness.wait_until(went_there, 120), "it goes to such a one")
    m.goes_on("k", "the guest goes on from such a one")


def run(tap, lodgectl):
    guest = harness.floppy(lodgectl.path("guest.img"), harness.KEY_GUEST)
    m = Machine(tap, lodgectl)
    m.call("create", "m", "--memory", "64M", "--engine", "interpreter", "--disk", "1M",
           "--set", f"floppy0.path={guest}", "--set", "floppy0.read-only=true",
           "--set", "boot.order=floppy", "--set", "network0.mode=none")
    m.call("start", "m")
    m.says("READY", "the guest is up")
    to_and_fro(tap, m)
    does_not_fit(tap, m)
    disposable(tap, m)
    given_up(tap, m)
    killed(tap, m)
    by_interval(tap, m)


def run_and_stop(tap, lodgectl):
    try:
        run(tap, lodgectl)
    finally:
        lodgectl("stop", "m", "--force")


harness.main(run_and_stop)
