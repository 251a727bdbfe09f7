"""Run folders: where a run keeps its configuration, results, summary, figure and checkpoint.

One rule makes a folder trustworthy after an interruption: `summary.json` is written last and
removed first. Wherever it is found, `config.json` and `result.nc` are the ones it was written
with. Nothing here computes, and nothing here is protected against two processes that write to
the same folder at the same time: `thalweg.lock` is for that.
"""

import importlib.metadata
import io
import os
import platform
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from thalweg import checksum
from thalweg.lock import LOCK, who_uses
from thalweg.memory import check_fits
from thalweg.replacing import TEMPORARY, replacing
from thalweg.strict_json import parse_object, to_json

if TYPE_CHECKING:  # slow to import, and needed for results only
    import xarray as xr

CONFIG = "config.json"
DATASET = "result.nc"
SUMMARY = "summary.json"
FIGURE = "figure.png"
CHECKPOINT = "checkpoint.npz"
CHECKPOINT_BEFORE = "checkpoint-before.npz"

__all__ = [
    "CHECKPOINT",
    "CHECKPOINT_BEFORE",
    "CONFIG",
    "DATASET",
    "FIGURE",
    "SUMMARY",
    "Run",
    "RunFolder",
    "load",
    "versions",
]

_OF_SUMMARY = "summary_checksum"
_PACKAGES = ("thalweg", "jax", "jaxlib", "diffrax", "numpy")


@dataclass(frozen=True)
class Run:
    """What a run folder holds, read into memory.

    Attributes
    ----------
    config
        The whole configuration.
    dataset
        The stored results, loaded; the file is closed.
    summary
        The summary, or `None` where the run has not finished.
    """

    config: dict[str, Any]
    dataset: "xr.Dataset"
    summary: dict[str, Any] | None


