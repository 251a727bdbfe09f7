"""What can be concluded from measured numbers, with its margin: verdicts on monotonicity."""

from thalweg.theory.monotonicity import Monotonicity, Step, monotonicity

__all__ = ["Monotonicity", "Step", "monotonicity"]
