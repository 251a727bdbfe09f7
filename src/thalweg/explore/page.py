"""The plane of a scalar network as a page without a server: what it shows is computed beforehand.

A few starts and many step sizes, each with its path, its flow lines and its values; scripts only
choose among them. So every number is the package's, and a start cannot be dragged.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column, row
from bokeh.models import CustomJS, Select, Slider
from bokeh.resources import INLINE

from thalweg.explore.scalar_view import ScalarView
from thalweg.explore.setting import PRESETS, Setting

SHOWN = [PRESETS[name] for name in ("edge of stability", "period two", "stable", "φ rises")]
FIRST, LAST, APART, STEPS = 0.1, 1.6, 0.05, 40

_CHOOSE = """
const start = starts.options.indexOf(starts.value)
const frame = Math.round((size.value - first) / apart)
const chosen = frames[start][frame]
sources.forEach((source, i) => { source.data = chosen.data[i] })
minima.data = curves[frame]
readout.text = chosen.readout
if (cb_obj === starts) {
    ranges.forEach((range, i) => { [range.start, range.end] = extents[start][i] })
    size.value = usual[start]
}
"""


def page() -> str:
    """Return the page, which loads nothing."""
    view = ScalarView()
    panels = view.panels
    sources = [panels.points, panels.losses, panels.sharpnesses, panels.threshold]
    sources += [view.lines, view.limits, view.at_start]
    ranges = view.plane.x_range, view.plane.y_range
    sizes = [round(float(size), 6) for size in np.arange(FIRST, LAST + APART / 2, APART)]
    frames: list[list[Any]] = []
    extents, curves = [], []
    for preset in SHOWN:
        view.show(replace(preset, steps=STEPS), fit=True)
        extents.append([(ends.start, ends.end) for ends in ranges])
        frames.append([])
        for size in sizes:
            view.show(Setting(preset.init, size, STEPS))
            data = [_plain(source.data) for source in sources]
            frames[-1].append({"data": data, "readout": view.readout.text})
            curves.append(_plain(view.minima.data))  # again for every start
    first = SHOWN[0]
    view.show(replace(first, steps=STEPS), fit=True)
    starts = Select(title="start", options=[", ".join(map(str, one.init)) for one in SHOWN])
    starts.value = starts.options[0]
    slider = {"start": FIRST, "end": LAST, "step": APART, "value": first.step_size}
    size = Slider(title="step size η", width=420, **slider)
    known = {"starts": starts, "size": size, "usual": [one.step_size for one in SHOWN]}
    known |= {"frames": frames, "sources": sources}
    known |= {"minima": view.minima, "curves": curves[: len(sizes)]}
    known |= {"readout": view.readout, "ranges": list(ranges), "extents": extents}
    choose = CustomJS(args={**known, "first": FIRST, "apart": APART}, code=_CHOOSE)
    starts.js_on_change("value", choose)
    size.js_on_change("value", choose)
    shown = row(view.plane, column(panels.figures))
    layout = column(row(starts, size), view.readout, shown)
    title = "thalweg: a scalar network"
    return str(file_html(layout, INLINE, title=title, suppress_callback_warning=True))


def _plain(columns: dict[str, Any]) -> dict[str, Any]:
    """Return columns as lists, in which lines have no more digits than can be seen."""
    return {
        name: _rounded(all_, 5 if name in ("xs", "ys") else 9) for name, all_ in columns.items()
    }


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, np.ndarray | list):
        return [_rounded(one, digits) for one in value]
    return value if isinstance(value, str) else float(f"{value:.{digits}g}")
