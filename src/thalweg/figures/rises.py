"""Where a sharpness that is to fall rises most, and from where on it does not rise any more."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from thalweg.figures.measured import read

_RING: dict[str, Any] = {
    "marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.1,
    "linestyle": "",
}  # fmt: skip
_DOTTED: dict[str, Any] = {"linestyle": ":", "linewidth": 1.2}


def draw_rise(
    axes: Axes, dataset: xr.Dataset, name: str, run: int, colour: Any, symbol: str
) -> list[Artist]:
    """Draw what is stored of the rises of one run, nothing where there is none.

    Parameters
    ----------
    name
        Of the measurement of flows, such as "gfs".
    symbol
        How their sharpness is called.

    Returns
    -------
    list
        The legend entries: rings around both ends of the largest rise, and a dotted line.
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
        axes.axvline(after, color=colour, zorder=1.2, **_DOTTED)
        label = f"none beyond the bars from $t$ = {int(after)} on"
        handles.append(Line2D([], [], color=colour, label=label, **_DOTTED))
    return handles
