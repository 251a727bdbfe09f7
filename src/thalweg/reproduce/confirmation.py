"""A rise of the GFS sharpness is a finding: it is looked at again, more closely."""

import math
from dataclasses import dataclass
from typing import Any

import xarray as xr

from thalweg import descent, flow
from thalweg.flow.solution import Status
from thalweg.runs.experiment import DescentExperiment
from thalweg.runs.judged import judged

TIGHTER = 0.1
"""The accuracy asked for, relative to that of the run."""

BUDGET = 4
"""The budget of a flow, in those of the run."""


@dataclass(frozen=True)
class Confirmation:
    """The largest certain rise of a run, solved again at the tighter relative accuracy `rtol`.

    Numbers have their error bars (absolute) beside them.
    """

    steps: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]
    rise: tuple[float, float]  # of the two values, or, where their bars overlap, of itself
    rtol: float

    @property
    def confirmed(self) -> bool:
        """Whether the rise is larger than its bar."""
        return self.rise[0] > self.rise[1]

    def __str__(self) -> str:
        """Say it in a sentence."""
        said = "is confirmed" if self.confirmed else "is NOT confirmed"
        return (
            f"Solved again at rtol {self.rtol:g}, the rise from step {self.steps[0]} to "
            f"{self.steps[1]} {said}: {_shown(self.before)}, then {_shown(self.after)}; "
            f"by {self.rise[0]:.2g} ± {self.rise[1]:.1g}."
        )


def confirm_rise(config: DescentExperiment, data: xr.Dataset) -> Confirmation | None:
    """Return the largest certain rise of one run, solved again; `None` where there is none.

    `data` are the stored results of the run, at one entry of `run`.
    """
    found = judged(data).largest_rise
    if found is None:
        return None
    steps = found.between
    problem, start = config.build()
    step_size = float(data["step_size"])
    asked: dict[str, Any] = {
        "rtol": TIGHTER * config.rtol,
        "max_gradient_evaluations": BUDGET * config.max_gradient_evaluations,
    }
    w = descent.descend(problem, start, step_size=step_size, steps=steps[0]).w[0]
    later = descent.descend(problem, w, step_size=step_size, steps=steps[1] - steps[0]).w[0]
    one = flow.gradient_flow_solution(problem, w, **asked)
    other = flow.gradient_flow_solution(problem, later, **asked)
    before, after = _value(one), _value(other)
    rise = after[0] - before[0], before[1] + after[1]
    if not rise[0] > rise[1]:
        fall = flow.gfs_sharpness_fall(problem, w, later, solution=one, **asked)
        if fall.status is Status.CONVERGED:
            rise = -fall.fall, fall.error
    return Confirmation(steps, before, after, rise, asked["rtol"])


def _value(solution: flow.FlowSolution) -> tuple[float, float]:
    """Return the sharpness with its error bar, infinite where the flow failed."""
    error = float(solution.sharpness_error) if solution.status.is_settled else math.inf
    return float(solution.sharpness), error


def _shown(value: tuple[float, float]) -> str:
    return f"{value[0]:.8g} ± {value[1]:.1g}"
