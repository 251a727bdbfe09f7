"""From a configuration to a folder with results and figure."""

import contextlib
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import xarray as xr

from thalweg import descent, figures
from thalweg.experiments import EXPERIMENTS
from thalweg.experiments.budget import Budget
from thalweg.experiments.experiment import DescentExperiment, Experiment, Study
from thalweg.experiments.saving import Saver, differences, stamp
from thalweg.experiments.stored import experiment_of
from thalweg.experiments.summary import summarise
from thalweg.lock import Lock
from thalweg.problems import COST
from thalweg.results import RunFolder, load
from thalweg.strict_json import to_json

Report = Callable[[descent.Progress], bool | None]


def run(
    config: Experiment,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    report: Report | None = None,
    budget: Budget | None = None,
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
        was reached by then is written all the same (so too after Ctrl-C).
    budget
        What the run may take.

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
    thalweg.lock.InUseError
        Another process runs in the folder.
    """
    return prepare(config, folder, overwrite=overwrite).run(report, budget)


def resume(
    folder: str | os.PathLike[str],
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
    folder
        The run folder.
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
    thalweg.lock.InUseError
        Another process runs in the folder.
    """
    if has_finished(folder):
        summary = load(folder).summary
        assert summary is not None
        tidy(folder)
        return summary
    return prepare_to_resume(folder, force=force).run(report, budget)


def has_finished(folder: str | os.PathLike[str]) -> bool:
    """Whether the run in a folder ran to its end. Raises as `thalweg.results.load`."""
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
) -> "Prepared | PreparedStudy":
    """Check everything that can be wrong with the input, and make the folder. Raises as `run`."""
    RunFolder.check(folder, overwrite=overwrite)  # before what takes longer
    built = _built(config)
    made = RunFolder.create(folder, overwrite=overwrite)
    try:
        lock = Lock.take(made.path)
        try:
            # Again, now that nobody else can change it.
            created = RunFolder.create(folder, overwrite=overwrite)
            return _prepared(config, built, created, lock)
        except BaseException:
            lock.release()
            raise
    except BaseException:
        made.remove_if_unused()
        raise


def prepare_to_resume(
    folder: str | os.PathLike[str], *, force: bool = False
) -> "Prepared | PreparedStudy":
    """Read and check everything that a run needs to go on. Raises as `resume`."""
    opened = RunFolder.open(folder)
    config = experiment_of(opened.read_config(), EXPERIMENTS)
    built = _built(config)
    lock = Lock.take(opened.path)
    try:
        prepared = _prepared(config, built, opened, lock)
        if isinstance(prepared, Prepared):
            checkpoint = _read_checkpoint(prepared, force=force)
            prepared = replace(prepared, checkpoint=checkpoint)
        opened.remove_temporaries()
        return prepared
    except BaseException:
        lock.release()
        raise


def _built(config: Experiment) -> tuple[Any, Any] | None:
    """Return problem and start of a descent that begins with a finite loss."""
    config.check()
    if not isinstance(config, DescentExperiment):
        return None
    problem, start = config.build()
    if not math.isfinite(loss := float(problem(start))):
        raise ValueError(f"the loss at the start is {loss}: choose a smaller start")
    return problem, start


def _prepared(
    config: Experiment, built: tuple[Any, Any] | None, folder: RunFolder, lock: Lock
) -> "Prepared | PreparedStudy":
    if isinstance(config, Study):
        return PreparedStudy(config, folder, lock)
    assert isinstance(config, DescentExperiment)
    assert built is not None
    # Only now: to decide what a configuration leaves open may take a while.
    return Prepared(config.resolved(*built), *built, folder, lock)


