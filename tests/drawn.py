"""Synthetic results that look like runs at the edge of stability, and what is seen in figures."""

import itertools

import numpy as np
import xarray as xr
from matplotlib.colors import to_hex
from matplotlib.text import Text

MEANINGS = (
    "converged inaccurate budget_exhausted no_minimiser_found saddle non_finite stopped set_valued "
    "level_not_reached below_level unbounded non_finite_hessian too_slow"
)
_FLAGS = {"flag_values": np.arange(13.0), "flag_meanings": MEANINGS}


def edge_of_stability(step_sizes=(0.2,), *, every=20, error=2e-5, unconverged=(3, 17)):
    """Synthetic results that look like runs at the edge of stability; one flow failed."""
    generator = np.random.default_rng(0)
    eta = np.asarray(step_sizes)[:, None]
    step, sharpness_step, gfs_step = np.arange(401), np.arange(0, 401, 2), np.arange(0, 401, every)
    noise = generator.random((len(step_sizes), step.size))
    loss = 0.5 * np.exp(-step / 50) + 0.02 * np.exp(-step / 130) * noise * (step > 80)
    wobble = 0.06 * generator.standard_normal((len(step_sizes), sharpness_step.size))
    rise = np.minimum(0.3 + sharpness_step / 115, 1.0)
    gfs = 2 / eta * (0.97 + 0.5 * np.exp(-3 * gfs_step / 400))
    status = np.zeros(gfs.shape)
    errors = error * gfs
    for index in unconverged:
        status[:, index], errors[:, index] = 1, 0.15 * gfs[:, index]
    gfs[:, 8], errors[:, 8], status[:, 8] = np.nan, np.nan, 4
    dims = ("run", "gfs_step")
    return xr.Dataset(
        {
            "loss": (("run", "step"), loss),
            "sharpness": (("run", "sharpness_step"), 2 / eta * (rise + wobble * (rise == 1))),
            "gfs_sharpness": (dims, gfs),
            "gfs_sharpness_error": (dims, errors),
            "gfs_status": (dims, status, _FLAGS),
        },
        coords={
            "step_size": ("run", eta[:, 0]),
            "threshold": ("run", 2 / eta[:, 0]),
            "step": step,
            "sharpness_step": sharpness_step,
            "gfs_step": gfs_step,
        },
        attrs={"experiment": "digits-mlp", "config": "{}"},
    )


def with_rise(data, steps, after):
    return data.assign(
        gfs_rise_step=(("run", "rise_end"), np.asarray(steps, float)),
        gfs_decreasing_from=("run", np.asarray(after, float)),
    )


def panels(figure):
    """The panels by what they show: a list of those of each quantity, in order of the runs."""
    found = {}
    words = None
    for axes in figure.axes:
        if title := axes.get_title(loc="left"):
            words = title.partition(")})}$ ")[2] or title.partition("$ ")[2]
        found.setdefault(words, []).append(axes)
    return found


def curves(axes):
    """The lines with data in both directions, in order of drawing, without markers-only ones."""
    return [
        line
        for line in axes.lines
        if line.get_linestyle() == "-" and line.get_transform() == axes.transData
    ]


def levels(axes):
    """Heights of the dashed lines."""
    return [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]


def points(axes):
    """Markers of the error bars, by their face colour: filled ones and hollow ones."""
    filled, hollow = [], []
    for container in axes.containers:
        line = container.lines[0]
        face = to_hex(line.get_markerfacecolor())
        (hollow if face == to_hex("white") else filled).append(line)
    return filled, hollow


def failures(axes):
    """Steps of the marks at the axis, by the marker."""
    marks = [line for line in axes.lines if line.get_transform() == axes.get_xaxis_transform()]
    marks = [line for line in marks if line.get_linestyle() == "None"]
    assert all(height == 0 for line in marks for height in line.get_ydata())
    return {line.get_marker(): line.get_xdata().tolist() for line in marks}


def rings(axes):
    return [line for line in axes.lines if line.get_markersize() == 8]


def notes(axes):
    """The lines in the corner."""
    return [line for text in axes.texts for line in text.get_text().splitlines()]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def visible_texts(figure):
    """Every text that is drawn, tick labels within the view only."""
    outside = set()
    for axes in figure.axes:
        for axis, limits in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
                if not limits[0] <= tick.get_loc() <= limits[1]:
                    outside |= {tick.label1, tick.label2}
    texts = figure.findobj(Text)
    return [
        text
        for text in texts
        if text.get_text().strip() and text.get_visible() and text not in outside
    ]


def assert_legible(figure):
    """No two texts overlap, and none is cut off."""
    figure.draw_without_rendering()
    texts = visible_texts(figure)
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) > 15
    for (one, a), (other, b) in itertools.combinations(zip(texts, boxes, strict=True), 2):
        # Letters have some air around them; a headline's last line is empty.
        apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
        is_headline = "\n" in (one.get_text()[-1], other.get_text()[-1])
        assert apart or is_headline, f"{one.get_text()!r} lies on {other.get_text()!r}"
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in zip(texts, boxes, strict=True):
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, f"{text.get_text()!r} is cut off"
    if figure.legends:
        frame = figure.legends[0].get_window_extent()
        assert frame.y1 <= min(axes.get_tightbbox().y0 for axes in figure.axes) + 1
        assert frame.x0 >= 0
        assert frame.x1 <= width
