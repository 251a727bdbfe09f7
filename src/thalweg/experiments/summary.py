"""`summary.json`: the few numbers of a run that its dataset boils down to."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg import descent
from thalweg.flow.solution import Status
from thalweg.theory import monotonicity


def summarise(experiment: str, run: descent.Run) -> dict[str, Any]:
    """Return the contents of `summary.json`.

    Each run also has `advice`: a list of sentences, empty where it completed and every gradient
    flow solution converged. Numbers that are not known are `None`.
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
    measured = data.sel(gfs_step=data["gfs_status"].notnull())
    verdict = monotonicity(
        measured["gfs_sharpness"], measured["gfs_sharpness_error"], **_known_falls(measured)
    )
    return {
        "step_size": float(data["step_size"]),
        "threshold": _number(data["threshold"]),
        "steps": run.steps[number],
        "status": status.value,
        "final": {
            "loss": _last(data["loss"]),
            "sharpness": _last(data["sharpness"]),
            "gfs_sharpness": _last(measured["gfs_sharpness"]),
            # Of the same iterate as the value.
            "gfs_sharpness_error": _last(
                measured["gfs_sharpness_error"].where(measured["gfs_sharpness"].notnull())
            ),
        },
        "monotonicity": verdict.summary(),
        "advice": advice + _flow_advice(measured),
    }


def _known_falls(measured: xr.Dataset) -> dict[str, xr.DataArray]:
    """Return the falls from each value to the next, where the dataset has them by themselves."""
    if "gfs_fall" not in measured:
        return {}
    return {"falls": measured["gfs_fall"], "fall_errors": measured["gfs_fall_error"]}


def _flow_advice(measured: xr.Dataset) -> list[str]:
    """Return one sentence for every way in which a flow did not converge, with the steps."""
    codes = measured["gfs_status"].values.astype(int)
    steps = measured["gfs_step"].values
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
