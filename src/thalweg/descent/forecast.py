"""Seconds left, from what steps and measurements have taken so far, compiling left out."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from thalweg.basics.activity import working_time
from thalweg.flow.method import FlowProgress

STEPS = -1
"""Steps, beside the numbers of measurements."""


class Forecast:
    """How long a descent will go on: runs of so many `steps`, measured at the `schedules`.

    `starts` has the number of the start of each run; there, which runs share, is measured once.
    `refined` is how many values each run has more than its schedules, where it is refined.

    Whatever was done last is counted by `add`, with the seconds since the call before.
    """

    def __init__(
        self,
        starts: Sequence[int],
        steps: int,
        schedules: Sequence[NDArray[np.int64]],
        refined: Mapping[int, int] = MappingProxyType({}),
    ):
        self.starts, self.steps, self.schedules, self.refined = starts, steps, schedules, refined
        self._taken: dict[int, tuple[float, int]] = {}  # seconds, and for how many
        self._last = working_time()

    def add(self, what: int, count: int = 1) -> None:
        """Count steps, or a measurement, that have been made."""
        seconds, counted = self._taken.get(what, (0.0, 0))
        now = working_time()
        self._taken[what] = seconds + now - self._last, counted + count
        self._last = now

    def seconds_left(
        self,
        run: int,
        step: int,
        measured: int,
        due: Sequence[int],
        flow: FlowProgress | None,
        made: Mapping[int, int] = MappingProxyType({}),
    ) -> float | None:
        """Return the seconds left at a step where the first `measured` of what is `due` are made.

        `made` is how many values of those of `refined` this run has. `None` where nothing like that
        has been done yet.
        """
        later, later_starts = len(self.starts) - run - 1, self.starts[-1] - self.starts[run]
        total = 0.0
        pending = set(due[measured:])
        for what, schedule in enumerate(self.schedules):
            count = int(np.sum(schedule > step)) + (what in pending)
            count += later * int(np.sum(schedule > 0)) + later_starts * int(np.sum(schedule == 0))
            count += (later + 1) * self.refined.get(what, 0) - made.get(what, 0)
            in_hand = flow is not None and [what] == list(due[measured : measured + 1])
            total += self._of_measurement(what, count, flow if in_hand else None)
        total += (self.steps - step + later * self.steps) * self._mean(STEPS)
        return total if np.isfinite(total) else None

    def _of_measurement(self, what: int, count: int, flow: FlowProgress | None) -> float:
        """Return the seconds of `count` measurements, of which one may be in hand."""
        if flow is None:
            return count * self._mean(what) if count else 0.0
        spent = working_time() - self._last
        fraction = getattr(flow, "fraction", 0.0)  # measurements may report what they like
        whole = spent / fraction if fraction > 0 else np.nan
        mean = self._mean(what)
        mean = mean if np.isfinite(mean) else whole
        return (count - 1) * mean + max(whole - spent, 0.0)

    def _mean(self, what: int) -> float:
        seconds, count = self._taken.get(what, (np.nan, 1))
        return seconds / count
