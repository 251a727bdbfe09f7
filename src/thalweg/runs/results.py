"""What a run folder holds, read into memory."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from thalweg.basics.settled import settled as settled  # its public name is here
from thalweg.runs import dataset_file
from thalweg.runs.folder import DATASET, RunFolder

if TYPE_CHECKING:  # slow to import, and needed for results only
    import xarray as xr


@dataclass(frozen=True)
class StoredRun:
    """What a run folder holds, read into memory; no summary where the run has not finished."""

    config: dict[str, Any]
    dataset: "xr.Dataset"
    summary: dict[str, Any] | None


Run = StoredRun  # the public name


def load(path: str | os.PathLike[str]) -> StoredRun:
    """Read a run from its folder, whether it has finished or not.

    Raises
    ------
    FileNotFoundError
        If the folder holds no run, or a run that has no results yet.
    ValueError
        If one of its files cannot be read.
    """
    folder = RunFolder.open(path)
    config = folder.read_config()
    if not folder.dataset.is_file():
        raise FileNotFoundError(
            f"{folder.path} holds a run without results: {DATASET} is missing; wait for it, or "
            f"`thalweg resume {folder.path}`"
        )
    dataset, of_summary = dataset_file.read(folder.dataset)
    summary = folder.read_summary()
    if summary is not None:
        dataset_file.check_summary(folder.summary, of_summary)
    return StoredRun(config, dataset, summary)
