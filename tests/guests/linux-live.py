#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Live snapshots of a Linux guest that writes to its disk and waits for it (fsync): it is taken back
to them while it runs and while it is off, under this engine and that, again and again; each time its
work goes on from that moment, and its file system is whole.

linux-live.py LODGECTL DEMO-FOLDER ROUNDS ENGINE OTHER-ENGINE"""
import gzip
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), os.path.join(os.path.dirname(HERE), "e2e")]
import harness  # noqa: E402
from guest_console import Console  # noqa: E402

if "LODGE_E2E_BUS" not in os.environ:
    os.environ["LODGE_E2E_BUS"] = "1"
    os.execvp("dbus-run-session", ["dbus-run-session", "--", sys.executable, *sys.argv])

DISK = 24 << 20
# Each step writes a file that nothing else has, waits until it is on the disk, and adds its checksum
# to a list in memory: disk and memory must be of one moment.
WORK = ("(i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); (echo $i; dd if=/dev/urandom bs=16k count=1 "
        "2>/dev/null) >/tmp/new; f=/mnt/$((i % 200)); dd if=/tmp/new of=$f bs=4k conv=fsync "
        "2>/dev/null; grep -v \" $f$\" /tmp/sums >/tmp/rest 2>/dev/null; (cat /tmp/rest; md5sum $f) "
        ">/tmp/next; mv /tmp/next /tmp/sums; echo STEP $i; sleep 0.1; done; "
        "touch /tmp/stopped) &")
CHECK = ("touch /tmp/stop; while [ ! -e /tmp/stopped ]; do sleep 0.1; done; rm /tmp/stop "
         "/tmp/stopped; sync; echo 3 >/proc/sys/vm/drop_caches; "
         "echo \"BAD$(md5sum -c /tmp/sums 2>&1 | grep -vc ': OK$') OF $(wc -l </tmp/sums)\"")


def tool(name, *arguments):
    """One of e2fsprogs, which are in no user's PATH."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    return subprocess.run([shutil.which(name, path=path) or name, *arguments], text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)


def file_system():
    """An empty ext4 on a disk, compressed."""
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"lodge-live-{os.getpid()}.img")
    try:
        with open(path, "wb") as image:
            image.truncate(DISK)
        tool("mkfs.ext4", "-q", "-F", path).check_returncode()
        with open(path, "rb") as image:
            return gzip.compress(image.read(), 1)
    finally:
        os.unlink(path)


def serve(content):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


class Guest:
    """The machine m and its console."""

    def __init__(self, tap, lodgectl):
        self.tap, self.lodgectl = tap, lodgectl
        self.console = Console(lodgectl)

    def renew(self):
        """Another engine runs it."""
        self.console.close()
        self.console = Console(self.lodgectl)

    def call(self, *words):
        result = self.lodgectl(*words, timeout=300)
        self.tap.check(result.returncode == 0, " ".join(words), result)
        return result.stdout.strip()

    def steps(self):
        with self.console.arrived:
            return [int(step) for step in re.findall(r"(?m)^STEP (\d+)$", self.console.text)]

    def works(self, what, at_most=None):
        """It makes two more steps; the first of them has a number of at most that. Returns the last
        one's."""
        before = len(self.steps())
        harness.wait_until(lambda: len(self.steps()) >= before + 2, 240)
        new = self.steps()[before:]
        good = len(new) >= 2 and (at_most is None or new[0] <= at_most)
        self.tap.check(good, what, (new, at_most, self.console.text[-1500:]))
        return new[-1] if new else 0

    def check(self, what):
        with self.console.arrived:
            before = len(re.findall(r"BAD\d+ OF", self.console.text))
        self.console.type(CHECK)
        found = self.console.wait(r"(?:BAD\d+ OF \d+[\s\S]*){%d}" % (before + 1), 180)
        last = re.findall(r"BAD(\d+) OF (\d+)", self.console.text)
        self.tap.check(found and last[-1][0] == "0" and int(last[-1][1]) > 0, what,
                       self.console.text[-1500:])


def run(tap, lodgectl):
    demo, rounds, engine, other = os.path.abspath(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
    port = serve(file_system())
    result = lodgectl("create", "m", "--memory", "160M", "--cpus", "2", "--engine", engine,
                      "--disk", f"{DISK >> 20}M",
                      "--set", "disk0.interface=virtio",
                      "--set", f"boot.kernel={demo}/vmlinuz", "--set", f"boot.initrd={demo}/initrd",
                      "--set", "boot.append=console=ttyS0,115200 quiet",
                      "--set", "network0.mode=nat", "--set", "network0.model=virtio")
    tap.check(result.returncode == 0, "create", result)
    result = lodgectl("start", "m")
    tap.check(result.returncode == 0, "start", result)
    guest = Guest(tap, lodgectl)
    tap.check(guest.console.wait("Ready", 240), "the guest is up", guest.console.text)
    time.sleep(1)
    guest.console.type(f"wget -q -O - http://10.0.2.2:{port}/ | gunzip >/dev/vda; mkdir /mnt; "
                       "mount -t ext4 /dev/vda /mnt && echo MOUNTED")
    tap.check(guest.console.wait(r"(?m)^MOUNTED$", 240), "it has an ext4", guest.console.text)
    guest.console.type(WORK)
    guest.works("it writes")

    guest.call("snapshot", "take", "m", "first")
    first = guest.works("it goes on while and after its snapshot is taken")
    for number in range(rounds):
        guest.call("snapshot", "take", "m", f"round {number}")
        last = guest.works("it goes on")
        to, at_most = ("first", first) if number % 2 else (f"round {number}", last)
        guest.call("snapshot", "goto", "m", to, "--discard")
        guest.works(f"its work goes on from where it was at \"{to}\"", at_most)
    guest.check("what it wrote is right")
    guest.console.type(WORK)
    guest.works("it writes again")

    # From off, under another engine, and back.
    # As after a power cut: the journal brings it in order, and then nothing is wrong.
    image = lodgectl.path("exported.img")
    guest.call("disk", "export", "m", image, "--node", "first", "--format", "raw")
    tool("e2fsck", "-p", image)
    found = tool("e2fsck", "-f", "-n", image)
    tap.check(found.returncode == 0, "the snapshot's file system is whole", found)

    guest.call("snapshot", "take", "m", "last")
    last = guest.works("it goes on")
    for under in (other, engine):
        guest.call("stop", "m", "--force")
        lodgectl("set", "m", f"cpu.engine={under}")
        guest.call("snapshot", "goto", "m", "last", "--discard")
        guest.call("start", "m")
        shown = json.loads(lodgectl("show", "m", "--json").stdout)
        tap.check(shown["engine"] == under, f"it runs on under {under}", shown)
        guest.renew()
        guest.works("its work goes on", last)
    guest.check("what it wrote is right")
    guest.console.type("umount /mnt && echo UNMOUNTED")
    tap.check(guest.console.wait(r"(?m)^UNMOUNTED$", 60), "it unmounts", guest.console.text[-1500:])
    nodes = json.loads(guest.call("snapshot", "list", "m", "--json"))
    tap.check(all(node["has-memory"] for node in nodes), "each has its memory", nodes)
    shared = nodes[-1]
    tap.check(shared["own"] < shared["shared"], "and shares most of it with the others", shared)


def run_and_stop(tap, lodgectl):
    try:
        run(tap, lodgectl)
    finally:
        lodgectl("stop", "m", "--force")


harness.main(run_and_stop)
