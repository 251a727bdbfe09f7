"""What a run may take."""

from dataclasses import dataclass

from thalweg.basics.checks import Budgeted, check_fields


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What the run may take; used up, it stops and can be resumed.

    Attributes
    ----------
    max_time
        Stop in time to have saved after so many seconds, not counting the start of the program
        (default: no limit).
    max_evaluations
        Stop when all work of the run, in gradient evaluations, is this much (default: no limit).
    """

    max_time: Budgeted | None = None
    max_evaluations: Budgeted | None = None

    def check(self) -> None:
        """Raise a ValueError unless both are positive."""
        check_fields(self)
