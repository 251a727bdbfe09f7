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
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from thalweg.scalar.calls import nan_checks_off
from thalweg.scalar.conditions import (
    Convergence,
    OneStep,
    convergence_condition,
    one_step_condition,
)
from thalweg.scalar.descent import gradient_step
from thalweg.scalar.flow_limit import ScalarLimits, solve_coordinates_first
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


class Iterates(NamedTuple):
    """Iterates of gradient descent, shape `(steps + 1, D)`, and what is known at each."""

    w: Float[Array, "T depth"]
    flow: ScalarLimits
    one_step: OneStep
    convergence: Convergence
    steepness: Float[Array, " T"]  # `η λ(w_t)`
    is_finite: Bool[Array, " T"]


@partial(jax.jit, static_argnums=2)
def followed(
    w0: Float[Array, " depth"], step_size: Float[Array, ""], steps: int, target: Float[Array, ""]
) -> Iterates:
    """Follow gradient descent, and evaluate all that is known in closed form on the way."""

    def step(w: Array, _: None) -> tuple[Array, Array]:
        return gradient_step(w, step_size, target)[0], w

    last, ws = jax.lax.scan(step, w0, None, length=steps)
    ws = jnp.concatenate([ws, last[None]])
    flow = solve_coordinates_first(ws.T, target)
    return Iterates(
        w=ws,
        flow=flow,
        one_step=one_step_condition(ws, step_size, target),
        convergence=convergence_condition(ws, step_size, target),
        steepness=step_size * top_eigenvalue(ws.T, target)[0],
        is_finite=jnp.isfinite(flow.sharpness) & jnp.all(jnp.isfinite(ws), axis=1),
    )


def _first(mask: NDArray[np.bool_]) -> int | None:
    return int(np.argmax(mask)) if np.any(mask) else None


def trace_float64(run: ScalarRun) -> Trace:
    """Follow and judge a run in float64, where the rounding of the iterates is not accounted for.

    Needs JAX's x64 mode.
    """
    eta, y = (jnp.asarray(a, jnp.float64) for a in (run.step_size, run.target))
    with nan_checks_off():  # where there is no limit, or no bracket, there is no number
        found = followed(jnp.asarray(run.w0), eta, run.steps, y)
    _, flow, one, many, steepness, is_finite = jax.device_get(found)
    lost, lost_at, settled = "", _first(~is_finite | flow.is_saddle), _first(many.holds)
    if settled is not None and (lost_at is None or settled < lost_at):
        lost_at = None
    else:
        settled = None
    if lost_at is not None:
        lost = "saddle" if flow.is_saddle[lost_at] else "no finite number"
    judged = next(step for step in (settled, lost_at, run.steps) if step is not None)
    # The step that ends where there is no limit belongs to the loss, not to the judged.
    judged = judged - 1 if lost_at is not None and judged > 0 else judged
    with np.errstate(invalid="ignore"):
        lower, upper = flow.sharpness - flow.error, flow.sharpness + flow.error
        falls, rises = upper[1:] <= lower[:-1], lower[1:] > upper[:-1]
        margin = np.fmax(one.gap.value, np.minimum(one.signs.value, one.sharpness.value))
    falls, rises = falls[:judged], rises[:judged]
    gap, steep = one.by_gap[:judged], one.by_sharpness[:judged]
    counts = (gap, steep & ~gap, falls & ~gap & ~steep)
    rise = open_ = None
    if (step := _first(rises & ~gap & ~steep)) is not None:
        rise = step, float(flow.sharpness[step + 1] / flow.sharpness[step]) - 1
    if (step := _first(~(gap | steep | falls | rises))) is not None:
        open_ = step, float(margin[step])
    seen, bracket, last = judged, None, None
    if settled is None and lost_at is None:
        seen, last = run.steps, (float(many.below.value[-1]), float(many.near.value[-1]))
    if settled is not None:
        ends_at = (float(a[settled]) for a in (many.lower, many.upper, many.below.value))
        bracket = Bracket(settled, *ends_at)
    return Trace(
        judged=judged,
        by={name: int(np.sum(met)) for name, met in zip(BY, counts, strict=True)},
        rise=rise,
        open=open_,
        edge=_first(steepness[: seen + 1] > 2 * (1 + _ROUNDING)),
        bracket=bracket,
        lost=lost,
        lost_at=lost_at,
        last=last,
    )
