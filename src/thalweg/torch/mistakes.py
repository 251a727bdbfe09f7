"""What is wrong with a model, in one line that names the place in its source."""

import os
import sysconfig
import traceback
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path


class ModelError(ValueError):
    """A mistake that has been put into words already."""


@cache
def _library_folders() -> tuple[str, ...]:
    """Return where nobody looks for a mistake of the model: frameworks, and Python itself."""
    specs = map(find_spec, ("torch", "torchax", "jax", "jaxlib", "numpy", "equinox"))
    folders = [one for spec in specs if spec for one in spec.submodule_search_locations or ()]
    return (*folders, str(Path(__file__).parent))


def _is_users(path: str) -> bool:
    standard = sysconfig.get_path("stdlib")
    return not (
        path.startswith(("<frozen", *(folder + os.sep for folder in _library_folders())))
        or (path.startswith(standard + os.sep) and "site-packages" not in path)
    )


def place(calls: Iterable[tuple[str, int]]) -> str:
    """Return ` (file:line)` of the last call, given as file and line, in the user's source."""
    users = [(path, line) for path, line in calls if _is_users(path)]
    return f" ({users[-1][0]}:{users[-1][1]})" if users else ""


def place_of(error: BaseException) -> str:
    """Return where in the user's source an exception comes from."""
    frames = traceback.walk_tb(error.__traceback__)
    return place((frame.f_code.co_filename, line) for frame, line in frames)


def first_line(error: BaseException) -> str:
    """Return an exception in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
