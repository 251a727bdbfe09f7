"""Runs that were computed in Python, kept in a run folder."""

import json
import os
from typing import Any

import numpy as np
import xarray as xr

from thalweg.basics.run_axis import as_runs
from thalweg.descent import Run, RunStatus
from thalweg.runs.along_folder import write_run
from thalweg.runs.claim import RunClaim
from thalweg.runs.strict_json import as_read


def save(
    run: Run | xr.Dataset | Any,
    folder: str | os.PathLike[str],
    *,
    name: str = "run",
    overwrite: bool = False,
) -> None:
    """Write `config.json`, `result.nc`, `summary.json` and `figure.png`, as `thalweg run` does.

    Parameters
    ----------
    run
        What `descend` or `measure_along` returned, an `Along`, or a dataset of such, as of several
        runs concatenated along `run` or `seed`.
    folder
        Where it goes; made if it does not exist. `thalweg.load(folder)` reads it.
    name
        What the run is called, in `config.json` and in the figure.
    overwrite
        Whether another run that the folder holds may be replaced.

    Raises
    ------
    FileExistsError
        The folder holds a run and `overwrite` is false, or holds other things than a run.
    TypeError
        This is no run.
    """
    if isinstance(run, xr.Dataset):
        run = _of_dataset(run)
    run = getattr(run, "run", run)  # of an `Along`
    if not isinstance(run, Run):
        raise TypeError(
            f"run must be a thalweg.Run, an Along or a dataset, not {type(run).__name__}: give "
            "what descend returned"
        )
    attributes = run.dataset.attrs
    content = {
        "experiment": name,
        "step_size": run.dataset["step_size"].values,
        "threshold": run.dataset["threshold"].values,
        "optimizer": attributes.get("optimizer"),
        "measurements": json.loads(str(attributes.get("measurements", "{}"))),
    }
    config = as_read(content)
    write_run(RunClaim.of_new_run(config, folder, overwrite=overwrite), config, run)


def _of_dataset(dataset: xr.Dataset) -> Run:
    """Return the run of a dataset, of which no more is known than what it holds."""
    dataset = as_runs(dataset)
    if "run" not in dataset.dims or "loss" not in dataset or "step_size" not in dataset:
        raise TypeError(
            "the dataset is none of runs: it needs loss(run, step) and step_size(run), as that of "
            "thalweg.Run"
        )
    losses, steps = dataset["loss"].values, dataset["step"].values
    known = [np.flatnonzero(np.isfinite(row)) for row in losses]
    count = len(losses)
    return Run(
        dataset=dataset,
        w=[None] * count,
        status=[RunStatus.COMPLETED] * count,
        message=[""] * count,
        steps=[int(steps[row[-1]]) if row.size else 0 for row in known],
        gradient_evaluations=np.nan,
        seconds=np.nan,
    )
