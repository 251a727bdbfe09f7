"""Gradient descent with measurements along the way."""

from thalweg.descent.descend import descend
from thalweg.descent.measurements import Measurement, Quantity, Reading
from thalweg.descent.run import Progress, Run, RunStatus
from thalweg.descent.sharpness import GFSSharpness, Sharpness

__all__ = [
    "GFSSharpness",
    "Measurement",
    "Progress",
    "Quantity",
    "Reading",
    "Run",
    "RunStatus",
    "Sharpness",
    "descend",
]
