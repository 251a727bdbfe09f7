"""What a measurement was made on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
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


def processor():
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
