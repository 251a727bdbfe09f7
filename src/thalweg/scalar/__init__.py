"""All about a product of numbers: its flow in closed form, its descent, what is proved."""

from thalweg.scalar.certificate import Certificate, Finding, certify
from thalweg.scalar.conditions import (
    Convergence,
    Margin,
    OneStep,
    convergence_condition,
    one_step_condition,
)
from thalweg.scalar.flow_limit import ScalarLimits
from thalweg.scalar.network import ScalarNetwork
from thalweg.scalar.orbits import Orbits, scalar_orbits
from thalweg.scalar.outcomes import ScalarOutcome
from thalweg.scalar.sweep import ScalarSweep, scalar_sweep

__all__ = [
    "Certificate",
    "Convergence",
    "Finding",
    "Margin",
    "OneStep",
    "Orbits",
    "ScalarLimits",
    "ScalarNetwork",
    "ScalarOutcome",
    "ScalarSweep",
    "certify",
    "convergence_condition",
    "one_step_condition",
    "scalar_orbits",
    "scalar_sweep",
]


def __dir__() -> list[str]:
    return __all__
