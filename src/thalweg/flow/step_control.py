"""How long the next step is to be, after one whose error is known."""

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True)
class StepControl:
    """Steps in proportion to the error of the one before: the standard controller.

    Attributes
    ----------
    safety
        The part of the longest step with an acceptable error that is tried.
    shortest, longest
        What a step may be, in units of the one before.
    order
        The power of the step that errors are taken to grow with.
    """

    safety: float = 0.8
    shortest: float = 0.2
    longest: float = 5.0
    order: int = 3

    def factor(self, error: float) -> float:
        """Return the next step in units of this one, of an error in units of the tolerance.

        Examples
        --------
        >>> StepControl().factor(1.0), StepControl().factor(0.0), StepControl().factor(float("nan"))
        (0.8, 5.0, 0.2)
        """
        if not isfinite(error):
            return self.shortest  # nothing is known: as much shorter as may be
        if error == 0:
            return self.longest
        proposed: float = self.safety * error ** (-1 / self.order)
        return min(max(proposed, self.shortest), self.longest)
