"""One run of a descent, between two compiled chunks, and the log that its runs share."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import PyTree

from thalweg.descent.checkpoint import Checkpoint, Outcome, RunStatus
from thalweg.descent.loop import CHUNK, advance, first_iterate, is_finite_and_bounded
from thalweg.descent.recorder import Recorder
from thalweg.descent.run import Progress
from thalweg.descent.updates import Update
from thalweg.flow.method import FlowProgress
from thalweg.problems import COST, Problem

Report = Callable[[Progress], bool | None]

DIVERGED_ABOVE = 1e6
"""A run has diverged once its loss exceeds this many times max(|loss at the start|, 1)."""

_CHUNK_SECONDS = 0.2
"""Chunks are lengthened while they take less time than this, so that reports come often."""


@dataclass
class DescentLog:
    """What all runs of a descent have in common: the recorder, the work, the time, the report."""

    recorder: Recorder
    step_sizes: list[float]
    thresholds: list[float]
    began: float
    report: Report | None
    budget: float
    outcomes: list[Outcome] = field(default_factory=list)
    interrupt: KeyboardInterrupt | None = None
    work: float = 0.0
    measurements_made: int = 0

    @property
    def seconds(self) -> float:
        """Wall-clock time, that of the sessions before a checkpoint included."""
        return time.perf_counter() - self.began

    @property
    def axes(self) -> list[Any]:
        """What makes two descents the same."""
        return [np.asarray(self.step_sizes), self.recorder.loss_steps, *self.recorder.schedules]

    @property
    def left(self) -> float:
        """Work left in the budget."""
        return self.budget - self.work

    def dataset(self) -> xr.Dataset:
        """Return everything recorded so far."""
        return self.recorder.dataset(self.step_sizes, self.thresholds)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on with what was recorded up to a checkpoint."""
        self.outcomes = list(checkpoint.outcomes)
        self.work = checkpoint.gradient_evaluations
        self.began -= checkpoint.seconds


