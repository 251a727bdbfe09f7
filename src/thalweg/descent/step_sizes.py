"""Step sizes from the sharpness at the start, and from how it grows along gradient descent."""

from collections.abc import Callable, Sequence
from typing import Any

from thalweg.basics.activity import doing
from thalweg.curvature import top_eigenpairs
from thalweg.descent import Progress, descend

LOSS_FRACTION = 0.1  # the part of the loss at the start at which the sharpness is looked up
PRECISION = 1e-3  # relative, of the sharpness
SMALL_FRACTION = 0.25  # of 2 / λ: the step size on the way there; the sharpness may grow fourfold
STEPS = 2000  # at most: where the loss stands by then is good enough
MIN_GROWTH = 1.1  # by how much it must have grown for an edge of stability to be there
STABLE = 2.0  # threshold of the stable run, in units of that sharpness
AT_THE_EDGE = (2 / 3, 1 / 3)  # thresholds of the others, between the start and that sharpness
FRACTIONS = (0.5, 0.75, 0.95)  # of 2 / λ, where the sharpness does not grow

Announce = Callable[[str], None]


def relative_step_sizes(problem: Any, start: Any, multiples: Sequence[float]) -> tuple[float, ...]:
    """Return these multiples of `2 / λ`, `λ` the sharpness at the start.

    >>> import jax.numpy as jnp
    >>> sizes = relative_step_sizes(lambda w: 2.0 * jnp.vdot(w, w), jnp.ones(3), [0.5, 1.5])
    >>> [round(size, 6) for size in sizes]
    [0.25, 0.75]
    """
    at_start = _sharpness(problem, start, tol=1e-6)
    return tuple(multiple * 2 / at_start for multiple in multiples)


def chosen_step_sizes(
    problem: Any, start: Any, announce: Announce = lambda line: None
) -> tuple[float, ...]:
    """Return three step sizes: one that stays stable and two that reach the edge of stability.

    Let `λ` be the sharpness at the start and `μ` that where gradient descent, with a quarter of the
    step size `2 / λ`, has come down to a tenth of the loss, or has taken 2,000 steps (cheap, unlike
    the end of the flow). The thresholds `2 / step size` are `2 μ`, which progressive sharpening is
    not expected to reach, and `λ + (2/3)(μ - λ)` and `λ + (1/3)(μ - λ)`, which it is, from a start
    that is below them. Where the sharpness does not grow, the step sizes are the fractions 0.5,
    0.75 and 0.95 of `2 / λ`.

    Parameters
    ----------
    announce
        Called with a line for a person on what is done, and one on what was chosen.

    Raises
    ------
    ValueError
        The sharpness at the start is not positive: no step size is at any edge.
    """
    announce(
        f"choosing step sizes: at most {STEPS:,} steps of gradient descent tell whether the "
        "sharpness grows"
    )
    at_start = _sharpness(problem, start, tol=PRECISION)
    later = _later_sharpness(problem, start, SMALL_FRACTION * 2 / at_start)
    grows = later >= MIN_GROWTH * at_start
    if grows:
        thresholds = [STABLE * later]
        thresholds += [at_start + part * (later - at_start) for part in AT_THE_EDGE]
    else:
        thresholds = [at_start / fraction for fraction in FRACTIONS]
    sizes = tuple(2 / threshold for threshold in thresholds)
    listed = ", ".join(f"{size:.4g}" for size in sizes)
    if grows:
        announce(f"the sharpness grows, from {at_start:.4g} to {later:.4g}: step sizes {listed}")
    else:
        parts = ", ".join(f"{fraction:g}" for fraction in FRACTIONS)
        announce(
            f"the sharpness does not grow, from {at_start:.4g} to {later:.4g}: step sizes "
            f"{listed}, which are {parts} of 2 / {at_start:.4g}"
        )
    return sizes


def _later_sharpness(problem: Any, start: Any, step_size: float) -> float:
    """Return the sharpness where gradient descent stands; NaN where there is none."""
    level = LOSS_FRACTION * float(problem(start))
    with doing("descending") as activity:

        def report(progress: Progress) -> bool:
            activity.what = (
                f"step {progress.step:,}, the loss is {progress.loss:.3g}, to come down to "
                f"{level:.3g}"
            )
            return progress.loss <= level

        run = descend(problem, start, step_size=step_size, steps=STEPS, report=report)
    pairs = top_eigenpairs(problem, run.w[0], tol=PRECISION)
    return float(pairs.values[0])


def _sharpness(problem: Any, start: Any, tol: float) -> float:
    at_start = float(top_eigenpairs(problem, start, tol=tol).values[0])
    if not at_start > 0:
        raise ValueError(
            f"no step sizes can be chosen, since the sharpness at the start is {at_start:.4g}: "
            "give step_size"
        )
    return at_start
