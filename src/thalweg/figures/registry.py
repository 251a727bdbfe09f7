"""Which figure belongs to which stored results."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from thalweg.figures.run import plot_run
from thalweg.figures.scalar_bifurcation import plot_scalar_bifurcation
from thalweg.figures.scalar_plane import plot_scalar_plane
from thalweg.figures.scalar_sweep import plot_scalar_sweep

_FIGURES: dict[str, Callable[[xr.Dataset], Figure]] = {
    "scalar-bifurcation": plot_scalar_bifurcation,
    "scalar-plane": plot_scalar_plane,
    "scalar-sweep": plot_scalar_sweep,
}


def plot(dataset: xr.Dataset) -> Figure:
    """Draw stored results: by the figure of their `experiment`, else as runs (`plot_run`).

    Raises
    ------
    ValueError
        If there is nothing to draw.
    """
    return _FIGURES.get(str(dataset.attrs.get("experiment")), plot_run)(dataset)
