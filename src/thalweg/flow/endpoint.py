"""From near the limit of a flow to the limit itself: no gradient left that could lead on.

Linear limits that agree with each other have seen what is fast. What is slow, a drift along a
valley by weight decay for instance, has a gradient that is lost in theirs, and may still lead far.
It shows where nothing else is left: at the endpoint, where the gradient vanishes to rounding.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.finish import Finish, LinearLimit, gauss_newton_limit, newton_limit
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled

ROUNDS = 12  # of linear solves, each for what the one before has left
TOLERANCE = 1e-2  # of each
GAIN = 0.5  # by which each must reduce the gradient
RESTING = 16.0  # units of rounding of the gradient


class Gradient(NamedTuple):
    """The length of the gradient, and of what rounding makes of it."""

    length: Array
    rounding: Array

    @property
    def vanishes(self) -> bool:
        """Whether nothing is left of the gradient but rounding."""
        return bool(self.length <= RESTING * self.rounding)


@compiled
def gradient_at(problem: FlatProblem, w: Array, sharpness: Array) -> Gradient:
    """Return `|∇L(w)|`, and its rounding: `|g(w + d) - 2 g(w) + g(w - d)|` for a small `d`.

    That of a smooth gradient is of the order of `|d|²`, which is a unit of rounding, relatively. A
    loss may compute in less precision than that of `w`, which shows here. At least one unit of
    rounding of `sharpness · |w|`. Costs three gradients.
    """
    unit = jnp.finfo(w.dtype).eps
    d = unit**0.5 * w * jax.random.rademacher(jax.random.key(3), w.shape, w.dtype)
    gradient = problem.gradient(w)
    bend = problem.gradient(w + d) - 2 * gradient + problem.gradient(w - d)
    least = unit * jnp.abs(sharpness) * jnp.linalg.norm(w)
    return Gradient(jnp.linalg.norm(gradient), jnp.maximum(jnp.linalg.norm(bend), least))


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
    dtype = limit.w.dtype
    scale = jnp.asarray(sharpness, dtype)
    gradient = gradient_at(problem, limit.w, scale)
    spend(3 * COST.gradient)
    for _ in range(ROUNDS):
        if gradient.vanishes:
            return limit
        most = int(work / finish.work_of_iteration)
        if most < 1:
            return None
        further = _next(problem, limit.w, finish, jnp.asarray(most))
        there = gradient_at(problem, further.w, scale)
        spent = finish.work_of_iteration * (float(further.iterations) + 1) + 2 * COST.loss
        work -= spent
        spend(spent + 3 * COST.gradient)
        if bool(there.length <= GAIN * gradient.length):
            limit, gradient = further, there
        elif finish.inverse is not None:
            # A kernel between samples that is singular lets rounding through.
            finish = replace(finish, inverse=None)
        else:
            return further if there.vanishes else None
    return None


def _next(problem: FlatProblem, w: Array, finish: Finish, most: Array) -> LinearLimit:
    tolerance = jnp.asarray(TOLERANCE, w.dtype)
    if finish.by_residuals:
        return gauss_newton_limit(finish.inverse, problem, w, tolerance, most)
    return newton_limit(problem, w, tolerance, most)
