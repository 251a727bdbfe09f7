"""From a configuration to a folder with results and figure."""

import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from thalweg import descent, figures
from thalweg.experiments.experiment import Experiment
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
) -> "Prepared":
    """Check everything that can be wrong with the input, and make the folder. Raises as `run`."""
    config.check()
    problem, start = config.build()
    if not math.isfinite(loss := float(problem(start))):
        raise ValueError(f"the loss at the start is {loss}: choose a smaller start")
    return Prepared(config, problem, start, RunFolder.create(folder, overwrite=overwrite))


@dataclass(frozen=True)
class Prepared:
    """An experiment whose input has been checked, and whose folder is there."""

    config: Experiment
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
        self.folder.write_config({"experiment": config.name, **asdict(config)})
        self.folder.write_dataset(result.dataset.assign_attrs(experiment=config.name))
        # From the stored results, before the summary, which says that the folder is complete.
        figures.save_run_figure(self.folder.path)
        self.folder.write_summary(summary)
        return summary


def _measurements(config: Experiment) -> list[descent.Measurement]:
    return [
        descent.Sharpness(every=config.sharpness_every),
        descent.GFSSharpness(
            every=config.gfs_every,
            start=config.gfs_start,
            rtol=config.rtol,
            max_gradient_evaluations=config.max_gradient_evaluations,
        ),
    ]
