"""Which figure belongs to which stored results, and its file."""

import io
import os
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import xarray as xr
from matplotlib.figure import Figure

from thalweg import results
from thalweg.figures.run import plot_run
from thalweg.figures.scalar_bifurcation import plot_scalar_bifurcation
from thalweg.figures.scalar_plane import plot_scalar_plane
from thalweg.figures.scalar_sweep import plot_scalar_sweep
from thalweg.figures.style import DPI, STYLE

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


def save_run_figure(folder: str | os.PathLike[str]) -> Path:
    """Draw the run in a folder from its stored results, and write `figure.png` there.

    Returns
    -------
    pathlib.Path
        The path of the figure.

    Raises
    ------
    FileNotFoundError, ValueError
        As `thalweg.results.load`; or there is nothing that can be drawn.
    """
    dataset = results.load(folder).dataset
    run_folder, content = results.RunFolder.open(folder), io.BytesIO()
    try:
        with mpl.rc_context(STYLE):
            plot(dataset).savefig(content, dpi=DPI)
    # A dataset of others may lack anything, or hold something else under the same name.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{run_folder.dataset} cannot be drawn: {reason}") from error
    with run_folder.replacing(run_folder.figure) as temporary:
        temporary.write_bytes(content.getbuffer())
    return run_folder.figure
