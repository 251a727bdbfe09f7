"""Tell kinks of a loss, where its gradient jumps, from sharp curvature and from rounding."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled

LONGEST = 2.0**-4  # the displacement that is searched, relative to the size of the parameters
HALVINGS = {"float32": 14, "float64": 18}  # of it; rounding leaves nothing to see beyond
LAST = 6  # halvings that decide
FALL = 4.0  # over them: less for a jump; 4⁶ where the gradient is smooth, 2⁶ where its slope jumps
ALONE = 2.0  # by which a jump exceeds what bends the other half, in the last
AMONG = 3  # of them
ROUNDING = 64.0  # units of the gradient's own rounding, below which nothing is seen


class _Interval(NamedTuple):
    """A part `[a, b]` of the displacement, as positions on it, and the gradients at `a, m, b`."""

    a: Array
    b: Array
    at_a: Array
    at_middle: Array
    at_b: Array


@compiled
def _bisect(problem: FlatProblem, w: Array, halvings: int) -> tuple[Array, Array]:
    """Halve a random displacement from `w`, and go on with the half where the gradient bends more.

    Returns, for each halving, `|g(a) - 2 g(m) + g(b)|` of the half taken and of the other, both in
    units of the largest `|g|` of the whole displacement.
    """
    d = jax.random.normal(jax.random.key(0), w.shape, w.dtype)
    d = d * LONGEST * jnp.linalg.norm(w) / jnp.linalg.norm(d)

    def gradient(part: Array) -> Array:
        return problem.gradient(w + part * d)

    def halve(i: _Interval, _: None) -> tuple[_Interval, tuple[Array, Array]]:
        middle = (i.a + i.b) / 2
        quarters = lax.map(gradient, jnp.stack([(i.a + middle) / 2, (middle + i.b) / 2]))
        left = _Interval(i.a, middle, i.at_a, quarters[0], i.at_middle)
        right = _Interval(middle, i.b, i.at_middle, quarters[1], i.at_b)
        bends = jnp.stack([_bend(left), _bend(right)])
        is_left = bends[0] >= bends[1]
        half = jax.tree.map(partial(jnp.where, is_left), left, right)
        return half, (jnp.max(bends), jnp.min(bends))

    ends = jnp.asarray([0.0, 0.5, 1.0], w.dtype)
    whole = _Interval(ends[0], ends[2], *lax.map(gradient, ends))
    largest = jnp.max(jax.vmap(jnp.linalg.norm)(jnp.stack(whole[2:])))
    return jax.tree.map(lambda bend: bend / largest, lax.scan(halve, whole, length=halvings)[1])


def _bend(i: _Interval) -> Array:
    return jnp.linalg.norm(i.at_a - 2 * i.at_middle + i.at_b)


def has_kinks(problem: FlatProblem, w: Array) -> bool:
    """Return whether the gradient jumps near `w`, as seen in one direction.

    A random displacement of a sixteenth of `|w|` is halved, each time towards the half where the
    gradient bends more, down to a few millionths of `|w|`. The bend of a smooth gradient falls by
    four with each halving, however sharp the loss is, once the displacements are small enough (by
    two where the curvature jumps); a jump remains, whole, in one half and not in the other;
    rounding remains in both. Kinks that are few, or met only later, are missed. Costs 39 gradients
    (31 in single precision).

    Examples
    --------
    >>> from thalweg.problems import flatten
    >>> w = jnp.linspace(-1.0, 1.0, 1000)
    >>> has_kinks(*flatten(lambda w: jnp.sum(jax.nn.relu(w)), w))
    True
    >>> has_kinks(*flatten(lambda w: jnp.sum(jax.nn.softplus(w)), w))
    False
    """
    taken, other = map(np.asarray, _bisect(problem, w, HALVINGS[w.dtype.name]))
    is_seen = taken[-1] > ROUNDING * float(jnp.finfo(w.dtype).eps)
    remains = taken[-LAST - 1] < FALL * taken[-1]
    return bool(is_seen and remains and np.all(taken[-AMONG:] > ALONE * other[-AMONG:]))
