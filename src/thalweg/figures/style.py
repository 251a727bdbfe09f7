"""What all figures share: colours, type, resolution, letters."""

from collections.abc import Iterable
from io import BytesIO
from string import ascii_lowercase
from typing import Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

# Okabe and Ito's colours, which the colour-blind tell apart; without the yellow, too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
GREY = "0.35"
DASHES = (0, (5, 3))
STEPS = "gradient descent step $t$"


class Figure(matplotlib.figure.Figure):
    """A figure that notebooks show by itself: it is none of pyplot's, which they look after."""

    def _repr_png_(self) -> bytes:
        drawn = BytesIO()
        self.savefig(drawn, format="png")
        return drawn.getvalue()


def style(panel_width: float) -> Any:  # matplotlib types its keys as one literal of hundreds
    """Return matplotlib's settings for panels of a width in inches, whose type fits them."""
    size = float(np.clip(5.8 + panel_width, 7, 9))
    return {
        "font.family": "DejaVu Sans",
        "font.size": size,
        "axes.labelsize": size,
        "axes.titlesize": size,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "axes.formatter.use_mathtext": True,
        "legend.fontsize": size - 1,
        "legend.frameon": False,
        "text.usetex": False,
        "figure.dpi": 100,
        "figure.titlesize": size + 1,
        "pdf.fonttype": 42,  # whole fonts, as publishers ask for
        "svg.hashsalt": "thalweg",  # equal files of equal runs
    }


def letter(panels: Iterable[Axes], words: Iterable[str]) -> None:
    """Call panels (a), (b), ... at their upper left corners, and say in words what each shows."""
    for name, axes, text in zip(ascii_lowercase, panels, words, strict=False):
        axes.set_title(f"$\\bf{{({name})}}$ {text}", loc="left")


def edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the borders of cells around increasing centres."""
    if len(centres) == 1:
        return np.array([0.95 * centres[0], 1.05 * centres[0]])
    middle = 0.5 * (centres[1:] + centres[:-1])
    return np.concatenate(
        [[1.5 * centres[0] - 0.5 * centres[1]], middle, [1.5 * centres[-1] - 0.5 * centres[-2]]]
    )
