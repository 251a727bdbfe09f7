"""What a run may take."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """What a run may take: when it is used up, the run stops, and can be resumed.

    Attributes
    ----------
    max_time
        Seconds of wall-clock time, from when the problem is built to when results are written.
    max_evaluations
        All work of the run, in gradient evaluations.
    """

    max_time: float = math.inf
    max_evaluations: float = math.inf

    def check(self) -> None:
        """Raise a ValueError unless both are positive."""
        for name, value in (("max_time", self.max_time), ("max_evaluations", self.max_evaluations)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value:g}: change it")
