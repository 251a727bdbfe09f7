"""The figure of runs: loss, sharpness and gradient flow solution (GFS) sharpness by step."""

import numpy as np
import xarray as xr

from thalweg.basics.run_axis import as_runs
from thalweg.figures.grid import LABELS, beneath, beside
from thalweg.figures.layout import Layout, title_of
from thalweg.figures.measured import flows_of, runs_of, variable_of
from thalweg.figures.style import Figure

_ALONE, _BESIDE = 6.4, 2.5  # widths in inches: of all, of one of several
_MOST_BESIDE, _MOST_BENEATH = 4, 12
_NARROWEST = 1.4  # inches of a panel beside others


def plot_run(dataset: xr.Dataset, layout: Layout | None = None) -> Figure:
    """Draw loss, sharpness and GFS sharpness along one or several runs.

    Up to four runs stand side by side, each against its own stability threshold `2/step_size` (the
    dashed line, or a note of where it is, if nothing is near it). More, or what is too narrow for
    that, stand one below the other, in units of their thresholds. (Of more than twelve, twelve
    are drawn, evenly spread.) Panels share the axis of steps.

    Loss is on a logarithmic axis, whose limits leave out what is rounding: less than 16 times the
    floating-point accuracy, in units of the loss at the start. A run that diverges leaves the
    frame. GFS sharpness carries its error bars and a band; where they are thinner than the line,
    another panel has them, relative to the values. Hollow points are those that are less accurate
    than asked for, or whose error is not known; they have no part in the band, and their bars may
    be cut by the frame. Where a flow or an eigensolver failed there is no point, whatever number is
    stored: the line is broken, and a mark at the axis says why. Rings are around the two points
    between which a GFS sharpness rises most, and from the dotted line on it rises nowhere.

    Parameters
    ----------
    dataset
        Results as stored (`result.nc`): `loss(run, step)`, and optionally
        `sharpness(run, sharpness_step)`, and `gfs_sharpness`, `gfs_sharpness_error`, `gfs_status`
        on `(run, gfs_step)`, `gfs_rise_step(run, rise_end)`, `gfs_decreasing_from(run)`, and
        likewise those of any other measurement of flows, such as `truncated_sharpness` on
        `(run, truncated_step)`, called as its attributes `label` and `symbol` say; coordinates
        `step_size(run)`, `threshold(run)`, and `depth(run)` where runs differ in it. A quantity
        that is absent has no panel. `mark_run`, `mark_step`, `mark_label` on `(mark)`, if there
        are any: steps to be pointed out, as numbered vertical lines. The attribute `title`. Where
        there are other dimensions, as `seed` of `xr.concat`, a run is one entry of each.
    layout
        Width, title, axis of steps.

    Returns
    -------
    matplotlib.figure.Figure
        A figure without a pyplot window: `savefig` it, or show it in a notebook.

    Raises
    ------
    ValueError
        If none of these quantities is in the dataset.
    """
    dataset = as_runs(dataset)
    known = ("loss", "sharpness", *map(variable_of, flows_of(dataset)))
    if not any(name in dataset for name in known):
        raise ValueError(f"the dataset has none of {', '.join(known)}: nothing to draw")
    layout, runs, title = layout or Layout(), runs_of(dataset), title_of(dataset)
    count = len(runs)
    width = layout.width or (_ALONE if count == 1 else LABELS + _BESIDE * count)
    if count == 1 or (count <= _MOST_BESIDE and width >= LABELS + _NARROWEST * count):
        return beside(runs, layout, width, title, sharex=True)
    shown = np.unique(np.linspace(0, count - 1, min(count, _MOST_BENEATH)).astype(int))
    if count > len(shown):
        title += f"; {len(shown)} of {count} runs"
    runs = [runs[number].in_thresholds() for number in shown]
    return beneath(runs, layout, layout.width or _ALONE, title)
