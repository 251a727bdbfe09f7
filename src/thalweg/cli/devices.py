"""What the environment asks of JAX and JAX cannot meet: one line, in place of a traceback."""

import os
import re
import subprocess
import sys

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
    """Raise a BadInputError for a flag in `XLA_FLAGS` that XLA ends the process for.

    Another process tries them, where there are any.
    """
    if not (flags := os.environ.get("XLA_FLAGS")):
        return
    with doing("trying XLA_FLAGS"):
        done = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"],
            env=os.environ | {"JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            errors="replace",
        )
    if done.returncode and (found := re.search(r"parse_flags_from_env\S*\] (.*)", done.stderr)):
        raise BadInputError(f"XLA cannot take XLA_FLAGS={flags} ({found[1]}): mend or unset it")
