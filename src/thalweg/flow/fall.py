"""The fall of the GFS sharpness between neighbours, known better than the values themselves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isfinite, nan
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, PyTree

from thalweg.curvature import top_eigenpairs
from thalweg.flow.course import Course, Courses, Step
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.meter import Account, Meter, OutOfBudget, Stop
from thalweg.flow.method import Progress, Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.twice import ROUNDING
from thalweg.problems import COST, FlatProblem, flatten
from thalweg.problems.compiling import compiled

CAUTION = 5.0  # by which the error bar is widened
STEPS_AT_ONCE = 16  # between two looks at the budget
PRECISION = 1e-4  # of rtol: relative residual of the eigenpairs


@dataclass(frozen=True)
class Fall:
    """By how much the GFS sharpness falls from one start to another.

    Attributes
    ----------
    fall, error
        `φ(w) - φ(w')`, and an absolute bound meant to hold for its error.
    status
        `CONVERGED` where both flows were followed to their end; else the reason why not, and the
        error is infinite.
    gradient_evaluations
        All work, in units of one gradient.
    """

    fall: float
    error: float
    status: Status
    gradient_evaluations: float


def gfs_sharpness_fall(
    loss: Callable[[Any], Any],
    w: PyTree,
    w_next: PyTree,
    *,
    rtol: float = 1e-4,
    max_gradient_evaluations: float = 200_000,
    report: Callable[[Progress], bool | None] | None = None,
    solution: FlowSolution | None = None,
    max_seconds: float = inf,
) -> Fall:
    """Return `φ(w) - φ(w_next)`, with an error bar of its own.

    The flow from `w_next` is followed by the very steps that were found for the flow from `w`, at
    both tolerances, with the same numbers of stages and of iterations. The two values then have
    nearly the same errors, and the difference has an error smaller than theirs: about by the ratio
    of the distance between the starts to that over which the errors change. Its bar has the parts
    of a value's bar, each of them a difference of two neighbours: a third of the change between the
    two tolerances and the change between the last two landings, both widened five times, the
    residuals of the eigenpairs, rounding, and `rtol` times the fall. It is an estimate, not a
    proof.

    For starts that are not neighbours the bar is not narrower than those of the values. Where a
    closed form exists, it is the fall between two exact values.

    Parameters
    ----------
    loss, rtol, max_gradient_evaluations, report, max_seconds
        As for `gradient_flow_solution`.
    w, w_next
        Two starts of the same structure, neighbouring iterates of gradient descent for example.
    solution
        The solution from `w`, where it is known already: saves more than half of the work.

    Examples
    --------
    >>> import jax.numpy as jnp, thalweg as tw
    >>> network, w = tw.ScalarNetwork(depth=2), jnp.array([2.0, 0.25])
    >>> fall = gfs_sharpness_fall(network, w, w - 0.1 * jnp.array([-0.125, -1.0]))
    >>> bool(fall.fall > fall.error)
    True
    """
    problem, vector = flatten(loss, w)
    _, vector_next = flatten(loss, w_next)
    if vector_next.shape != vector.shape:
        raise ValueError("w and w_next have different shapes: give two iterates of one run")
    begun = 0.0
    if solution is None:
        solution = gradient_flow_solution(
            loss,
            w,
            rtol=rtol,
            max_gradient_evaluations=max_gradient_evaluations,
            report=report,
            max_seconds=max_seconds,
        )
        begun = solution.gradient_evaluations
    if not solution.converged:
        return Fall(nan, inf, solution.status, begun)
    request = Request(rtol, max_gradient_evaluations, report, solution, max_seconds=max_seconds)
    if solution.courses is None:
        return _between_values(loss, w_next, solution, request, begun)
    meter = Meter(request, solution.gradient_evaluations, begun)
    try:
        return _along(solution.courses, problem, vector_next, solution, meter)
    except (Stop, OutOfBudget) as reason:
        status = Status.STOPPED if isinstance(reason, Stop) else Status.BUDGET_EXHAUSTED
        return Fall(nan, inf, status, meter.spent)


def _between_values(
    loss: Callable[[Any], Any], w_next: PyTree, here: FlowSolution, request: Request, begun: float
) -> Fall:
    there = gradient_flow_solution(
        loss,
        w_next,
        rtol=request.rtol,
        max_gradient_evaluations=request.max_gradient_evaluations,
        report=request.report,
        previous=here,
        max_seconds=request.max_seconds,
    )
    fall, error = here.sharpness - there.sharpness, here.sharpness_error + there.sharpness_error
    return Fall(fall, error, there.status, begun + there.gradient_evaluations)


def _along(
    courses: Courses, problem: FlatProblem, w_next: Array, here: FlowSolution, meter: Meter
) -> Fall:
    """Return the fall between two starts that are followed by the same courses."""
    last_only = replace(courses.coarse, landings=courses.coarse.landings[:1])
    accounts = meter.open(2)
    rtol = meter.request.rtol
    tasks = [
        partial(_falls, course, problem, w_next, here, rtol, account)
        for course, account in zip((last_only, courses.fine), accounts, strict=True)
    ]
    coarse, fine = meter.by_turns(tasks)
    fall, residual = fine[0]
    between = fall - coarse[0][0]
    stopping = sum(abs(fall - earlier) for earlier, _ in fine[1:]) * courses.fine.stopping
    error = CAUTION * (courses.integration * abs(between) + stopping)
    unit = float(jnp.finfo(w_next.dtype).eps)
    steps_work = courses.fine.work * courses.fine.lengths.size
    rounding = 2 * ROUNDING * unit * max(steps_work, 1.0) ** 0.5 * abs(here.sharpness)
    error += (1 + 2 * courses.extrapolation) * residual + rounding
    value = fall + courses.extrapolation * between
    error += meter.request.rtol * abs(value)
    if not isfinite(value + error):
        return Fall(nan, inf, Status.NON_FINITE, meter.spent)
    return Fall(value, error, Status.CONVERGED, meter.spent)


def _falls(
    course: Course,
    problem: FlatProblem,
    w_next: Array,
    here: FlowSolution,
    rtol: float,
    meter: Account,
) -> list[tuple[float, float]]:
    """Return, for each landing of the course, the fall and the residuals of its eigenpairs."""
    ends = _retrace(course, problem, w_next, meter)

    def sharpness(w: Array) -> tuple[float, float]:
        if not bool(jnp.all(jnp.isfinite(w))):
            return nan, inf
        tol = max(PRECISION * rtol, 20 * float(jnp.finfo(w.dtype).eps))
        pairs = top_eigenpairs(problem, w, tol=tol, start=here.eigenvector)
        meter.spend(COST.hessian_product * pairs.matvecs)
        return float(pairs.values[0]), float(pairs.residuals[0])

    falls = []
    for landing, end in zip(course.landings, ends, strict=True):
        (value, residual), (value_next, residual_next) = sharpness(landing.w), sharpness(end)
        falls.append((value - value_next, residual + residual_next))
    return falls


def _retrace(course: Course, problem: FlatProblem, w: Array, meter: Account) -> list[Array]:
    """Follow the flow from `w` by the steps of a course; return where it lands, last one first."""
    ends: dict[int, Array] = {}
    taken = 0
    for landing in sorted(course.landings, key=lambda landing: landing.after):
        while taken < landing.after:
            affordable = max(1, int(meter.left / max(course.work, 1.0)))
            now = min(STEPS_AT_ONCE, landing.after - taken, affordable)
            w = _steps(course.step, problem, w, *_rows(course, taken, now), jnp.asarray(now))
            meter.spend(now * course.work)
            taken += now
        ends[landing.after] = landing.finish(problem, w).w if landing.finish else w
        meter.spend(landing.work)
    return [ends[landing.after] for landing in course.landings]


def _rows(course: Course, first: int, count: int) -> tuple[Any, Any]:
    """Return the next lengths and bounds, filled up to a fixed shape: compiled once."""
    rows = (course.lengths[first : first + count], course.bounds[first : first + count])
    return tuple(jnp.asarray(np.pad(row, (0, STEPS_AT_ONCE - count))) for row in rows)  # type: ignore[return-value]


@compiled
def _steps(
    step: Step, problem: FlatProblem, w: Array, lengths: Array, bounds: Array, count: Array
) -> Array:
    def one(i: Any, w: Array) -> Array:
        return step(problem, w, lengths[i].astype(w.dtype), bounds[i].astype(w.dtype))

    return lax.fori_loop(0, count, one, w)
