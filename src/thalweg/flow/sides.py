"""Where curvature jumps at the limit of a flow: the sharpness on the sides of the limit.

At the edge of a flat minimum (a squared hinge) the Hessian jumps, on a kink (ReLU) the gradient.
Which side of the limit is the flow's own depends on less than an integration can resolve; what can
be told is the sharpness on each side.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from thalweg.curvature import top_eigenpairs
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled

DIRECTIONS = 3  # in which the gradient is looked at,
HALVINGS = 2 * np.arange(6)  # and how near
SMOOTH = 8.0, 100.0  # two halvings divide the bend of a smooth gradient by 16 (64 by symmetry)
ROUNDING = 16.0  # units of rounding of the gradient, below which a bend is not seen
RANDOM = 4  # pairs of sides opposite each other, and as many where the gradient leads from them
ASCENTS = 6


class Spread(NamedTuple):
    """The lowest and the highest sharpness beside a point, and the work of finding them."""

    lowest: float
    highest: float
    work: float


@compiled
def _bends(problem: FlatProblem, w: Array) -> tuple[Array, Array]:
    """Return `|g(w + d) - 2 g(w) + g(w - d)|`, shape `(DIRECTIONS, HALVINGS)`, and rounding."""
    directions = _units(jax.random.normal(jax.random.key(2), (DIRECTIONS, w.size), w.dtype))
    distances = _longest(w) / 2 ** jnp.asarray(HALVINGS, w.dtype)
    displaced = (directions[:, None, :] * distances[None, :, None]).reshape(-1, w.size)
    here = problem.gradient(w)
    pairs = lax.map(lambda d: problem.gradient(w + d) + problem.gradient(w - d), displaced)
    bends = jnp.linalg.norm(pairs - 2 * here[None, :], axis=1).reshape(DIRECTIONS, -1)
    signs = jax.random.rademacher(jax.random.key(3), w.shape, w.dtype)
    jittered = w * (1 + 4 * jnp.finfo(w.dtype).eps * signs)
    return bends, jnp.linalg.norm(problem.gradient(jittered) - here)


def _longest(w: Array) -> Array:
    return jnp.finfo(w.dtype).eps ** 0.25 * jnp.linalg.norm(w)


def nearest_jump(problem: FlatProblem, w: Array) -> tuple[float, float]:
    """Return how close to `w` the Hessian, or the gradient, is seen to jump, and the work of that.

    Infinity where they do not, within a ten-thousandth of `|w|`. The bend of a smooth gradient
    falls by four when the displacement is halved, by two where its slope jumps at `w`, not at all
    where it jumps itself, and vanishes suddenly where either jumps a little beside `w`.

    Examples
    --------
    >>> from thalweg.problems import flatten
    >>> at_edge = jnp.array([1.0, 1.0])
    >>> bool(nearest_jump(*flatten(lambda w: jnp.maximum(0, 1 - w[0] * w[1]) ** 2, at_edge))[0] < 1)
    True
    >>> nearest_jump(*flatten(lambda w: (1 - w[0] * w[1]) ** 2, at_edge))[0]
    inf
    """
    bends, rounding = map(np.asarray, _bends(problem, w))
    work = 2.0 * (bends.size + 1) * COST.gradient
    farther, nearer = np.maximum(bends, ROUNDING * rounding)[:, :-1], bends[:, 1:]
    is_seen = bends[:, :-1] > ROUNDING * rounding
    least, most = SMOOTH
    is_smooth = (farther < most * np.maximum(nearer, ROUNDING * rounding)) & (
        (farther > least * nearer) | (nearer < ROUNDING * rounding)
    )
    jumps = np.any(is_seen & ~is_smooth, axis=0)
    distances = float(_longest(w)) / 2.0 ** HALVINGS[:-1]
    return float(min(distances[jumps], default=np.inf)), work


def spread_beside(problem: FlatProblem, w: Array, aside: float, tol: float) -> Spread:
    """Return the spread of the sharpness over points at the distance `aside`, on many sides of `w`.

    `tol` is the relative tolerance of each. Half of the sides are random, in opposite pairs; the
    others are where the gradient leads from them, up the steepest side that they belong to.
    """
    values, work = [], 2.0 * RANDOM * ASCENTS * COST.gradient
    for side in _sides(problem, w, jnp.asarray(aside, w.dtype)):
        pairs = top_eigenpairs(problem, side, tol=tol)
        values.append(float(pairs.values[0]))
        work += COST.hessian_product * pairs.matvecs
    return Spread(min(values), max(values), work)


@compiled
def _sides(problem: FlatProblem, w: Array, aside: Array) -> Array:
    """Return points beside `w`, shape `(4 RANDOM, p)`."""
    half = jax.random.normal(jax.random.key(1), (RANDOM, w.size), w.dtype)
    directions = _units(jnp.concatenate([half, -half]))

    def ascend(directions: Array, _: None) -> tuple[Array, None]:
        gradients = lax.map(lambda d: problem.gradient(w + aside * d), directions)
        # A little of the old direction stays: where the loss is flat there is no other.
        return _units(_units(gradients) + 0.1 * directions), None

    uphill, _ = lax.scan(ascend, directions, length=ASCENTS)
    return w[None, :] + aside * jnp.concatenate([directions, uphill])


def _units(rows: Array) -> Array:
    lengths = jnp.linalg.norm(rows, axis=1, keepdims=True)
    return rows / jnp.where(lengths > 0, lengths, 1.0)
