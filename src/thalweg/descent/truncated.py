"""The measurement for losses without a minimiser: the truncated sharpness, at one loss level."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import PyTree

from thalweg.basics.checks import Budgeted, Finite, Positive, check_fields
from thalweg.descent.measurements import Attributes, Reading, Report
from thalweg.descent.schedule import check_schedule
from thalweg.descent.values import no_value, values_of_flow, variables_of_flow
from thalweg.flow.solution import Status
from thalweg.flow.truncated import truncated_sharpness
from thalweg.problems import COST, Problem


@dataclass(frozen=True)
class TruncatedSharpness:
    """The sharpness where the flow first reaches one loss level, with its error bar and status.

    It is not the GFS sharpness, and has variables of its own: `truncated_sharpness`,
    `truncated_sharpness_error` (absolute), `truncated_status` (the number of a
    `thalweg.flow.Status`) and `truncated_gradient_evaluations`. From an iterate whose loss is at or
    below the level there is none: NaN, with the status `BELOW_LEVEL`. Where the flow did not reach
    the level, the value is NaN, and `truncated_sharpness_reached` is that where the flow stood.

    Parameters
    ----------
    level
        The loss level, one for the whole run: choose it below the losses of the run.
    every, start, also, at
        Schedule, in steps, as that of `Quantity`.
    rtol, max_gradient_evaluations, max_seconds
        Accuracy and budgets, as those of `GFSSharpness`.
    """

    name: ClassVar[str] = "truncated"

    level: Finite
    every: int = 500
    start: int = 0
    rtol: Positive = 1e-4
    max_gradient_evaluations: Positive = 200_000
    max_seconds: Budgeted = math.inf
    also: tuple[int, ...] = ()
    at: Sequence[int] | None = None

    def __post_init__(self) -> None:
        check_schedule(self)
        check_fields(self)

    @property
    def variables(self) -> dict[str, Attributes]:
        """Value, error bar, status and cost; the level is an attribute of the value."""
        value = {
            "long_name": f"sharpness where the flow first reaches the loss {self.level:g}",
            "level": self.level,
        }
        return variables_of_flow("truncated", value)

    def measure(self, problem: Problem, w: PyTree, memory: Any, report: Report | None) -> Reading:
        """Follow the flow from `w` to the level."""
        if not float(problem(w)) > self.level:
            return Reading(no_value("truncated", Status.BELOW_LEVEL, COST.loss), None, COST.loss)
        solution = truncated_sharpness(
            problem,
            w,
            level=self.level,
            rtol=self.rtol,
            max_gradient_evaluations=self.max_gradient_evaluations,
            report=report,
            max_seconds=self.max_seconds,
        )
        work = COST.loss + float(solution.gradient_evaluations)
        return Reading(values_of_flow("truncated", solution, work), None, work)
