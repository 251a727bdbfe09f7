"""What was measured along a run, as it is to be drawn: values, failures, and which to doubt."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

# Numbers of a flow's status, as documented with `result.nc`: settled (converged, inaccurate,
# set-valued), and no flow at all (below the level asked for).
_SETTLED, _BELOW_LEVEL = (0, 1, 7), 9
_CROSS: dict[str, Any] = {"marker": "x", "markersize": 5, "markeredgewidth": 1.2, "linestyle": ""}


@dataclass(frozen=True)
class Measured:
    """A sharpness along one run; all arrays of shape `(n,)`."""

    steps: NDArray[Any]  # where it was to be measured
    values: NDArray[np.float64]  # NaN where there is none
    errors: NDArray[np.float64]  # likewise
    hollow: NDArray[np.bool_]  # less accurate than asked for, or of unknown error
    failed: NDArray[np.bool_]  # measured, and nothing came of it


def read(dataset: xr.Dataset, name: str, run: int) -> Measured:
    """Return "sharpness", or that of the flows measured under a name, such as "gfs".

    A number whose flow or eigensolver failed, or whose error bar is infinite, is none.
    """
    variable = variable_of(name)
    numbers = dataset[variable].isel(run=run)
    values, unknown = numbers.values.astype(float), np.full(numbers.shape, np.nan)

    def column(name: str) -> NDArray[np.float64]:
        return dataset[name].isel(run=run).values.astype(float) if name in dataset else unknown

    errors, status = column(f"{variable}_error"), column(f"{name}_status")
    has_status = np.isfinite(status)
    if name == "sharpness":  # its error is a residual, which its status judges
        errors, settled = unknown, status == 0
    else:
        settled = np.isin(status, _SETTLED) & ~np.isinf(errors)
    is_value = np.isfinite(values) & (settled | ~has_status)
    hollow = is_value & ((has_status & (status != 0)) | ~np.isfinite(errors))
    return Measured(
        steps=dataset[numbers.dims[0]].values,
        values=np.where(is_value, values, np.nan),
        errors=errors,
        hollow=hollow & (name != "sharpness"),
        failed=has_status & (status != _BELOW_LEVEL) & ~is_value,
    )


def flows_of(dataset: xr.Dataset) -> list[str]:
    """Return the measurements of flows: the names of `<name>_sharpness(run, <name>_step)`."""
    names = sorted(str(axis).removesuffix("_step") for axis in dataset.dims)
    return [name for name in names if f"{name}_sharpness" in dataset]


_DEFAULT_LABELS = {"gfs": {"label": "GFS sharpness", "symbol": "\\varphi"}}
"""What older results do not say of themselves."""


class FlowLabels(NamedTuple):
    """How a measurement of flows is called: on an axis, and where its error bar is spoken of."""

    axis: str
    symbol: str


def flow_labels(dataset: xr.Dataset, name: str) -> FlowLabels:
    """Return how flows are called: what the measurement says of its value, else its name."""
    attributes = _DEFAULT_LABELS.get(name, {}) | dataset[variable_of(name)].attrs
    label, symbol = attributes.get("label", f"{name} sharpness"), attributes.get("symbol")
    if symbol is None:
        return FlowLabels(label, f"the {label}")
    return FlowLabels(f"{label} ${symbol}(w_t)$", f"${symbol}$")


def variable_of(name: str) -> str:
    """Return the variable that holds the values of `name`."""
    return name if name == "sharpness" else f"{name}_sharpness"


def isolated(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values have no neighbour, so that no line shows them."""
    known: NDArray[np.bool_] = np.concatenate([[False], np.isfinite(values), [False]])
    return known[1:-1] & ~known[:-2] & ~known[2:]


def draw_failures(axes: Axes, measured: Measured, run: int, colour: Any) -> None:
    """Draw a cross at the axis wherever a measurement failed; those of several runs in rows."""
    steps = measured.steps[measured.failed]
    if steps.size:
        height = np.full(steps.size, 0.04 * run)
        where = axes.get_xaxis_transform()
        axes.plot(steps, height, color=colour, transform=where, clip_on=False, zorder=5, **_CROSS)


def failure_handles(dataset: xr.Dataset, names: list[str], runs: int, colour: Any) -> list[Artist]:
    """Return the legend entry of crosses, if there are any."""
    if not any(np.any(read(dataset, name, run).failed) for name in names for run in range(runs)):
        return []
    return [Line2D([], [], color=colour, label="failed: no value", **_CROSS)]
