"""Steps of a run that are pointed out: numbered vertical lines, explained in the legend."""

from collections.abc import Sequence
from typing import Any

import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2}


def draw_marks(panels: Sequence[Axes], dataset: xr.Dataset, colours: Sequence[Any]) -> list[Artist]:
    """Draw the marks of a dataset in all panels; return their legend entries.

    Parameters
    ----------
    panels
        The numbers stand at the top of the first.
    dataset
        `mark_run`, `mark_step`, `mark_label` on `(mark)`; nothing is drawn without them.
    colours
        One for each run.
    """
    if "mark_step" not in dataset:
        return []
    names = ("mark_run", "mark_step", "mark_label")
    handles: list[Artist] = []
    columns = (dataset[name].values.tolist() for name in names)
    for number, (run, step, label) in enumerate(zip(*columns, strict=True), 1):
        colour = colours[int(run)]
        for axes in panels:
            axes.axvline(step, color=colour, zorder=1.2, **_LINE)
        panels[0].annotate(
            str(number),
            (step, 1),
            (2, -1),  # within: above the axes stands their letter
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left",
            va="top",
            color=colour,
            fontsize=8,
        )
        text = f"{number}: {label}, $t$ = {int(step)}"
        handles.append(Line2D([], [], color=colour, label=text, **_LINE))
    return handles
