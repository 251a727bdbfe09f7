"""How long the program says nothing: on a terminal, and into a file.

    python benchmarks/silence.py [SECONDS]

Each command is run twice, for at most so many seconds (60): on a pseudo-terminal, and with its
output in a file. Of each the time to the first output is told and the longest time without any,
beside the seconds of processor that it had: on a machine that others use, wall-clock time is more.
Nothing is kept compiled, as for somebody who runs it for the first time.
"""

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

THALWEG = [sys.executable, "-m", "thalweg.cli"]
FLOW = """
import jax
import thalweg as tw
from thalweg.experiments import Network
jax.config.update("jax_enable_x64", True)
problem, w = Network(architecture="transformer").build()
print("begins", flush=True)
tw.gradient_flow_solution(problem, w, report=tw.progress())
"""
NETWORK = [*THALWEG, "run", "network", "--architecture", "transformer"]
COMMANDS = {  # `{}` is a folder of its own; the flow counts from its first line on
    "run network --architecture transformer": [*NETWORK, "--out", "{}"],
    "resume": [*THALWEG, "resume", "{}"],
    "reproduce --quick": [*THALWEG, "reproduce", "--quick", "--out", "{}"],
    "gradient_flow_solution(report=tw.progress())": [sys.executable, "-c", FLOW],
}


def outputs(command, seconds, *, terminal):
    """Yield the moments of all outputs, the beginning first and the end last."""
    reading, writing = pty.openpty() if terminal else os.pipe()
    yield time.monotonic()
    # A pipe is no terminal either, and tells at once what would be written to a file.
    process = subprocess.Popen(command, stdout=writing, stderr=writing, start_new_session=True)
    os.close(writing)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not select.select([reading], [], [], left)[0]:
            break
        try:
            if not os.read(reading, 65536):
                break
        except OSError:  # what a terminal says at its end
            break
        yield time.monotonic()
    yield time.monotonic()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.close(reading)


def measured(command, seconds, *, terminal):
    """Return seconds to the first output, the longest silence, all seconds, and of processor."""
    before, preparing = os.times(), 60 if FLOW in command else 0
    moments = list(outputs(command, seconds + preparing, terminal=terminal))
    if preparing:  # counted from where it says that it begins
        moments = moments[1:]
    after = os.times()
    gaps = [b - a for a, b in pairwise(moments)]
    spent = sum(after[2:4]) - sum(before[2:4])
    return gaps[0], max(gaps), moments[-1] - moments[0], spent


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print(f"{'':45} {'':8} {'first':>6} {'longest':>8} {'of':>5} {'processor':>10} {'load':>5}")
    with tempfile.TemporaryDirectory() as scratch:
        for where in ("terminal", "file"):
            for name, words in COMMANDS.items():
                folder = Path(scratch) / where / ("all" if "reproduce" in name else "run")
                command = [word.format(folder) for word in words]
                found = measured(command, seconds, terminal=where == "terminal")
                numbers = "{:6.2f} {:8.2f} {:5.0f} {:10.1f}".format(*found)
                print(f"{name:45} {where:8} {numbers} {os.getloadavg()[0]:5.1f}", flush=True)


if __name__ == "__main__":
    main()
