"""Gradient descent, measured as it goes."""

import math
import operator
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from thalweg.descent.loop import CHUNK, Iterate, advance, first_iterate, sound
from thalweg.descent.measurements import Measurement, check_names
from thalweg.descent.record import Record
from thalweg.descent.run import Progress, Run, RunStatus
from thalweg.descent.updates import (
    Optimizer,
    Update,
    check_optimizer,
    stability_threshold,
    update_for,
)
from thalweg.flow.method import Progress as FlowProgress
from thalweg.problems import COST, Problem, flatten

Report = Callable[[Progress], bool | None]

DIVERGED_ABOVE = 1e6
"""A run has diverged once its loss exceeds this many times max(|loss at the start|, 1)."""

_PACE_SECONDS = 0.2
"""Chunks are lengthened while they take less time than this, so that reports come often."""


def descend(
    loss: Callable[[Any], Any],
    w0: PyTree,
    *,
    step_size: float | Sequence[float],
    steps: int,
    measurements: Sequence[Measurement] = (),
    optimizer: Optimizer | None = None,
    loss_every: int = 1,
    report: Report | None = None,
) -> Run:
    """Run gradient descent `w' = w - step_size ∇L(w)` from `w0` and measure along the way.

    Parameters
    ----------
    loss
        A problem, or any callable from parameters to a scalar.
    w0
        The start: any pytree with floating-point arrays. Their dtype decides the precision.
    step_size
        A positive number, or several: one run for each, from the same start.
    steps
        The number of steps; iterates are numbered from 0 to `steps`.
    measurements
        Such as `Sharpness()` and `GFSSharpness()`; see `Measurement` for your own.
    optimizer
        An optax `GradientTransformation`, or a callable `step_size -> GradientTransformation`
        such as `optax.sgd`; left out, plain gradient descent. The stability threshold
        `2 / step_size` is that of plain gradient descent, and NaN for any other.
    loss_every
        Record the loss at every so many steps (and at the last).
    report
        Called now and then with a `Progress`; a true return value stops the descent.

    Returns
    -------
    Run
        A run that diverges (loss or gradient not finite, or the loss above
        `1e6 max(|L(w0)|, 1)`) ends there with the status "diverged"; one that is stopped by
        `report` or by Ctrl-C has "stopped", as have those that come after it. Both keep what they
        have.

    Raises
    ------
    ValueError
        A step size that is not positive and finite; a negative number of steps; two measurements
        of one name; parameters or a loss at the start that are not finite.
    TypeError
        A loss that does not return a scalar; parameters without a floating-point array.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> run = descend(lambda w: 0.5 * jnp.vdot(w, w), jnp.array([1.0]), step_size=0.5, steps=3)
    >>> run.dataset["loss"].values
    array([[0.5      , 0.125    , 0.03125  , 0.0078125]])
    >>> run.status[0].value, run.dataset["threshold"].values
    ('completed', array([4.]))
    """
    began = time.perf_counter()
    step_sizes = _checked_step_sizes(step_size)
    steps = _checked_count("steps", steps, least=0)
    loss_every = _checked_count("loss_every", loss_every, least=1)
    check_names(measurements)
    check_optimizer(optimizer, len(step_sizes))
    flat, vector = flatten(loss, w0)
    record = Record(len(step_sizes), steps, loss_every, measurements)
    outcomes: list[_Outcome] = []
    for number, size in enumerate(step_sizes):
        w = flat.tree(vector)
        if outcomes and outcomes[-1].status is RunStatus.STOPPED:
            outcomes.append(_Outcome(w, RunStatus.STOPPED, "The run was not begun.", 0, 0.0))
            continue
        progress = Progress(number, len(step_sizes), size, 0, steps, math.nan)
        descent = _Descent(flat.problem, update_for(optimizer, size), record, progress, report)
        outcomes.append(descent.follow(w))
    return Run(
        dataset=record.dataset(step_sizes, [stability_threshold(optimizer, s) for s in step_sizes]),
        w=[outcome.w for outcome in outcomes],
        status=[outcome.status for outcome in outcomes],
        message=[outcome.message for outcome in outcomes],
        steps=[outcome.steps for outcome in outcomes],
        gradient_evaluations=sum(outcome.work for outcome in outcomes),
        seconds=time.perf_counter() - began,
    )


@dataclass(frozen=True)
class _Outcome:
    w: PyTree
    status: RunStatus
    message: str
    steps: int
    work: float


