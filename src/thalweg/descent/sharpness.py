"""The two measurements that the package is about: sharpness, and GFS sharpness."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

from jaxtyping import PyTree

from thalweg.basics.checks import Budgeted, Positive, check_fields
from thalweg.basics.named import Named
from thalweg.curvature import top_eigenpairs
from thalweg.descent.measurements import Attributes, Reading, Report, described
from thalweg.descent.schedule import check_schedule
from thalweg.descent.values import flags, value_and_reached, values_of_flow, variables_of_flow
from thalweg.flow.difference import gfs_sharpness_fall
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.gradient_flow_solutions import gradient_flow_solutions
from thalweg.flow.method import FlowProgress, Method
from thalweg.flow.solution import FlowSolution, Status
from thalweg.problems import COST, Problem


class EigenStatus(Named):
    """How the eigensolver behind a sharpness ended.

    `NOT_CONVERGED`: its residual, `sharpness_error`, is above the tolerance. `NON_FINITE`: the
    Hessian is not finite, as where the loss has no second derivatives.
    """

    CONVERGED = 0
    NOT_CONVERGED = 1
    NON_FINITE = 2

    @property
    def advice(self) -> str:
        """One sentence: what happened and what to change."""
        return _EIGEN_ADVICE[self]


_EIGEN_ADVICE = {
    EigenStatus.CONVERGED: "The eigensolver converged.",
    EigenStatus.NOT_CONVERGED: (
        "The eigensolver did not converge: sharpness_reached, which it came to, is no more "
        "accurate than sharpness_error says; use float64."
    ),
    EigenStatus.NON_FINITE: (
        "The Hessian is not finite: check whether the loss has second derivatives there."
    ),
}


@dataclass(frozen=True)
class Sharpness:
    """The largest algebraic eigenvalue of the Hessian, warm-started from the last one.

    Variables: `sharpness` and `sharpness_error` (the residual of the eigenpair, which bounds its
    distance to an eigenvalue), in units of loss per squared parameter; `sharpness_status` (the
    number of an `EigenStatus`). Where the eigensolver did not converge, `sharpness` is NaN, and
    `sharpness_reached` the number that it came to, within the same residual of an eigenvalue.

    Parameters
    ----------
    every, start, also, at
        Schedule, in steps, as that of `Quantity`.
    tol
        Relative tolerance on the residual of the eigenpair.
    """

    name: ClassVar[str] = "sharpness"

    every: int = 50
    start: int = 0
    tol: Positive = 1e-4
    also: tuple[int, ...] = ()
    at: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_schedule(self)
        check_fields(self)

    @property
    def variables(self) -> dict[str, Attributes]:
        """Sharpness, its error bar and its status."""
        return {
            "sharpness": described("sharpness"),
            "sharpness_reached": described("what an eigensolver came to that did not converge"),
            "sharpness_error": described("residual of the sharpness"),
            "sharpness_status": described("how the eigensolver ended", **flags(EigenStatus)),
        }

    def measure(self, problem: Problem, w: PyTree, memory: Any, report: Report | None) -> Reading:
        """Return the sharpness at `w`; `memory` is the last top eigenvector."""
        top = top_eigenpairs(problem, w, k=1, start=memory, tol=self.tol)
        is_finite = math.isfinite(float(top.values[0]))
        is_value = is_finite and bool(top.converged)
        status = EigenStatus.CONVERGED if is_value else EigenStatus.NOT_CONVERGED
        value, reached = value_and_reached(float(top.values[0]), is_value)
        values = {
            "sharpness": value,
            "sharpness_reached": reached,
            "sharpness_error": float(top.residuals[0]),
            "sharpness_status": float(status if is_finite else EigenStatus.NON_FINITE),
        }
        work = float(top.matvecs) * COST.hessian_product
        return Reading(values, top.vectors if is_finite else memory, work)


@dataclass(frozen=True)
class GFSSharpness:
    """The sharpness of the gradient flow solution, with its error bar, status and cost.

    Variables: `gfs_sharpness`, `gfs_sharpness_error` (absolute), `gfs_status` (the number of a
    `thalweg.flow.Status`) and `gfs_gradient_evaluations`. Where the flow did not settle at a
    minimiser, or nothing is known of its error, `gfs_sharpness` is NaN, and `gfs_sharpness_reached`
    the sharpness (or a bound on it) where the flow stood. `gfs_fall` and `gfs_fall_error` are the
    fall to the next measured value: measured by itself (`thalweg.flow.gfs_sharpness_fall`) only
    where the error bars of the two values leave open whether it is one; else NaN.

    Parameters
    ----------
    every, start, also, at
        Schedule, in steps, as that of `Quantity`. The first iterates have the longest flows.
    rtol
        Relative accuracy wanted of the GFS sharpness.
    method
        A method object of `thalweg.flow`; left out, the best that applies.
    max_gradient_evaluations
        Budget of one flow, in units of one gradient.
    max_seconds
        Budget of one flow, of wall-clock time: numbers then depend on the machine.
    """

    name: ClassVar[str] = "gfs"

    every: int = 500
    start: int = 0
    rtol: Positive = 1e-4
    method: Method | None = None
    max_gradient_evaluations: Positive = 200_000
    max_seconds: Budgeted = math.inf
    also: tuple[int, ...] = ()
    at: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_schedule(self)
        check_fields(self)

    @property
    def variables(self) -> dict[str, Attributes]:
        """Value, error bar, status and cost."""
        value = {
            "long_name": "sharpness of the gradient flow solution",
            "label": "GFS sharpness",
            "symbol": "\\varphi",
        }
        return {
            **variables_of_flow("gfs", value),
            "gfs_fall": described("fall to the next GFS sharpness, where measured by itself"),
            "gfs_fall_error": described("error bar of that fall (absolute)"),
        }

    def measure(self, problem: Problem, w: PyTree, memory: Any, report: Report | None) -> Reading:
        """Solve the flow from `w`; `memory` is the last good `(w, solution)`."""
        return self.resume(problem, w, memory, report, _MeasurementState(None, None))

    def resume(
        self, problem: Problem, w: PyTree, memory: Any, report: Report | None, standing: Any
    ) -> Reading:
        """As `measure`, from where an earlier one was interrupted."""
        last: _Solved | None = memory
        solution = standing.solution or gradient_flow_solution(
            problem,
            w,
            method=self.method,
            report=_with_state(report, lambda flow: _MeasurementState(None, flow)),
            previous=last.solution if last else None,
            standing=standing.flow,
            **self._asked,
        )
        work = float(solution.gradient_evaluations)
        unknown = {"gfs_fall": math.nan, "gfs_fall_error": math.nan}
        values = {**values_of_flow("gfs", solution, work), **unknown}
        there = _with_state(report, lambda flow: _MeasurementState(solution, None))
        of_previous, more = self._fall(problem, last, w, solution, there)
        # A failed flow is a poor neighbour to start from: keep the last good one.
        if math.isfinite(values["gfs_sharpness"]):
            last = _Solved(w, solution, is_neighbour=True)
        elif last is not None:
            last = last._replace(is_neighbour=False)
        return Reading(values, last, work + more, of_previous)

    def again(self, problem: Problem, memory: Any, before: Any, report: Report | None) -> Reading:
        """Return what a measured iterate says of a new one before it, by their memories."""
        if not memory or not memory.is_neighbour or not before:
            return Reading({})
        there = _with_state(report, lambda flow: _MeasurementState(before.solution, None))
        of_previous, work = self._fall(problem, before, memory.w, memory.solution, there)
        return Reading({}, None, work, of_previous)

    @property
    def _asked(self) -> dict[str, Any]:
        return {
            "rtol": self.rtol,
            "max_gradient_evaluations": self.max_gradient_evaluations,
            "max_seconds": self.max_seconds,
        }

    def _fall(
        self,
        problem: Problem,
        last: "_Solved | None",
        w: PyTree,
        solution: FlowSolution,
        report: Report | None,
    ) -> tuple[dict[str, float], float]:
        """Return the fall to a neighbour where two values leave its sign open, and the work."""
        if last is None or not last.is_neighbour:
            return {}, 0.0
        if not _order_is_undecided(last.solution, solution):
            return {}, 0.0
        fall = gfs_sharpness_fall(
            problem,
            last.w,
            w,
            report=report,
            solution=last.solution,
            solution_next=solution,
            **self._asked,
        )
        work = float(fall.gradient_evaluations)
        if fall.status is not Status.CONVERGED:
            return {}, work
        return {"gfs_fall": fall.fall, "gfs_fall_error": fall.error}, work

    def ahead(
        self,
        problem: Problem,
        ws: Sequence[PyTree],
        memory: Any,
        lanes: int,
        report: Callable[[int, FlowProgress], bool | None] | None,
        standing: Sequence["_MeasurementState | None"],
    ) -> list["_MeasurementState"]:
        """Solve the flows of coming measurements side by side: for each, what `resume` takes."""

        def relay(number: int, flow: FlowProgress) -> bool | None:
            assert report is not None
            return report(number, _stating(flow, lambda state: _MeasurementState(None, state)))

        solutions = gradient_flow_solutions(
            problem,
            list(ws),
            method=self.method,
            report=relay if report else None,
            **self._asked,
            previous=[memory.solution if memory else None] * len(ws),
            standing=[one.flow if one else None for one in standing],
            lanes=lanes,
        )
        return [_MeasurementState(solution, None) for solution in solutions]


class _MeasurementState(NamedTuple):
    """How far a measurement has got: with the solution, or within its flow."""

    solution: FlowSolution | None
    flow: Any


def _with_state(report: Report | None, state: Callable[[Any], _MeasurementState]) -> Report | None:
    """Return a report that also says how far the measurement has got."""
    return None if report is None else lambda progress: report(_stating(progress, state))


def _stating(progress: FlowProgress, state: Callable[[Any], _MeasurementState]) -> FlowProgress:
    """Return the progress of a flow as that of a measurement."""
    flow = progress.standing or (lambda: None)
    return replace(progress, standing=lambda: state(flow()))


class _Solved(NamedTuple):
    """A measured iterate and its solution; whether no other was measured after it."""

    w: PyTree
    solution: FlowSolution
    is_neighbour: bool


def _order_is_undecided(one: FlowSolution, other: FlowSolution) -> bool:
    """Return whether two integrated values leave open which of them is higher."""
    if not (one.converged and other.converged) or one.step_records is None:
        return False
    return abs(one.sharpness - other.sharpness) <= one.sharpness_error + other.sharpness_error
