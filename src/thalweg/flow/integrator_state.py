"""How far a flow has been integrated: what it takes to go on with it."""

from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.diverging_flow import DecadeSample
from thalweg.flow.limit_estimate import LimitEstimate
from thalweg.flow.step import FlowState


@dataclass(frozen=True)
class IntegratorState:
    """An integrator between two steps: all that it takes to go on, bit for bit.

    The fields are those of `FlowIntegrator`; `steps` as an array `(N, 2)`; `spent` is all its work.
    """

    spent: float
    state: FlowState
    eigenvector: Array | None
    bound: float
    work_since_bound: float
    work_of_steps: float
    next_estimate_loss: float
    next_estimate_work: float
    next_estimate_speed: float
    remaining: float
    growth: float
    settled: int
    kernel_inverse: Array | None
    steps: NDArray[np.float64]
    estimates: list[LimitEstimate]
    decades: list[DecadeSample]


LISTS = ("steps", "estimates", "decades")  # which only grow
VALUES = tuple(f.name for f in fields(IntegratorState) if f.name not in ("spent", "state", *LISTS))
