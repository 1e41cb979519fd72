#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""lodgectl run --serial stdio among other programs: a pipe's reader that leaves does not kill the
machine, and descriptors shared with other programs stay as they were."""
import fcntl
import os
import subprocess

import harness


def streams(tap, lodgectl):
    image = harness.floppy(lodgectl.path("keys.img"), harness.KEY_GUEST)
    stdin_read, stdin_write = os.pipe()
    run = subprocess.Popen(
        [lodgectl.program, "run", "--floppy", image, "--net", "none", "--serial", "stdio",
         "--type", "ab@3", "--timeout", "8"],
        env=lodgectl.environment, stdin=stdin_read, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True)
    line = run.stdout.readline()
    tap.check(line.startswith("READY"), "the guest's words come out", line)
    tap.check(not fcntl.fcntl(stdin_read, fcntl.F_GETFL) & os.O_NONBLOCK,
              "standard input is not made non-blocking for its other users")
    run.stdout.close()
    problems = run.stderr.read()
    tap.check(run.wait() == 124 and problems == "",
              "the guest goes on when nobody reads its words any more", (run.returncode, problems))
    os.close(stdin_read)
    os.close(stdin_write)


harness.main(streams)
