"""`summary.json`: the few numbers of a run that its dataset boils down to."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg import descent
from thalweg.flow.solution import Status
from thalweg.theory import monotonicity


def summarise(experiment: str, run: descent.Run) -> dict[str, Any]:
    """Return the contents of `summary.json`.

    Each run also has `advice`: a list of sentences, empty where it completed and every gradient
    flow solution converged; and, where the truncated sharpness was measured, `truncated`. Numbers
    that are not known are `None`.
    """
    return {
        "experiment": experiment,
        "runs": [_of_run(run, number) for number in range(len(run.w))],
        "seconds": run.seconds,
        "gradient_evaluations": run.gradient_evaluations,
    }


def _of_run(run: descent.Run, number: int) -> dict[str, Any]:
    data = run.dataset.isel(run=number)
    status = run.status[number]
    advice = [] if status is descent.RunStatus.COMPLETED else [run.message[number]]
    gfs = _of_flows(data, "gfs")
    entry: dict[str, Any] = {
        "step_size": float(data["step_size"]),
        "threshold": _number(data["threshold"]),
        "steps": run.steps[number],
        "status": status.value,
        "final": {
            "loss": _last(data["loss"]),
            "sharpness": _last(data["sharpness"]),
            "gfs_sharpness": gfs.sharpness,
            "gfs_sharpness_error": gfs.error,
        },
        "monotonicity": gfs.monotonicity,
        "advice": advice + gfs.advice,
    }
    if "truncated_status" in data:
        truncated = _of_flows(data, "truncated")
        entry["advice"] = advice + gfs.advice + truncated.advice
        entry["truncated"] = {
            "level": float(data["truncated_sharpness"].attrs["level"]),
            "sharpness": truncated.sharpness,
            "sharpness_error": truncated.error,
            "monotonicity": truncated.monotonicity,
        }
    return entry


class _Flows(NamedTuple):
    """What the flows of one measurement come down to: the last value, the verdict, advice."""

    sharpness: float | None
    error: float | None
    monotonicity: dict[str, Any]
    advice: list[str]


def _of_flows(data: xr.Dataset, name: str) -> _Flows:
    """Summarise `<name>_sharpness`; where it was not measured, nothing is known of it."""
    if f"{name}_status" not in data:
        return _Flows(None, None, monotonicity([], []).summary(), [])
    measured = data.sel({f"{name}_step": data[f"{name}_status"].notnull()})
    values, errors = measured[f"{name}_sharpness"], measured[f"{name}_sharpness_error"]
    known_falls = {}
    if f"{name}_fall" in measured:
        falls, fall_errors = measured[f"{name}_fall"], measured[f"{name}_fall_error"]
        known_falls = {"falls": falls, "fall_errors": fall_errors}
    return _Flows(
        _last(values),
        _last(errors.where(values.notnull())),  # of the same iterate as the value
        monotonicity(values, errors, **known_falls).summary(),
        _advice(measured, name),
    )


def _advice(measured: xr.Dataset, name: str) -> list[str]:
    """Return one sentence for every way in which a flow did not converge, with the steps."""
    codes = measured[f"{name}_status"].values.astype(int)
    steps = measured[f"{name}_step"].values
    return [
        f"Gradient flow from {_listed(steps[codes == code])}: {Status(code).advice}"
        for code in np.unique(codes)
        if code != Status.CONVERGED
    ]


def _listed(steps: NDArray[Any] | Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in steps[:5])
    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
    return f"step{'s' if len(steps) > 1 else ''} {shown}{more}"


def _last(values: xr.DataArray) -> float | None:
    """Return the last number that is known."""
    known = values.values[np.isfinite(values.values)]
    return float(known[-1]) if known.size else None


def _number(value: xr.DataArray) -> float | None:
    return float(value) if math.isfinite(float(value)) else None
