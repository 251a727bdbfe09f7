"""Many run folders as one table: a row for each run. Nothing here imports JAX."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from thalweg.basics.settled import CONVERGED
from thalweg.runs.folder import CONFIG, RunFolder
from thalweg.runs.judged import (
    GFS,
    flow_numbers,
    flows_of,
    judged,
    known_number,
    last_known,
    measured_number,
    start_of,
)
from thalweg.runs.lock import lock_holder
from thalweg.runs.results import load
from thalweg.runs.wording import aligned, describe_number

if TYPE_CHECKING:
    import xarray as xr

Row = dict[str, Any]

COLUMNS = (
    *("folder", "experiment", "architecture", "seed", "step_size", "threshold", "steps", "status"),
    *("loss", "sharpness", "measurement", "first", "first_error", "last", "last_error"),
    *("verdict", "falls", "rises", "undecided"),
)
"""What every row has."""

_TOLD = {
    *("experiment", "architecture", "depth", "seed", "paired", "step_size", "relative_step_size"),
    *("steps", "threshold", "measurements"),
}


def table(folders: Iterable[str | os.PathLike[str]]) -> list[Row]:
    """Return a row for each run in some run folders, as `pandas.DataFrame` takes them.

    Parameters
    ----------
    folders
        Run folders, finished or not, or folders of such.

    Returns
    -------
    list of dict
        With the keys `COLUMNS`, of which `first` and `last` are the GFS sharpness (or what
        `measurement` names) where it was measured first and last, with error bars. What is not
        known is `None`. Options of the experiments in which the folders differ are further keys.

    Raises
    ------
    FileNotFoundError
        A folder holds no run.
    ValueError
        One of its files cannot be read.
    """
    rows, configs = [], []
    for folder in _run_folders(map(Path, folders)):
        config = folder.read_config()
        own = _rows(folder, config)
        rows += own
        configs += [config] * len(own)
    options = _differing(configs)
    return [
        row | {name: config.get(name) for name in options}
        for row, config in zip(rows, configs, strict=True)
    ]


def as_csv(rows: Sequence[Row]) -> str:
    """Return rows as CSV, numbers with all their digits, what is not known as nothing."""
    text = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _word(value) for name, value in row.items()} for row in rows)
    return text.getvalue().rstrip("\n")


def as_text(rows: Sequence[Row]) -> str:
    """Return rows in columns for people; those in which nothing is known are left out."""
    cells = [_cells(row) for row in rows]
    names = dict.fromkeys(name for row in cells for name in row)
    shown = [name for name in names if any(row.get(name) for row in cells)]
    return "\n".join(aligned([shown, *([row.get(name, "") for name in shown] for row in cells)]))


def _cells(row: Row) -> dict[str, str]:
    counts = f" ({row['falls']} falls, {row['rises']} rises, {row['undecided']} undecided)"
    told = ("folder", "experiment", "architecture", "seed")
    return {
        **{name: _word(row[name]) for name in told},
        **{name: _word(value) for name, value in row.items() if name not in COLUMNS},
        "step size": describe_number(row["step_size"], "g", ""),
        "2/η": describe_number(row["threshold"], ".5g", ""),
        "steps": _word(row["steps"]),
        "status": row["status"],
        "loss": describe_number(row["loss"], ".3g", ""),
        "sharpness": describe_number(row["sharpness"], ".5g", ""),
        "of": row["measurement"] if row["measurement"] not in (GFS, None) else "",
        "φ first": _with_error(row["first"], row["first_error"]),
        "φ last": _with_error(row["last"], row["last_error"]),
        "verdict": (row["verdict"] or "") + (counts if row["falls"] is not None else ""),
    }


def _run_folders(paths: Iterable[Path]) -> list[RunFolder]:
    found = []
    for path in paths:
        inner = sorted(one.parent for one in path.glob(f"*/{CONFIG}")) if path.is_dir() else []
        if inner and not (path / CONFIG).is_file():
            found += [RunFolder.open(one) for one in inner]
        else:
            found.append(RunFolder.open(path))
    return found


def _rows(folder: RunFolder, config: Mapping[str, Any]) -> list[Row]:
    told = dict.fromkeys(COLUMNS) | {
        "folder": str(folder.path),
        "experiment": config.get("experiment"),
        "architecture": config.get("architecture") or _depth(config.get("depth")),
        "seed": config.get("seed"),
    }
    is_running = lock_holder(folder.path) is not None
    if not folder.dataset.is_file():
        return [told | {"status": "running" if is_running else "no results yet"}]
    stored = load(folder.path)
    data, begun = stored.dataset, {"status": "running" if is_running else "unfinished"}
    known = [begun] * data.sizes["run"] if stored.summary is None else stored.summary["runs"]
    return [told | _of_run(data.isel(run=number), run) for number, run in enumerate(known)]


def _of_run(data: "xr.Dataset", run: Mapping[str, Any]) -> Row:
    """Return what is known of one run, from its results, and its summary if it has ended."""
    row: Row = {"status": run["status"], "steps": run.get("steps"), **start_of(data)}
    row |= {name: known_number(data[name]) for name in ("step_size", "threshold") if name in data}
    if "depth" in data.coords:
        row["architecture"] = _depth(int(data["depth"]))
    if "loss" not in data or data["loss"].dims != ("step",):  # a study of many starts
        final, verdict = run.get("final", {}), run.get("monotonicity", {})
        row |= {"loss": final.get("loss"), "sharpness": final.get("sharpness")}
    else:
        known = data["step"].values[np.isfinite(data["loss"].values)]
        row["steps"] = run.get("steps", int(known[-1]) if known.size else 0)
        row["loss"] = last_known(data["loss"])
        row["sharpness"] = measured_number(data, "sharpness", "sharpness_status", CONVERGED)
        name = next(iter(sorted(flows_of(data), key=lambda name: name != GFS)), None)
        if name is None:
            return row
        first, last = (flow_numbers(data, name, place) for place in (0, -1))
        row |= {"measurement": name, "first": first["sharpness"], "last": last["sharpness"]}
        row |= {"first_error": first["sharpness_error"], "last_error": last["sharpness_error"]}
        verdict = judged(data, name).summary()
    return row | {name: verdict.get(name) for name in ("verdict", "falls", "rises", "undecided")}


def _differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the options in which configurations of one experiment differ, but for those told."""
    found: dict[str, None] = {}
    first: dict[Any, Mapping[str, Any]] = {}
    for config in configs:
        usual = first.setdefault(config.get("experiment"), config)
        found |= dict.fromkeys(name for name in config if config[name] != usual.get(name))
    return [name for name in found if name not in _TOLD]


def _depth(depth: int | None) -> str | None:
    return None if depth is None else f"depth {depth}"


def _word(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_word, value))
    return "" if value is None else str(value)


def _with_error(value: float | None, error: float | None) -> str:
    if value is None or error is None:
        return ""
    return f"{value:.6g} ± {error:.1g}"
