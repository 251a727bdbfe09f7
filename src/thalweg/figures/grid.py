"""Quantities of several runs in a grid of panels: runs side by side, or one below the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from thalweg.figures.layout import Layout
from thalweg.figures.limits import loss_limits, sharpness_limits, span_steps
from thalweg.figures.marks import draw_marks
from thalweg.figures.measured import (
    OneRun,
    flow_labels,
    flows_of,
    measuring,
    short_step_label,
    step_label,
    variable_of,
)
from thalweg.figures.panels import (
    Handles,
    bars_handle,
    draw_errors,
    draw_flows,
    draw_loss,
    draw_nothing,
    draw_sharpness,
)
from thalweg.figures.style import Figure, letter, style

LABELS = 0.6
"""Inches left of panels, for the labels of their axes."""

_LINE_WIDTH = 0.014  # inches
_ERRORS = 0.55  # height of a panel of error bars, in others


@dataclass(frozen=True)
class Panel:
    """A quantity: its variable, in words, as the label of an axis, how it is drawn, how high."""

    variable: str
    words: str
    label: str
    draw: Callable[[Axes, OneRun], Handles]
    height: float = 1.0

    @property
    def headline(self) -> str:
        """All that it is called."""
        return self.words if self.label == self.words else f"{self.words} {self.label}"


def beside(
    runs: Sequence[OneRun], layout: Layout, width: float, title: str, **shared: Any
) -> Figure:
    """Draw a column for each run; `shared` says which axes they share, as matplotlib's does."""
    panel_width = (width - LABELS) / len(runs)
    height = float(np.clip(0.55 * panel_width, 1.15, 1.65))
    with mpl.rc_context(style(panel_width)):
        panels = panels_of(runs, height)
        figure = Figure(figsize=(width, 1), layout="constrained")
        cells = figure.subplots(
            len(panels), len(runs), squeeze=False, **shared,
            height_ratios=[panel.height for panel in panels],
        )  # fmt: skip
        handles = _fill(cells, runs, panels, layout)
        for axes, run in zip(cells[0], runs, strict=True):
            axes.set_title(f"{_headline(run, panel_width)}\n")  # above that of the first panel
        letter(cells[:, 0], [panel.words for panel in panels])
        for axes, panel in zip(cells[:, 0], panels, strict=True):
            axes.set_ylabel(panel.label)
        for axes in cells[-1]:
            axes.set_xlabel((step_label if panel_width > 2 else short_step_label)(runs[0].data))
        figure.align_ylabels(list(cells[:, 0]))
        total = sum(panel.height * height + 0.3 for panel in panels)
        return layout.finish(figure, title, handles, total + 0.5)


def beneath(runs: Sequence[OneRun], layout: Layout, width: float, title: str) -> Figure:
    """Draw a row for each run, with as many quantities as there is room for, the last ones."""
    height = float(np.clip(9 / len(runs), 0.6, 1.2))
    with mpl.rc_context(style(width / 4)):
        panels = panels_of(runs, None)[-max(1, int(width / 1.9)) :]
        figure = Figure(figsize=(width, 1), layout="constrained")
        cells = figure.subplots(len(runs), len(panels), squeeze=False, sharex=True).T
        handles = _fill(cells, runs, panels, layout)
        letter(cells[:, 0], [panel.headline for panel in panels])
        for axes, run in zip(cells[0], runs, strict=True):
            axes.set_ylabel(run.label)
        for axes in cells[:, -1]:
            axes.set_xlabel((short_step_label if len(panels) > 1 else step_label)(runs[0].data))
        figure.align_ylabels(list(cells[0]))
        return layout.finish(figure, title, handles, len(runs) * (height + 0.1) + 0.5)


def panels_of(runs: Sequence[OneRun], height: float | None) -> list[Panel]:
    """Return the panels of what was measured along any of the runs.

    Where error bars are thinner than the line, in panels of a height in inches, they have their
    own; without a height they have none.
    """

    def label(symbol: str) -> str:
        scaled = f"$\\eta {symbol}/2$" if runs[0].is_plain else f"${symbol}$ / threshold"
        return scaled if runs[0].unit != 1 else f"${symbol}(w_t)$"

    found = []
    if measuring(runs, "loss"):
        found.append(Panel("loss", "loss", "$L(w_t)$", draw_loss))
    if measuring(runs, "sharpness"):
        found.append(Panel("sharpness", "sharpness", label("\\lambda"), draw_sharpness))
    for name in _flows_of(runs):
        variable = variable_of(name)
        those = measuring(runs, variable)
        words, symbol = flow_labels(those[0].data, name)
        draw = partial(draw_flows, name=name)
        found.append(Panel(variable, words, label(symbol) if symbol else words, draw))
        if height is not None and any(_is_thin(run, name, height) for run in those):
            draw = partial(draw_errors, name=name)
            short = f"${symbol}$" if symbol else "it"
            found.append(Panel(variable, f"error bar of {short}", "relative", draw, _ERRORS))
    return found


def _flows_of(runs: Sequence[OneRun]) -> list[str]:
    return sorted({name for run in runs for name in flows_of(run.data)})


def _fill(
    cells: NDArray[Any], runs: Sequence[OneRun], panels: Sequence[Panel], layout: Layout
) -> Handles:
    """Draw all panels, `cells[panel, run]`; return what the legend is to explain."""
    handles: Handles = {}
    span_steps(cells, runs, layout.log_steps)  # first: notes are put where curves are not
    for panel, row in zip(panels, cells, strict=True):
        for axes, run in zip(row, runs, strict=True):
            draw = panel.draw if panel.variable in run.data else draw_nothing
            handles |= draw(axes, run)
            if panel.draw is draw_loss and (limits := loss_limits(runs)) is not None:
                axes.set_ylim(limits)
                axes.label_outer()
    for run, column in zip(runs, cells.T, strict=True):
        handles |= draw_marks(list(column), run)
    if not any(panel.height == _ERRORS for panel in panels):
        for name in _flows_of(runs):
            handles |= bars_handle(measuring(runs, variable_of(name)), name)
    return handles


def _is_thin(run: OneRun, name: str, height: float) -> bool:
    """Whether half of the error bars, or more, are thinner than the line in a panel of a height."""
    measured = run.read(name)
    limits = sharpness_limits(run, measured)
    bars = measured.errors[np.isfinite(measured.errors) & (measured.errors > 0)]
    if limits is None or not bars.size:
        return False
    return float(np.median(2 * bars)) * height < _LINE_WIDTH * (limits[1] - limits[0])


def _headline(run: OneRun, width: float) -> str:
    """Return how a run is called, with its threshold, in as many lines as it needs."""
    threshold = run.threshold * run.unit
    if not np.isfinite(threshold):
        return run.label
    gap = ", " if width > 1.9 else "\n"
    return f"{run.label}{gap}{run.threshold_name} = {threshold:.4g}"
