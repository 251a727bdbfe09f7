"""Figures of several results, a run of each: all quantities side by side, or an overview."""

from collections.abc import Mapping
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from thalweg.basics.run_axis import as_runs
from thalweg.figures.grid import LABELS, beside
from thalweg.figures.layout import Layout
from thalweg.figures.limits import make_room, sharpness_limits, span_steps
from thalweg.figures.measured import OneRun, flow_labels, flows_of, runs_of
from thalweg.figures.panels import Handles, draw_flows
from thalweg.figures.style import COLOURS, STEPS, Figure, style

_PANEL, _HEIGHT, _MOST_ABREAST = 2.5, 1.5, 4  # inches, inches, panels
_PALE = "0.72"


def side_by_side(datasets: Mapping[str, xr.Dataset], layout: Layout | None = None) -> Figure:
    """Draw a column for each of several results, as of several architectures.

    Of each it is the run with the largest step size of those that do not diverge; others are chosen
    by `dataset.isel(run=[...])`. Sharpnesses are in units of the thresholds `2/step_size`. There is
    a row for whatever one of them has measured; in the others it says that they have not.

    Parameters
    ----------
    datasets
        Results as `plot_run` takes them, by the names of their columns.
    layout
        Width, title, axis of steps.

    Raises
    ------
    ValueError
        If there are none, or nothing in one of them can be drawn.
    """
    layout, runs = layout or Layout(), _runs(datasets)
    width = layout.width or LABELS + _PANEL * len(runs)
    return beside(runs, layout, width, "", sharex="col")


def overview(datasets: Mapping[str, xr.Dataset], layout: Layout | None = None) -> Figure:
    """Draw a panel for each of several results: sharpness and GFS sharpness of one run.

    Parameters and the choice of runs as in `side_by_side`.
    """
    layout, runs = layout or Layout(), _runs(datasets)
    rows = -(-len(runs) // _MOST_ABREAST)
    columns = -(-len(runs) // rows)
    width = layout.width or LABELS + _PANEL * columns
    with mpl.rc_context(style((width - LABELS) / columns)):
        figure = Figure(figsize=(width, 1), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False)
        handles: Handles = {}
        for axes in grid.ravel()[len(runs) :]:
            axes.remove()
        for axes, run in zip(grid.ravel(), runs, strict=False):
            handles |= _draw_both(axes, run)
            axes.set_title(run.label, fontsize="medium")
            axes.set_xlabel("step $t$" if columns > 1 else STEPS)
            span_steps(np.array([[axes]]), [run], layout.log_steps)
        for axes in grid[:, 0]:
            axes.set_ylabel("in units of $2/\\eta$")
        return layout.finish(figure, "", handles, (_HEIGHT + 0.75) * rows)


def _runs(datasets: Mapping[str, xr.Dataset]) -> list[OneRun]:
    """Return the run of each that is drawn, in units of its threshold, called by its name."""
    if not datasets:
        raise ValueError("there is nothing to draw: give the results of one run or more")
    found = []
    for name, dataset in ((name, as_runs(one)) for name, one in datasets.items()):
        if "loss" not in dataset or "run" not in dataset.dims:
            raise ValueError(f"{name} has no runs with a loss: nothing to draw beside others")
        runs = runs_of(dataset)
        staying = [run for run in runs if not np.isfinite(run.end)] or runs
        chosen = max(staying, key=lambda run: float(run.data["step_size"]))
        label = f"{name}\n{chosen.label}"
        found.append(replace(chosen.in_thresholds(), label=label))
    return found


def _draw_both(axes: Axes, run: OneRun) -> Handles:
    """Draw the sharpness in grey, and what flows have of it on top."""
    handles: Handles = {}
    limits = []
    if "sharpness" in run.data:
        measured = run.read("sharpness")
        axes.plot(measured.steps, measured.values, color=_PALE, linewidth=0.7, zorder=1)
        limits = [sharpness_limits(run, measured)]
        handles["sharpness $\\eta\\lambda/2$"] = Line2D([], [], color=_PALE)
    for name in flows_of(run.data)[:1]:
        words, symbol = flow_labels(run.data, name)
        label = f"{words} $\\eta {symbol}/2$" if symbol else words
        handles[label] = Line2D([], [], color=COLOURS[0])
        handles |= draw_flows(axes, run, name)
        limits.append(sharpness_limits(run, run.read(name)))
    known = [ends for ends in limits if ends is not None]
    if known:
        low, high = min(ends[0] for ends in known), max(ends[1] for ends in known)
        axes.set_ylim(low, max(high, 1.05))
        make_room(axes, sum(text.get_text().count("\n") + 1 for text in axes.texts))
    return handles
