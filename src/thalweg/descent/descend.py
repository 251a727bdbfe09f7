"""Gradient descent, measured as it goes."""

import math
import time
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from jaxtyping import PyTree

from thalweg.basics.activity import entered
from thalweg.descent.checkpoint import Checkpoint, Outcome, RunStatus
from thalweg.descent.forecast import Forecast
from thalweg.descent.labels import Labels, Threshold, optimizer_name, threshold_of
from thalweg.descent.measured_run import OnReading, Report, RunLog
from thalweg.descent.measurements import Measurement, as_list, check_names
from thalweg.descent.one_run import Descent
from thalweg.descent.recorder import Recorder
from thalweg.descent.run import Interrupted, Run
from thalweg.descent.schedule import checked_count, refined_to
from thalweg.descent.starts import PlannedRun, Starts, StepSizes, planned_runs
from thalweg.descent.updates import Optimizer, check_optimizer, update_for
from thalweg.problems.lanes import lanes_of_device


def descend(
    loss: Callable[[Any], Any] | Sequence[Callable[[Any], Any]],
    w0: PyTree | Starts,
    *,
    step_size: StepSizes,
    steps: int,
    measurements: Measurement | Sequence[Measurement] = (),
    optimizer: Optimizer | None = None,
    threshold: Threshold | None = None,
    loss_every: int = 1,
    report: Report | None = None,
    on_reading: OnReading | None = None,
    max_gradient_evaluations: float = math.inf,
    checkpoint: Checkpoint | None = None,
    lanes: int | None = None,
) -> Run:
    """Run gradient descent `w' = w - step_size ∇L(w)` from `w0` and measure along the way.

    Parameters
    ----------
    loss
        A problem, or any callable from parameters to a scalar; of several starts also a list, one
        for each, as of data that depend on the seed.
    w0
        The start: any pytree with floating-point arrays. Their dtype decides the precision. Or
        several: `thalweg.Starts`.
    step_size
        A positive number, or several: one run for each, from the same start. Of several starts
        these are the step sizes of each, or a list of lists has those of each by itself.
    steps
        The number of steps; iterates are numbered from 0 to `steps`.
    measurements
        Such as `Sharpness()` and `GFSSharpness()`, one or several; see `Measurement` for your own.
    optimizer
        An optax `GradientTransformation`, or a callable `step_size -> GradientTransformation`
        such as `optax.sgd`; left out, plain gradient descent.
    threshold
        The sharpness above which steps are unstable, where it is known: a number, or a function of
        the step size, such as `HeavyBall(0.9)` for `optax.sgd(step_size, momentum=0.9)`. Left out,
        `2 / step_size` for plain gradient descent, and NaN for any other optimizer.
    loss_every
        Record the loss at every so many steps (and at the last).
    report
        Called now and then, and after every measurement, with a `Progress`; a true return value
        stops the descent. Ready made: `thalweg.progress()`.
    on_reading
        Called with a `LoggedReading` after every measurement: a logger.
    max_gradient_evaluations
        Budget of all work, in units of one gradient; used up, it stops the descent.
    checkpoint
        Go on from there: of an earlier descent with the same arguments, as its `Progress` gave it.
        The results are those of a descent that was never interrupted, bit for bit.
    lanes
        How many of a run's flows are followed side by side (`gradient_flow_solutions`): that of an
        iterate and those of the next that are due, to which GD goes ahead. Left out: as many as
        pay on the device, which is one on a CPU. An interrupted batch goes on in other batches,
        which changes rounding.

    Returns
    -------
    Run
        A run that diverges (loss or gradient not finite, or the loss above
        `1e6 max(|L(w0)|, 1)`) ends there with the status "diverged"; one that is stopped by
        `report` or by its budget has "stopped", as have those that come after it. Both keep what
        they have.

    Raises
    ------
    ValueError
        A step size that is not positive and finite; a negative number of steps; two measurements
        of one name; parameters or a loss at the start that are not finite; a checkpoint of another
        descent.
    TypeError
        A loss that does not return a scalar; parameters without a floating-point array.
    Interrupted
        A `KeyboardInterrupt` (Ctrl-C) on the way: its attribute `run` is the `Run` so far.

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
    steps = checked_count("steps", steps, least=0)
    loss_every = checked_count("loss_every", loss_every, least=1)
    measurements = as_list(measurements)
    check_names(measurements)
    if not max_gradient_evaluations >= 0:
        raise ValueError(
            f"max_gradient_evaluations must be a number of at least 0, got "
            f"{max_gradient_evaluations}; leave it out for no limit"
        )
    for name, function in (("report", report), ("on_reading", on_reading)):
        if function is not None and not callable(function):
            raise TypeError(f"{name} must be callable, not {type(function).__name__}")
    if not isinstance(checkpoint, Checkpoint | None):
        raise TypeError(f"checkpoint must be a Checkpoint, not {type(checkpoint).__name__}")
    planned, starts = planned_runs(loss, w0, step_size)
    sizes = [one.step_size for one in planned]
    check_optimizer(optimizer, len(set(sizes)))
    recorder = Recorder.scheduled(len(planned), steps, loss_every, measurements)
    plain = optimizer is None
    thresholds = [threshold_of(threshold, size, is_plain=plain) for size in sizes]
    labels = Labels(sizes, thresholds, optimizer_name(optimizer), starts=starts)
    schedules = recorder.schedules
    refined = {
        number: max(refined_to(one) - schedules[number].size, 0)
        for number, one in enumerate(measurements)
    }
    forecast = Forecast([one.start for one in planned], steps, schedules, refined)
    lanes = checked_count("lanes", lanes_of_device() if lanes is None else lanes, least=1)
    log = RunLog(
        recorder, labels, began, report, on_reading, max_gradient_evaluations, forecast, lanes
    )
    if checkpoint is not None:
        log.restore(checkpoint)
    with entered(report):
        _make_runs(log, planned, optimizer, steps, checkpoint)
    run = log.result(log.outcomes)
    if log.interrupt is not None:
        raise Interrupted(run) from log.interrupt
    return run


def _make_runs(
    log: RunLog,
    planned: list[PlannedRun],
    optimizer: Optimizer | None,
    steps: int,
    checkpoint: Checkpoint | None,
) -> None:
    update = cache(lambda size: update_for(optimizer, size))  # what it closes over is compiled
    while (number := len(log.outcomes)) < len(planned):
        problem, w, size, start = planned[number]
        if checkpoint is None and number and start != planned[number - 1].start:
            log.first_readings.clear()
        if log.outcomes and log.outcomes[-1].status is RunStatus.STOPPED:
            log.outcomes.append(Outcome(w, RunStatus.STOPPED, "The run was not begun.", 0))
            continue
        descent = Descent(problem, update(size), log, steps)
        log.outcomes.append(descent.descend(w, checkpoint))
        checkpoint = None
