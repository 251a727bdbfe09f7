"""From a configuration to a folder with results and figure."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import xarray as xr

from thalweg import descent
from thalweg.basics.activity import doing, entered
from thalweg.descent.starts import each_start
from thalweg.problems import COST
from thalweg.runs.budget import Budget
from thalweg.runs.claim import RunClaim
from thalweg.runs.experiment import DescentExperiment, Experiment, Study
from thalweg.runs.figure_options import FigureOptions
from thalweg.runs.folder import RunFolder
from thalweg.runs.lock import Lock
from thalweg.runs.results import load
from thalweg.runs.saving import (
    Saver,
    attributes_of,
    differences,
    last_checkpoint,
    stamp,
    write_results,
)
from thalweg.runs.stored import experiment_of, stored
from thalweg.runs.summary import summarise, with_rises

_SAVING = 1.0
"""Seconds of a budget of time that are left for results and figure, or a tenth of it if less."""

Report = Callable[[descent.Progress], bool | None]
Announce = Callable[[str], None]
Experiments = Mapping[str, type[Experiment]]


def _silently(line: str) -> None:
    """Announce nothing."""


def run(
    config: Experiment,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    report: Report | None = None,
    budget: Budget | None = None,
    figure: FigureOptions | None = None,
) -> dict[str, Any]:
    """Run an experiment and leave `config.json`, `result.nc`, `summary.json` and `figure.png`.

    The precision is that of JAX's default: switch on `jax_enable_x64` first (the command line
    does). While it runs, the folder has a checkpoint and the results so far; a run that did not
    end is continued by `resume`.

    Parameters
    ----------
    config
        A configuration, such as `DigitsMLP(steps=2000)`.
    folder
        Where the results go; made if it does not exist.
    overwrite
        Whether a run that the folder already holds may be replaced.
    report
        Called now and then with a `descent.Progress`; a true return value stops the descent. What
        was reached by then is written all the same (so too after Ctrl-C, before the
        KeyboardInterrupt goes on its way).
    budget
        What the run may take.
    figure
        How `figure.png` is drawn, and in which formats beside it.

    Returns
    -------
    dict
        What `summary.json` holds.

    Raises
    ------
    ValueError
        An option that makes no sense: raised before anything is written.
    FileExistsError
        The folder holds a run and `overwrite` is false, or holds other things than a run.
    thalweg.runs.lock.InUseError
        Another process runs in the folder.
    """
    return prepare(config, folder, overwrite=overwrite).run(report, budget, figure=figure)


def resume(
    folder: str | os.PathLike[str],
    known: Experiments,
    *,
    force: bool = False,
    report: Report | None = None,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Continue the run in a folder, from its last checkpoint.

    A finished one is left as it is, but for what remains of a process that was killed at its end.

    On the same machine, with the same versions, every number is that of a run that was never
    interrupted, bit for bit; only wall-clock times differ.

    Parameters
    ----------
    known
        Experiments by their names, among them that of the folder.
    force
        Continue also where configuration, versions or machine are others than before, so that
        numbers may differ in their last digits.
    report, budget
        As for `run`; a budget of evaluations covers all of the run, one of time this part of it.

    Raises
    ------
    FileNotFoundError
        The folder holds no run.
    ValueError
        The configuration or the checkpoints are damaged, or differ (see `force`).
    thalweg.runs.lock.InUseError
        Another process runs in the folder.
    """
    if has_finished(folder):
        summary = load(folder).summary
        assert summary is not None
        tidy(folder)
        return summary
    return prepare_to_resume(folder, known, force=force).run(report, budget)


def has_finished(folder: str | os.PathLike[str]) -> bool:
    """Whether the run in a folder ran to its end. Raises as `load`."""
    summary = load(folder).summary if RunFolder.open(folder).summary.exists() else None
    runs = summary.get("runs") if summary is not None else None
    ended = {descent.RunStatus.COMPLETED, descent.RunStatus.DIVERGED}
    return isinstance(runs, list) and all(
        isinstance(run, dict) and run.get("status") in ended for run in runs
    )


def tidy(folder: str | os.PathLike[str]) -> None:
    """Remove what a process that was killed has left in the folder of a finished run.

    A checkpoint outlives the summary by a moment, so that no moment has neither. Where another
    process is in the folder, or nothing can be removed, it stays: the results are complete.
    """
    opened = RunFolder.open(folder)
    if not opened.has_remains():
        return
    with contextlib.suppress(OSError):
        lock = Lock.take(opened.path)
        try:
            opened.remove_temporaries()
            opened.remove_checkpoint()
        finally:
            lock.release()


