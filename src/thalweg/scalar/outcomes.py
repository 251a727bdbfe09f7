"""How runs of gradient descent on a scalar network end: the traceable core of sweeps.

Runs lie along the last axis, coordinates along the first. All measures of a run are in units that
the target does not change: `ℓ = L / y²`, and the step size times a sharpness.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from thalweg.basics.named import Named
from thalweg.scalar.descent import gradient_step, product_and_others, sharpness_near_minimum
from thalweg.scalar.flow_limit import solve_coordinates_first

SETTLED = 1e-12  # ℓ at and below which a run is at a minimum
DIVERGED = 1e6  # ℓ above which it is lost
PROBE_STEPS = 64  # further steps in which to tell cycles
_CYCLE, _DRIFT = 1e-6, 0.05


class ScalarOutcome(Named):
    """How a run ends.

    With `ℓ` the loss in units of `target²`, the first that applies of:

    - `DIVERGED`: at the end `ℓ` is above 1e6 or not finite;
    - `LEFT_ORTHANT`: at some step a coordinate changed its sign (or became zero);
    - at a stable minimum (`ℓ` at most 1e-12 and `step_size * sharpness < 2`):
      `MONOTONE` if the loss never rose on the way, else
      `EDGE_OF_STABILITY` if it ends just under the threshold (within the margin asked for), and
      `FLATTER` if it ends below that;
    - in the 64 steps that follow: `PERIOD_2`, a cycle of two points; `UNFINISHED`, not settled
      but moving slowly, along a minimum, a slope, or from one 2-cycle to the next (more steps
      will tell); `IRREGULAR`, a longer period or chaos.
    """

    MONOTONE = 0
    EDGE_OF_STABILITY = 1
    FLATTER = 2
    PERIOD_2 = 3
    IRREGULAR = 4
    DIVERGED = 5
    LEFT_ORTHANT = 6
    UNFINISHED = 7


class RunOutcomes(NamedTuple):
    """What is known of runs after their last step, as `ScalarSweep` describes it."""

    outcome: Int[Array, " N"]
    loss: Float[Array, " N"]
    sharpness: Float[Array, " N"]
    loss_rises: Int[Array, " N"]
    falls: Int[Array, " N"]
    rises: Int[Array, " N"]
    undecided: Int[Array, " N"]


class _RunState(NamedTuple):
    w: Float[Array, " depth N"]
    last_loss: Float[Array, " N"]  # before the step that led to w
    loss_rises: Int[Array, " N"]
    inside: Bool[Array, " N"]  # whether all iterates so far have the signs of the start


class _FlowCounts(NamedTuple):
    sharpness: Float[Array, " N"]
    error: Float[Array, " N"]
    open: Bool[Array, " N"]  # whether inside and not settled, so that the next step counts
    falls: Int[Array, " N"]
    rises: Int[Array, " N"]
    undecided: Int[Array, " N"]


def classified_runs(
    start: Float[Array, " depth N"],
    step_size: Float[Array, " N"],
    target: Float[Array, ""],
    margin: Float[Array, ""],
    counts: tuple[Int[Array, ""], Int[Array, ""], Int[Array, ""]],
    *,
    with_flows: bool,
) -> RunOutcomes:
    """Descend from `start` with `step_size`, and classify how it ends.

    `counts` are `blocks`, `every` and `rest`: the GFS sharpness is measured at the start and after
    each of `blocks` times `every` steps (if `with_flows`); `rest` steps follow.
    """
    blocks, every, rest = counts
    signs = jnp.where(start < 0, -1.0, 1.0).astype(start.dtype)
    zeros = jnp.zeros(start.shape[1], jnp.int32)
    state = _RunState(start, jnp.full_like(step_size, jnp.inf), zeros, zeros == 0)

    def descend(state: _RunState, steps: Array) -> _RunState:
        state = jax.lax.fori_loop(
            0, steps, lambda _, at: _step(at, step_size, target, signs), state
        )
        return state

    def block(_: Array, carry: tuple[_RunState, _FlowCounts]) -> tuple[_RunState, _FlowCounts]:
        state = descend(carry[0], every)
        return state, _compare(carry[1], state, target)

    none = jnp.zeros_like(step_size)
    flows = _FlowCounts(none, none, zeros > 0, *[zeros] * 3)
    if with_flows:
        state, flows = jax.lax.fori_loop(0, blocks, block, (state, _compare(flows, state, target)))
    state = descend(state, rest)
    return _classify(state, flows, step_size, target, margin)


def _step(
    state: _RunState,
    step_size: Float[Array, " N"],
    target: Float[Array, ""],
    signs: Float[Array, " depth N"],
) -> _RunState:
    w, loss = gradient_step(state.w, step_size, target)
    rises = state.loss_rises + _rose(state.last_loss, loss, target, len(signs))
    return _RunState(w, loss, rises, state.inside & jnp.all(w * signs > 0, axis=0))


def _rose(
    before: Float[Array, " N"], after: Float[Array, " N"], target: Float[Array, ""], depth: int
) -> Int[Array, " N"]:
    """Whether the loss rose; not where it is nothing but the rounding of the product."""
    rounding = 64 * depth * jnp.finfo(after.dtype).eps * target
    return ((after > before) & (after > 0.5 * rounding * rounding)).astype(jnp.int32)


def _compare(last: _FlowCounts, state: _RunState, target: Float[Array, ""]) -> _FlowCounts:
    found = solve_coordinates_first(state.w, target)
    error = jnp.where(found.is_saddle, jnp.inf, found.error)
    fall, doubt = last.sharpness - found.sharpness, last.error + error
    counts = last.open & state.inside
    falls, rises = counts & (fall > doubt), counts & (-fall > doubt)
    product, _ = product_and_others(state.w)
    unsettled = 0.5 * (product / target - 1) ** 2 > SETTLED
    return _FlowCounts(
        found.sharpness,
        error,
        state.inside & unsettled,
        last.falls + falls.astype(jnp.int32),
        last.rises + rises.astype(jnp.int32),
        last.undecided + (counts & ~falls & ~rises).astype(jnp.int32),
    )


def _classify(
    state: _RunState,
    flows: _FlowCounts,
    step_size: Float[Array, " N"],
    target: Float[Array, ""],
    margin: Float[Array, ""],
) -> RunOutcomes:
    _, loss = gradient_step(state.w, step_size, target)
    loss_rises = state.loss_rises + _rose(state.last_loss, loss, target, len(state.w))
    sharpness = sharpness_near_minimum(state.w, target)
    at_minimum = (loss <= SETTLED * target * target) & (step_size * sharpness < 2)
    settled = jnp.where(
        loss_rises == 0,
        ScalarOutcome.MONOTONE,
        jnp.where(
            step_size * sharpness >= 2 - margin,
            ScalarOutcome.EDGE_OF_STABILITY,
            ScalarOutcome.FLATTER,
        ),
    )
    last, moving = _probe(state.w, step_size, target)
    # Not `loss > ...`: NaN is lost too.
    lost = ~(jnp.maximum(loss, last) <= DIVERGED * target * target)
    outcome = jnp.where(at_minimum, settled, moving)
    outcome = jnp.where(state.inside, outcome, ScalarOutcome.LEFT_ORTHANT)
    outcome = jnp.where(lost, ScalarOutcome.DIVERGED, outcome)
    return RunOutcomes(
        outcome.astype(jnp.int8),
        loss,
        jnp.where(at_minimum & ~lost, sharpness, jnp.nan),
        loss_rises,
        flows.falls,
        flows.rises,
        flows.undecided,
    )


def _probe(w: Array, step_size: Array, target: Array) -> tuple[Array, Array]:
    """Return the loss `PROBE_STEPS` steps later, and which kind of motion there is until then.

    With `m_k` the largest `|w_t - w_{t-k}|` on the way: a 2-cycle has `m_2 ≪ m_1`. Slow motion
    along a family of 2-cycles has a small `m_2` as well but moves on (`m_4` is not smaller
    still, as it is on a cycle of period 4 next to one of period 2).
    """
    none = jnp.zeros_like(step_size)

    def step(_: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        w, w1, w2, w3, m1, m2, m4, last_loss, rose = carry
        new, loss = gradient_step(w, step_size, target)
        change = [jnp.max(jnp.abs(new - old), axis=0) for old in (w, w1, w3)]
        m1, m2, m4 = (jnp.maximum(m, c) for m, c in zip((m1, m2, m4), change, strict=True))
        return new, w, w1, w2, m1, m2, m4, loss, rose | (loss > last_loss)

    def advance(w: Array) -> Array:
        return gradient_step(w, step_size, target)[0]

    w1 = advance(w)
    w2 = advance(w1)
    w3 = advance(w2)
    start = (w3, w2, w1, w, none, none, none, jnp.full_like(none, jnp.inf), none > 0)
    _, _, _, _, m1, m2, m4, loss, rose = jax.lax.fori_loop(0, PROBE_STEPS - 3, step, start)
    slow = ~rose | ((m2 <= _DRIFT * m1) & (m4 > 1e-3 * m2))
    moving = jnp.where(slow, ScalarOutcome.UNFINISHED, ScalarOutcome.IRREGULAR)
    return loss, jnp.where(rose & (m2 <= _CYCLE * m1), ScalarOutcome.PERIOD_2, moving)