@dataclass
class RunFolder:
    """One run on disk: where its files are, and how they are written.

    Make one with `create` (a new run) or `open` (a run that is there). Every file is written
    under a temporary name in the same folder and renamed when complete, so a reader sees the old
    file or the new one, never a part of one.

    Attributes
    ----------
    path
        The folder.
    """

    path: Path
    # True from `create(..., overwrite=True)` on an old run until the first write of the new one.
    _holds_old_run: bool = field(default=False, repr=False)
    # The folders that `create` has made, from the outermost to that of the run.
    _made: tuple[Path, ...] = field(default=(), repr=False)

    @classmethod
    def create(cls, path: str | os.PathLike[str], *, overwrite: bool = False) -> Self:
        """Make the folder of a new run, or take over the folder of an old one.

        Parameters
        ----------
        path
            The folder; it and its parents are made if they do not exist.
        overwrite
            Whether an old run in the folder may be replaced. Nothing is removed yet: the old run
            stays whole until the first file of the new one has been written out, so a
            configuration that cannot be written costs nothing.

        Raises
        ------
        FileExistsError
            If there is a run and `overwrite` is false, or if `path` is a folder that holds other
            things than a run (whatever `overwrite` says), or a file, or lies in one.
        PermissionError
            If nothing can be written there: better now than when a long run has its results.
        """
        path = Path(path)
        names = _names_to_replace(path, overwrite=overwrite)
        made = tuple(folder for folder in (*reversed(path.parents), path) if not folder.exists())
        created = cls(path, bool(names), made)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError:
            created.remove_if_unused()
            raise
        return created

    @property
    def holds_old_run(self) -> bool:
        """Whether the first write will replace another run."""
        return self._holds_old_run

    def look_again(self, *, overwrite: bool) -> None:
        """Do what `create` has done again. Raises as it does."""
        self._holds_old_run = bool(_names_to_replace(self.path, overwrite=overwrite))

    @staticmethod
    def check(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Raise what `create` would, and change nothing."""
        _names_to_replace(Path(path), overwrite=overwrite)

    def remove_if_unused(self) -> None:
        """Remove the folders that `create` has made, where they are still empty."""
        for folder in reversed(self._made):
            with suppress(OSError):
                folder.rmdir()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """Take up the folder of a run that is there, to resume it or to draw it.

        Raises
        ------
        FileNotFoundError
            If the folder does not exist or holds no `config.json`.
        """
        folder = cls(Path(path))
        if not folder.path.is_dir():
            raise FileNotFoundError(f"{folder.path} is not a folder, so it holds no run")
        if not folder.config.is_file():
            raise FileNotFoundError(f"{folder.path} holds no run: {CONFIG} is missing")
        return folder

    @property
    def config(self) -> Path:
        """The configuration, `config.json`."""
        return self.path / CONFIG

    @property
    def dataset(self) -> Path:
        """The results, `result.nc`."""
        return self.path / DATASET

    @property
    def summary(self) -> Path:
        """The summary, `summary.json`; there only if the run has finished."""
        return self.path / SUMMARY

    @property
    def figure(self) -> Path:
        """The figure, `figure.png`."""
        return self.path / FIGURE

    @property
    def checkpoint(self) -> Path:
        """The checkpoint, `checkpoint.npz`; there only while the run has not finished.

        Any file or folder whose name starts with "checkpoint" counts as one.
        """
        return self.path / CHECKPOINT

    @property
    def checkpoint_before(self) -> Path:
        """The checkpoint before the last one, for when that turns out to be damaged."""
        return self.path / CHECKPOINT_BEFORE

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
        if self._holds_old_run or not self.config.is_file():
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
        for name, value in attributes.items():
            if isinstance(value, Mapping):
                attributes[name] = to_json(value, indent=None)
        # In memory: HDF5 does not survive a disk that becomes full under it.
        content = io.BytesIO()
        attributes[checksum.NAME] = checksum.BLANK
        if summary is not None:
            attributes[_OF_SUMMARY] = checksum.of(to_json(summary).encode())
        dataset.assign_attrs(attributes).to_netcdf(content, engine="h5netcdf")
        self._write(self.dataset, checksum.sealed(content.getvalue()))

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json`: the last write of a run, which says that it has finished."""
        self._write(self.summary, to_json(summary).encode())

    def remove_checkpoint(self) -> None:
        """Remove the checkpoint, if there is one."""
        for entry in self.path.iterdir():
            if _is_checkpoint(entry.name):
                _remove(entry)

    def remove_temporaries(self) -> None:
        """Remove what writes that were killed have left."""
        for entry in self.path.iterdir():
            if entry.name.startswith(TEMPORARY):
                _remove(entry)

    def has_remains(self) -> bool:
        """Whether there are files that only a run in progress needs."""
        names = [entry.name for entry in self.path.iterdir()]
        return any(n == LOCK or n.startswith(TEMPORARY) or _is_checkpoint(n) for n in names)

    @contextmanager
    def replacing(self, target: Path) -> Iterator[Path]:
        """Replace one file of the run: write to the path that this yields.

        As `thalweg.replacing.replacing`, and what would contradict the new file goes first: the
        whole old run when this is the first write after `create(..., overwrite=True)`, the
        summary and its figure when the configuration or the results change. The checkpoint that a
        new one replaces is kept as the one before.
        """
        with replacing(target, before=lambda new: self._retire(target, new)) as temporary:
            yield temporary

    def _write(self, target: Path, content: bytes) -> None:
        with self.replacing(target) as temporary:
            temporary.write_bytes(content)

    def _default_attributes(self) -> dict[str, Any]:
        attributes: dict[str, Any] = {"versions": versions()}
        if self.config.is_file() and not self._holds_old_run:
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
            self.figure.unlink(missing_ok=True)
        if not self._holds_old_run:
            if target == self.checkpoint and target.exists():
                os.replace(target, self.checkpoint_before)
            return
        self.summary.unlink(missing_ok=True)
        self.remove_checkpoint()
        for old in (self.figure, self.dataset, self.config):
            if old != target:
                old.unlink(missing_ok=True)
        for entry in self.path.iterdir():
            if entry.name.startswith(TEMPORARY) and entry != new:
                _remove(entry)
        self._holds_old_run = False


def load(path: str | os.PathLike[str]) -> Run:
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
    dataset, summary = _read_dataset(folder.dataset), folder.read_summary()
    expected = dataset.attrs.pop(_OF_SUMMARY, None)
    if summary is not None and expected is not None:
        _check_unchanged(folder.summary, checksum.of(folder.summary.read_bytes()) == expected)
    return Run(config, dataset, summary)


def versions() -> dict[str, str]:
    """Versions of thalweg, of what its numbers depend on, and of Python.

    >>> sorted(versions())
    ['diffrax', 'jax', 'jaxlib', 'numpy', 'python', 'thalweg']
    """
    return {name: _version(name) for name in _PACKAGES} | {"python": platform.python_version()}


def _is_checkpoint(name: str) -> bool:
    return name.startswith("checkpoint")


def _marks_a_run(name: str) -> bool:
    return name in (CONFIG, DATASET, SUMMARY) or _is_checkpoint(name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "unknown"


def _names_to_replace(path: Path, *, overwrite: bool) -> set[str]:
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
    holds_run = any(map(_marks_a_run, names))
    if holds_run and not overwrite:
        raise FileExistsError(_said_of_run_in(path, names))
    # Temporary files alone are what a killed first write leaves behind: not a reason to refuse.
    if not holds_run and not all(name.startswith(TEMPORARY) for name in names):
        raise FileExistsError(
            f"{path} is not empty and holds no run; choose another --out, or an empty folder"
        )
    return names


def _said_of_run_in(path: Path, names: set[str]) -> str:
    """Return a sentence about the run in a folder, with what can be done, but not by accident."""
    if (user := who_uses(path)) is not None:
        return f"{path} holds a run that {user} works at; choose another --out"
    if CONFIG in names and (SUMMARY not in names or any(map(_is_checkpoint, names))):
        return (
            f"{path} holds a run that has not finished: `thalweg resume {shlex.quote(str(path))}` "
            "continues it; choose another --out for a new one"
        )
    return f"{path} already holds a run; pass --overwrite to replace it or choose another --out"


def _read_intact(path: Path) -> bytes:
    content = path.read_bytes()
    _check_unchanged(path, checksum.is_intact(content))
    return content


def _check_unchanged(path: Path, is_unchanged: bool) -> None:
    if not is_unchanged:
        raise ValueError(
            f"{path} is damaged, or was changed after it was written: its checksum differs; "
            "restore it, or run again with --overwrite"
        )


def _read_dataset(path: Path) -> "xr.Dataset":
    import xarray as xr

    content = _read_intact(path)
    try:
        with xr.open_dataset(io.BytesIO(content), engine="h5netcdf") as stored:
            # A few bytes of HDF5 can stand for any number of equal values.
            check_fits(stored.nbytes, "its values", "restore it, or run again with --overwrite")
            dataset = stored.load()
    # Damage shows as almost anything: of HDF5, of the netCDF conventions, of the decoding.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} cannot be read as netCDF: {reason}") from error
    dataset.attrs.pop(checksum.NAME, None)
    return dataset


def __dir__() -> list[str]:
    return __all__
