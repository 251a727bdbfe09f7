"""One trial step of RKC2, and the next step's length from its error estimate."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.rkc import ERROR, Evaluated, chebyshev_stages, stage_count
from thalweg.flow.step_control import StepControl
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled
from thalweg.problems.programs import array_module, norm

STEPS_AT_ONCE = 16  # that `rkc2_steps` takes, at most


Scalar = Array | NDArray[Any]  # of no dimensions, in the dtype of the parameters


class FlowState(NamedTuple):
    """A point of the flow: time, parameters `(p,)`, `-∇L` there, the loss, the next step.

    `errors` is the sum of the estimated local errors of the steps of RKC2 that led there: what the
    point is off by, if none of them is forgotten or grows on the way.
    """

    time: Scalar
    w: Array
    velocity: Array
    loss: Array
    step: Scalar
    errors: Scalar


class Trial(NamedTuple):
    """Where the flow stands after a trial step, the gradients that cost, whether it was taken."""

    state: FlowState
    gradients: int
    taken: bool


def start(problem: FlatProblem, w: Array, step: float) -> FlowState:
    """Return the state at time 0. Costs one gradient."""
    loss, velocity = loss_and_velocity(problem, w)
    zero = np.zeros((), w.dtype)
    return FlowState(zero, w, velocity, loss, np.asarray(step, w.dtype), zero)


def trial_step(
    problem: FlatProblem,
    state: FlowState,
    spectral_radius: float,
    atol: float,
    t_end: float,
    control: StepControl,
) -> Trial:
    """Try one step of RKC2 from `state`, not beyond time `t_end`, and take it if it is accurate.

    A step that was taken is not followed by a shorter one.

    Parameters
    ----------
    spectral_radius
        Upper bound on the Hessian's eigenvalues over the step.
    atol
        Bound on the Euclidean norm of the local error of a step, in the units of `w`.
    """
    time, dtype = float(state.time), state.w.dtype
    t_next = min(time + float(state.step), t_end)
    h = np.asarray(t_next - time, dtype)
    count = stage_count(float(h), spectral_radius)
    w, loss, velocity = rkc2_end(problem, state.w, state.velocity, h, np.asarray(count))
    before, after = ERROR
    xp = array_module(w)
    moved = xp.asarray(state.w) - xp.asarray(w)
    velocities = xp.asarray(state.velocity) + xp.asarray(velocity)
    with np.errstate(all="ignore"):  # a trial may go far astray
        estimate = float(xp.linalg.norm(before * moved + (after * float(h)) * velocities))
    error = estimate / max(atol, float(jnp.finfo(dtype).tiny))
    taken = error < 1
    factor = max(control.factor(error), 1.0 if taken else 0.0)
    proposal = np.asarray(float(h) * factor, dtype)
    if not taken:
        return Trial(state._replace(step=proposal), count, False)
    errors = np.asarray(float(state.errors) + estimate, dtype)
    end = FlowState(np.asarray(t_next, dtype), w, velocity, loss, proposal, errors)
    return Trial(end, count, True)


def loses_all(state: FlowState) -> bool:
    """Whether zero loss lies ahead: then the loss falls at least like a power of time."""
    time, speed = float(state.time), norm(state.velocity)
    return time * speed**2 > 0.1 * float(state.loss) or time == 0


def loss_and_velocity(problem: FlatProblem, w: Array | NDArray[Any]) -> tuple[Array, Array]:
    """Return the loss, and its gradient with the opposite sign, shape `(p,)`.

    As a step of no length, so that one program, with one copy of the gradient, serves both.
    """
    xp = array_module(w)
    zero = np.zeros((), w.dtype)
    return rkc2_end(problem, w, xp.zeros(w.shape, w.dtype), zero, np.asarray(2))[1:]


def value_and_gradient(problem: FlatProblem, w: Array | NDArray[Any]) -> tuple[Array, Array]:
    """Return the loss and its gradient, shape `(p,)`."""
    loss, velocity = loss_and_velocity(problem, w)
    return loss, jnp.asarray(-array_module(velocity).asarray(velocity))


@compiled
def rkc2_end(
    problem: FlatProblem, w: Any, velocity: Any, length: Scalar, count: NDArray[Any]
) -> tuple[Array, Array, Array]:
    """Return where one step of RKC2, of so many stages, leads, the loss and the velocity there."""
    evaluations = jnp.where(length == 0, 1, count)
    w, (velocity, loss), _ = _stages(problem, w, velocity, length, count, evaluations)
    return w, loss, velocity


def rkc2_steps(
    problem: FlatProblem, w: Array, lengths: NDArray[Any], bounds: NDArray[Any]
) -> Array:
    """Return where steps of the given lengths, with these spectral bounds, lead."""
    counts = np.array(list(map(stage_count, lengths, bounds)), int)
    pad = 0, STEPS_AT_ONCE - len(lengths)  # to a fixed shape: compiled once
    steps = np.pad(lengths, pad).astype(w.dtype), np.pad(counts, pad)
    return _rkc2_steps(problem, w, *steps, np.asarray(len(lengths)))


@compiled
def _rkc2_steps(problem: FlatProblem, w: Array, lengths: Any, counts: Any, steps: Any) -> Array:
    def one(i: Any, w: Array) -> Array:
        velocity = -problem.gradient(w)
        return _stages(problem, w, velocity, lengths[i], counts[i], counts[i] - 1)[2]

    w = lax.fori_loop(0, steps, one, w)
    return w


def _stages(
    problem: FlatProblem, w: Array, velocity: Array, length: Any, count: Any, evaluations: Any
) -> tuple[Array, Evaluated, Array]:
    def field(time: Array, w: Array) -> Evaluated:
        del time
        loss, gradient = problem.value_and_gradient(w)
        return -gradient, loss

    zero = jnp.zeros_like(length)
    return chebyshev_stages(field, zero, length, w, (velocity, zero), count, evaluations)
