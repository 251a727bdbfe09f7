"""What may be asked of every figure: its width, its title, its axis of steps."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib as mpl
import xarray as xr
from matplotlib.artist import Artist

from thalweg.figures.style import Figure

_CHARACTER, _LINE = 0.0079, 0.0195  # width and height in inches, by points of the type


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What may be asked of every figure.

    Attributes
    ----------
    width
        In inches: 3.25 is one column of most papers, 6.75 both. `None`: as wide as it needs to be.
    title
        `None`: what the results say of themselves; an empty one leaves it out, as for a caption.
    log_steps
        Whether the axis of steps is logarithmic; `None`: where most happens in the first tenth.
    """

    width: float | None = None
    title: str | None = None
    log_steps: bool | None = None

    def __post_init__(self) -> None:
        if self.width is not None and not 1 <= self.width <= 100:
            raise ValueError(f"the width of a figure is 1 to 100 inches, got {self.width:g}")

    def finish(
        self, figure: Figure, title: str, handles: Mapping[str, Artist], height: float
    ) -> Figure:
        """Add title and legend, and make room for them around panels of a height in inches.

        `title` is that of the results, `handles` are the entries of the legend by their texts.
        Within matplotlib's settings of the figure, whose width is set.
        """
        width = figure.get_figwidth()
        size = mpl.rcParams["figure.titlesize"]
        lines = _lines(title if self.title is None else self.title, width, size)
        if lines:
            figure.suptitle("\n".join(lines))
        height += _LINE * size * (len(lines) + 0.3)
        if handles:
            size = mpl.rcParams["legend.fontsize"]
            # Without the commands of TeX; with the sample, and the gap.
            longest = max(len(re.sub(r"\\\w+|[$^{}]", "", text)) for text in handles) + 9
            columns = max(1, min(3, len(handles), int(width / (_CHARACTER * size * longest))))
            artists, texts = list(handles.values()), list(handles)
            figure.legend(artists, texts, loc="outside lower center", ncols=columns)
            height += _LINE * size * (1 + -(-len(handles) // columns))
        figure.set_figheight(height)
        return figure


def title_of(dataset: xr.Dataset) -> str:
    """Return what results say that they are of."""
    return str(dataset.attrs.get("title", dataset.attrs.get("experiment", "")))


def _lines(title: str, width: float, size: float) -> list[str]:
    """Return a title in as few lines as fit a width in inches, about equally long."""
    most = int(width / (_CHARACTER * size))
    count = len(textwrap.wrap(title, most))
    even = next(
        (length for length in range(-(-len(title) // max(count, 1)), most)
         if len(textwrap.wrap(title, max(length, 1))) == count),
        most,
    )  # fmt: skip
    return textwrap.wrap(title, max(even, 1))
