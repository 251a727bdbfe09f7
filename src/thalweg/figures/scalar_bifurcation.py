"""The bifurcation diagram of gradient descent on a scalar network."""

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.lines import Line2D

from thalweg.figures.layout import Layout, title_of
from thalweg.figures.style import COLOURS, DASHES, GREY, Figure, edges, letter, style

_ROWS, _WIDTH = 500, 6.4
_SHARE = 1 / 1.35  # of the height in the width


def plot_scalar_bifurcation(dataset: xr.Dataset, layout: Layout | None = None) -> Figure:
    """Draw what gradient descent ends up on, and its Lyapunov exponent, against the step size.

    From results of `scalar-bifurcation`: `product(run, start, step)`, `exponent(run, start)`, and
    the coordinate `scaled_step_size(run)`.
    """
    layout = layout or Layout()
    width = layout.width or _WIDTH
    with mpl.rc_context(style(width / 2)):
        figure = Figure(figsize=(width, 1), layout="constrained")
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(2.6, 1))
        handles = _draw_products(upper, dataset) | _draw_exponents(lower, dataset)
        letter([upper, lower], ["long-run iterates", "Lyapunov exponent"])
        for axes in (upper, lower):
            axes.axvline(2, color="black", linestyle=DASHES, linewidth=1.0)
        sizes = dataset["scaled_step_size"].values
        if sizes.min() < sizes.max():
            lower.set_xlim(sizes.min(), sizes.max())
        lower.set_xlabel("step size × sharpness of the flattest minimum, $\\eta\\,\\lambda^*$")
        figure.align_ylabels([upper, lower])
        dashed = Line2D([], [], color="black", linestyle=DASHES, linewidth=1.0)
        handles = {"2: beyond, no minimum is stable ($\\lambda^* > 2/\\eta$)": dashed} | handles
        title = title_of(dataset)
        if "title" not in dataset.attrs:
            title += f", depth {dataset.attrs['depth']}"
        return layout.finish(figure, title, handles, _SHARE * width)


def _draw_products(axes: Axes, dataset: xr.Dataset) -> dict[str, Artist]:
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
    axes.set_ylabel("product $\\pi(w_t)$")
    return {
        "product of the parameters, darker where it is more often": Line2D(
            [], [], color=shades(200)
        ),
        "the target: product at a minimum": Line2D([], [], color=GREY, linewidth=0.6),
    }


def _draw_exponents(axes: Axes, dataset: xr.Dataset) -> dict[str, Artist]:
    sizes, exponent = dataset["scaled_step_size"].values, dataset["exponent"].values
    for run in exponent.T:
        axes.plot(sizes, run, ".", color=GREY, markersize=1.5)
        axes.plot(sizes, np.where(run > 0, run, np.nan), ".", color=COLOURS[1], markersize=1.5)
    axes.axhline(0, color="black", linewidth=0.6)
    known = exponent[np.isfinite(exponent)]
    if known.size:
        axes.set_ylim(max(-1.0, float(known.min())) - 0.05, float(known.max()) + 0.1)
    axes.set_ylabel("exponent")
    entries = {"exponent below 0: a cycle or a minimum": GREY, "above 0: chaos": COLOURS[1]}
    return {
        text: Line2D([], [], color=colour, marker=".", linestyle="")
        for text, colour in entries.items()
    }
