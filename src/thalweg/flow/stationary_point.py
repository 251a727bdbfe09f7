"""From a linearised limit to the stationary point next to it, where the gradient vanishes.

Linearised limits that agree with each other have seen what is fast. What is slow, a drift along a
valley by weight decay for instance, has a gradient that is lost in theirs, and may still lead far.
It shows where nothing else is left: at the endpoint, where the gradient vanishes to rounding.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.linearized_limit import LinearizedLimit, LinearizedSolver
from thalweg.flow.second_difference import rounding_of_gradient
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import norm

ROUNDS = 12  # of linear solves, each for what the one before has left
TOLERANCE = 1e-2  # of each
GAIN = 0.5  # by which each must reduce the gradient
MORE = 5  # times the iterations of the limit itself: beyond, its preconditioner misleads
VANISHING = 16.0  # units of rounding of the gradient
DRIFT = 0.03  # of the accuracy: the length of a drift, relative to the parameters, not looked for


class GradientNorm(NamedTuple):
    """The norm of the gradient, and of what rounding makes of it."""

    norm: float
    rounding: float

    @property
    def least(self) -> float:
        """The least norm of a gradient that can be told from rounding."""
        return VANISHING * self.rounding

    @property
    def vanishes(self) -> bool:
        """Whether nothing is left of the gradient but rounding."""
        return self.norm <= self.least


def gradient_norm(problem: FlatProblem, w: Array, sharpness: float) -> GradientNorm:
    """Return `|∇L(w)|` and its rounding, at least one unit of that of `sharpness · |w|`.

    Costs three gradients.
    """
    length, rounding = rounding_of_gradient(problem, w, np.random.default_rng(3))
    least = float(jnp.finfo(w.dtype).eps) * abs(sharpness) * norm(w)
    return GradientNorm(length, max(rounding, least))


def stationary_point_near(
    problem: FlatProblem,
    limit: LinearizedLimit,
    solver: LinearizedSolver,
    sharpness: float,
    rtol: float,
    work: float,
    spend: Callable[[float], None],
) -> LinearizedLimit | None:
    """Return the stationary point next to a linearised limit, or `None` where it is not to be had.

    Linearised limits are taken one after the other, each from where the one before has led, as long
    as they reduce the gradient and `work`, in units of one gradient, allows.

    A drift of length `ℓ` at the rate `μ` has the gradient `μ ℓ` and loses `½ μ ℓ²`: once residuals
    that can all vanish have less to lose than `½ g ℓ`, none of that length is left that a gradient
    down to `g` would show, and the point is as good as stationary.
    """
    drift = DRIFT * rtol * norm(limit.w)
    gradient = gradient_norm(problem, limit.w, sharpness)
    spend(3 * COST.gradient)
    for _ in range(ROUNDS):
        if gradient.vanishes:
            return limit
        if solver.by_residuals and limit.loss <= 0.5 * gradient.least * drift:
            return limit
        most = int(work / solver.work_of_iteration)
        if most < 1:
            return None
        if solver.inverse is not None:
            most = min(most, MORE * max(solver.iterations, 10))
        further = solver.limit(problem, limit.w, TOLERANCE, most)
        there = gradient_norm(problem, further.w, sharpness)
        spent = solver.work_of(further)
        work -= spent
        spend(spent + 3 * COST.gradient)
        if there.norm <= GAIN * gradient.norm:
            limit, gradient = further, there
        elif solver.inverse is not None:
            # A kernel between samples that is singular lets rounding through.
            solver = replace(solver, inverse=None)
        else:
            return further if there.vanishes else None
    return None