def _read_checkpoint(prepared: "Prepared", *, force: bool) -> descent.Checkpoint | None:
    """Return the last checkpoint that can be read; `None` where none has been written yet."""
    folder, start = prepared.folder, prepared.start
    there = [path for path in (folder.checkpoint, folder.checkpoint_before) if path.is_file()]
    for path in there:
        try:
            checkpoint, then = descent.read_checkpoint(path, start)
        except ValueError:
            continue
        found = differences(then, stamp(_stored(prepared.config)))
        if found and not force:
            raise ValueError(
                f"{folder.path} was begun under other conditions, so numbers may differ: "
                f"{'; '.join(found)}; `thalweg resume {folder.path} --force` continues all the same"
            )
        return checkpoint
    if there:
        raise ValueError(
            f"{there[0]} is damaged: begin anew with `thalweg run {prepared.config.name} --out "
            f"{folder.path} --overwrite` and the options in config.json"
        )
    return None


@dataclass(frozen=True)
class Prepared:
    """A descent whose input has been checked, and whose folder is there and locked."""

    config: DescentExperiment
    problem: Any
    start: Any
    folder: RunFolder
    lock: Lock
    checkpoint: descent.Checkpoint | None = None

    def run(
        self,
        report: Report | None = None,
        budget: Budget | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Descend, measure, save, write; return what `summary.json` holds.

        Nothing is written before the descent has begun: an exception before leaves the folder, and
        an old run in it, as they were.
        """
        try:
            return self._run(report, budget or Budget(), warn)
        finally:
            self.lock.release()

    def _run(
        self, report: Report | None, budget: Budget, warn: Callable[[str], None] | None
    ) -> dict[str, Any]:
        config = self.config
        attributes = {"experiment": config.name}
        saver = Saver(self.folder, _stored(config), attributes, self.start, warn)
        deadline = time.monotonic() + budget.max_time

        def watch(progress: descent.Progress) -> bool:
            stopping = report is not None and bool(report(progress))
            work = progress.gradient_evaluations
            work += progress.flow.gradient_evaluations if progress.flow else COST.gradient
            stopping |= time.monotonic() >= deadline or work > budget.max_evaluations
            saver.consider(progress, stopping=stopping)
            return stopping

        result = descent.descend(
            self.problem,
            self.start,
            step_size=config.step_size,
            steps=config.steps,
            measurements=config.measurements(),
            report=watch,
            max_gradient_evaluations=budget.max_evaluations,
            checkpoint=self.checkpoint,
        )
        dataset, summary = config.conclude(result.dataset, summarise(config.name, result))
        saver.begin()
        _write(self.folder, config, dataset, summary)
        if descent.RunStatus.STOPPED not in result.status:
            try:
                self.folder.remove_checkpoint()
            except OSError as error:  # the run is whole all the same
                saver.warn(f"the checkpoint, of no more use, could not be removed ({error})")
        return summary


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose input has been checked, and whose folder is there and locked."""

    config: Study
    folder: RunFolder
    lock: Lock

    def run(
        self,
        report: Report | None = None,
        budget: Budget | None = None,
        warn: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """Compute, write; return what `summary.json` holds.

        It is too quick for reports, budgets and checkpoints.
        """
        try:
            began = time.perf_counter()
            dataset, runs = self.config.compute()
            summary = {
                "experiment": self.config.name,
                "runs": runs,
                "seconds": time.perf_counter() - began,
                "gradient_evaluations": sum(run["gradient_evaluations"] for run in runs),
            }
            self.folder.write_config(_stored(self.config))
            _write(self.folder, self.config, dataset, summary)
            return summary
        finally:
            self.lock.release()


def _stored(config: Experiment) -> dict[str, Any]:
    """Return what `config.json` holds, as it is read back."""
    stored: dict[str, Any] = json.loads(to_json({"experiment": config.name, **asdict(config)}))
    return stored


def _write(
    folder: RunFolder, config: Experiment, dataset: xr.Dataset, summary: dict[str, Any]
) -> None:
    folder.write_dataset(dataset.assign_attrs(experiment=config.name), summary)
    # From the stored results, before the summary, which says that the folder is complete.
    figures.save_run_figure(folder.path)
    folder.write_summary(summary)
