"""The paper's three settings, each claim with its evidence: what `thalweg reproduce` does."""

import math
import os
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import xarray as xr
from matplotlib.figure import Figure

from thalweg.basics.activity import doing
from thalweg.descent import Interrupted
from thalweg.experiments import EXPERIMENTS
from thalweg.figures import overview, plot
from thalweg.problems import Problem
from thalweg.problems.compiling import compiled
from thalweg.reproduce.case import CHOSEN, Case
from thalweg.reproduce.cases import Size, cases
from thalweg.reproduce.claims import judge
from thalweg.reproduce.confirmation import confirm_rise
from thalweg.reproduce.report import HTML, MARKDOWN, OVERVIEW, CaseResult, RunResult, filled
from thalweg.runs.atomic_write import atomic_write
from thalweg.runs.claim import RunClaim
from thalweg.runs.figure import encoded
from thalweg.runs.folder import CONFIG, SUMMARY, RunFolder
from thalweg.runs.lock import check_unlocked
from thalweg.runs.results import StoredRun, load
from thalweg.runs.runner import Report, has_finished, prepare_claimed, prepare_to_resume
from thalweg.runs.stored import command_of, stored

DPI = 150
"""Dots per inch of figures in the reports, of what is not drawn by lines."""

_OVERHEAD = 8.0  # seconds for compiling and drawing, a case
HEADING = "Gradient descent and the sharpness of gradient flow solutions"


