"""What a dataset says of its runs: step sizes, thresholds, the optimiser, starts, tolerances."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Any

from thalweg.basics.versions import versions
from thalweg.descent.measurements import Measurement, described
from thalweg.descent.schedule import Refined

GRADIENT_DESCENT = "gradient descent"

Threshold = float | Callable[[float], float]


@dataclass(frozen=True)
class HeavyBall:
    """The threshold of gradient descent with momentum `β`: `(2 + 2β) / step_size`.

    That of `v' = β v + ∇L(w)`, `w' = w - step_size v'`, as in `optax.sgd(step_size, momentum=β)`
    and `torch.optim.SGD(..., momentum=β)`, without Nesterov's change and without damping: on a
    quadratic, sharpness above it is unstable.

    >>> HeavyBall(0.5)(0.1)
    30.0
    """

    momentum: float

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum must be at least 0 and below 1, got {self.momentum}: change it"
            )

    def __call__(self, step_size: float) -> float:
        """Return the threshold."""
        return (2 + 2 * self.momentum) / step_size


@dataclass(frozen=True)
class Labels:
    """What is known of each run, one entry for each; NaN where it is not."""

    step_sizes: Sequence[float]
    thresholds: Sequence[float]
    optimizer: str | None = GRADIENT_DESCENT
    unit: str = "step"  # what iterates are counted in
    starts: tuple[str, Sequence[int]] | None = None  # "start" or "seed", and its numbers

    def coordinates(self) -> dict[str, Any]:
        """Return the coordinates on `run`."""
        plain = self.optimizer == GRADIENT_DESCENT
        rule = "2 / step size" if plain else "of the sharpness, above which steps are unstable"
        found: dict[str, Any] = {
            "step_size": ("run", list(self.step_sizes), described("step size")),
            "threshold": ("run", list(self.thresholds), described(f"stability threshold, {rule}")),
        }
        if self.starts is not None:
            name, numbers = self.starts
            found[name] = ("run", list(numbers), described(f"number of the {name}"))
        return found

    def start_of(self, run: int) -> str | None:
        """Return how the start of a run is called, where there are several."""
        return None if self.starts is None else f"{self.starts[0]} {self.starts[1][run]}"

    def axis(self) -> dict[str, Any]:
        """Return the attributes of an axis of steps."""
        return described(self.unit, f"{self.unit}s")

    def attributes(self, measurements: Iterable[Measurement]) -> dict[str, str]:
        """Return what holds for all runs: optimiser, options of measurements, versions."""
        options = {measurement.name: options_of(measurement) for measurement in measurements}
        known = {} if self.optimizer is None else {"optimizer": self.optimizer}
        return known | {"measurements": json.dumps(options), "versions": json.dumps(versions())}


def options_of(measurement: Measurement) -> dict[str, Any]:
    """Return what a measurement was told that JSON can hold: schedule, tolerances, budgets.

    >>> from thalweg.descent import Sharpness
    >>> options_of(Sharpness(every=20))
    {'every': 20, 'start': 0, 'tol': 0.0001, 'also': ()}
    """
    known: Any = measurement
    values = vars(measurement) if is_dataclass(known) else {}
    return {name: _exact(value) for name, value in values.items() if _is_plain(value)}


def _exact(value: Any) -> Any:
    """Return an integer for a whole number: what a file kept as 200000.0 is 200000 as before."""
    if isinstance(value, Refined):
        return str(value)
    if isinstance(value, range):
        return f"every {value.step} from {value.start}"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | range | Refined) or (
        isinstance(value, float) and math.isfinite(value)
    )


def threshold_of(threshold: Threshold | None, step_size: float, is_plain: bool) -> float:
    """Return the stability threshold of a run; left out, it is that of plain gradient descent.

    >>> threshold_of(None, 0.5, is_plain=True), threshold_of(HeavyBall(0.9), 0.5, is_plain=False)
    (4.0, 7.6)
    """
    if threshold is None:
        return 2 / step_size if is_plain else math.nan
    try:
        number = float(threshold(step_size) if callable(threshold) else threshold)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"threshold must be a number, or a function of the step size such as "
            f"thalweg.HeavyBall(0.9), not {threshold!r:.60}"
        ) from error
    if number <= 0:
        raise ValueError(f"threshold must be positive, got {number:g}: leave it out if not known")
    return number


def optimizer_name(optimizer: Any) -> str:
    """Return how an optimiser is called: the name of its function, if it has one.

    >>> from functools import partial
    >>> optimizer_name(None), optimizer_name(partial(max, 1)), optimizer_name(lambda size: size)
    ('gradient descent', 'max', 'optimizer')
    """
    if optimizer is None:
        return GRADIENT_DESCENT
    if isinstance(optimizer, partial):
        return optimizer_name(optimizer.func)
    name = str(getattr(optimizer, "__name__", ""))
    return name if name.isidentifier() else "optimizer"
