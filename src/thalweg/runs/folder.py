"""Run folders: where a run keeps its configuration, results, summary, figure and checkpoint.

One rule makes a folder trustworthy after an interruption: `summary.json` is written last and
removed first. Wherever it is found, `config.json` and `result.nc` are the ones it was written
with. Nothing here computes, and nothing here is protected against two processes that write to
the same folder at the same time: `lock` is for that.
"""

import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from thalweg.basics.versions import versions
from thalweg.runs import dataset_file
from thalweg.runs.atomic_write import TEMPORARY, atomic_write
from thalweg.runs.figure_options import FORMATS
from thalweg.runs.lock import LOCK, lock_holder
from thalweg.runs.strict_json import parse_object, to_json

if TYPE_CHECKING:  # slow to import, and needed for results only
    import xarray as xr

CONFIG = "config.json"
DATASET = "result.nc"
SUMMARY = "summary.json"
FIGURE = "figure.png"
CHECKPOINT = "checkpoint.npz"
CHECKPOINT_BEFORE = "checkpoint-before.npz"


@dataclass
class RunFolder:
    """One run on disk: where its files are, and how they are written.

    Make one with `create` (a new run) or `open` (a run that is there). Every file is written
    under a temporary name in the same folder and renamed when complete, so a reader sees the old
    file or the new one, never a part of one.
    """

    path: Path
    # Whether the first write will replace another run, as after `create(..., overwrite=True)`.
    holds_old_run: bool = field(default=False, repr=False)
    # The folders that `create` has made, from the outermost to that of the run.
    _made: tuple[Path, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Name the files: a summary is there of finished runs only, a checkpoint of others only."""
        self.config, self.dataset = self.path / CONFIG, self.path / DATASET
        self.summary, self.figure = self.path / SUMMARY, self.path / FIGURE
        self.checkpoint = self.path / CHECKPOINT
        self.checkpoint_before = self.path / CHECKPOINT_BEFORE  # for when that is damaged

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, overwrite: bool = False) -> Self:
        """Make the folder of a new run, with its parents, or take over the folder of an old one.

        Where `overwrite` lets an old run be replaced nothing is removed yet: it stays whole until
        the first file of the new one has been written out, so a configuration that cannot be
        written costs nothing.

        Raises
        ------
        FileExistsError
            If there is a run and `overwrite` is false, or if `path` is a folder that holds other
            things than a run (whatever `overwrite` says), or a file, or lies in one.
        PermissionError
            If nothing can be written there: better now than when a long run has its results.
        """
        path = Path(path)
        names = names_to_replace(path, overwrite=overwrite)
        made = tuple(folder for folder in (*reversed(path.parents), path) if not folder.exists())
        created = cls(path, bool(names), made)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError:
            created.remove_if_unused()
            raise
        return created

    def recheck(self, *, overwrite: bool) -> None:
        """Do what `create` has done again. Raises as it does."""
        self.holds_old_run = bool(names_to_replace(self.path, overwrite=overwrite))

    @staticmethod
    def check(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Raise what `create` would, and change nothing."""
        names_to_replace(Path(path), overwrite=overwrite)

    def remove_if_unused(self) -> None:
        """Remove the folders that `create` has made, where they are still empty."""
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Take up the folder of a run that is there, or raise a FileNotFoundError."""
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise FileNotFoundError(f"{folder.path} is not a folder, so it holds no run")
        if not folder.config.is_file():
            raise FileNotFoundError(f"{folder.path} holds no run: {CONFIG} is missing")
        return folder

    def read_config(self) -> dict[str, Any]:
        """Read `config.json`."""
        return parse_object(self.config, self.config.read_bytes())

    def read_summary(self) -> dict[str, Any] | None:
        """Read `summary.json`; `None` where the run has not finished."""
        if not self.summary.is_file():
            return None
        return parse_object(self.summary, self.summary.read_bytes())

    def has_config(self, config: Mapping[str, Any]) -> bool:
        """Whether `config.json` holds this very configuration, and is not that of an old run."""
        if self.holds_old_run or not self.config.is_file():
            return False
        return self.config.read_bytes() == to_json(config).encode()

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.json`: the first write of a run (see `to_json` for what it may hold)."""
        self._write(self.config, to_json(config).encode())

    def write_dataset(
        self, dataset: "xr.Dataset", summary: Mapping[str, Any] | None = None
    ) -> None:
        """Write `result.nc` (netCDF-4, through h5netcdf).

        The attributes that the contract asks for and the dataset lacks are filled in: `config`
        and `seed` from `config.json` where that is written, and `versions`. Attributes that are
        mappings are stored as JSON strings. The caller's dataset is left as it is. The checksum of
        the `summary` that will be written last, if it is known, is kept with the results.
        """
        attributes = self._default_attributes() | dict(dataset.attrs)
        self._write(self.dataset, dataset_file.encoded(dataset, attributes, summary))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`: the last write of a run, which says that it has finished."""
        self._write(self.summary, to_json(summary).encode())

    def has_checkpoint(self) -> bool:
        """Whether there is a checkpoint, be it the one before."""
        return self.checkpoint.is_file() or self.checkpoint_before.is_file()

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, if there is one."""
        for entry in self.path.iterdir():
            if is_checkpoint(entry.name):
                remove(entry)

    def remove_figures(self) -> None:
        """Remove the figure, in whatever formats it is there."""
        for name in FORMATS:
            self.figure.with_suffix(f".{name}").unlink(missing_ok=True)

    def remove_temporaries(self) -> None:
        """Remove what writes that were killed have left."""
        for entry in self.path.iterdir():
            if entry.name.startswith(TEMPORARY):
                remove(entry)

    def has_remains(self) -> bool:
        """Whether there are files that only a run in progress needs."""
        names = [entry.name for entry in self.path.iterdir()]
        return any(n == LOCK or n.startswith(TEMPORARY) or is_checkpoint(n) for n in names)

    @contextmanager
    def atomic_write(self, target: Path) -> Iterator[Path]:
        """Replace one file of the run: write to the path that this yields.

        As `atomic_write`, and what would contradict the new file goes first: the
        whole old run when this is the first write after `create(..., overwrite=True)`, the
        summary and its figure when the configuration or the results change. The checkpoint that a
        new one replaces is kept as the one before.
        """
        with atomic_write(target, before=lambda new: self._retire(target, new)) as temporary:
            yield temporary

    def _write(self, target: Path, content: bytes) -> None:
        with self.atomic_write(target) as temporary:
            temporary.write_bytes(content)

    def _default_attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {"versions": versions()}
        if self.config.is_file() and not self.holds_old_run:
            config = self.read_config()
            attributes["config"] = config
            if config.get("seed") is not None:
                attributes["seed"] = config["seed"]
        return attributes

    def _retire(self, target: Path, new: Path) -> None:
        """Remove what does not belong with `target`, which the file `new` is about to replace.

        The summary first, since it is what says "finished", and the old configuration last, or
        never if the new one is about to replace it: an interruption at any point leaves a part of
        one run, never parts of two.
        """
        # Without a summary the figure is one drawn on the way, which may stay.
        if target in (self.config, self.dataset) and self.summary.exists():
            self.summary.unlink()
            self.remove_figures()
        if not self.holds_old_run:
            if target == self.checkpoint and target.exists():
                os.replace(target, self.checkpoint_before)
            return
        self.summary.unlink(missing_ok=True)
        self.remove_checkpoint()
        self.remove_figures()
        for old in (self.dataset, self.config):
            if old != target:
                old.unlink(missing_ok=True)
        for entry in self.path.iterdir():
            if entry.name.startswith(TEMPORARY) and entry != new:
                remove(entry)
        self.holds_old_run = False


def is_checkpoint(name: str) -> bool:
    """Whether an entry of this name counts as a checkpoint."""
    return name.startswith("checkpoint")


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def names_to_replace(path: Path, *, overwrite: bool) -> set[str]:
    """Return what a new run in `path` would replace, or raise what `RunFolder.create` does."""
    if "\0" in str(path):
        raise ValueError(f"{str(path)!r} cannot be the path of a folder; choose another --out")
    nearest = next((place for place in (path, *path.parents) if os.path.lexists(place)), Path())
    if not nearest.is_dir():
        what = "file" if nearest.exists() else "link to nowhere"
        raise FileExistsError(f"{nearest} is a {what}; choose another --out")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{nearest} cannot be written to; choose another --out")
    if nearest != path:
        return set()
    names = {entry.name for entry in path.iterdir()} - {LOCK}
    holds_run = any(n in (CONFIG, DATASET, SUMMARY) or is_checkpoint(n) for n in names)
    if holds_run and not overwrite:
        raise FileExistsError(_description_of(path, names))
    # Temporary files alone are what a killed first write leaves behind: not a reason to refuse.
    if not holds_run and not all(name.startswith(TEMPORARY) for name in names):
        raise FileExistsError(
            f"{path} is not empty and holds no run; choose another --out, or an empty folder"
        )
    return names


def _description_of(path: Path, names: set[str]) -> str:
    """Return a sentence about the run in a folder, with what can be done, but not by accident."""
    if (user := lock_holder(path)) is not None:
        return f"{path} holds a run that {user} works at; choose another --out"
    if CONFIG in names and (SUMMARY not in names or any(map(is_checkpoint, names))):
        return (
            f"{path} holds a run that has not finished: `thalweg resume {shlex.quote(str(path))}` "
            "continues it, as does the same command with --resume; choose another --out for a new "
            "one"
        )
    return f"{path} already holds a run; pass --overwrite to replace it or choose another --out"
