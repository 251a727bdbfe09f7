"""Measurements along any run: a training loop of one's own, or saved checkpoints."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float, PyTree

from thalweg.descent import Interrupted, Measurement, Run, RunStatus
from thalweg.descent.checkpoint import Outcome
from thalweg.descent.labels import GRADIENT_DESCENT, Labels, Threshold, threshold_of
from thalweg.descent.measured_run import MeasuredRun, OnReading, RunLog
from thalweg.descent.measurements import as_list, check_names
from thalweg.descent.one_run import is_finite
from thalweg.descent.recorder import Recorder
from thalweg.descent.schedule import checked_count, is_due, refined_to
from thalweg.problems import COST, Problem, as_problem, flatten
from thalweg.problems.compiling import compiled
from thalweg.problems.lanes import lanes_of_device
from thalweg.runs.along_folder import AlongFolder


class Along:
    """What is measured along a run whose iterates come from elsewhere.

    The numbers are those of `descend` at the same iterates: flows start from the one before,
    differences that the bars leave open are measured, failures are statuses.

    Parameters
    ----------
    problem
        A problem, or any callable from parameters to a scalar: the loss that is trained.
    measurements
        Such as `Sharpness(every=20)` and `GFSSharpness(every=100)`, one or several. Each is made at
        the first iterate that is given at or after each step of its schedule.
    step_size
        That of the training, if it has one.
    threshold
        The sharpness above which its steps are unstable: a number, or a function of the step size
        such as `HeavyBall(0.9)`. Left out, `2 / step_size` where a step size is given and no
        optimizer, for then steps are those of gradient descent; else NaN.
    optimizer
        What the optimiser is called, if it is not gradient descent: "Adam".
    unit
        What iterates are counted in: "step" or "epoch".
    folder
        A folder to keep the run in: written on the way, and resumed if it holds this very run,
        unfinished. The steps that it has measured are then read and not measured again.
    overwrite
        Whether another run in `folder` may be replaced.
    on_reading
        Called with a `LoggedReading` after every measurement: a logger.

    Examples
    --------
    >>> from thalweg.descent import Sharpness
    >>> with Along(lambda w: 0.5 * jnp.vdot(w, w), Sharpness(every=2), step_size=0.5) as along:
    ...     for step, w in enumerate([jnp.ones(1), jnp.ones(1) / 2, jnp.ones(1) / 4]):
    ...         numbers = along.measure(step, w)
    >>> along.dataset["loss"].values, along.dataset["sharpness"].values
    (array([[0.5    , 0.125  , 0.03125]]), array([[1., 1.]]))
    """

    def __init__(
        self,
        problem: Callable[[Any], Any],
        measurements: Measurement | Sequence[Measurement],
        step_size: float | None = None,
        threshold: Threshold | None = None,
        *,
        optimizer: str | None = None,
        unit: str = "step",
        folder: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        on_reading: OnReading | None = None,
    ):
        measurements = as_list(measurements)
        check_names(measurements)
        if refined := [one.name for one in measurements if refined_to(one)]:
            raise ValueError(
                f"{refined[0]!r} cannot be refined along iterates that come once: give steps in "
                "place of Refined"
            )
        if step_size is not None and not (math.isfinite(step_size) and step_size > 0):
            raise ValueError(
                f"step_size must be positive and finite, got {step_size:g}: leave it out where "
                "there is none"
            )
        size = math.nan if step_size is None else float(step_size)
        if optimizer is None and step_size is not None and threshold is None:
            optimizer = GRADIENT_DESCENT
        plain = optimizer == GRADIENT_DESCENT
        labels = Labels([size], [threshold_of(threshold, size, is_plain=plain)], optimizer, unit)
        self._problem = problem
        self._log = RunLog(Recorder(measurements), labels, on_reading=on_reading)
        self._run = MeasuredRun(self._log, 0, lambda: _leaves(self._w))
        self._w: PyTree = None
        self._leaves_before: list[Array] = []  # of the iterate where another session stopped
        self._given = -1  # the last step that was given
        self._has_finished = False
        self._folder: AlongFolder | None = None
        if folder is not None:
            self._folder = AlongFolder(folder, labels, measurements, overwrite=overwrite)
            self._log.report = self._folder.save

    def is_due(self, step: int) -> bool:
        """Whether anything is to be measured at a step: only then has `measure` to be called."""
        return bool(self._due(step))

    def measure(
        self, step: int, w: PyTree, *, loss: float | None = None, last: bool = False
    ) -> dict[str, float]:
        """Record the loss at the iterate `w`, and make the measurements that are due.

        Parameters
        ----------
        step
            The number of the iterate: larger than those before.
        w
            Its parameters.
        loss
            The loss there, if it is known; left out, it is computed (half a gradient).
        last
            Whether no iterate follows: all measurements are made, whatever their schedules.

        Returns
        -------
        dict
            The numbers of this step by the names of their variables. Where the loss or the
            parameters are not finite there is no more than the loss: the run has diverged.
        """
        step = checked_count("step", step, least=0)
        if step <= self._given:
            raise ValueError(f"steps must increase: step {step} was given after {self._given}")
        if self._has_finished:
            raise ValueError("nothing more can be measured after finish()")
        w = jax.tree.map(lambda leaf: jnp.array(leaf) if isinstance(leaf, np.ndarray) else leaf, w)
        if self._w is None:
            self._begin(w)
        self._given = step
        if step < self._run.step:
            return self._numbers(step)
        if self._folder is None:
            self._measure(step, w, loss, last)
        else:
            with self._folder.saving_first(self._run.report):
                self._measure(step, w, loss, last)
        return self._numbers(step)

    @property
    def dataset(self) -> xr.Dataset:
        """All that was measured, in the form of `Run.dataset`, with one run."""
        return self._log.dataset()

    @property
    def run(self) -> Run:
        """All that was measured, and how the run stands, as `descend` returns it."""
        step = self._run.step
        if not math.isfinite(self._run.loss) and self._has_begun:
            said = f"The run diverged: loss or parameters are not finite at {self._unit} {step}."
            return self._log.result([Outcome(self._w, RunStatus.DIVERGED, said, step)])
        status = RunStatus.COMPLETED if self._has_finished else RunStatus.STOPPED
        said = "to its end" if self._has_finished else "so far"
        message = f"The run was measured up to {self._unit} {step}, {said}."
        return self._log.result([Outcome(self._w, status, message, step)])

    def finish(self) -> Run:
        """Say that no iterate follows; write summary and figure of a run that has a folder."""
        self._has_finished = True
        if self._folder is not None:
            self._folder.finish(self.run)
        return self.run

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Finish, or, after an exception, keep what there is, to be resumed."""
        if kind is None:
            self.finish()
        elif self._folder is not None:
            self._folder.pause(self._run.report)

    def solve_ahead(self, iterates: Sequence[tuple[int, PyTree, bool]], lanes: int) -> None:
        """Solve side by side what `measure` will need at coming iterates `(step, w, last)`."""
        if self._w is None:
            self._begin(iterates[0][1])
        run = self._run
        for number, one in enumerate(self._log.recorder.measurements):
            due, before = [], run.step if self._has_begun else -1
            for step, w, last in iterates:
                if step > before and (last or is_due(one, before, step)) and is_finite(w):
                    due.append((step, w))
                before = max(before, step)
            ahead = getattr(one, "ahead", None)
            if ahead is None or len(due) < 2:
                continue
            memory = run.warm_starts.get(number)
            nothing = None, [None] * len(due)  # to report to, and to go on from
            states = ahead(self._problem, [w for _, w in due], memory, lanes, *nothing)
            run.ahead |= {(step, number): s for (step, _), s in zip(due, states, strict=True)}

    @property
    def _unit(self) -> str:
        return self._log.labels.unit

    @property
    def _has_begun(self) -> bool:
        return bool(self._log.recorder.loss_steps.size)

    def _due(self, step: int) -> list[int]:
        before = self._run.step if self._has_begun else -1
        measurements = self._log.recorder.measurements
        return [i for i, one in enumerate(measurements) if is_due(one, before, step)]

    def _begin(self, w: PyTree) -> None:
        """Take up what the folder holds of this run."""
        self._w, saved = w, None
        if self._folder is not None:
            saved = self._folder.begin(w)
        if saved is not None:
            saved.check_fits(saved.axes, _leaves(w), self._log.recorder.values)
            self._log.restore(saved)
            self._run.restore(saved)
            self._run.loss = float(saved.losses[0, -1])
            self._leaves_before = saved.iterate

    def _measure(self, step: int, w: PyTree, loss: float | None, last: bool) -> None:
        run, recorder, problem = self._run, self._log.recorder, as_problem(self._problem)
        self._check_alike(w)
        finite = is_finite(w)
        if finite:
            flat, vector = flatten(problem, w)
            problem, w = flat.problem, flat.tree(vector)
        if self._has_begun and step == run.step:  # where another session was interrupted
            if not all(map(np.array_equal, self._leaves_before, _leaves(w))):
                run.measurement_state = None  # half a flow, from elsewhere
        else:
            due = range(len(recorder.measurements)) if last else self._due(step)
            if loss is None and finite:
                loss, self._log.work = float(_loss(problem, w)), self._log.work + COST.loss
            value = float(loss) if loss is not None and finite else math.nan
            recorder.extend(step, due if math.isfinite(value) else ())
            recorder.record_losses(0, step, np.asarray([value]))
            run.move(step, value)
            run.steps = step
        self._w = w
        if not run.measure(problem, w, recorder.due(step)):
            run.report()

    def _check_alike(self, w: PyTree) -> None:
        shapes = [
            (jax.tree.structure(one), [jnp.shape(leaf) for leaf in jax.tree.leaves(one)])
            for one in (eqx.filter(tree, eqx.is_inexact_array) for tree in (w, self._w))
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "the parameters have another structure, or other shapes, than those before: give "
                "iterates of one run"
            )

    def _numbers(self, step: int) -> dict[str, float]:
        recorder, found = self._log.recorder, {}
        for column in np.flatnonzero(recorder.loss_steps == step):
            found["loss"] = float(recorder.losses[0, column])
        for measurement, steps in zip(recorder.measurements, recorder.schedules, strict=True):
            for column in np.flatnonzero(steps == step):
                found |= {n: float(recorder.values[n][0, column]) for n in measurement.variables}
        return found


