"""Gradient descent with measurements along the way."""

from thalweg.descent.checkpoint import (
    Checkpoint,
    CheckpointError,
    RunStatus,
    read_checkpoint,
    write_checkpoint,
)
from thalweg.descent.descend import descend
from thalweg.descent.labels import HeavyBall
from thalweg.descent.measured_run import LoggedReading
from thalweg.descent.measurements import Measurement, Quantity, Reading
from thalweg.descent.run import Interrupted, Progress, Run
from thalweg.descent.schedule import Refined, every, log_spaced
from thalweg.descent.sharpness import EigenStatus, GFSSharpness, Sharpness
from thalweg.descent.starts import Starts
from thalweg.descent.truncated import TruncatedSharpness

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "EigenStatus",
    "GFSSharpness",
    "HeavyBall",
    "Interrupted",
    "LoggedReading",
    "Measurement",
    "Progress",
    "Quantity",
    "Reading",
    "Refined",
    "Run",
    "RunStatus",
    "Sharpness",
    "Starts",
    "TruncatedSharpness",
    "descend",
    "every",
    "log_spaced",
    "read_checkpoint",
    "write_checkpoint",
]


def __dir__() -> list[str]:
    return __all__
