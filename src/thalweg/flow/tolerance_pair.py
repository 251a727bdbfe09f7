"""Integrate the flow at a coarse and a fine tolerance: a value, extrapolated, and its error bar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, nan

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integration_options import IntegrationOptions
from thalweg.flow.integrator_state import IntegratorState
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.linearized_limit import factor_kernel, kernel_cost
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.step_record import StepRecordPair
from thalweg.flow.work_budget import OutOfBudget, Stop, TaskWork, WorkBudget
from thalweg.problems import FlatProblem
from thalweg.problems.programs import distance

FLOOR = 1e-3  # of rtol: an error bar is never narrower, however well two integrations agree
ROUNDING = 400.0  # units of rounding per root of the number of gradients
SAFETY_FACTOR = 5.0  # by which error bars are widened where they stay within rtol
COARSER = 6.0  # by which the error of the integration grows with the next coarser tolerances
PERSISTING = 0.25  # of the sum of local errors: the distance of two integrations, at least
RANGE_SAFETY_FACTOR = 2.0  # by which one-sided ranges are widened
EXPECTED = 3500.0  # gradient evaluations, for progress displays only


@dataclass(frozen=True)
class Ladder:
    """Local tolerances, in units of a power of `rtol`.

    Attributes
    ----------
    fine
        The finer of the two that are always used.
    coarsening
        The coarser one, in units of the finer one.
    refinement, refinements
        The factor by which the next one is finer, where the error bar is still too wide, and how
        often.
    power
        That power: where errors of the limit fall like a power of the tolerance, its inverse.
    """

    fine: float
    coarsening: float = 6.0
    refinement: float = 4.0
    refinements: int = 5
    power: float = 1.0

    def tolerances(self, rtol: float, finest: float = 0.0) -> list[float]:
        """Return them in decreasing order: at least two, and all larger than `finest`.

        Examples
        --------
        >>> Ladder(0.5, coarsening=2.0, refinements=2).tolerances(1.0)
        [1.0, 0.5, 0.125, 0.03125]
        """
        fine = self.fine * rtol**self.power
        finer = [fine / self.refinement**k for k in range(self.refinements + 1)]
        found = [tolerance for tolerance in (self.coarsening * fine, *finer) if tolerance > finest]
        return found if len(found) >= 2 else [self.coarsening * finest, finest]


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
        `1/(ρ - 1)` of the difference: by default for ratios near 4.
    comparing
        What follows the flow at the coarse tolerance, for a comparison with the fine one's limit,
        its first argument, which has been estimated on the way; left out, `integrator` does.
    """

    name: str
    integrator: Callable[..., FlowIntegrator]
    tolerances: Sequence[float]
    options: IntegrationOptions = field(default_factory=IntegrationOptions)
    extrapolation: float = 0.33
    integration: float = 0.33
    comparing: Callable[..., FlowIntegrator] | None = None


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


@dataclass(frozen=True)
class ToleranceState:
    """How far the flow has been integrated at one tolerance.

    `state` is that before the last step; `limit` is the end, `None` where it was not reached.
    `spent` is all work for it.
    """

    spent: float
    state: IntegratorState | None
    limit: Limit | None


