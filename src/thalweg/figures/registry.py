"""Which figure belongs to which stored results."""

from collections.abc import Callable

import xarray as xr

from thalweg.figures.layout import Layout
from thalweg.figures.run import plot_run
from thalweg.figures.scalar_bifurcation import plot_scalar_bifurcation
from thalweg.figures.scalar_plane import plot_scalar_plane
from thalweg.figures.scalar_sweep import plot_scalar_sweep
from thalweg.figures.style import Figure

FIGURES: dict[str, Callable[..., Figure]] = {
    "run": plot_run,
    "scalar-bifurcation": plot_scalar_bifurcation,
    "scalar-plane": plot_scalar_plane,
    "scalar-sweep": plot_scalar_sweep,
}
"""The figures by the names that experiments give.

Each is drawn from stored results alone, and from a `Layout` where one is asked for.
"""


def plot(
    dataset: xr.Dataset,
    *,
    width: float | None = None,
    title: str | None = None,
    log_steps: bool | None = None,
) -> Figure:
    """Draw results: by the `figure` of their experiment, else as runs (`plot_run`).

    Parameters
    ----------
    dataset
        What `descend` returns as `.dataset`, or `results.load(folder).dataset`.
    width, title, log_steps
        As of `Layout`: inches, a text, and whether steps are on a logarithmic axis.

    Returns
    -------
    matplotlib.figure.Figure
        `figure.savefig("figure.pdf")` writes it, as PDF, SVG or PNG by its name, and a notebook
        shows it. There is no pyplot window, and nothing to close.
    """
    # Older results name their experiment alone, which is the name of its figure if it has its own.
    name = dataset.attrs.get("figure", dataset.attrs.get("experiment"))
    layout = Layout(width=width, title=title, log_steps=log_steps)
    options = {} if layout == Layout() else {"layout": layout}
    return FIGURES.get(str(name), plot_run)(dataset, **options)
