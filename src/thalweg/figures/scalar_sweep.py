"""The figure of a sweep: where runs of gradient descent ended, by step size."""

from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from thalweg.figures.style import DASHES, STYLE, edges, letter

# Stable minima in blues and greens, the rest in warm colours and greys.
_OUTCOMES = {
    "monotone": "#56B4E9",
    "flatter": "#009E73",
    "edge of stability": "#0072B2",
    "unfinished": "0.85",
    "period 2": "#F0E442",
    "irregular": "#E69F00",
    "left orthant": "#CC79A7",
    "diverged": "#D55E00",
}

_LABELS = ("final sharpness × $\\eta$", "share of runs", "share of the\nsteps compared")
_GFS_STEPS: dict[str, tuple[str, str, Any]] = {
    "falls": ("$\\varphi$ fell", "#0072B2", "-"),
    "undecided": ("$\\varphi$ could not be told", "0.5", (0, (2, 1))),
    "rises": ("$\\varphi$ rose", "#D55E00", "-"),
}


def plot_scalar_sweep(dataset: xr.Dataset) -> Figure:
    """Draw final sharpness and shares of outcomes against the step size, a column for each depth.

    From results of `scalar-sweep`: `density(run, scaled_sharpness)`,
    `outcome_count(run, outcome_name)`, `falls`, `rises`, `undecided` on `(run, start)`, and the
    coordinates `step_size(run)`, `depth(run)`, `largest_stable(run)`.
    """
    depths = np.unique(dataset["depth"].values)
    compared = sum(int(dataset[name].sum()) for name in ("falls", "rises", "undecided"))
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(1.2 + 2.6 * len(depths), 6.6 if compared else 5.0), layout="constrained"
        )
        grid = figure.subplots(
            3 if compared else 2, len(depths), sharey="row", squeeze=False,
            height_ratios=(2, 1.5, 1)[: 3 if compared else 2],
        )  # fmt: skip
        norm = LogNorm(1, max(float(dataset["density"].max()), 2.0))
        for column, depth in zip(grid.T, depths, strict=True):
            part = dataset.isel(run=dataset["depth"].values == depth)
            image = _draw_density(column[0], part, norm)
            _draw_outcomes(column[1], part)
            if compared:
                _draw_gfs_steps(column[2], part)
            column[0].set_title(f"depth {depth}")
            column[-1].set_xlabel("step size $\\eta$")
            for axes in column:
                axes.set_xlim(*edges(part["step_size"].values)[[0, -1]])
                axes.axvline(
                    float(part["largest_stable"][0]), color="black", linewidth=0.8, linestyle=":"
                )
        if compared:
            grid[2, 0].set_ylim(top=2)  # shared by the row
        figure.colorbar(image, ax=list(grid[0]), label="runs", pad=0.01)
        letter(grid[:, 0])
        for axes, label in zip(grid[:, 0], _LABELS, strict=False):
            axes.set_ylabel(label)
        present = set(
            dataset["outcome_name"].values[dataset["outcome_count"].sum("run").values > 0]
        )
        handles: list[Artist] = [
            Patch(facecolor=colour, label=name)
            for name, colour in _OUTCOMES.items()
            if name in present
        ]
        if compared:
            handles += [
                Line2D([], [], color=colour, linestyle=line, marker=".", label=label)
                for label, colour, line in _GFS_STEPS.values()
            ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        figure.align_ylabels(list(grid[:, 0]))
        figure.suptitle(str(dataset.attrs["experiment"]), fontsize=10)
    return figure


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
    axes.axhline(2, color="black", linestyle=DASHES, linewidth=1.0, zorder=0)
    axes.set_ylim(0, 2.2)
    return image


def _draw_outcomes(axes: Axes, part: xr.Dataset) -> None:
    counts = dict(zip(part["outcome_name"].values, part["outcome_count"].values.T, strict=True))
    total = part["outcome_count"].values.sum(axis=1)
    axes.stackplot(
        part["step_size"].values,
        *(counts[name] / total for name in _OUTCOMES),
        colors=list(_OUTCOMES.values()),
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
