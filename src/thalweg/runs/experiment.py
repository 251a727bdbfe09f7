"""What named experiments have in common: those that descend and measure, and all others."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from thalweg.basics.checks import Count, Natural, Positive, check_fields
from thalweg.basics.memory import BYTES_A_RESULT, check_fits

if TYPE_CHECKING:
    import xarray as xr

    from thalweg.descent import Measurement, Sharpness


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

    @property
    def title(self) -> str:
        """What is run, in the words of a figure's title."""
        return self.name

    def check(self) -> None:
        """Raise a ValueError, with what to change, for the first option that makes no sense.

        Here: one that is not as the annotation of its field says (`thalweg.basics.checks`).
        """
        check_fields(self)


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
        Measure the sharpness at every so many steps, and before at step 1 and some that grow apart.
    gfs_every
        Measure the GFS sharpness (that of the gradient flow solution) at every so many steps: left
        out, at every eighth of the run, and before at step 1 and six more that grow apart.
    gfs_start
        The first step at which the GFS sharpness is measured.
    gfs_also
        Further steps at which the GFS sharpness is measured.
    gfs_at
        The steps at which the GFS sharpness is measured, in place of the three above.
    gfs_points
        How many values of the GFS sharpness each run has: half of them at steps that grow apart (or
        those of gfs_at), the others where it changes most, by going back.
    rtol
        Relative accuracy wanted of the GFS sharpness.
    max_gradient_evaluations
        Budget of one gradient flow solution, in gradient evaluations.
    max_flow_seconds
        Budget of one gradient flow solution, in seconds: left out, no limit. Which flows it ends
        depends on the machine.
    lanes
        How many flows of a run are followed side by side: left out, as many as pay on the device,
        one on a CPU and 32 on a GPU (fewer need less of its memory).
    """

    figure: ClassVar[str] = "run"

    step_size: tuple[Positive, ...]
    steps: Count
    sharpness_every: Count
    gfs_every: Count | None = None
    gfs_start: Natural = 0
    gfs_also: tuple[Natural, ...] = ()
    gfs_at: tuple[Natural, ...] = ()
    gfs_points: Count | None = None
    rtol: Positive = 1e-4
    max_gradient_evaluations: Positive = 200_000
    max_flow_seconds: Positive | None = None
    lanes: Count | None = None
    relative_step_size: tuple[Positive, ...] = ()

    chooses_step_sizes: ClassVar[bool] = False
    """Whether step sizes may be left out, since `resolved` chooses them."""

    @abstractmethod
    def build(self) -> tuple[Any, Any]:
        """Return the problem and the start."""

    def starts(self) -> tuple[Any, Any]:
        """Return the problem and the start, or all of several, as `descend` takes them."""
        return self.build()

    def step_sizes(self) -> Any:
        """Return the step sizes of each start, as `descend` takes them."""
        return self.step_size

    @property
    def runs(self) -> int:
        """How many runs there are, as far as that is known."""
        return len(self.step_size or self.relative_step_size or (1.0,))

    def part(self, index: int, of: int) -> Self:
        """Return every `of`-th of the runs from number `index` on: what one of `of` jobs does.

        >>> from thalweg.experiments import DigitsMLP
        >>> whole = DigitsMLP(seed=(0, 1, 2), step_size=(0.1, 0.2))
        >>> [(one.seed, one.step_size) for one in (whole.part(index, 4) for index in range(4))]
        [((0, 2), (0.1, 0.1)), ((0, 2), (0.2, 0.2)), ((1,), (0.1,)), ((1,), (0.2,))]
        """
        if self.step_size:
            return replace(self, step_size=part_of(self.step_size, index, of))
        sizes = part_of(self.relative_step_size, index, of)
        return replace(self, relative_step_size=sizes)

    def settled(self, problem: Any, start: Any, announce: Callable[[str], None]) -> Self:
        """Return what `resolved` does, for all starts."""
        return self.resolved(problem, start, announce)

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
        from thalweg.descent import GFSSharpness

        return [self.sharpness(), GFSSharpness(**self.flows())]

    def sharpness(self) -> "Sharpness":
        """Return the measurement of the sharpness."""
        from thalweg.descent import Sharpness, log_spaced

        return Sharpness(every=self.sharpness_every, also=log_spaced(self.sharpness_every, 9))

    def flows(self) -> dict[str, Any]:
        """Return schedule, accuracy and budgets of the measurement that follows flows."""
        from thalweg.descent import Refined, log_spaced

        regular, also = self.gfs_every or self._usual_every, self.gfs_also
        if self.gfs_every is None:
            also += tuple(step for step in log_spaced(regular, 9) if step >= self.gfs_start)
        at: Any = self.gfs_at or None
        if self.gfs_points:
            at = Refined(at or log_spaced(self.steps, self.gfs_points // 2), self.gfs_points)
        return {
            "every": regular,
            "start": self.gfs_start,
            "also": () if at else also,
            "at": at,
            "rtol": self.rtol,
            "max_gradient_evaluations": self.max_gradient_evaluations,
            "max_seconds": self.max_flow_seconds or math.inf,
        }

    @property
    def _usual_every(self) -> int:
        return -(-self.steps // 8)

    def conclude(
        self, dataset: "xr.Dataset", summary: dict[str, Any]
    ) -> "tuple[xr.Dataset, dict[str, Any]]":
        """Return what is stored, with whatever else there is to say once the runs have ended."""
        return dataset, summary

    def check(self) -> None:
        """As for every experiment, and that there are step sizes and room for the results."""
        super().check()
        if not (self.step_size or self.relative_step_size or self.chooses_step_sizes):
            raise ValueError("step_size is empty: give at least one positive number")
        least = max(6, len(self.gfs_at) + 1)
        if self.gfs_points is not None and self.gfs_points < least:
            raise ValueError(
                f"gfs_points is {self.gfs_points}: give at least {least}, or leave it out"
            )
        flows = 1 / (self.gfs_every or self._usual_every)
        if self.gfs_points is not None:
            flows = min(self.gfs_points / self.steps, 1.0)
        values = 1 + 3 / self.sharpness_every + 6 * flows
        check_fits(
            BYTES_A_RESULT * self.runs * self.steps * values,
            "the results",
            "choose fewer steps or step sizes",
        )


def part_of(runs: Sequence[Any], index: int, of: int) -> tuple[Any, ...]:
    """Return every `of`-th of some runs from number `index` on, or raise a ValueError."""
    if not 0 <= index < of:
        raise ValueError(f"index must be from 0 to {of - 1}, of being {of}, got {index}: change it")
    if of > len(runs):
        raise ValueError(f"there is nothing to do for {of} jobs, but for {len(runs)}: lower of")
    return tuple(runs[index::of])
