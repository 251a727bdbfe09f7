"""What was measured along one run, as it is to be drawn: values, failures, and which to doubt."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg.basics.settled import BELOW_LEVEL, settled

_PLAIN = "gradient descent"
_LEFT = 1e3
"""A run has left once its loss is this many times that at the start, or 1 if that is larger, and it
never comes back: a run that diverges ends at a million times that, or at what is not finite."""


@dataclass(frozen=True)
class Measured:
    """A sharpness along one run; all arrays of shape `(n,)`."""

    steps: NDArray[Any]  # where it was to be measured
    values: NDArray[np.float64]  # NaN where there is none
    errors: NDArray[np.float64]  # likewise
    hollow: NDArray[np.bool_]  # less accurate than asked for, or of unknown error
    failed: NDArray[Any]  # why there is none, where it was measured; else ""


@dataclass(frozen=True)
class OneRun:
    """One run of some results, and how it is called.

    Sharpnesses are drawn in units of `unit`: 1, or the stability threshold.
    """

    data: xr.Dataset  # at one entry of `run`
    label: str
    number: int = 0  # among the runs of the results
    unit: float = 1.0

    @property
    def threshold(self) -> float:
        """The stability threshold, in the unit; NaN where none is known."""
        known = self.data.get("threshold")
        return float("nan") if known is None else float(known) / self.unit

    @property
    def is_plain(self) -> bool:
        """Whether the threshold is that of gradient descent, `2 / step_size`."""
        return bool(np.isclose(self.threshold * self.unit * self.data["step_size"], 2, rtol=1e-9))

    @property
    def threshold_name(self) -> str:
        """What the threshold is called beside its number."""
        return "$2/\\eta$" if self.is_plain else "threshold"

    def in_thresholds(self) -> "OneRun":
        """Return the run with sharpnesses in units of the threshold, if that is known."""
        threshold = self.threshold
        return replace(self, unit=threshold) if np.isfinite(threshold) else self

    @cached_property
    def end(self) -> float:
        """The last step before the loss leaves for good; infinite where it does not."""
        if "loss" not in self.data:
            return np.inf
        loss = self.data["loss"].values
        near = np.flatnonzero(np.abs(loss) <= _LEFT * max(abs(loss[0]), 1.0))
        known = np.flatnonzero(~np.isnan(loss))
        if not near.size or known[-1] <= near[-1]:
            return np.inf
        return float(self.data["step"].values[near[-1]])

    def read(self, name: str) -> Measured:
        """Return "sharpness", or that of the flows measured under a name, such as "gfs"."""
        variable, data = variable_of(name), self.data
        values = settled(data, variable)
        unknown = np.full(values.shape, np.nan)

        def column(name: str) -> NDArray[np.float64]:
            return data[name].values.astype(float) if name in data else unknown

        # The error of a sharpness is a residual, which its status judges.
        errors = unknown if name == "sharpness" else column(f"{variable}_error")
        status, is_value = column(f"{name}_status"), np.isfinite(values.values)
        hollow = is_value & ((np.isfinite(status) & (status != 0)) | ~np.isfinite(errors))
        failed = np.isfinite(status) & (status != BELOW_LEVEL) & ~is_value
        columns = (
            data[str(values.dims[0])].values,
            values.values / self.unit,
            errors / self.unit,
            hollow & (name != "sharpness"),
            np.where(failed, _meanings(data, name, status), ""),
        )
        # Of runs that are refined each has steps of its own, between which its line goes on.
        made = is_value | np.isfinite(status) | (f"{name}_status" not in data)
        return Measured(*(column[made] for column in columns))


def _meanings(data: xr.Dataset, name: str, status: NDArray[np.float64]) -> NDArray[Any]:
    """Return statuses in words, as the attributes of the results have them."""
    known = data[f"{name}_status"].attrs if f"{name}_status" in data else {}
    words = str(known.get("flag_meanings", "")).split()
    numbers = np.atleast_1d(known.get("flag_values", [])).tolist()
    named = {number: word.replace("_", " ") for number, word in zip(numbers, words, strict=False)}
    return np.array([named.get(number, "failed") for number in status.tolist()])


def runs_of(dataset: xr.Dataset) -> list[OneRun]:
    """Return the runs of some results, called by what tells them apart."""
    labels = [_name(dataset.isel(run=run)) for run in range(dataset.sizes["run"])]
    labels = [
        label + (f", run {run}" if labels.count(label) > 1 else "")
        for run, label in enumerate(labels)
    ]
    return [OneRun(dataset.isel(run=run), label, run) for run, label in enumerate(labels)]


def _name(data: xr.Dataset) -> str:
    """Return what is known of one run: depth, optimiser, step size, seed or start."""
    size, optimizer = float(data["step_size"]), data.attrs.get("optimizer", _PLAIN)
    known = [f"depth {int(data['depth'])}"] if "depth" in data.coords else []
    known += [] if optimizer == _PLAIN else [str(optimizer)]
    known += [f"$\\eta$ = {size:.4g}"] if np.isfinite(size) else []
    known += [f"{name} {int(data[name])}" for name in ("seed", "start") if name in data.coords]
    return ", ".join(known) or "measured run"


def step_label(data: xr.Dataset) -> str:
    """Return what the axis of steps is called: by the optimiser, where it is known."""
    is_known = np.isfinite(data["step_size"].values).all()
    optimizer = data.attrs.get("optimizer", _PLAIN if is_known else "")
    return f"{optimizer} {_unit(data)} $t$".lstrip()


def short_step_label(data: xr.Dataset) -> str:
    """Return what the axis of steps is called where there is little room."""
    return f"{_unit(data)} $t$"


def _unit(data: xr.Dataset) -> str:
    return str(data["step"].attrs.get("long_name", "step")) if "step" in data else "step"


def flows_of(dataset: xr.Dataset) -> list[str]:
    """Return the measurements of flows: the names of `<name>_sharpness(run, <name>_step)`."""
    names = sorted(str(axis).removesuffix("_step") for axis in dataset.dims)
    return [name for name in names if f"{name}_sharpness" in dataset]


_DEFAULT_LABELS = {"gfs": {"label": "GFS sharpness", "symbol": "\\varphi"}}
"""What older results do not say of themselves."""


class FlowLabels(NamedTuple):
    """How a measurement of flows is called: in words, and by a symbol, if it has one."""

    words: str
    symbol: str | None

    @property
    def short(self) -> str:
        """What a legend calls it."""
        return f"the {self.words}" if self.symbol is None else f"${self.symbol}$"


def flow_labels(dataset: xr.Dataset, name: str) -> FlowLabels:
    """Return how flows are called: what the measurement says of its value, else its name."""
    attributes = _DEFAULT_LABELS.get(name, {}) | dataset[variable_of(name)].attrs
    return FlowLabels(attributes.get("label", f"{name} sharpness"), attributes.get("symbol"))


def variable_of(name: str) -> str:
    """Return the variable that holds the values of `name`."""
    return name if name == "sharpness" else f"{name}_sharpness"


def measuring(runs: Iterable[OneRun], variable: str) -> list[OneRun]:
    """Return those of some runs that have a variable."""
    return [run for run in runs if variable in run.data]


def isolated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values have no neighbour, so that no line shows them."""
    known: NDArray[np.bool_] = np.concatenate([[False], np.isfinite(values), [False]])
    return known[1:-1] & ~known[:-2] & ~known[2:]
