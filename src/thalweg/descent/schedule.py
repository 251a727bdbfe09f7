"""When to measure: at every so many steps, growing apart, at given ones, or where most changes."""

import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

_END = 2**63  # of a schedule without end


def every(n: int, start: int = 0) -> range:
    """Return the steps `start`, `start + n`, `start + 2 n`, ..., without end.

    >>> list(every(500)[:4])
    [0, 500, 1000, 1500]
    """
    return range(checked_count("start", start, 0), _END, checked_count("n", n, 1))


def log_spaced(last: int, values: int = 16) -> tuple[int, ...]:
    """Return so many steps from 0 to `last`: every step at first, then in growing distances.

    Each is by the same factor larger than the one before, but for rounding, and for the first ones,
    which would be closer than a step.

    >>> log_spaced(1000, 10)
    (0, 1, 2, 5, 12, 29, 70, 170, 412, 1000)
    >>> log_spaced(3)
    (0, 1, 2, 3)
    """
    last, values = checked_count("last", last, 1), checked_count("values", values, 3)
    steps = [0, 1]
    while steps[-1] < last and (left := values - len(steps)):
        factor = (last / steps[-1]) ** (1 / left)
        steps.append(max(steps[-1] + 1, round(steps[-1] * factor)))
    return tuple(steps)


@dataclass(frozen=True)
class Refined(Sequence[int]):
    """The steps `at`, and then further ones, where the values change most: so many `values` in all.

    The last step, where everything is measured, is one of them. Once a run of `tw.descend` has come
    to its end, the interval of steps across which the first variable of the measurement changes
    most is halved (logarithmically), again and again: descent goes back to the iterate before it.
    Intervals of one step are left, and a run that has diverged is not refined.

    >>> print(Refined(log_spaced(1000, 5), 16))
    16, refined from 0, 1, 10, 100, 1000
    """

    at: Sequence[int]
    values: int

    def __post_init__(self) -> None:
        checked_count("values", self.values, 1)

    def __getitem__(self, place: Any) -> Any:
        return self.at[place]

    def __len__(self) -> int:
        return len(self.at)

    def __str__(self) -> str:
        return f"{self.values}, refined from {', '.join(map(str, self.at))}"


def refined_to(measurement: Any) -> int:
    """Return how many values a measurement is refined to, 0 if it is not refined."""
    at = getattr(measurement, "at", None)
    return at.values if isinstance(at, Refined) else 0


def halved(values: Mapping[int, float]) -> int | None:
    """Return the geometric middle of the interval of steps across which values change most.

    `None` where no interval has steps within. Changes that are not known come last.

    >>> halved({0: 1.0, 1: 3.0, 49: 2.5, 100: 2.4}), halved({0: 1.0, 1: 3.0})
    (9, None)
    """
    steps = sorted(values)
    wide = [pair for pair in pairwise(steps) if pair[1] - pair[0] > 1]
    if not wide:
        return None

    def change(pair: tuple[int, int]) -> float:
        size = abs(values[pair[1]] - values[pair[0]])
        return size if math.isfinite(size) else -1.0

    before, after = max(wide, key=change)
    middle = round(math.sqrt((before + 1) * (after + 1))) - 1
    return min(max(middle, before + 1), after - 1)


def scheduled_steps(measurement: Any, steps: int) -> NDArray[np.int64]:
    """Return the steps, up to `steps`, at which to measure: a sorted array of integers.

    >>> from thalweg.descent import Quantity
    >>> scheduled_steps(Quantity("norm", max, every=4), 10)
    array([ 0,  4,  8, 10])
    >>> scheduled_steps(Quantity("norm", max, every=4, also=(1, 2, 50)), 10)
    array([ 0,  1,  2,  4,  8, 10])
    >>> scheduled_steps(Quantity("norm", max, at=(0, 1, 5)), 10)
    array([ 0,  1,  5, 10])
    """
    parts = [np.asarray(part, np.int64) for part in parts_up_to(measurement, steps)]
    return np.unique(np.concatenate([*parts, [steps]]))


def is_due(measurement: Any, before: int, step: int) -> bool:
    """Whether a step of the schedule, the last one apart, is after `before` and at most `step`.

    >>> from thalweg.descent import Quantity
    >>> norm = Quantity("norm", max, every=4, also=(5,))
    >>> [step for step in range(10) if is_due(norm, step - 1, step)]
    [0, 4, 5, 8]
    """
    return any(part[-1] > before for part in parts_up_to(measurement, step) if part)


def parts_up_to(measurement: Any, step: int) -> tuple[Sequence[int], Sequence[int]]:
    """Return the schedule up to `step` in two increasing parts: the regular one, and `also`."""
    regular = getattr(measurement, "at", None)
    if regular is None:
        regular = range(measurement.start, _END, measurement.every)
    return _up_to(regular, step), _up_to(getattr(measurement, "also", ()), step)


def _up_to(steps: Iterable[int], step: int) -> Sequence[int]:
    if isinstance(steps, range):  # without an end
        return range(steps.start, min(steps.stop, step + 1), steps.step)
    return sorted(one for one in steps if one <= step)


def check_schedule(measurement: Any) -> None:
    """Raise a ValueError unless `every` is a positive integer and no other step is negative."""
    if isinstance(measurement, type) or not all(
        hasattr(measurement, name) for name in ("name", "variables", "every", "start", "measure")
    ):
        raise TypeError(
            f"{measurement!r} is no measurement: give objects such as thalweg.Sharpness()"
        )
    of = f"of the measurement {measurement.name!r}"
    for name, least in (("every", 1), ("start", 0)):
        checked_count(f"{name} {of}", getattr(measurement, name), least)
    for name, steps in (("also", getattr(measurement, "also", ())), ("at", _at(measurement))):
        if isinstance(steps, str | Iterator) or not isinstance(steps, Iterable):
            raise ValueError(f"{name} {of} must be a tuple of steps, got {steps!r}")
        if isinstance(steps, range) and steps.step > 0:  # perhaps without an end
            steps = steps[:1]
        for step in steps:
            checked_count(f"each step in {name} {of}", step, 0)


def _at(measurement: Any) -> Any:
    given = getattr(measurement, "at", None)
    return () if given is None else given


def checked_count(name: str, value: Any, least: int) -> int:
    """Return an integer, or raise a ValueError that says by its name what it must be."""
    if not hasattr(value, "__index__") or not least <= operator.index(value) < 2**63:
        raise ValueError(
            f"{name} must be an integer of at least {least} and below 2**63, got {value!r}"
        )
    return operator.index(value)
