#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Everything that a machine's page can do to a machine, with a guest of one sector that says on its
serial port which keys it got.  actions.py BIN-FOLDER DEMO-ISO PICTURES-FOLDER"""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import workstation
from workstation import harness


class Serial:
    """What the guest has said so far."""

    def __init__(self, lodgectl):
        self.seen = b""
        self.process = subprocess.Popen([lodgectl.program, "console", "m"], env=os.environ,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)

    def has(self, text, seconds=20):
        def look():
            self.seen += self.process.stdout.read() or b""
            return text in self.seen
        return harness.wait_until(look, seconds)


def run(tap, lodge, lodgectl, iso):
    guest = harness.floppy(os.path.join(os.environ["LODGE_UI_SESSION"], "guest.img"),
                           harness.KEY_GUEST)
    lodgectl("create", "m", "--memory", "32M", "--engine", "interpreter", "--set",
             f"floppy0.path={guest}", "--set", "boot.order=floppy", "--set", "network0.mode=none")

    def state():
        return {m["name"]: m["state"]
                for m in json.loads(lodgectl("list", "--json").stdout)}.get("m")

    def becomes(wanted):
        return harness.wait_until(lambda: state() == wanted, 30)

    tap.check(lodge.start("m") and lodge.shows("m, Powered off"), "a machine that is off")
    lodge.picture("off")
    tap.check(lodge.click("Start") and becomes("running"), "start", lodge.describe())
    serial = Serial(lodgectl)
    tap.check(serial.has(b"READY"), "the guest is there")

    tap.check(lodge.click("Pause") and becomes("paused") and lodge.shows("m, Paused"), "pause")
    lodge.picture("paused")
    tap.check(lodge.click("Resume") and becomes("running"), "resume")

    lodge.type("Hello")
    tap.check(serial.has(b"Hello\r"), "typing", serial.seen)
    for key, byte in [("ctrl+q", b"\x11"), ("ctrl+n", b"\x0e"), ("ctrl+w", b"\x17"),
                      ("Escape", b"\x1b"), ("Tab", b"\t")]:
        serial.seen = b""
        lodge.press("key", key)
        tap.check(serial.has(byte), f"the guest gets {key}", serial.seen)
    # Keys without a character say 0: the guest got them, the window did not.
    for key in ["F10", "F11", "alt+s", "alt+n"]:
        serial.seen = b""
        lodge.press("key", key)
        tap.check(serial.has(b"\0"), f"the guest gets {key}", serial.seen)
    tap.check(lodge.find("About Lodge") is None, "no menu took F10")

    serial.seen = b""
    tap.check(lodge.choose("Send Keys", "Ctrl+Alt+Del") and serial.has(b"READY"),
              "Ctrl+Alt+Del restarts the guest", serial.seen)
    serial.seen = b""
    tap.check(lodge.choose("Power", "Restart") and serial.has(b"READY"), "reset", serial.seen)

    for item in ["Original Size", "Whole Multiples", "Fit to Window"]:
        tap.check(lodge.choose("Machine Menu", item), f"scaling: {item}")
        lodge.picture("scaling-" + item.split()[0].lower())

    tap.check(lodge.choose("Machine Menu", "Grab Keyboard"), "grab")
    lodge.picture("grabbed")
    lodge.press("keydown", "ctrl", "keydown", "alt", "keyup", "alt", "keyup", "ctrl")
    serial.seen = b""
    subprocess.run(["xdotool", "key", "y"], check=True)
    tap.check(not serial.has(b"y", 2), "Ctrl+Alt alone gives the keyboard back", serial.seen)

    tap.check(lodge.click("Serial Console"), "the serial console")
    lodge.picture("serial")
    tap.check(lodge.click("Display"), "and back to the display")

    tap.check(lodge.choose("Power", "Power Off…") and lodge.shows("is lost"),
              "power off asks first", lodge.describe())
    lodge.picture("power-off")
    tap.check(lodge.click("Cancel") and state() == "running", "cancel: it runs on")
    tap.check(lodge.choose("Power", "Shut Down") and becomes("stopping"), "shut down asks the guest")
    lodge.press("key", "q")
    tap.check(becomes("off") and lodge.shows("m, Powered off"), "and the guest powers off")

    tap.check(lodge.click("Start") and becomes("running"), "start again")
    tap.check(lodge.choose("Power", "Suspend") and becomes("suspended") and
              lodge.shows("m, Suspended"), "suspend", lodge.describe())
    lodge.picture("suspended")
    tap.check(lodge.find("The Machine Was Not Suspended") is None, "no word of failure")
    tap.check(lodge.click("Resume") and becomes("running"), "it goes on", lodge.describe())
    tap.check(lodge.choose("Power", "Suspend") and becomes("suspended") and
              lodge.shows("m, Suspended"), "suspend again")
    tap.check(lodge.choose("Machine Menu", "Discard Saved State…") and
              lodge.shows("starts anew"), "discarding asks first", lodge.describe())
    lodge.picture("discard")
    tap.check(lodge.click("Discard") and lodge.shows("m, Powered off") and state() == "off",
              "the state is gone", lodge.describe())
    tap.check(lodge.click("Start") and becomes("running") and lodge.shows("m, Running"),
              "and it starts anew", lodge.describe())
    tap.check(lodge.click("Close") and lodge.shows("keeps running"), "closing says that it runs on",
              lodge.describe())
    lodge.picture("closing")
    tap.check(lodge.click("Cancel"), "cancel: the window stays")
    tap.check(lodge.choose("Power", "Power Off…") and lodge.click("Power Off") and becomes("off"),
              "power off")
    tap.check(lodge.choose("Machine Menu", "Delete Machine…") and lodge.click("Delete") and
              harness.wait_until(lambda: state() is None, 10), "delete")
    tap.check(harness.wait_until(lambda: lodge.find("m, Powered off") is None, 10),
              "the library has forgotten it")
    lodge.picture("empty")
    serial.process.kill()


workstation.main(run)
