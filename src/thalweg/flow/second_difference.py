"""Second differences of the gradient: what curvature's slope, and rounding, make of it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.step import value_and_gradient
from thalweg.problems import FlatProblem

Floats = NDArray[np.float64]


def second_difference(problem: FlatProblem, w: Array, d: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return `∇L(w)` and `∇L(w + d) - 2 ∇L(w) + ∇L(w - d)`, shape `(p,)`: three gradients."""
    before, here, after = (
        np.asarray(value_and_gradient(problem, at)[1], float)
        for at in (np.asarray(w) - d, w, np.asarray(w) + d)
    )
    return here, after - 2 * here + before


def rounding_of_gradient(
    problem: FlatProblem, w: Array, random: np.random.Generator
) -> tuple[float, float]:
    """Return `|∇L(w)|`, and what rounding makes of it: its second difference for a small `d`.

    That of a smooth gradient is of the order of `|d|²`, which is a unit of rounding, relatively. A
    loss may compute in less precision than that of `w`, which shows here. Costs three gradients.
    """
    root = float(jnp.finfo(w.dtype).eps) ** 0.5
    d = np.asarray(w) * (root * random.choice([-1.0, 1.0], w.size)).astype(w.dtype)
    gradient, difference = second_difference(problem, w, d)
    return float(np.linalg.norm(gradient)), float(np.linalg.norm(difference))
