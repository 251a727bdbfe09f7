"""Which figure belongs to which stored results."""

from collections.abc import Callable

import xarray as xr
from matplotlib.figure import Figure

from thalweg.figures.run import plot_run
from thalweg.figures.scalar_bifurcation import plot_scalar_bifurcation
from thalweg.figures.scalar_plane import plot_scalar_plane
from thalweg.figures.scalar_sweep import plot_scalar_sweep

FIGURES: dict[str, Callable[[xr.Dataset], Figure]] = {
    "run": plot_run,
    "scalar-bifurcation": plot_scalar_bifurcation,
    "scalar-plane": plot_scalar_plane,
    "scalar-sweep": plot_scalar_sweep,
}
"""The figures by the names that experiments give; each is drawn from stored results alone."""


def plot(dataset: xr.Dataset) -> Figure:
    """Draw stored results: by the `figure` of their experiment, else as runs (`plot_run`)."""
    # Older results name their experiment alone, which is the name of its figure if it has its own.
    name = dataset.attrs.get("figure", dataset.attrs.get("experiment"))
    return FIGURES.get(str(name), plot_run)(dataset)
