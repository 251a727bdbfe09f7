"""The command line in a process that kills itself: what `kills.py` and the tests start.

    python benchmarks/deadly.py WHEN NUMBER run scalar --out DIR

It is killed by SIGKILL, at once and without a word to anybody, at the moment with the given number
(from 1 on) among those that WHEN names: "flow", reports from within a gradient flow; "measured",
the first report after a measurement; the name of a file of the run folder such as "result.nc", the
steps of its being written or removed; "never", for whom something else kills. It saves at every
report, and notes on stderr what happens.
"""

import math
import os
import random
import signal
import sys
from pathlib import Path

from thalweg import cli, descent
from thalweg.flow import work_budget
from thalweg.runs import saving
from thalweg.runs.atomic_write import TEMPORARY

PREFIX = "deadly: "
BEGUN = "saving has begun"
FROM = "going on from "
KILLED = "killed "


class Killer:
    """Counts the moments, and kills at one of them."""

    def __init__(self, when: str, number: int):
        self.when, self.left = when, number

    def pass_by(self, when: str, what: str) -> None:
        """Count a moment of the kind `when`; `what` describes it."""
        if when != self.when:
            return
        self.left -= 1
        if self.left == 0:
            self.kill(what)

    def kill(self, what: str) -> None:
        """End this process."""
        note(f"{KILLED}{what}")
        os.kill(os.getpid(), signal.SIGKILL)


def note(what):
    os.write(2, f"{PREFIX}{what}\n".encode())


def target(path):
    """Return the name of the file that a path, perhaps a temporary one, stands for."""
    name = Path(path).name
    if name.startswith(TEMPORARY):
        return name.removeprefix(TEMPORARY).partition("-")[2]
    return name


def watch_files(killer):
    """Have all that makes, renames and removes files of a run folder pass by the killer."""
    replace, fsync, unlink = os.replace, os.fsync, Path.unlink

    def deadly_fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_dir():
            return fsync(descriptor)
        name = target(path)
        if name == killer.when and killer.left == 1:
            size = os.fstat(descriptor).st_size
            os.truncate(descriptor, random.Random(size).randrange(size))
        killer.pass_by(name, f"when a part of {name} was written")
        killer.pass_by(name, f"before {name} was synchronised")
        fsync(descriptor)
        killer.pass_by(name, f"after {name} was synchronised")

    def deadly_replace(source, destination):
        name = target(destination)
        killer.pass_by(name, f"before the renaming to {name}")
        replace(source, destination)
        killer.pass_by(name, f"after the renaming to {name}")

    def deadly_unlink(path, missing_ok=False):
        if not path.exists():
            return unlink(path, missing_ok=missing_ok)
        killer.pass_by(target(path), f"before the removal of {target(path)}")
        unlink(path, missing_ok=missing_ok)
        killer.pass_by(target(path), f"after the removal of {target(path)}")

    os.replace, os.fsync, Path.unlink = deadly_replace, deadly_fsync, deadly_unlink


def watch_descent(killer):
    """Have the reports of a descent pass by the killer, and note where it goes on from."""
    consider, read = saving.Saver.consider, descent.read_checkpoint
    readings = 0

    def deadly_consider(saver, progress, *, stopping):
        nonlocal readings
        first = not saver.claim.has_begun
        consider(saver, progress, stopping=stopping)
        if first:
            note(BEGUN)
        if progress.flow is not None:
            killer.pass_by("flow", "within a flow")
        elif progress.readings > readings:
            killer.pass_by("measured", "after a measurement")
        readings = progress.readings

    def noted_read(path, w0):
        found = read(path, w0)
        note(f"{FROM}{path.name}")
        return found

    saving.Saver.consider, descent.read_checkpoint = deadly_consider, noted_read


def main(when, number, arguments, share=math.inf):
    saving.INTERVAL, work_budget.REPORT_INTERVAL = 0.0, 0.05
    saving.SHARE_OF_CHECKPOINTS = saving.SHARE_OF_RESULTS = share
    killer = Killer(when, int(number))
    watch_files(killer)
    watch_descent(killer)
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
