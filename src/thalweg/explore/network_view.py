"""A small network on the screen: a run in the background fills in φ as it is computed."""

from collections.abc import Callable
from typing import Any

import xarray as xr
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import Button, Div, Slider

from thalweg.explore.network import along, follow
from thalweg.explore.panels import Panels

STEPS, EVERY = 1500, 50


class NetworkView:
    """The view of one visitor; one run at a time."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._stop: Callable[[], None] | None = None
        self._number = 0  # of the run that is shown: what an earlier one still tells is late
        self.panels = Panels()
        self.step_size = Slider(
            title="step size η", start=0.05, end=0.3, step=0.005, value=0.16, width=320
        )
        self.button = Button(label="start", button_type="primary", width=120)
        self.button.on_click(self._toggle)
        self.readout = Div(
            text=f"A tanh network on eight points of a sine: {STEPS} steps, φ at every {EVERY}.",
            css_classes=["network-readout"],
            width=900,
        )
        self.layout = column(row(self.step_size, self.button), self.readout, *self.panels.figures)
        document.on_session_destroyed(lambda _: self.stop())

    def stop(self) -> None:
        """Have the run end at its next report, and tell nothing more."""
        if self._stop is not None:
            self._stop()
        self._stop, self._number = None, self._number + 1
        self.button.update(label="start", button_type="primary")

    def _toggle(self, _: Any = None) -> None:
        if self._stop is not None:
            self.stop()
            return
        self.stop()
        number, step_size = self._number, self.step_size.value

        def receive(dataset: xr.Dataset) -> None:
            self._document.add_next_tick_callback(lambda: self._show(number, step_size, dataset))

        self._stop = follow(step_size, receive, steps=STEPS, every=EVERY)
        self.button.update(label="stop", button_type="warning")
        self.readout.text = "compiling: the first values take seconds"

    def _show(self, number: int, step_size: float, dataset: xr.Dataset) -> None:
        if number != self._number:
            return
        columns, threshold = along(dataset), 2 / step_size
        self.panels.show(columns, threshold)
        loss = dataset["loss"].dropna("step")
        sharpness = dataset["sharpness"].dropna("sharpness_step")
        self.panels.show_lines(
            loss["step"].values,
            loss.values,
            sharpness["sharpness_step"].values,
            sharpness.values,
        )
        self.panels.show_threshold(loss["step"].values, threshold)
        if len(columns["step"]) == 0:
            return
        last, value, bar = (columns[name][-1] for name in ("step", "gfs_sharpness", "error"))
        self.readout.text = (
            f"φ at step <span class='at'>{last}</span>: <b>{value:.5f}</b> ± {bar:.1g}; "
            f"2/η = {threshold:.4g}"
        )
        if last >= STEPS:
            self.stop()
