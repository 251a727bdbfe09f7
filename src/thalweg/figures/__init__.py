"""Stored results as matplotlib figures. Nothing here computes or touches pyplot's state."""

from thalweg.figures.run import plot_run
from thalweg.figures.save import plot, save_run_figure

__all__ = ["plot", "plot_run", "save_run_figure"]


def __dir__() -> list[str]:
    return __all__
