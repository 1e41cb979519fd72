#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A machine's snapshots on their screen: take, go to, delete with undo, rename, protect, the bin, runs
that are not kept, by accessibility and by keyboard; what the screen says is compared with what
lodgectl says.
snapshots.py BIN-FOLDER DEMO-ISO PICTURES-FOLDER STORE-FILL"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import workstation
from workstation import Atspi, harness


def make_files(lodgectl):
    """The machine "files", whose snapshots Before and After differ in files; False: there is no
    mke2fs."""
    mke2fs = shutil.which("mke2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if mke2fs is None:
        return False
    lodgectl("create", "files", "--memory", "64M", "--disk", "64M")
    with tempfile.TemporaryDirectory() as folder:
        tree = os.path.join(folder, "tree")
        os.mkdir(tree)
        steps = []
        for name, gone in (("old.txt", None), ("new.conf", "old.txt")):
            with open(os.path.join(tree, name), "w") as file:
                file.write(name)
            if gone:
                os.remove(os.path.join(tree, gone))
            image = os.path.join(folder, name + ".image")
            subprocess.run([mke2fs, "-q", "-F", "-t", "ext4", "-d", tree, image, "8M"], check=True,
                           stdout=subprocess.DEVNULL)
            steps += [image, "After" if gone else "Before"]
        store = os.path.join(os.environ["LODGE_HOME"], "files.lodge", "snapshots.store")
        subprocess.run([sys.argv[4], store, "disk0", *steps], check=True)
    return True


def run(tap, lodge, lodgectl, iso):
    has_files = make_files(lodgectl)
    lodgectl("create", "m", "--memory", "64M", "--disk", "64M", "--engine", "interpreter", "--set",
             "network0.mode=none")

    def nodes():
        listed = lodgectl("snapshot", "list", "m", "--json")
        return {n["name"]: n for n in json.loads(listed.stdout or "[]")}

    def becomes(what):
        return harness.wait_until(lambda: what(nodes()), 30)

    def row(name):
        return next((n for n in lodge.nodes() if n.get_role_name() in ("list item", "table row")
                     and (n.get_name() or "").startswith(name + ",")), None)

    def select(name):
        def act():
            node = row(name)
            if node is None:
                return False
            lodge.click_on(node)
            return harness.wait_until(lambda: (again := row(name)) is not None and
                                      again.get_state_set().contains(Atspi.StateType.SELECTED), 3)
        return harness.wait_until(act, 20)

    def key(chord, title="Lodge"):
        subprocess.run(["xdotool", "windowfocus", "--sync", lodge.window(title), "key", "--delay",
                        "80", chord], check=True)

    def take(name):
        return (lodge.click("Take…") and lodge.wait_for("Name", "text") is not None and
                lodge.shows("It takes up ") and
                lodge.enter("Name", name) and lodge.click("Take") and
                becomes(lambda n: name in n) and lodge.shows(name + ", level"))

    tap.check(lodge.start("m") and lodge.shows("m, Powered off"), "a machine that is off")
    tap.check(lodge.click("Snapshots") and lodge.shows("No Snapshots Yet"), "none yet",
              lodge.describe())
    lodge.picture("snapshots-none")
    tap.check(take("Clean"), "take one", lodge.describe())
    tap.check(take("Tools"), "and another", lodge.describe())
    tap.check(lodge.shows("Tools, level 2") and lodge.shows("you are here"), "the tree",
              lodge.describe())

    tap.check(select("Clean") and lodge.click("Go To") and becomes(lambda n: n["Clean"]["here"]),
              "go to the first", lodge.describe())
    tap.check(take("Other") and nodes()["Other"]["parent"] == nodes()["Clean"]["id"],
              "a branch", lodge.describe())
    lodge.picture("snapshots-tree")

    tap.check(select("Tools") and lodge.shows("Going there ") and lodge.shows("Deleting it frees "),
              "what going there and deleting it cost is said before", lodge.describe())
    tap.check(lodge.click("Delete") and becomes(lambda n: n["Tools"]["in-bin"])
              and harness.wait_until(lambda: row("Tools") is None, 20), "delete",
              lodge.describe())
    lodge.picture("snapshots-deleted")
    tap.check(lodge.click("Undo") and becomes(lambda n: not n["Tools"]["in-bin"]) and
              lodge.shows("Tools, level"), "undo", lodge.describe())

    tap.check(select("Other"), "select by pointer")
    key("Delete")
    tap.check(becomes(lambda n: n["Other"]["in-bin"]), "delete by keyboard")
    tap.check(lodge.choose("More", "Show Deleted Ones") and lodge.shows("Other, level"),
              "the bin is shown", lodge.describe())
    tap.check(select("Other") and lodge.choose("More", "Bring Back") and
              becomes(lambda n: not n["Other"]["in-bin"]), "bring back", lodge.describe())

    tap.check(select("Clean") and lodge.choose("More", "Protect") and
              becomes(lambda n: n["Clean"]["protected"]) and lodge.shows(", protected"), "protect",
              lodge.describe())
    tap.check(harness.wait_until(lambda: not lodge.is_sensitive("Delete"), 20),
              "what is protected cannot be deleted")
    select("Clean")
    key("F2")
    tap.check(lodge.wait_for("Note", "text") is not None and lodge.enter("Name", "Fresh") and
              lodge.enter("Note", "right after the installer") and lodge.click("Change") and
              becomes(lambda n: "Fresh" in n and n["Fresh"]["note"].startswith("right")),
              "rename", lodge.describe())

    for name, linked in (("whole", False), ("small", True)):
        tap.check(select("Fresh") and lodge.choose("More", "Clone…") and
                  lodge.wait_for("Name", "text") is not None and lodge.enter("Name", name) and
                  (not linked or lodge.click("Linked")), f"ask for a clone, {name}", lodge.describe())
        lodge.picture("snapshots-clone")
        tap.check(lodge.click("Clone") and lodge.shows(f"{name}, Powered off") and
                  json.loads(lodgectl("show", name, "--json").stdout)["machine.name"] == name,
                  "it is there", lodge.describe())
        lodge.click_on(lodge.find("m, Powered off"))
        tap.check(lodge.shows("Fresh, level"), "back to m", lodge.describe())
    tap.check(harness.wait_until(lambda: nodes()["Fresh"]["protected"], 20),
              "the linked one's snapshot is protected")

    def settings():
        shown = json.loads(lodgectl("show", "m", "--json").stdout)
        return [shown["snapshots." + key] for key in ("interval", "memory", "budget")]

    old = settings()
    tap.check(lodge.choose("More", "Automatic Snapshots…") and
              lodge.wait_for("Minutes Between Them", "spin button") is not None and
              lodge.click("Take Snapshots While It Runs") and
              lodge.set_value("Minutes Between Them", 45) and
              lodge.set_value("Room for Them (GiB)", 2.5), "automatic snapshots are asked about",
              lodge.describe())
    lodge.picture("snapshots-automatic")
    tap.check(lodge.click("With Memory") and lodge.click("Save") and
              harness.wait_until(lambda: settings() != old, 20), "and their settings written",
              settings())
    tap.check(settings() == ["45", "false", "2560M"], "as they were said",
              settings())

    lodgectl("start", "m")
    tap.check(lodge.shows("m, Running"), "a machine that is on", lodge.describe())
    tap.check(take("While running") and nodes()["While running"]["has-memory"] and
              lodge.shows("with memory"), "a snapshot has its memory", lodge.describe())
    lodge.picture("snapshots-running")
    tap.check(select("While running") and lodge.click("Go To") and
              lodge.shows("It goes on from that moment"), "going there asks", lodge.describe())
    lodge.picture("snapshots-go-to")
    tap.check(lodge.click("Go") and lodge.shows("m, Running"), "and the machine goes on",
              lodge.describe())
    lodgectl("stop", "m", "--force")
    tap.check(lodge.shows("m, Powered off"), "it is off", lodge.describe())

    before = nodes()
    tap.check(select("Fresh") and lodge.choose("More", "Start From It Without Keeping Changes") and
              lodge.shows("m, Running, changes are not kept"), "a run from a node that is not kept",
              lodge.describe())
    tap.check(lodge.choose("Power", "Power Off…") and lodge.shows("is thrown away"),
              "powering off says what becomes of it", lodge.describe())
    lodge.picture("snapshots-disposable")
    tap.check(lodge.click("Power Off") and lodge.shows("m, Powered off"), "and it is off",
              lodge.describe())
    tap.check(nodes() == before, "the tree is what it was", (before, nodes()))
    tap.check(lodge.choose("Machine Menu", "Start Without Keeping Changes") and
              lodge.shows("m, Running, changes are not kept"), "a run from where the machine is",
              lodge.describe())
    lodgectl("stop", "m", "--force")
    tap.check(lodge.shows("m, Powered off") and nodes() == before, "and nothing is kept",
              nodes())

    def shown(*parts):
        return all(any(part in name for name in lodge.names()) for part in parts)

    def search(text):
        key("ctrl+f", "Changes")
        return lodge.enter("Part of a path", text)

    if not has_files:
        return
    lodge.click_on(lodge.find("files, Powered off"))
    tap.check(lodge.shows("files, Powered off") and lodge.click("Snapshots") and
              lodge.shows("After, level") and select("After") and
              lodge.choose("More", "Changes…") and
              lodge.shows("disk0, Without Partitions, ext4, 2 files or folders differ") and
              shown("Added /new.conf", "Deleted /old.txt"), "which files it changed",
              lodge.describe())
    lodge.picture("snapshots-changes")
    tap.check(search("NEW") and
              harness.wait_until(lambda: not shown("Deleted /old.txt"), 20) and
              shown("disk0, Without Partitions", "Added /new.conf"), "a search in them",
              lodge.describe())
    lodge.picture("snapshots-changes-search")
    tap.check(search("nowhere") and lodge.shows("Nothing Found"),
              "a search without a result", lodge.describe())
    tap.check(lodge.click("Close") and
              harness.wait_until(lambda: lodge.find("Changes", "frame") is None, 20),
              "the view is closed", lodge.describe())
    listed = json.loads(lodgectl("snapshot", "list", "files", "--json").stdout)
    tap.check([n["protected"] for n in listed] == [False, False],
              "the snapshots are as they were", listed)


workstation.main(run)
