"""One run of gradient descent, between two compiled chunks."""

import math
import time
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from thalweg.descent.checkpoint import Checkpoint, Outcome, RunStatus
from thalweg.descent.forecast import STEPS
from thalweg.descent.loop import CHUNK, Iterate, advance, first_iterate, is_finite_and_bounded
from thalweg.descent.measured_run import MeasuredRun, RunLog
from thalweg.descent.schedule import halved, refined_to
from thalweg.descent.updates import Update
from thalweg.problems import COST, Problem

DIVERGED_ABOVE = 1e6
"""A run has diverged once its loss exceeds this many times max(|loss at the start|, 1)."""

_CHUNK_SECONDS = 0.2
"""Chunks are lengthened while they take less time than this, so that reports come often."""


class Descent:
    """One run of gradient descent: its state between two compiled chunks."""

    def __init__(self, problem: Problem, update: Update, log: RunLog, steps: int):
        self.problem, self.update, self.log, self.steps = problem, update, log, steps
        self.run = MeasuredRun(log, steps, self._leaves)
        self.limit = math.nan
        self.iterate: Any = None
        self.w: PyTree = None
        self.start: PyTree = None
        self.chunk = 1
        self.kept: dict[int, Iterate] = {}  # where there are readings to be refined, by the step

    def descend(self, w: PyTree, checkpoint: Checkpoint | None) -> Outcome:
        """Descend from `w`, or from a checkpoint, to the last step or to where the run ends."""
        self.w, self.start, run = w, w, self.run
        try:
            if checkpoint is None:
                self._begin(w)
            else:
                self._restore(w, checkpoint)
            self.limit = DIVERGED_ABOVE * max(abs(run.first_loss), 1.0)
            limit = jnp.asarray(self.limit, self.iterate.loss.dtype)
            while True:
                self.w = self.iterate.w
                if not bool(is_finite_and_bounded(self.iterate, limit)):
                    return self._end(RunStatus.DIVERGED)
                due = self.log.recorder.due(run.step)
                is_stopped = self.log.lanes > 1 and self._solve_ahead(due, limit)
                if is_stopped or run.measure(self.problem, self.w, due):
                    return self._end(RunStatus.STOPPED)
                if any(run.step in found for found in run.readings.values()):
                    self.kept[run.step] = self.iterate
                asked_to_stop = run.report()
                if run.step == self.steps:
                    is_stopped = self._refine(limit, asked_to_stop)
                    return self._end(RunStatus.STOPPED if is_stopped else RunStatus.COMPLETED)
                if asked_to_stop or self.log.left < COST.gradient:
                    return self._end(RunStatus.STOPPED)
                self._advance(limit)
        except KeyboardInterrupt as interrupt:
            self.log.interrupt = interrupt
            return self._end(RunStatus.STOPPED)

    def _begin(self, w: PyTree) -> None:
        self.iterate = first_iterate(self.problem, self.update, w)
        self.run.first_loss = loss = float(self.iterate.loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss at the start is {loss}: check the data and the parameters for NaN, "
                "infinity and overflow"
            )
        self.run.move(0, loss)
        self.log.work += COST.gradient
        self.log.recorder.record_losses(self.run.number, 0, np.asarray([loss]))

    def _restore(self, w: PyTree, saved: Checkpoint) -> None:
        shapes = eqx.filter_eval_shape(first_iterate, self.problem, self.update, w)
        arrays, static = eqx.partition(shapes, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
        saved.check_fits(self.log.axes, arrays, self.log.recorder.values)
        self.iterate = eqx.combine(
            jax.tree.unflatten(jax.tree.structure(arrays), saved.iterate), static
        )
        self.run.restore(saved)
        self.run.restore_ahead(saved)
        self.run.loss = float(self.iterate.loss)

    def _leaves(self) -> list[Array]:
        return jax.tree.leaves(eqx.filter(self.iterate, eqx.is_array))

    def _advance(self, limit: Any) -> None:
        run, recorder = self.run, self.log.recorder
        due = recorder.next_due(run.step)
        wanted = (self.steps if due is None else due) - run.step
        affordable = int(min(wanted, self.log.left // COST.gradient))
        self.iterate, kept = self._chunk_on(self.iterate, affordable, limit)
        self.log.work += COST.gradient * kept.size
        recorder.record_losses(run.number, run.step + 1, kept)
        run.move(run.step + kept.size, float(kept[-1]))
        if self.log.forecast is not None:
            self.log.forecast.add(STEPS, kept.size)

    def _chunk_on(self, iterate: Iterate, most: int, limit: Any) -> tuple[Iterate, NDArray[Any]]:
        """Return the iterate at most so many steps later, and the losses from the next one on."""
        began, count = time.perf_counter(), min(self.chunk, most)
        iterate, taken, losses = advance(
            self.problem, self.update, iterate, jnp.asarray(count), limit
        )
        kept = np.asarray(losses)[: int(taken)]
        seconds = time.perf_counter() - began
        if count == self.chunk and seconds < _CHUNK_SECONDS:
            self.chunk = min(2 * self.chunk, CHUNK)
        elif seconds > 4 * _CHUNK_SECONDS:
            self.chunk = max(self.chunk // 2, 1)
        return iterate, kept

    def _solve_ahead(self, due: list[int], limit: Any) -> bool:
        """Solve for what is due here together with what will be; return whether to stop."""
        log, run = self.log, self.run
        if run.measurement_state is not None:
            return False
        for number in due[run.measured :]:
            is_known = (run.step, number) in run.ahead
            is_known |= run.step == 0 and number in log.first_readings
            if is_known or not hasattr(log.recorder.measurements[number], "ahead"):
                continue
            coming = self._coming(log.recorder.schedules[number], limit)
            if run.solve_ahead(number, self.problem, coming, log.lanes):
                return True
            log.work += COST.gradient * (coming[-1][0] - run.step)
        return False

    def _coming(self, schedule: NDArray[np.int64], limit: Any) -> list[tuple[int, PyTree]]:
        """Return this iterate and later ones at the steps of a schedule, one for each lane."""
        at, iterate, found = self.run.step, self.iterate, []
        for step in schedule[schedule >= at][: self.log.lanes].tolist():
            iterate, at = self._steps_on(iterate, step - at, limit), step
            if not bool(is_finite_and_bounded(iterate, limit)):
                break
            found.append((step, iterate.w))
        return found

    def _refine(self, limit: Any, asked_to_stop: bool) -> bool:
        """Measure where values change most, as far as is asked for; return whether to stop."""
        log, run = self.log, self.run
        for number, readings in run.readings.items():
            measurement = log.recorder.measurements[number]
            name = next(iter(measurement.variables))
            while len(readings) < refined_to(measurement):
                step = halved({one: reading.values[name] for one, reading in readings.items()})
                if step is None:
                    break
                before = max(one for one in readings if one < step)
                cost = COST.gradient * (step - before)
                if asked_to_stop or log.left < cost:
                    return True
                self._iterate_at(before, limit)  # which another session may have had to make
                iterate = self._iterate_at(step, limit)
                loss = float(iterate.loss)
                if run.measure_between(number, step, self.problem, iterate.w, loss):
                    return True
                log.work += cost
                asked_to_stop = run.report()
        return False

    def _iterate_at(self, step: int, limit: Any) -> Iterate:
        """Return an iterate once more, from the nearest before it that is kept, or the start."""
        near = max((one for one in self.kept if one <= step), default=None)
        if near is None:
            near, self.kept[0] = 0, first_iterate(self.problem, self.update, self.start)
        self.kept[step] = iterate = self._steps_on(self.kept[near], step - near, limit)
        return iterate

    def _steps_on(self, iterate: Iterate, steps: int, limit: Any) -> Iterate:
        """Return the iterate so many steps later, or the one that diverged before."""
        while steps > 0:
            iterate, losses = self._chunk_on(iterate, steps, limit)
            if losses.size == 0:
                break
            steps -= losses.size
        return iterate

    def _end(self, status: RunStatus) -> Outcome:
        step, steps, loss = self.run.step, self.steps, self.run.loss
        if status is RunStatus.COMPLETED:
            message = f"All {steps} steps were taken."
        elif status is RunStatus.STOPPED:
            message = (
                f"The run was stopped at step {step} of {steps}: resume it, or run it again, to "
                "finish it."
            )
        elif loss <= self.limit and is_finite(self.w):
            message = (
                f"Gradient descent cannot go on from step {step}: the loss is {loss:.3g}, but its "
                "gradient is not finite, whatever the step size (as that of a root at 0): start "
                "elsewhere, or write the loss so that its gradient is finite."
            )
        else:
            reason = f"the loss is {loss:.3g}" if math.isfinite(loss) else "the loss is not finite"
            message = (
                f"Gradient descent diverged at step {step} ({reason}): choose a step size below "
                f"{self.log.labels.step_sizes[self.run.number]:g}."
            )
        return Outcome(self.w, status, message, step)


def is_finite(w: PyTree) -> bool:
    """Whether all floating-point arrays of a pytree are finite."""
    leaves = jax.tree.leaves(eqx.filter(w, eqx.is_inexact_array))
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in leaves)
