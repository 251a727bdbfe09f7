"""The baseline: the classical Runge–Kutta method of order 4 with steps of 1/sharpness."""

from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from thalweg.flow.follow import Pursuit
from thalweg.flow.method import Request
from thalweg.flow.segment import FlowState
from thalweg.flow.solution import FlowSolution
from thalweg.flow.twice import Scheme, solve
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled

STEPS = 25  # between two looks at the clock


@dataclass(frozen=True)
class RungeKutta4:
    """Steps of `1/sharpness`, as published codes take them; costly, and simple enough to trust.

    The flow is followed with steps of `2/λ` and of `1/λ`; error bar and stopping are those of
    `Stabilized`. It serves comparisons and tests.
    """

    name: ClassVar[str] = "runge_kutta4"

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        scheme = Scheme(
            self.name, _FixedSteps, (2.0, 1.0, 0.5, 0.25), extrapolation=1 / 15, integration=0.2
        )
        return solve(scheme, problem, w, request)


def steps_of_length(problem: FlatProblem, w: Array, length: Array, bound: Array) -> Array:
    """Return where `STEPS` steps of the given length altogether lead; a bound is not needed."""
    del bound
    return _many(problem, w, length / STEPS)


class _FixedSteps(Pursuit):
    """Follows the flow with steps of `tolerance / λ`."""

    step = staticmethod(steps_of_length)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        step = tolerance / self.bound if self.bound > 0 else float(state.step)
        state = _runge_kutta4(self.problem, state, jnp.asarray(step, state.w.dtype))
        self.count_steps(4 * STEPS + 1, state.w, is_bound_stale=False)
        return state


@compiled
def _runge_kutta4(problem: FlatProblem, state: FlowState, step: Array) -> FlowState:
    w = _many(problem, state.w, step)
    loss, gradient = problem.value_and_gradient(w)
    return FlowState(state.time + STEPS * step, w, -gradient, loss, step)


def _many(problem: FlatProblem, w: Array, step: Array) -> Array:
    """Return where `STEPS` steps lead."""

    def velocity(w: Array) -> Array:
        return -problem.gradient(w)

    def one(_: Array, w: Array) -> Array:
        k1 = velocity(w)
        k2 = velocity(w + step / 2 * k1)
        k3 = velocity(w + step / 2 * k2)
        k4 = velocity(w + step * k3)
        return w + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    return lax.fori_loop(0, STEPS, one, w)
