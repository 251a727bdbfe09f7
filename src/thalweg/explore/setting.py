"""What the explorer is asked: one run of gradient descent on a scalar network of target 1."""

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlencode

MOST_STEPS, MOST_LAYERS, FARTHEST, LARGEST_STEP = 400, 10, 100.0, 5.0


@dataclass(frozen=True)
class Setting:
    """A start, a step size, and a number of steps.

    Raises
    ------
    ValueError
        One of them cannot be shown.
    """

    init: tuple[float, ...]
    step_size: float
    steps: int = 60

    def __post_init__(self) -> None:
        if not 2 <= len(self.init) <= MOST_LAYERS:
            raise ValueError(f"give 2 to {MOST_LAYERS} numbers as the start, not {len(self.init)}")
        if not all(abs(x) <= FARTHEST for x in self.init):  # nor NaN
            raise ValueError(f"the numbers of the start must lie within ±{FARTHEST:g}")
        if not 0 < self.step_size <= LARGEST_STEP:
            raise ValueError(f"the step size must be positive, and at most {LARGEST_STEP:g}")
        if not 1 <= self.steps <= MOST_STEPS:
            raise ValueError(f"choose 1 to {MOST_STEPS} steps")

    @property
    def threshold(self) -> float:
        """Return `2/η`."""
        return 2 / self.step_size

    @property
    def address(self) -> str:
        """Return the part of the address behind the question mark."""
        return urlencode(
            {"init": written(self.init), "step_size": repr(self.step_size), "steps": self.steps},
            safe=",",
        )

    @classmethod
    def at_address(cls, arguments: Mapping[str, str]) -> Self:
        """Return the setting of an address; what it leaves out is that of the first preset."""
        default = next(iter(PRESETS.values()))
        try:
            return cls(
                init=numbers(arguments.get("init", written(default.init))),
                step_size=float(arguments.get("step_size", default.step_size)),
                steps=int(arguments.get("steps", default.steps)),
            )
        except ValueError as error:
            raise ValueError(f"this address cannot be shown: {error}") from error

    @property
    def command(self) -> str:
        """Return the command that makes the same run, measured at every step."""
        options = ["--init", *map(repr, self.init), "--step-size", repr(self.step_size)]
        options += ["--steps", str(self.steps), "--gfs-every", "1"]
        return shlex.join(["thalweg", "run", "scalar", "--out", "runs/explored", *options])


def numbers(text: str) -> tuple[float, ...]:
    """Return the numbers in a text such as `1.5, 0.65`; a ValueError where there are others."""
    try:
        found = tuple(float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise ValueError(f"{text!r} holds something that is no number") from error
    if not all(map(math.isfinite, found)):
        raise ValueError(f"{text!r} holds a number that is not finite")
    return found


def written(values: tuple[float, ...]) -> str:
    """Return numbers as `numbers` reads them."""
    return ",".join(map(repr, values))


PRESETS = {
    "stable": Setting((1.5, 0.3), 0.4, 40),
    "edge of stability": Setting((1.5, 0.65), 0.85, 60),
    "period two": Setting((1.3, 0.6), 1.1, 100),
    "chaos": Setting((1.3, 0.6), 1.5, 200),
    "φ rises": Setting((2.4, 2.2), 0.45, 40),
    "depth five": Setting((2.0, 1.5, 1.0, 0.7, 0.3), 0.28, 100),
}
"""Settings worth a look, by what they show."""
