"""Differences of the GFS sharpness on recorded steps (internal numerical differentiation, Bock)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from thalweg.basics.activity import doing, entered
from thalweg.curvature import top_eigenpairs
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.method import FlowProgress, Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.step import STEPS_AT_ONCE
from thalweg.flow.step_record import StepRecord, StepRecordPair
from thalweg.flow.tolerance_pair import ROUNDING
from thalweg.flow.work_budget import OutOfBudget, Stop, TaskWork, WorkBudget
from thalweg.problems import COST, FlatProblem, flatten

SAFETY_OF_INTEGRATION = 3.0  # by which its error is widened,
SAFETY_OF_STOPPING = 5.0  # and that of stopping early
PRECISION = 1e-4  # of rtol: relative residual of the eigenpairs


@dataclass(frozen=True)
class Fall:
    """By how much the GFS sharpness falls from one start to another.

    Attributes
    ----------
    fall, error
        `φ(w) - φ(w')`, and an absolute bound meant to hold for its error.
    status
        `CONVERGED` where both flows were integrated to their end; else the reason why not, and the
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
    report: Callable[[FlowProgress], bool | None] | None = None,
    solution: FlowSolution | None = None,
    solution_next: FlowSolution | None = None,
    max_seconds: float = inf,
) -> Fall:
    """Return `φ(w) - φ(w_next)`, with an error bar of its own.

    The flow from `w_next` is integrated by the very steps that were found for the flow from `w`, at
    both tolerances, with the same numbers of stages and of iterations. The two values then have
    nearly the same errors, and the difference has an error smaller than theirs: about by the ratio
    of the distance between the starts to that over which the errors change. Its bar has the parts
    of a value's bar, each of them a difference of two neighbours: 0.6 of the change between the two
    tolerances, widened three times, the change between the last two endpoints, widened five times,
    the residuals of the eigenpairs, rounding, and `rtol` times the fall. It is an estimate, not a
    proof.

    For starts so far apart that the steps for one do not do for the other, and where a closed form
    exists, it is the difference of two values, and its bar the sum of theirs.

    Parameters
    ----------
    loss, rtol, max_gradient_evaluations, report, max_seconds
        As for `gradient_flow_solution`.
    w, w_next
        Two starts of the same structure, neighbouring iterates of gradient descent for example.
    solution, solution_next
        The solutions from `w` and `w_next`, where they are known already. The first saves more than
        half of the work; the second is what a fall has to agree with.

    Examples
    --------
    >>> import jax.numpy as jnp, thalweg as tw
    >>> network, w = tw.ScalarNetwork(depth=2), jnp.array([2.0, 0.25])
    >>> fall = gfs_sharpness_fall(network, w, w - 0.1 * jnp.array([-0.125, -1.0]))
    >>> bool(fall.fall > fall.error)
    True
    """
    asked = {
        "rtol": rtol,
        "max_gradient_evaluations": max_gradient_evaluations,
        "report": report,
        "max_seconds": max_seconds,
    }
    with entered(report), doing("comparing two gradient flows"):
        return _fall(loss, w, w_next, solution, solution_next, asked)


def _fall(
    loss: Callable[[Any], Any],
    w: PyTree,
    w_next: PyTree,
    solution: FlowSolution | None,
    solution_next: FlowSolution | None,
    asked: dict[str, Any],
) -> Fall:
    problem, vector = flatten(loss, w)
    _, vector_next = flatten(loss, w_next)
    if vector_next.shape != vector.shape:
        raise ValueError("w and w_next have different shapes: give two iterates of one run")
    begun = 0.0
    if solution is None:
        solution = gradient_flow_solution(loss, w, **asked)
        begun = solution.gradient_evaluations
    if not solution.converged:
        return Fall(nan, inf, solution.status, begun)
    request = Request(**asked, previous=solution)
    budget = WorkBudget(request, solution.gradient_evaluations, begun)
    try:
        if solution.step_records is not None:
            fall = _difference_on_steps(
                solution.step_records, problem, vector_next, solution, budget
            )
            is_narrow = fall.error <= 2 * request.rtol * abs(solution.sharpness)
            if is_narrow and (solution_next is None or _agrees(fall, solution, solution_next)):
                return fall
        spent = budget.spent
        if solution_next is None:
            left = max(request.max_gradient_evaluations - spent, 0.0)
            within = {**asked, "max_gradient_evaluations": left}
            solution_next = gradient_flow_solution(loss, w_next, previous=solution, **within)
            spent += solution_next.gradient_evaluations
        return _difference_of_values(solution, solution_next, spent)
    except (Stop, OutOfBudget) as reason:
        status = Status.STOPPED if isinstance(reason, Stop) else Status.BUDGET_EXHAUSTED
        return Fall(nan, inf, status, budget.spent)


