"""Where curvature jumps at the limit of a flow: the sharpness on the sides of the limit.

At the edge of a flat minimum (a squared hinge) the Hessian jumps, on a kink (ReLU) the gradient.
Which side of the limit is the flow's own depends on less than an integration can resolve; what can
be computed is the sharpness on each side.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.curvature import top_eigenpairs
from thalweg.flow.step import value_and_gradient
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import norm

Floats = NDArray[np.float64]

DIRECTIONS = 3  # of second differences of the gradient,
HALVINGS = 2 * np.arange(6)  # and of their displacement
SMOOTH = 8.0, 100.0  # two halvings divide a smooth gradient's by 16 (64 by symmetry)
ROUNDING = 16.0  # units of rounding of the gradient, below which nothing is seen
RANDOM = 4  # pairs of sides opposite each other, and as many where the gradient leads from them
ASCENTS = 6


class SharpnessRange(NamedTuple):
    """The lowest and the highest sharpness beside a point, and the work of finding them."""

    lowest: float
    highest: float
    work: float


def _second_differences(problem: FlatProblem, w: Array) -> tuple[Floats, float]:
    """Return `|g(w + d) - 2 g(w) + g(w - d)|`, shape `(DIRECTIONS, HALVINGS)`, and rounding."""
    random = np.random.default_rng(2)
    directions = _units(random.standard_normal((DIRECTIONS, w.size)))
    here = _gradient(problem, w)

    def size(d: Floats) -> float:
        both = _gradient(problem, _displaced(w, d)) + _gradient(problem, _displaced(w, -d))
        return norm(both - 2 * here)

    distances = _longest(w) / 2.0**HALVINGS
    found = [[size(distance * d) for distance in distances] for d in directions]
    signs = random.choice([-1.0, 1.0], w.size)
    jittered = _displaced(w, 4 * float(jnp.finfo(w.dtype).eps) * signs * np.asarray(w))
    return np.asarray(found), norm(_gradient(problem, jittered) - here)


def _gradient(problem: FlatProblem, w: Array) -> Floats:
    return np.asarray(value_and_gradient(problem, w)[1], float)


def _displaced(w: Array, d: Floats) -> Array:
    return jnp.asarray(np.asarray(w) + d.astype(w.dtype))


def _longest(w: Array) -> float:
    unit: float = float(jnp.finfo(w.dtype).eps) ** 0.25
    return unit * norm(w)


def nearest_jump(problem: FlatProblem, w: Array) -> tuple[float, float]:
    """Return how close to `w` the Hessian, or the gradient, is seen to jump, and the work of that.

    Infinity where they do not, within a ten-thousandth of `|w|`. The second difference
    of a smooth gradient falls by four when the displacement is halved, by two where its slope jumps
    at `w`, not at all where it jumps itself, and vanishes suddenly where either jumps beside `w`.

    Examples
    --------
    >>> from thalweg.problems import flatten
    >>> at_edge = jnp.array([1.0, 1.0])
    >>> bool(nearest_jump(*flatten(lambda w: jnp.maximum(0, 1 - w[0] * w[1]) ** 2, at_edge))[0] < 1)
    True
    >>> nearest_jump(*flatten(lambda w: (1 - w[0] * w[1]) ** 2, at_edge))[0]
    inf
    """
    differences, rounding = _second_differences(problem, w)
    work = 2.0 * (differences.size + 1) * COST.gradient
    floor = ROUNDING * rounding
    farther, nearer = np.maximum(differences, floor)[:, :-1], differences[:, 1:]
    is_seen = differences[:, :-1] > floor
    least, most = SMOOTH
    is_smooth = (farther < most * np.maximum(nearer, floor)) & (
        (farther > least * nearer) | (nearer < floor)
    )
    jumps = np.any(is_seen & ~is_smooth, axis=0)
    distances = _longest(w) / 2.0 ** HALVINGS[:-1]
    return float(min(distances[jumps], default=np.inf)), work


def one_sided_sharpness(
    problem: FlatProblem, w: Array, distance: float, tol: float
) -> SharpnessRange:
    """Return the range of the sharpness over points at `distance` from `w`, on many sides of it.

    `tol` is the relative tolerance of each. Half of the sides are random, in opposite pairs; the
    others are where the gradient leads from them, up the steepest side that they belong to.
    """
    values, work = [], 2.0 * RANDOM * ASCENTS * COST.gradient
    for side in _points_beside(problem, w, distance):
        pairs = top_eigenpairs(problem, side, tol=tol)
        values.append(float(pairs.values[0]))
        work += COST.hessian_product * pairs.matvecs
    return SharpnessRange(min(values), max(values), work)


def _points_beside(problem: FlatProblem, w: Array, distance: float) -> list[Array]:
    """Return `4 RANDOM` points beside `w`."""
    half = _units(np.random.default_rng(1).standard_normal((RANDOM, w.size)))
    directions = np.concatenate([half, -half])

    def beside(d: Floats) -> Array:
        return _displaced(w, distance * d)

    uphill = directions
    for _ in range(ASCENTS):
        gradients = np.stack([_gradient(problem, beside(d)) for d in uphill])
        # A little of the old direction stays: where the loss is flat there is no other.
        uphill = _units(_units(gradients) + 0.1 * uphill)
    return [beside(d) for d in np.concatenate([directions, uphill])]


def _units(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)
