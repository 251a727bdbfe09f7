"""Integrate the flow at a coarse and a fine tolerance: a value, extrapolated, and its error bar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integration import Integration, ToleranceState
from thalweg.flow.integration_options import IntegrationOptions
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.method import Request
from thalweg.flow.one_sided_sharpness import nearest_jump
from thalweg.flow.shifted_limit import ShiftedIntegrator
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.step_record import StepRecordPair
from thalweg.flow.work_budget import OutOfBudget, Stop, WorkBudget
from thalweg.problems import FlatProblem
from thalweg.problems.programs import distance

FLOOR = 1e-3  # of rtol: an error bar is never narrower, however well two integrations agree
ROUNDING = 400.0  # units of rounding per root of the number of gradients
FILLED = 0.95  # of rtol: what error bars are widened to, at most
LEAST_ROOM = 0.15  # of rtol: what the error of the integration has to leave to that of stopping
COARSER = 5.0  # by which the error of the integration grows with the next coarser tolerances
USUAL_RATIO = 2.5  # of differences at successive tolerances: with less, errors fall slowly
LEAST_RATIO = 1.25  # that is told from none
PERSISTING = 0.08  # of the sum of local errors: what an endpoint is off by, at least
RANGE_SAFETY_FACTOR = 2.0  # by which one-sided ranges are widened
EXPECTED = 3500.0  # gradient evaluations, for progress displays only


@dataclass(frozen=True)
class Ladder:
    """Local tolerances, in units of a power of `rtol`.

    Attributes
    ----------
    fine
        The finer of the two that are always used.
    ratio
        The factor from one to the next finer one.
    refinements
        How many finer ones there are for when the error bar is still too wide.
    power
        That power: where errors of the limit fall like a power of the tolerance, its inverse.
    loosest
        The largest that the finer one may be: with larger ones, errors would not yet fall with the
        tolerance as they should, and little would be spared.
    """

    fine: float
    ratio: float = 6.0
    refinements: int = 4
    power: float = 1.0
    loosest: float = inf

    def tolerances(self, rtol: float, finest: float = 0.0) -> list[float]:
        """Return them in decreasing order: at least two, and all larger than `finest`.

        Examples
        --------
        >>> Ladder(0.5, ratio=2.0, refinements=2).tolerances(1.0)
        [1.0, 0.5, 0.25, 0.125]
        """
        fine = min(self.fine * rtol**self.power, self.loosest)
        powers = range(-1, self.refinements + 1)
        found = [here for k in powers if (here := fine / self.ratio**k) > finest]
        return found if len(found) >= 2 else [self.ratio * finest, finest]


@dataclass(frozen=True)
class TolerancePair:
    """How to integrate at two tolerances, or more, and what the difference says.

    Attributes
    ----------
    name
        The name that results carry.
    integrator
        What integrates the flow at one tolerance.
    tolerances
        A coarse one, a fine one, and finer ones for when the error bar is too wide (`Ladder`).
    options
        How the integrator goes about it.
    extrapolation, integration
        The parts of the difference between two tolerances that are added to the finer value, and
        taken as the error that this leaves. With a ratio `ρ` of the two errors the finer one is
        `1/(ρ - 1)` of the difference: the defaults are for ratios near 4, and cover those over 2.1.
    safety_factor
        By which the error bar is widened where it stays within `rtol`.
    comparing
        What follows the flow at the coarse tolerance to a comparison with the fine one, its first
        argument, on the way; left out, `integrator` follows it to its own limit.
    """

    name: str
    integrator: Callable[..., FlowIntegrator]
    tolerances: Sequence[float]
    options: IntegrationOptions = field(default_factory=IntegrationOptions)
    extrapolation: float = 0.33
    integration: float = 0.6
    safety_factor: float = 3.0
    comparing: Callable[..., ShiftedIntegrator] | None = None


def solve(pair: TolerancePair, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
    """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
    previous = request.previous
    budget = WorkBudget(request, previous.gradient_evaluations if previous else EXPECTED)
    refinement = _ToleranceRefinement(pair, problem, w, budget)
    budget.state = refinement.states
    try:
        best, status = refinement.refine(_eigenvector(previous, w))
    except (Stop, OutOfBudget) as reason:
        status = Status.STOPPED if isinstance(reason, Stop) else Status.BUDGET_EXHAUSTED
        best = refinement.best_known(status)
    return FlowSolution(
        w=best.w,
        sharpness=best.sharpness,
        sharpness_error=best.error,
        loss=best.loss,
        status=status,
        gradient_evaluations=budget.spent,
        method=pair.name,
        eigenvector=best.eigenvector,
        step_records=refinement.step_records,
        detail=best.detail,
        too_coarse=refinement.too_coarse,
    )


