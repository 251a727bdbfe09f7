"""What the environment asks of JAX and JAX cannot meet: one line, in place of a traceback."""

import os
import re
import subprocess
import sys
from functools import cache

from thalweg.basics.activity import doing
from thalweg.cli.mistakes import BadInputError

_SETTINGS = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_NUM_CPU_DEVICES", "CUDA_VISIBLE_DEVICES")


def no_device(error: Exception) -> BadInputError:
    """Return what to tell where JAX has found no device."""
    asked = [f"{name}={os.environ[name]}" for name in _SETTINGS if name in os.environ]
    said = str(error).partition("\n")[0]
    return BadInputError(
        f"JAX finds no device{' with ' if asked else ''}{' '.join(asked)}"
        f"{f' ({said})' if said else ''}: unset what is wrong of it, or set JAX_PLATFORMS to cpu"
    )


def ask_for(devices: int) -> None:
    """Have JAX make so many devices of the processor, where nothing else is said."""
    if devices > 1:
        os.environ.setdefault("JAX_NUM_CPU_DEVICES", str(devices))


def check_flags() -> None:
    """Raise a BadInputError for a flag in `XLA_FLAGS` that XLA ends the process for."""
    if (flags := os.environ.get("XLA_FLAGS")) and (why := _why_refused(flags)):
        raise BadInputError(f"XLA cannot take XLA_FLAGS={flags} ({why}): mend or unset it")


@cache
def _why_refused(flags: str) -> str | None:
    """Return what XLA says of flags that it refuses, when another process tries them."""
    with doing("trying XLA_FLAGS"):
        done = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
            capture_output=True,
            text=True,
            errors="replace",
        )
    found = re.search(r"parse_flags_from_env\S*\] (.*)", done.stderr)
    return found[1] if done.returncode and found else None
