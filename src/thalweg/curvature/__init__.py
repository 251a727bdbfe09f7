"""Curvature of a loss: its largest eigenvalues, with residuals, from Hessian-vector products."""

from thalweg.curvature.dense import dense_eigenpairs
from thalweg.curvature.eigenpairs import DENSE_UP_TO, sharpness, top_eigenpairs
from thalweg.curvature.lanczos import Eigenpairs, largest_eigenpairs
from thalweg.curvature.starts import random_block, warm_block

__all__ = [
    "DENSE_UP_TO",
    "Eigenpairs",
    "dense_eigenpairs",
    "largest_eigenpairs",
    "random_block",
    "sharpness",
    "top_eigenpairs",
    "warm_block",
]


def __dir__() -> list[str]:
    return __all__
