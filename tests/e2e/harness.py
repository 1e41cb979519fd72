# SPDX-License-Identifier: GPL-2.0-or-later
"""What the end-to-end scripts share: a home of their own, tiny guests."""
import os
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import Tap  # noqa: E402


class Lodgectl:
    """Runs lodgectl with a LODGE_HOME and an XDG_RUNTIME_DIR that are removed at the end."""

    def __init__(self, program):
        self.program = os.path.abspath(program)
        self.folder = tempfile.mkdtemp(prefix="lodge-e2e-")
        self.home = os.path.join(self.folder, "home")
        runtime = os.path.join(self.folder, "run")
        os.mkdir(runtime, 0o700)
        self.environment = dict(os.environ, LODGE_HOME=self.home, XDG_RUNTIME_DIR=runtime,
                                LC_ALL="C.UTF-8")

    def __call__(self, *arguments, timeout=60, **options):
        return subprocess.run([self.program, *arguments], env=self.environment, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout,
                              **options)

    def path(self, name):
        return os.path.join(self.folder, name)

    def machines(self):
        return sorted(os.listdir(self.home)) if os.path.isdir(self.home) else []

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


def wait_until(condition, seconds=30):
    """Polls; returns whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def floppy(path, code):
    """A 1440 KiB floppy whose boot sector is the given machine code."""
    with open(path, "wb") as image:
        image.write(code.ljust(510, b"\0") + b"\x55\xaa")
        image.truncate(1440 * 1024)
    return path


# Says READY on the first serial port, then sends it every key that is pressed; q powers off.
#   xor ax, ax; mov ds, ax; mov si, text
#   print: lodsb; test al, al; jz keys; mov dx, 3f8h; out dx, al; jmp print
#   keys: mov ah, 0; int 16h; cmp al, 'q'; je off; mov dx, 3f8h; out dx, al; jmp keys
#   off: mov dx, 604h; mov ax, 2000h; out dx, ax; jmp keys
KEY_GUEST = bytes.fromhex("31c0 8ed8 be2e7c ac 84c0 7406 baf803 ee ebf5"
                          "b400 cd16 3c71 7406 baf803 ee ebf2"
                          "ba0406 b80020 ef ebe9".replace(" ", "")).ljust(0x2e, b"\x90") + b"READY\r\n\0"


def main(run):
    """Calls run(tap, lodgectl) with lodgectl's path from the command line."""
    tap = Tap()
    lodgectl = Lodgectl(sys.argv[1])
    try:
        run(tap, lodgectl)
    finally:
        lodgectl.remove()
    sys.exit(tap.end())
