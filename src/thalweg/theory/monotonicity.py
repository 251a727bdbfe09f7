"""Whether a measured sequence falls monotonically: a verdict with three values.

Values `φ_i` with error bars `e_i` are intervals `[φ_i - e_i, φ_i + e_i]`, and only what holds
wherever in their intervals the true values are is called known.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from thalweg.named import Named

_Floats = NDArray[np.float64]


class Step(Named):
    """What is known of one step, from a measured value to the next.

    `FALLS`: the next value is lower. `RISES`: the next value is higher. `UNDECIDED`: the error
    bars leave both open (or one of the two values is not known, or they are exactly equal).
    """

    FALLS = -1
    UNDECIDED = 0
    RISES = 1


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
    """

    verdict: str
    steps: NDArray[np.int8]
    falls: int
    rises: int
    undecided: int
    largest_possible_rise: float

    def summary(self) -> dict[str, Any]:
        """Return the entry `monotonicity` of `summary.json` (an infinite rise becomes `None`)."""
        rise = self.largest_possible_rise
        return {
            "verdict": self.verdict,
            "falls": self.falls,
            "rises": self.rises,
            "undecided": self.undecided,
            "largest_possible_rise": rise if np.isfinite(rise) else None,
        }


def monotonicity(
    values: ArrayLike,
    errors: ArrayLike,
    *,
    falls: ArrayLike | None = None,
    fall_errors: ArrayLike | None = None,
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

    A difference can be known far better than the values that it is of:

    >>> monotonicity([2.0, 1.999], [0.1, 0.1]).verdict
    'undecided'
    >>> monotonicity([2.0, 1.999], [0.1, 0.1], falls=[0.001], fall_errors=[1e-5]).verdict
    'decreasing'
    """
    lower, upper = _bars(*_checked(values, errors, "values", "errors"))
    step_lower, step_upper = _difference_bars(lower, upper)
    rises_for_certain = _rises_somewhere(lower, upper)
    if falls is not None and fall_errors is not None:
        size = len(step_lower)
        known = _bars(*_checked(falls, fall_errors, "falls", "fall_errors"))
        known_lower, known_upper = _one_per_step(*known, size)
        rises_for_certain |= bool(np.any(known_upper < 0))
        step_lower, step_upper = _sharper(step_lower, step_upper, known_lower, known_upper)
    elif falls is not None or fall_errors is not None:
        raise ValueError("falls and fall_errors go together: give both or neither")
    return _judged(step_lower, step_upper, rises_for_certain)


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


def _one_per_step(lower: _Floats, upper: _Floats, size: int) -> tuple[_Floats, _Floats]:
    """Cut the bar of the last value, which has no next one, off bars that are one per value."""
    if len(lower) == size + 1 and upper[-1] - lower[-1] == np.inf:
        lower, upper = lower[:-1], upper[:-1]
    if len(lower) != size:
        raise ValueError(
            f"falls and fall_errors must have one entry per step ({size}), "
            f"or one more that is NaN, but have {len(lower)}"
        )
    return lower, upper


def _bars(values: _Floats, errors: _Floats) -> tuple[_Floats, _Floats]:
    """Return the ends of the error bars: the whole line where a value is not known."""
    known = np.isfinite(values) & np.isfinite(errors)
    with np.errstate(over="ignore", invalid="ignore"):
        lower, upper = values - errors, values + errors
    return np.where(known, lower, -np.inf), np.where(known, upper, np.inf)


def _difference_bars(lower: _Floats, upper: _Floats) -> tuple[_Floats, _Floats]:
    """Return the bars of the falls `φ_i - φ_{i+1}`.

    They are differences of the bars' ends, which in floating point have the sign of the ends'
    comparison: so a step can never contradict `_rises_somewhere` by a rounding error.
    """
    with np.errstate(over="ignore"):
        return lower[:-1] - upper[1:], upper[:-1] - lower[1:]


def _rises_somewhere(lower: _Floats, upper: _Floats) -> bool:
    """Whether `lower_j > upper_i` for some `i < j`: against the lowest upper end so far."""
    return bool(np.any(lower[1:] > np.minimum.accumulate(upper)[:-1]))


def _sharper(
    lower: _Floats, upper: _Floats, other_lower: _Floats, other_upper: _Floats
) -> tuple[_Floats, _Floats]:
    """Return the narrower of two bars for each step, or their span where they are disjoint."""
    with np.errstate(over="ignore"):
        narrower = other_upper - other_lower < upper - lower
    disjoint = (other_lower > upper) | (lower > other_upper)
    return (
        np.where(disjoint, np.minimum(lower, other_lower), np.where(narrower, other_lower, lower)),
        np.where(disjoint, np.maximum(upper, other_upper), np.where(narrower, other_upper, upper)),
    )


def _judged(lower: _Floats, upper: _Floats, rises_for_certain: bool) -> Monotonicity:
    """Return the verdict from the bars of the steps' falls."""
    steps = np.zeros(len(lower), np.int8)
    steps[lower > 0] = Step.FALLS
    steps[upper < 0] = Step.RISES
    fall, rise = int(np.sum(steps == Step.FALLS)), int(np.sum(steps == Step.RISES))
    if rises_for_certain or rise > 0:
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
        largest_possible_rise=float(np.max(-lower, initial=0.0)) + 0.0,  # + 0.0: no minus zero
    )
