"""Stored results as matplotlib figures. Nothing here computes or touches pyplot's state."""

import os
import sys
from contextlib import suppress


def _import_matplotlib() -> None:
    """Import matplotlib, also where `MPLBACKEND` names a backend that is not installed here.

    Notebooks export theirs to the processes they start, and matplotlib refuses to be imported then.
    Figures are drawn to files, whatever the backend; for what else the process draws it is set as
    matplotlib would set it.
    """
    backend = os.environ.get("MPLBACKEND")
    if not backend or "matplotlib" in sys.modules:
        return
    del os.environ["MPLBACKEND"]
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = backend
    with suppress(ValueError):
        matplotlib.rcParams["backend"] = backend


_import_matplotlib()

from thalweg.figures.layout import Layout  # noqa: E402
from thalweg.figures.registry import FIGURES, plot  # noqa: E402
from thalweg.figures.run import plot_run  # noqa: E402
from thalweg.figures.several import overview, side_by_side  # noqa: E402

__all__ = ["FIGURES", "Layout", "overview", "plot", "plot_run", "side_by_side"]


def __dir__() -> list[str]:
    return __all__
