"""For losses without a minimiser: the sharpness where the flow first reaches a given loss."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from jaxtyping import PyTree

from thalweg.basics.activity import doing, entered
from thalweg.basics.blas import one_blas_thread
from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.method import FlowProgress, Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.stabilized import LADDER as STABILIZED
from thalweg.flow.step import FlowState
from thalweg.flow.tolerance_pair import TolerancePair, solve
from thalweg.problems import flatten

LADDER = replace(STABILIZED, refinements=2)
LEVEL_TOLERANCE = 1e-3  # of rtol: how close to the level, relatively
CROSSING_STEPS = 40  # at most, to reach it


@one_blas_thread
def truncated_sharpness(
    loss: Callable[[Any], Any],
    w: PyTree,
    *,
    level: float,
    rtol: float = 1e-4,
    max_gradient_evaluations: float = 200_000,
    report: Callable[[FlowProgress], bool | None] | None = None,
    max_seconds: float = inf,
) -> FlowSolution:
    """Return the sharpness where gradient flow from `w` first reaches the loss `level`.

    It is *not* the GFS sharpness, and values at different levels are not comparable: fix one level
    for a whole run. It exists also where the loss has no minimiser at finite distance
    (cross-entropy on separable data).

    Parameters
    ----------
    loss, w, rtol, max_gradient_evaluations, report, max_seconds
        As for `gradient_flow_solution`.
    level
        The loss at which to stop, below the loss at `w`.

    Returns
    -------
    FlowSolution
        `w`, `sharpness` and `sharpness_error` at the crossing; the method is named "truncated".
        If the flow settles above the level, the status is `LEVEL_NOT_REACHED`.

    Raises
    ------
    ValueError
        `level` is not below the loss at `w`.
    """
    request = Request(rtol, max_gradient_evaluations, report, max_seconds=max_seconds)
    with entered(report), doing("following the gradient flow"):
        return _to_level(loss, w, level, request)


def _to_level(
    loss: Callable[[Any], Any], w: PyTree, level: float, request: Request
) -> FlowSolution:
    problem, vector = flatten(loss, w)
    initial = float(problem(vector))
    if not level < initial:
        raise ValueError(f"level must be below the loss at w, {initial:.6g}, got {level}")

    def integrator(*arguments: Any) -> FlowIntegrator:
        to_level = _LevelIntegrator(*arguments)
        to_level.level = level
        return to_level

    pair = TolerancePair("truncated", integrator, LADDER.tolerances(request.rtol))
    solution = solve(pair, problem, vector, request)
    return replace(solution, w=problem.tree(solution.w))


class _LevelIntegrator(FlowIntegrator):
    """Integrates the flow until the loss reaches a level: event location."""

    level: float
    tolerance: float
    before: FlowState | None = None
    gives_up = False  # the level is reached long before the flow settles, if at all

    def integrate(self, tolerance: float) -> Limit | None:
        self.tolerance = tolerance
        return super().integrate(tolerance)

    def settle(self) -> Limit | None:
        return self._above(super().settle())

    def _terminate(self, state: FlowState) -> Limit | None:
        if float(state.loss) <= self.level and self.before is not None:
            state = self._locate_crossing(self.before, state)
            return self._limit(state.w, float(state.loss), self._sharpness_at(state.w), 0.0)
        self.before = state
        return self._above(super()._terminate(state))

    def _above(self, limit: Limit | None) -> Limit | None:
        if limit is None or limit.status in (Status.NON_FINITE, Status.NON_FINITE_HESSIAN):
            return limit
        if limit.status is None and limit.loss > self.level:
            return self.failed_limit(Status.LEVEL_NOT_REACHED)
        return None  # settling below the level, or diverging: the level lies ahead

    def _locate_crossing(self, above: FlowState, below: FlowState) -> FlowState:
        """Return the point between two states where the loss is the level, by the secant rule.

        Safeguarded by bisection; each trial costs the steps from the last point above the level.
        """
        low, high = float(above.time), float(below.time)
        f_low, f_high = float(above.loss) - self.level, float(below.loss) - self.level
        state, f = below, f_high
        for trial in range(CROSSING_STEPS):
            if abs(f) <= LEVEL_TOLERANCE * self.rtol * abs(self.level):
                break
            weight = f_low / (f_low - f_high) if trial % 3 < 2 else 0.5
            middle = low + min(max(weight, 0.05), 0.95) * (high - low)
            state = self._step_to(above, middle)
            f = float(state.loss) - self.level
            if f <= 0:
                high, f_high = float(state.time), f
            else:
                above, low, f_low = state, float(state.time), f
        return state

    def _step_to(self, state: FlowState, time: float) -> FlowState:
        self.t_end = time
        while float(state.time) < time:
            state = self._advance(state, self.tolerance)
        self.t_end = self.t_max
        return state