def reproduce(
    folder: str | os.PathLike[str],
    size: Size,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    report: Report | None = None,
    announce: Callable[[str], None] = lambda line: None,
    elsewhere: Callable[[Case], int | None] = lambda case: None,
) -> list[CaseResult]:
    """Run the cases of a size, one folder each, and write `report.html` and `report.md`.

    A case that has finished is not run again, so that an interrupted reproduction goes on where
    it stopped. The reports are written after every case.

    Parameters
    ----------
    data_dir
        Folder with the images of the full size, as for `thalweg.reproduce.cases.cases`.
    overwrite
        Whether finished cases are run again, and run folders of other configurations replaced.
    report
        As for `thalweg.experiments.run`.
    announce
        Called with one line for each case: what begins, what was found.
    elsewhere
        Called for each case: waits for the process that runs it, if it is run by another one, and
        returns its exit code.

    Returns
    -------
    list of CaseResult
        What the reports hold: fewer than there are cases if a run was stopped.

    Raises
    ------
    FileExistsError
        One of the run folders holds a run of another configuration, and `overwrite` is false.
    Interrupted
        A `KeyboardInterrupt`, once what there is has been reported.
    """
    folder, done = Path(folder), []
    drawn: dict[str, xr.Dataset] = {}
    chosen = cases(size, data_dir)
    kept = begun(folder, chosen, overwrite=overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    for case in chosen:
        path = folder / case.folder
        interrupt: Interrupted | None = None
        with doing(case.title):
            code = elsewhere(case)
        if code and not _was_stopped(path):  # before it had written anything
            break
        try:
            if code is not None:
                announce(f"{case.title}: in {path}")
            elif case.folder in kept and has_finished(path):
                announce(f"{case.title}: finished before, in {path}")
            elif case.folder in kept:
                announce(f"{case.title}: continued, in {path}")
                prepare_to_resume(path, EXPERIMENTS).run(report)
            else:
                announce(f"{case.title}: in {path}")
                claim = RunClaim.of_new_run(stored(case.config), path, overwrite=overwrite)
                prepare_claimed(claim, case.config, announce).run(report)
        except Interrupted as caught:
            interrupt = caught
        result = load(path)
        with doing(case.title):
            done.append(_result(case, result))
            drawn[case.title] = result.dataset
            _write(folder, size, done, overview(drawn))
        announce(f"{case.title}: {_verdicts(done[-1])}; {done[-1].seconds:.0f} s")
        if interrupt is not None:
            raise interrupt
        if any(run.summary["status"] == "stopped" for run in done[-1].runs):
            break
    return done


def begun(folder: str | os.PathLike[str], cases: Sequence[Case], *, overwrite: bool) -> set[str]:
    """Return the folders of cases to go on with, once all others are known to be usable.

    Where one is not, or in use, that is an OSError, and nothing has been changed.
    """
    found = set()
    for case in cases:
        path = Path(folder) / case.folder
        check_unlocked(path)
        if not overwrite and _holds(case, path):
            found.add(case.folder)
        else:
            RunFolder.check(path, overwrite=overwrite)
    return found


def to_be_run(
    folder: str | os.PathLike[str], cases: Sequence[Case], *, overwrite: bool
) -> list[Case]:
    """Return the cases that have not finished. Raises as `begun`."""
    kept = begun(folder, cases, overwrite=overwrite)
    there = {name for name in kept if has_finished(Path(folder) / name)}
    return [case for case in cases if case.folder not in there]


def command_for(case: Case, folder: str | os.PathLike[str], *, overwrite: bool) -> list[str]:
    """Return the arguments of `thalweg` that run a case, or go on with it."""
    command = command_of(case.config, str(Path(folder).absolute() / case.folder))
    return [*shlex.split(command)[1:], "--overwrite" if overwrite else "--resume"]


def estimated_seconds(cases: Sequence[Case]) -> float:
    """Return about how long cases will take, from a gradient of each, timed now.

    How many gradients a run is worth is known from earlier runs.
    """
    return sum(
        _OVERHEAD
        + (len(case.config.step_size) or CHOSEN)
        * case.evaluations
        * _gradient_seconds(*case.config.build())
        for case in cases
    )


def duration(seconds: float) -> str:
    """Return a time in words."""
    minutes = math.ceil(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _gradient_seconds(problem: Problem, w: Any) -> float:
    gradient: Callable[..., Any] = compiled(lambda problem, w: problem.value_and_gradient(w)[1])
    jax.block_until_ready(gradient(problem, w))
    began, count = time.perf_counter(), 0
    while count < 5 and time.perf_counter() - began < 1:  # one is enough where it takes so long
        jax.block_until_ready(gradient(problem, w))
        count += 1
    return (time.perf_counter() - began) / count


def _was_stopped(path: Path) -> bool:
    """Whether a folder holds results of a run that has not ended."""
    return (path / SUMMARY).exists() and not has_finished(path)


def _holds(case: Case, path: Path) -> bool:
    """Whether the folder holds a run of this very case, complete or not.

    Step sizes that the case leaves out have been chosen there.
    """
    if not (path / CONFIG).exists():
        return False
    there, wanted = RunFolder.open(path).read_config(), stored(case.config)
    open_ones = {} if case.config.step_size else {"step_size": wanted["step_size"]}
    return {**there, **open_ones} == wanted


def _result(case: Case, stored: StoredRun) -> CaseResult:
    assert stored.summary is not None
    runs = []
    for number, summary in enumerate(stored.summary["runs"]):
        data = stored.dataset.isel(run=number)
        with doing("solving the largest rise again"):
            rise = confirm_rise(case.config, data)
        runs.append(RunResult(summary, judge(data, summary, str(rise) if rise else None)))
    return CaseResult(
        title=case.title,
        description=case.description,
        command=command_of(case.config, "DIR"),
        folder=case.folder,
        figure=encoded(plot(stored.dataset, title=""), "svg", DPI),
        runs=runs,
        seconds=stored.summary["seconds"],
        gradient_evaluations=stored.summary["gradient_evaluations"],
    )


def _write(folder: Path, size: Size, done: list[CaseResult], overview: Figure) -> None:
    heading, drawn = f"{HEADING}: {size.value} reproduction", encoded(overview, "svg", DPI)
    pages = {name: filled(name, heading, done, drawn).encode() for name in (HTML, MARKDOWN)}
    for name, content in {**pages, OVERVIEW: encoded(overview, "png", DPI)}.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(content)


def _verdicts(result: CaseResult) -> str:
    verdicts = [claim.verdict.value for run in result.runs for claim in run.claims]
    return ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