class _ToleranceRefinement:
    """The solves at ever finer tolerances; it keeps the best answer for an interruption."""

    def __init__(self, pair: TolerancePair, problem: FlatProblem, w: Array, budget: WorkBudget):
        self.pair, self.problem, self.w, self.budget = pair, problem, w, budget
        self.best: Limit | None = None
        self.step_records: StepRecordPair | None = None
        # Of the tolerances before: the differences of the sharpness and of the endpoints.
        self.difference_before = self.distance_before = inf
        self.integrations: list[Integration] = []
        self.before: Sequence[ToleranceState] = budget.request.standing or ()
        known = budget.request.previous
        most = len(pair.tolerances) - 2
        self.too_coarse = min(known.too_coarse, most) if known and known.method == pair.name else 0

    def states(self) -> list[ToleranceState]:
        """Return how far the flow has been integrated at each tolerance so far."""
        return [one.standing() for one in self.integrations]

    def refine(self, vector: Array | None) -> tuple[Limit, Status]:
        coarsest, *finer = self.pair.tolerances[self.too_coarse :]
        before: Integration | None = None
        for tolerance in finer:
            is_finest = tolerance == finer[-1]
            fine = self._begin(tolerance, vector)
            coarse = self._follow(fine, before, coarsest, is_finest)
            limit = fine.latest
            assert limit is not None
            last = coarse.limit.shifted_to(limit) if coarse and coarse.limit else limit
            if limit.status is last.status is Status.SADDLE:
                return self._extrapolated(limit, last), Status.SADDLE
            for one in (limit, last):
                if one.status is not None:
                    return one, one.status
            has_settled = fine.limit is not None
            if has_settled and (sides := self._set_valued_limit(limit, last)) is not None:
                return sides, Status.SET_VALUED
            self.best = best = self._extrapolated(limit, last)
            if has_settled:
                self.step_records = self._step_record_pair(last, limit)
                if self._is_accurate(best) or is_finest or not self._would_finer_do(limit):
                    break
            self.difference_before = abs(limit.sharpness - last.sharpness)
            self.distance_before = distance(limit.w, last.w)
            vector, before = limit.eigenvector, fine
            self.too_coarse += 1
        assert limit is not None
        if self.too_coarse and self._would_coarser_do(limit, last):
            self.too_coarse -= 1
        return best, Status.CONVERGED if self._is_accurate(best) else Status.INACCURATE

    def _follow(
        self, fine: Integration, before: Integration | None, coarsest: float, is_finest: bool
    ) -> Integration | None:
        """Follow the flow to its limits at two tolerances, and return the coarser integration.

        At each estimate of the finer limit the coarser flow catches up, so that the difference is
        known as early as can be. Where it is too large, the finer one is left where it is, and will
        be the coarser one of the next two; where it is small, it says how well limits must agree.
        """
        coarse = before if before is not None and before.limit is not None else None
        usual = self.pair.options.search.stopping
        while True:
            if coarse is None and self._is_coarser_due(fine):
                coarse = self._begin_coarser(fine, before, coarsest)
            if coarse is not None and coarse.limit is None and coarse.integrator.beside is not None:
                coarse.go_on(usual)
            elif fine.limit is None:
                room = self._room(fine, coarse)
                if room < LEAST_ROOM and not is_finest and self._is_smooth_at(fine):
                    return coarse
                is_lost = fine.go_on(usual, room if room >= LEAST_ROOM else inf)
                if is_lost and coarse is not None and coarse.limit and coarse.limit.beside:
                    coarse.limit = None  # as far from what is no limit
            elif coarse is not None and coarse.limit is None:
                coarse.integrator.is_alone = True
                coarse.go_on(usual)
            elif coarse is not None:
                return coarse
            if fine.has_failed or (coarse is not None and coarse.has_failed):
                return coarse
            self.budget.report()

    def _is_coarser_due(self, fine: Integration) -> bool:
        compares = self.pair.comparing is not None
        return fine.limit is not None or (compares and fine.latest is not None)

    def _room(self, fine: Integration, coarse: Integration | None) -> float:
        """Return the error that stopping early may add, in units of `rtol`: all, if not known."""
        limit = fine.latest
        if coarse is None or coarse.limit is None or coarse.limit.beside is None:
            return inf
        assert limit is not None
        last = coarse.limit.shifted_to(limit)
        most = self.budget.request.rtol * abs(limit.sharpness)
        errors = sum(self._errors(replace(limit, error=0.0), last))
        return 1 - errors / most if most > 0 else inf

    def _is_smooth_at(self, fine: Integration) -> bool:
        """Whether finer steps would help: neither rounding nor jumps of the curvature limit it."""
        limit = fine.latest
        if limit is None or self._rounding() > self.budget.request.rtol:
            return False
        distance, work = nearest_jump(self.problem, limit.w)
        self.budget.spend(work)
        return distance == inf

    def _would_finer_do(self, limit: Limit) -> bool:
        """Whether finer steps would change anything about the error of this limit."""
        rtol = self.budget.request.rtol
        return self._rounding() <= rtol and limit.error <= rtol * abs(limit.sharpness)

    def _set_valued_limit(self, fine: Limit, coarse: Limit) -> Limit | None:
        """Return the highest sharpness beside a limit where curvature jumps, the bar for all sides.

        At the edge of a flat minimum, the highest is that of the side that the flow comes from.
        `None` where nothing jumps, or all sides are alike.
        """
        beside = self.integrations[-1].integrator.one_sided_range(fine.w)
        if beside is None:
            return None
        if beside.highest - beside.lowest <= 0.1 * self.budget.request.rtol * abs(beside.highest):
            return None
        values = fine.sharpness, coarse.sharpness, beside.lowest, beside.highest
        highest = max(values)
        error = RANGE_SAFETY_FACTOR * (highest - min(values)) + fine.error
        return replace(fine, sharpness=highest, error=max(error, self._floor(highest)))

    def _step_record_pair(self, coarse: Limit, fine: Limit) -> StepRecordPair | None:
        if coarse.step_record is None or fine.step_record is None:
            return None
        record = fine.step_record
        beside = coarse.beside.endpoint() if coarse.beside else record.endpoints[0]
        if beside.steps not in [endpoint.steps for endpoint in record.endpoints]:
            record = replace(record, endpoints=(*record.endpoints, beside))
        parts = self.pair.extrapolation, self.pair.integration
        return StepRecordPair(coarse.step_record, record, beside.steps, *parts)

    def _begin(self, tolerance: float, vector: Array | None) -> Integration:
        return self._add(self.pair.integrator(*self._arguments(vector)), tolerance)

    def _begin_coarser(
        self, fine: Integration, before: Integration | None, coarsest: float
    ) -> Integration:
        limit = fine.latest
        assert limit is not None
        tolerance = coarsest if before is None else before.tolerance
        if self.pair.comparing is None:
            return self._begin(tolerance, limit.eigenvector)
        integrator = self.pair.comparing(fine.integrator, *self._arguments(limit.eigenvector))
        if before is not None:
            integrator.take_over(before.integrator)
        return self._add(integrator, tolerance)

    def _arguments(self, vector: Array | None) -> tuple[Any, ...]:
        flow = self.problem, self.w, self.budget.request.rtol, self.budget.add_task()
        return *flow, vector, self.pair.options

    def _add(self, integrator: FlowIntegrator, tolerance: float) -> Integration:
        number = len(self.integrations)
        # What settles at one tolerance does at the next; forecasts are for the usual ones.
        integrator.gives_up &= number == self.too_coarse == 0
        self.integrations.append(Integration(integrator, tolerance))
        if number < len(self.before):
            self.integrations[number].restore(self.before[number])
        return self.integrations[number]

    def _is_accurate(self, limit: Limit) -> bool:
        return limit.error <= self.budget.request.rtol * abs(limit.sharpness)

    def _rounding(self) -> float:
        """Return the relative error by rounding: gradients' errors add up like a random walk."""
        unit = float(jnp.finfo(self.w.dtype).eps)
        root: float = max(self.integrations[0].integrator.work_of_steps, 1.0) ** 0.5
        return ROUNDING * unit * root

    def _floor(self, sharpness: float) -> float:
        work, rtol = self.integrations[0].integrator.work_of_steps, self.budget.request.rtol
        return max(FLOOR * rtol if work else 0.0, self._rounding()) * abs(sharpness)

    def best_known(self, status: Status) -> Limit:
        if self.best is not None:
            return self.best
        if self.integrations and (fine := self.integrations[0].limit) is not None:
            return replace(fine, error=inf)
        if integrators := [one.integrator for one in self.integrations]:
            return max(integrators, key=lambda one: one.time).failed_limit(status)
        return Limit(self.w, nan, inf, float(self.problem(self.w)), None, status=status)

    def _extrapolated(self, fine: Limit, coarse: Limit) -> Limit:
        scale, rtol = abs(fine.sharpness), self.budget.request.rtol
        error = sum(self._errors(fine, coarse))
        # The estimates rest on assumptions: they are widened where there is room for it.
        error = max(error, min(self.pair.safety_factor * error, FILLED * rtol * scale))
        value = fine.sharpness + self.pair.extrapolation * (fine.sharpness - coarse.sharpness)
        return replace(fine, sharpness=value, error=error)

    def _errors(self, fine: Limit, coarse: Limit) -> tuple[float, float]:
        """Return the error of the integration, and of all else."""
        # A difference of two numbers may be small by accident, the distance of two vectors hardly;
        # and where both vectors are off by the same, the errors of the steps still add up.
        difference, apart = abs(fine.sharpness - coarse.sharpness), distance(fine.w, coarse.w)
        slope = self.integrations[-1].integrator.slope_of_sharpness(fine)
        left = max(
            self._part_left(difference, self.difference_before) * difference,
            self._part_left(apart, self.distance_before) * apart * slope,
            PERSISTING * fine.local_errors * slope,
        )
        stopping = fine.error + self.pair.extrapolation * coarse.error
        return left, stopping + self._floor(fine.sharpness)

    def _part_left(self, difference: float, before: float) -> float:
        """Return the part of a difference that may be left as an error after extrapolation.

        Where differences have a ratio `ρ` that is less than usual, all that it would leave without.
        """
        usual = self.pair.integration
        if before >= USUAL_RATIO * difference:
            return usual
        return max(usual, 1 / (max(before / difference, LEAST_RATIO) - 1))

    def _would_coarser_do(self, fine: Limit, coarse: Limit) -> bool:
        """Whether the bar would be narrow enough even if both tolerances were a step coarser."""
        integration, _ = self._errors(fine, coarse)
        most = self.budget.request.rtol * abs(fine.sharpness)
        return COARSER * integration <= (1 - LEAST_ROOM) * most


def _eigenvector(previous: FlowSolution | None, w: Array) -> Array | None:
    if previous is None or previous.eigenvector is None:
        return None
    vector = jnp.asarray(previous.eigenvector, w.dtype)
    fits = vector.shape == w.shape and bool(np.isfinite(vector).all())
    return vector if fits else None
