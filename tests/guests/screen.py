#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots a real guest as a user would (lodgectl create, start, key) and waits for what its screen,
seen by a SPICE client, must show; prints TAP. Needs a session bus: run it under dbus-run-session.

screen.py LODGECTL SPICE-SHOT SCENARIO MEDIUM ENGINE [--pictures FOLDER]
MEDIUM installer-amd64 and installer-i386 are made from the packages."""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import screen_text  # noqa: E402
import tap  # noqa: E402

# Steps: ("wait", pattern, seconds); ("advance", chord, pattern, seconds): the key, once per screen,
# until the pattern is there; ("moves", chord, seconds): the key changes the screen; ("type", text).
# A '?' on the screen (a glyph of another font) matches any character of a pattern's word.
SCENARIOS = {
    "installer": dict(option="--iso", memory="512M", steps=[
        ("wait", "Low memory|Choose language|Select a language", 240),
        ("advance", "enter",
         "Debian installer main menu|Choose the next step|Select your location|continent", 240),
        ("moves", "down", 60),
        ("moves", "enter", 120),
    ]),
    "memtest": dict(option="--iso", memory="64M", steps=[
        ("wait", "Memtest86", 120),
        ("wait", "Pass|Test", 120),
    ]),
    "grub": dict(option="--iso", memory="64M", steps=[
        ("wait", "GNU GRUB", 60),
        ("type", "c"),
        ("wait", "grub>", 30),
        ("type", "ls\n"),
        ("wait", r"\(cd\)", 30),
        ("type", "insmod vbe\n"),
        ("type", "videoinfo\n"),
        ("wait", r"\d+ x +\d+ x +32", 30),
    ]),
    "ipxe": dict(option="--iso", memory="64M", steps=[
        ("wait", "iPXE", 60),
        ("wait", r"Configuring \(net0.*ok", 120),
        ("wait", r"net0: 10\.0\.2\.15", 30),
    ]),
}


class Machine:
    def __init__(self, lodgectl, spice_shot, pictures):
        self.lodgectl = lodgectl
        self.spice_shot = spice_shot
        self.socket = None
        self.pictures = pictures
        self.count = 0
        self.name = "screen-test"
        self.folder = tempfile.mkdtemp(prefix="lodge-screen-")
        self.environment = dict(os.environ, LODGE_HOME=self.folder,
                                XDG_RUNTIME_DIR=os.path.join(self.folder, "run"))
        os.mkdir(self.environment["XDG_RUNTIME_DIR"], 0o700)

    def call(self, *arguments, check=True):
        result = subprocess.run([self.lodgectl, *arguments], env=self.environment,
                                capture_output=True, text=True, timeout=60)
        if check and result.returncode:
            raise RuntimeError(f"lodgectl {' '.join(arguments)}: {result.stderr.strip()}")
        return result

    def picture(self):
        """What a SPICE client sees, as the bytes of a PNG."""
        self.screen()
        with open(os.path.join(self.pictures, "now.png"), "rb") as file:
            return file.read()

    def screen(self):
        """What a SPICE client sees, as text."""
        if not self.socket:
            shown = self.call("show", self.name, "--json", check=False).stdout
            self.socket = json.loads(shown or "{}").get("spice.socket")
        path = os.path.join(self.pictures, "now.png")
        shot = subprocess.run([self.spice_shot, "--socket", self.socket or "", "--out", path],
                              capture_output=True, text=True, timeout=60)
        return screen_text.text_of(path) if shot.returncode == 0 else []

    def keep_picture(self, label):
        self.count += 1
        now = os.path.join(self.pictures, "now.png")
        if os.path.exists(now):
            shutil.copy(now, os.path.join(self.pictures, f"{self.count}-{label}.png"))

    def close(self):
        self.call("stop", self.name, "--force", check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def matches(pattern, lines):
    """Whether a line matches; an unread glyph stands for any letter."""
    for alternative in pattern.split("|"):
        plain = re.fullmatch(r"[\w :,]+", alternative)
        expression = "".join(f"[{re.escape(c)}?]" if c.isalpha() else re.escape(c)
                             for c in alternative) if plain else alternative
        if any(re.search(expression, line) for line in lines):
            return True
    return False


def show(lines):
    for line in lines:
        if line.strip():
            print(f"# {line}")


def wait_for(machine, pattern, seconds):
    end = time.monotonic() + seconds
    lines = []
    while time.monotonic() < end:
        lines = machine.screen()
        if lines and matches(pattern, lines):
            return True
        time.sleep(1)
    show(lines)
    return False


def advance(machine, chord, pattern, seconds):
    """Answers one dialog after another with the key, each when it has come to rest: which dialogs
    there are depends on the guest's memory."""
    end = time.monotonic() + seconds
    lines = answered = []
    pressed = 0
    while time.monotonic() < end:
        before, lines = lines, machine.screen()
        if lines and matches(pattern, lines):
            return True
        if lines and lines == before and (lines != answered or time.monotonic() > pressed + 20):
            machine.call("key", machine.name, chord)
            answered, pressed = lines, time.monotonic()
        time.sleep(1)
    show(lines)
    return False


def moves(machine, chord, seconds):
    """Whether the key changes what a SPICE client sees, be it only the highlighted line."""
    before = machine.picture()
    machine.call("key", machine.name, chord)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if machine.picture() != before:
            return True
        time.sleep(1)
    return False


def make_installer(name, folder):
    """The ISO of the packaged Debian installer, or its script's word on what is missing."""
    output = os.path.join(folder, name + ".iso")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "make-installer-iso.sh")
    made = subprocess.run([script, name.removeprefix("installer-"), output], capture_output=True,
                          text=True)
    return output if made.returncode == 0 else made.stderr.strip()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lodgectl")
    parser.add_argument("spice_shot")
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("medium")
    parser.add_argument("engine")
    parser.add_argument("--pictures")
    options = parser.parse_args()
    scenario = SCENARIOS[options.scenario]
    pictures = options.pictures or tempfile.mkdtemp(prefix="lodge-pictures-")
    os.makedirs(pictures, exist_ok=True)
    if options.medium.startswith("installer-"):
        options.medium = make_installer(options.medium, pictures)
    if not os.path.exists(options.medium):
        return tap.skip_all(f"{options.medium} is not there; ./dev test installs its package")
    machine = Machine(os.path.abspath(options.lodgectl), os.path.abspath(options.spice_shot),
                      pictures)
    checks = tap.Tap()
    try:
        machine.call("create", machine.name, scenario["option"], os.path.abspath(options.medium),
                     "--memory", scenario["memory"], "--engine", options.engine)
        machine.call("start", machine.name)
        for step in scenario["steps"]:
            if step[0] == "wait":
                ok = wait_for(machine, step[1], step[2])
                what = f"the screen shows {step[1]}"
            elif step[0] == "advance":
                ok = advance(machine, step[1], step[2], step[3])
                what = f"{step[1]} leads to {step[2]}"
            elif step[0] == "moves":
                ok = moves(machine, step[1], step[2])
                what = f"{step[1]} changes the screen"
            else:
                ok = machine.call(step[0], machine.name, step[1], check=False).returncode == 0
                what = f"{step[0]} {step[1].strip()}"
            machine.keep_picture(options.scenario)
            if not checks.check(ok, what):
                break
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        checks.check(False, scenario["option"] + " " + options.medium, error)
    finally:
        machine.close()
    return checks.end()


sys.exit(main())
