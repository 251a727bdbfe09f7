"""What named experiments have in common: those that descend and measure, and all others."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from thalweg.basics.checks import MOST, check_at_least, check_positive
from thalweg.basics.memory import BYTES_A_RESULT, check_fits

if TYPE_CHECKING:
    import xarray as xr

    from thalweg.descent import Measurement


MANY_STEPS = 2**31 - 1
"""Of a study: what it counts with, and far more than it could wait for."""


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Something with a name that can be run: its fields are its options.

    `summary` is its line in the list of experiments, `figure` the name of its figure.

    The descriptions of the fields are what `thalweg run EXPERIMENT --help` shows. Nothing here
    imports JAX, so that the command line can explain itself quickly.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    figure: ClassVar[str]

    @abstractmethod
    def check(self) -> None:
        """Raise a ValueError, with what to change, for the first option that makes no sense."""

    def check_at_least(self, name: str, least: int, most: int = MOST) -> None:
        """Raise a ValueError if the integer field `name` is smaller than `least` or too large."""
        check_at_least(name, getattr(self, name), least, most)


@dataclass(frozen=True, kw_only=True)
class Study(Experiment):
    """An experiment that computes its results in one go, in its own way."""

    @abstractmethod
    def compute(self) -> "tuple[xr.Dataset, list[dict[str, Any]]]":
        """Return what is stored, and the entry `runs` of `summary.json`.

        Every entry has at least `step_size`, `threshold`, `steps` and `status`.
        """

    @abstractmethod
    def report(self, summary: dict[str, Any]) -> str:
        """Return the few lines that the command line prints of what `summary.json` holds."""


@dataclass(frozen=True, kw_only=True)
class DescentExperiment(Experiment):
    """A problem, a start, and what to measure along gradient descent from it.

    Everything is measured at the last step as well, whatever the schedule.

    Attributes
    ----------
    step_size
        Step size of gradient descent (learning rate); the stability threshold is 2 / step size.
        Several numbers are several runs from the same start.
    relative_step_size
        Step sizes as multiples of 2 / sharpness at the start: used in place of step_size.
    steps
        Number of steps of gradient descent.
    sharpness_every
        Measure the sharpness at every so many steps.
    gfs_every
        Measure the GFS sharpness (that of the gradient flow solution) at every so many steps.
    gfs_start
        The first step at which the GFS sharpness is measured.
    gfs_also
        Further steps at which the GFS sharpness is measured.
    rtol
        Relative accuracy wanted of the GFS sharpness.
    max_gradient_evaluations
        Budget of one gradient flow solution, in gradient evaluations.
    max_flow_seconds
        Budget of one gradient flow solution, in seconds: left out, no limit. Which flows it ends
        depends on the machine.
    """

    figure: ClassVar[str] = "run"

    step_size: tuple[float, ...]
    steps: int
    sharpness_every: int
    gfs_every: int
    gfs_start: int = 0
    gfs_also: tuple[int, ...] = ()
    rtol: float = 1e-4
    max_gradient_evaluations: float = 200_000
    max_flow_seconds: float | None = None
    relative_step_size: tuple[float, ...] = ()

    @abstractmethod
    def build(self) -> tuple[Any, Any]:
        """Return the problem and the start."""

    def resolved(self, problem: Any, start: Any, announce: Callable[[str], None]) -> Self:
        """Return this configuration with all that was left open decided, by `problem` and `start`.

        What it returns is what is run and stored: step sizes as numbers. `announce` is called with
        a line on whatever takes long. Raises a ValueError where that cannot be done.
        """
        if not self.relative_step_size:
            return self
        from thalweg.descent.step_sizes import relative_step_sizes

        sizes = relative_step_sizes(problem, start, self.relative_step_size)
        return replace(self, step_size=sizes, relative_step_size=())

    def measurements(self) -> "list[Measurement]":
        """Return what is measured along the run: sharpness and GFS sharpness."""
        from thalweg.descent import GFSSharpness, Sharpness

        return [Sharpness(every=self.sharpness_every), GFSSharpness(**self.flows())]

    def flows(self) -> dict[str, Any]:
        """Return schedule, accuracy and budgets of the measurement that follows flows."""
        return {
            "every": self.gfs_every,
            "start": self.gfs_start,
            "also": self.gfs_also,
            "rtol": self.rtol,
            "max_gradient_evaluations": self.max_gradient_evaluations,
            "max_seconds": self.max_flow_seconds or math.inf,
        }

    def conclude(
        self, dataset: "xr.Dataset", summary: dict[str, Any]
    ) -> "tuple[xr.Dataset, dict[str, Any]]":
        """Return what is stored, with whatever else there is to say once the runs have ended."""
        return dataset, summary

    def check(self) -> None:
        """As for every experiment: step sizes, schedules and accuracy."""
        if not (self.step_size or self.relative_step_size):
            raise ValueError("step_size is empty: give at least one positive number")
        for name in ("step_size", "relative_step_size"):
            for size in getattr(self, name):
                check_positive(name, size)
        check_positive("rtol", self.rtol)
        check_positive("max_gradient_evaluations", self.max_gradient_evaluations)
        if self.max_flow_seconds is not None:
            check_positive("max_flow_seconds", self.max_flow_seconds)
        for name in ("steps", "sharpness_every", "gfs_every"):
            self.check_at_least(name, 1)
        self.check_at_least("gfs_start", 0)
        if not all(0 <= step <= MOST for step in self.gfs_also):
            raise ValueError(f"gfs_also must hold steps of at least 0, got {self.gfs_also}")
        values = 1 + 3 / self.sharpness_every + 6 / self.gfs_every
        check_fits(
            BYTES_A_RESULT * len(self.step_size or self.relative_step_size) * self.steps * values,
            "the results",
            "choose fewer steps or step sizes",
        )
