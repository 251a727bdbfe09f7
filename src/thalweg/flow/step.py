"""One trial step of RKC2, and the next step's length from its error estimate."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.rkc import ERROR, Evaluated, chebyshev_stages, stages
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled
from thalweg.problems.programs import array_module

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
    w, loss, velocity = rkc2_end(problem, state.w, state.velocity, h, radius)
    before, after = ERROR
    xp = array_module(w)
    moved = xp.asarray(state.w) - xp.asarray(w)
    velocities = xp.asarray(state.velocity) + xp.asarray(velocity)
    estimate = xp.linalg.norm(before * moved + (after * float(h)) * velocities)
    error = float(estimate) / max(atol, float(jnp.finfo(dtype).tiny))
    taken = error < 1
    # A step of no known error is tried again, as much shorter as may be.
    factor = SAFETY * error ** (-1 / ERROR_ORDER) if error > 0 else LONGEST
    factor = min(max(factor, 1.0 if taken else SHORTEST), LONGEST) if error == error else SHORTEST
    proposal = jnp.asarray(float(h) * factor, dtype)
    if not taken:
        return Trial(state._replace(step=proposal), count, False)
    return Trial(FlowState(jnp.asarray(t_next, dtype), w, velocity, loss, proposal), count, True)


def value_and_gradient(problem: FlatProblem, w: Array) -> tuple[Array, Array]:
    """Return the loss and its gradient, shape `(p,)`.

    As a step of no length, so that one program, with one copy of the gradient, serves both.
    """
    zero, one = jnp.zeros((), w.dtype), jnp.ones((), w.dtype)
    _, loss, velocity = rkc2_end(problem, w, jnp.zeros_like(w), zero, one)
    return loss, -velocity


@compiled
def rkc2_end(
    problem: FlatProblem, w: Array, velocity: Array, length: Array, spectral_radius: Array
) -> tuple[Array, Array, Array]:
    """Return where one step of RKC2 of the given length leads, the loss and the velocity there."""
    count = stages(length, spectral_radius)
    evaluations = jnp.where(length == 0, 1, count)
    w, (velocity, loss), _ = _stages(problem, w, velocity, length, count, evaluations)
    return w, loss, velocity


def rkc2_step(problem: FlatProblem, w: Array, length: Array, spectral_radius: Array) -> Array:
    """Return where one step of RKC2 leads, from a point whose velocity is not known. Traceable."""
    count = stages(length, spectral_radius)
    return _stages(problem, w, -problem.gradient(w), length, count, count - 1)[2]


def _stages(
    problem: FlatProblem, w: Array, velocity: Array, length: Array, count: Array, evaluations: Array
) -> tuple[Array, Evaluated, Array]:
    def field(time: Array, w: Array) -> Evaluated:
        del time
        loss, gradient = problem.value_and_gradient(w)
        return -gradient, loss

    zero = jnp.zeros_like(length)
    return chebyshev_stages(field, zero, length, w, (velocity, zero), count, evaluations)
