"""What a run folder holds, by name, and what a new run may put there."""

import os
import shlex
import shutil
from pathlib import Path

from thalweg.runs.atomic_write import TEMPORARY
from thalweg.runs.lock import LOCK, lock_holder

CONFIG = "config.json"
DATASET = "result.nc"
SUMMARY = "summary.json"
FIGURE = "figure.png"
CHECKPOINT = "checkpoint.npz"
CHECKPOINT_BEFORE = "checkpoint-before.npz"


def is_checkpoint(name: str) -> bool:
    """Whether an entry of this name counts as a checkpoint."""
    return name.startswith("checkpoint")


def marks_a_run(name: str) -> bool:
    """Whether an entry of this name says that a folder holds a run."""
    return name in (CONFIG, DATASET, SUMMARY) or is_checkpoint(name)


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
    holds_run = any(map(marks_a_run, names))
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
            "continues it; choose another --out for a new one"
        )
    return f"{path} already holds a run; pass --overwrite to replace it or choose another --out"
