"""Integrate the flow at a coarse and a fine tolerance: a value, extrapolated, and its error bar."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.course import Courses
from thalweg.flow.finish import factor_kernel, kernel_cost
from thalweg.flow.follow import Pursuit, Standing
from thalweg.flow.look import Limit
from thalweg.flow.meter import Meter, OutOfBudget, Stop
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.problems import FlatProblem

FLOOR = 1e-3  # of rtol: an error bar is never narrower, however well two integrations agree
ROUNDING = 400.0  # units of rounding per root of the number of gradients
CAUTION = 5.0  # by which error bars are widened where they stay within rtol
SIDES_CAUTION = 2.0  # by which their spread is widened
EXPECTED = 3500.0  # gradient evaluations, for progress displays only


@dataclass(frozen=True)
class Scheme:
    """How to integrate twice, or more often, and what the difference tells.

    Attributes
    ----------
    name
        The name that results carry.
    pursuit
        What follows the flow at one tolerance.
    tolerances
        A coarse one, a fine one, and finer ones for when the error bar is too wide.
    extrapolation, integration
        The parts of the difference between two tolerances that are added to the finer value, and
        taken as the error that this leaves. With a ratio `ρ` of the two errors the finer one is
        `1/(ρ - 1)` of the difference: by default for ratios near 4.
    """

    name: str
    pursuit: Callable[..., Pursuit]
    tolerances: Sequence[float]
    extrapolation: float = 0.33
    integration: float = 0.33


def solve(scheme: Scheme, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
    """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
    previous = request.previous
    meter = Meter(request, previous.gradient_evaluations if previous else EXPECTED)
    attempt = _Attempt(scheme, problem, w, meter)
    meter.standing = attempt.standing
    try:
        inverse = factor_kernel(problem, w)
        meter.spend(kernel_cost(inverse))
        best, status = attempt.refine(inverse, _eigenvector(previous, w))
    except (Stop, OutOfBudget) as reason:
        status = Status.STOPPED if isinstance(reason, Stop) else Status.BUDGET_EXHAUSTED
        best = attempt.what_is_known(status)
    return FlowSolution(
        w=best.w,
        sharpness=best.sharpness,
        sharpness_error=best.error,
        loss=best.loss,
        status=status,
        gradient_evaluations=meter.spent,
        method=scheme.name,
        eigenvector=best.eigenvector,
        courses=attempt.courses,
    )


@dataclass(frozen=True)
class Followed:
    """How far the flow has been followed at one tolerance.

    `standing` is where it stood before its last step; `limit` where it ended, `None` if it has not.
    `spent` is all work for it.
    """

    spent: float
    standing: Standing | None
    limit: Limit | None


