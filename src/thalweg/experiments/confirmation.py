"""A rise of the GFS sharpness is a finding: it is looked at again, more closely."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from thalweg import descent, flow
from thalweg.experiments.experiment import DescentExperiment
from thalweg.flow.solution import FlowSolution, Status

TIGHTER = 0.1
"""The accuracy asked for, relative to that of the run."""

BUDGET = 4
"""The budget of a flow, in those of the run."""


@dataclass(frozen=True)
class Confirmation:
    """The largest certain rise of a run, solved again at a tighter accuracy.

    Attributes
    ----------
    steps
        The two steps of gradient descent, the lower value first.
    before, after
        The two values with their error bars (absolute).
    rtol
        The relative accuracy that was asked for.
    """

    steps: tuple[int, int]
    before: tuple[float, float]
    after: tuple[float, float]
    rtol: float

    @property
    def confirmed(self) -> bool:
        """Whether the bars are apart, the later one higher."""
        return self.after[0] - self.after[1] > self.before[0] + self.before[1]

    def __str__(self) -> str:
        """Say it in a sentence."""
        said = "is confirmed" if self.confirmed else "is NOT confirmed"
        return (
            f"Solved again at rtol {self.rtol:g}, the rise from step {self.steps[0]} to "
            f"{self.steps[1]} {said}: {_shown(self.before)}, then {_shown(self.after)}."
        )


def confirm_rise(config: DescentExperiment, data: xr.Dataset) -> Confirmation | None:
    """Return the largest certain rise of one run, solved again; `None` where there is none.

    Parameters
    ----------
    config
        The configuration of the run.
    data
        Its stored results, at one entry of `run`.
    """
    steps = _largest_rise(data)
    if steps is None:
        return None
    problem, w = config.build()
    rtol, found, at = TIGHTER * config.rtol, [], 0
    for step in steps:
        w = descent.descend(problem, w, step_size=float(data["step_size"]), steps=step - at).w[0]
        at = step
        solution: FlowSolution = flow.gradient_flow_solution(
            problem,
            w,
            rtol=rtol,
            max_gradient_evaluations=BUDGET * config.max_gradient_evaluations,
        )
        found.append((float(solution.sharpness), float(solution.sharpness_error)))
    return Confirmation(steps, found[0], found[1], rtol)


def _largest_rise(data: xr.Dataset) -> tuple[int, int] | None:
    """Return the steps `(i, j)`, `i < j`, whose values rise most beyond their error bars."""
    values = data["gfs_sharpness"].values.astype(float)
    errors = data["gfs_sharpness_error"].values.astype(float)
    settled = [float(status) for status in Status if status.is_settled]
    known = np.isfinite(values) & np.isfinite(errors) & np.isin(data["gfs_status"].values, settled)
    steps, values, errors = data["gfs_step"].values[known], values[known], errors[known]
    if values.size < 2:
        return None
    highest = np.maximum.accumulate((values - errors)[::-1])[::-1]
    gaps = highest[1:] - (values + errors)[:-1]
    first = int(np.argmax(gaps))
    if gaps[first] <= 0:
        return None
    later = first + 1 + int(np.argmax((values - errors)[first + 1 :]))
    return int(steps[first]), int(steps[later])


def _shown(value: tuple[float, float]) -> str:
    return f"{value[0]:.8g} ± {value[1]:.1g}"
