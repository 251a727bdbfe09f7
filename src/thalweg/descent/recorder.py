"""The recorder of losses and measured values, and the dataset made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg.basics.memory import BYTES_A_RESULT, check_fits
from thalweg.descent.measurements import (
    Measurement,
    Reading,
    as_number,
    described,
    scheduled_steps,
)


class Recorder:
    """Losses and measured values of several runs, in arrays with NaN where nothing was reached.

    The arrays have their full length from the start, so that what a run leaves when it stops
    early still lies on the axes that were asked for.
    """

    def __init__(self, runs: int, steps: int, loss_every: int, measurements: Sequence[Measurement]):
        self.measurements = measurements
        columns = steps / loss_every + sum(
            len(m.variables) * max(steps - m.start, 0) / m.every for m in measurements
        )
        check_fits(
            BYTES_A_RESULT * runs * columns,
            "the results",
            "choose fewer steps, or record and measure less often",
        )
        regular = np.arange(0, steps + 1, loss_every, dtype=np.int64)
        self.loss_steps = np.union1d(regular, np.asarray([steps], np.int64))
        self.losses = np.full((runs, self.loss_steps.size), np.nan)
        self.schedules = [scheduled_steps(m, steps) for m in measurements]
        self.values = {
            name: np.full((runs, schedule.size), np.nan)
            for m, schedule in zip(measurements, self.schedules, strict=True)
            for name in m.variables
        }

    def restore(self, losses: NDArray[Any], values: Mapping[str, NDArray[Any]]) -> None:
        """Go on with what an earlier recorder, with the same axes, has recorded."""
        self.losses[:] = losses
        for name, array in values.items():
            self.values[name][:] = array

    def due(self, step: int) -> list[int]:
        """Return the numbers of the measurements to be made at `step`."""
        return [i for i, steps in enumerate(self.schedules) if step in _from(steps, step)[:1]]

    def next_due(self, step: int) -> int | None:
        """Return the first step after `step` with a measurement, `None` if there is none."""
        after = [int(later[0]) for s in self.schedules if (later := _from(s, step + 1)).size]
        return min(after, default=None)

    def record_losses(self, run: int, first: int, losses: NDArray[Any]) -> None:
        """Store the losses of the steps `first`, `first + 1`, ... that are to be recorded."""
        begin, end = np.searchsorted(self.loss_steps, [first, first + losses.size])
        self.losses[run, begin:end] = losses[self.loss_steps[begin:end] - first]

    def record_values(self, run: int, number: int, step: int, reading: Reading) -> None:
        """Store the values of one measurement, and what it says about the one before."""
        measurement, values = self.measurements[number], reading.values
        if set(values) != set(measurement.variables):
            raise ValueError(
                f"the measurement {measurement.name!r} declares the variables "
                f"{sorted(measurement.variables)} but returned {sorted(values)}: make them equal"
            )
        column = int(np.searchsorted(self.schedules[number], step))
        for name, value in values.items():
            what = f"{name!r} of the measurement {measurement.name!r}"
            self.values[name][run, column] = as_number(value, what)
        if column > 0:
            for name, value in reading.of_previous.items():
                self.values[name][run, column - 1] = value

    def dataset(self, step_sizes: Sequence[float], thresholds: Sequence[float]) -> xr.Dataset:
        """Return everything on its axes: dimension `run` first, steps as coordinates."""
        threshold = described("stability threshold, 2 / step size")
        data: dict[str, Any] = {"loss": (("run", "step"), self.losses, described("loss"))}
        coords: dict[str, Any] = {
            "step_size": ("run", list(step_sizes), described("step size")),
            "threshold": ("run", list(thresholds), threshold),
            "step": ("step", self.loss_steps, described("step", "steps")),
        }
        for measurement, schedule in zip(self.measurements, self.schedules, strict=True):
            axis = f"{measurement.name}_step"
            coords[axis] = (axis, schedule, described("step", "steps"))
            for name, attributes in measurement.variables.items():
                data[name] = (("run", axis), self.values[name], dict(attributes))
        return xr.Dataset(data, coords)


def _from(steps: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    return steps[np.searchsorted(steps, step) :]
