"""Whether a measured sequence falls monotonically: a verdict with three values.

Values `φ_i` with error bars `e_i` are intervals `[φ_i - e_i, φ_i + e_i]`, and only what holds
wherever in their intervals the true values are is called known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thalweg.basics.named import Named

_Floats = NDArray[np.float64]
_Bars = tuple[_Floats, _Floats]


class Step(Named):
    """What is known of one step, from a measured value to the next.

    `FALLS`: the next value is lower. `RISES`: the next value is higher. `UNDECIDED`: the error
    bars leave both open (or one of the two values is not known, or they are exactly equal).
    """

    FALLS = -1
    UNDECIDED = 0
    RISES = 1


@dataclass(frozen=True)
class Change:
    """A change from one measured value to a later one.

    Attributes
    ----------
    size, error
        By how much the later value is higher (of a rise) or lower (of a fall), and the error bar of
        that, in the units of the values.
    relative
        `size` in units of the earlier value; NaN where that is zero or not known.
    between
        Where the two were measured: steps, or indices where no steps are known.
    """

    size: float
    error: float
    relative: float
    between: tuple[int, int]

    def summary(self) -> dict[str, Any]:
        """Return an entry of `summary.json`."""
        relative = self.relative if np.isfinite(self.relative) else None
        return {**vars(self), "relative": relative, "between": list(self.between)}


@dataclass(frozen=True, eq=False)
class Monotonicity:
    """What is known of the monotonicity of a sequence of `n` measured values.

    Attributes
    ----------
    verdict
        "decreasing", "not decreasing" or "undecided"; `monotonicity` says what each means.
    steps
        One `Step` (as an integer) for each pair of neighbours, of shape `(n - 1,)`.
    falls, rises, undecided
        How many of the steps are which; they add up to `n - 1`.
    largest_possible_rise
        The most by which the sequence may still rise in a single step, in the units of the
        values: the largest upper end of the steps' bars, 0 where none of them allows a rise
        (and where there are no steps), infinite where some step is not bounded at all.
    largest_rise
        The largest rise, from a value to any later one, of those that exceed their bars; `None`
        where none does.
    net_fall
        The fall from the first to the last value that is known, negative where it rises; `None`
        with fewer than two.
    decreasing_from
        The first place of a known value from which on nothing rises beyond its bars, on whatever
        way; `None` where no known value follows it. From there on the sequence falls, but for what
        the bars leave undecided.
    """

    verdict: str
    steps: NDArray[np.int8]
    falls: int
    rises: int
    undecided: int
    largest_possible_rise: float
    largest_rise: Change | None
    net_fall: Change | None
    decreasing_from: int | None

    def summary(self) -> dict[str, Any]:
        """Return the entry `monotonicity` of `summary.json` (what is not finite becomes `None`)."""
        rise, changes = self.largest_possible_rise, (self.largest_rise, self.net_fall)
        largest_rise, net_fall = (change and change.summary() for change in changes)
        return {
            "verdict": self.verdict,
            "falls": self.falls,
            "rises": self.rises,
            "undecided": self.undecided,
            "largest_possible_rise": rise if np.isfinite(rise) else None,
            "largest_rise": largest_rise,
            "net_fall": net_fall,
            "decreasing_from": self.decreasing_from,
        }


def monotonicity(
    values: ArrayLike,
    errors: ArrayLike,
    *,
    falls: ArrayLike | None = None,
    fall_errors: ArrayLike | None = None,
    at: ArrayLike | None = None,
) -> Monotonicity:
    """Decide whether a sequence that is known up to error bars falls at every step.

    The verdict is one of

    - "not decreasing": somewhere the sequence rises for certain. For some `i < j` (neighbours or
      not) `φ_j - e_j > φ_i + e_i`, or a directly known fall is negative by more than its error.
    - "decreasing": there is at least one step, and every one of them is `Step.FALLS`.
    - "undecided": neither; `largest_possible_rise` says how much is still open.

    Each step has a bar, in which its fall `φ_i - φ_{i+1}` lies: `e_i + e_{i+1}` to either side of
    the difference of the values, or the directly known fall with its own error, whichever is
    sharper. Two bars that do not even touch cannot both be right, and neither is believed over
    the other: the step's bar then spans both. The step is `Step.FALLS` if all of its bar is above
    0, `Step.RISES` if all of it is below 0, and else `Step.UNDECIDED`. Inequalities are strict,
    so a sequence known to be exactly constant is undecided, with no rise possible.

    Parameters
    ----------
    values, errors
        `φ_i` and `e_i`, of shape `(n,)`, in the same units. A value that is not finite, or whose
        error is NaN or infinite, is not known, and decides nothing.
    falls, fall_errors
        The differences `φ_i - φ_{i+1}` known by themselves, and their errors, of shape `(n - 1,)`;
        or of shape `(n,)` with NaN last (the last value has no next one), as results store them.
        NaN where nothing but the values is known. A known fall decides its step even if the values
        are not known.
    at
        Where the values were measured, as steps of a descent: integers of shape `(n,)`, by which
        the answer names places; left out, `0, 1, ..., n - 1`.

    Raises
    ------
    ValueError
        For a negative error, for arrays of other shapes, or for one of `falls` and `fall_errors`
        without the other.

    Examples
    --------
    >>> monotonicity([3.0, 2.0, 1.0], [0.1, 0.1, 0.1]).verdict
    'decreasing'
    >>> answer = monotonicity([3.0, 2.0, 2.1], [0.1, 0.1, 0.1])
    >>> answer.verdict, [Step(step).name for step in answer.steps]
    ('undecided', ['FALLS', 'UNDECIDED'])
    >>> round(answer.largest_possible_rise, 12)
    0.3

    A rise over several steps counts, even if none of them is certain to rise:

    >>> monotonicity([1.0, 1.2, 1.4], [0.15, 0.15, 0.15]).verdict
    'not decreasing'

    What rises at first may fall from then on:

    >>> answer = monotonicity([3.0, 3.5, 2.0, 1.0], [0.1] * 4, at=[0, 10, 50, 100])
    >>> answer.largest_rise
    Change(size=0.5, error=0.2, relative=0.16666666666666666, between=(0, 10))
    >>> answer.net_fall.size, answer.decreasing_from
    (2.0, 10)

    A difference can be known far better than the values that it is of:

    >>> monotonicity([2.0, 1.999], [0.1, 0.1]).verdict
    'undecided'
    >>> monotonicity([2.0, 1.999], [0.1, 0.1], falls=[0.001], fall_errors=[1e-5]).verdict
    'decreasing'
    """
    numbers = _checked(values, errors, "values", "errors")
    places = _places(at, len(numbers[0]))
    lower, upper = _bars(*numbers)
    bars = _difference_bars(lower, upper)
    known: _Bars | None = None
    if falls is not None and fall_errors is not None:
        known = _one_per_step(*_bars(*_checked(falls, fall_errors, "falls", "fall_errors")), bars)
        bars = _sharper(bars, known)
    elif falls is not None or fall_errors is not None:
        raise ValueError("falls and fall_errors go together: give both or neither")
    return _judged(numbers, bars, known, places)


def _checked(values: ArrayLike, errors: ArrayLike, name: str, error_name: str) -> list[_Floats]:
    """Return both as float64 arrays, or raise with one clear line."""
    arrays = [np.asarray(array, dtype=np.float64) for array in (values, errors)]
    if arrays[0].ndim != 1 or arrays[0].shape != arrays[1].shape:
        raise ValueError(
            f"{name} and {error_name} must be one-dimensional and of the same length, "
            f"but have shapes {arrays[0].shape} and {arrays[1].shape}"
        )
    if np.any(arrays[1] < 0):
        raise ValueError(f"{error_name} must not be negative")
    return arrays


def _places(at: ArrayLike | None, size: int) -> NDArray[np.int64]:
    """Return where the values were measured, or raise with one clear line."""
    places = np.arange(size) if at is None else np.asarray(at)
    if places.shape != (size,) or not (size == 0 or np.issubdtype(places.dtype, np.integer)):
        raise ValueError(f"at must hold one integer for each of the {size} values, got {at!r:.60}")
    return places.astype(np.int64)


def _one_per_step(lower: _Floats, upper: _Floats, steps: _Bars) -> _Bars:
    """Cut the bar of the last value, which has no next one, off bars that are one per value."""
    size = len(steps[0])
    if len(lower) == size + 1 and upper[-1] - lower[-1] == np.inf:
        lower, upper = lower[:-1], upper[:-1]
    if len(lower) != size:
        raise ValueError(
            f"falls and fall_errors must have one entry per step ({size}), "
            f"or one more that is NaN, but have {len(lower)}"
        )
    return lower, upper


def _bars(values: _Floats, errors: _Floats) -> _Bars:
    """Return the ends of the error bars: the whole line where a value is not known."""
    known = np.isfinite(values) & np.isfinite(errors)
    with np.errstate(over="ignore", invalid="ignore"):
        lower, upper = values - errors, values + errors
    return np.where(known, lower, -np.inf), np.where(known, upper, np.inf)


def _difference_bars(lower: _Floats, upper: _Floats) -> _Bars:
    """Return the bars of the falls `φ_i - φ_{i+1}`.

    They are differences of the bars' ends, which in floating point have the sign of the ends'
    comparison: so a step can never contradict `_rises` by a rounding error.
    """
    with np.errstate(over="ignore"):
        return lower[:-1] - upper[1:], upper[:-1] - lower[1:]


def _sharper(bars: _Bars, others: _Bars) -> _Bars:
    """Return the narrower of two bars for each step, or their span where they are disjoint."""
    (lower, upper), (other_lower, other_upper) = bars, others
    with np.errstate(over="ignore"):
        narrower = other_upper - other_lower < upper - lower
    disjoint = (other_lower > upper) | (lower > other_upper)
    return (
        np.where(disjoint, np.minimum(lower, other_lower), np.where(narrower, other_lower, lower)),
        np.where(disjoint, np.maximum(upper, other_upper), np.where(narrower, other_upper, upper)),
    )


def _judged(
    numbers: list[_Floats], bars: _Bars, known: _Bars | None, places: NDArray[np.int64]
) -> Monotonicity:
    """Return the answer from the values, the bars of the steps' falls, and the falls known."""
    rises = _rises(*_bars(*numbers), known)
    steps = np.zeros(len(bars[0]), np.int8)
    steps[bars[0] > 0] = Step.FALLS
    steps[bars[1] < 0] = Step.RISES
    fall, rise = int(np.sum(steps == Step.FALLS)), int(np.sum(steps == Step.RISES))
    if np.any(rises > 0) or rise > 0:
        verdict = "not decreasing"
    elif len(steps) > 0 and fall == len(steps):
        verdict = "decreasing"
    else:
        verdict = "undecided"
    return Monotonicity(
        verdict=verdict,
        steps=steps,
        falls=fall,
        rises=rise,
        undecided=len(steps) - fall - rise,
        largest_possible_rise=float(np.max(-bars[0], initial=0.0)) + 0.0,  # + 0.0: no minus zero
        largest_rise=_largest_rise(numbers, known, rises, places),
        net_fall=_net_fall(numbers, places),
        decreasing_from=_decreasing_from(numbers, rises, places),
    )