class _ToleranceRefinement:
    """The solves at ever finer tolerances; it keeps the best answer for an interruption."""

    def __init__(self, pair: TolerancePair, problem: FlatProblem, w: Array, budget: WorkBudget):
        self.pair, self.problem, self.w, self.budget = pair, problem, w, budget
        self.best: Limit | None = None
        self.step_records: StepRecordPair | None = None
        self.integrators: list[FlowIntegrator] = []
        self.limits: list[Limit | None] = []
        self.before: Sequence[ToleranceState] = budget.request.standing or ()
        known = budget.request.previous
        most = len(pair.tolerances) - 2
        self.too_coarse = min(known.too_coarse, most) if known and known.method == pair.name else 0

    def states(self) -> list[ToleranceState]:
        """Return how far the flow has been integrated at each tolerance so far."""
        return list(map(_tolerance_state, self.integrators, self.limits))

    @cached_property
    def kernel_inverse(self) -> Array | None:
        """The preconditioner of linear solves in residual space, for who needs one."""
        inverse = factor_kernel(self.problem, self.w)
        self.budget.spend(kernel_cost(inverse))
        return inverse

    def refine(self, vector: Array | None) -> tuple[Limit, Status]:
        coarsest, fine, *finer = self.pair.tolerances[self.too_coarse :]
        limit = self._integrate(fine, vector)
        if limit.status not in (None, Status.SADDLE):
            return limit, limit.status
        last = self._integrate(coarsest, limit.eigenvector)
        for tolerance in (*finer, None):
            if limit.status is last.status is Status.SADDLE:
                return self._extrapolated(limit, last), Status.SADDLE
            for one in (limit, last):
                if one.status is not None:
                    return one, one.status
            if (sides := self._set_valued_limit(limit, last)) is not None:
                return sides, Status.SET_VALUED
            self.best = best = self._extrapolated(limit, last)
            self.step_records = self._step_record_pair(last, limit)
            if self._is_accurate(best) or tolerance is None:
                break
            rtol = self.budget.request.rtol
            if self._rounding() > rtol or limit.error > rtol * abs(limit.sharpness):
                break  # which finer steps would not change
            last, limit = limit, self._integrate(tolerance, limit.eigenvector)
            self.too_coarse += 1
        if self.too_coarse and self._would_coarser_do(limit, last):
            self.too_coarse -= 1
        return best, Status.CONVERGED if self._is_accurate(best) else Status.INACCURATE

    def _set_valued_limit(self, fine: Limit, coarse: Limit) -> Limit | None:
        """Return the highest sharpness beside a limit where curvature jumps, the bar for all sides.

        At the edge of a flat minimum, the highest is that of the side that the flow comes from.
        `None` where nothing jumps, or all sides are alike.
        """
        beside = self.integrators[-1].one_sided_range(fine.w)
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
        beside = coarse.beside or record.endpoints[0]
        if beside.steps not in [endpoint.steps for endpoint in record.endpoints]:
            record = replace(record, endpoints=(*record.endpoints, beside))
        parts = self.pair.extrapolation, self.pair.integration
        return StepRecordPair(coarse.step_record, record, beside.steps, *parts)

    def _integrate(self, tolerance: float, vector: Array | None) -> Limit:
        number, work = len(self.integrators), self.budget.add_task()
        integrator = self._integrator(work, vector)
        # What settles at one tolerance does at the next; forecasts are for the usual ones.
        integrator.gives_up &= number == self.too_coarse == 0
        self.integrators.append(integrator)
        self.limits.append(None)
        if number < len(self.before):
            known = self.before[number]
            if known.state is not None:
                integrator.restore(known.state)
            if known.limit is not None:
                self.limits[number], work.spent = known.limit, known.spent
                return known.limit
        self.limits[number] = limit = integrator.integrate(tolerance)
        self.budget.report()
        return limit

    def _integrator(self, work: TaskWork, vector: Array | None) -> FlowIntegrator:
        flow = self.problem, self.w, self.budget.request.rtol, work
        arguments = *flow, lambda: self.kernel_inverse, vector, self.pair.options
        if len(self.limits) == 1 and self.pair.comparing is not None:
            fine = self.limits[0]
            assert fine is not None
            if fine.status is None and fine.estimates:
                return self.pair.comparing(fine, *arguments)
        return self.pair.integrator(*arguments)

    def _is_accurate(self, limit: Limit) -> bool:
        return limit.error <= self.budget.request.rtol * abs(limit.sharpness)

    def _rounding(self) -> float:
        """Return the relative error by rounding: gradients' errors add up like a random walk."""
        unit = float(jnp.finfo(self.w.dtype).eps)
        root: float = max(self.integrators[0].work_of_steps, 1.0) ** 0.5
        return ROUNDING * unit * root

    def _floor(self, sharpness: float) -> float:
        work, rtol = self.integrators[0].work_of_steps, self.budget.request.rtol
        return max(FLOOR * rtol if work else 0.0, self._rounding()) * abs(sharpness)

    def best_known(self, status: Status) -> Limit:
        if self.best is not None:
            return self.best
        if self.limits and (fine := self.limits[0]) is not None:
            return replace(fine, error=inf)
        if self.integrators:
            return max(self.integrators, key=lambda one: one.time).failed_limit(status)
        return Limit(self.w, nan, inf, float(self.problem(self.w)), None, status=status)

    def _extrapolated(self, fine: Limit, coarse: Limit) -> Limit:
        scale, rtol = abs(fine.sharpness), self.budget.request.rtol
        error = sum(self._errors(fine, coarse))
        # The estimates rest on assumptions: they are widened where there is room for it.
        error = max(error, min(SAFETY_FACTOR * error, 0.95 * rtol * scale))
        value = fine.sharpness + self.pair.extrapolation * (fine.sharpness - coarse.sharpness)
        return replace(fine, sharpness=value, error=error)

    def _errors(self, fine: Limit, coarse: Limit) -> tuple[float, float]:
        """Return the error of the integration, and of all else."""
        # A difference of two numbers may be small by accident, the distance of two vectors hardly;
        # and where both vectors are off by the same, the errors of the steps still add up.
        apart = max(distance(fine.w, coarse.w), PERSISTING * fine.local_errors)
        apart *= self.integrators[-1].slope_of_sharpness(fine) if apart > 0 else 0.0
        difference_seen = max(abs(fine.sharpness - coarse.sharpness), apart)
        stopping = fine.error + self.pair.extrapolation * coarse.error
        return self.pair.integration * difference_seen, stopping + self._floor(fine.sharpness)

    def _would_coarser_do(self, fine: Limit, coarse: Limit) -> bool:
        """Whether the bar would be narrow enough even if both tolerances were a step coarser."""
        integration, rest = self._errors(fine, coarse)
        most = self.budget.request.rtol * abs(fine.sharpness)
        return COARSER * integration + rest <= most


def _tolerance_state(integrator: FlowIntegrator, limit: Limit | None) -> ToleranceState:
    state = integrator.snapshot()
    spent = integrator.budget.spent if limit is not None else state.spent if state else 0.0
    return ToleranceState(spent, state, limit)


def _eigenvector(previous: FlowSolution | None, w: Array) -> Array | None:
    if previous is None or previous.eigenvector is None:
        return None
    vector = jnp.asarray(previous.eigenvector, w.dtype)
    fits = vector.shape == w.shape and bool(np.isfinite(vector).all())
    return vector if fits else None
