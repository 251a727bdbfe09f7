"""The folder of a run that a program of its own measures, resumed by running that again."""

import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from thalweg.descent import Checkpoint, Measurement, Progress, Run
from thalweg.descent.labels import Labels, options_of
from thalweg.runs.claim import RunClaim
from thalweg.runs.folder import RunFolder
from thalweg.runs.interruption import Interruption
from thalweg.runs.saving import Saver, differences, last_checkpoint, stamp, write_results
from thalweg.runs.strict_json import as_read
from thalweg.runs.summary import summarise, with_rises

ALONG = "along"
"""The name of such runs in `config.json`."""


class AlongFolder:
    """A folder that is taken for one run: new, or to go on with what it holds, until `release`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        labels: Labels,
        measurements: Sequence[Measurement],
        *,
        overwrite: bool,
    ):
        self.config = _config(labels, measurements)
        if not overwrite and (old := _unfinished(path)) is not None:
            changed = differences({"along": old.read_config()}, {"along": self.config})
            if changed:
                raise ValueError(
                    f"{old.path} holds a run with other settings ({'; '.join(changed)}): give the "
                    "same, another folder, or overwrite=True"
                )
            self._claim = RunClaim.of_run(old)
        else:
            self._claim = RunClaim.of_new_run(self.config, path, overwrite=overwrite)
        self._saver: Saver | None = None
        self._interruption = Interruption()
        self._is_pausing = False

    def begin(self, w: PyTree) -> Checkpoint | None:
        """Return how far the run has got that the folder holds, for parameters like `w`."""
        folder, now = self._claim.folder, stamp(self.config)
        self._saver = Saver(self._claim, self.config, _ATTRIBUTES, w)
        if not folder.has_checkpoint() or folder.holds_old_run:
            return None
        if (found := last_checkpoint(folder, w)) is None:
            raise ValueError(
                f"{folder.checkpoint} is damaged, or of other parameters: choose another folder, "
                "or pass overwrite=True to begin anew"
            )
        checkpoint, then = found
        if changed := differences(then, now):
            warnings.warn(
                f"{folder.path} was begun under other conditions, so that last digits may differ: "
                f"{'; '.join(changed)}",
                RuntimeWarning,
                stacklevel=4,
            )
        return checkpoint

    def save(self, progress: Progress) -> bool:
        """Save if it is time to, or if the run is to stop; return whether it is."""
        stopping = self._interruption.signal is not None
        if self._saver is not None:
            self._saver.consider(progress, stopping=stopping or self._is_pausing)
        return stopping

    @contextmanager
    def saving_first(self, report: Callable[[], Any]) -> Iterator[None]:
        """Save, and only then obey, where a signal or Ctrl-C comes within a `with` block."""
        self._interruption = Interruption()
        try:
            with self._interruption:
                yield
        except KeyboardInterrupt:
            self._save_now(report)
            raise
        if self._interruption.signal is not None:
            signal.raise_signal(self._interruption.signal)

    def pause(self, report: Callable[[], Any]) -> None:
        """Save, and give the folder back."""
        self._save_now(report)
        self._claim.release()

    def _save_now(self, report: Callable[[], Any]) -> None:
        if self._interruption.signal is None and self._saver is not None:
            self._is_pausing = True
            report()
            self._is_pausing = False

    def finish(self, run: Run) -> None:
        """Write results, figure and summary, and give the folder back."""
        write_run(self._claim, self.config, run)


_ATTRIBUTES = {"experiment": ALONG, "figure": "run"}


def write_run(claim: RunClaim, config: Mapping[str, Any], run: Run) -> None:
    """Write a run that has ended to the folder that was taken for it, and release that."""
    name = str(config["experiment"])
    try:
        with claim.guarding():
            claim.begin(config)
            summary = summarise(name, run)
            dataset = with_rises(run.dataset, summary).assign_attrs(experiment=name, figure="run")
            write_results(claim.folder, dataset, summary)
            claim.folder.remove_checkpoint()
    finally:
        claim.release()


def _config(labels: Labels, measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Return what `config.json` holds, as it is read back."""
    content = {
        "experiment": ALONG,
        "step_size": labels.step_sizes,
        "threshold": labels.thresholds,
        "optimizer": labels.optimizer,
        "unit": labels.unit,
        "measurements": {one.name: options_of(one) for one in measurements},
    }
    read: dict[str, Any] = as_read(content)
    return read


def _unfinished(path: str | os.PathLike[str]) -> RunFolder | None:
    """Return the folder of a run that can be gone on with, if there is one."""
    folder = RunFolder(Path(path))
    if not folder.config.is_file() or folder.summary.is_file():
        return None
    return folder if folder.read_config().get("experiment") == ALONG else None