def _rises(lower: _Floats, upper: _Floats, known: _Bars | None) -> _Floats:
    """Return by how much, at least, the sequence rises from each value to a later one: `(n - 1,)`.

    Positive where a rise is certain.
    """
    highest_later = np.maximum.accumulate(lower[::-1])[::-1][1:]
    with np.errstate(over="ignore"):
        rises = highest_later - upper[:-1]
    return rises if known is None else np.maximum(rises, -known[1])


def _largest_rise(
    numbers: list[_Floats], known: _Bars | None, rises: _Floats, places: NDArray[np.int64]
) -> Change | None:
    """Return the largest rise that is certain, of two values or known by itself."""
    values, errors = numbers
    lower, upper = _bars(values, errors)
    best: Change | None = None
    for first in np.flatnonzero(rises > 0):
        certain = np.flatnonzero(lower[first + 1 :] > upper[first]) + first + 1
        found = []
        if certain.size:
            last = certain[np.argmax(values[certain])]
            found.append((values[last] - values[first], errors[first] + errors[last], last))
        if known is not None and known[1][first] < 0:
            low, high = known[0][first], known[1][first]
            found.append((-(low + high) / 2, (high - low) / 2, first + 1))
        for size, error, last in found:
            if best is None or size > best.size:
                best = _change(size, error, values[first], places[[first, last]])
    return best


def _net_fall(numbers: list[_Floats], places: NDArray[np.int64]) -> Change | None:
    values, errors = numbers
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(errors))
    if len(known) < 2:
        return None
    first, last = known[[0, -1]]
    fall, error = values[first] - values[last], errors[first] + errors[last]
    return _change(fall, error, values[first], places[[first, last]])


def _change(size: float, error: float, start: float, places: NDArray[np.int64]) -> Change:
    with np.errstate(over="ignore"):
        relative = size / abs(start) if np.isfinite(start) and start != 0 else np.nan
    between = int(places[0]), int(places[1])
    return Change(float(size), float(error), float(relative), between)


def _decreasing_from(
    numbers: list[_Floats], rises: _Floats, places: NDArray[np.int64]
) -> int | None:
    first = int(np.max(np.flatnonzero(rises > 0) + 1, initial=0))
    known = np.flatnonzero(np.isfinite(numbers[0]) & np.isfinite(numbers[1]))
    later = known[known >= first]
    return int(places[later[0]]) if len(later) > 1 else None