class Descent:
    """One run: its state between two compiled chunks."""

    def __init__(self, problem: Problem, update: Update, log: DescentLog, steps: int):
        self.problem, self.update, self.log, self.recorder = problem, update, log, log.recorder
        self.run, self.step, self.steps = len(log.outcomes), 0, steps
        self.loss = self.first_loss = self.limit = math.nan
        self.iterate: Any = None
        self.w: PyTree = None
        self.measured = 0
        self.warm_starts: dict[int, Any] = {}
        self.measurement_state: Any = None
        self.chunk = 1

    def descend(self, w: PyTree, checkpoint: Checkpoint | None) -> Outcome:
        """Descend from `w`, or from a checkpoint, to the last step or to where the run ends."""
        self.w = w
        try:
            if checkpoint is None:
                self._begin(w)
            else:
                self._restore(w, checkpoint)
            self.limit = DIVERGED_ABOVE * max(abs(self.first_loss), 1.0)
            limit = jnp.asarray(self.limit, self.iterate.loss.dtype)
            while True:
                self.w = self.iterate.w
                if not bool(is_finite_and_bounded(self.iterate, limit)):
                    return self._end(RunStatus.DIVERGED)
                if self._measure():
                    return self._end(RunStatus.STOPPED)
                asked_to_stop = self._report()
                if self.step == self.steps:
                    return self._end(RunStatus.COMPLETED)
                if asked_to_stop or self.log.left < COST.gradient:
                    return self._end(RunStatus.STOPPED)
                self._advance(limit)
        except KeyboardInterrupt as interrupt:
            self.log.interrupt = interrupt
            return self._end(RunStatus.STOPPED)

    def _begin(self, w: PyTree) -> None:
        self.iterate = first_iterate(self.problem, self.update, w)
        self.loss = self.first_loss = loss = float(self.iterate.loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss at the start is {loss}: check the data and the parameters for NaN, "
                "infinity and overflow"
            )
        self.log.work += COST.gradient
        self.recorder.record_losses(self.run, 0, np.asarray([loss]))

    def _restore(self, w: PyTree, saved: Checkpoint) -> None:
        shapes = eqx.filter_eval_shape(first_iterate, self.problem, self.update, w)
        arrays, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        saved.check_fits(self.log.axes, arrays, self.recorder.values)
        self.iterate = eqx.combine(
            jax.tree.unflatten(jax.tree.structure(arrays), saved.iterate), static
        )
        self.recorder.restore(saved.losses, saved.values)
        self.step, self.first_loss = saved.step, saved.first_loss
        self.loss = float(self.iterate.loss)
        self.measured, self.measurement_state = saved.measured, saved.measurement_state
        self.warm_starts = dict(saved.warm_starts)

    def _checkpoint(self, flow: FlowProgress | None) -> Checkpoint:
        return Checkpoint(
            axes=self.log.axes,
            outcomes=list(self.log.outcomes),
            step=self.step,
            first_loss=self.first_loss,
            iterate=jax.tree.leaves(eqx.filter(self.iterate, eqx.is_array)),
            measured=self.measured,
            warm_starts=dict(self.warm_starts),
            measurement_state=flow.standing() if flow and flow.standing else self.measurement_state,
            gradient_evaluations=self.log.work,
            seconds=self.log.seconds,
            losses=self.recorder.losses.copy(),
            values={name: array.copy() for name, array in self.recorder.values.items()},
        )

    def _advance(self, limit: Any) -> None:
        began = time.perf_counter()
        due = self.recorder.next_due(self.step)
        wanted = (self.steps if due is None else due) - self.step
        affordable = self.log.left // COST.gradient
        count = int(min(self.chunk, wanted, affordable))
        self.iterate, taken, losses = advance(
            self.problem, self.update, self.iterate, jnp.asarray(count), limit
        )
        kept = np.asarray(losses)[: int(taken)]
        self.log.work += COST.gradient * kept.size
        self.recorder.record_losses(self.run, self.step + 1, kept)
        self.step, self.loss = self.step + kept.size, float(kept[-1])
        self.measured, self.measurement_state = 0, None
        seconds = time.perf_counter() - began
        if count == self.chunk and seconds < _CHUNK_SECONDS:
            self.chunk = min(2 * self.chunk, CHUNK)
        elif seconds > 4 * _CHUNK_SECONDS:
            self.chunk = max(self.chunk // 2, 1)

    def _measure(self) -> bool:
        """Make the measurements that are due; return whether to stop."""
        asked_to_stop = False

        def relay(flow: FlowProgress) -> bool:
            nonlocal asked_to_stop
            asked_to_stop = self._report(flow)
            return asked_to_stop

        due = self.recorder.due(self.step)
        for number in due[self.measured :]:
            if self.measured and self._report():
                return True
            measurement = self.recorder.measurements[number]
            memory = self.warm_starts.get(number)
            given = (self.problem, self.w, memory, relay)
            resume = getattr(measurement, "resume", None)
            if resume is not None and self.measurement_state is not None:
                reading = resume(*given, self.measurement_state)
            else:
                reading = measurement.measure(*given)
            self.recorder.record_values(self.run, number, self.step, reading)
            self.log.work += reading.gradient_evaluations
            if asked_to_stop:
                return True
            self.warm_starts[number] = reading.memory
            self.log.measurements_made += 1
            self.measured, self.measurement_state = self.measured + 1, None
        return False

    def _report(self, flow: FlowProgress | None = None) -> bool:
        log = self.log
        if log.report is None:
            return False
        size = log.step_sizes[self.run]
        where = (self.run, len(log.step_sizes), size, self.step, self.steps, self.loss, flow)
        saving = (partial(self._checkpoint, flow), log.dataset)
        return bool(log.report(Progress(*where, log.work, log.measurements_made, *saving)))

    def _end(self, status: RunStatus) -> Outcome:
        step, steps, loss = self.step, self.steps, self.loss
        if status is RunStatus.COMPLETED:
            message = f"All {steps} steps were taken."
        elif status is RunStatus.STOPPED:
            message = (
                f"The run was stopped at step {step} of {steps}: resume it, or run it again, to "
                "finish it."
            )
        elif loss <= self.limit and _is_finite(self.w):
            message = (
                f"Gradient descent cannot go on from step {step}: the loss is {loss:.3g}, but its "
                "gradient is not finite, whatever the step size (as that of a root at 0): start "
                "elsewhere, or write the loss so that its gradient is finite."
            )
        else:
            reason = f"the loss is {loss:.3g}" if math.isfinite(loss) else "the loss is not finite"
            message = (
                f"Gradient descent diverged at step {step} ({reason}): choose a step size below "
                f"{self.log.step_sizes[self.run]:g}."
            )
        return Outcome(self.w, status, message, step)


def _is_finite(w: PyTree) -> bool:
    leaves = jax.tree.leaves(eqx.filter(w, eqx.is_inexact_array))
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)
