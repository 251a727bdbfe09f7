"""From a configuration to a folder with results and figure."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import xarray as xr

from thalweg import descent, figures
from thalweg.experiments.experiment import DescentExperiment, Experiment, Study
from thalweg.experiments.summary import summarise
from thalweg.results import RunFolder

Report = Callable[[descent.Progress], bool | None]


def run(
    config: Experiment,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    report: Report | None = None,
) -> dict[str, Any]:
    """Run an experiment and leave `config.json`, `result.nc`, `summary.json` and `figure.png`.

    The precision is that of JAX's default: switch on `jax_enable_x64` first (the command line
    does).

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
    """
    return prepare(config, folder, overwrite=overwrite).run(report)


def prepare(
    config: Experiment, folder: str | os.PathLike[str], *, overwrite: bool = False
) -> "Prepared | PreparedStudy":
    """Check everything that can be wrong with the input, and make the folder. Raises as `run`."""
    config.check()
    if isinstance(config, Study):
        return PreparedStudy(config, RunFolder.create(folder, overwrite=overwrite))
    assert isinstance(config, DescentExperiment)
    problem, start = config.build()
    if not math.isfinite(loss := float(problem(start))):
        raise ValueError(f"the loss at the start is {loss}: choose a smaller start")
    return Prepared(config, problem, start, RunFolder.create(folder, overwrite=overwrite))


@dataclass(frozen=True)
class Prepared:
    """A descent whose input has been checked, and whose folder is there."""

    config: DescentExperiment
    problem: Any
    start: Any
    folder: RunFolder

    def run(self, report: Report | None = None) -> dict[str, Any]:
        """Descend, measure, write; return what `summary.json` holds.

        Nothing is written before there is a result: an exception on the way leaves the folder, and
        an old run in it, as they were.
        """
        config = self.config
        result = descent.descend(
            self.problem,
            self.start,
            step_size=config.step_size,
            steps=config.steps,
            measurements=_measurements(config),
            report=report,
        )
        summary = summarise(config.name, result)
        _write(self.folder, config, result.dataset, summary)
        return summary


@dataclass(frozen=True)
class PreparedStudy:
    """A study whose input has been checked, and whose folder is there."""

    config: Study
    folder: RunFolder

    def run(self, report: Report | None = None) -> dict[str, Any]:
        """Compute, write; return what `summary.json` holds. It is too quick for a `report`."""
        began = time.perf_counter()
        dataset, runs = self.config.compute()
        summary = {
            "experiment": self.config.name,
            "runs": runs,
            "seconds": time.perf_counter() - began,
            "gradient_evaluations": sum(run["gradient_evaluations"] for run in runs),
        }
        _write(self.folder, self.config, dataset, summary)
        return summary


def _write(
    folder: RunFolder, config: Experiment, dataset: xr.Dataset, summary: dict[str, Any]
) -> None:
    folder.write_config({"experiment": config.name, **asdict(config)})
    folder.write_dataset(dataset.assign_attrs(experiment=config.name))
    # From the stored results, before the summary, which says that the folder is complete.
    figures.save_run_figure(folder.path)
    folder.write_summary(summary)


def _measurements(config: DescentExperiment) -> list[descent.Measurement]:
    return [
        descent.Sharpness(every=config.sharpness_every),
        descent.GFSSharpness(
            every=config.gfs_every,
            start=config.gfs_start,
            rtol=config.rtol,
            max_gradient_evaluations=config.max_gradient_evaluations,
        ),
    ]