def prepare(
    config: Experiment, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> "Prepared":
    """Check everything that can be wrong with the input, and make the folder. Raises as `run`."""
    config.check()
    claim = RunClaim.of_new_run(stored(config), folder, overwrite=overwrite)
    return prepare_claimed(claim, config)


def prepare_claimed(
    claim: RunClaim, config: Experiment, announce: Announce = _silently
) -> "Prepared":
    """As `prepare`, in a folder that has been taken for the run.

    `announce` is called with a line on whatever takes long.
    """
    with claim.guarding():
        began = time.monotonic()
        config.check()
        if not isinstance(config, DescentExperiment):
            return Prepared(config, claim, began)
        with doing("building the problem"):
            problem, start = config.starts()
            losses = [float(one(w)) for one, w in each_start(problem, start)]
        if unusable := [loss for loss in losses if not math.isfinite(loss)]:
            raise ValueError(f"the loss at the start is {unusable[0]}: choose a smaller start")
        with doing("choosing step sizes"):
            config = config.settled(problem, start, announce)
        return Prepared(config, claim, began, problem, start)


def prepare_to_resume(
    folder: str | os.PathLike[str],
    known: Experiments,
    *,
    force: bool = False,
    announce: Announce = _silently,
) -> "Prepared":
    """Read and check everything that a run needs to go on. Raises as `resume`."""
    opened = RunFolder.open(folder)
    config = experiment_of(opened.read_config(), known)
    claim = RunClaim.of_run(opened)
    with claim.guarding():
        prepared = prepare_claimed(claim, config, announce)
        if not isinstance(config, Study):
            prepared = replace(prepared, checkpoint=_read_checkpoint(prepared, force=force))
        opened.remove_temporaries()
        return prepared


def _read_checkpoint(prepared: "Prepared", *, force: bool) -> descent.Checkpoint | None:
    """Return the last checkpoint that can be read; `None` where none has been written yet."""
    folder, config = prepared.claim.folder, prepared.config
    found = last_checkpoint(folder, prepared.start)
    if found is None:
        if folder.has_checkpoint():
            raise ValueError(
                f"{folder.checkpoint} is damaged: begin anew with `thalweg run {config.name} --out "
                f"{folder.path} --overwrite` and the options in config.json"
            )
        return None
    checkpoint, then = found
    changed = differences(then, stamp(stored(config)))
    if changed and not force:
        raise ValueError(
            f"{folder.path} was begun under other conditions, so numbers may differ: "
            f"{'; '.join(changed)}; `thalweg resume {folder.path} --force` continues all the same"
        )
    return checkpoint


@dataclass(frozen=True)
class Prepared:
    """An experiment whose input has been checked, and whose folder is there and locked."""

    config: Experiment
    claim: RunClaim
    began: float  # in monotonic time
    problem: Any = None  # of a descent, as are the others
    start: Any = None
    checkpoint: descent.Checkpoint | None = None

    def run(
        self,
        report: Report | None = None,
        budget: Budget | None = None,
        warn: Announce | None = None,
        figure: FigureOptions | None = None,
    ) -> dict[str, Any]:
        """Compute, or descend, measure and save; write; return what `summary.json` holds.

        A study is too quick for reports, budgets and checkpoints. A descent that is interrupted
        writes what there is, and then raises a `descent.Interrupted`. An error before the run has
        begun leaves the folder, and an old run in it, as they were.
        """
        figure = figure or FigureOptions()
        figure = replace(figure, format=("png", *figure.format))
        try:
            with self.claim.guarding(), entered(report):
                if isinstance(self.config, DescentExperiment):
                    return self._descend(self.config, report, budget or Budget(), warn, figure)
                assert isinstance(self.config, Study)
                return self._compute(self.config, figure)
        finally:
            self.claim.release()

    def _descend(
        self,
        config: DescentExperiment,
        report: Report | None,
        budget: Budget,
        warn: Announce | None,
        figure: FigureOptions,
    ) -> dict[str, Any]:
        saver = Saver(self.claim, stored(config), attributes_of(config), self.start, warn)
        seconds, most = (
            math.inf if limit is None else limit
            for limit in (budget.max_time, budget.max_evaluations)
        )
        deadline = self.began + seconds - min(_SAVING, 0.1 * seconds)

        def watch(progress: descent.Progress) -> bool:
            stopping = report is not None and bool(report(progress))
            work = progress.gradient_evaluations
            work += progress.flow.gradient_evaluations if progress.flow else COST.gradient
            stopping |= time.monotonic() >= deadline or work > most
            saver.consider(progress, stopping=stopping)
            return stopping

        interrupt: descent.Interrupted | None = None
        set_up = time.monotonic() - self.claim.began
        try:
            result = descent.descend(
                self.problem,
                self.start,
                step_size=config.step_sizes(),
                steps=config.steps,
                measurements=config.measurements(),
                report=watch,
                max_gradient_evaluations=most,
                checkpoint=self.checkpoint,
                lanes=config.lanes,
            )
        except descent.Interrupted as caught:
            interrupt, result = caught, caught.run
        summary = summarise(config.name, result)
        summary["seconds"] += set_up
        dataset, summary = config.conclude(with_rises(result.dataset, summary), summary)
        self._write(dataset, summary, figure)
        if descent.RunStatus.STOPPED not in result.status:
            try:
                self.claim.folder.remove_checkpoint()
            except OSError as error:  # the run is whole all the same
                saver.warn(f"the checkpoint, of no more use, could not be removed ({error})")
        if interrupt is not None:
            raise interrupt
        return summary

    def _compute(self, config: Study, figure: FigureOptions) -> dict[str, Any]:
        with doing("computing"):
            dataset, runs = config.compute()
        summary = {
            "experiment": config.name,
            "runs": runs,
            "seconds": time.monotonic() - self.claim.began,
            "gradient_evaluations": sum(run["gradient_evaluations"] for run in runs),
        }
        self._write(dataset, summary, figure)
        return summary

    def _write(self, dataset: xr.Dataset, summary: dict[str, Any], figure: FigureOptions) -> None:
        self.claim.begin(stored(self.config))
        dataset = dataset.assign_attrs(attributes_of(self.config))
        with doing("writing results and figure"):
            write_results(self.claim.folder, dataset, summary, figure)