class _Descent:
    """One run: where it stands between two compiled chunks."""

    def __init__(
        self,
        problem: Problem,
        update: Update,
        record: Record,
        progress: Progress,
        report: Report | None,
    ):
        self.problem, self.update, self.record = problem, update, record
        self.progress, self.report = progress, report
        self.memory: dict[int, Any] = {}
        self.work = 0.0
        self.pace = 1

    def follow(self, w: PyTree) -> _Outcome:
        """Descend from `w` to the last step, or to where the run ends before it."""
        try:
            iterate = self._begin(w)
            limit = jnp.asarray(
                DIVERGED_ABOVE * max(abs(self.progress.loss), 1.0), iterate.loss.dtype
            )
            while True:
                w = iterate.w
                if not bool(sound(iterate, limit)):
                    return self._end(w, RunStatus.DIVERGED)
                if self._measure(w):
                    return self._end(w, RunStatus.STOPPED)
                asked_to_stop = self._reported(self.progress)
                if self.progress.step == self.progress.steps:
                    return self._end(w, RunStatus.COMPLETED)
                if asked_to_stop:
                    return self._end(w, RunStatus.STOPPED)
                iterate = self._advance(iterate, limit)
        except KeyboardInterrupt:
            return self._end(w, RunStatus.STOPPED)

    def _begin(self, w: PyTree) -> Iterate:
        iterate = first_iterate(self.problem, self.update, w)
        loss = float(iterate.loss)
        if not math.isfinite(loss):
            raise ValueError(
                f"the loss at the start is {loss}: check the data and the parameters for NaN, "
                "infinity and overflow"
            )
        self.work += COST.gradient
        self.progress = replace(self.progress, loss=loss)
        self.record.keep_losses(self.progress.run, 0, np.asarray([loss]))
        return iterate

    def _advance(self, iterate: Iterate, limit: Any) -> Iterate:
        step, began = self.progress.step, time.perf_counter()
        due = self.record.next_due(step)
        count = min(self.pace, (self.progress.steps if due is None else due) - step)
        iterate, taken, losses = advance(
            self.problem, self.update, iterate, jnp.asarray(count), limit
        )
        kept = np.asarray(losses)[: int(taken)]
        self.work += COST.gradient * kept.size
        self.record.keep_losses(self.progress.run, step + 1, kept)
        self.progress = replace(self.progress, step=step + kept.size, loss=float(kept[-1]))
        seconds = time.perf_counter() - began
        if count == self.pace and seconds < _PACE_SECONDS:
            self.pace = min(2 * self.pace, CHUNK)
        elif seconds > 4 * _PACE_SECONDS:
            self.pace = max(self.pace // 2, 1)
        return iterate

    def _measure(self, w: PyTree) -> bool:
        """Make the measurements that are due; return whether to stop."""
        asked_to_stop = False

        def relay(flow: FlowProgress) -> bool:
            nonlocal asked_to_stop
            asked_to_stop = self._reported(replace(self.progress, flow=flow))
            return asked_to_stop

        for number in self.record.due(self.progress.step):
            measurement = self.record.measurements[number]
            reading = measurement.measure(self.problem, w, self.memory.get(number), relay)
            self.memory[number] = reading.memory
            self.work += reading.gradient_evaluations
            self.record.keep_reading(self.progress.run, number, self.progress.step, reading)
            if asked_to_stop:
                return True
        return False

    def _reported(self, progress: Progress) -> bool:
        return self.report is not None and bool(self.report(progress))

    def _end(self, w: PyTree, status: RunStatus) -> _Outcome:
        step, steps, loss = self.progress.step, self.progress.steps, self.progress.loss
        if status is RunStatus.COMPLETED:
            message = f"All {steps} steps were taken."
        elif status is RunStatus.STOPPED:
            message = f"The run was stopped at step {step} of {steps}: run it again to finish it."
        else:
            reason = f"the loss is {loss:.3g}" if math.isfinite(loss) else "the loss is not finite"
            message = (
                f"Gradient descent diverged at step {step} ({reason}, or the gradient is not "
                f"finite): choose a step size below {self.progress.step_size:g}."
            )
        return _Outcome(w, status, message, step, self.work)


def _checked_step_sizes(step_size: float | Sequence[float]) -> list[float]:
    try:
        sizes = np.asarray(step_size, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"step_size must be a number or a list of numbers, got {step_size!r}"
        ) from error
    if sizes.ndim > 1 or sizes.size == 0:
        raise ValueError(f"step_size must be a number or a list of numbers, got {step_size!r}")
    for size in np.atleast_1d(sizes):
        if not (math.isfinite(size) and size > 0):
            raise ValueError(
                f"step_size must be positive and finite, got {size:g}; choose one near "
                "2 / sharpness to see the edge of stability"
            )
    return [float(size) for size in np.atleast_1d(sizes)]


def _checked_count(name: str, value: Any, least: int) -> int:
    if not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")
    return operator.index(value)
