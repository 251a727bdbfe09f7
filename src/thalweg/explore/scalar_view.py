"""A scalar network on the screen: the plane of two parameters, and what happens along a run."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from bokeh.events import Pan, PanEnd, PanStart, Tap
from bokeh.layouts import column, row
from bokeh.models import (
    Button,
    ColorBar,
    ColumnDataSource,
    CustomJS,
    Div,
    HoverTool,
    LogColorMapper,
    PreText,
    Range1d,
    Select,
    Slider,
    TextInput,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from thalweg.explore.panels import BLUE, FORMATS, GREEN, RED, TOOLTIPS, Panels
from thalweg.explore.path import Path, path
from thalweg.explore.plane import flow_lines, gfs_map, minima
from thalweg.explore.setting import MOST_STEPS, PRESETS, Setting, numbers, written

EXTENT, _MAP_POINTS = 4.0, 321
_NEAR = 0.06  # of the width of the plane: how close to the start a drag has to begin
_OWN = "(your own)"


class ScalarView:
    """The view of one visitor; `show` draws a setting, and everything else leads to it."""

    def __init__(self) -> None:
        self.setting = next(iter(PRESETS.values()))
        self.panels = Panels()
        self._dragged = self._quiet = False
        self._controls()
        self._draw_plane()
        right = column(self.panels.figures)
        self.layout = column(
            row(self.preset, self.start, self.step_size, self.steps),
            self.readout,
            row(self.plane, right),
            row(self.copy, self.command),
            self.address,
        )

    def _controls(self) -> None:
        self.preset = Select(title="preset", options=[*PRESETS, _OWN], width=170)
        self.start = TextInput(title="start: one number per layer", width=210)
        self.step_size = Slider(title="step size η", start=0.01, end=2, step=0.005, width=320)
        self.steps = Slider(title="steps", start=1, end=MOST_STEPS, step=1, width=220)
        self.readout = Div(css_classes=["readout"], width=1100)
        self.command = PreText(css_classes=["command"])
        self.address = Div(visible=False)
        self.copy = Button(label="copy the command", width=140)
        copy = "navigator.clipboard.writeText(command.text)"
        self.copy.js_on_event("button_click", CustomJS(args={"command": self.command}, code=copy))
        to_address = CustomJS(code="history.replaceState(null, '', '?' + cb_obj.text)")
        self.address.js_on_change("text", to_address)
        self.preset.on_change("value", self._choose)
        self.start.on_change("value", self._enter)
        self.step_size.on_change("value", self._changing("step_size"))
        self.steps.on_change("value", self._changing("steps"))

    def _draw_plane(self) -> None:
        self.plane = figure(
            name="plane", width=600, height=600, tools="wheel_zoom,reset,save", match_aspect=True
        )
        self.plane.x_range, self.plane.y_range = Range1d(0, 2), Range1d(0, 2)
        self.plane.xaxis.axis_label, self.plane.yaxis.axis_label = "w₁", "w₂"
        self.plane.toolbar.logo = None
        colours = LogColorMapper(palette=[_paler(c) for c in Viridis256], low=2, high=16)
        size = {"x": -EXTENT, "y": -EXTENT, "dw": 2 * EXTENT, "dh": 2 * EXTENT}
        self.plane.image([_map()], **size, color_mapper=colours)
        bar = ColorBar(color_mapper=colours, title="φ of the flow from here", width=10)
        self.plane.add_layout(bar, "right")
        self.lines = ColumnDataSource({"xs": [], "ys": []})
        self.minima = ColumnDataSource({"xs": [], "ys": [], "width": [], "colour": []})
        self.limits = ColumnDataSource({"x": [], "y": []})
        self.at_start = ColumnDataSource({"x": [], "y": []})
        style = {"line_width": "width", "line_color": "colour"}
        self.plane.multi_line("xs", "ys", source=self.minima, **style)
        self.plane.multi_line("xs", "ys", source=self.lines, color=BLUE, line_width=1.5)
        self.plane.scatter("x", "y", source=self.limits, color=BLUE, size=5)
        steps = self.panels.points
        for name in ("w1", "w2"):
            steps.data[name] = []
        self.plane.line("w1", "w2", source=steps, color=RED, line_width=0.8)
        dots = self.plane.scatter("w1", "w2", source=steps, color=RED, size=6, hover_color="black")
        self.plane.scatter(
            "x", "y", source=self.at_start, size=16, color=RED, line_color="white", line_width=2
        )
        self.plane.add_tools(HoverTool(renderers=[dots], tooltips=TOOLTIPS, formatters=FORMATS))
        self.plane.on_event(Tap, self._move_start)
        self.plane.on_event(PanStart, self._begin_drag)
        self.plane.on_event(Pan, self._drag)
        self.plane.on_event(PanEnd, self._end_drag)

    def show(self, setting: Setting, *, fit: bool = False) -> None:
        """Draw a setting; `fit` has the plane show all of its path."""
        self.setting = setting
        found = path(setting)
        steps = np.arange(len(found.w))
        along = {
            "step": steps,
            "loss": found.loss,
            "sharpness": found.sharpness,
            "gfs_sharpness": found.gfs_sharpness,
            "error": found.error,
            "note": found.theorem,
        }
        self.panels.show(along, setting.threshold, w1=found.w[:, 0], w2=found.w[:, 1])
        self.panels.show_lines(steps, found.loss, steps, found.sharpness)
        self.plane.visible = len(setting.init) == 2
        if self.plane.visible:
            self._show_plane(found, fit=fit)
        self.readout.text = _readout(setting, found)
        self.command.text, self.address.text = setting.command, setting.address
        self._follow()

    def _show_plane(self, found: Path, *, fit: bool) -> None:
        lines = flow_lines(found.w, found.limit)
        self.lines.data = {"xs": list(lines[:, :, 0]), "ys": list(lines[:, :, 1])}
        self.limits.data = {"x": found.limit[:, 0], "y": found.limit[:, 1]}
        self.at_start.data = {"x": found.w[:1, 0], "y": found.w[:1, 1]}
        curves = minima(EXTENT, self.setting.threshold)
        self.minima.data = {
            "xs": [curve[:, 0] for curve, _ in curves],
            "ys": [curve[:, 1] for curve, _ in curves],
            "width": [5 if stable else 2 for _, stable in curves],
            "colour": [GREEN if stable else "black" for _, stable in curves],
        }
        if fit:
            near = np.clip(found.w, -EXTENT, EXTENT)
            low, high = near.min(axis=0), near.max(axis=0)
            half = min(max(0.65 * (high - low).max(), 0.4), EXTENT)
            ranges = self.plane.x_range, self.plane.y_range
            for ends, middle in zip(ranges, (low + high) / 2, strict=True):
                ends.update(start=middle - half, end=middle + half)

    def _follow(self) -> None:
        """Have the controls say what is shown, without being asked by them again."""
        self._quiet = True
        names = (name for name, preset in PRESETS.items() if preset == self.setting)
        self.preset.value = next(names, _OWN)
        self.start.value = written(self.setting.init).replace(",", ", ")
        self.step_size.update(value=self.setting.step_size)
        self.steps.value = self.setting.steps
        self._quiet = False

    def _choose(self, _: str, __: str, name: str) -> None:
        if not self._quiet and name in PRESETS:
            self.show(PRESETS[name], fit=True)

    def _changing(self, field: str) -> Callable[[str, Any, Any], None]:
        def change(_: str, __: Any, value: Any) -> None:
            if not self._quiet:
                self.show(replace(self.setting, **{field: value}))

        return change

    def _enter(self, _: str, __: str, text: str) -> None:
        if self._quiet:
            return
        try:
            self.show(replace(self.setting, init=numbers(text)), fit=True)
        except ValueError as error:
            self.readout.text = f"This start cannot be shown: {error}"

    def _move_start(self, event: Any) -> None:
        if event.x is not None and max(abs(event.x), abs(event.y)) < EXTENT:
            start = (round(float(event.x), 3), round(float(event.y), 3))
            self.show(replace(self.setting, init=start))

    def _begin_drag(self, event: Any) -> None:
        reach = _NEAR * (self.plane.x_range.end - self.plane.x_range.start)
        x, y = self.setting.init[:2]
        self._dragged = max(abs(event.x - x), abs(event.y - y)) < reach

    def _drag(self, event: Any) -> None:
        if self._dragged:
            self._move_start(event)

    def _end_drag(self, event: Any) -> None:
        self._drag(event)
        self._dragged = False


def _paler(colour: str) -> str:
    """Return a colour so pale that lines are seen on it."""
    parts = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - 0.4 * (255 - part)):02x}" for part in parts)


@cache
def _map() -> NDArray[np.float64]:
    return gfs_map(EXTENT, _MAP_POINTS)


def _readout(setting: Setting, found: Path) -> str:
    φ, error, verdict = found.gfs_sharpness, found.error, found.verdict
    start = f"φ of the start <b class='phi'>{φ[0]:.9g}</b> ± {error[0]:.0e}"
    end = f"at the last step {φ[-1]:.6g}, 2/η = {setting.threshold:.6g}"
    fate = f"; the run is lost after step {len(φ) - 1}" if found.lost else ""
    counts = f"{verdict.falls} falls, {verdict.rises} rises, {verdict.undecided} undecided"
    return f"{start}; {end}{fate}. GFS sharpness <b>{verdict.verdict}</b>: {counts}."
