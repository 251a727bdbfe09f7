"""What is measured along one run, wherever its iterates come from, and the log that runs share."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from thalweg.descent.schedule import refined_to
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
    lanes: int = 1
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
        self.ahead: dict[tuple[int, int], Any] = {}  # what was solved before, by step and number,
        self.under_way: dict[tuple[int, int], Callable[[], Any]] = {}  # and what is being solved
        of_all = enumerate(log.recorder.measurements)
        self.readings: dict[int, dict[int, Reading]] = {  # of those to be refined, by their steps
            number: {} for number, one in of_all if refined_to(one)
        }

    def move(self, step: int, loss: float) -> None:
        """Take up the iterate at another step."""
        self.step, self.loss = step, loss
        self.measured, self.measurement_state = 0, None

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint."""
        self.log.recorder.restore(saved.losses, saved.values, saved.axes[1:], saved.value_axes)
        self.step, self.first_loss = saved.step, saved.first_loss
        self.measured, self.measurement_state = saved.measured, saved.measurement_state
        self.warm_starts = dict(saved.warm_starts)
        self.readings = {number: dict(found) for number, found in saved.readings.items()}

    def restore_ahead(self, saved: Checkpoint) -> None:
        """Take up what is known of coming iterates, where they are sure to be the same again."""
        self.ahead = dict(saved.ahead)
        self.under_way = {key: partial(_same, state) for key, state in saved.under_way.items()}

    def solve_ahead(
        self, number: int, problem: Problem, iterates: Sequence[tuple[int, PyTree]], lanes: int
    ) -> bool:
        """Solve side by side what a measurement needs at iterates `(step, w)`, this one and later.

        Return whether to stop, as when the budget is used up. Then nothing is known of any of them.
        """
        measurement: Any = self.log.recorder.measurements[number]
        keys, relay = [(step, number) for step, _ in iterates], _Relay(self.report)
        latest: dict[int, FlowProgress] = {}

        def work() -> float:
            return sum(flow.gradient_evaluations for flow in latest.values())

        def report(index: int, flow: FlowProgress) -> bool:
            if flow.standing is not None:
                self.under_way[keys[index]] = flow.standing
            latest[index] = flow
            if not relay.asked_to_stop:
                done = sum(one.fraction for one in latest.values()) / len(keys)
                relay(replace(flow, gradient_evaluations=work(), fraction=done, standing=None))
                relay.asked_to_stop |= work() > self.log.left
            return relay.asked_to_stop

        standing = [self.under_way[key]() if key in self.under_way else None for key in keys]
        memory, ws = self.warm_starts.get(number), [w for _, w in iterates]
        with doing(f"measuring {measurement.name} at {len(ws)} steps from {self.step} on"):
            states = measurement.ahead(problem, ws, memory, lanes, report, standing)
        if relay.asked_to_stop:
            self.log.work += work()
            return True
        self.ahead |= dict(zip(keys, states, strict=True))
        for key in keys:
            self.under_way.pop(key, None)
        return False

    def measure(self, problem: Problem, w: PyTree, due: Sequence[int]) -> bool:
        """Make the measurements that are due at `w`; return whether to stop."""
        log, recorder, relay = self.log, self.log.recorder, _Relay(self.report)
        for number in due[self.measured :]:
            if self.measured and self.report():
                return True
            memory = self.warm_starts.get(number)
            reading = self._reading(number, self.step, problem, w, memory, relay)
            recorder.record_values(self.number, number, self.step, reading)
            if relay.asked_to_stop:
                log.work += reading.gradient_evaluations
                return True
            self.warm_starts[number] = reading.memory
            if self.step == 0:
                log.first_readings[number] = Reading(dict(reading.values), reading.memory, 0.0, {})
            self.measured += 1
            self._has_measured(number, self.step, self.loss, reading)
        return False

    def measure_between(
        self, number: int, step: int, problem: Problem, w: PyTree, loss: float
    ) -> bool:
        """Make a measurement between two that were made before; return whether to stop.

        Then nothing of it is recorded. What is known of neighbours by themselves is made anew.
        """
        recorder, relay, known = self.log.recorder, _Relay(self.report), self.readings[number]
        before = max(one for one in known if one < step)
        after = min(one for one in known if one > step)
        memory = known[before].memory
        reading = self._reading(number, step, problem, w, memory, relay)
        again: Any = getattr(recorder.measurements[number], "again", None)
        of_this = Reading({})
        if again is not None and not relay.asked_to_stop:
            of_this = again(problem, known[after].memory, reading.memory, relay)
        if relay.asked_to_stop:
            return True
        recorder.insert(number, step)
        recorder.record_values(self.number, number, before, known[before])
        recorder.record_values(self.number, number, step, reading)
        recorder.record_of_previous(self.number, number, after, of_this.of_previous)
        self.log.work += of_this.gradient_evaluations
        self._has_measured(number, step, loss, reading)
        return False

    def _has_measured(self, number: int, step: int, loss: float, reading: Reading) -> None:
        """Count a measurement, keep what is needed of it, and hand it on."""
        log, self.measurement_state = self.log, None
        log.work += reading.gradient_evaluations
        log.measurements_made += 1
        if number in self.readings:
            self.readings[number][step] = Reading(dict(reading.values), reading.memory, 0.0, {})
        if log.on_reading is not None:
            where = (self.number, step, log.labels.step_sizes[self.number])
            values = {"loss": loss, **reading.values}
            log.on_reading(LoggedReading(*where, values, reading.of_previous))

    def _reading(
        self, number: int, step: int, problem: Problem, w: PyTree, memory: Any, relay: "_Relay"
    ) -> Reading:
        """Make a measurement, or go on with it; at the start, which all runs share, only once."""
        if step == 0 and number in self.log.first_readings:
            return self.log.first_readings[number]
        measurement = self.log.recorder.measurements[number]
        given = (problem, w, memory, relay)
        resume = getattr(measurement, "resume", None)
        state = self.measurement_state
        if state is None:
            state = self.ahead.get((step, number))
        with doing(f"measuring {measurement.name} at step {step}"):
            if resume is not None and state is not None:
                reading: Reading = resume(*given, state)
            else:
                reading = measurement.measure(*given)
        self.ahead.pop((step, number), None)
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
        sizes = {number: schedule.size for number, schedule in enumerate(forecast.schedules)}
        made = {number: max(len(r) - sizes[number], 0) for number, r in self.readings.items()}
        return forecast.seconds_left(self.number, self.step, self.measured, due, flow, made)

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
            ahead=dict(self.ahead),
            under_way={key: standing() for key, standing in self.under_way.items()},
            gradient_evaluations=log.work,
            seconds=log.seconds,
            losses=recorder.losses.copy(),
            values={name: array.copy() for name, array in recorder.values.items()},
            first_readings=dict(log.first_readings),
            value_axes=list(recorder.axes),
            readings={number: dict(found) for number, found in self.readings.items()},
        )


def _same(value: Any) -> Any:
    return value


class _Relay:
    """A report of a flow that remembers whether it was asked to stop."""

    def __init__(self, report: Callable[[FlowProgress], bool]):
        self.report, self.asked_to_stop = report, False

    def __call__(self, flow: FlowProgress) -> bool:
        self.asked_to_stop = self.report(flow)
        return self.asked_to_stop
