"""One segment of an integrated flow: a few adaptive steps in one compiled `diffeqsolve`.

Segments are what makes a long integration watchable and stoppable, and what lets the bound on the
spectral radius be renewed along the way. diffrax reverts the state of a solver when it rejects a
step, so the count of work and the next step length are kept in the step-size controller.
"""

from typing import Any, NamedTuple

import diffrax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.rkc import RKC2, stages
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled

STEPS = 1  # tried per segment; more would save dispatches, fewer looks would be possible


class FlowState(NamedTuple):
    """A point of the flow: time, parameters `(p,)`, `-∇L` there, the loss, the next step."""

    time: Array
    w: Array
    velocity: Array
    loss: Array
    step: Array


class Segment(NamedTuple):
    """Where a segment ended, the gradients it cost and the steps it rejected."""

    state: FlowState
    gradients: Array
    rejected: Array


class _Ledger(NamedTuple):
    inner: Any
    gradients: Array
    rejected: Array
    next_step: Array


class CountingController(diffrax.AbstractStepSizeController):
    """diffrax's PID controller, and a ledger of the stages spent, rejected steps included."""

    pid: diffrax.PIDController
    spectral_radius: Array

    def wrap(self, direction: Any) -> "CountingController":
        """Return the controller for integration in this `direction` of time (always forward)."""
        return CountingController(self.pid.wrap(direction), self.spectral_radius)

    def init(self, terms: Any, t0: Any, t1: Any, y0: Any, dt0: Any, args: Any, *rest: Any) -> Any:
        """Return the end of the first step and an empty ledger."""
        t_next, inner = self.pid.init(terms, t0, t1, y0, dt0, args, *rest)
        zero = jnp.zeros((), int)
        return t_next, _Ledger(inner, zero, zero, t_next - t0)

    def adapt_step_size(self, t0: Any, t1: Any, *args: Any) -> Any:
        """Accept or reject the step from `t0` to `t1`, and enter it in the ledger."""
        *rest, ledger = args
        adapted = self.pid.adapt_step_size(t0, t1, *rest, ledger.inner)  # type: ignore[call-arg]
        keep, t0_next, t1_next, jump, inner, result = adapted
        ledger = _Ledger(
            inner,
            ledger.gradients + stages(t1 - t0, self.spectral_radius),
            ledger.rejected + jnp.where(keep, 0, 1),
            jnp.asarray(t1_next - t0_next),
        )
        return keep, t0_next, t1_next, jump, ledger, result


def _velocity(t: Any, w: Array, problem: FlatProblem) -> Array:
    return -problem.gradient(w)


_TERM = diffrax.ODETerm(_velocity)


@compiled
def start(problem: FlatProblem, w: Array, step: Array) -> FlowState:
    """Return the state at time 0. Costs one gradient."""
    loss, gradient = problem.value_and_gradient(w)
    return FlowState(jnp.zeros((), w.dtype), w, -gradient, loss, step)


@compiled
def advance(
    problem: FlatProblem, state: FlowState, spectral_radius: Array, atol: Array, t_end: Array
) -> Segment:
    """Take at most `STEPS` adaptive steps of RKC2 from `state`, not beyond time `t_end`.

    Parameters
    ----------
    spectral_radius
        Upper bound on the Hessian's eigenvalues over the segment.
    atol
        Bound on the Euclidean norm of the local error of a step, in the units of `w`.
    """
    rms = atol / jnp.sqrt(jnp.asarray(state.w.size, state.w.dtype))
    pid = diffrax.PIDController(
        rtol=0.0, atol=rms, norm=_rms, factormax=5.0, safety=0.8, error_order=3
    )
    # Not by the compiled function: its cache would hold the problem, and its data, for ever.
    solution = diffrax.diffeqsolve.__wrapped__(  # type: ignore[attr-defined]
        _TERM,
        RKC2(spectral_radius),
        state.time,
        t_end,
        state.step,
        state.w,
        args=problem,
        saveat=diffrax.SaveAt(t1=True, solver_state=True, controller_state=True),
        stepsize_controller=CountingController(pid, spectral_radius),
        solver_state=state.velocity,
        max_steps=STEPS,
        throw=False,
    )
    ledger, w = solution.controller_state, solution.ys[-1]
    end = FlowState(solution.ts[-1], w, solution.solver_state, problem(w), ledger.next_step)
    return Segment(end, ledger.gradients, ledger.rejected)


def one_step(problem: FlatProblem, w: Array, length: Array, spectral_radius: Array) -> Array:
    """Return where one step of RKC2 of the given length leads. Costs one gradient per stage."""
    zero = jnp.zeros_like(length)
    velocity = _velocity(zero, w, problem)
    solver = RKC2(spectral_radius)
    return solver.step(_TERM, zero, length, w, problem, velocity, False)[0]


def _rms(y: Array) -> Array:
    """Return the root mean square of `y`."""
    return jnp.sqrt(jnp.mean(y**2))
