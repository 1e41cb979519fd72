# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's serial console, typed to and waited for."""
import os
import re
import subprocess
import threading


class Console:
    """The guest's serial console, for as long as one engine runs."""

    def __init__(self, lodgectl, name="m"):
        self.process = subprocess.Popen([lodgectl.program, "console", name],
                                        env=lodgectl.environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)
        self.text = ""
        self.arrived = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while chunk := os.read(self.process.stdout.fileno(), 4096):
            with self.arrived:
                self.text += chunk.decode(errors="replace").replace("\r", "")
                self.arrived.notify_all()

    def wait(self, pattern, seconds=120):
        found = None
        with self.arrived:
            self.arrived.wait_for(lambda: re.search(pattern, self.text), seconds)
            found = re.search(pattern, self.text)
        return found

    def type(self, line):
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def close(self):
        self.process.kill()
        self.process.wait()
