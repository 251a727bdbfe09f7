"""From near the limit of a flow to the limit itself: no gradient left that could lead on.

Linear limits that agree with each other have seen what is fast. What is slow, a drift along a
valley by weight decay for instance, has a gradient that is lost in theirs, and may still lead far.
It shows where nothing else is left: at the endpoint, where the gradient vanishes to rounding.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.finish import Finish, LinearLimit, gauss_newton_limit, newton_limit
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import value_and_gradient

ROUNDS = 12  # of linear solves, each for what the one before has left
TOLERANCE = 1e-2  # of each
GAIN = 0.5  # by which each must reduce the gradient
RESTING = 16.0  # units of rounding of the gradient


class Gradient(NamedTuple):
    """The length of the gradient, and of what rounding makes of it."""

    length: float
    rounding: float

    @property
    def vanishes(self) -> bool:
        """Whether nothing is left of the gradient but rounding."""
        return self.length <= RESTING * self.rounding


def gradient_at(problem: FlatProblem, w: Array, sharpness: float) -> Gradient:
    """Return `|∇L(w)|`, and its rounding: `|g(w + d) - 2 g(w) + g(w - d)|` for a small `d`.

    That of a smooth gradient is of the order of `|d|²`, which is a unit of rounding, relatively. A
    loss may compute in less precision than that of `w`, which shows here. At least one unit of
    rounding of `sharpness · |w|`. Costs three gradients.
    """
    unit = float(jnp.finfo(w.dtype).eps)
    signs = np.random.default_rng(3).choice([-1.0, 1.0], w.size)
    d = w * jnp.asarray(unit**0.5 * signs, w.dtype)
    before, here, after = (
        np.asarray(value_and_gradient(problem, at)[1], float) for at in (w - d, w, w + d)
    )
    bend = float(np.linalg.norm(after - 2 * here + before))
    least = unit * abs(sharpness) * float(jnp.linalg.norm(w))
    return Gradient(float(np.linalg.norm(here)), max(bend, least))


def polished(
    problem: FlatProblem,
    limit: LinearLimit,
    finish: Finish,
    sharpness: float,
    work: float,
    spend: Callable[[float], None],
) -> LinearLimit | None:
    """Return the stationary point next to a linear limit, or `None` where it is not to be had.

    Linear limits are taken one after the other, each from where the one before has led, as long as
    they reduce the gradient and `work`, in units of one gradient, allows.
    """
    gradient = gradient_at(problem, limit.w, sharpness)
    spend(3 * COST.gradient)
    for _ in range(ROUNDS):
        if gradient.vanishes:
            return limit
        most = int(work / finish.work_of_iteration)
        if most < 1:
            return None
        further = _next(problem, limit.w, finish, most)
        there = gradient_at(problem, further.w, sharpness)
        spent = finish.work_of_iteration * (further.iterations + 1) + 2 * COST.loss
        work -= spent
        spend(spent + 3 * COST.gradient)
        if there.length <= GAIN * gradient.length:
            limit, gradient = further, there
        elif finish.inverse is not None:
            # A kernel between samples that is singular lets rounding through.
            finish = replace(finish, inverse=None)
        else:
            return further if there.vanishes else None
    return None


def _next(problem: FlatProblem, w: Array, finish: Finish, most: int) -> LinearLimit:
    if finish.by_residuals:
        return gauss_newton_limit(finish.inverse, problem, w, TOLERANCE, most)
    return newton_limit(problem, w, TOLERANCE, most)