def _difference_of_values(here: FlowSolution, there: FlowSolution, spent: float) -> Fall:
    fall, error = here.sharpness - there.sharpness, here.sharpness_error + there.sharpness_error
    return Fall(fall, error, there.status, spent)


def _agrees(fall: Fall, here: FlowSolution, there: FlowSolution) -> bool:
    """Whether a fall is one that the two values leave possible.

    Steps found for one of two starts far apart may not carry the other to its end.
    """
    of_values = _difference_of_values(here, there, 0.0)
    return abs(fall.fall - of_values.fall) <= fall.error + of_values.error


def _difference_on_steps(
    pair: StepRecordPair, problem: FlatProblem, w: Array, here: FlowSolution, budget: WorkBudget
) -> Fall:
    """Return the fall between two starts whose flows are integrated by the same steps."""
    last_only = replace(pair.coarse, endpoints=pair.coarse.endpoints[:1])
    rtol, found = budget.request.rtol, []
    for record in (last_only, pair.fine):
        found.append(_differences(record, problem, w, here, rtol, budget.add_task()))
        budget.report()
    (coarse,), fine = found[0].values(), found[1]
    (fall, residual), *earlier = (fine[endpoint.steps] for endpoint in pair.fine.endpoints[:2])
    between = fine[pair.beside][0] - coarse[0]
    stopping = sum(abs(fall - before) for before, _ in earlier) * pair.fine.stopping
    integration = pair.integration * abs(between)
    error = SAFETY_OF_INTEGRATION * integration + SAFETY_OF_STOPPING * stopping
    unit = float(jnp.finfo(w.dtype).eps)
    steps_work = pair.fine.work * pair.fine.lengths.size
    rounding = 2 * ROUNDING * unit * max(steps_work, 1.0) ** 0.5 * abs(here.sharpness)
    error += (1 + 2 * pair.extrapolation) * residual + rounding
    value = fall + pair.extrapolation * between
    error += budget.request.rtol * abs(value)
    if not isfinite(value + error):
        return Fall(nan, inf, Status.NON_FINITE, budget.spent)
    return Fall(value, error, Status.CONVERGED, budget.spent)


def _differences(
    record: StepRecord,
    problem: FlatProblem,
    w_next: Array,
    here: FlowSolution,
    rtol: float,
    budget: TaskWork,
) -> dict[int, tuple[float, float]]:
    """Return, for each endpoint of the record, the fall and the residuals of its eigenpairs.

    The key is the number of steps to there.
    """
    ends = _replay(record, problem, w_next, budget)

    def sharpness(w: Array) -> tuple[float, float]:
        if not bool(jnp.all(jnp.isfinite(w))):
            return nan, inf
        tol = max(PRECISION * rtol, 20 * float(jnp.finfo(w.dtype).eps))
        pairs = top_eigenpairs(problem, w, tol=tol, start=here.eigenvector)
        budget.spend(COST.hessian_product * pairs.matvecs)
        return float(pairs.values[0]), float(pairs.residuals[0])

    falls = {}
    for endpoint, end in zip(record.endpoints, ends, strict=True):
        (value, residual), (value_next, residual_next) = sharpness(endpoint.w), sharpness(end)
        falls[endpoint.steps] = value - value_next, residual + residual_next
    return falls


def _replay(record: StepRecord, problem: FlatProblem, w: Array, budget: TaskWork) -> list[Array]:
    """Integrate from `w` by the recorded steps; return the endpoints, last one first."""
    ends: dict[int, Array] = {}
    taken = 0
    for endpoint in sorted(record.endpoints, key=lambda endpoint: endpoint.steps):
        while taken < endpoint.steps:
            affordable = max(1, int(budget.left / max(record.work, 1.0)))
            now = min(STEPS_AT_ONCE, endpoint.steps - taken, affordable)
            steps = slice(taken, taken + now)
            w = record.steps_again(problem, w, record.lengths[steps], record.bounds[steps])
            budget.spend(now * record.work)
            taken += now
        ends[endpoint.steps] = endpoint.solver(problem, w).w if endpoint.solver else w
        budget.spend(endpoint.work)
    return [ends[endpoint.steps] for endpoint in record.endpoints]
