"""What a descent returns, and how it can end."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr
from jaxtyping import PyTree

from thalweg.descent.checkpoint import Checkpoint, RunStatus
from thalweg.flow.method import FlowProgress


@dataclass(frozen=True)
class Progress:
    """Where a descent stands: for progress displays and for stopping it early.

    Attributes
    ----------
    run, runs
        The number of the run in hand, from 0, and how many there are.
    step_size
        That of the run in hand.
    step, steps
        Steps taken and steps asked for, in this run.
    loss
        The loss at `step`.
    flow
        While a gradient flow solution is being measured: where that flow stands.
    gradient_evaluations
        All work so far, of earlier runs too, but not that of a measurement in hand.
    readings
        Measurements made so far, in all runs.
    seconds_left
        About how long all runs will still take, from what steps and measurements have taken so far
        without compiling; `None` where that cannot be told yet.
    checkpoint
        Returns what `descend(..., checkpoint=...)` needs to go on from here. To be called at once:
        the descent goes on when the report returns.
    dataset
        Returns everything measured so far, as `Run.dataset` will be; also to be called at once.
    start
        How the start of the run in hand is called, where there are several: "seed 3".
    """

    run: int
    runs: int
    step_size: float
    step: int
    steps: int
    loss: float
    flow: FlowProgress | None = None
    gradient_evaluations: float = 0.0
    readings: int = 0
    checkpoint: Callable[[], Checkpoint] | None = None
    dataset: Callable[[], xr.Dataset] | None = None
    seconds_left: float | None = None
    start: str | None = None

    def __str__(self) -> str:
        known = "" if self.start is None else f"{self.start}, "
        known += "" if math.isnan(self.step_size) else f"step size {self.step_size:g}, "
        said = f"{known}step {self.step} of {self.steps}, loss {self.loss:.3g}"
        return said if self.flow is None else f"{said}, {self.flow}"


class Interrupted(KeyboardInterrupt):
    """A descent that was interrupted, by Ctrl-C; it keeps what was measured until then.

    Attributes
    ----------
    run
        The `Run`, as `descend` would have returned it: the run in hand, and those after it, have
        the status "stopped".
    """

    def __init__(self, run: "Run"):
        super().__init__()  # without arguments: where it is not caught, `__str__` says it all
        self.run = run

    def __str__(self) -> str:
        done = ", ".join(str(steps) for steps in self.run.steps)
        return f"the descent was interrupted (steps: {done}); what was measured is in its .run"


@dataclass(frozen=True)
class Run:
    """What `descend` returns. Every list has one entry for each start and step size.

    Attributes
    ----------
    dataset
        Dimension `run` first, with coordinates `step_size` and `threshold`, and `seed` or `start`
        where there are several; `loss(run, step)`; the
        variables of each measurement on `(run, <name>_step)`. NaN where a run did not get.
    w
        The last parameters reached.
    status, message
        How each run ended, and a sentence saying so (with advice where it did not complete).
    steps
        The number of steps taken.
    gradient_evaluations
        All work, training and measurements, in units of one gradient (`thalweg.problems.COST`).
    seconds
        Wall-clock time, compilation included.
    """

    dataset: xr.Dataset
    w: list[PyTree]
    status: list[RunStatus]
    message: list[str]
    steps: list[int]
    gradient_evaluations: float
    seconds: float
