"""One quantity along one run, drawn into one panel.

Each function returns what the legend is to explain: artists by their texts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator
from numpy.typing import NDArray

from thalweg.figures.limits import ROUNDING, make_room, rounding_from, sharpness_limits
from thalweg.figures.marks import draw_rise
from thalweg.figures.measured import Measured, OneRun, flow_labels, isolated
from thalweg.figures.style import COLOURS, DASHES

Handles = dict[str, Artist]

THRESHOLD = "stability threshold"
OF_GRADIENT_DESCENT = f"{THRESHOLD} $2/\\eta$ ($\\eta$: step size)"
_COLOUR = COLOURS[0]
# Above this many points a line is drawn thin, and points lose their markers and caps.
_MANY_ON_A_LINE, _MANY_MARKERS = 150, 60
_SIZE = 3.5
_HOLLOW: dict[str, Any] = {
    "color": _COLOUR, "marker": "o", "markersize": _SIZE, "markerfacecolor": "white",
}  # fmt: skip
# How a measurement can fail, and the mark of it at the axis.
_FAILURES = {
    "budget exhausted": "x", "saddle": "+", "no minimiser found": "^", "non finite": "*",
    "stopped": "s", "level not reached": "v", "unbounded": ">", "non finite hessian": "d",
    "too slow": "<",
}  # fmt: skip


def draw_loss(axes: Axes, run: OneRun) -> Handles:
    """Draw the loss on a logarithmic axis, where losses that are not positive have no place."""
    loss, steps = run.data["loss"].values, run.data["step"].values
    positive = np.isfinite(loss) & (loss > 0)
    _draw_line(axes, steps[positive], loss[positive])
    if np.any(positive):  # a logarithmic axis without a positive value is a warning
        axes.set_yscale("log")
    if np.isfinite(run.end):
        _note(axes, [f"diverges after $t$ = {run.end:.0f}"])
    elif (after := rounding_from(run)) is not None:
        notes = ["rounding (below 16 $\\epsilon L(w_0)$)", f"from $t$ = {after} on"]
        _note(axes, notes, below=_falls_late(axes, steps, loss))
    return {}


def _falls_late(axes: Axes, steps: NDArray[Any], loss: NDArray[np.float64]) -> bool:
    """Whether a loss that becomes rounding is above half of the axis in the middle of the other."""
    middle = (axes.transAxes + axes.transData.inverted()).transform((0.5, 0.5))[0]
    return bool(loss[np.searchsorted(steps, middle)] > ROUNDING**0.5 * loss[0])


def draw_sharpness(axes: Axes, run: OneRun) -> Handles:
    """Draw the sharpness, with its threshold on top."""
    measured = run.read("sharpness")
    _draw_line(axes, measured.steps, measured.values)
    notes, handles = _draw_threshold(axes, run, measured, zorder=3)
    _note(axes, notes)
    return handles | _draw_failures(axes, measured)


def draw_flows(axes: Axes, run: OneRun, name: str) -> Handles:
    """Draw a sharpness of flows: points, error bars, a band, and its largest rise."""
    measured, label = run.read(name), flow_labels(run.data, name)
    axes.plot(measured.steps, measured.values, color=_COLOUR, linewidth=1.0, zorder=3)
    handles = _draw_points(axes, measured, label.short)
    # Beneath the points: whether they are above or below it is what the panel is about.
    notes, of_threshold = _draw_threshold(axes, run, measured, zorder=1.5)
    rises, of_rise = draw_rise(axes, run, name, label.short)
    _note(axes, notes + rises)
    return of_threshold | handles | of_rise | _draw_failures(axes, measured)


def draw_errors(axes: Axes, run: OneRun, name: str) -> Handles:
    """Draw the error bars relative to the values, on a logarithmic axis."""
    measured = run.read(name)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = measured.errors / np.abs(measured.values)
    known = np.isfinite(relative) & (relative > 0)
    few = known.sum() <= _MANY_MARKERS
    axes.plot(
        measured.steps[known], relative[known], color=_COLOUR, linewidth=0.8,
        marker="o" if few else "", markersize=2,
    )  # fmt: skip
    hollow = known & measured.hollow
    axes.plot(measured.steps[hollow], relative[hollow], linestyle="", **_HOLLOW)
    if np.any(known):
        axes.set_yscale("log")
        ends = np.log10([relative[known].min(), relative[known].max()])
        axes.set_ylim(10 ** np.floor(ends[0] - 0.1), 10 ** np.ceil(ends[1] + 0.1))
        axes.yaxis.set_major_locator(LogLocator(numticks=3))
        axes.yaxis.set_minor_locator(NullLocator())
    return {}


def draw_nothing(axes: Axes, run: OneRun) -> Handles:
    """Say of a panel that the run has nothing for it."""
    axes.set_yticks([])
    _note(axes, ["not measured"])
    return {}


def _draw_points(axes: Axes, measured: Measured, symbol: str) -> Handles:
    """Draw points with their error bars, and the band of those that are as accurate as asked."""
    steps, values, hollow = measured.steps, measured.values, measured.hollow
    few = np.isfinite(values).sum() <= _MANY_MARKERS or bool(np.any(isolated(values)))
    # Bars that are not finite are left out; the point is hollow then.
    bars = np.where(np.isfinite(measured.errors), measured.errors, np.nan)
    band = np.where(hollow, np.nan, bars)
    axes.fill_between(steps, values - band, values + band, color=_COLOUR, alpha=0.25, linewidth=0)
    for chosen, face in ((~hollow, _COLOUR), (hollow, "white")):
        marked = chosen & np.isfinite(values)
        axes.errorbar(
            steps[marked],
            values[marked],
            yerr=bars[marked],
            fmt="o",
            markersize=_SIZE if few else (0 if face == _COLOUR else 3),
            markerfacecolor=face,
            color=_COLOUR,
            elinewidth=0.8,
            capsize=2.5 if few else 0,
            zorder=4,
        )
    if not np.any(hollow):
        return {}
    text = f"{symbol} not as accurate as asked, or error unknown"
    return {text: Line2D([], [], linestyle="", **_HOLLOW)}


def bars_handle(runs: Sequence[OneRun], name: str) -> Handles:
    """Return the entry of error bars; with a bound on them, as their band may be too thin."""
    largest = 0.0
    for run in runs:
        measured = run.read(name)
        solid = np.isfinite(measured.values) & ~measured.hollow
        sizes = np.maximum(np.abs(measured.values[solid]), np.finfo(float).tiny)
        largest = max(largest, float(np.max(measured.errors[solid] / sizes, initial=0.0)))
    if not largest > 0:
        return {}
    symbol = flow_labels(runs[0].data, name).short
    text = f"error bar of {symbol} (relative $\\leq$ {_rounded_up(largest)})"
    return {text: Patch(facecolor=_COLOUR, alpha=0.25)}


def _rounded_up(value: float) -> str:
    r"""Write a bound with one digit, rounded up so that it stays a bound.

    >>> print(_rounded_up(2.3e-5))
    $3\times10^{-5}$
    """
    exponent = int(np.floor(np.log10(value)))
    # The tolerance keeps a value of one digit (2e-5) from being rounded up by a rounding error.
    digit = int(np.ceil(value / 10.0**exponent * (1 - 1e-12)))
    if digit == 10:
        digit, exponent = 1, exponent + 1
    return rf"${digit}\times10^{{{exponent}}}$"


def _draw_line(axes: Axes, steps: NDArray[Any], values: NDArray[np.float64]) -> None:
    width = 0.7 if len(steps) > _MANY_ON_A_LINE else 1.2
    dots: dict[str, Any] = {}
    if np.any(single := isolated(values)):  # which no line shows
        dots = {"marker": "o", "markersize": _SIZE, "markevery": single.tolist()}
    axes.plot(steps, values, color=_COLOUR, linewidth=width, **dots)


def _draw_threshold(
    axes: Axes, run: OneRun, measured: Measured, *, zorder: float
) -> tuple[list[str], Handles]:
    """Set the limits, and draw the threshold within them, or note that it is beyond."""
    limits = sharpness_limits(run, measured)
    if limits is None:
        axes.set_yticks([])
        return ["no value"], {}
    axes.set_ylim(limits)
    if not np.isfinite(threshold := run.threshold):
        return [], {}
    if limits[0] <= threshold <= limits[1]:
        line: Any = {"color": "black", "linestyle": DASHES, "linewidth": 1.0}
        axes.axhline(threshold, zorder=zorder, **line)
        label = OF_GRADIENT_DESCENT if run.is_plain else THRESHOLD
        return [], {label: Line2D([], [], **line)}
    arrow = "above" if threshold > limits[1] else "below"
    return [f"{run.threshold_name} = {threshold * run.unit:.4g} is {arrow}"], {}


def _draw_failures(axes: Axes, measured: Measured) -> Handles:
    """Mark at the axis where a measurement failed, and why."""
    handles: Handles = {}
    for why in sorted(set(measured.failed.tolist()) - {""}):
        mark: dict[str, Any] = {
            "marker": _FAILURES.get(why, "x"), "markersize": 5, "markeredgewidth": 1.1,
            "markerfacecolor": "none", "color": COLOURS[1], "linestyle": "",
        }  # fmt: skip
        steps = measured.steps[measured.failed == why]
        where = axes.get_xaxis_transform()
        axes.plot(steps, np.zeros(steps.size), transform=where, clip_on=False, zorder=5, **mark)
        handles[f"no value: {why}"] = Line2D([], [], **mark)
    return handles


def _note(axes: Axes, lines: list[str], *, below: bool = False) -> None:
    """Write some lines into the upper right corner of a panel, or into the lower left one."""
    if not lines:
        return
    if axes.get_yscale() == "linear":
        make_room(axes, len(lines))
    place, ends = ((0.02, 0.04), ("left", "bottom")) if below else ((0.99, 0.99), ("right", "top"))
    axes.annotate(
        "\n".join(lines), place, xycoords="axes fraction", ha=ends[0], va=ends[1], fontsize="small",
    )  # fmt: skip
