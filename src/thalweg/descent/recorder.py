"""The recorder of losses and measured values, and the dataset made of them."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thalweg.basics.memory import BYTES_A_RESULT, check_fits
from thalweg.descent.labels import Labels
from thalweg.descent.measurements import (
    Measurement,
    Reading,
    as_number,
    described,
)
from thalweg.descent.schedule import parts_up_to, scheduled_steps


class Recorder:
    """Losses and measured values of several runs, in arrays with NaN where nothing was reached.

    The axes are there from the start, so that what a run leaves when it stops early still lies on
    those that were asked for (`scheduled`); or they grow by the steps that are given (`extend`).
    `schedules` says when to measure; `axes` have further steps where a run is refined (`insert`).
    """

    def __init__(
        self,
        measurements: Sequence[Measurement],
        runs: int = 1,
        loss_steps: Sequence[int] | NDArray[np.int64] = (),
        schedules: Sequence[NDArray[np.int64]] | None = None,
    ):
        self.measurements = measurements
        self.loss_steps = np.asarray(loss_steps, np.int64)
        self.schedules = list(schedules or [np.zeros(0, np.int64)] * len(measurements))
        self.axes = list(self.schedules)
        self.losses = np.full((runs, self.loss_steps.size), np.nan)
        self.values = {
            name: np.full((runs, schedule.size), np.nan)
            for m, schedule in zip(measurements, self.schedules, strict=True)
            for name in m.variables
        }

    @classmethod
    def scheduled(
        cls, runs: int, steps: int, loss_every: int, measurements: Sequence[Measurement]
    ) -> Self:
        """Return the recorder of runs whose steps are known: what one leaves lies on these axes."""
        columns = steps / loss_every + sum(
            len(m.variables) * sum(map(len, parts_up_to(m, steps))) for m in measurements
        )
        check_fits(
            BYTES_A_RESULT * runs * columns,
            "the results",
            "choose fewer steps, or record and measure less often",
        )
        regular = np.arange(0, steps + 1, loss_every, dtype=np.int64)
        loss_steps = np.union1d(regular, np.asarray([steps], np.int64))
        schedules = [scheduled_steps(m, steps) for m in measurements]
        return cls(measurements, runs, loss_steps, schedules)

    def extend(self, step: int, due: Sequence[int]) -> None:
        """Lengthen the axes of the loss, and of the measurements `due`, by a step."""
        self.loss_steps = np.append(self.loss_steps, step)
        self.losses = _with_column(self.losses)
        for number in due:
            self.axes[number] = self.schedules[number] = np.append(self.schedules[number], step)
            for name in self.measurements[number].variables:
                self.values[name] = _with_column(self.values[name])

    def insert(self, number: int, step: int) -> None:
        """Have a further step on the axis of a measurement, unless it is there."""
        axis = self.axes[number]
        place = int(np.searchsorted(axis, step))
        if step in axis[place : place + 1]:
            return
        self.axes[number] = np.insert(axis, place, step)
        for name in self.measurements[number].variables:
            self.values[name] = np.insert(self.values[name], place, np.nan, axis=1)

    def restore(
        self,
        losses: NDArray[Any],
        values: Mapping[str, NDArray[Any]],
        schedules: Sequence[NDArray[np.int64]],
        axes: Sequence[NDArray[np.int64]],
    ) -> None:
        """Go on with what an earlier recorder has recorded; the first schedule is of the loss."""
        self.loss_steps, self.schedules, self.axes = schedules[0], list(schedules[1:]), list(axes)
        self.losses = losses.copy()
        self.values = {name: values[name].copy() for name in self.values}

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
        """Store the values of one measurement, and what it says about the one before, if any."""
        measurement, values = self.measurements[number], reading.values
        if set(values) != set(measurement.variables):
            raise ValueError(
                f"the measurement {measurement.name!r} declares the variables "
                f"{sorted(measurement.variables)} but returned {sorted(values)}: make them equal"
            )
        column = int(np.searchsorted(self.axes[number], step))
        for name, value in values.items():
            what = f"{name!r} of the measurement {measurement.name!r}"
            self.values[name][run, column] = as_number(value, what)
        if column > 0:
            self.record_of_previous(run, number, step, reading.of_previous)

    def record_of_previous(
        self, run: int, number: int, step: int, values: Mapping[str, float]
    ) -> None:
        """Store what a measurement at `step` says about that before it, along the same run."""
        names = self.measurements[number].variables
        column = np.searchsorted(self.axes[number], step)
        known = np.any([np.isfinite(self.values[name][run, :column]) for name in names], axis=0)
        for name, value in values.items():
            self.values[name][run, np.flatnonzero(known)[-1]] = value

    def dataset(self, labels: Labels) -> xr.Dataset:
        """Return everything on its axes: dimension `run` first, steps as coordinates."""
        data: dict[str, Any] = {"loss": (("run", "step"), self.losses, described("loss"))}
        coords = labels.coordinates() | {"step": ("step", self.loss_steps, labels.axis())}
        for measurement, steps in zip(self.measurements, self.axes, strict=True):
            axis = f"{measurement.name}_step"
            coords[axis] = (axis, steps, labels.axis())
            for name, attributes in measurement.variables.items():
                data[name] = (("run", axis), self.values[name], dict(attributes))
        return xr.Dataset(data, coords, labels.attributes(self.measurements))


def _with_column(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.pad(array, ((0, 0), (0, 1)), constant_values=np.nan)


def _from(steps: NDArray[np.int64], step: int) -> NDArray[np.int64]:
    return steps[np.searchsorted(steps, step) :]
