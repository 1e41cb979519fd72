# SPDX-License-Identifier: GPL-2.0-or-later
"""The program lodge on a screen and a session bus of its own, driven as a person with assistive
technology does: by role and name (AT-SPI), and with real key presses (xdotool)."""
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guests"))
import harness
import screen_text

SCREEN = "1400x900x24"
# What can be activated. A button's label has its name, too.
ACTIVE = ("push button", "toggle button", "check box", "radio button", "menu item",
          "radio menu item", "check menu item", "page tab")


def private_session():
    """Starts this script again under an X server and a session bus of its own."""
    if "LODGE_UI_SESSION" in os.environ:
        os.dup2(int(os.environ["LODGE_UI_STDOUT"]), 1)
        return
    home = tempfile.mkdtemp(prefix="lodge-ui-")
    environment = dict(os.environ, LODGE_UI_SESSION=home, HOME=home, GDK_BACKEND="x11",
                       GSK_RENDERER="cairo", GSETTINGS_BACKEND="memory", NO_AT_BRIDGE="0",
                       XDG_RUNTIME_DIR=os.path.join(home, "run"), LC_ALL="C.UTF-8")
    for name in ("GTK_A11Y", "WAYLAND_DISPLAY", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
                 "XDG_CACHE_HOME", "DBUS_SESSION_BUS_ADDRESS", "AT_SPI_BUS_ADDRESS"):
        environment.pop(name, None)
    os.mkdir(environment["XDG_RUNTIME_DIR"], 0o700)
    # Xvfb looks for a free display itself; xvfb-run's way of doing that is a race.
    ours, theirs = os.pipe()
    server = subprocess.Popen(["Xvfb", "-displayfd", str(theirs), "-screen", "0", SCREEN,
                               "-nolisten", "tcp", "-noreset"], pass_fds=[theirs],
                              stderr=subprocess.DEVNULL)
    os.close(theirs)
    with os.fdopen(ours) as reader:
        environment["DISPLAY"] = ":" + reader.readline().strip()
    # Services that the bus starts write to its standard output, which must not be ours.
    output = os.dup(1)
    environment["LODGE_UI_STDOUT"] = str(output)
    result = subprocess.run(["dbus-run-session", "--", sys.executable, *sys.argv], env=environment,
                            pass_fds=[output], stdout=subprocess.DEVNULL,
                            stderr=subprocess.DEVNULL)
    server.terminate()
    server.wait()
    shutil.rmtree(home, ignore_errors=True)
    sys.exit(result.returncode)


