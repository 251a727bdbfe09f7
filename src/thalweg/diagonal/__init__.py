"""Diagonal linear networks: the flow in closed form, by the convex dual."""

from thalweg.diagonal.network import DiagonalNetwork
from thalweg.diagonal.squared_regression import SquaredRegression

__all__ = [
    "DiagonalNetwork",
    "SquaredRegression",
]


def __dir__() -> list[str]:
    return __all__
