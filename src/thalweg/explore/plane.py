"""The plane of a scalar network of depth two and target 1: flow lines, φ, and the minima."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from thalweg.scalar.network import ScalarNetwork


def flow_lines(
    w: NDArray[np.float64], limit: NDArray[np.float64], points: int = 24
) -> NDArray[np.float64]:
    """Return the flow lines from points `(N, 2)` to their limits, shape `(N, points, 2)`.

    Along the flow the product `p` goes from that of the start to that of the limit, and
    `b = |x² - y²|` stays: the larger coordinate, which keeps its sign, has the square
    `(b + √(b² + 4p²))/2`, and the other one is `p` over it.
    """
    share = np.linspace(0, 1, points)
    products = np.prod(w, axis=1)[:, None] * (1 - share) + np.prod(limit, axis=1)[:, None] * share
    first = np.abs(w[:, :1]) >= np.abs(w[:, 1:])
    larger = np.where(first, w[:, :1], w[:, 1:])
    balance = np.abs((w[:, :1] - w[:, 1:]) * (w[:, :1] + w[:, 1:]))
    size = np.sqrt((balance + np.sqrt(balance**2 + 4 * products**2)) / 2)
    large = np.where(larger < 0, -size, size)
    small = np.divide(products, large, out=np.zeros_like(large), where=size > 0)
    lines: NDArray[np.float64] = np.stack(
        [np.where(first, large, small), np.where(first, small, large)], axis=2
    )
    lines[:, 0], lines[:, -1] = w, limit  # exactly
    return lines


def gfs_map(extent: float, points: int) -> NDArray[np.float64]:
    """Return φ on a square grid over `[-extent, extent]²`: rows are the second coordinate.

    The diagonals, which hold saddles, have the value 2 that φ tends to there.
    """
    axis = np.linspace(-extent, extent, points)
    starts = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    found = ScalarNetwork(2).flow_limits(starts)
    values: NDArray[np.float64] = np.where(found.is_saddle, 2.0, found.sharpness)
    return values.reshape(points, points)


def minima(
    extent: float, threshold: float, points: int = 200
) -> list[tuple[NDArray[np.float64], bool]]:
    """Return the minima `x y = 1` of the square as curves, each with whether it is stable there.

    A minimum is stable where its sharpness `x² + 1/x²` is below the threshold `2/η`.
    """
    ends = [1 / extent, extent]
    if threshold > 2:
        half = np.sqrt(threshold + 2) / 2
        at = half - np.sqrt(half**2 - 1), half + np.sqrt(half**2 - 1)
        ends[1:1] = [x for x in at if ends[0] < x < extent]
    curves = []
    for left, right in pairwise(ends):
        x = np.geomspace(left, right, points)
        middle = np.sqrt(left * right)
        stable = bool(middle**2 + middle**-2 < threshold)
        curve = np.stack([x, 1 / x], axis=1)
        curves += [(curve, stable), (-curve, stable)]
    return curves
