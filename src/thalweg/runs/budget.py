"""What a run may take."""

import math
from dataclasses import dataclass

from thalweg.basics.checks import Budgeted, check_fields


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

    max_time: Budgeted = math.inf
    max_evaluations: Budgeted = math.inf

    def check(self) -> None:
        """Raise a ValueError unless both are positive."""
        check_fields(self)
