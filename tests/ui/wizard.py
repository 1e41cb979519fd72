#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A person's first machine, on the screen: the wizard, the guest's text, typing, the window killed
and started again.  wizard.py BIN-FOLDER DEMO-ISO PICTURES-FOLDER"""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import workstation
from workstation import harness

MACHINE = "First machine"
BOOT_SECONDS = 90


def bad_input(tap, lodge, folder):
    """Refused in place, in words; Next waits."""
    truncated = os.path.join(folder, "truncated.iso")
    with open(sys.argv[2], "rb") as whole, open(truncated, "wb") as part:
        part.write(whole.read(1 << 20))
    text = os.path.join(folder, "text.iso")
    with open(text, "w") as file:
        file.write("no disc\n" * 10000)
    empty = os.path.join(folder, "empty.iso")
    open(empty, "w").close()
    cases = [
        ("a missing file", os.path.join(folder, "missing.iso"), "There is no file"),
        ("a folder", folder, "is a folder"),
        ("a truncated disc", truncated, "truncated"),
        ("a file that is no disc", text, "neither a disc image"),
        ("an empty file", empty, "is empty"),
    ]
    for what, path, words in cases:
        tap.check(lodge.enter("File", path) and lodge.shows(words), f"medium: {what} is refused",
                  lodge.describe())
        tap.check(not lodge.is_sensitive("Next"), f"medium: {what}: Next waits")
    lodge.picture("wizard-refused")


def make_machine(tap, lodge, iso):
    tap.check(lodge.click("New Machine"), "the wizard opens", lodge.describe())
    tap.check(lodge.wait_for("File", "text") is not None, "its first page asks for a medium")
    tap.check(not lodge.is_sensitive("Next"), "Next waits for a medium")
    bad_input(tap, lodge, os.environ["LODGE_UI_SESSION"])
    tap.check(lodge.enter("File", iso) and lodge.shows("Lodge demo guest"),
              "the medium is recognised", lodge.describe())
    lodge.picture("wizard-medium")
    tap.check(lodge.click("Next") and lodge.shows("Step 2 of 4"), "the system's page")
    tap.check(lodge.enter("Name", "a/b") and lodge.shows("name") and not lodge.is_sensitive("Next"),
              "a name that cannot be is refused")
    tap.check(lodge.enter("Name", MACHINE), "it gets a name")
    lodge.picture("wizard-system")
    tap.check(lodge.click("Next") and lodge.shows("Step 3 of 4"), "the resources' page")
    for what, value, words in [("no memory", 0, "at least 16 MiB"),
                               ("more memory than there is", 99999999, "This computer has")]:
        tap.check(lodge.set_value("Memory", value) and lodge.shows(words),
                  f"resources: {what} is refused", lodge.describe())
        tap.check(not lodge.is_sensitive("Next"), f"resources: {what}: Next waits")
    tap.check(lodge.set_value("Memory", 256), "256 MiB")
    tap.check(lodge.click("New Disk") and lodge.set_value("Disk Size", 999999) and
              lodge.shows("no room for this disk"),
              "resources: a disk that there is no room for is refused", lodge.describe())
    tap.check(not lodge.is_sensitive("Next"), "resources: no room: Next waits")
    tap.check(lodge.set_value("Disk Size", 1), "1 GiB")
    lodge.picture("wizard-resources")
    tap.check(lodge.click("Next") and lodge.shows("Step 4 of 4"), "the summary")
    lodge.picture("wizard-summary")
    tap.check(lodge.click("Create") and lodge.shows(f"{MACHINE}, "), "the machine is made",
              lodge.describe())


def run(tap, lodge, lodgectl, iso):
    tap.check(lodge.start(), "lodge starts")
    make_machine(tap, lodge, iso)

    def state():
        return {m["name"]: m["state"]
                for m in json.loads(lodgectl("list", "--json").stdout)}.get(MACHINE)

    def engine():
        return json.loads(lodgectl("show", MACHINE, "--json").stdout).get("engine.pid")

    tap.check(harness.wait_until(lambda: state() == "running"), "it runs", lodgectl("list"))
    tap.check(lodge.choose("Machine Menu", "Original Size"), "one to one", lodge.describe())
    tap.check(harness.wait_until(lambda: "built-in shell" in lodge.guest_text("booting"),
                                 BOOT_SECONDS), "the guest's text is on the screen",
              lodge.guest_text("booted"))
    lodge.type("echo 6 times 7 is $((6*7))")
    tap.check(harness.wait_until(lambda: "6 times 7 is 42" in lodge.guest_text("typed"), 30),
              "what is typed arrives in the guest", lodge.guest_text("typed"))

    before = engine()
    lodge.kill()
    tap.check(state() == "running", "the window is killed, the machine runs on")
    tap.check(lodge.start(MACHINE) and lodge.shows(f"{MACHINE}, Running"),
              "the window is back and knows that it runs", lodge.describe())
    lodge.choose("Machine Menu", "Original Size")
    tap.check(harness.wait_until(lambda: "6 times 7 is 42" in lodge.guest_text("back"), 30),
              "and shows the guest's picture", lodge.guest_text("back"))
    tap.check(engine() == before, "by the same engine")
    lodge.type("echo still $((40+2))")
    tap.check(harness.wait_until(lambda: "still 42" in lodge.guest_text("back-typed"), 30),
              "typing goes on", lodge.guest_text("back-typed"))


workstation.main(run)
