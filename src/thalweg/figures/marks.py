"""What is pointed out along a run: marked steps, and where a sharpness rises that is to fall."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from thalweg.figures.measured import OneRun

_COLOUR = "0.2"
_LINE: dict[str, Any] = {"color": _COLOUR, "linestyle": ":", "linewidth": 1.2}
_RING: dict[str, Any] = {
    "color": _COLOUR, "marker": "o", "markersize": 8, "markerfacecolor": "none",
    "markeredgewidth": 1.1, "linestyle": "",
}  # fmt: skip


def draw_marks(panels: Sequence[Axes], run: OneRun) -> dict[str, Artist]:
    """Draw numbered vertical lines in all panels, numbers in the first; return legend entries.

    The marks are those of this run in `mark_run`, `mark_step`, `mark_label` on `(mark)` of the
    results, if these have them.
    """
    if "mark_step" not in run.data:
        return {}
    handles: dict[str, Artist] = {}
    columns = (run.data[name].values.tolist() for name in ("mark_run", "mark_step", "mark_label"))
    for place, (of_run, step, label) in enumerate(zip(*columns, strict=True), 1):
        if int(of_run) != run.number:
            continue
        for axes in panels:
            axes.axvline(step, zorder=1.2, **_LINE)
        panels[0].annotate(
            str(place),
            (step, 1),
            (2, -1),  # within: above the axes stands their letter
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="left",
            va="top",
            color=_COLOUR,
            fontsize="small",
        )
        handles[f"{place}: {label}, $t$ = {int(step)}"] = Line2D([], [], **_LINE)
    return handles


def draw_rise(
    axes: Axes, run: OneRun, name: str, symbol: str
) -> tuple[list[str], dict[str, Artist]]:
    """Draw what is stored of the rises of one run in the flows `name`, if anything is.

    Rings are around both ends of the largest rise; from a dotted line on it rises nowhere. Returned
    are a note of its size, and legend entries, which call the sharpness `symbol`.
    """
    data = run.data
    if f"{name}_rise_step" not in data:
        return [], {}
    ends = data[f"{name}_rise_step"].values
    if not np.all(np.isfinite(ends)):
        return [], {}
    measured = run.read(name)
    values = measured.values[np.searchsorted(measured.steps, ends)]
    within = ends <= run.end  # a ring is not cut off, and would be far away
    axes.plot(ends[within], values[within], clip_on=False, zorder=5, **_RING)
    size = ""
    if np.all(np.isfinite(values)):
        percent = 100 * (values[1] / values[0] - 1)
        size = f" {percent:,.0f} %," if 100 <= percent < 1e6 else f" {percent:.2g} %,"
    handles: dict[str, Artist] = {f"largest rise of {symbol}": Line2D([], [], **_RING)}
    after = float(data[f"{name}_decreasing_from"])
    if np.isfinite(after):
        axes.axvline(after, zorder=1.2, **_LINE)
        handles["from here on no rise beyond the bars"] = Line2D([], [], **_LINE)
    return [f"rise:{size} $t$ = {int(ends[0])} to {int(ends[1])}"], handles
