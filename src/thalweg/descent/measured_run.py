"""What is measured along one run, wherever its iterates come from, and the log that runs share."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf, nan
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Array, PyTree

from thalweg.basics.activity import doing
from thalweg.descent.checkpoint import Checkpoint, Outcome
from thalweg.descent.forecast import Forecast
from thalweg.descent.labels import Labels
from thalweg.descent.measurements import Reading
from thalweg.descent.recorder import Recorder
from thalweg.descent.run import Progress, Run
from thalweg.flow.method import FlowProgress
from thalweg.problems import Problem

Report = Callable[[Progress], bool | None]


class LoggedReading(NamedTuple):
    """A reading as it is handed on by `on_reading`: to a logger, or to a file of one's own.

    Attributes
    ----------
    run, step, step_size
        Where it was made: the number of the run, from 0; NaN for a step size that is not known.
    values
        The numbers of the measurement by their names, and the `loss` at this step.
    of_previous
        Numbers of the previous reading of the same measurement that are known only now.
    """

    run: int
    step: int
    step_size: float
    values: Mapping[str, float]
    of_previous: Mapping[str, float]


OnReading = Callable[[LoggedReading], Any]


@dataclass
class RunLog:
    """What all runs have in common: recorder, labels, work, time, and who is told of them."""

    recorder: Recorder
    labels: Labels
    began: float = field(default_factory=time.perf_counter)
    report: Report | None = None
    on_reading: OnReading | None = None
    budget: float = inf
    forecast: Forecast | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    interrupt: KeyboardInterrupt | None = None
    work: float = 0.0
    measurements_made: int = 0
    first_readings: dict[int, Reading] = field(default_factory=dict)  # of the first run, at step 0

    @property
    def seconds(self) -> float:
        """Wall-clock time, that of the sessions before a checkpoint included."""
        return time.perf_counter() - self.began

    @property
    def axes(self) -> list[Any]:
        """What makes two runs the same."""
        sizes = np.nan_to_num(np.asarray(self.labels.step_sizes, float))  # NaN equals nothing
        if self.labels.starts is not None:
            sizes = np.stack([sizes, self.labels.starts[1]])
        return [sizes, self.recorder.loss_steps, *self.recorder.schedules]

    @property
    def left(self) -> float:
        """Work left in the budget."""
        return self.budget - self.work

    def dataset(self) -> xr.Dataset:
        """Return everything recorded so far."""
        return self.recorder.dataset(self.labels)

    def result(self, outcomes: Sequence[Outcome]) -> Run:
        """Return everything recorded so far, and how each run ended."""
        return Run(
            dataset=self.dataset(),
            w=[outcome.w for outcome in outcomes],
            status=[outcome.status for outcome in outcomes],
            message=[outcome.message for outcome in outcomes],
            steps=[outcome.steps for outcome in outcomes],
            gradient_evaluations=self.work,
            seconds=self.seconds,
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on with what was recorded up to a checkpoint."""
        self.outcomes = list(checkpoint.outcomes)
        self.work = checkpoint.gradient_evaluations
        self.first_readings = dict(checkpoint.first_readings)
        self.began -= checkpoint.seconds


class MeasuredRun:
    """One run: the iterate in hand, and how far its measurements have got.

    `leaves()` are the arrays of the iterate that checkpoints keep.
    """

    def __init__(self, log: RunLog, steps: int, leaves: Callable[[], list[Array]]):
        self.log, self.steps, self.leaves = log, steps, leaves
        self.number, self.step = len(log.outcomes), 0
        self.loss = self.first_loss = nan
        self.measured = 0
        self.warm_starts: dict[int, Any] = {}
        self.measurement_state: Any = None
        self.ahead: dict[tuple[int, int], Any] = {}  # what was solved before, by step and number

    def move(self, step: int, loss: float) -> None:
        """Take up the iterate at another step."""
        self.step, self.loss = step, loss
        self.measured, self.measurement_state = 0, None

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.log.recorder.restore(saved.losses, saved.values, saved.axes[1:])
        self.step, self.first_loss = saved.step, saved.first_loss
        self.measured, self.measurement_state = saved.measured, saved.measurement_state
        self.warm_starts = dict(saved.warm_starts)

    def measure(self, problem: Problem, w: PyTree, due: Sequence[int]) -> bool:
        """Make the measurements that are due at `w`; return whether to stop."""
        asked_to_stop = False

        def relay(flow: FlowProgress) -> bool:
            nonlocal asked_to_stop
            asked_to_stop = self.report(flow)
            return asked_to_stop

        log, recorder = self.log, self.log.recorder
        for number in due[self.measured :]:
            if self.measured and self.report():
                return True
            reading = self._reading(number, problem, w, relay)
            recorder.record_values(self.number, number, self.step, reading)
            log.work += reading.gradient_evaluations
            if asked_to_stop:
                return True
            self.warm_starts[number] = reading.memory
            if self.step == 0:
                log.first_readings[number] = Reading(dict(reading.values), reading.memory, 0.0, {})
            log.measurements_made += 1
            self.measured, self.measurement_state = self.measured + 1, None
            if log.on_reading is not None:
                where = (self.number, self.step, log.labels.step_sizes[self.number])
                values = {"loss": self.loss, **reading.values}
                log.on_reading(LoggedReading(*where, values, reading.of_previous))
        return False

    def _reading(self, number: int, problem: Problem, w: PyTree, relay: Any) -> Reading:
        """Make a measurement, or go on with it; at the start, which all runs share, only once."""
        if self.step == 0 and number in self.log.first_readings:
            return self.log.first_readings[number]
        measurement = self.log.recorder.measurements[number]
        given = (problem, w, self.warm_starts.get(number), relay)
        resume = getattr(measurement, "resume", None)
        state = self.ahead.pop((self.step, number), None)
        if self.measurement_state is not None:
            state = self.measurement_state
        with doing(f"measuring {measurement.name} at step {self.step}"):
            if resume is not None and state is not None:
                reading: Reading = resume(*given, state)
            else:
                reading = measurement.measure(*given)
        if self.log.forecast is not None:
            self.log.forecast.add(number)
        return reading

    def report(self, flow: FlowProgress | None = None) -> bool:
        """Tell where the run stands; return whether to stop."""
        log = self.log
        if log.report is None:
            return False
        size = log.labels.step_sizes[self.number]
        runs = len(log.labels.step_sizes)
        where = (self.number, runs, size, self.step, self.steps, self.loss, flow)
        saving = (partial(self.checkpoint, flow), log.dataset, self._seconds_left(flow))
        start = log.labels.start_of(self.number)
        return bool(log.report(Progress(*where, log.work, log.measurements_made, *saving, start)))

    def _seconds_left(self, flow: FlowProgress | None) -> float | None:
        if (forecast := self.log.forecast) is None:
            return None
        due = self.log.recorder.due(self.step)
        return forecast.seconds_left(self.number, self.step, self.measured, due, flow)

    def checkpoint(self, flow: FlowProgress | None = None) -> Checkpoint:
        """Return what it takes to go on from here."""
        log, recorder = self.log, self.log.recorder
        return Checkpoint(
            axes=log.axes,
            outcomes=list(log.outcomes),
            step=self.step,
            first_loss=self.first_loss,
            iterate=self.leaves(),
            measured=self.measured,
            warm_starts=dict(self.warm_starts),
            measurement_state=flow.standing() if flow and flow.standing else self.measurement_state,
            gradient_evaluations=log.work,
            seconds=log.seconds,
            losses=recorder.losses.copy(),
            values={name: array.copy() for name, array in recorder.values.items()},
            first_readings=dict(log.first_readings),
        )
