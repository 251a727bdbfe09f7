"""Step sizes from the sharpness at the start, and from how it grows along the flow."""

from collections.abc import Sequence
from typing import Any

from thalweg.curvature import sharpness
from thalweg.flow import truncated_sharpness

AHEAD = 0.1  # the part of the loss at the start at which the sharpness is looked up
ACCURACY = 0.03  # relative, of that
BUDGET = 10_000  # gradient evaluations for that; what is known by then is good enough
SHARPENED = 1.1  # by how much it must have grown for an edge of stability to be there
STABLE = 2.0  # threshold of the stable run, in units of that sharpness
AT_THE_EDGE = (2 / 3, 1 / 3)  # thresholds of the others, between the start and that sharpness


def relative_step_sizes(problem: Any, start: Any, multiples: Sequence[float]) -> tuple[float, ...]:
    """Return these multiples of `2 / λ`, `λ` the sharpness at the start.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> sizes = relative_step_sizes(lambda w: 2.0 * jnp.vdot(w, w), jnp.ones(3), [0.5, 1.5])
    >>> [round(size, 6) for size in sizes]
    [0.25, 0.75]
    """
    at_start = _positive(sharpness(problem, start), "at the start")
    return tuple(multiple * 2 / at_start for multiple in multiples)


def chosen_step_sizes(problem: Any, start: Any) -> tuple[float, ...]:
    """Return a step size that stays stable and two that reach the edge of stability.

    Let `λ` be the sharpness at the start and `μ` that where the flow has come down to a tenth of
    the loss (cheap to find, unlike the end of the flow). The thresholds `2 / step size` are `2 μ`,
    which progressive sharpening is not expected to reach, and `λ + (2/3)(μ - λ)` and
    `λ + (1/3)(μ - λ)`, which it is, from a start that is below them.

    Raises
    ------
    ValueError
        The sharpness does not grow along the flow, or it cannot be found.
    """
    at_start = _positive(sharpness(problem, start), "at the start")
    level = AHEAD * float(problem(start))
    ahead = truncated_sharpness(
        problem, start, level=level, rtol=ACCURACY, max_gradient_evaluations=BUDGET
    )
    later = _positive(ahead.sharpness, "along the flow")
    if later < SHARPENED * at_start:
        raise ValueError(
            f"no step sizes can be chosen, since the sharpness does not grow along the flow (from "
            f"{at_start:.4g} to {later:.4g}): give step_size or relative_step_size, or a smaller "
            "init_scale"
        )
    thresholds = [STABLE * later]
    thresholds += [at_start + part * (later - at_start) for part in AT_THE_EDGE]
    return tuple(2 / threshold for threshold in thresholds)


def _positive(value: float, where: str) -> float:
    if not value > 0:
        raise ValueError(
            f"no step sizes can be chosen, since the sharpness {where} is {value:.4g}: give "
            "step_size"
        )
    return value