def measure_along(
    problem: Callable[[Any], Any],
    iterates: Mapping[int, PyTree] | Iterable[tuple[int, PyTree]],
    measurements: Measurement | Sequence[Measurement],
    step_size: float | None = None,
    threshold: Threshold | None = None,
    *,
    lanes: int | None = None,
    **options: Any,
) -> Run:
    """Measure at many iterates at once, as `Along` does one by one: at those of saved checkpoints.

    Parameters
    ----------
    iterates
        Pairs of a step and the parameters there, in increasing steps, or a mapping: a generator
        that reads one file after the other needs memory for few of them. At the last one, all
        measurements are made.
    lanes
        How many iterates are in memory, and flows side by side (`gradient_flow_solutions`).
        Left out: as many as pay on the device, which is one on a CPU.
    options
        `optimizer`, `unit`, `folder`, `overwrite` and `on_reading` of `Along`.

    Raises
    ------
    Interrupted
        A `KeyboardInterrupt` (Ctrl-C) on the way: its attribute `run` is the `Run` so far.

    Examples
    --------
    >>> from thalweg.descent import Sharpness
    >>> ws = {epoch: jnp.ones(2) / (1 + epoch) for epoch in range(3)}
    >>> run = measure_along(lambda w: jnp.sum(w**4), ws, Sharpness(every=1), unit="epoch")
    >>> run.dataset["sharpness"].round(4).values
    array([[12.    ,  3.    ,  1.3333]])
    """
    along = Along(problem, measurements, step_size, threshold, **options)
    lanes = checked_count("lanes", lanes_of_device() if lanes is None else lanes, least=1)
    marked = _marking_the_last(iterates)
    try:
        with along:
            while coming := list(islice(marked, lanes)):
                if len(coming) > 1:
                    along.solve_ahead(coming, lanes)
                for step, w, last in coming:
                    along.measure(step, w, last=last)
    except KeyboardInterrupt as interrupt:
        raise Interrupted(along.run) from interrupt
    return along.run


def _marking_the_last(iterates: Any) -> Iterator[tuple[int, PyTree, bool]]:
    pairs = iter(iterates.items() if isinstance(iterates, Mapping) else iterates)
    before: list[Any] = []
    for pair in pairs:
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise TypeError(
                "iterates must be pairs (step, parameters), or a mapping from steps to parameters: "
                "for a list use enumerate"
            )
        if before:
            yield *before, False
        before = list(pair)
    if before:
        yield *before, True


@compiled
def _loss(problem: Problem, w: PyTree) -> Float[Array, ""]:
    return problem(w)


def _leaves(w: PyTree) -> list[Array]:
    return jax.tree.leaves(eqx.filter(w, eqx.is_array))
