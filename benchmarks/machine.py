"""What a measurement was made on, and whether a start is the same as on another machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
SAME = 1e-6  # of the loss at a start: with more of a difference, it is another
PACKAGES = ("jax", "numpy", "scipy", "diffrax", "extensisq")


def machine():
    """Return processor, cores that were used, and versions; nothing that names the machine."""
    versions = {name: version(name) for name in PACKAGES}
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **versions,
    }


def is_same_start(loss, known):
    """Whether two losses are of one start: descent at the edge amplifies how a machine rounds."""
    return abs(loss - known) <= SAME * abs(known)


def processor():
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
