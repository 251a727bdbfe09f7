"""What can be concluded: verdicts on monotonicity with their margin, and sweeps over many runs."""

from thalweg.theory.monotonicity import Monotonicity, Step, monotonicity
from thalweg.theory.outcomes import ScalarOutcome
from thalweg.theory.sweep import ScalarSweep, scalar_sweep

__all__ = ["Monotonicity", "ScalarOutcome", "ScalarSweep", "Step", "monotonicity", "scalar_sweep"]