class _Attempt:
    """The solves at ever finer tolerances; it remembers the best answer when interrupted."""

    def __init__(self, scheme: Scheme, problem: FlatProblem, w: Array, meter: Meter):
        self.scheme, self.problem, self.w, self.meter = scheme, problem, w, meter
        self.best: Limit | None = None
        self.courses: Courses | None = None
        self.pursuits: list[Pursuit] = []
        self.before: Sequence[Followed] = meter.request.standing or ()
        self.limits: list[Limit | None] = []
        self.past: list[Followed] = []  # of the stages before the one in hand

    def standing(self) -> list[Followed]:
        """Return how far the flow has been followed at each tolerance so far."""
        return self.past + list(map(_followed, self.pursuits, self.limits))

    def refine(self, inverse: Array | None, vector: Array | None) -> tuple[Limit, Status]:
        coarsest, fine, *finer = self.scheme.tolerances
        last, limit = self._settle((coarsest, fine), inverse, vector)
        for tolerance in (*finer, None):
            if limit.status is last.status is Status.SADDLE:
                return self._extrapolated(limit, last), Status.SADDLE
            if limit.status is not None:
                return limit, limit.status
            if last.status is not None:
                return last, last.status
            if (sides := self._on_all_sides(limit, last)) is not None:
                return sides, Status.SET_VALUED
            self.best = best = self._extrapolated(limit, last)
            self.courses = self._courses(last, limit)
            if self._is_accurate(best) or tolerance is None:
                break
            rtol = self.meter.request.rtol
            if self._rounding() > rtol or limit.error > rtol * abs(limit.sharpness):
                break  # which finer steps would not change
            last, (limit,) = limit, self._settle((tolerance,), inverse, limit.eigenvector)
        return best, Status.CONVERGED if self._is_accurate(best) else Status.INACCURATE

    def _on_all_sides(self, fine: Limit, coarse: Limit) -> Limit | None:
        """Return the highest sharpness beside a limit where curvature jumps, the bar for all sides.

        At the edge of a flat minimum, the highest is that of the side that the flow comes from.
        `None` where nothing jumps, or all sides are alike.
        """
        spread = self.pursuits[-1].sides_of(fine.w)
        if spread is None:
            return None
        if spread.highest - spread.lowest <= 0.1 * self.meter.request.rtol * abs(spread.highest):
            return None
        values = fine.sharpness, coarse.sharpness, spread.lowest, spread.highest
        highest = max(values)
        error = SIDES_CAUTION * (highest - min(values)) + fine.error
        return replace(fine, sharpness=highest, error=max(error, self._floor(highest)))

    def _courses(self, coarse: Limit, fine: Limit) -> Courses | None:
        if coarse.course is None or fine.course is None:
            return None
        parts = self.scheme.extrapolation, self.scheme.integration
        return Courses(coarse.course, fine.course, *parts)

    def _settle(
        self, tolerances: Sequence[float], inverse: Array | None, vector: Array | None
    ) -> list[Limit]:
        rtol = self.meter.request.rtol
        self.past = self.standing()
        accounts = self.meter.open(len(tolerances))
        pursuits = [
            self.scheme.pursuit(self.problem, self.w, rtol, account, inverse, vector)
            for account in accounts
        ]
        limits: list[Limit | None] = [None] * len(tolerances)
        first = len(self.past)
        for number, known in enumerate(self.before[first : first + len(tolerances)]):
            if known.standing is not None:
                pursuits[number].restore(known.standing)
            if known.limit is not None:
                limits[number], accounts[number].spent = known.limit, known.spent
        self.pursuits, self.limits = pursuits, limits

        def settle(number: int) -> None:
            limits[number] = pursuits[number].settle(tolerances[number])

        left = [number for number, limit in enumerate(limits) if limit is None]
        self.meter.by_turns([partial(settle, number) for number in left])
        return [limit for limit in limits if limit is not None]

    def _is_accurate(self, limit: Limit) -> bool:
        return limit.error <= self.meter.request.rtol * abs(limit.sharpness)

    def _rounding(self) -> float:
        """Return the relative error by rounding: gradients' errors add up like a random walk."""
        unit = float(jnp.finfo(self.w.dtype).eps)
        return ROUNDING * unit * max(self.pursuits[-1].work_of_steps, 1.0) ** 0.5

    def _floor(self, sharpness: float) -> float:
        work, rtol = self.pursuits[-1].work_of_steps, self.meter.request.rtol
        return max(FLOOR * rtol if work else 0.0, self._rounding()) * abs(sharpness)

    def what_is_known(self, status: Status) -> Limit:
        if self.best is not None:
            return self.best
        if self.pursuits:
            return max(self.pursuits, key=lambda pursuit: pursuit.time).unsettled(status)
        return Limit(self.w, nan, inf, float(self.problem(self.w)), None, status=status)

    def _extrapolated(self, fine: Limit, coarse: Limit) -> Limit:
        difference = fine.sharpness - coarse.sharpness
        scale, rtol = abs(fine.sharpness), self.meter.request.rtol
        floor = self._floor(fine.sharpness)
        # A difference of two numbers may be small by accident, the distance of two vectors is not.
        distance = float(jnp.linalg.norm(fine.w - coarse.w))
        apart = distance * self.pursuits[-1].slope_of_sharpness(fine) if distance > 0 else 0.0
        difference_seen = max(abs(difference), apart)
        error = self.scheme.integration * difference_seen + fine.error + floor
        # The estimates rest on assumptions: they are widened where there is room for it.
        error = max(error, min(CAUTION * error, 0.95 * rtol * scale))
        value = fine.sharpness + self.scheme.extrapolation * difference
        return replace(fine, sharpness=value, error=error)


def _followed(pursuit: Pursuit, limit: Limit | None) -> Followed:
    standing = pursuit.standing()
    spent = pursuit.meter.spent if limit is not None else standing.spent if standing else 0.0
    return Followed(spent, standing, limit)


def _eigenvector(previous: FlowSolution | None, w: Array) -> Array | None:
    if previous is None or previous.eigenvector is None:
        return None
    vector = jnp.asarray(previous.eigenvector, w.dtype)
    fits = vector.shape == w.shape and bool(jnp.all(jnp.isfinite(vector)))
    return vector if fits else None
