"""The baseline: the classical Runge–Kutta method of order 4 with steps of 1/sharpness."""

from dataclasses import dataclass
from typing import Any, ClassVar

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution
from thalweg.flow.step import FlowState
from thalweg.flow.tolerance_pair import TolerancePair, solve
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled

STEPS = 25  # of one call


@dataclass(frozen=True)
class RungeKutta4:
    """Steps of `1/sharpness`, as published codes take them; costly, and simple enough to trust.

    The flow is integrated with steps of `2/λ` and of `1/λ`; error bar and stopping are those of
    `Stabilized`. It serves comparisons and tests.
    """

    name: ClassVar[str] = "runge_kutta4"

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        tolerances = (2.0, 1.0, 0.5, 0.25)
        pair = TolerancePair(
            self.name, _FixedStepIntegrator, tolerances, extrapolation=1 / 15, integration=0.2
        )
        return solve(pair, problem, w, request)


def runge_kutta4_steps(problem: FlatProblem, w: Array, lengths: Any, bounds: Any) -> Array:
    """Return where `STEPS` steps for each of the lengths lead; bounds are not needed."""
    del bounds
    for length in lengths:
        w = _compiled_steps(problem, w, jnp.asarray(length / STEPS, w.dtype))
    return w


class _FixedStepIntegrator(FlowIntegrator):
    """Integrates the flow with steps of `tolerance / λ`."""

    steps_again = staticmethod(runge_kutta4_steps)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        step = tolerance / self.bound if self.bound > 0 else float(state.step)
        state = _runge_kutta4(self.problem, state, jnp.asarray(step, state.w.dtype))
        self.count_steps(4 * STEPS + 1, state.w, is_bound_stale=False)
        return state


@compiled
def _runge_kutta4(problem: FlatProblem, state: FlowState, step: Array) -> FlowState:
    w = _steps(problem, state.w, step)
    loss, gradient = problem.value_and_gradient(w)
    return FlowState(state.time + STEPS * step, w, -gradient, loss, step, state.errors)


def _steps(problem: FlatProblem, w: Array, step: Array) -> Array:
    """Return where `STEPS` steps lead."""

    def velocity(w: Array) -> Array:
        return jnp.negative(problem.gradient(w))

    def one(_: Array, w: Array) -> Array:
        k1 = velocity(w)
        k2 = velocity(w + step / 2 * k1)
        k3 = velocity(w + step / 2 * k2)
        k4 = velocity(w + step * k3)
        return w + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    w = lax.fori_loop(0, STEPS, one, w)
    return w


_compiled_steps = compiled(_steps)
