"""Tell kinks of a loss, where its gradient jumps, from sharp curvature and from rounding."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.second_difference import rounding_of_gradient
from thalweg.flow.step import value_and_gradient
from thalweg.problems import FlatProblem

DIRECTIONS = 2  # in which jumps are looked for
JITTERS = 2  # small displacements from a point between, by which rounding is measured
BETWEEN = 0.37  # of the displacement
LONGEST = 2.0**-4  # the displacement that is searched, relative to the size of the parameters
HALVINGS = {"float32": 14, "float64": 18}  # of it; rounding leaves nothing to see beyond
LAST = 6  # halvings that decide
DECAY = 4.0  # over them: less for a jump; 4⁶ where the gradient is smooth, 2⁶ where its slope jumps
RATIO = 2.0  # by which a jump exceeds the second difference of the other half, in the last
CHECKED = 3  # of them
ROUNDING = 64.0  # units of the gradient's own rounding, below which nothing is seen


Gradients = NDArray[Any]


class _Interval(NamedTuple):
    """A part `[a, b]` of the displacement, as positions on it, and the gradients at `a, m, b`."""

    a: float
    b: float
    at_a: Gradients
    at_middle: Gradients
    at_b: Gradients

    @property
    def difference(self) -> float:
        return float(np.linalg.norm(self.at_a - 2 * self.at_middle + self.at_b))

    def halves(self, gradient: Callable[[float], Gradients]) -> tuple["_Interval", "_Interval"]:
        """Return both halves, that with the larger second difference first."""
        middle = (self.a + self.b) / 2
        quarters = gradient((self.a + middle) / 2), gradient((middle + self.b) / 2)
        left = _Interval(self.a, middle, self.at_a, quarters[0], self.at_middle)
        right = _Interval(middle, self.b, self.at_middle, quarters[1], self.at_b)
        return (left, right) if left.difference >= right.difference else (right, left)


def _differences(problem: FlatProblem, w: Array, seed: int) -> tuple[Gradients, Gradients, float]:
    """Bisect a random displacement from `w` towards the larger second difference of the gradient.

    Returns, for each halving, `|g(a) - 2 g(m) + g(b)|` of the half taken and of the other, and what
    rounding makes of it, all in units of the largest `|g|` of the whole displacement. A loss may
    round more than `w` does: that shows over displacements by the root of its unit.
    """
    random = np.random.default_rng(seed)
    d = random.standard_normal(w.size)
    d *= LONGEST * float(np.linalg.norm(w)) / np.linalg.norm(d)

    def gradient(part: float) -> Gradients:
        at = jnp.asarray(np.asarray(w) + part * d, w.dtype)
        return np.asarray(value_and_gradient(problem, at)[1])

    half = _Interval(0.0, 1.0, *map(gradient, (0.0, 0.5, 1.0)))
    largest = max(float(np.linalg.norm(g)) for g in half[2:])
    found = []
    for _ in range(HALVINGS[w.dtype.name]):
        half, other = half.halves(gradient)
        found.append((half.difference, other.difference))
    between = jnp.asarray(np.asarray(w) + BETWEEN * d, w.dtype)
    seen = [rounding_of_gradient(problem, between, random)[1] for _ in range(JITTERS)]
    rounding = max(float(jnp.finfo(w.dtype).eps) * largest, *seen)
    taken, left = np.asarray(found).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return taken / largest, left / largest, rounding / largest


def has_gradient_jumps(problem: FlatProblem, w: Array) -> bool:
    """Return whether the gradient jumps near `w`, as seen in one of two directions.

    A random displacement of a sixteenth of `|w|` is halved, each time towards the half where the
    second difference of the gradient is larger, down to a few millionths of `|w|`. That of a smooth
    gradient falls by four with each halving, however sharp the loss is, once the displacements are
    small enough (by two where the curvature jumps); a jump remains, whole, in one half and not in
    the other; rounding remains in both. Kinks that are few, or met only later, are missed. Costs 90
    gradients (74 in single precision).

    Examples
    --------
    >>> import jax
    >>> from thalweg.problems import flatten
    >>> w = jnp.linspace(-1.0, 1.0, 1000)
    >>> has_gradient_jumps(*flatten(lambda w: jnp.sum(jax.nn.relu(w)), w))
    True
    >>> has_gradient_jumps(*flatten(lambda w: jnp.sum(jax.nn.softplus(w)), w))
    False
    """
    return any(_has_jump(problem, w, seed) for seed in range(DIRECTIONS))


def _has_jump(problem: FlatProblem, w: Array, seed: int) -> bool:
    taken, other, rounding = _differences(problem, w, seed)
    is_seen = taken[-1] > ROUNDING * rounding
    remains = taken[-LAST - 1] < DECAY * taken[-1]
    return bool(is_seen and remains and np.all(taken[-CHECKED:] > RATIO * other[-CHECKED:]))
