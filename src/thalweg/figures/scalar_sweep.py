"""The figure of a sweep: where runs of gradient descent ended, by step size."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from thalweg.figures.layout import Layout, title_of
from thalweg.figures.style import DASHES, Figure, edges, letter, style

# Stable minima in blues and greens, the rest in warm colours and greys; each with what it means.
_OUTCOMES = {
    "monotone": ("#56B4E9", "minimum, loss fell at every step"),
    "flatter": ("#009E73", "minimum, flatter than the edge"),
    "edge of stability": ("#0072B2", "minimum just under $2/\\eta$"),
    "unfinished": ("0.85", "still moving slowly"),
    "period 2": ("#F0E442", "cycle of two points"),
    "irregular": ("#E69F00", "longer period, or chaos"),
    "left orthant": ("#CC79A7", "a parameter changed its sign"),
    "diverged": ("#D55E00", "diverged"),
}

_GFS_STEPS: dict[str, tuple[str, str, Any]] = {
    "falls": ("$\\varphi$ fell", "#0072B2", "-"),
    "undecided": ("$\\varphi$ could not be told", "0.5", (0, (2, 1))),
    "rises": ("$\\varphi$ rose", "#D55E00", "-"),
}
_WORDS = ("where runs end", "how runs end", "the steps of GFS sharpness $\\varphi$")
_LABELS = ("final sharpness × $\\eta$", "share of runs", "share of steps")
_STABLE: Any = {"color": "black", "linewidth": 0.8, "linestyle": ":"}
_THRESHOLD: Any = {"color": "black", "linestyle": DASHES, "linewidth": 1.0}


def plot_scalar_sweep(dataset: xr.Dataset, layout: Layout | None = None) -> Figure:
    """Draw final sharpness and shares of outcomes against the step size, a column for each depth.

    From results of `scalar-sweep`: `density(run, scaled_sharpness)`,
    `outcome_count(run, outcome_name)`, `falls`, `rises`, `undecided` on `(run, start)`, and the
    coordinates `step_size(run)`, `depth(run)`, `largest_stable(run)`.
    """
    layout, depths = layout or Layout(), np.unique(dataset["depth"].values)
    compared = sum(int(dataset[name].sum()) for name in _GFS_STEPS)
    rows = 3 if compared else 2
    width = layout.width or 1.2 + 2.6 * len(depths)
    panel_width = (width - 1.2) / len(depths)
    with mpl.rc_context(style(panel_width)):
        figure = Figure(figsize=(width, 1), layout="constrained")
        grid = figure.subplots(
            rows, len(depths), sharey="row", squeeze=False, height_ratios=(2, 1.5, 1)[:rows]
        )
        norm = LogNorm(1, max(float(dataset["density"].max()), 2.0))
        for column, depth in zip(grid.T, depths, strict=True):
            part = dataset.isel(run=dataset["depth"].values == depth)
            image = _draw_column(column, part, norm)
            column[0].set_title(f"depth {depth}\n")  # above the letter
        if compared:
            grid[2, 0].set_ylim(top=2)  # shared by the row
        figure.colorbar(image, ax=list(grid[0]), label="runs", pad=0.01)
        letter(grid[:, 0], _WORDS)
        for axes, label in zip(grid[:, 0], _LABELS, strict=False):
            axes.set_ylabel(label)
        figure.align_ylabels(list(grid[:, 0]))
        height = (4.6 if compared else 3.5) * min(1.0, max(panel_width / 2.6, 0.5)) + 0.5 * rows
        return layout.finish(figure, title_of(dataset), _handles(dataset, compared), height)


def _draw_column(column: Any, part: xr.Dataset, norm: LogNorm) -> Any:
    """Draw the panels of one depth; return the image whose colours are runs."""
    image = _draw_density(column[0], part, norm)
    _draw_outcomes(column[1], part)
    if len(column) > 2:
        _draw_gfs_steps(column[2], part)
    for axes in column:
        axes.set_xlim(*edges(part["step_size"].values)[[0, -1]])
        axes.axvline(float(part["largest_stable"][0]), **_STABLE)
    column[-1].set_xlabel("step size $\\eta$")
    return image


def _handles(dataset: xr.Dataset, compared: int) -> dict[str, Artist]:
    handles: dict[str, Artist] = {
        "stability threshold: $2/\\eta$": Line2D([], [], **_THRESHOLD),
        "largest $\\eta$ with a stable minimum": Line2D([], [], **_STABLE),
    }
    happened = dataset["outcome_count"].sum("run").values > 0
    present = set(dataset["outcome_name"].values[happened])
    for name, (colour, text) in _OUTCOMES.items():
        if name in present:
            handles[text] = Patch(facecolor=colour)
    if compared:
        for label, colour, line in _GFS_STEPS.values():
            handles[label] = Line2D([], [], color=colour, linestyle=line, marker=".")
    return handles


def _draw_density(axes: Axes, part: xr.Dataset, norm: LogNorm) -> Any:
    counts = np.ma.masked_equal(part["density"].values.T, 0)
    image = axes.pcolormesh(
        edges(part["step_size"].values),
        edges(part["scaled_sharpness"].values),
        counts,
        norm=norm,
        cmap="viridis_r",
        rasterized=True,
    )
    # Beneath: the runs that end just under the threshold are what the panel is about.
    axes.axhline(2, zorder=0, **_THRESHOLD)
    axes.set_ylim(0, 2.2)
    return image


def _draw_outcomes(axes: Axes, part: xr.Dataset) -> None:
    counts = dict(zip(part["outcome_name"].values, part["outcome_count"].values.T, strict=True))
    total = part["outcome_count"].values.sum(axis=1)
    axes.stackplot(
        part["step_size"].values,
        *(counts[name] / total for name in _OUTCOMES),
        colors=[colour for colour, _ in _OUTCOMES.values()],
        linewidth=0,
    )
    axes.set_ylim(0, 1)


def _draw_gfs_steps(axes: Axes, part: xr.Dataset) -> None:
    counts = {name: part[name].values.sum(axis=1) for name in ("falls", "undecided", "rises")}
    total = np.maximum(sum(counts.values()), 1)
    for name, (_, colour, line) in _GFS_STEPS.items():
        share = counts[name] / total
        axes.plot(
            part["step_size"].values, np.where(share > 0, share, np.nan), color=colour,
            linestyle=line, marker=".", markersize=2, linewidth=1.0,
        )  # fmt: skip
    axes.set_yscale("log")
