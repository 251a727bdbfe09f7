"""How far the limit of a flow is shifted by integrating it at a coarser tolerance.

Errors of integration are made early, while the loss falls; the long way from there to the limit is
much the same for both. So only the finer integration goes to the limit. The coarser one follows it
from estimate to estimate of that limit, and ends where the difference is known: linearised limits,
taken at the same times and by as many iterations, share what is missing from stopping early.
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

    `fine` follows the same flow at that tolerance. The limit returned is an estimate, and its
    `error` that of the shift from the estimate beside it alone (`Limit.shifted_to`).
    """

    tolerance: float
    is_alone = False  # until the other flow has ended: then this one goes on to its own limit

    def __init__(self, fine: FlowIntegrator, *arguments: Any):
        super().__init__(*arguments)
        self.fine, self.begun, self.uncompared = fine, 0.0, 0

    def take_over(self, coarse: FlowIntegrator) -> None:
        """Begin where a flow at this tolerance stands, whose estimates are not to be compared."""
        if (saved := coarse.snapshot()) is not None:
            self.restore(replace(saved, spent=0.0))
            self.begun, self.uncompared = float(saved.state.time), len(saved.estimates)

    @property
    def _compared(self) -> list[tuple[LimitEstimate, LimitEstimate]]:
        """The estimates so far, and those of the other flow at the same times."""
        return list(zip(self.estimates[self.uncompared :], self._besides, strict=False))

    @property
    def _besides(self) -> list[LimitEstimate]:
        return [one for one in self.fine.estimates if one.time > self.begun]

    @property
    def beside(self) -> LimitEstimate | None:
        """As for `FlowIntegrator`: an estimate of the finer flow."""
        return next(iter(self._besides[len(self._compared) :]), None)

    def integrate(self, tolerance: float) -> Limit | None:
        """Integrate on until the shift is known, or the flow ends, or there is no estimate beside.

        As `FlowIntegrator` does once this one is alone.
        """
        self.tolerance = tolerance
        return super().integrate(tolerance)

    def _pauses(self, state: FlowState) -> bool:
        return super()._pauses(state) if self.is_alone else self.beside is None

    def _is_estimate_due(self, state: FlowState) -> bool:
        if (beside := self.beside) is None:
            return super()._is_estimate_due(state)
        return float(state.time) + float(state.step) >= beside.time

    def _estimate_limit(self, state: FlowState) -> Limit | None:
        if self.beside is None:
            return super()._estimate_limit(state)  # whatever the other flow has come to
        limit = None
        while limit is None and (beside := self.beside) is not None:
            if not self._is_estimate_due(state):
                break
            # A step aside: were its own steps cut there, they would be as short as the finer ones.
            trial = self._trial(state, self.tolerance, beside.time)
            self.budget.spend(trial.gradients)
            self.t_end = self.t_max if trial.taken else beside.time
            if not trial.taken:
                break
            limit = self._compare(state, trial.state, beside)
        return limit

    def _compare(self, state: FlowState, there: FlowState, beside: LimitEstimate) -> Limit | None:
        """Return the limit, if a comparison `there`, a step from `state`, tells its shift."""
        solver = beside.solver
        limit, work = solver(self.problem, there.w), solver.work_of(beside.limit)
        self.budget.spend(work)
        pairs = self._sharpness_at(limit.w) if limit.predicts else None
        at, loss = (beside.time, len(self.steps) + 1), float(there.loss)
        own = LimitEstimate(*at, solver, work, limit, loss, pairs)
        self.estimates.append(own)
        shift, error = own.sharpness - beside.sharpness, self._error_of_shift()
        wanted = self.rtol * abs(beside.sharpness)
        known = SETTLED * abs(shift) if abs(shift) > LARGE * wanted else NEGLIGIBLE * wanted
        if pairs is None or not error <= known:
            return None
        aside = beside.time - float(state.time), self._positive_bound()
        record = self._step_record((own.endpoint(),), 0.0, aside)
        found = self._limit(limit.w, limit.loss, pairs, error + beside.residual, record)
        return replace(found, beside=beside)

    def _limit_at(self, state: FlowState, estimate: LimitEstimate) -> Limit | None:
        # A drift beyond it is in the difference to the other limit, which is a stationary point.
        assert estimate.pairs is not None
        error = self._error_of(estimate)
        return self._limit_by_estimate(state, estimate, estimate.limit, estimate.pairs, error)

    def _error_of_shift(self) -> float:
        """Return by how much the shift has changed since estimates that were half as good."""
        compared = self._compared
        shifts = [own.sharpness - beside.sharpness for own, beside in compared]
        ratios = [compared[-1][1].error_ratio(beside) for _, beside in compared]
        before = [shift for shift, ratio in zip(shifts, ratios, strict=True) if ratio < inf]
        return abs(shifts[-1] - before[-1]) if before else inf
