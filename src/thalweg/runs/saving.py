"""When and how a running experiment is saved, and what a checkpoint must agree with."""

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax
import xarray as xr

from thalweg import descent
from thalweg.basics.versions import versions
from thalweg.runs.claim import RunClaim
from thalweg.runs.experiment import Experiment
from thalweg.runs.figure import save_run_figure
from thalweg.runs.figure_options import FigureOptions
from thalweg.runs.folder import RunFolder

INTERVAL = 30.0
"""Seconds after which to save also in the middle of a gradient flow."""

FIRST_CHECKPOINT, FIRST_RESULTS = 1.0, 10.0
"""Seconds before which there is neither: the run may be over by then. Results need libraries."""

SHARE_OF_CHECKPOINTS = SHARE_OF_RESULTS = 0.005
"""The parts of a run's time that writing them may take."""


class _Pace:
    """Says when it is time for something again: not sooner than its cost allows."""

    def __init__(self, share: float, first: float):
        self.share, self.wait = share, min(first, INTERVAL)
        self.readings, self.ended = -1, time.monotonic()

    def is_due(self, readings: int) -> bool:
        since = time.monotonic() - self.ended
        return (readings > self.readings or since >= INTERVAL) and since >= self.wait

    @contextmanager
    def timing(self, readings: int) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.readings, self.ended = readings, time.monotonic()
            self.wait = (self.ended - began) / self.share


class Saver:
    """Writes checkpoint and results of a running descent, on its reports.

    It does so after every measurement, and when `INTERVAL` seconds have passed; but for each of the
    two not more often than its share of the time allows, since measurements may take less time than
    writing them. Of a short run only the configuration is written: the first checkpoint comes after
    `FIRST_CHECKPOINT` seconds, the first results, for which libraries have to be loaded, after
    `FIRST_RESULTS`. The files of a folder can be read at any time. Where a write fails, the files
    before it stay, the run goes on and the next occasion tries again.

    `config` and `attributes` go to `config.json` and to the dataset; `w0` is the start of the
    descent; `warn` is called with a sentence where a write failed.
    """

    def __init__(
        self,
        claim: RunClaim,
        config: Mapping[str, Any],
        attributes: Mapping[str, Any],
        w0: Any,
        warn: Callable[[str], None] | None = None,
    ):
        self.claim, self.folder, self.w0 = claim, claim.folder, w0
        self.warn = warn or _warn
        self.config, self.attributes = config, attributes
        self.stamp = stamp(self.config)
        self.writers = (
            (_Pace(SHARE_OF_CHECKPOINTS, FIRST_CHECKPOINT), self._write_checkpoint),
            (_Pace(SHARE_OF_RESULTS, FIRST_RESULTS), self._write_results),
        )

    def consider(self, progress: descent.Progress, *, stopping: bool) -> None:
        """Save if it is time to, or if the descent is `stopping`."""
        first, readings = not self.claim.has_begun, progress.readings
        try:
            self.claim.begin(self.config)
            for pace, write in self.writers:
                if stopping or pace.is_due(readings):
                    with pace.timing(readings):
                        write(progress)
        except OSError as error:
            if first:
                raise
            self.warn(f"saving failed ({error}), what was saved before is safe; trying again later")

    def _write_checkpoint(self, progress: descent.Progress) -> None:
        assert progress.checkpoint is not None
        with self.folder.atomic_write(self.folder.checkpoint) as temporary:
            descent.write_checkpoint(temporary, progress.checkpoint(), self.w0, self.stamp)

    def _write_results(self, progress: descent.Progress) -> None:
        assert progress.dataset is not None
        self.folder.write_dataset(progress.dataset().assign_attrs(self.attributes))


def last_checkpoint(folder: RunFolder, w0: Any) -> tuple[descent.Checkpoint, Any] | None:
    """Return the last checkpoint of a run from `w0` that can be read, with its stamp."""
    for path in (folder.checkpoint, folder.checkpoint_before):
        with suppress(ValueError, FileNotFoundError):
            return descent.read_checkpoint(path, w0)
    return None


def write_results(
    folder: RunFolder,
    dataset: xr.Dataset,
    summary: dict[str, Any],
    figure: FigureOptions | None = None,
) -> None:
    """Write what a run has come to: the summary, which says that it is complete, last."""
    folder.write_dataset(dataset, summary)
    save_run_figure(folder.path, figure)  # from the stored results
    folder.write_summary(summary)


def attributes_of(config: Experiment) -> dict[str, str]:
    """Return the attributes by which a dataset says what it is of, and which figure draws it."""
    return {"experiment": config.name, "figure": config.figure, "title": config.title}


def stamp(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the bits of a result depend on: configuration, versions and machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    settings: Any = jax.config
    return {
        "configuration": dict(config),
        "versions": versions(),
        "machine": {
            "type": platform.machine(),
            "system": platform.system(),
            "processor": _processor(),
            "cores": cores,  # sums are split among them
            "device": jax.devices()[0].device_kind,
            "float64": settings.jax_enable_x64,
            "optimisations": not settings.read("jax_disable_most_optimizations"),
            "matmul_precision": settings.jax_default_matmul_precision,
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        },
    }


def differences(then: Any, now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two stamps, one phrase each.

    >>> differences({"versions": {"jax": "0.7"}}, {"versions": {"jax": "0.8"}})
    ['jax was 0.7 and is 0.8']
    """
    found = []
    for part, current in now.items():
        before = then.get(part) if isinstance(then, Mapping) else None
        before = before if isinstance(before, Mapping) else {}
        for name in sorted(set(before) | set(current)):
            was, is_ = before.get(name), current.get(name)
            if was != is_:
                found.append(f"{name} was {was} and is {is_}")
    return found


def _processor() -> str:
    """Return the name of the processor, for whose instructions JAX compiles."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _warn(message: str) -> None:
    warnings.warn(message, RuntimeWarning, stacklevel=3)
