"""The figure of a run: loss, sharpness and gradient flow solution (GFS) sharpness by step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from thalweg.figures.marks import draw_marks, draw_rise
from thalweg.figures.measured import (
    Measured,
    draw_failures,
    failure_handles,
    flow_labels,
    flows_of,
    isolated,
    read,
    variable_of,
)
from thalweg.figures.style import COLOURS, DASHES, GREY, STYLE, letter

_WIDTH, _PANEL_HEIGHT, _TITLE_HEIGHT, _LEGEND_ROW = 6.4, 2.0, 0.4, 0.17  # inches
_Draw = Callable[[Axes, xr.Dataset, "list[_Style]"], None]
_LEGEND_COLUMNS = 2  # three of the longest entries are wider than the figure
_GREY_OF_MARKS = "0.2"
# Above this many points a line is drawn thin, and points lose their markers and caps.
_MANY_ON_A_LINE, _MANY_MARKERS = 300, 60


class _Style(NamedTuple):
    """How one run is drawn and called."""

    colour: Any
    label: str


def plot_run(dataset: xr.Dataset) -> Figure:
    """Draw loss, sharpness and GFS sharpness along one or several runs.

    Panels share the axis of steps. Loss is on a logarithmic axis, where losses that are not
    positive have no place. The dashed lines are the stability thresholds `2/step_size`, where
    known. GFS sharpness carries its error bars and a band; hollow points are those that are less
    accurate than asked for, or whose error is not known; they have no part in the band, and their
    bars may be cut by the frame. Where a flow or an eigensolver failed there is no point, whatever
    number is stored: the line is broken, and a cross stands at the axis. Rings are around the two
    points between which a GFS sharpness rises most, and from the dotted line on it rises nowhere.

    Parameters
    ----------
    dataset
        Results as stored (`result.nc`): `loss(run, step)`, and optionally
        `sharpness(run, sharpness_step)`, and `gfs_sharpness`, `gfs_sharpness_error`, `gfs_status`
        on `(run, gfs_step)`, `gfs_rise_step(run, rise_end)`, `gfs_decreasing_from(run)`, and
        likewise those of any other measurement of flows, such as `truncated_sharpness` on
        `(run, truncated_step)`, called as its attributes `label` and `symbol` say; coordinates
        `step_size(run)` and `threshold(run)`. A quantity
        that is absent has no panel. `mark_run`, `mark_step`, `mark_label` on `(mark)`, if there
        are any: steps to be pointed out, as numbered vertical lines.

    Returns
    -------
    matplotlib.figure.Figure
        A figure without a pyplot window: `savefig` it, or show it in a notebook.

    Raises
    ------
    ValueError
        If none of these quantities is in the dataset.
    """
    draws: dict[str, _Draw] = {"loss": _draw_loss, "sharpness": _draw_sharpness}
    flows = flows_of(dataset)
    draws |= {variable_of(name): partial(_draw_flows, name) for name in flows}
    panels = [name for name in draws if name in dataset]
    if not panels:
        raise ValueError(f"the dataset has none of {', '.join(draws)}: nothing to draw")
    with mpl.rc_context(STYLE):
        figure = Figure(layout="constrained")
        grid = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        styles = _styles(dataset)
        for name, axes in zip(panels, grid, strict=True):
            draws[name](axes, dataset, styles)
            axes.margins(x=0.02)
        letter(grid)
        one = len(styles) == 1
        colours = [_GREY_OF_MARKS if one else _darker(style.colour) for style in styles]
        marks = draw_marks(list(grid), dataset, colours)
        for name in flows:
            axes, symbol = grid[panels.index(variable_of(name))], flow_labels(dataset, name).symbol
            for run, colour in enumerate(colours):
                marks += draw_rise(axes, dataset, name, run, colour, symbol)
        grid[-1].set_xlabel("gradient descent step $t$")
        figure.align_ylabels(list(grid))
        if title := dataset.attrs.get("experiment"):
            figure.suptitle(str(title), fontsize=10)
        handles = _legend_handles(dataset, styles, panels) + marks
        figure.legend(handles=handles, loc="outside lower center", ncols=_LEGEND_COLUMNS)
        # Panels keep their height however many entries the legend has.
        rows = -(-len(handles) // _LEGEND_COLUMNS)
        height = _PANEL_HEIGHT * len(panels) + _TITLE_HEIGHT + _LEGEND_ROW * rows
        figure.set_size_inches(_WIDTH, height)
    return figure


def _styles(dataset: xr.Dataset) -> list[_Style]:
    """One colour and one name per run; runs of the same step size are told apart by number."""
    sizes = [f"{size:.6g}" for size in np.atleast_1d(dataset["step_size"].values)]
    labels = [
        f"step size $\\eta$ = {size}" + (f", run {index}" if sizes.count(size) > 1 else "")
        for index, size in enumerate(sizes)
    ]
    if len(sizes) <= len(COLOURS):
        colours: Any = COLOURS[: len(sizes)]
    else:
        # The upper end of viridis is too pale on white.
        colours = mpl.colormaps["viridis"](np.linspace(0.0, 0.85, len(sizes)))
    return [_Style(colour, label) for colour, label in zip(colours, labels, strict=True)]


def _draw_loss(axes: Axes, dataset: xr.Dataset, styles: list[_Style]) -> None:
    drawn = False
    for run, style in enumerate(styles):
        loss = dataset["loss"].isel(run=run).values
        positive = np.isfinite(loss) & (loss > 0)
        drawn |= bool(np.any(positive))
        _draw_line(axes, dataset["step"].values[positive], loss[positive], style)
    if drawn:  # a logarithmic axis without a positive value is a warning
        axes.set_yscale("log")
    axes.set_ylabel("loss $L(w_t)$")


def _draw_sharpness(axes: Axes, dataset: xr.Dataset, styles: list[_Style]) -> None:
    for run, style in enumerate(styles):
        measured = read(dataset, "sharpness", run)
        _draw_line(axes, measured.steps, measured.values, style)
        draw_failures(axes, measured, run, style.colour)
        _draw_threshold(axes, dataset, run, style, zorder=3)
    axes.set_ylabel("sharpness $\\lambda(w_t)$")


def _draw_flows(name: str, axes: Axes, dataset: xr.Dataset, styles: list[_Style]) -> None:
    for run, style in enumerate(styles):
        measured = read(dataset, name, run)
        axes.plot(measured.steps, measured.values, color=style.colour, linewidth=1.0, zorder=3)
        _draw_points(axes, measured, style)
        draw_failures(axes, measured, run, style.colour)
        # Beneath the points: whether they are above or below it is what the panel is about.
        _draw_threshold(axes, dataset, run, style, zorder=1.5)
    _fit_axis(axes, dataset, name, styles)
    axes.set_ylabel(flow_labels(dataset, name).axis)


def _draw_points(axes: Axes, measured: Measured, style: _Style) -> None:
    """Draw points with their error bars, and the band of those that are as accurate as asked."""
    steps, values, hollow = measured.steps, measured.values, measured.hollow
    few = np.isfinite(values).sum() <= _MANY_MARKERS or bool(np.any(isolated(values)))
    # Bars that are not finite are left out; the point is hollow then.
    bars = np.where(np.isfinite(measured.errors), measured.errors, np.nan)
    band = np.where(hollow, np.nan, bars)
    axes.fill_between(
        steps, values - band, values + band, color=style.colour, alpha=0.25, linewidth=0
    )
    for chosen, face in ((~hollow, style.colour), (hollow, "white")):
        marked = chosen & np.isfinite(values)
        axes.errorbar(
            steps[marked],
            values[marked],
            yerr=bars[marked],
            fmt="o",
            markersize=3.5 if few else (0 if face == style.colour else 3),
            markerfacecolor=face,
            color=style.colour,
            elinewidth=0.8,
            capsize=2.5 if few else 0,
            zorder=4,
        )


def _fit_axis(axes: Axes, dataset: xr.Dataset, name: str, styles: list[_Style]) -> None:
    """Choose the vertical range: all values, thresholds, and the bars of what has converged.

    The bars of what has not are cut at the frame: one useless bar would flatten all the rest.
    """
    wanted: list[NDArray[np.float64]] = [_thresholds(dataset)]
    for run in range(len(styles)):
        measured = read(dataset, name, run)
        shown = np.where(measured.hollow, 0.0, measured.errors)
        wanted += [measured.values - shown, measured.values + shown]
    ends = np.concatenate(wanted)
    ends = ends[np.isfinite(ends)]
    if len(ends) == 0:
        return
    low, high = float(ends.min()), float(ends.max())
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes.set_ylim(low - margin, high + margin)


def _draw_line(axes: Axes, steps: NDArray[Any], values: NDArray[np.float64], style: _Style) -> None:
    width = 0.7 if len(steps) > _MANY_ON_A_LINE else 1.2
    dots: dict[str, Any] = {}
    if np.any(single := isolated(values)):  # which no line shows
        dots = {"marker": "o", "markersize": 3.5, "markevery": single.tolist()}
    axes.plot(steps, values, color=style.colour, linewidth=width, **dots)


def _draw_threshold(
    axes: Axes, dataset: xr.Dataset, run: int, style: _Style, *, zorder: float
) -> None:
    threshold = _thresholds(dataset)[run]
    if np.isfinite(threshold):
        # Darker than its run: at the edge of stability the curve lies on its own threshold.
        colour = _darker(style.colour) if dataset.sizes["run"] > 1 else "black"
        axes.axhline(threshold, color=colour, linestyle=DASHES, linewidth=1.0, zorder=zorder)


def _darker(colour: Any) -> tuple[float, float, float]:
    red, green, blue = to_rgb(colour)
    return 0.55 * red, 0.55 * green, 0.55 * blue


def _legend_handles(dataset: xr.Dataset, styles: list[_Style], panels: list[str]) -> list[Artist]:
    one = len(styles) == 1
    handles: list[Artist] = [
        Line2D([], [], color=style.colour, linewidth=1.6, label=style.label) for style in styles
    ]
    if set(panels) != {"loss"} and np.any(np.isfinite(_thresholds(dataset))):
        colour = "black" if one else GREY
        handles.append(
            Line2D([], [], color=colour, linestyle=DASHES, label="stability threshold $2/\\eta$")
        )
    for name in flows_of(dataset):
        handles += _flow_handles(dataset, name, styles)
    names = [name for name in ("sharpness", *flows_of(dataset)) if variable_of(name) in panels]
    return handles + failure_handles(dataset, names, len(styles), styles[0].colour if one else GREY)


def _flow_handles(dataset: xr.Dataset, name: str, styles: list[_Style]) -> list[Artist]:
    """Legend entries of a panel of flows; the error in numbers, as its band may be too thin."""
    colour = styles[0].colour if len(styles) == 1 else GREY
    largest, any_hollow = 0.0, False
    for run in range(len(styles)):
        measured = read(dataset, name, run)
        any_hollow |= bool(np.any(measured.hollow))
        solid = np.isfinite(measured.values) & ~measured.hollow
        sizes = np.maximum(np.abs(measured.values[solid]), np.finfo(float).tiny)
        largest = max(largest, float(np.max(measured.errors[solid] / sizes, initial=0.0)))
    handles: list[Artist] = []
    if largest > 0:
        symbol = flow_labels(dataset, name).symbol
        label = f"error bar of {symbol} (relative $\\leq$ {_rounded_up(largest)})"
        handles.append(Patch(facecolor=colour, alpha=0.25, label=label))
    if any_hollow:
        handles.append(
            Line2D(
                [], [], color=colour, marker="o", markersize=3.5, markerfacecolor="white",
                linestyle="", label="not converged, or error unknown",
            )
        )  # fmt: skip
    return handles


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


def _thresholds(dataset: xr.Dataset) -> NDArray[np.float64]:
    """Return the stability threshold of each run, NaN where none is known."""
    if "threshold" not in dataset:
        return np.full(dataset["step_size"].size, np.nan)
    return np.atleast_1d(dataset["threshold"].values).astype(float)
