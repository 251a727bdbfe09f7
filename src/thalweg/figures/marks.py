"""What is pointed out along a run: marked steps, and where a sharpness rises that is to fall."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from thalweg.figures.measured import read

_LINE: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2}
_RING: dict[str, Any] = {
    "marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.1,
    "linestyle": "",
}  # fmt: skip


def draw_marks(panels: Sequence[Axes], dataset: xr.Dataset, colours: Sequence[Any]) -> list[Artist]:
    """Draw numbered vertical lines in all panels, numbers in the first; return legend entries.

    The marks are `mark_run`, `mark_step`, `mark_label` on `(mark)` of the dataset, if it has them;
    `colours` has one for each run.
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


def draw_rise(
    axes: Axes, dataset: xr.Dataset, name: str, run: int, colour: Any, symbol: str
) -> list[Artist]:
    """Draw what is stored of the rises of one run in the flows `name`, if anything is.

    Rings are around both ends of the largest rise; from a dotted line on it rises nowhere. Their
    legend entries, which call the sharpness `symbol`, are returned.
    """
    if f"{name}_rise_step" not in dataset:
        return []
    ends = dataset[f"{name}_rise_step"].isel(run=run).values
    if not np.all(np.isfinite(ends)):
        return []
    measured = read(dataset, name, run)
    values = measured.values[np.searchsorted(measured.steps, ends)]
    axes.plot(ends, values, color=colour, clip_on=False, zorder=5, **_RING)
    share = f" by {100 * (values[1] / values[0] - 1):.2g} %" if np.all(np.isfinite(values)) else ""
    label = f"{symbol} rises{share}: $t$ = {int(ends[0])} to {int(ends[1])}"
    handles: list[Artist] = [Line2D([], [], color=colour, label=label, **_RING)]
    after = float(dataset[f"{name}_decreasing_from"].isel(run=run))
    if np.isfinite(after):
        axes.axvline(after, color=colour, zorder=1.2, **_LINE)
        label = f"none beyond the bars from $t$ = {int(after)} on"
        handles.append(Line2D([], [], color=colour, label=label, **_LINE))
    return handles
