"""What is within the limits of an axis: values, not what has diverged, failed, or is rounding."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from thalweg.figures.measured import Measured, OneRun, flows_of

ROUNDING = 16 * float(np.finfo(float).eps)
"""Losses below this share of that at the start are rounding."""

_EARLY, _MOST = 0.1, 0.9
_NEAR = 0.1
"""A threshold this near, as a share of it, is shown; so is one within the span of the values."""

_LEAST = 1e-3
"""The least height of an axis, as a share of the values."""

_NOTE = 0.13
"""The height of a line of notes, in that of the panel."""


def loss_limits(runs: Iterable[OneRun]) -> tuple[float, float] | None:
    """Return the limits of the axis of losses, `None` where none is positive."""
    ends: list[float] = []
    for run in runs:
        loss, step = run.data["loss"].values, run.data["step"].values
        shown = loss[np.isfinite(loss) & (loss > 0) & (step <= run.end)]
        if shown.size:
            ends += [shown.max(), max(shown.min(), ROUNDING * shown[0])]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    margin = (high / low) ** 0.05 if high > low else 2.0
    return low / margin, high * margin


def rounding_from(run: OneRun) -> int | None:
    """Return the first step from which on the loss is rounding, if there is one."""
    loss, step = run.data["loss"].values, run.data["step"].values
    above = np.flatnonzero(np.abs(loss) > ROUNDING * np.abs(loss[0]))
    later = step[above[-1] + 1 :] if above.size else step[:0]
    return int(later[0]) if later.size and np.isfinite(loss[above[-1] + 1]) else None


def sharpness_limits(run: OneRun, measured: Measured) -> tuple[float, float] | None:
    """Return the limits of an axis of sharpnesses: values, bars, the threshold if it is near.

    The bars of what is less accurate than asked for are left out: one that is of no use would
    flatten all the rest. `None` where there is no value.
    """
    near = measured.steps <= run.end
    bars = np.where(measured.hollow | ~np.isfinite(measured.errors), 0.0, measured.errors)
    ends = np.concatenate([measured.values - bars, measured.values + bars])[np.tile(near, 2)]
    ends = ends[np.isfinite(ends)]
    if not ends.size:
        return None
    low, high = float(ends.min()), float(ends.max())
    if is_near(run.threshold, low, high):
        low, high = min(low, run.threshold), max(high, run.threshold)
    # What is constant but for rounding is a straight line.
    margin = max(0.06 * (high - low), _LEAST * abs(high)) or 1.0
    return low - margin, high + margin


def is_near(threshold: float, low: float, high: float) -> bool:
    """Whether a threshold is so near to values between two ends that it is to be seen."""
    distance = max(low - threshold, threshold - high, 0.0)
    return bool(np.isfinite(distance)) and distance <= max(
        1.2 * (high - low), _NEAR * abs(threshold)
    )


def make_room(axes: Axes, lines: int) -> None:
    """Raise the upper limit of a linear axis for some lines of notes."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + _NOTE * lines * (high - low))


def span_steps(columns: NDArray[Any], runs: Sequence[OneRun], log_steps: bool | None) -> None:
    """Choose the axis of steps: logarithmic (but for step 0) if asked for, or if all is early.

    `columns` are panels, of shape `(..., len(runs))`.
    """
    is_log = happens_early(runs) if log_steps is None else log_steps
    for run, column in zip(runs, columns.T, strict=True):
        last = _last_step(run)
        for axes in column.ravel():
            if is_log:
                axes.set_xscale("symlog", linthresh=1, linscale=0.4)
                axes.set_xlim(-0.3, 1.2 * last)
            else:
                axes.set_xlim(-0.02 * last, 1.02 * last)


def _last_step(run: OneRun) -> float:
    axes = [str(axis) for axis in run.data.dims if str(axis).endswith("step")]
    return max(float(run.data[axis][-1]) for axis in axes)


def happens_early(runs: Sequence[OneRun]) -> bool:
    """Whether most of what happens in all runs happens in the first tenth of their steps."""
    return all(
        _most_by(*curve) <= _EARLY * _last_step(run) for run in runs for curve in _curves(run)
    )


def _curves(run: OneRun) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield steps and values of what a figure is about: flows, or else the loss."""
    flows = flows_of(run.data)
    for name in flows:
        measured = run.read(name)
        known = np.isfinite(measured.values) & (measured.steps <= run.end)
        yield measured.steps[known], measured.values[known]
    if not flows and "loss" in run.data:
        loss, step = run.data["loss"].values, run.data["step"].values
        known = np.isfinite(loss) & (loss > 0) & (step <= run.end)
        yield step[known], np.log(np.maximum(loss[known], ROUNDING * loss[:1]))


def _most_by(steps: NDArray[np.int64], values: NDArray[np.float64]) -> float:
    """Return the step by which a curve has come most of the way to its end, for good."""
    if values.size < 2:
        return 0.0
    way = np.abs(values - values[-1])
    far = np.flatnonzero(way > (1 - _MOST) * way.max())
    return float(steps[far[-1]]) if far.size else 0.0
