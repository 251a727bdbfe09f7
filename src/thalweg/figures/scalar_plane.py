"""The plane of a scalar network of depth two, with gradient flow and gradient descent in it."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thalweg.figures.layout import Layout, title_of
from thalweg.figures.style import COLOURS, DASHES, GREY, STEPS, Figure, letter, style

_WIDTH = 6.4


def plot_scalar_plane(dataset: xr.Dataset, layout: Layout | None = None) -> Figure:
    """Draw flow lines, the GFS sharpness as shades, the minima, and paths of descent.

    The GFS sharpness is constant along flow lines: its level lines are flow lines. From results of
    `scalar-plane`: `w(run, step, coordinate)`, `gfs_sharpness(run, gfs_step)`,
    `flow_line(line, side, point, coordinate)`, `plane_gfs_sharpness(plane_y, plane_x)`,
    `minimum(minimum_point, coordinate)` and its `minimum_sharpness`, and the coordinates
    `step_size(run)`, `threshold(run)`.
    """
    layout = layout or Layout()
    width = layout.width or _WIDTH
    with mpl.rc_context(style(width / 2)):
        figure = Figure(figsize=(width, 1), layout="constrained")
        plane, below = figure.subplots(2, height_ratios=(4, 1))
        _draw_plane(figure, plane, dataset)
        handles = _draw_paths(plane, below, dataset)
        size = float(dataset["plane_axis"].max())
        plane.set(xlim=(0, size), ylim=(0, size), aspect="equal")
        plane.set(xlabel="$w_1$", ylabel="$w_2$")
        below.set(xlabel=STEPS, ylabel="$\\varphi(w_t)$")
        letter([plane, below], ["the plane of the two parameters", "GFS sharpness along the paths"])
        return layout.finish(figure, title_of(dataset), handles, 1.05 * width)


def _draw_plane(figure: Figure, axes: Axes, dataset: xr.Dataset) -> None:
    axis, gfs = dataset["plane_axis"].values, dataset["plane_gfs_sharpness"].values
    # Darker colours would hide what is drawn on top.
    pale = ListedColormap(mpl.colormaps["Greys"](np.linspace(0.02, 0.42, 256)))
    levels = np.geomspace(float(gfs.min()), float(gfs.max()), 13)
    shown = axes.contourf(axis, axis, gfs, levels=levels, cmap=pale, norm=LogNorm())
    bar = figure.colorbar(shown, ax=axes, pad=0.02, shrink=0.9, format="%.3g")
    bar.set_label("GFS sharpness $\\varphi$")
    bar.ax.minorticks_off()
    for line in dataset["flow_line"].values:
        for side in line:
            _draw_flow_line(axes, side, float(axis[-1]))
    minimum, sharpness = dataset["minimum"].values, dataset["minimum_sharpness"].values
    axes.plot(*minimum.T, color="black", linewidth=1.2, zorder=3)
    for run, threshold in enumerate(dataset["threshold"].values):
        stable = minimum[sharpness < threshold]
        axes.plot(
            *stable.T, color=COLOURS[2], linewidth=max(5 - run, 1), alpha=0.6, zorder=3.1,
            solid_capstyle="butt",
        )  # fmt: skip


def _draw_flow_line(axes: Axes, side: NDArray[np.float64], size: float) -> None:
    axes.plot(*side.T, color=COLOURS[0], linewidth=0.7, zorder=2)
    inside = np.flatnonzero(np.all(side < size, axis=1))
    middle = int(inside[len(inside) // 2]) if len(inside) > 1 else 0
    if 0 < middle < len(side) - 1:
        axes.annotate(
            "",
            side[middle + 1],
            side[middle],
            arrowprops={
                "arrowstyle": "-|>", "color": COLOURS[0], "linewidth": 0.7, "mutation_scale": 7,
                "shrinkA": 0, "shrinkB": 0,
            },
        )  # fmt: skip


def _draw_paths(plane: Axes, below: Axes, dataset: xr.Dataset) -> dict[str, Artist]:
    handles: dict[str, Artist] = {
        "gradient flow: $\\varphi$ is constant along it": Line2D(
            [], [], color=COLOURS[0], linewidth=0.8
        ),
        "minima: $w_1 w_2$ is the target": Line2D([], [], color="black"),
        "stable ones: flatter than $2/\\eta$": Line2D(
            [], [], color=COLOURS[2], linewidth=5, alpha=0.6
        ),
    }
    for run, size in enumerate(dataset["step_size"].values):
        colour = (COLOURS[1], COLOURS[3], COLOURS[5], COLOURS[4])[run % 4]
        path = dataset["w"].isel(run=run).values
        plane.plot(*path.T, color=colour, linewidth=0.8, marker="o", markersize=2.2, zorder=4)
        plane.plot(*path[0], "o", color=colour, markersize=6, zorder=5)
        gfs = dataset["gfs_sharpness"].isel(run=run)
        below.plot(gfs["gfs_step"], gfs, color=colour, marker="o", markersize=2, linewidth=0.8)
        below.axhline(
            float(dataset["threshold"][run]), color="black" if run == 0 else colour,
            linestyle=DASHES, linewidth=1.0,
        )  # fmt: skip
        label = f"gradient descent, step size $\\eta$ = {size:.6g}"
        handles[label] = Line2D([], [], color=colour, marker="o", markersize=3)
    return handles | {"stability threshold $2/\\eta$": Line2D([], [], color=GREY, linestyle=DASHES)}
