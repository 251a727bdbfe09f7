"""What is to be known of a run of gradient descent on a scalar network, found in float64.

A run is judged step by step until the convergence condition holds (from there on a theorem knows
the rest), until it is lost, or until it ends. `rigorous` finds the same in ball arithmetic.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from thalweg.scalar.calls import nan_checks_off
from thalweg.scalar.conditions import convergence_condition, one_step_condition
from thalweg.scalar.descent import gradient_step
from thalweg.scalar.flow_limit import solve_coordinates_first
from thalweg.scalar.sharpness import top_eigenvalue

BY = ("gap condition", "sharpness condition", "comparison")
_ROUNDING = 1e-12  # relative, of the sharpness at an iterate: hundreds of times what was measured


@dataclass(frozen=True)
class ScalarRun:
    """A run to be judged: `w0`, shape `(D,)`, and what gradient descent does with it."""

    w0: NDArray[np.float64]
    step_size: float
    steps: int
    target: float


@dataclass(frozen=True)
class Bracket:
    """The convergence condition holds at `step`: the final sharpness is in `[lower, upper]`."""

    step: int
    lower: float
    upper: float
    delta: float  # 2 - η φ


@dataclass(frozen=True)
class Trace:
    """What is known of a run."""

    judged: int  # steps: all, or those before the convergence condition or a loss
    # How many of them provably do not raise the GFS sharpness, by the entries of `BY`.
    by: dict[str, int] = field(default_factory=dict)
    # The first step at which it certainly rises, and by what part of itself.
    rise: tuple[int, float] | None = None
    # The first step of which nothing could be told, and the best margin of a condition there.
    open: tuple[int, float] | None = None
    edge: int | None = None  # the first step at which the sharpness is at least `2/η` for certain
    bracket: Bracket | None = None  # where the convergence condition first holds
    lost: str = ""  # or "saddle", "no finite number", "undecided"
    lost_at: int | None = None
    # `2 - η φ` and `1 - 50 ℓ/γ²` at the last step, where the convergence condition is not met.
    last: tuple[float, float] | None = None
    bits: int = 53  # precision of the ball arithmetic; 53 for float64


class _IterateArrays(NamedTuple):
    """Arrays with one entry per iterate; those on steps lack the last."""

    by_gap: Array
    by_sharpness: Array
    margin: Array
    sharpness: Array  # φ
    error: Array
    is_saddle: Array
    is_finite: Array
    steepness: Array  # η λ(w_t)
    converges: Array
    lower: Array
    upper: Array
    delta: Array
    near: Array


@partial(jax.jit, static_argnums=2)
def _iterate_arrays(
    w0: Float[Array, " depth"], step_size: Float[Array, ""], steps: int, target: Float[Array, ""]
) -> _IterateArrays:
    def step(w: Array, _: None) -> tuple[Array, Array]:
        return gradient_step(w, step_size, target)[0], w

    last, ws = jax.lax.scan(step, w0, None, length=steps)
    ws = jnp.concatenate([ws, last[None]])
    flow = solve_coordinates_first(ws.T, target)
    one = one_step_condition(ws, step_size, target)
    many = convergence_condition(ws, step_size, target)
    second = jnp.minimum(one.signs.value, one.sharpness.value)
    return _IterateArrays(
        by_gap=one.by_gap,
        by_sharpness=one.by_sharpness,
        margin=jnp.fmax(one.gap.value, second),
        sharpness=flow.sharpness,
        error=flow.error,
        is_saddle=flow.is_saddle,
        is_finite=jnp.isfinite(flow.sharpness) & jnp.all(jnp.isfinite(ws), axis=1),
        steepness=step_size * top_eigenvalue(ws.T, target)[0],
        converges=many.holds,
        lower=many.lower,
        upper=many.upper,
        delta=many.below.value,
        near=many.near.value,
    )


def _first(mask: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(mask)) if np.any(mask) else None


def trace_float64(run: ScalarRun) -> Trace:
    """Follow and judge a run in float64, where the rounding of the iterates is not accounted for.

    Needs JAX's x64 mode.
    """
    eta, y = (jnp.asarray(a, jnp.float64) for a in (run.step_size, run.target))
    with nan_checks_off():  # where there is no limit, or no bracket, there is no number
        at = jax.device_get(_iterate_arrays(jnp.asarray(run.w0), eta, run.steps, y))
    lost, lost_at, settled = "", _first(~at.is_finite | at.is_saddle), _first(at.converges)
    if settled is not None and (lost_at is None or settled < lost_at):
        lost_at = None
    else:
        settled = None
    if lost_at is not None:
        lost = "saddle" if at.is_saddle[lost_at] else "no finite number"
    judged = next(step for step in (settled, lost_at, run.steps) if step is not None)
    # The step that ends where there is no limit belongs to the loss, not to the judged.
    judged = judged - 1 if lost_at is not None and judged > 0 else judged
    with np.errstate(invalid="ignore"):
        falls = at.sharpness[1:] + at.error[1:] <= at.sharpness[:-1] - at.error[:-1]
        rises = at.sharpness[1:] - at.error[1:] > at.sharpness[:-1] + at.error[:-1]
    falls, rises = falls[:judged], rises[:judged]
    gap, steep = at.by_gap[:judged], at.by_sharpness[:judged]
    counts = (gap, steep & ~gap, falls & ~gap & ~steep)
    rise = open_ = None
    if (step := _first(rises & ~gap & ~steep)) is not None:
        rise = step, float(at.sharpness[step + 1] / at.sharpness[step]) - 1
    if (step := _first(~(gap | steep | falls | rises))) is not None:
        open_ = step, float(at.margin[step])
    seen, bracket, last = judged, None, None
    if settled is None and lost_at is None:
        seen, last = run.steps, (float(at.delta[-1]), float(at.near[-1]))
    if settled is not None:
        ends_at = (float(a[settled]) for a in (at.lower, at.upper, at.delta))
        bracket = Bracket(settled, *ends_at)
    return Trace(
        judged=judged,
        by={name: int(np.sum(met)) for name, met in zip(BY, counts, strict=True)},
        rise=rise,
        open=open_,
        edge=_first(at.steepness[: seen + 1] > 2 * (1 + _ROUNDING)),
        bracket=bracket,
        lost=lost,
        lost_at=lost_at,
        last=last,
    )
