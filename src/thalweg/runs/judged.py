"""What the results of one run say of it: final values, and verdicts on what was measured."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from thalweg.basics.settled import BELOW_LEVEL, SETTLED, settled
from thalweg.verdict import Monotonicity, monotonicity

GFS = "gfs"
"""The measurement whose numbers stand at the top of `summary.json`; others have a name there."""


def flows_of(data: xr.Dataset) -> list[str]:
    """Return the measurements of flows: the names with a `<name>_sharpness` and `<name>_status`."""
    names = sorted(str(axis).removesuffix("_step") for axis in data.dims)
    return [name for name in names if {f"{name}_sharpness", f"{name}_status"} <= set(data)]


def judged(data: xr.Dataset, name: str = GFS) -> Monotonicity:
    """Return what is known of the monotonicity of `<name>_sharpness` along one run."""
    measured = measured_of(data, name)
    values = settled(measured, f"{name}_sharpness")
    errors, steps = measured[f"{name}_sharpness_error"], measured[f"{name}_step"]
    falls, fall_errors = (measured.get(f"{name}_{known}") for known in ("fall", "fall_error"))
    return monotonicity(values, errors, at=steps, falls=falls, fall_errors=fall_errors)


def measured_of(data: xr.Dataset, name: str) -> xr.Dataset:
    """Return one run where `<name>_sharpness` was measured, settled or not."""
    return data.sel({f"{name}_step": data[f"{name}_status"].notnull()})


def measured_number(
    data: xr.Dataset, variable: str, status: str, with_value: Sequence[float], place: int = -1
) -> float | None:
    """Return what was measured last (first: place 0); `None` if that has not settled, or is none.

    Below the level of a truncated sharpness there is nothing to measure.
    """
    if variable not in data:
        return None
    values = data[variable].values
    codes = data[status].values if status in data else np.where(np.isfinite(values), 0.0, np.nan)
    measured = np.flatnonzero(np.isfinite(codes) & (codes != BELOW_LEVEL))
    if not measured.size:
        return None
    at = measured[place]
    return float(values[at]) if codes[at] in with_value and np.isfinite(values[at]) else None


def flow_numbers(data: xr.Dataset, name: str, place: int = -1) -> dict[str, float | None]:
    """Return the last (first) `<name>_sharpness` and its error bar, or `None` for both."""
    found = {
        key: measured_number(data, f"{name}_{key}", f"{name}_status", SETTLED, place)
        for key in ("sharpness", "sharpness_error")
    }
    return dict.fromkeys(found) if None in found.values() else found


def start_of(data: xr.Dataset) -> dict[str, int]:
    """Return the number of the start of one run, as `{"seed": 3}`, where there are several."""
    return {kind: int(data[kind]) for kind in ("seed", "start") if kind in data.coords}


def last_known(values: xr.DataArray) -> float | None:
    """Return the last number that is known."""
    known = values.values[np.isfinite(values.values)]
    return float(known[-1]) if known.size else None


def known_number(value: xr.DataArray) -> float | None:
    """Return a number, `None` where it is not finite."""
    return float(value) if math.isfinite(float(value)) else None
