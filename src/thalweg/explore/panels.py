"""Loss, sharpness and GFS sharpness over the steps: three panels that move together."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, Whisker
from bokeh.plotting import figure
from numpy.typing import NDArray

COLUMNS = ("step", "loss", "sharpness", "gfs_sharpness", "error", "lower", "upper", "note")
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"
SMALLEST = 1e-33  # losses below are drawn there, on a logarithmic axis
TOOLTIPS = [
    ("step", "@step"),
    ("loss", "@loss{%.3e}"),
    ("sharpness", "@sharpness{%.6f}"),
    ("φ", "@gfs_sharpness{%.8f} ± @error{%.0e}"),
    ("", "@note"),
]
FORMATS = {f"@{name}": "printf" for name in ("loss", "sharpness", "gfs_sharpness", "error")}


class Panels:
    """Three figures and the data they show."""

    def __init__(self) -> None:
        self.points = ColumnDataSource({name: [] for name in COLUMNS})
        self.losses = ColumnDataSource({"step": [], "loss": []})
        self.sharpnesses = ColumnDataSource({"step": [], "sharpness": []})
        self.threshold = ColumnDataSource({"step": [], "threshold": []})
        loss = _panel("loss", y_axis_type="log")
        sharpness = _panel("sharpness", x_range=loss.x_range)
        gfs = _panel("GFS sharpness φ", x_range=loss.x_range)
        gfs.xaxis.axis_label = "step of gradient descent"
        loss.line("step", "loss", source=self.losses, color=BLUE)
        sharpness.line("step", "sharpness", source=self.sharpnesses, color=BLUE)
        for axes in (sharpness, gfs):
            line = {"color": "black", "line_dash": "dashed", "source": self.threshold}
            axes.line("step", "threshold", legend_label="2/η", **line)
            axes.legend.background_fill_alpha = 0.6
            axes.legend.padding = 2
        gfs.line("step", "gfs_sharpness", source=self.points, color=BLUE)
        bars = Whisker(base="step", lower="lower", upper="upper", source=self.points)
        gfs.add_layout(bars)
        for axes, name in ((loss, "loss"), (sharpness, "sharpness"), (gfs, "gfs_sharpness")):
            dots = axes.scatter(
                "step", name, source=self.points, size=5, color=BLUE, hover_color=RED
            )
            axes.add_tools(HoverTool(renderers=[dots], tooltips=TOOLTIPS, formatters=FORMATS))
        self.figures = [loss, sharpness, gfs]

    def show(self, along: dict[str, Any], threshold: float, **more: Any) -> None:
        """Show values at steps; `more` are further columns, for other figures of the same data."""
        value, error = along["gfs_sharpness"], along["error"]
        bars = {"lower": value - error, "upper": value + error}
        loss = np.maximum(along["loss"], SMALLEST)
        self.points.data = {**along, "loss": loss, **bars, **more}
        self.show_threshold(along["step"], threshold)

    def show_threshold(self, steps: NDArray[np.int_], threshold: float) -> None:
        """Draw `2/η` over the steps."""
        ends = [float(np.min(steps)), float(np.max(steps))] if len(steps) else []
        self.threshold.data = {"step": ends, "threshold": [threshold] * len(ends)}

    def show_lines(self, step: Any, loss: Any, sharpness_step: Any, sharpness: Any) -> None:
        """Draw loss and sharpness, which may be known at more steps than φ is."""
        self.losses.data = {"step": step, "loss": np.maximum(loss, SMALLEST)}
        self.sharpnesses.data = {"step": sharpness_step, "sharpness": sharpness}


def _panel(label: str, **options: Any) -> Any:
    axes = figure(height=205, width=520, tools="xpan,xwheel_zoom,reset,save", **options)
    axes.yaxis.axis_label = label
    axes.toolbar.logo = None
    axes.toolbar.autohide = True
    axes.min_border_left = 70
    return axes
