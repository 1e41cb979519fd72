#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A foreign SPICE client, virt-viewer's remote-viewer, shows the guest's screen: its window on a
private X server holds the very picture that `lodgectl screenshot` takes, and keys that it is given
reach the guest. (Our own SPICE client cannot look at the same time: it would take the connection
over.)

remote-viewer.py LODGECTL GUESTS-FOLDER"""
import json
import os
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

NEEDED = {"remote-viewer": "virt-viewer", "Xvfb": "xvfb", "dbus-run-session": "dbus",
          "import": "imagemagick", "xdotool": "xdotool"}


def missing():
    return [f"{program} ({package})" for program, package in NEEDED.items()
            if not shutil.which(program)]


def start_display():
    """An X server of our own; it chooses its number."""
    read, write = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24",
                               "-nolisten", "tcp"], pass_fds=[write], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    with os.fdopen(read) as pipe:
        number = pipe.readline().strip()
    return server, f":{number}"


def find(rows, inner, width, height):
    """Where `inner`, some rows of a picture that are not plain, lies in the screenshot."""
    first = bytes(c for pixel in inner[0] for c in pixel)
    lines = [bytes(c for pixel in row for c in pixel) for row in rows]
    for y in range(len(lines) - len(inner) + 1):
        x = lines[y].find(first)
        while x >= 0:
            at = x // 3
            if x % 3 == 0 and all(rows[y + i][at:at + width] == inner[i]
                                  for i in range(len(inner))):
                return at, y
            x = lines[y].find(first, x + 1)
    return None


def text_rows(rows):
    """Sixteen rows of pixels from the first that has ink, cut to where there is any."""
    for y, row in enumerate(rows):
        if any(pixel != (0, 0, 0) for pixel in row):
            band = rows[y:y + 12]
            width = 1 + max(x for line in band for x, pixel in enumerate(line)
                            if pixel != (0, 0, 0))
            return [line[:width] for line in band], width
    return None, 0


class Viewer:
    """remote-viewer on the private display, and what the display shows."""

    def __init__(self, lodgectl, display, socket):
        home = lodgectl.path("viewer-home")
        os.makedirs(home, exist_ok=True)
        self.lodgectl = lodgectl
        self.environment = dict(lodgectl.environment, DISPLAY=display, HOME=home,
                                GDK_BACKEND="x11", NO_AT_BRIDGE="1", XDG_CONFIG_HOME=home)
        self.environment.pop("WAYLAND_DISPLAY", None)
        self.errors = open(lodgectl.path("viewer-errors"), "w+")
        self.process = subprocess.Popen(["remote-viewer", f"spice+unix://{socket}"],
                                        env=self.environment, stdin=subprocess.DEVNULL,
                                        stdout=self.errors, stderr=self.errors)

    def picture(self):
        path = self.lodgectl.path("x.png")
        taken = subprocess.run(["import", "-window", "root", "-depth", "8", "-type", "TrueColor",
                                f"PNG24:{path}"], env=self.environment, capture_output=True)
        return self.screen_text.read_png(path)[2] if taken.returncode == 0 else []

    def keys(self, *names):
        subprocess.run(["xdotool", "search", "--onlyvisible", "--class", "remote-viewer",
                        "windowfocus", "--sync"], env=self.environment, capture_output=True,
                       timeout=20)
        subprocess.run(["xdotool", "key", "--delay", "80", *names], env=self.environment,
                       capture_output=True, timeout=20)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.seek(0)
        return self.errors.read()


def same_picture(lodgectl, viewer):
    """Waits until a line of the guest's text is on the X screen too, pixel for pixel."""
    shot = lodgectl.path("guest.png")
    place = None

    def seen():
        nonlocal place
        if viewer.process.poll() is not None:
            return True
        if lodgectl("screenshot", "m", shot).returncode != 0:
            return False
        inner, width = text_rows(viewer.screen_text.read_png(shot)[2])
        rows = viewer.picture() if inner else []
        place = find(rows, inner, width, len(inner)) if rows else None
        return place is not None
    harness.wait_until(seen, 90)
    return place


def run(tap, lodgectl):
    sys.path.insert(0, sys.argv[2])
    import screen_text
    Viewer.screen_text = screen_text
    guest = harness.floppy(lodgectl.path("guest.img"), harness.KEY_GUEST)
    result = lodgectl("create", "m", "--memory", "32M", "--engine", "interpreter",
                      "--set", f"floppy0.path={guest}", "--set", "boot.order=floppy",
                      "--set", "network0.mode=none")
    tap.check(result.returncode == 0, "create", result)
    server, display = start_display()
    viewer = None
    try:
        result = lodgectl("start", "m")
        shown = json.loads(lodgectl("show", "m", "--json").stdout)
        tap.check(result.returncode == 0 and "spice.socket" in shown, "start", result)
        viewer = Viewer(lodgectl, display, shown["spice.socket"])
        place = same_picture(lodgectl, viewer)
        tap.check(place, f"remote-viewer shows the guest's text, at {place}")
        if not tap.check(viewer.process.poll() is None, "it stays connected"):
            print("\n".join(f"# {line}" for line in viewer.end().splitlines()))
            return
        console = subprocess.Popen([lodgectl.program, "console", "m"], env=lodgectl.environment,
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            heard = press_until_heard(viewer, console)
        finally:
            console.kill()
            console.wait()
        tap.check(heard, "keys given to it reach the guest")
        said = viewer.end()
        tap.check("CRITICAL" not in said, "it has nothing to complain of", said)
        state = json.loads(lodgectl("show", "m", "--json").stdout)
        tap.check(state["state"] == "running", "the machine outlives it", state)
    finally:
        if viewer and viewer.process.poll() is None:
            viewer.end()
        lodgectl("stop", "m", "--force")
        server.send_signal(signal.SIGTERM)
        server.wait()


def press_until_heard(viewer, console):
    os.set_blocking(console.stdout.fileno(), False)
    seen = b""

    def pressed():
        nonlocal seen
        viewer.keys("x", "y", "z")
        seen += console.stdout.read() or b""
        return b"xyz" in seen
    return harness.wait_until(pressed, 30)


if missing():
    print(f"1..0 # SKIP not installed: {', '.join(missing())}")
    sys.exit(0)
if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])
harness.main(run)
