"""One trial step of RKC2, and the next step's length from its error estimate."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.rkc import ERROR, last_stage, stages
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled
from thalweg.problems.programs import value_and_gradient

SHORTEST, LONGEST, SAFETY = 0.2, 5.0, 0.8  # of the step just tried: what the next one may be
ERROR_ORDER = 3  # the estimate is of the local error of the method itself


class FlowState(NamedTuple):
    """A point of the flow: time, parameters `(p,)`, `-∇L` there, the loss, the next step."""

    time: Array
    w: Array
    velocity: Array
    loss: Array
    step: Array


class Trial(NamedTuple):
    """Where the flow stands after a trial step, the gradients that cost, whether it was taken."""

    state: FlowState
    gradients: int
    taken: bool


def start(problem: FlatProblem, w: Array, step: Array) -> FlowState:
    """Return the state at time 0. Costs one gradient."""
    loss, gradient = value_and_gradient(problem, w)
    return FlowState(jnp.zeros((), w.dtype), w, -gradient, loss, step)


def trial_step(
    problem: FlatProblem, state: FlowState, spectral_radius: float, atol: float, t_end: float
) -> Trial:
    """Try one step of RKC2 from `state`, not beyond time `t_end`, and take it if it is accurate.

    Parameters
    ----------
    spectral_radius
        Upper bound on the Hessian's eigenvalues over the step.
    atol
        Bound on the Euclidean norm of the local error of a step, in the units of `w`.
    """
    time, dtype = float(state.time), state.w.dtype
    t_next = min(time + float(state.step), t_end)
    h, radius = jnp.asarray(t_next - time, dtype), jnp.asarray(spectral_radius, dtype)
    count = int(stages(h, radius))
    w = rkc2_end(problem, state.w, state.velocity, h, radius)
    loss, gradient = value_and_gradient(problem, w)
    before, after = ERROR
    estimate = before * (state.w - w) + after * h * (state.velocity - gradient)
    error = float(jnp.linalg.norm(estimate)) / max(atol, float(jnp.finfo(dtype).tiny))
    taken = error < 1
    # A step of no known error is tried again, as much shorter as may be.
    factor = SAFETY * error ** (-1 / ERROR_ORDER) if error > 0 else LONGEST
    factor = min(max(factor, 1.0 if taken else SHORTEST), LONGEST) if error == error else SHORTEST
    proposal = jnp.asarray(float(h) * factor, dtype)
    if not taken:
        return Trial(state._replace(step=proposal), count, False)
    return Trial(FlowState(jnp.asarray(t_next, dtype), w, -gradient, loss, proposal), count, True)


def rkc2_step(problem: FlatProblem, w: Array, length: Array, spectral_radius: Array) -> Array:
    """Return where one step of RKC2 leads, without knowing the velocity. Costs one gradient more.

    Traceable.
    """
    return _end(problem, w, -problem.gradient(w), length, spectral_radius)


def _end(
    problem: FlatProblem, w: Array, velocity: Array, length: Array, spectral_radius: Array
) -> Array:
    def field(time: Array, w: Array) -> Array:
        del time
        return jnp.negative(problem.gradient(w))

    count = stages(length, spectral_radius)
    return last_stage(field, jnp.zeros_like(length), length, w, velocity, count)


@compiled
def rkc2_end(
    problem: FlatProblem, w: Array, velocity: Array, length: Array, spectral_radius: Array
) -> Array:
    """Return where one step of RKC2 of the given length leads."""
    return _end(problem, w, velocity, length, spectral_radius)
