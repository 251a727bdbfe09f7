"""The bifurcation diagram of gradient descent on a scalar network."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure

from thalweg.figures.style import COLOURS, DASHES, GREY, STYLE, edges, letter

_ROWS = 500


def plot_scalar_bifurcation(dataset: xr.Dataset) -> Figure:
    """Draw what gradient descent ends up on, and its Lyapunov exponent, against the step size.

    From results of `scalar-bifurcation`: `product(run, start, step)`, `exponent(run, start)`, and
    the coordinate `scaled_step_size(run)`.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.4), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(2.6, 1))
        _draw_products(upper, dataset)
        _draw_exponents(lower, dataset)
        letter([upper, lower])
        for axes in (upper, lower):
            axes.axvline(2, color="black", linestyle=DASHES, linewidth=1.0)
        sizes = dataset["scaled_step_size"].values
        if sizes.min() < sizes.max():
            lower.set_xlim(sizes.min(), sizes.max())
        lower.set_xlabel(
            "step size times the sharpness of the flattest minimum, $\\eta\\,\\lambda^*$"
        )
        figure.align_ylabels([upper, lower])
        figure.suptitle(
            f"{dataset.attrs['experiment']}, depth {dataset.attrs['depth']}", fontsize=10
        )
    return figure


def _draw_products(axes: Axes, dataset: xr.Dataset) -> None:
    columns = dataset["scaled_step_size"].values
    values = dataset["product"].values.reshape(len(columns), -1)
    known = np.isfinite(values)
    # Cells rather than points: markers are set on whole pixels, which shows as stripes.
    shades = ListedColormap(mpl.colormaps["Blues"](np.linspace(0.35, 1.0, 256)))
    axes.hist2d(
        np.broadcast_to(columns[:, None], values.shape)[known], values[known],
        bins=(edges(columns), _ROWS), cmin=1, norm=LogNorm(), cmap=shades, rasterized=True,
    )  # fmt: skip
    axes.axhline(dataset.attrs["target"], color=GREY, linewidth=0.6, zorder=0)
    axes.set_ylabel("iterates $\\pi(w_t)$ in the long run")
    axes.annotate(
        "last stable minimum", (2, 1), (4, -4), xycoords=("data", "axes fraction"),
        textcoords="offset points", ha="left", va="top", fontsize=8,
    )  # fmt: skip


def _draw_exponents(axes: Axes, dataset: xr.Dataset) -> None:
    sizes, exponent = dataset["scaled_step_size"].values, dataset["exponent"].values
    for run in exponent.T:
        axes.plot(sizes, run, ".", color=GREY, markersize=1.5)
        axes.plot(sizes, np.where(run > 0, run, np.nan), ".", color=COLOURS[1], markersize=1.5)
    axes.axhline(0, color="black", linewidth=0.6)
    axes.text(0.01, 0.95, "chaos", color=COLOURS[1], transform=axes.transAxes, va="top", fontsize=8)
    known = exponent[np.isfinite(exponent)]
    if known.size:
        axes.set_ylim(max(-1.0, float(known.min())) - 0.05, float(known.max()) + 0.1)
    axes.set_ylabel("Lyapunov exponent")
