#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo guest under `lodgectl run`: from ISO and by --kernel, network, disks, CPUs, power-off.

linux.py LODGECTL DEMO-FOLDER ENGINE SCENARIO, SCENARIO one of: iso devices smp"""
import hashlib
import http.server
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from tap import Tap  # noqa: E402

PAGE = b"A page from the host's loopback.\n" * 1000


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *arguments):
        pass


def serve():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def run(lodgectl, *arguments, timeout=300):
    result = subprocess.run([lodgectl, "run", "--display", "none", "--serial", "stdio",
                             "--timeout", str(timeout), *arguments],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            errors="replace", timeout=timeout + 60)
    return result.returncode, result.stdout.replace("\r", ""), result.stderr


def kernel(demo, append):
    return ["--kernel", f"{demo}/vmlinuz", "--initrd", f"{demo}/initrd",
            "--append", f"console=ttyS0,115200 quiet {append}"]


def iso(tap, lodgectl, demo, engine):
    process = subprocess.Popen([lodgectl, "run", "--iso", f"{demo}/demo.iso", "--memory", "256M",
                                "--engine", engine, "--display", "none", "--serial", "stdio",
                                "--timeout", "300"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = b""
    while chunk := os.read(process.stdout.fileno(), 4096):
        text += chunk
        if b"Ready." in text:
            break
    tap.check(b"Ready." in text, "the demo ISO boots to its prompt", text.decode(errors="replace"))
    time.sleep(2)
    try:
        process.stdin.write(b"echo $((6 * 7)) is typed; poweroff -f\n")
        process.stdin.flush()
    except BrokenPipeError:
        pass
    text += process.communicate()[0]
    tap.check(b"42 is typed" in text, "it answers to the serial console",
              text.decode(errors="replace"))
    tap.check(process.returncode == 0, f"it powers off with status 0 ({process.returncode})",
              text.decode(errors="replace"))


def devices(tap, lodgectl, demo, engine):
    with tempfile.TemporaryDirectory() as folder:
        empty = os.path.join(folder, "empty.raw")
        with open(empty, "wb") as image:
            image.truncate(16 << 20)
        disks = [os.path.join(folder, name) for name in ("virtio.qcow2", "ide.vdi")]
        for path in disks:
            subprocess.run([lodgectl, "disk", "convert", empty, path], check=True,
                           stderr=subprocess.DEVNULL)
        status, out, err = run(
            lodgectl, *kernel(demo, f"fetch=http://10.0.2.2:{serve()}/page disktest poweroff"),
            "--memory", "256M", "--engine", engine, "--net", "nat",
            "--set", "network0.model=virtio", "--set", "disk0.interface=virtio",
            "--disk", disks[0], "--disk", disks[1])
        detail = out + err
        tap.check(status == 0, f"it powers off with status 0 ({status})", detail)
        tap.check("ADDRESS 10.0.2.15" in out, "it gets an address by DHCP", detail)
        tap.check(f"FETCHED {hashlib.sha256(PAGE).hexdigest()}" in out,
                  "it fetches a page from the host's loopback through NAT", detail)
        tap.check("DISK /dev/vda ok" in out, "a virtio disk keeps what is written", detail)
        tap.check("DISK /dev/sda ok" in out, "an IDE disk keeps what is written", detail)
        sums = set()
        for path in disks:
            subprocess.run([lodgectl, "disk", "convert", path, path + ".raw"],
                           stderr=subprocess.DEVNULL)
            sums.add(hashlib.sha256(open(path + ".raw", "rb").read(2 << 20)).hexdigest())
            check = subprocess.run([lodgectl, "disk", "check", path], capture_output=True,
                                   text=True)
            tap.check(check.returncode == 0, f"{os.path.basename(path)} is sound",
                      check.stdout + check.stderr)
        tap.check(len(sums) == 1, "both images hold the same bytes on the host")


def smp(tap, lodgectl, demo, engine):
    for cpus in (1, 2, 4):
        status, out, err = run(lodgectl, *kernel(demo, "poweroff"), "--memory", "256M",
                               "--engine", engine, "--net", "none", "--cpus", str(cpus))
        seen = re.search(r"CPUS (\d+)", out)
        tap.check(status == 0 and seen and int(seen.group(1)) == cpus,
                  f"it sees {cpus} CPUs", out + err)


def main():
    lodgectl, demo, engine, scenario = sys.argv[1:5]
    tap = Tap()
    {"iso": iso, "devices": devices, "smp": smp}[scenario](tap, os.path.abspath(lodgectl), demo,
                                                            engine)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