class Workstation:
    """One run of lodge. pictures: the folder for screenshots."""

    def __init__(self, lodge, pictures, log):
        self.program = os.path.abspath(lodge)
        self.pictures = pictures
        self.log = log
        self.process = None

    def start(self, *arguments):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen([self.program, *arguments], stdout=log, stderr=log)
        return harness.wait_until(lambda: self.application() is not None, 20)

    def kill(self):
        """Without a chance to tidy up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        harness.wait_until(lambda: self.application() is None, 10)

    def application(self):
        desktop = Atspi.get_desktop(0)
        for i in range(desktop.get_child_count()):
            child = desktop.get_child_at_index(i)
            try:
                if child and child.get_process_id() == self.process.pid:
                    return child
            except GLib.Error:
                pass
        return None

    def nodes(self):
        """Every accessible of the program that may be visible, outermost first."""
        application = self.application()
        waiting = [application] if application else []
        for node in waiting:
            try:
                if node is application:
                    node.set_cache_mask(Atspi.Cache.NONE)
                elif not node.get_state_set().contains(Atspi.StateType.VISIBLE):
                    continue
                yield node
                waiting += [node.get_child_at_index(i) for i in range(node.get_child_count())]
            except (GLib.Error, AttributeError):
                pass  # gone meanwhile

    def matches(self, name, *roles):
        """The visible accessibles of that name (and one of the roles)."""
        for node in self.nodes():
            try:
                # A button's name is said twice, with and without the mnemonic: "_Next Next".
                said = node.get_name() or ""
                if ((said == name or said.endswith(" " + name)) and
                        (not roles or node.get_role_name() in roles)):
                    yield node
            except GLib.Error:
                pass

    def find(self, name, *roles):
        """The first of them, or None."""
        return next(self.matches(name, *roles), None)

    def wait_for(self, name, *roles, seconds=30):
        found = []
        harness.wait_until(lambda: found.append(self.find(name, *roles)) or found[-1], seconds)
        return found[-1] if found else None

    def shows(self, part, seconds=30):
        """Whether a visible accessible's name contains this."""
        return harness.wait_until(lambda: any(part in name for name in self.names()), seconds)

    def names(self):
        for node in self.nodes():
            try:
                yield node.get_name() or ""
            except GLib.Error:
                pass

    def click(self, name, seconds=30):
        """Activates what has that name, once it can be; returns whether that worked."""
        def act():
            # A menu button's outer half has its name, but no action.
            for node in self.matches(name, *ACTIVE):
                action = node.get_action_iface()
                if (node.get_state_set().contains(Atspi.StateType.SENSITIVE) and
                        action is not None and action.get_n_actions() > 0):
                    return action.do_action(0)
            return False
        return harness.wait_until(act, seconds)

    def is_sensitive(self, name):
        node = self.find(name, *ACTIVE)
        return node is not None and node.get_state_set().contains(Atspi.StateType.SENSITIVE)

    def enter(self, name, text):
        """Puts text into the entry of that name."""
        node = self.wait_for(name, "text", "entry", "spin button")
        editable = node.get_editable_text_iface() if node else None
        return editable is not None and editable.set_text_contents(text)

    def set_value(self, name, value):
        """Sets the number of the spin button of that name."""
        node = self.wait_for(name, "spin button")
        iface = node.get_value_iface() if node else None
        return iface is not None and iface.set_current_value(value)

    def choose(self, menu, item):
        """Opens the menu and activates an item of it."""
        return self.click(menu) and self.click(item)

    def window(self, title="Lodge"):
        """X's number of the window of that title; there is no window manager to ask. Popovers'
        windows have the title, too, and came later."""
        found = subprocess.run(["xdotool", "search", "--onlyvisible", "--pid",
                                str(self.process.pid), "--name", f"^{title}$"],
                               capture_output=True, text=True).stdout.split()
        return min(found, key=int) if found else None

    def display_area(self):
        """Where the guest's display is on the screen: x, y, width, height."""
        return self.area(self.find("Virtual machine display"))

    def click_on(self, node):
        """The pointer, in the middle of what has no action of its own."""
        x, y, width, height = self.area(node)
        subprocess.run(["xdotool", "windowfocus", "--sync", self.window(), "mousemove",
                        str(x + width // 2), str(y + height // 2), "click", "1"], check=True)

    def area(self, node):
        """Where it is on the screen: x, y, width, height."""
        def place(node):
            return node.get_component_iface().get_extents(Atspi.CoordType.WINDOW)

        frame = place(self.find("Lodge", "frame"))
        shell = subprocess.run(["xdotool", "getwindowgeometry", "--shell", self.window()],
                               capture_output=True, text=True).stdout
        window = dict(line.split("=") for line in shell.split())
        # The window's own border, which accessible coordinates leave out.
        left = (int(window["WIDTH"]) - frame.width) // 2 + int(window["X"])
        top = (int(window["HEIGHT"]) - frame.height) // 2 + int(window["Y"])
        area = place(node)
        return area.x + left, area.y + top, area.width, area.height

    def press(self, *arguments):
        """xdotool's key or type, into the guest."""
        x, y, width, height = self.display_area()
        subprocess.run(["xdotool", "windowfocus", "--sync", self.window(), "mousemove",
                        str(x + width // 2), str(y + height // 2), "click", "1", *arguments],
                       check=True)

    def type(self, line):
        """A line and Enter."""
        self.press("type", "--delay", "60", line)
        self.press("key", "--delay", "60", "Return")

    def guest_picture(self, name, size):
        """The middle of the display, where a guest's picture of this size is at scale 1."""
        x, y, width, height = self.display_area()
        left, top = x + (width - size[0]) // 2, y + (height - size[1]) // 2
        path = os.path.join(self.pictures, name + ".png")
        whole = self.picture(name + "-screen", settled=False)
        subprocess.run(["convert", whole, "-crop", f"{size[0]}x{size[1]}+{left}+{top}", "+repage",
                        "PNG24:" + path], check=True)
        return path

    def guest_text(self, name, size=(720, 400)):
        """What can be read in the guest's picture on the X screen."""
        return "\n".join(screen_text.text_of(self.guest_picture(name, size)))

    def describe(self):
        lines = []
        for node in self.nodes():
            try:
                lines.append(f"{node.get_role_name()} '{node.get_name()}'")
            except GLib.Error:
                pass
        return "\n".join(lines)

    def picture(self, name, settled=True):
        """Stores what is on the screen, once animations are over."""
        if settled:
            time.sleep(0.6)
        path = os.path.join(self.pictures, name + ".png")
        subprocess.run(["import", "-window", "root", path], check=True)
        return path


def main(run):
    """Calls run(tap, lodge, lodgectl, iso); see wizard.py for the command line."""
    private_session()
    programs, iso, pictures = sys.argv[1:4]
    os.makedirs(pictures, exist_ok=True)
    session = os.environ["LODGE_UI_SESSION"]
    os.environ["LODGE_HOME"] = os.path.join(session, "machines")
    tap = harness.Tap()
    lodgectl = harness.Lodgectl(os.path.join(programs, "lodgectl"))
    lodgectl.environment = os.environ
    log = os.path.join(pictures, "lodge.log")
    open(log, "w").close()
    lodge = Workstation(os.path.join(programs, "lodge"), pictures, log)
    try:
        run(tap, lodge, lodgectl, os.path.abspath(iso))
        with open(log) as file:
            said = file.read()
        tap.check("CRITICAL" not in said and "WARNING" not in said, "nothing to complain about",
                  said)
    except Exception:
        tap.check(False, "the test runs to its end", traceback.format_exc())
    finally:
        for name in [m.removesuffix(".lodge") for m in os.listdir(os.environ["LODGE_HOME"])]:
            lodgectl("stop", name, "--force")
        lodge.kill()
        lodgectl.remove()
    sys.exit(tap.end())
