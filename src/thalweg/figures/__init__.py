"""Stored results as matplotlib figures. Nothing here computes or touches pyplot's state."""

from thalweg.figures.run import plot_run, save_run_figure

__all__ = ["plot_run", "save_run_figure"]
