"""Run folders: what they hold, how they are written, and how they are filled.

Nothing imported here imports JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

from thalweg.runs.contents import CHECKPOINT, CHECKPOINT_BEFORE, CONFIG, DATASET, FIGURE, SUMMARY
from thalweg.runs.folder import RunFolder
from thalweg.runs.results import Run, load
from thalweg.runs.versions import versions

if TYPE_CHECKING:
    from thalweg.runs.figure import save_run_figure

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_BEFORE",
    "CONFIG",
    "DATASET",
    "FIGURE",
    "SUMMARY",
    "Run",
    "RunFolder",
    "load",
    "save_run_figure",
    "versions",
]


def __getattr__(name: str) -> Any:
    if name == "save_run_figure":  # matplotlib is slow to import
        return importlib.import_module("thalweg.runs.figure").save_run_figure
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
