"""`summary.json`: the few numbers of a run that its dataset boils down to."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg import descent
from thalweg.basics.settled import CONVERGED
from thalweg.flow.solution import Status
from thalweg.runs.judged import (
    GFS,
    flow_numbers,
    flows_of,
    judged,
    known_number,
    last_known,
    measured_number,
    measured_of,
    start_of,
)
from thalweg.verdict import monotonicity


def summarise(experiment: str, run: descent.Run) -> dict[str, Any]:
    """Return the contents of `summary.json`.

    Each run also has `advice`: a list of sentences, empty where it completed and every gradient
    flow solution converged; `unconverged`: how many measured values of each kind have another
    status than "converged"; and, under its name, what came of any other measurement of flows, such
    as `truncated`. Numbers that are not known are `None`. Verdicts and final values use only what
    has settled: a flow that did not reach its end, or an eigensolver that did not converge, leaves
    no value. A final value is that of the last measurement, or `None` if that has not settled.
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
    if "sharpness_status" in data:
        advice += _advice(data, "sharpness", descent.EigenStatus, "Sharpness at")
    gfs, unconverged, of_flows = _of_flows(data, GFS)
    entry: dict[str, Any] = {
        **start_of(data),
        "step_size": known_number(data["step_size"]),
        "threshold": known_number(data["threshold"]),
        "steps": run.steps[number],
        "status": status.value,
        "final": {
            "loss": last_known(data["loss"]),
            "sharpness": measured_number(data, "sharpness", "sharpness_status", CONVERGED),
            "gfs_sharpness": gfs["sharpness"],
            "gfs_sharpness_error": gfs["sharpness_error"],
        },
        "unconverged": {
            "sharpness": int((data.get("sharpness_status", xr.DataArray([])) > 0).sum()),
            "gfs_sharpness": unconverged,
        },
        "monotonicity": gfs["monotonicity"],
        "advice": advice + of_flows,
    }
    for name in flows_of(data):
        if name != GFS:
            other, unconverged, of_flows = _of_flows(data, name)
            known = data[f"{name}_sharpness"].attrs
            entry["advice"] += of_flows
            entry["unconverged"][f"{name}_sharpness"] = unconverged
            entry[name] = ({"level": float(known["level"])} if "level" in known else {}) | other
    return entry


_Statuses = Status | descent.EigenStatus


def _of_flows(data: xr.Dataset, name: str) -> tuple[dict[str, Any], int, list[str]]:
    """Return the entry of `<name>_sharpness`, how many flows did not converge, and advice.

    The entry holds the final value, if it has settled, and the verdict; where nothing was measured,
    nothing is known.
    """
    entry: dict[str, Any] = flow_numbers(data, name)
    if f"{name}_status" not in data:
        return entry | {"monotonicity": monotonicity([], []).summary()}, 0, []
    measured = measured_of(data, name)
    unconverged = int((measured[f"{name}_status"] != Status.CONVERGED).sum())
    advice = _advice(measured, name, Status, "Gradient flow from")
    return entry | {"monotonicity": judged(data, name).summary()}, unconverged, advice


def with_rises(dataset: xr.Dataset, summary: dict[str, Any]) -> xr.Dataset:
    """Return the dataset with the places of the largest rises, which the figure marks."""
    found: dict[str, Any] = {}
    for name in flows_of(dataset):
        verdicts = [(run if name == GFS else run[name])["monotonicity"] for run in summary["runs"]]
        rises = [one["largest_rise"] for one in verdicts]
        found[f"{name}_rise_step"] = (
            ("run", "rise_end"),
            [rise["between"] if rise else [math.nan] * 2 for rise in rises],
            {"long_name": "steps between which the largest rise is", "units": "steps"},
        )
        after = [one["decreasing_from"] for one in verdicts]
        found[f"{name}_decreasing_from"] = (
            "run",
            [math.nan if step is None else step for step in after],
            {"long_name": "step from which on nothing rises beyond its bars", "units": "steps"},
        )
    return dataset.assign(found)


def _advice(data: xr.Dataset, name: str, kind: type[_Statuses], what: str) -> list[str]:
    """Return a sentence for every way in which a measurement did not converge, with the steps."""
    codes, steps = data[f"{name}_status"].values, data[f"{name}_step"].values
    return [
        f"{what} {_listed(steps[codes == code])}: {kind(int(code)).advice}"
        for code in np.unique(codes[codes > 0])  # 0 is "converged", NaN not measured
    ]


def _listed(steps: NDArray[Any] | Sequence[int]) -> str:
    shown = ", ".join(str(step) for step in steps[:5])
    more = f" and {len(steps) - 5} more" if len(steps) > 5 else ""
    return f"step{'s' if len(steps) > 1 else ''} {shown}{more}"
