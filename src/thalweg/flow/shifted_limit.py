"""How far the limit of a flow is shifted by integrating it at a coarser tolerance.

Errors of integration are made early, while the loss falls; the long way from there to the limit is
much the same for both. So only the finer integration goes to the limit. The coarser one ends where
the difference is known: linearised limits, taken at the same times and by as many iterations, share
what is missing from stopping early.
"""

from dataclasses import replace
from math import inf
from typing import Any

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.limit_estimate import Limit, LimitEstimate
from thalweg.flow.step import FlowState

NEGLIGIBLE = 0.3  # of rtol: the change of the shift at which it is known well enough,
LARGE, SETTLED = 4.0, 0.25  # and of a shift of more than that, which asks for finer steps anyway


class ShiftedIntegrator(FlowIntegrator):
    """Follows a flow to where the shift of its limit, from that of a finer tolerance, is known.

    `fine` is the finer limit. The one returned is as far from it as their estimates are from each
    other; its `error` is that of the shift alone.
    """

    tolerance: float

    def __init__(self, fine: Limit, *arguments: Any):
        super().__init__(*arguments)
        self.fine = fine

    @property
    def _beside(self) -> LimitEstimate | None:
        """The next estimate to be compared with, if there is one."""
        return next(iter(self.fine.estimates[len(self.estimates) :]), None)

    def integrate(self, tolerance: float) -> Limit:
        """Integrate on until the shift is known, or the flow ends; as `FlowIntegrator` does."""
        self.tolerance = tolerance
        return super().integrate(tolerance)

    def _is_estimate_due(self, state: FlowState) -> bool:
        if self._beside is None:
            return super()._is_estimate_due(state)
        return float(state.time) + float(state.step) >= self._beside.time

    def _estimate_limit(self, state: FlowState) -> Limit | None:
        if self._beside is None:
            return super()._estimate_limit(state)  # whatever the other flow has come to
        limit = None
        while limit is None and (beside := self._beside) is not None:
            if not self._is_estimate_due(state):
                break
            # A step aside: were its own steps cut there, they would be as short as the finer ones.
            trial = self._trial(state, self.tolerance, beside.time)
            self.budget.spend(trial.gradients)
            self.t_end = self.t_max if trial.taken else beside.time
            if not trial.taken:
                break
            limit = self._compared(state, trial.state, beside)
        return limit

    def _compared(self, state: FlowState, there: FlowState, beside: LimitEstimate) -> Limit | None:
        """Return the shifted limit, if a comparison `there`, a step from `state`, tells it."""
        solver = beside.solver
        limit, work = solver(self.problem, there.w), solver.work_of(beside.limit)
        self.budget.spend(work)
        pairs = self._sharpness_at(limit.w) if limit.predicts else None
        at, loss = (beside.time, len(self.steps) + 1), float(there.loss)
        own = LimitEstimate(*at, solver, work, limit, loss, pairs)
        self.estimates.append(own)
        shift, error = own.sharpness - beside.sharpness, self._error_of_shift()
        wanted = self.rtol * abs(self.fine.sharpness)
        known = SETTLED * abs(shift) if abs(shift) > LARGE * wanted else NEGLIGIBLE * wanted
        if not error <= known:
            return None
        self.steps.append((beside.time - float(state.time), self._positive_bound()))
        return self._shifted(own, beside, shift, error)

    def _limit_at(self, state: FlowState, estimate: LimitEstimate, error: float) -> Limit | None:
        # A drift beyond it is in the difference to the other limit, which is a stationary point.
        assert estimate.pairs is not None
        return self._limit_by_estimate(state, estimate, estimate.limit, estimate.pairs, error)

    def _error_of_shift(self) -> float:
        """Return by how much the shift has changed since estimates that were half as good."""
        compared = list(zip(self.estimates, self.fine.estimates, strict=False))
        shifts = [own.sharpness - beside.sharpness for own, beside in compared]
        ratios = [compared[-1][1].error_ratio(beside) for _, beside in compared]
        before = [shift for shift, ratio in zip(shifts, ratios, strict=True) if ratio < inf]
        return abs(shifts[-1] - before[-1]) if before else inf

    def _shifted(
        self, own: LimitEstimate, beside: LimitEstimate, shift: float, error: float
    ) -> Limit:
        assert own.pairs is not None
        record = self._step_record((own.endpoint(),), 0.0)
        sharpness, w = self.fine.sharpness + shift, self.fine.w + (own.limit.w - beside.limit.w)
        limit = self._limit(w, own.limit.loss, own.pairs, error + beside.residual, record)
        return replace(limit, sharpness=sharpness, beside=beside.endpoint())
