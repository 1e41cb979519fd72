# SPDX-License-Identifier: GPL-2.0-or-later
"""Checks, printed in the Test Anything Protocol that meson reads."""


class Tap:
    """Counts checks and prints them; end() prints the plan and gives the exit status."""

    def __init__(self):
        self.number = 0
        self.failed = 0

    def check(self, ok, what, detail=""):
        """One check. Of detail, the last lines are shown where it failed. Returns ok."""
        self.number += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.number} - {what}", flush=True)
        if not ok:
            for line in str(detail).splitlines()[-25:]:
                print(f"# {line}", flush=True)
        return ok

    def skip(self, what, why):
        """A check that cannot be made here."""
        self.number += 1
        print(f"ok {self.number} - {what} # SKIP {why}", flush=True)

    def end(self):
        print(f"1..{self.number}", flush=True)
        return 1 if self.failed else 0


def skip_all(why):
    """Instead of all checks. Returns the exit status."""
    print(f"1..0 # SKIP {why}", flush=True)
    return 0
