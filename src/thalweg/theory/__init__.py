"""What can be concluded: verdicts on monotonicity with their margin, and sweeps over many runs."""

from thalweg.theory.conditions import (
    Convergence,
    Margin,
    OneStep,
    convergence_condition,
    one_step_condition,
)
from thalweg.theory.monotonicity import Monotonicity, Step, monotonicity
from thalweg.theory.outcomes import ScalarOutcome
from thalweg.theory.sweep import ScalarSweep, scalar_sweep

__all__ = [
    "Convergence",
    "Margin",
    "Monotonicity",
    "OneStep",
    "ScalarOutcome",
    "ScalarSweep",
    "Step",
    "convergence_condition",
    "monotonicity",
    "one_step_condition",
    "scalar_sweep",
]
