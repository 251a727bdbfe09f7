"""What can be concluded: verdicts with margins, conditions, certificates, sweeps."""

from thalweg.theory.certificate import Certificate, Finding, certify
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
    "Certificate",
    "Convergence",
    "Finding",
    "Margin",
    "Monotonicity",
    "OneStep",
    "ScalarOutcome",
    "ScalarSweep",
    "Step",
    "certify",
    "convergence_condition",
    "monotonicity",
    "one_step_condition",
    "scalar_sweep",
]


def __dir__() -> list[str]:
    return __all__
